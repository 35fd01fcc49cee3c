-- What becomes of a store that is copied into a database: one row, from when a copy has begun. A
-- copy that did not end leaves the store as it is, and usable.
create table moved (
  id integer primary key check (id = 1),
  -- Which copy it is: the database has the same text.
  copy text not null,
  -- The database, without secrets.
  target text not null,
  -- 1 once the store was opened, and perhaps changed, since that copy began.
  stale integer not null,
  -- From then on the database has the store, and this file is not used any more. Null: it is.
  ended_at integer
) strict;
