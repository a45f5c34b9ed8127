#!/bin/sh
# Makes Temporal's two databases and brings them up to the image's version; a repeat changes nothing.
set -eu
for database in temporal temporal_visibility; do
  folder=${database#temporal_}
  sql() { temporal-sql-tool --plugin postgres12 --ep postgres -p 5432 -u temporal --db "$database" "$@"; }
  sql create
  sql setup-schema -v 0.0
  sql update-schema -d "/etc/temporal/schema/postgresql/v12/$folder/versioned"
done
