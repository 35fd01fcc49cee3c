-- Portal links, and the sessions that they began, by a hash of the secret: at which tenant, in
-- which role, and who it is for the audit log.
create table portal (
  hash blob primary key check (length(hash) = 32),
  tenant_id integer not null references tenant (id),
  role integer not null,
  name text not null,
  is_session integer not null,
  until integer not null
) strict, without rowid;

create index portal_tenant on portal (tenant_id);
create index portal_age on portal (is_session, until);
