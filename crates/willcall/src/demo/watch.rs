//! Follows the demo's deliveries and prints each attempt once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use model::contract::Frontend;
use model::id::{DeliveryId, TenantId, WebhookId};
use model::limits;
use model::query::{DeliveryRow, DeliveryStatus, LogQuery};
use model::time::{Clock, Timestamp};
use model::webhook::Disablement;
use web::dialects::{ReceiverBehavior, WebhookRef};

use super::attempt_line;

const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Watch {
    clock: Clock,
    began_at: Timestamp,
    tenant: TenantId,
    pub(crate) webhooks: BTreeMap<WebhookId, WatchedWebhook>,
}

/// A webhook and the state of its deliveries.
pub(crate) struct WatchedWebhook {
    pub(crate) character: ReceiverBehavior,
    pub(crate) made: WebhookRef,
    pub(crate) disabled: Option<Disablement>,
    pub(crate) deleted: bool,
    pub(crate) rows: Vec<DeliveryRow>,
    /// The number of printed attempts of each delivery.
    printed: BTreeMap<DeliveryId, u32>,
}

impl Watch {
    pub(crate) fn new(clock: Clock, tenant: TenantId) -> Self {
        let began_at = clock.now();
        Self {
            clock,
            began_at,
            tenant,
            webhooks: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, character: ReceiverBehavior, id: WebhookId, made: WebhookRef) {
        let watched = WatchedWebhook {
            character,
            made,
            disabled: None,
            deleted: false,
            rows: Vec::new(),
            printed: BTreeMap::new(),
        };
        self.webhooks.insert(id, watched);
    }

    /// The webhooks whose receiver has this character.
    pub(crate) fn of(&self, character: ReceiverBehavior) -> Vec<WebhookRef> {
        let such = self
            .webhooks
            .values()
            .filter(|watched| watched.character == character);
        such.map(|watched| watched.made.clone()).collect()
    }

    /// Polls and prints until `enough` holds for every webhook.
    pub(crate) async fn until(
        &mut self,
        store: &dyn Frontend,
        enough: impl Fn(&WatchedWebhook) -> bool,
    ) -> Result<()> {
        loop {
            self.look(store).await?;
            if self.webhooks.values().all(&enough) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Prints the attempts since the last call, in order of time.
    async fn look(&mut self, store: &dyn Frontend) -> Result<()> {
        let mut seen = Vec::new();
        for (id, watched) in &mut self.webhooks {
            match store.webhook(self.tenant, *id).await? {
                Some(webhook) => watched.disabled = webhook.disabled,
                None => watched.deleted = true,
            }
            let query = LogQuery {
                webhook: Some(*id),
                limit: limits::PAGE_ROWS_MAX,
                ..LogQuery::default()
            };
            let found = store.log(self.tenant, query).await?.rows.into_iter();
            let rows: Vec<DeliveryRow> = found.map(|found| found.row).collect();
            for row in &rows {
                let printed = watched.printed.entry(row.id).or_insert(0);
                if row.attempts == *printed {
                    continue;
                }
                let Some(story) = store.delivery(self.tenant, row.id).await? else {
                    continue;
                };
                for past in story.attempts {
                    if past.number > *printed {
                        seen.push((watched.character, story.row.clone(), past));
                    }
                }
                *printed = row.attempts;
            }
            watched.rows = rows;
        }
        seen.sort_by_key(|(_, row, past)| (past.ended_at(), row.id));
        for (character, row, past) in &seen {
            let at_ms = past.ended_at().ms_since(self.began_at);
            attempt_line::print(*character, row, past, at_ms);
        }
        Ok(())
    }

    pub(crate) fn elapsed_ms(&self) -> i64 {
        self.clock.now().ms_since(self.began_at)
    }
}

impl WatchedWebhook {
    pub(crate) fn count(&self, status: DeliveryStatus) -> usize {
        self.rows
            .iter()
            .filter(|row| row.status() == status)
            .count()
    }

    /// Everything that can end has ended; a receiver that hangs was tried twice.
    pub(crate) fn settled(&self) -> bool {
        match self.character {
            ReceiverBehavior::Hanging => self.rows.iter().all(|row| row.attempts >= 2),
            ReceiverBehavior::Steady | ReceiverBehavior::Recovering | ReceiverBehavior::Gone => {
                self.ended()
            }
        }
    }

    pub(crate) fn ended(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.state.is_end())
    }

    /// Whether the deliveries to such a receiver ended as expected.
    pub(crate) fn as_expected(&self, once: bool) -> bool {
        let all = |status| self.count(status) == self.rows.len();
        match self.character {
            ReceiverBehavior::Steady => all(DeliveryStatus::Delivered),
            ReceiverBehavior::Recovering => {
                all(DeliveryStatus::Delivered) && self.rows.iter().all(|row| row.attempts == 3)
            }
            ReceiverBehavior::Gone => all(DeliveryStatus::Cancelled) && self.disabled.is_some(),
            ReceiverBehavior::Hanging if once => {
                all(DeliveryStatus::Cancelled) && (self.disabled.is_some() || self.deleted)
            }
            ReceiverBehavior::Hanging => all(DeliveryStatus::Retrying),
        }
    }
}
