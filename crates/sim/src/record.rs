//! What the product has on record in the end: each delivery with its attempts, by its own log.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use model::contract::Store;
use model::delivery::DeliveryState;
use model::id::{TenantId, WebhookId};
use model::query::{AttemptRecord, LogCursor, LogQuery, WebhookQuery};
use model::tenant::DialectName;
use model::time::Timestamp;

use crate::dialects::Dialect;
use crate::history::code_in;
use crate::world::SharedWorld;

/// A delivery, as the log has it.
pub(crate) struct Record {
    /// The number in the webhook's URL.
    pub(crate) webhook: usize,
    pub(crate) webhook_id: WebhookId,
    /// As the dashboard names it.
    pub(crate) id: String,
    pub(crate) code: String,
    pub(crate) state: DeliveryState,
    /// By the wall clock.
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) attempts: Vec<AttemptRecord>,
}

/// Reads the whole log of all tenants.
pub(crate) async fn records(world: &SharedWorld, store: &dyn Store) -> Result<Vec<Record>> {
    let tenants: Vec<(Dialect, String)> = {
        let world = world.lock();
        let tenants = world.scenario.tenants.iter();
        tenants
            .map(|tenant| (tenant.dialect, tenant.key.clone()))
            .collect()
    };
    let mut records = Vec::new();
    for (dialect, key) in tenants {
        let name = DialectName::new(dialect.name());
        let tenant = store.tenant(name, key).await?;
        let tenant = tenant.context("a tenant is gone")?.id;
        let numbers = numbers(store, tenant).await?;
        let mut query = LogQuery {
            limit: model::limits::PAGE_ROWS_MAX,
            ..LogQuery::default()
        };
        loop {
            let page = store.log(tenant, query.clone()).await?;
            for row in page.rows {
                let id = row.row.id;
                // Without one it was pruned since the page was read.
                let Some(detail) = store.delivery(tenant, id).await? else {
                    continue;
                };
                let body = String::from_utf8_lossy(&detail.body).into_owned();
                let number = numbers.get(&id.webhook).copied();
                records.push(Record {
                    webhook: number.unwrap_or(usize::MAX),
                    webhook_id: id.webhook,
                    id: id.to_string(),
                    code: code_in(&body).to_owned(),
                    state: detail.row.state,
                    ended_at: detail.row.ended_at,
                    attempts: detail.attempts,
                });
            }
            match page.older {
                Some(older) => query.from = Some(LogCursor::OlderThan(older)),
                None => break,
            }
        }
    }
    Ok(records)
}

/// The numbers of a tenant's webhooks.
async fn numbers(store: &dyn Store, tenant: TenantId) -> Result<BTreeMap<WebhookId, usize>> {
    let mut numbers = BTreeMap::new();
    let mut offset = 0;
    loop {
        let page = WebhookQuery {
            enabled: None,
            newest_first: false,
            offset,
            limit: model::limits::PAGE_ROWS_MAX,
        };
        let page = store.webhooks(vec![tenant], page).await?.webhooks;
        if page.is_empty() {
            return Ok(numbers);
        }
        offset += page.len() as u64;
        let named = page.iter();
        numbers.extend(
            named.filter_map(|webhook| Some((webhook.id, number_of(&webhook.target_url)?))),
        );
    }
}

/// The number of a webhook, from its URL.
fn number_of(url: &str) -> Option<usize> {
    url.split("/w").nth(1)?.split('/').next()?.parse().ok()
}
