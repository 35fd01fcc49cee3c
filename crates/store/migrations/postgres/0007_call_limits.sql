-- Limits of a webhook's own. Null: as its dialect and the operator have it.
-- calls_in_million_s: so many calls in a million seconds.
alter table webhook add column calls_at_a_time bigint;
alter table webhook add column calls_in_million_s bigint;
alter table webhook add column time_limit_ms bigint;
alter table webhook add column schedule text;
