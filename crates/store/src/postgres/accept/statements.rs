//! Every statement of accepting. Each finds its rows by an index, whatever the server believes
//! about its tables: what is looked up for each of several values is a query of its own for each.

statements! {
    // For each tenant, in order, and again for each of the keys that are known of it. With the
    // first row come ids, one for each key that is not known.
    pub(crate) STATE = "
        with found as materialized (
          select i.tenant, n.key, n.id
          from unnest($1::bigint[], $2::int[], $3::int[]) as i (tenant, first, last)
          cross join lateral unnest(($4::text[])[i.first:i.last]) as k (key)
          cross join lateral (
            select key, id from notification
            where tenant_id = i.tenant and key = k.key
            limit 1) n)
        select i.tenant,
          (select version from catalog where id = 1),
          (select reached_at from clock where id = 1),
          (select accepted_at from notification where tenant_id = i.tenant
           order by tenant_id desc, id desc limit 1),
          (select sum(owed)::bigint from listing where tenant_id = i.tenant),
          case i.number when 1 then array(
            select nextval('notification_id')
            from generate_series(1, cardinality($4::text[]) - (select count(*) from found))) end,
          f.key, f.id
        from unnest($1::bigint[]) with ordinality as i (tenant, number)
        left join found f on f.tenant = i.tenant
        order by i.number";
    // What is known under a key beside what came, for each that came.
    pub(crate) COMPARE = "
        select i.number, n.id, n.accepted_at, n.delivery_count,
          n.action_type = i.action_type and n.body = i.body and n.digest is not distinct from i.digest
        from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[])
          with ordinality as i (tenant, id, action_type, body, digest, number)
        cross join lateral (
          select id, accepted_at, delivery_count, action_type, body, digest from notification
          where tenant_id = i.tenant and id = i.id
          limit 1) n";
    // As `webhook_rows::scope_key` has the scopes.
    pub(crate) WANTED = "
        select array(
          select webhook_id from wish
          where tenant_id = i.tenant and topic = i.topic
            and scope = coalesce('=' || i.scope, '')
          order by webhook_id)
        from unnest($1::bigint[], $2::text[], $3::text[]) as i (tenant, topic, scope)";
    pub(crate) MAY_BE_TESTED = "
        select (
          select 1 from webhook
          where id = i.webhook and tenant_id = i.tenant and disabled_at is null
          limit 1) is not null
        from unnest($1::bigint[], $2::bigint[]) as i (tenant, webhook)";
    pub(crate) REGISTERED = "
        select (
          select 1 from event where tenant_id = i.tenant and slug = i.slug limit 1) is not null
        from unnest($1::bigint[], $2::text[]) as i (tenant, slug)";
    pub(crate) EVENTS = "
        select (select count(*) from (select 1 from event where tenant_id = i.tenant limit $2) e)
        from unnest($1::bigint[]) as i (tenant)";
    pub(crate) FALLS = "
        select (select count(*) from clock_fall where tenant_id = i.tenant),
          (select max(reached_at) from clock_fall where tenant_id = i.tenant),
          (select after_at from clock_fall where tenant_id = i.tenant
           order by tenant_id desc, notification_id desc limit 1)
        from unnest($1::bigint[]) as i (tenant)";
    // Nobody else adds one of these keys: the tenant is locked.
    pub(crate) ADD = "
        insert into notification
          (tenant_id, id, key, action_type, event, \"only\", about, headers, body, digest,
           accepted_at, delivery_count)
        select unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::text[]),
          unnest($5::text[]), unnest($6::bigint[]), unnest($7::text[]), unnest($8::bytea[]),
          unnest($9::bytea[]), unnest($10::bigint[]), unnest($11::bigint[]), unnest($12::int[])";
    pub(crate) ADD_UNATTEMPTED = "
        insert into fresh (tenant_id, webhook_id, notification_id)
        select unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::bigint[])";
    pub(crate) ADD_FALL = "
        insert into clock_fall (tenant_id, notification_id, reached_at, after_at)
        select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])";
    pub(crate) REGISTER = "
        insert into event (tenant_id, slug, name)
        select tenant, slug, slug
        from unnest($1::bigint[], $2::text[]) as i (tenant, slug)";
    pub(crate) NEXT_VERSION = "
        update catalog set version = version + 1 where id = 1 returning version";
}
