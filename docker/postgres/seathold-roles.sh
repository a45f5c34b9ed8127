#!/bin/sh
# Runs once, on an empty data directory: one role owns the tables and migrates, one is the
# application's and gets its rights from `seathold migrate`.
set -eu
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set ON_ERROR_STOP=1 \
  --set owner_password="$POSTGRES_OWNER_PASSWORD" --set app_password="$POSTGRES_APP_PASSWORD" <<'SQL'
CREATE ROLE seathold_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE seathold_app LOGIN PASSWORD :'app_password';
ALTER DATABASE :"DBNAME" OWNER TO seathold_owner;
GRANT CONNECT ON DATABASE :"DBNAME" TO seathold_app;
SQL
