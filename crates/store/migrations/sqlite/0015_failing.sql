-- The webhooks that fail, those that have failed for longest first.
create index standing_failing on standing (failing_since, webhook_id)
  where failing_since is not null;
