//! Post-commit notices: what the jobs of a transaction have for the subscriber, held until the
//! transaction is durable.
//!
//! Bounded, whatever is accepted in one transaction. Beyond the bound a delivery is skipped: only
//! the webhook and the earliest due time are kept, and the subscriber reads it from the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::contract::{CommitSubscriber, PendingWebhook};
use model::delivery::DueDelivery;
use model::id::{DeliveryId, WebhookId};
use model::limits;
use model::time::Timestamp;

use crate::postgres::hints::Hints;
use crate::sql::untold::{Untold, UntoldGuard};

/// What the subscriber is told once the transaction is durable.
#[derive(Default)]
pub(crate) struct PostCommit {
    notices: Vec<PostCommitNotice>,
    /// The number of deliveries in `notices`.
    delivery_count: usize,
    skipped: EarliestDue,
    /// Those skipped since the latest savepoint, apart so that they can be rolled back.
    skipped_since: EarliestDue,
    catalog_changed: bool,
    bulk_job_started: bool,
    leases_changed: bool,
    /// Of a store whose transactions others read before the subscriber is told.
    untold: Option<Arc<Untold>>,
    untold_here: Option<UntoldGuard>,
    /// Whether there is something to spread. Not undone by a rollback: looking for nothing is no
    /// harm.
    fan_out_begun: bool,
}

/// Webhooks, each with the earliest due time.
type EarliestDue = BTreeMap<WebhookId, Timestamp>;

enum PostCommitNotice {
    Accepted(Vec<DueDelivery>),
    Requested(DueDelivery),
    Changed(WebhookId),
}

pub(crate) struct NoticeSavepoint {
    notices: usize,
    accepted: usize,
    delivery_count: usize,
    catalog_changed: bool,
    bulk_job_started: bool,
}

impl PostCommit {
    pub(crate) fn with(untold: &Arc<Untold>) -> Self {
        Self {
            untold: Some(Arc::clone(untold)),
            ..Self::default()
        }
    }

    /// What the owners of the webhooks have to know, if this node is not.
    pub(crate) fn hints(&self) -> Hints {
        let mut hints = Hints::default();
        for notice in &self.notices {
            match notice {
                PostCommitNotice::Accepted(list) => list.iter().for_each(|due| {
                    hints.due(due.delivery.id.webhook, due.delivery.due_at);
                }),
                PostCommitNotice::Requested(due) => hints.changed(due.delivery.id.webhook),
                PostCommitNotice::Changed(webhook) => hints.changed(*webhook),
            }
        }
        for (webhook, due_at) in self.skipped.iter().chain(&self.skipped_since) {
            hints.due(*webhook, *due_at);
        }
        // Whoever owns its webhook has steps to take.
        if self.bulk_job_started {
            hints.tell_all();
        }
        if self.leases_changed {
            hints.leases();
        }
        hints
    }

    /// About so many deliveries are to be accepted.
    pub(crate) fn reserve(&mut self, deliveries: usize) {
        let room = limits::BUFFERED_MAX.saturating_sub(self.delivery_count);
        let deliveries = deliveries.min(room);
        match self.notices.last_mut() {
            Some(PostCommitNotice::Accepted(list)) => list.reserve(deliveries),
            Some(PostCommitNotice::Changed(_) | PostCommitNotice::Requested(_)) | None => {
                let list = Vec::with_capacity(deliveries);
                self.notices.push(PostCommitNotice::Accepted(list));
            }
        }
    }

    /// A notification was accepted for these webhooks, due at `due_at`; `due` makes a delivery.
    pub(crate) fn accepted(
        &mut self,
        webhooks: &[WebhookId],
        due_at: Timestamp,
        due: impl Fn(WebhookId) -> DueDelivery,
    ) {
        // The subscriber does not keep more, either.
        let room = limits::BUFFERED_MAX.saturating_sub(self.delivery_count);
        let (delivery_count, rest) = webhooks.split_at(webhooks.len().min(room));
        self.delivery_count += delivery_count.len();
        let deliveries = delivery_count.iter().map(|webhook| due(*webhook));
        if let Some(PostCommitNotice::Accepted(list)) = self.notices.last_mut() {
            list.extend(deliveries);
        } else if !delivery_count.is_empty() {
            self.notices
                .push(PostCommitNotice::Accepted(deliveries.collect()));
        }
        for webhook in rest {
            lower(&mut self.skipped_since, *webhook, due_at);
        }
    }

    /// The webhook has something due that is not told: the subscriber reads it from the store.
    pub(crate) fn skipped(&mut self, webhook: WebhookId, due_at: Timestamp) {
        lower(&mut self.skipped_since, webhook, due_at);
    }

    /// Somebody asked for this delivery and waits for it.
    pub(crate) fn requested(&mut self, due: DueDelivery) {
        if self.delivery_count < limits::BUFFERED_MAX {
            self.delivery_count += 1;
            self.notices.push(PostCommitNotice::Requested(due));
        } else {
            let (webhook, due_at) = (due.delivery.id.webhook, due.delivery.due_at);
            lower(&mut self.skipped_since, webhook, due_at);
        }
    }

    pub(crate) fn changed(&mut self, webhook: WebhookId) {
        self.notices.push(PostCommitNotice::Changed(webhook));
    }

    pub(crate) fn catalog_changed(&mut self) {
        self.catalog_changed = true;
    }

    pub(crate) fn bulk_job_started(&mut self) {
        self.bulk_job_started = true;
    }

    /// Other nodes may renew their leases now.
    pub(crate) fn leases_changed(&mut self) {
        self.leases_changed = true;
    }

    pub(crate) fn has_news_of_leases(&self) -> bool {
        self.leases_changed
    }

    /// A notification has to be spread over its webhooks in steps.
    pub(crate) fn fan_out_begun(&mut self) {
        self.fan_out_begun = true;
    }

    pub(crate) fn has_fan_out(&self) -> bool {
        self.fan_out_begun
    }

    pub(crate) fn has_new_catalog(&self) -> bool {
        self.catalog_changed
    }

    /// Forgets everything about webhooks.
    pub(crate) fn forget_webhooks(&mut self) {
        self.notices.clear();
        self.skipped.clear();
        self.skipped_since.clear();
    }

    /// A savepoint for `rollback_to`, valid until the next one.
    pub(crate) fn savepoint(&mut self) -> NoticeSavepoint {
        for (webhook, due_at) in std::mem::take(&mut self.skipped_since) {
            lower(&mut self.skipped, webhook, due_at);
        }
        let accepted = match self.notices.last() {
            Some(PostCommitNotice::Accepted(list)) => list.len(),
            Some(PostCommitNotice::Changed(_) | PostCommitNotice::Requested(_)) | None => 0,
        };
        NoticeSavepoint {
            notices: self.notices.len(),
            accepted,
            delivery_count: self.delivery_count,
            catalog_changed: self.catalog_changed,
            bulk_job_started: self.bulk_job_started,
        }
    }

    /// Forgets what came after the latest savepoint.
    pub(crate) fn rollback_to(&mut self, mark: &NoticeSavepoint) {
        self.notices.truncate(mark.notices);
        if let Some(PostCommitNotice::Accepted(list)) = self.notices.last_mut() {
            list.truncate(mark.accepted);
        }
        self.delivery_count = mark.delivery_count;
        self.skipped_since.clear();
        self.catalog_changed = mark.catalog_changed;
        self.bulk_job_started = mark.bulk_job_started;
    }

    /// The transaction is about to be committed: others may read what is told only later.
    pub(crate) fn commits(&mut self) {
        let Some(untold) = &self.untold else {
            return;
        };
        let of_notice = |notice: &PostCommitNotice| -> Vec<DeliveryId> {
            match notice {
                PostCommitNotice::Accepted(list) => {
                    list.iter().map(|due| due.delivery.id).collect()
                }
                PostCommitNotice::Requested(due) => vec![due.delivery.id],
                PostCommitNotice::Changed(_) => Vec::new(),
            }
        };
        let told: Vec<DeliveryId> = self.notices.iter().flat_map(of_notice).collect();
        if !told.is_empty() {
            self.untold_here = Some(untold.hold(told));
        }
    }

    /// Nobody knows whether the transaction was committed: the subscriber is to look for whatever
    /// it would have been told.
    pub(crate) fn publish_doubt(mut self, subscriber: &dyn CommitSubscriber) {
        self.savepoint();
        let mut lanes = std::mem::take(&mut self.skipped);
        let mut changed = Vec::new();
        let due = |lanes: &mut EarliestDue, due: &DueDelivery| {
            lower(lanes, due.delivery.id.webhook, due.delivery.due_at);
        };
        for notice in &self.notices {
            match notice {
                PostCommitNotice::Accepted(list) => {
                    list.iter().for_each(|one| due(&mut lanes, one));
                }
                PostCommitNotice::Requested(one) => due(&mut lanes, one),
                PostCommitNotice::Changed(webhook) => changed.push(*webhook),
            }
        }
        // Nothing may be left out of what it then reads.
        drop(self.untold_here.take());
        if !changed.is_empty() {
            subscriber.on_changed(&changed);
        }
        if !lanes.is_empty() {
            let lanes = lanes.into_iter();
            let lanes = lanes.map(|(webhook, due_at)| PendingWebhook { webhook, due_at });
            subscriber.on_skipped(lanes.collect());
        }
        if self.bulk_job_started {
            subscriber.on_bulk_job_started();
        }
    }

    pub(crate) fn publish(mut self, subscriber: &dyn CommitSubscriber) {
        // Until everything was told.
        let _untold = self.untold_here.take();
        // What was skipped since the latest savepoint is told, too.
        self.savepoint();
        let mut changed = Vec::new();
        for notice in self.notices {
            if let PostCommitNotice::Changed(webhook) = notice {
                changed.push(webhook);
                continue;
            }
            if !changed.is_empty() {
                subscriber.on_changed(&changed);
                changed.clear();
            }
            match notice {
                PostCommitNotice::Accepted(due) if !due.is_empty() => subscriber.on_accepted(due),
                PostCommitNotice::Requested(due) => subscriber.on_requested(vec![due]),
                PostCommitNotice::Accepted(_) | PostCommitNotice::Changed(_) => {}
            }
        }
        if !changed.is_empty() {
            subscriber.on_changed(&changed);
        }
        if !self.skipped.is_empty() {
            let lanes = self.skipped.into_iter();
            let lanes = lanes.map(|(webhook, due_at)| PendingWebhook { webhook, due_at });
            subscriber.on_skipped(lanes.collect());
        }
        if self.bulk_job_started {
            subscriber.on_bulk_job_started();
        }
    }
}

fn lower(lanes: &mut EarliestDue, webhook: WebhookId, due_at: Timestamp) {
    let earliest = lanes.entry(webhook).or_insert(due_at);
    *earliest = due_at.min(*earliest);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use model::contract::{DuePage, RecoveryPage};
    use model::delivery::Delivery;
    use model::id::NotificationId;
    use model::webhook::Headers;

    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Told {
        fn hear(&self, words: String) {
            self.0.lock().unwrap().push(words);
        }
    }

    impl CommitSubscriber for Told {
        fn on_accepted(&self, deliveries: Vec<DueDelivery>) {
            self.hear(format!("accepted {}", deliveries.len()));
        }

        fn on_requested(&self, deliveries: Vec<DueDelivery>) {
            self.hear(format!("requested {}", deliveries.len()));
        }

        fn on_skipped(&self, lanes: Vec<PendingWebhook>) {
            for lane in lanes {
                let (webhook, ms) = (lane.webhook.0, lane.due_at.as_millis());
                self.hear(format!("skipped {webhook} from {ms}"));
            }
        }

        fn on_changed(&self, webhooks: &[WebhookId]) {
            self.hear(format!("changed {}", webhooks.len()));
        }

        fn on_external_change(&self) {}

        fn on_bulk_job_started(&self) {
            self.hear("bulk job".to_owned());
        }

        fn on_leases_changed(&self) {}
    }

    fn due(notification: i64, webhook: WebhookId, ms: i64) -> DueDelivery {
        DueDelivery {
            delivery: Delivery {
                id: DeliveryId {
                    notification: NotificationId(notification),
                    webhook,
                },
                round: 1,
                attempts: 0,
                round_attempts: 0,
                round_began_at: None,
                due_at: Timestamp::from_millis(ms),
            },
            key: "1".into(),
            action_type: Arc::from("order.paid"),
            accepted_at: Timestamp::EPOCH,
            headers: Headers::default(),
            body: Bytes::new(),
        }
    }

    /// Two deliveries of webhook 1, one of webhook 2 that somebody waits for, and a change of 3.
    fn news(untold: &Arc<Untold>) -> PostCommit {
        let mut news = PostCommit::with(untold);
        for (notification, ms) in [(7, 90), (8, 80)] {
            let at = Timestamp::from_millis(ms);
            news.accepted(&[WebhookId(1)], at, |webhook| {
                due(notification, webhook, ms)
            });
        }
        news.requested(due(5, WebhookId(2), 70));
        news.changed(WebhookId(3));
        news.bulk_job_started();
        news
    }

    #[test]
    fn what_may_have_been_committed_is_to_be_looked_for() {
        let told = Told::default();
        news(&Arc::default()).publish_doubt(&told);
        let expected = [
            "changed 1",
            "skipped 1 from 80",
            "skipped 2 from 70",
            "bulk job",
        ];
        assert_eq!(*told.0.lock().unwrap(), expected);
    }

    #[test]
    fn what_is_told_after_a_commit_is_left_out_of_what_is_read_until_then() {
        let untold = Arc::<Untold>::default();
        let read = || {
            let (one, other) = (WebhookId(1), WebhookId(2));
            let mut pages = vec![DuePage {
                webhook: one,
                deliveries: vec![due(6, one, 1), due(7, one, 1), due(8, one, 1)],
                next_due_at: None,
                recovery: Some(RecoveryPage {
                    deliveries: vec![due(5, other, 1), due(5, one, 1)],
                    next: None,
                }),
            }];
            untold.leave_out(&mut pages);
            let early = pages[0].recovery.as_ref().unwrap();
            let all = pages[0].deliveries.iter().chain(&early.deliveries);
            let all = all.map(|due| due.delivery.id.notification.0);
            all.collect::<Vec<i64>>()
        };
        let mut news = news(&untold);
        assert_eq!(read(), [6, 7, 8, 5, 5]);
        news.commits();
        assert_eq!(read(), [6, 5]);
        news.publish(&Told::default());
        assert_eq!(read(), [6, 7, 8, 5, 5]);
        // One that is not committed is not told.
        let mut other = super::tests::news(&untold);
        other.commits();
        drop(other);
        assert_eq!(read(), [6, 7, 8, 5, 5]);
    }
}
