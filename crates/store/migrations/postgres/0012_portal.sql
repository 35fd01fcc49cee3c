-- Portal links, and the sessions that they began, by a hash of the secret: at which tenant, in
-- which role, and who it is for the audit log.
create table portal (
  hash bytea primary key check (octet_length(hash) = 32),
  tenant_id bigint not null references tenant (id),
  role smallint not null,
  name text not null,
  is_session boolean not null,
  until bigint not null
);

create index portal_tenant on portal (tenant_id);
create index portal_age on portal (is_session, until);
