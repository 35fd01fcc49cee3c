-- How far the schedule has come, and what the wall clock said then: one row, written now and then.
-- The schedule's times (`delivery.due_at`, `delivery.round_began_at`, `webhook.paused_until`,
-- `kept_answer.kept_at`) go on only while Willcall runs: a machine that is off and a clock that is
-- set move none of them.
create table clock (
  id integer primary key check (id = 1),
  schedule_at integer not null,
  wall_at integer not null
) strict;

-- From which notification on `accepted_at` begins anew below what it had reached: the clock was set
-- back. Between two of these it never falls while ids rise.
create table clock_fall (
  notification_id integer primary key,
  reached_at integer not null
) strict;
