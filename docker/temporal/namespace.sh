#!/bin/sh
# Makes the namespace unless it is there. PostgreSQL keeps the truth, so histories may go early.
set -eu
until temporal operator cluster health; do sleep 1; done
temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 72h
# The frontend learns of a new namespace by and by; the worker starts when this ends.
until temporal workflow count --namespace "$TEMPORAL_NAMESPACE"; do sleep 1; done
