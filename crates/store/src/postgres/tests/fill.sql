do $$
declare one text;
begin
  -- What the server knows of them is what a case wants it to know.
  for one in select tablename from pg_tables where schemaname = 'public' loop
    execute format('alter table %I set (autovacuum_enabled = false)', one);
  end loop;
end $$;

insert into tenant (id, dialect, key, name, created_at)
select n, 'pretix', 'k' || n, 'Tenant ' || n, 0 from generate_series(1, 2000) n;

insert into webhook
  (id, tenant_id, key, target_url, disabled_at, disabled_cause, filter, settings, created_at,
   updated_at, version)
select n, (n - 1) / 5 + 1, case when n % 3 = 0 then 'w' || n end,
  'https://example.org/' || n, case when n % 9 = 0 then 5 end,
  case when n % 18 = 0 then 3 when n % 9 = 0 then 1 end, '[]', '{}', 0, 0, 1
from generate_series(1, 10000) n;

insert into wish (tenant_id, topic, scope, webhook_id)
select (n - 1) / 5 + 1, 'paid', '', n from generate_series(1, 10000) n;

insert into event (tenant_id, slug, name)
select n % 2000 + 1, 'e' || n, 'Event ' || n from generate_series(1, 20000) n;

insert into token (tenant_id, name, hash, kind, permissions, active, is_default, created_at)
select n % 2000 + 1, 't' || n, sha256(n::text::bytea), 1, '', true, false, 0
from generate_series(1, 10000) n;

insert into "user" (id, name, password, administrator, active, created_at)
select n, 'u' || n, 'x', false, true, 0 from generate_series(1, 5000) n;
insert into member (user_id, tenant_id, role)
select n, n % 2000 + 1, 1 from generate_series(1, 5000) n;
insert into session (hash, user_id, until)
select sha256(n::text::bytea), n % 5000 + 1, n from generate_series(1, 10000) n;
insert into link (hash, user_id, until)
select sha256(n::text::bytea), n % 5000 + 1, n from generate_series(1, 10000) n;
insert into portal (hash, tenant_id, role, name, is_session, until)
select sha256(n::text::bytea), n % 2000 + 1, 1, 'n', n % 3 > 0, n from generate_series(1, 10000) n;
insert into failure (name, count, latest_at)
select sha256(n::text::bytea), 1, n from generate_series(1, 10000) n;

-- Half of all belongs to the first ten tenants.
insert into notification
  (tenant_id, id, key, action_type, body, accepted_at, delivery_count)
select case when n % 2 = 0 then n % 10 + 1 else n % 2000 + 1 end, n, 'n' || n, 'paid',
  '\x00', n, (n % 20 <> 0)::int
from generate_series(1, 100000) n;
select setval('notification_id', 100000);

insert into delivery
  (tenant_id, webhook_id, notification_id, due_at, ended_at, began_at, envelope_id, round, attempts,
   round_start, duration_ms, status, state)
select tenant_id, (tenant_id - 1) * 5 + 1, id, case when id % 10 in (3, 4) then id end,
  case when id % 10 not in (3, 4) then id end, id, 1, 1, 1, 0, 5, 200,
  case id % 10 when 3 then 0 when 4 then 4 when 5 then 2 when 6 then 3 else 1 end
from notification where id % 10 <> 0;
insert into fresh (tenant_id, webhook_id, notification_id)
select tenant_id, (tenant_id - 1) * 5 + 1, id from notification where id % 10 = 0;
insert into attempt
  (tenant_id, notification_id, webhook_id, began_at, envelope_id, number, duration_ms, status)
select tenant_id, id, (tenant_id - 1) * 5 + 1, id, 1, 1, 5, 500
from notification where id % 3 = 0;

insert into envelope_day (upto, closed) select n * 1000, false from generate_series(1, 100) n;
insert into envelope (day, hash, url)
select n % 100 + 1, n, 'https://example.org/' from generate_series(1, 20000) n;
insert into standing (webhook_id, notification_id, ended_at, success, words)
select n, n, n, true, 'ok' from generate_series(1, 10000) n;
insert into tally (webhook_id, hour, delivered, retried, failed)
select n % 10000 + 1, n, 1, 0, 0 from generate_series(1, 50000) n;
insert into errand
  (tenant_id, webhook_id, kind, expected, done, actor, began_at, ended_at, stage, reached, upto)
select (n - 1) / 5 + 1, n, 1, 1, 1, 'a', 0, case when n % 1000 <> 0 then n end, 0, 0, 9
from generate_series(1, 10000) n;
insert into webhook_past (webhook_id, until, tenant_id, filter, settings, deletes)
select n % 10000 + 1, n, n % 10000 / 5 + 1, '[]', '{}', n % 7 = 0
from generate_series(1, 30000) n;
insert into audit (tenant_id, at, actor, action, webhook_id, detail)
select n % 2000 + 1, n, 'a', 'b', case when n % 2 = 0 then n % 10000 + 1 end, '{}'
from generate_series(1, 50000) n;
insert into kept_answer (key, holder, request, status, body, kept_at)
select 'k' || n, sha256(n::text::bytea), sha256(n::text::bytea), 201, '\x00', n
from generate_series(1, 20000) n;
insert into listing (id, tenant_id, reached, owed)
select n, n % 2000 + 1, 0, 9 from generate_series(1, 50) n;
insert into audience (listing_id, webhooks) select n, '1 2 3' from generate_series(1, 50) n;
insert into wide (listing_id, notification_id)
select n % 50 + 1, n from generate_series(1, 500) n;
insert into clock_fall (tenant_id, notification_id, reached_at, after_at)
select n % 2000 + 1, n, n, n from generate_series(1, 500) n;
