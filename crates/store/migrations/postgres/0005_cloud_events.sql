-- Whether calls of a webhook are CloudEvents. Null: they are as their dialect has them. rows.rs has
-- the numbers.
alter table webhook add column cloud_events smallint;
