-- Somebody paused a webhook: when, by the wall clock and in schedule time, and who. `holds`: when
-- those that are over began and ended, in schedule time, as JSON. What had waited for the end of
-- the latest by `drain_since` is sent with so many calls in a million seconds at most.
alter table webhook add column held_at integer;
alter table webhook add column held_from integer;
alter table webhook add column held_by text;
alter table webhook add column holds text;
alter table webhook add column drain_in_million_s integer;
alter table webhook add column drain_since integer;
