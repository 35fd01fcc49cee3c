-- The first schema. Times are milliseconds since 1970 in UTC; the numbers that stand for states,
-- causes and kinds are listed in `src/sqlite/rows.rs`. What is usual is stored as 0, 1 or null,
-- which take no room in a row.

create table tenant (
  id integer primary key,
  dialect text not null,
  key text not null,
  name text not null,
  created_at integer not null,
  unique (dialect, key)
) strict;

-- A token may be listed under several tenants; without a tenant it is an administrator's.
create table token (
  id integer primary key,
  tenant_id integer references tenant (id),
  name text not null,
  hash blob not null check (length(hash) = 32),
  kind integer not null,
  permissions text not null,
  active integer not null,
  is_default integer not null,
  created_at integer not null
) strict;

create index token_hash on token (hash);
-- Nulls are distinct in a unique index, so an administrator's tenant counts as 0.
create unique index token_name on token (coalesce(tenant_id, 0), name);
create unique index token_once on token (coalesce(tenant_id, 0), hash);

create table event (
  tenant_id integer not null references tenant (id),
  slug text not null,
  name text not null,
  date_from integer,
  primary key (tenant_id, slug)
) strict, without rowid;

-- Ids are shown to users, who take them for small and final: autoincrement never gives one twice.
create table webhook (
  id integer primary key autoincrement,
  tenant_id integer not null references tenant (id),
  key text,
  -- The share of all webhooks it belongs to; shares are what nodes divide among themselves.
  slot integer generated always as (id & 255) virtual,
  target_url text not null,
  disabled_at integer,
  disabled_cause integer,
  filter text not null,
  settings text not null,
  headers blob,
  retries_max integer,
  paused_until integer,
  created_at integer not null,
  updated_at integer not null,
  version integer not null
) strict;

-- What is deleted (3) is kept for the log, and is in no list.
create index webhook_tenant on webhook (tenant_id, id) where disabled_cause is not 3;
create unique index webhook_key on webhook (tenant_id, key) where key is not null;

-- The filters of enabled webhooks, turned around: who wants this. A scope is '' for any, else the
-- scope itself after '=', so that an empty scope is not taken for any.
create table wish (
  tenant_id integer not null,
  topic text not null,
  scope text not null,
  webhook_id integer not null references webhook (id),
  primary key (tenant_id, topic, scope, webhook_id)
) strict, without rowid;

-- No foreign keys on notification, delivery and attempt: what they point to goes only together
-- with them, and every look-up saved counts here. `accepted_at` never falls while ids rise, so
-- that a time is found among the ids by halving and needs no index.
create table notification (
  id integer primary key autoincrement,
  tenant_id integer not null,
  key text not null,
  action_type text not null,
  event text,
  headers blob,
  body blob not null,
  digest integer,
  accepted_at integer not null,
  delivery_count integer not null,
  -- Of these, so many were removed.
  removed_count integer,
  unique (tenant_id, key)
) strict;

-- Notifications that nobody wanted: no delivery leads to them when they are to be removed.
create index notification_unwanted on notification (tenant_id, id) where delivery_count = 0;

-- Owed and ended deliveries in one table, in the order of each webhook's log: the usual way of one
-- is an insert and an update in place. The partial indexes hold only what is looked for. A state
-- of its own (4) is for those that were never tried and are due since they were accepted: their
-- order is that of their ids, and one index is enough for them.
create table delivery (
  webhook_id integer not null,
  notification_id integer not null,
  state integer not null,
  cause integer,
  round integer not null,
  attempts integer not null,
  -- Attempts made before this round began.
  round_start integer not null,
  round_began_at integer,
  due_at integer,
  ended_at integer,
  primary key (webhook_id, notification_id)
) strict, without rowid;

create index delivery_due on delivery (webhook_id, due_at, notification_id) where state = 0;
-- One index for each status a log is asked for, so that no page hunts through the others.
create index delivery_fresh on delivery (webhook_id, notification_id) where state = 4;
create index delivery_untried on delivery (webhook_id, notification_id)
  where state = 0 and attempts = 0;
create index delivery_retrying on delivery (webhook_id, notification_id)
  where state = 0 and attempts > 0;
create index delivery_exhausted on delivery (webhook_id, notification_id) where state = 2;
create index delivery_cancelled on delivery (webhook_id, notification_id) where state = 3;

-- What many attempts have in common: the masked URL and the request's header lines; or, without a
-- URL, the header lines of an answer that was given more than once. `day` is that
-- of the latest notification when it was written, so a row whose day is before the oldest
-- notification has no attempt left. `hash` is of both texts: an index of them would double them.
create table envelope (
  id integer primary key,
  day integer not null,
  hash integer not null,
  url text not null,
  headers blob
) strict;

create index envelope_hash on envelope (day, hash);

create table attempt (
  notification_id integer not null,
  webhook_id integer not null,
  number integer not null,
  began_at integer not null,
  duration_ms integer not null,
  envelope_id integer not null,
  status integer,
  failure integer,
  detail text,
  -- The answer's, here or in an envelope.
  headers blob,
  answer_id integer,
  body blob,
  body_end integer,
  next_due_at integer,
  primary key (notification_id, webhook_id, number)
) strict, without rowid;

create table audit (
  id integer primary key,
  tenant_id integer not null references tenant (id),
  at integer not null,
  actor text not null,
  action text not null,
  webhook_id integer,
  detail text not null
) strict;

create index audit_tenant on audit (tenant_id, id);

create table kept_answer (
  id integer primary key,
  key text not null,
  holder blob not null,
  request blob not null,
  status integer not null,
  headers blob,
  body blob not null,
  kept_at integer not null,
  unique (key, holder)
) strict;

create index kept_answer_age on kept_answer (kept_at);
