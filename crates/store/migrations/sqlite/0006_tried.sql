-- When the latest attempt began, in schedule time: `began_at` is what the wall clock said, and
-- after that was set no order. Null: there is none, or the delivery has ended; or a version wrote
-- it that did not know, and then it was before everything this one does.
alter table delivery add column tried_at integer;
