-- A bulk job may be about what a filter means (JSON; null: about all), of one webhook or of all of
-- its tenant: then `webhook_id` is the one it has come to. It looks at notifications behind
-- `since` (null: at all). Jobs take turns: the one whose latest step is longest ago is next.
alter table errand add column filter text;
alter table errand add column of_tenant integer;
alter table errand add column since integer;
alter table errand add column stepped_at integer not null default 0;

drop index errand_next;
create index errand_next on errand (stepped_at, id) where ended_at is null;
drop index errand_one;
create unique index errand_one on errand (webhook_id, kind)
  where ended_at is null and filter is null;
create index errand_running on errand (tenant_id, id) where ended_at is null;
