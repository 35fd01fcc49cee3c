-- The first schema. Times are milliseconds since 1970 in UTC; the numbers that stand for states,
-- causes and kinds are listed in `src/sqlite/rows.rs`. What is usual is stored as 0, 1 or null,
-- which take no room in a row.

create table tenant (
  id integer primary key,
  dialect text not null,
  key text not null,
  name text not null,
  created_at integer not null,
  -- How long its log is kept; null: as long as the operator has it for the dialect.
  kept_ms integer,
  unique (dialect, key)
) strict;

create index tenant_name on tenant (name collate nocase, id);

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
  created_at integer not null,
  used_at integer
) strict;

create index token_hash on token (hash);
-- Nulls are distinct in a unique index, so an administrator's tenant counts as 0.
create unique index token_name on token (coalesce(tenant_id, 0), name);
create unique index token_once on token (coalesce(tenant_id, 0), hash);

-- Ids are never given twice, so that no session or role can fall to somebody else.
create table user (
  id integer primary key autoincrement,
  name text not null collate nocase unique,
  password text not null,
  administrator integer not null,
  active integer not null,
  created_at integer not null,
  signed_in_at integer
) strict;

create table member (
  user_id integer not null references user (id),
  tenant_id integer not null references tenant (id),
  role integer not null,
  primary key (user_id, tenant_id)
) strict, without rowid;

create index member_tenant on member (tenant_id, user_id);

create table session (
  hash blob primary key check (length(hash) = 32),
  user_id integer not null references user (id),
  until integer not null
) strict, without rowid;

create index session_user on session (user_id);
create index session_age on session (until);

create table link (
  hash blob primary key check (length(hash) = 32),
  user_id integer not null references user (id),
  until integer not null
) strict, without rowid;

create index link_user on link (user_id);
create index link_age on link (until);

-- Failures to sign in, by a hash of the name. The ids count the names, so that the oldest of too
-- many are found.
create table failure (
  id integer primary key,
  name blob not null unique check (length(name) = 32),
  count integer not null,
  latest_at integer not null
) strict;

create index failure_age on failure (latest_at);

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
  version integer not null,
  -- 1 if an operator's file names it by its key. Then it stays though it was deleted, so that the
  -- file does not bring it back.
  declared integer
) strict;

-- What is deleted (3) is kept for the log, and is in no list.
create index webhook_tenant on webhook (tenant_id, id) where disabled_cause is not 3;
-- The log of a tenant holds what went to deleted ones as well.
create index webhook_deleted on webhook (tenant_id, id) where disabled_cause = 3;
create unique index webhook_key on webhook (tenant_id, key) where key is not null;

-- How a webhook stood before each change of what decides what it gets, and up to which
-- notification: exact where a time would be ambiguous. Of changes between the same two
-- notifications only the first is kept, as nothing met the states between.
create table webhook_past (
  webhook_id integer not null references webhook (id),
  until integer not null,
  tenant_id integer not null,
  disabled_at integer,
  disabled_cause integer,
  -- Null: the webhook was not there yet.
  filter text,
  settings text,
  -- Whether it was deleted then.
  deletes integer not null,
  primary key (webhook_id, until)
) strict, without rowid;

create index webhook_past_age on webhook_past (until);
create index webhook_past_deleted on webhook_past (tenant_id, webhook_id, until)
  where deletes = 1;

-- What the latest attempt of each webhook came to. Written by every settling, so it is not in
-- `webhook`, whose rows are large.
create table standing (
  webhook_id integer primary key references webhook (id),
  notification_id integer not null,
  ended_at integer not null,
  success integer not null,
  words text not null,
  failing_since integer
) strict;

-- What happened to a webhook's deliveries, by hours since 1970.
create table tally (
  webhook_id integer not null references webhook (id),
  hour integer not null,
  delivered integer not null,
  retried integer not null,
  failed integer not null,
  primary key (webhook_id, hour)
) strict, without rowid;

-- What is being done to many deliveries, and how far it has come: in `stage`, up to and with the
-- notification `reached`. It is about notifications up to and with `upto` only, so that it ends
-- however many arrive meanwhile.
create table errand (
  id integer primary key autoincrement,
  tenant_id integer not null references tenant (id),
  webhook_id integer not null references webhook (id),
  kind integer not null,
  expected integer not null,
  done integer not null,
  actor text not null,
  began_at integer not null,
  ended_at integer,
  broken_off text,
  stage integer not null,
  reached integer not null,
  upto integer not null
) strict;

create index errand_next on errand (id) where ended_at is null;
create unique index errand_one on errand (webhook_id, kind) where ended_at is null;
create index errand_age on errand (ended_at) where ended_at is not null;
-- For removing webhooks.
create index errand_webhook on errand (webhook_id);

-- The filters of enabled webhooks, turned around: who wants this. A scope is '' for any, else the
-- scope itself after '=', so that an empty scope is not taken for any. No foreign key: whenever a
-- webhook is removed it would be looked for in all of it, and only what is disabled is removed.
create table wish (
  tenant_id integer not null,
  topic text not null,
  scope text not null,
  webhook_id integer not null,
  primary key (tenant_id, topic, scope, webhook_id)
) strict, without rowid;

-- No foreign keys on notification, delivery and attempt: what they point to goes only together
-- with them, and every look-up saved counts here. `accepted_at` falls while ids rise only where
-- `clock_fall` says so, so
-- that a time is found among the ids by halving and needs no index.
create table notification (
  id integer primary key,
  tenant_id integer not null,
  key text not null,
  action_type text not null,
  event text,
  -- The one webhook that it tests.
  only integer,
  -- What its dialect needs to say later what it stood for.
  about text,
  -- The webhook it is for, or several, as a text with blanks between. Means something only while
  -- the notification is later than `counted` has as `listed`: each that has no row in `delivery`
  -- is owed a fresh delivery.
  wanted_by any,
  headers blob,
  body blob not null,
  digest integer,
  accepted_at integer not null,
  delivery_count integer not null,
  -- Of these, so many were removed.
  removed_count integer,
  unique (tenant_id, key)
) strict;

-- `notification`: the latest id there was before old notifications were removed. Ids rise for ever:
-- the writer counts them from here or from the latest there is. Autoincrement would write a row of
-- its own for each notification. `listed`: up to and with this one no notification's own row says
-- that a fresh delivery is owed.
create table counted (
  what text primary key,
  latest integer not null
) strict, without rowid;

-- Notifications that nobody wanted: no delivery leads to them when they are to be removed.
create index notification_unwanted on notification (tenant_id, id) where delivery_count = 0;

-- Deliveries that were never tried and are due since they were accepted, so that their order is
-- that of their ids; as far as they do not stand in their notification's own row (`wanted_by`).
create table fresh (
  webhook_id integer not null,
  notification_id integer not null,
  primary key (webhook_id, notification_id)
) strict, without rowid;

-- Every other delivery, owed or ended, in the order of each webhook's log, with its latest attempt:
-- the usual way of one is a single insert, when its first attempt is over. A state of its own (4)
-- is for those that were never tried, but are not fresh.
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
  -- From here on the latest attempt, as in `attempt`; all null if there is none.
  began_at integer,
  duration_ms integer,
  envelope_id integer,
  status integer,
  failure integer,
  detail text,
  headers blob,
  answer_id integer,
  body_end integer,
  next_due_at integer,
  body blob,
  primary key (webhook_id, notification_id)
) strict, without rowid;

-- With the state, so that what only counts or looks for a time reads no row.
create index delivery_due on delivery (webhook_id, due_at, notification_id, state)
  where state in (0, 4);
-- For what a log is asked for, so that no page hunts through what was delivered, which most is.
create index delivery_state on delivery (webhook_id, state, notification_id) where state <> 1;

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

-- All attempts of a delivery but the latest.
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
  body_end integer,
  next_due_at integer,
  body blob,
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
create index audit_webhook on audit (tenant_id, webhook_id, id) where webhook_id is not null;

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
