-- What time it was at least and at most by the latest beat: they differ while the clock was in
-- doubt, which a restart must not end. Null: the store was not written by a version that knows.
alter table clock add column earliest_at integer;
alter table clock add column latest_at integer;
