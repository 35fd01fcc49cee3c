-- The name under which the public keys of a signature are published: nobody guesses it, so nobody
-- learns of other tenants by asking. Null where there is no public key.
alter table signature add column key_set text;
create unique index signature_key_set on signature (key_set);
