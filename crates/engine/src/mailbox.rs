//! The mailbox: what the store tells after its commits, until the loop takes it.
//!
//! Filled on the store's thread, so it never waits. It is bounded: beyond the bounds it forgets
//! deliveries and remembers only that their webhooks have something due, because the store has the
//! deliveries. What is told of a single commit is bounded in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use model::contract::{CommitSubscriber, PendingWebhook};
use model::delivery::{DispatchState, DueDelivery};
use model::id::{DeliveryId, WebhookId};
use model::limits;
use model::mutation::{Mutation, is_on};
use model::time::Timestamp;
use tokio::sync::{Notify, oneshot};

use crate::sync::lock;

#[derive(Default)]
pub(crate) struct Mailbox {
    inner: Mutex<MailboxInner>,
    bulk_jobs: Arc<Notify>,
}

/// What arrived since the loop last looked.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) accepted: Vec<DueDelivery>,
    /// Somebody waits for these.
    pub(crate) asked: Vec<DueDelivery>,
    /// Webhooks of deliveries that did not fit, with the earliest of their due times.
    pub(crate) passed_over: BTreeMap<WebhookId, Timestamp>,
    pub(crate) changed: BTreeSet<WebhookId>,
    pub(crate) changed_elsewhere: bool,
    /// Another node freed slots, or wants some.
    pub(crate) leases_changed: bool,
    /// Questions that somebody waits for an answer to.
    pub(crate) questions: Vec<StateQuery>,
}

/// A question where this delivery stands.
pub(crate) struct StateQuery {
    pub(crate) id: DeliveryId,
    pub(crate) answer: oneshot::Sender<DispatchState>,
}

/// Questions that may wait at a time; more get no answer.
const QUESTIONS_MAX: usize = 1_024;

#[derive(Default)]
struct MailboxInner {
    mail: Mail,
    body_bytes: usize,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Everything there is at this moment, possibly nothing.
    pub(crate) fn take(&self) -> Mail {
        let mut inner = self.lock();
        inner.body_bytes = 0;
        std::mem::take(&mut inner.mail)
    }

    /// Ready as soon as there is something.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Mail> {
        let mut inner = self.lock();
        if inner.mail.is_empty() {
            match &mut inner.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => inner.waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        inner.body_bytes = 0;
        Poll::Ready(std::mem::take(&mut inner.mail))
    }

    /// Asks where a delivery stands. No answer comes if too many questions wait or the loop ended.
    pub(crate) fn ask(&self, id: DeliveryId) -> oneshot::Receiver<DispatchState> {
        let (answer, answered) = oneshot::channel();
        self.fill(|inner| {
            if inner.mail.questions.len() < QUESTIONS_MAX {
                inner.mail.questions.push(StateQuery { id, answer });
            }
        });
        answered
    }

    /// There may be a bulk job to go on with: of another owner, until now.
    pub(crate) fn ring(&self) {
        self.bulk_jobs.notify_one();
    }

    /// Notified when there may be a bulk job to go on with.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bulk_jobs)
    }

    fn lock(&self) -> MutexGuard<'_, MailboxInner> {
        lock(&self.inner)
    }

    fn fill(&self, put: impl FnOnce(&mut MailboxInner)) {
        let mut inner = self.lock();
        put(&mut inner);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Mail {
    /// What is for these webhooks only. Who asks for others gets no answer.
    pub(crate) fn of(mut self, is_own: impl Fn(WebhookId) -> bool) -> Self {
        self.accepted.retain(|due| is_own(due.delivery.id.webhook));
        self.asked.retain(|due| is_own(due.delivery.id.webhook));
        self.passed_over.retain(|webhook, _| is_own(*webhook));
        self.changed.retain(|webhook| is_own(*webhook));
        self.questions.retain(|query| is_own(query.id.webhook));
        self
    }

    fn is_empty(&self) -> bool {
        self.accepted.is_empty()
            && self.asked.is_empty()
            && self.passed_over.is_empty()
            && self.changed.is_empty()
            && self.questions.is_empty()
            && !self.changed_elsewhere
            && !self.leases_changed
    }
}

impl MailboxInner {
    fn put(&mut self, due: DueDelivery, is_asked: bool) {
        let body_bytes = self.body_bytes.saturating_add(due.body.len());
        let list = match is_asked {
            true => &mut self.mail.asked,
            false => &mut self.mail.accepted,
        };
        if is_on(Mutation::DropEventWhenMailboxFull) && list.len() >= 4 {
            return;
        }
        if list.len() < limits::BUFFERED_MAX && body_bytes <= limits::BUFFERED_BYTES_MAX {
            self.body_bytes = body_bytes;
            list.push(due);
        } else {
            self.pass_over(due.delivery.id.webhook, due.delivery.due_at);
        }
    }

    fn pass_over(&mut self, webhook: WebhookId, due_at: Timestamp) {
        let earliest = self.mail.passed_over.entry(webhook).or_insert(due_at);
        *earliest = due_at.min(*earliest);
    }
}

impl CommitSubscriber for Mailbox {
    fn on_accepted(&self, deliveries: Vec<DueDelivery>) {
        self.fill(|inner| {
            let room = limits::BUFFERED_MAX.saturating_sub(inner.mail.accepted.len());
            inner.mail.accepted.reserve(deliveries.len().min(room));
            for due in deliveries {
                inner.put(due, false);
            }
        });
    }

    fn on_requested(&self, deliveries: Vec<DueDelivery>) {
        self.fill(|inner| {
            for due in deliveries {
                inner.put(due, true);
            }
        });
    }

    fn on_skipped(&self, lanes: Vec<PendingWebhook>) {
        self.fill(|inner| {
            let lanes = lanes.into_iter();
            lanes.for_each(|lane| inner.pass_over(lane.webhook, lane.due_at));
        });
    }

    fn on_changed(&self, webhooks: &[WebhookId]) {
        self.fill(|inner| inner.mail.changed.extend(webhooks));
    }

    fn on_external_change(&self) {
        self.fill(|inner| inner.mail.changed_elsewhere = true);
        self.ring();
    }

    fn on_bulk_job_started(&self) {
        self.ring();
    }

    fn on_leases_changed(&self) {
        self.fill(|inner| inner.mail.leases_changed = true);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::delivery::Delivery;
    use model::id::{DeliveryId, NotificationId};
    use model::webhook::Headers;

    use super::*;

    fn due(number: i64, body: &Bytes) -> DueDelivery {
        DueDelivery {
            delivery: Delivery {
                id: DeliveryId {
                    notification: NotificationId(number),
                    webhook: WebhookId(number % 3),
                },
                round: 1,
                attempts: 0,
                round_attempts: 0,
                round_began_at: None,
                due_at: Timestamp::from_millis(number),
            },
            key: "1".into(),
            action_type: Arc::from("order.paid"),
            accepted_at: Timestamp::EPOCH,
            headers: Headers::default(),
            body: body.clone(),
        }
    }

    #[test]
    fn beyond_its_bound_it_remembers_webhooks_only() {
        let mailbox = Mailbox::default();
        let bound = i64::try_from(limits::BUFFERED_MAX).unwrap();
        let body = Bytes::from_static(b"x");
        mailbox.on_accepted((0..bound + 300).map(|n| due(n, &body)).collect());
        let mail = mailbox.take();
        assert_eq!(mail.accepted.len(), limits::BUFFERED_MAX);
        assert_eq!(mail.passed_over.len(), 3);
        let earliest = mail.passed_over.values().min().copied();
        assert_eq!(earliest, Some(Timestamp::from_millis(bound)));
        assert!(mailbox.take().is_empty());
        mailbox.on_accepted(vec![due(1, &body)]);
        assert_eq!(mailbox.take().accepted.len(), 1);
    }

    #[test]
    fn what_the_store_passed_over_is_kept_with_its_earliest_time() {
        let mailbox = Mailbox::default();
        for (webhook, at) in [(1, 9), (2, 5), (1, 7), (1, 8)] {
            mailbox.on_skipped(vec![PendingWebhook {
                webhook: WebhookId(webhook),
                due_at: Timestamp::from_millis(at),
            }]);
        }
        let mail = mailbox.take();
        let expected = [(1, 7), (2, 5)].map(|(webhook, at)| (WebhookId(webhook), at));
        let kept = mail.passed_over.into_iter();
        assert!(
            kept.map(|(webhook, at)| (webhook, at.as_millis()))
                .eq(expected)
        );
    }

    #[test]
    fn large_bodies_fill_it_sooner() {
        let mailbox = Mailbox::default();
        let body = Bytes::from(vec![0; limits::NOTIFICATION_BODY_BYTES_MAX]);
        mailbox.on_accepted((0..1_000).map(|n| due(n, &body)).collect());
        let mail = mailbox.take();
        let fits = limits::BUFFERED_BYTES_MAX / limits::NOTIFICATION_BODY_BYTES_MAX;
        assert_eq!(mail.accepted.len(), fits);
        assert_eq!(mail.passed_over.len(), 3);
    }
}
