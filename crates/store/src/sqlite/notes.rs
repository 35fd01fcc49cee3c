//! Notes: what the jobs of a transaction have to tell, kept until it is durable.
//!
//! Bounded, whatever is accepted in one transaction: beyond the bound a delivery is not kept, only
//! that its webhook has something due. The listener then reads it from the store.

use std::collections::BTreeMap;

use model::contract::{CommitSubscriber, PendingWebhook};
use model::delivery::DueDelivery;
use model::id::WebhookId;
use model::limits;
use model::time::Timestamp;

/// What is to be told once the transaction is committed.
#[derive(Default)]
pub(crate) struct Notes {
    notices: Vec<Notice>,
    /// Deliveries in all of `notices`.
    whole: usize,
    passed_over: Lanes,
    /// Those that were passed over since the latest mark, apart so that they can be taken back.
    passed_over_since: Lanes,
    catalog_changed: bool,
    bulk_job_started: bool,
}

/// Webhooks, each with the earliest of some due times.
type Lanes = BTreeMap<WebhookId, Timestamp>;

enum Notice {
    Accepted(Vec<DueDelivery>),
    Asked(DueDelivery),
    Changed(WebhookId),
}

pub(crate) struct Mark {
    notices: usize,
    accepted: usize,
    whole: usize,
    catalog_changed: bool,
    bulk_job_started: bool,
}

impl Notes {
    /// A notification was accepted for these webhooks, due at `due_at`; `due` makes a delivery.
    pub(crate) fn accepted(
        &mut self,
        webhooks: &[WebhookId],
        due_at: Timestamp,
        due: impl Fn(WebhookId) -> DueDelivery,
    ) {
        // Who listens keeps no more either, and reads the rest from the store.
        let room = limits::BUFFERED_MAX.saturating_sub(self.whole);
        let (whole, rest) = webhooks.split_at(webhooks.len().min(room));
        self.whole += whole.len();
        let deliveries = whole.iter().map(|webhook| due(*webhook));
        if let Some(Notice::Accepted(list)) = self.notices.last_mut() {
            list.extend(deliveries);
        } else if !whole.is_empty() {
            self.notices.push(Notice::Accepted(deliveries.collect()));
        }
        for webhook in rest {
            lower(&mut self.passed_over_since, *webhook, due_at);
        }
    }

    /// Something is due for the webhook that is not told: the listener reads it from the store.
    pub(crate) fn passed_over(&mut self, webhook: WebhookId, due_at: Timestamp) {
        lower(&mut self.passed_over_since, webhook, due_at);
    }

    /// Somebody asked for this delivery, and waits for it.
    pub(crate) fn asked(&mut self, due: DueDelivery) {
        if self.whole < limits::BUFFERED_MAX {
            self.whole += 1;
            self.notices.push(Notice::Asked(due));
        } else {
            let (webhook, due_at) = (due.delivery.id.webhook, due.delivery.due_at);
            lower(&mut self.passed_over_since, webhook, due_at);
        }
    }

    pub(crate) fn changed(&mut self, webhook: WebhookId) {
        self.notices.push(Notice::Changed(webhook));
    }

    pub(crate) fn catalog_changed(&mut self) {
        self.catalog_changed = true;
    }

    pub(crate) fn bulk_job_started(&mut self) {
        self.bulk_job_started = true;
    }

    pub(crate) fn has_new_catalog(&self) -> bool {
        self.catalog_changed
    }

    /// Forgets what there is to tell of webhooks.
    pub(crate) fn forget_lanes(&mut self) {
        self.notices.clear();
        self.passed_over.clear();
        self.passed_over_since.clear();
    }

    /// Where `back_to` leads, until the next mark.
    pub(crate) fn mark(&mut self) -> Mark {
        for (webhook, due_at) in std::mem::take(&mut self.passed_over_since) {
            lower(&mut self.passed_over, webhook, due_at);
        }
        let accepted = match self.notices.last() {
            Some(Notice::Accepted(list)) => list.len(),
            Some(Notice::Changed(_) | Notice::Asked(_)) | None => 0,
        };
        Mark {
            notices: self.notices.len(),
            accepted,
            whole: self.whole,
            catalog_changed: self.catalog_changed,
            bulk_job_started: self.bulk_job_started,
        }
    }

    /// Forgets what came after the latest mark.
    pub(crate) fn back_to(&mut self, mark: &Mark) {
        self.notices.truncate(mark.notices);
        if let Some(Notice::Accepted(list)) = self.notices.last_mut() {
            list.truncate(mark.accepted);
        }
        self.whole = mark.whole;
        self.passed_over_since.clear();
        self.catalog_changed = mark.catalog_changed;
        self.bulk_job_started = mark.bulk_job_started;
    }

    pub(crate) fn tell(mut self, listener: &dyn CommitSubscriber) {
        // Whatever was passed over is told, whether or not there was a mark since.
        self.mark();
        let mut changed = Vec::new();
        for notice in self.notices {
            if let Notice::Changed(webhook) = notice {
                changed.push(webhook);
                continue;
            }
            if !changed.is_empty() {
                listener.on_changed(&changed);
                changed.clear();
            }
            match notice {
                Notice::Accepted(due) if !due.is_empty() => listener.on_accepted(due),
                Notice::Asked(due) => listener.on_requested(vec![due]),
                Notice::Accepted(_) | Notice::Changed(_) => {}
            }
        }
        if !changed.is_empty() {
            listener.on_changed(&changed);
        }
        if !self.passed_over.is_empty() {
            let lanes = self.passed_over.into_iter();
            let lanes = lanes.map(|(webhook, due_at)| PendingWebhook { webhook, due_at });
            listener.on_skipped(lanes.collect());
        }
        if self.bulk_job_started {
            listener.on_bulk_job_started();
        }
    }
}

fn lower(lanes: &mut Lanes, webhook: WebhookId, due_at: Timestamp) {
    let earliest = lanes.entry(webhook).or_insert(due_at);
    *earliest = due_at.min(*earliest);
}
