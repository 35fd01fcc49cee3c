-- How calls of a webhook are signed: each profile once. Keys are sealed; which master key opens one
-- is in what is sealed.
create table signature (
  webhook_id integer not null references webhook (id),
  -- rows.rs has the numbers.
  profile integer not null,
  tenant_id integer not null,
  -- Null: the profile's own.
  header text,
  svix integer not null,
  sealed blob not null,
  -- What a receiver verifies with, where that is no secret.
  public_key text,
  made_at integer not null,
  -- The key before it, and until when it signs. All of it is null, or nothing but the public key.
  former_sealed blob,
  former_public_key text,
  former_made_at integer,
  former_until integer,
  primary key (webhook_id, profile)
) strict, without rowid;
