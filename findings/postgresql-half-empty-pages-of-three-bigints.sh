#!/bin/sh
# PostgreSQL: how full the pages of a primary key are, into which rows come in the order of its
# last column for ten values of the one before. With (integer, integer, bigint) as well as with
# (bigint, bigint) they are full to 88 %, as its manual's fill factor of 90 lets one expect. With
# (bigint, bigint, bigint), or (bigint, integer, bigint), to 53 %: twice the size, and twice as many
# pages that are split, each of which is written to the WAL. The order of rows in a batch is no
# matter. What is different is the size of an entry: 32 bytes instead of 24.
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
    -o "-c listen_addresses= -c unix_socket_directories=$folder -c fsync=off"
ask() { "$bin/psql" -XqAt -h "$folder" -U postgres "$@"; }
ask -c "CREATE EXTENSION pgstattuple"
fill() {
    # fill NAME TYPE-OF-A TYPE-OF-B: 1,000 batches, each of nine rows for each of ten values of b.
    ask -c "CREATE TABLE $1 (a $2, b $3, c bigint, PRIMARY KEY (a, b, c))" -c "
        DO \$\$ BEGIN FOR batch IN 0..999 LOOP
            INSERT INTO $1 SELECT 1, b, c
            FROM generate_series(1, 10) b, generate_series(batch * 9, batch * 9 + 8) c
            ORDER BY 2, 3;
        END LOOP; END \$\$"
    ask -c "SELECT round(avg_leaf_density) FROM pgstatindex('$1_pkey')"
}
narrow=$(fill narrow integer integer)
mixed=$(fill mixed bigint integer)
wide=$(fill wide bigint bigint)
"$bin/postgres" --version
echo "pages are full to $narrow % with (integer, integer, bigint)," \
    "$mixed % with (bigint, integer, bigint), $wide % with (bigint, bigint, bigint)"
[ "$narrow" -ge 85 ] && [ "$mixed" -le 60 ] && [ "$wide" -le 60 ]
