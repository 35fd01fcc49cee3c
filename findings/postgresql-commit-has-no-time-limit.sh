#!/bin/sh
# PostgreSQL: whether statement_timeout ends a COMMIT that waits for a synchronous standby.
set -eu
bin=$(ls -d /usr/lib/postgresql/15/bin 2>/dev/null) || {
    echo "PostgreSQL 15 is missing; Debian's package is postgresql-15"
    exit 1
}
folder=$(mktemp -d)
# It refuses to run as root.
as=
if [ "$(id -u)" = 0 ]; then
    as="setpriv --reuid postgres --regid postgres --init-groups"
    chown postgres "$folder"
fi
cd "$folder"
end() { $as "$bin/pg_ctl" stop -s -m immediate -D "$folder/data"; rm -rf "$folder"; }
trap end EXIT
$as "$bin/initdb" --no-sync --auth=trust --username=postgres --pgdata="$folder/data" >/dev/null
$as "$bin/pg_ctl" start -w -s -D "$folder/data" -l "$folder/log" \
    -o "-c listen_addresses= -c unix_socket_directories=$folder"
ask() { timeout 5 "$bin/psql" -XqAt -h "$folder" -U postgres "$@"; }
ask -c "CREATE TABLE t (n int)"
ask -c "ALTER SYSTEM SET synchronous_standby_names = 'absent'" \
    -c "SELECT pg_reload_conf()" >/dev/null
until [ "$(ask -c 'SHOW synchronous_standby_names')" = absent ]; do :; done
ended=0
ask -c "SET statement_timeout = '200ms'" -c "INSERT INTO t VALUES (1)" || ended=$?
"$bin/postgres" --version
echo "statement_timeout is 200 ms, the standby is away: after 5 s psql was ended with $ended"
# 124 says that timeout ended it, so the server had not.
[ "$ended" = 124 ]
