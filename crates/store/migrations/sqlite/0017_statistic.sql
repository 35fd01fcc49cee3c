-- Attempts of webhooks, counted by what they came to and by response time. A row has what one node
-- counted in one period of 5 minutes, or 60 once they are merged. An owner above zero is a webhook,
-- one below is a tenant. The period comes first: rows of a period are written, merged and removed
-- together, and a reader asks for few hundred periods.
create table statistic (
  minutes integer not null,
  starts_at integer not null,
  owner_id integer not null,
  -- Drawn by whoever counted, so that writing twice is writing once.
  part integer not null,
  tally blob not null,
  primary key (minutes, starts_at, owner_id, part)
) strict, without rowid;
