"""The codec server: opens sealed payloads for Temporal's UI, for staff who have logged in."""
