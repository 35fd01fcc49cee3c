-- Whether the receiver of a webhook is to agree before the first call, since when that is chosen,
-- and what it answered: at what time, for which target URL (its SHA-256) and which origin, and
-- either the calls a minute that it allows (null: any number) or why it did not agree.
alter table webhook add column handshake_since integer;
alter table webhook add column handshake_at integer;
alter table webhook add column handshake_url text;
alter table webhook add column handshake_origin text;
alter table webhook add column handshake_rate integer;
alter table webhook add column handshake_refused text;
