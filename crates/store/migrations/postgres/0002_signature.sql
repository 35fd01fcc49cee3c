-- How calls of a webhook are signed: each profile once. Keys are sealed; which master key opens one
-- is in what is sealed.
create table signature (
  webhook_id bigint not null references webhook (id),
  -- rows.rs has the numbers.
  profile smallint not null,
  tenant_id bigint not null,
  -- Null: the profile's own.
  header text,
  svix boolean not null,
  sealed bytea not null,
  -- What a receiver verifies with, where that is no secret.
  public_key text,
  made_at bigint not null,
  -- The key before it, and until when it signs. All of it is null, or nothing but the public key.
  former_sealed bytea,
  former_public_key text,
  former_made_at bigint,
  former_until bigint,
  primary key (webhook_id, profile)
);
