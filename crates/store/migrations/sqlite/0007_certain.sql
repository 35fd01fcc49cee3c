-- The latest time that had come for certain by any beat: it stays where it is while the clock is
-- set back.
alter table clock add column reached_at integer;

-- Whatever has this id or a later one was accepted after this time, however old it looks. Null: not
-- known.
alter table clock_fall add column after_at integer;
