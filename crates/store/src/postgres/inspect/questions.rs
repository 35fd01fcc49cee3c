//! The questions of an inspection. Each names what it answers; none needs more rights than any user
//! has, but some answer less to those who have no more.

/// Of the server, and of this session with it. `synchronous_commit` is what it would be if this
/// session had not set it.
pub(crate) const FACTS: &str = "
    select current_setting('server_version') as version,
      current_user as \"user\",
      current_setting('fsync') as fsync,
      current_setting('full_page_writes') as full_page_writes,
      current_setting('autovacuum') as autovacuum,
      current_setting('track_counts') as track_counts,
      (select reset_val from pg_settings where name = 'synchronous_commit') as synchronous_commit,
      (select version from pg_stat_ssl where pid = pg_backend_pid() and ssl) as tls,
      exists (select 1 from pg_stat_activity
        where datname = current_database() and usesysid is not null and backend_type is null
      ) as has_hidden,
      (select age(datfrozenxid)::bigint from pg_database where datname = current_database())
        as oldest_row_age";

/// Connections without this one: those of the server, of the database and of this user have a limit
/// each, of which the tightest counts.
pub(crate) const CONNECTIONS: &str = "
    with client as (
      select datname = current_database() as here, usename = current_user as own
      from pg_stat_activity
      where usesysid is not null and datid is not null and pid <> pg_backend_pid()
        and coalesce(backend_type, 'client backend') = 'client backend'
    ), room as (
      select current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int as most
    )
    select most::bigint as most,
      (select count(*) from client where here and own) as own,
      least(
        most - (select count(*) from client),
        (select nullif(datconnlimit, -1) from pg_database where datname = current_database())
          - (select count(*) from client where here),
        (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user)
          - (select count(*) from client where own)
      ) as free
    from room";

/// Transactions that keep dead rows of this database, and have done so for $1 seconds.
pub(crate) const TRANSACTIONS: &str = "
    select format('process %s of user %s in database %s (%s, %s, for %s min)', pid, usename,
      coalesce(datname, 'none'),
      coalesce(nullif(application_name, ''), 'without a name'), coalesce(state, 'at work'),
      floor(extract(epoch from clock_timestamp() - xact_start) / 60)) as words
    from pg_stat_activity
    where (datname = current_database() or datid is null)
      and (backend_xid is not null or backend_xmin is not null)
      and xact_start <= clock_timestamp() - make_interval(secs => $1)
      and backend_type <> 'autovacuum worker' and pid <> pg_backend_pid()
    order by xact_start
    limit 3";

/// Prepared ones, likewise.
pub(crate) const PREPARED: &str = "
    select format('%s of user %s (for %s min)', quote_literal(gid), owner,
      floor(extract(epoch from clock_timestamp() - prepared) / 60)) as words
    from pg_prepared_xacts
    where database = current_database()
      and prepared <= clock_timestamp() - make_interval(secs => $1)
    order by prepared
    limit 3";

pub(crate) const SLOTS: &str = "
    select format('%s (%s MiB of WAL)', slot_name,
      (pg_current_wal_lsn() - restart_lsn)::bigint / 1048576) as words
    from pg_replication_slots
    where not active and restart_lsn is not null
    order by restart_lsn
    limit 3";

pub(crate) const CLOCK: &str = "
    select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as at";

/// Of a store with the known schema.
pub(crate) const CONTENTS: &str = "
    select (select count(*) from tenant) as tenants,
      (select count(*) from webhook where disabled_cause is distinct from 3) as webhooks,
      (select count(*) from webhook where disabled_cause < 3) as disabled_webhooks,
      (select count(*) from lease
        where until > extract(epoch from clock_timestamp()) * 1000) as nodes,
      (select max(wall_at) from clock) as wall_at,
      pg_database_size(current_database()) as bytes";

/// What this user may do with these tables ($1) and sequences ($2).
pub(crate) const TABLES: &str = "
    select wanted.name as name, found.oid is null as missing,
      case wanted.is_table
        when true then not (has_table_privilege(found.oid, 'SELECT')
          and has_table_privilege(found.oid, 'INSERT')
          and has_table_privilege(found.oid, 'UPDATE')
          and has_table_privilege(found.oid, 'DELETE'))
        else not has_sequence_privilege(found.oid, 'USAGE')
      end as forbidden,
      not pg_has_role(found.relowner, 'USAGE') as of_others
    from (
      select name, true as is_table from unnest($1::text[]) as name
      union all
      select name, false from unnest($2::text[]) as name
    ) as wanted
    left join pg_class found on found.relname = wanted.name
      and found.relnamespace = current_schema()::regnamespace
    order by wanted.name";
