-- Header lines that somebody gave a webhook: each name once, as it goes over the wire. Values are
-- sealed; which master key opens one is in what is sealed.
create table own_header (
  webhook_id integer not null references webhook (id),
  name text not null,
  tenant_id integer not null,
  sealed blob not null,
  set_at integer not null,
  primary key (webhook_id, name)
) strict, without rowid;
