-- Limits of a webhook's own. Null: as its dialect and the operator have it.
-- calls_in_million_s: so many calls in a million seconds.
alter table webhook add column calls_at_a_time integer;
alter table webhook add column calls_in_million_s integer;
alter table webhook add column time_limit_ms integer;
alter table webhook add column schedule text;
