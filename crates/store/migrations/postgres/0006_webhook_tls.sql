-- What a webhook has of its own for TLS, a row for each: its client certificate, with the private
-- key sealed, and CA certificates. rows.rs has the numbers of the items.
create table webhook_tls (
  webhook_id bigint not null references webhook (id),
  item smallint not null,
  tenant_id bigint not null,
  certificates bytea not null,
  sealed bytea,
  set_at bigint not null,
  primary key (webhook_id, item)
);
