-- Header lines that somebody gave a webhook: each name once, as it goes over the wire. Values are
-- sealed; which master key opens one is in what is sealed.
create table own_header (
  webhook_id bigint not null references webhook (id),
  name text collate "C" not null,
  tenant_id bigint not null,
  sealed bytea not null,
  set_at bigint not null,
  primary key (webhook_id, name)
);
