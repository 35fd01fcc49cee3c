//! The index of subscriptions: all that a change of a webhook adds and removes, with one statement
//! each. The webhook's tenant is locked.

use model::filter::Subscription;
use model::webhook::Webhook;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::pipeline::Params;
use crate::postgres::text::{self, SafeText};
use crate::sql::job_error::JobError;
use crate::sql::webhook_rows;

statements! {
    REMOVE = "
        delete from wish where ctid = any(array(
          select found.place from unnest($3::text[], $4::text[]) as gone (topic, scope)
          cross join lateral (
            select ctid as place from wish
            where tenant_id = $1 and topic = gone.topic and scope = gone.scope
              and webhook_id = $2
            limit 1) as found))";
    ADD = "
        insert into wish (tenant_id, webhook_id, topic, scope)
        select $1, $2, new.* from unnest($3::text[], $4::text[]) as new";
}

pub(crate) fn change(
    conn: &PostgresConnection,
    webhook: &Webhook,
    removed: &[Subscription<'_>],
    added: &[Subscription<'_>],
) -> Result<(), JobError> {
    for (sql, subscriptions) in [(REMOVE, removed), (ADD, added)] {
        if subscriptions.is_empty() {
            continue;
        }
        let topics = subscriptions.iter().map(|one| SafeText(one.topic));
        let topics: Vec<SafeText<'_>> = topics.collect();
        let scopes = subscriptions.iter().map(|one| {
            let scope = webhook_rows::scope_key(one.scope);
            text::encoded(&scope).into_owned()
        });
        let scopes: Vec<String> = scopes.collect();
        let values: Params<'_> = &[&webhook.tenant.0, &webhook.id.0, &topics, &scopes];
        conn.session().execute(sql, values)?;
    }
    Ok(())
}
