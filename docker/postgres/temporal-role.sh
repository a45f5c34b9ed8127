#!/bin/sh
# Runs once, on an empty data directory: Temporal gets a role of its own on the same server,
# may make its two databases, and cannot read ours.
set -eu
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set ON_ERROR_STOP=1 --set password="$TEMPORAL_DB_PASSWORD" <<'SQL'
CREATE ROLE temporal LOGIN CREATEDB PASSWORD :'password';
REVOKE CONNECT ON DATABASE :"DBNAME" FROM PUBLIC;
SQL
