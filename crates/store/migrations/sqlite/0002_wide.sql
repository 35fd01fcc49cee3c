-- Wide notifications: what they owe is more than one transaction lists, so it is listed in steps
-- (`src/sqlite/wide.rs`).

-- What is to be listed of some notifications that are for the same webhooks. Up to and with the
-- webhook `reached` it is; `owed` deliveries are not.
create table listing (
  id integer primary key,
  tenant_id integer not null,
  reached integer not null,
  owed integer not null
) strict;

create index listing_tenant on listing (tenant_id, id);

-- The webhooks of a listing: a text with blanks between, by id. Apart from what each step changes.
create table audience (
  listing_id integer primary key,
  webhooks text not null
) strict;

-- The notifications of a listing.
create table wide (
  listing_id integer not null,
  notification_id integer not null,
  primary key (listing_id, notification_id)
) strict, without rowid;
