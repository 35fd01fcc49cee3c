-- What a webhook has of its own for TLS, a row for each: its client certificate, with the private
-- key sealed, and CA certificates. rows.rs has the numbers of the items.
create table webhook_tls (
  webhook_id integer not null references webhook (id),
  item integer not null,
  tenant_id integer not null,
  certificates blob not null,
  sealed blob,
  set_at integer not null,
  primary key (webhook_id, item)
) strict, without rowid;
