-- What has gone wrong for so long that somebody is told: of a webhook, or of the server. What was
-- told to those of the tenant and to those who run the server, as bits.
create table incident (
  id integer primary key autoincrement,
  kind integer not null,
  tenant_id integer,
  webhook_id integer,
  began_at integer not null,
  quiet_since integer,
  told_tenant integer not null,
  told_server integer not null,
  ended_at integer
) strict;

-- One of a kind is open of each webhook, and of the server.
create unique index incident_open on incident (kind, coalesce(webhook_id, 0))
  where ended_at is null;
create index incident_age on incident (ended_at) where ended_at is not null;
create index incident_webhook on incident (webhook_id) where webhook_id is not null;

-- When an audience (a tenant; 0: those who run the server) was last given an alert of this kind.
create table alert_told (
  tenant_id integer not null,
  kind text not null,
  at integer not null,
  primary key (tenant_id, kind)
) strict, without rowid;
create index alert_told_age on alert_told (at);

-- Counts the rounds of the watch that were recorded, so that of several nodes one tells.
create table watch_round (
  id integer primary key,
  version integer not null
) strict;

-- Webhooks that were disabled by their receivers.
create index webhook_gone on webhook (disabled_at) where disabled_cause = 2;
