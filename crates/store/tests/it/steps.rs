//! The steps of the fan-out on SQLite: the jobs of others have their turn in between.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use model::contract::{CommitSubscriber, PendingWebhook, StoreError, StoreFuture};
use model::dashboard::{BulkJobKind, NewBulkJob};
use model::delivery::{CancelCause, DeliveryState, DueDelivery};
use model::id::WebhookId;
use model::idempotency::{IdempotencyKey, IdempotentOperation};
use model::limits::{self, INTAKE_BATCH_MAX, UNMATERIALIZED_MAX};
use model::notification::{AcceptResult, NewNotification};
use model::tenant::TokenHash;
use model::time::Timestamp;
use model::webhook::{DisableCause, Disablement, Webhook};
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use crate::inline::now;
use crate::sqlite::fan_out::{WEBHOOKS, batch, due, ids, webhooks};
use crate::sqlite::harness::{Given, Told, at, pair, wait};

const ASKED: Option<Disablement> = Some(Disablement {
    at: Timestamp::from_millis(5),
    cause: DisableCause::Requested,
});

/// What happened, in order.
enum Event {
    /// Something was materialized, and the writer waits until it may go on.
    Listed,
    Answered,
}

/// A subscriber that stops the writer at each step.
struct Steps {
    events: Mutex<Sender<Event>>,
    go: Mutex<Receiver<()>>,
}

impl CommitSubscriber for Steps {
    fn on_accepted(&self, _deliveries: Vec<DueDelivery>) {}

    fn on_requested(&self, _: Vec<DueDelivery>) {}

    fn on_skipped(&self, _lanes: Vec<PendingWebhook>) {
        if self.events.lock().unwrap().send(Event::Listed).is_ok() {
            // Once nobody says so any more, all may go on.
            self.go.lock().unwrap().recv().ok();
        }
    }

    fn on_changed(&self, _webhooks: &[WebhookId]) {}

    fn on_external_change(&self) {}

    fn on_bulk_job_started(&self) {}

    fn on_leases_changed(&self) {}
}

/// Rings when there is an answer.
struct Bell(Mutex<Sender<Event>>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().send(Event::Answered).ok();
    }
}

/// A store with threads that stops at each step.
struct Stepped {
    given: Given,
    webhooks: Vec<WebhookId>,
    tell: Sender<Event>,
    events: Receiver<Event>,
    go: Sender<()>,
    folder: TempDir,
}

fn stepped() -> Stepped {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let given = Given::unheard(store::open(&path, &mut Registry::default()).unwrap());
    let webhooks = webhooks(&given, given.tenant);
    let (tell, events) = channel();
    let (go, going) = channel();
    given.store.subscribe(Arc::new(Steps {
        events: Mutex::new(tell.clone()),
        go: Mutex::new(going),
    }));
    Stepped {
        given,
        webhooks,
        tell,
        events,
        go,
        folder,
    }
}

impl Stepped {
    /// Accepts so many notifications for all webhooks, and materializes a first part of what they
    /// owe.
    fn accept(&self, count: usize) -> Vec<i64> {
        let ids = ids(wait(self.given.store.accept(batch(&self.given, count))).unwrap());
        assert!(matches!(self.events.recv().unwrap(), Event::Listed));
        ids
    }

    /// Disables or enables the webhook. Answers whether it has to wait.
    fn switch(&self, webhook: WebhookId, disabled: Option<Disablement>) -> bool {
        let given = &self.given;
        let changed = Webhook {
            disabled,
            ..given.stored(webhook)
        };
        let saved = given.store.save_webhook(changed, "test".to_owned(), at(5));
        let saved = async {
            match saved.await {
                Err(StoreError::Busy) => Ok(true),
                saved => saved.map(|_| false),
            }
        };
        self.steps_until(Box::pin(saved)).0
    }

    /// Steps made until there is an answer.
    fn steps_until<T: Send + 'static>(&self, mut reply: StoreFuture<T>) -> (T, usize) {
        let waker = Waker::from(Arc::new(Bell(Mutex::new(self.tell.clone()))));
        let mut poll = || reply.as_mut().poll(&mut Context::from_waker(&waker));
        let mut answer = poll();
        let mut steps = 0;
        self.go.send(()).unwrap();
        loop {
            if let Poll::Ready(answer) = answer {
                return (answer.unwrap(), steps);
            }
            match self.events.recv().unwrap() {
                Event::Listed => {
                    steps += 1;
                    self.go.send(()).unwrap();
                }
                Event::Answered => answer = poll(),
            }
        }
    }

    /// Closes the store and opens it again. Answers how much was not materialized in between.
    fn again(self) -> (i64, Given, TempDir) {
        let closed = self.given.store.close();
        drop((self.events, self.go));
        wait(closed).unwrap();
        let tenant = self.given.tenant;
        drop(self.given);
        let left = "select coalesce(sum(owed), 0) from listing";
        let left = count(self.folder.path(), left);
        let store = store::open_inline_at(&self.folder.path().join("willcall.db")).unwrap();
        let mut given = Given::on(store);
        given.tenant = tenant;
        (left, given, self.folder)
    }
}

fn count(path: &Path, sql: &str) -> i64 {
    let conn = rusqlite::Connection::open(path.join("willcall.db")).unwrap();
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn others_have_their_turn_while_a_small_request_owes_very_much() {
    let stepped = stepped();
    let given = &stepped.given;
    let other = given.another_tenant("other");
    stepped.accept(40);
    let new = NewNotification {
        tenant: other,
        ..given.new_notification("other", 1)
    };
    let (answer, steps) = stepped.steps_until(given.store.accept(vec![new]));
    assert!(matches!(answer[0], AcceptResult::Accepted { .. }));
    assert!(steps <= 3, "{steps} steps of 80 or more came before");
    let listed = count(stepped.folder.path(), "select count(*) from fresh");
    assert!(listed < 20_000, "{listed} of 84,000");
}

#[test]
fn what_is_not_materialized_at_a_stop_is_due_after_the_next_start() {
    let stepped = stepped();
    let ids = stepped.accept(4);
    let webhooks = stepped.webhooks.clone();
    let (left, given, folder) = stepped.again();
    assert!(left > 2_000, "{left}");
    // Whatever is done first.
    given.notified("later", 2);
    for webhook in &webhooks {
        assert_eq!(due(&given, *webhook)[..4], ids);
        assert_eq!(due(&given, *webhook).len(), 5);
    }
    for table in ["listing", "audience", "wide"] {
        assert_eq!(
            count(folder.path(), &format!("select count(*) from {table}")),
            0
        );
    }
}

#[test]
fn a_webhook_that_is_disabled_before_its_turn_is_sent_nothing() {
    let stepped = stepped();
    let ids = stepped.accept(4);
    let last = *stepped.webhooks.last().unwrap();
    assert!(!stepped.switch(last, ASKED));
    // Else it would be sent what it was owed when it was disabled.
    assert!(stepped.switch(last, None), "it has to wait");
    let (left, given, _folder) = stepped.again();
    assert!(left > 0);
    given.notified("later", 6);
    let states: Vec<DeliveryState> = given.log(last).iter().map(|row| row.state).collect();
    let cancelled = DeliveryState::Cancelled(CancelCause::WebhookDisabled);
    assert_eq!(states, vec![cancelled; ids.len()]);
    assert!(due(&given, last).is_empty());
}

/// Whether webhooks that are owed nothing have to wait before they are enabled again, while so many
/// audiences are left: one that was disabled before those, and one that was after.
fn wait_to_be_enabled(audiences: usize) -> [bool; 2] {
    let stepped = stepped();
    let given = &stepped.given;
    given.webhook(&[("placed", None)]);
    let [before, after] = [0, 1].map(|_| given.webhook(&[("refunded", None)]).id);
    given.disable(before, 1);
    let new = |n: usize| {
        let mut new = given.new_notification(&n.to_string(), 1);
        // Two that follow one another are not for the same webhooks.
        if n % 2 == 1 {
            new.match_keys.push(pair("placed", "democon"));
        }
        new
    };
    wait(given.store.accept((0..audiences).map(new).collect())).unwrap();
    assert!(matches!(stepped.events.recv().unwrap(), Event::Listed));
    assert!(!stepped.switch(after, ASKED));
    let waits = [before, after].map(|webhook| stepped.switch(webhook, None));
    let left = count(stepped.folder.path(), "select count(*) from audience");
    assert!(left > 0, "all was listed meanwhile");
    waits
}

#[test]
fn a_webhook_that_was_disabled_before_is_enabled_however_much_is_left() {
    let [before, _] = wait_to_be_enabled(60);
    assert!(!before);
}

#[test]
fn whether_a_webhook_is_owed_something_is_looked_for_in_a_few_audiences_only() {
    let waits = [8, 60].map(wait_to_be_enabled).map(|[_, after]| after);
    assert_eq!(waits, [false, true]);
}

#[test]
fn what_is_to_be_cancelled_is_cancelled_although_it_is_not_materialized_yet() {
    let stepped = stepped();
    stepped.accept(4);
    let (given, last) = (&stepped.given, *stepped.webhooks.last().unwrap());
    let bulk_job = NewBulkJob {
        tenant: given.tenant,
        webhook: Some(last),
        what: BulkJobKind::CancelPending,
        filter: None,
        expected: 4,
        actor: "test".to_owned(),
    };
    stepped.steps_until(given.store.start_bulk_job(bulk_job, at(3)));
    loop {
        let (more, _) = stepped.steps_until(given.store.step_bulk_job(given.epoch(), at(4)));
        if !more {
            break;
        }
    }
    let (_, given, _folder) = stepped.again();
    given.notified("later", 6);
    let states: Vec<DeliveryState> = given.log(last).iter().map(|row| row.state).collect();
    let stopped = DeliveryState::Cancelled(CancelCause::Requested);
    assert_eq!(states[1..], vec![stopped; 4]);
    assert_eq!(due(&given, last).len(), 1);
}

#[test]
fn a_tenant_with_very_much_left_waits_and_nobody_else_does() {
    let stepped = stepped();
    let given = &stepped.given;
    let other = given.another_tenant("other");
    stepped.accept(INTAKE_BATCH_MAX);
    let batches = UNMATERIALIZED_MAX / (INTAKE_BATCH_MAX * WEBHOOKS);
    for number in 0..batches {
        let new = |n| given.new_notification(&format!("{number} {n}"), 1);
        let new = (0..INTAKE_BATCH_MAX).map(new);
        stepped.steps_until(given.store.accept(new.collect()));
    }
    let new = given.new_notification("one more", 2);
    let others = NewNotification {
        tenant: other,
        ..new.clone()
    };
    // Under a key as well, and whoever is named before.
    for batch in [vec![new.clone()], vec![others.clone(), new]] {
        let key = IdempotencyKey {
            key: "a".to_owned(),
            holder: TokenHash([1; 32]),
            request: TokenHash([2; 32]),
        };
        let effect = IdempotentOperation::Accept {
            batch: batch.clone(),
            part: 0,
        };
        let busy = now(given.store.run_idempotent(key, effect, at(2)));
        assert!(matches!(busy, Err(StoreError::Busy)), "{busy:?}");
        let busy = now(given.store.accept(batch));
        assert!(matches!(busy, Err(StoreError::Busy)), "{busy:?}");
    }
    let (answer, _) = stepped.steps_until(given.store.accept(vec![others]));
    assert!(matches!(answer[0], AcceptResult::Accepted { .. }));
}

#[test]
fn tenants_take_turns_in_the_fan_out() {
    let stepped = stepped();
    let given = &stepped.given;
    let other = given.another_tenant("other");
    let of_other = webhooks(given, other);
    stepped.accept(40);
    let new = NewNotification {
        tenant: other,
        ..given.new_notification("other", 1)
    };
    stepped.steps_until(given.store.accept(vec![new]));
    let path = stepped.folder.path();
    let sql = format!(
        "select count(*) from fresh where webhook_id = {}",
        of_other[WEBHOOKS - 1].0
    );
    for _ in 0..6 {
        stepped.go.send(()).unwrap();
        assert!(matches!(stepped.events.recv().unwrap(), Event::Listed));
    }
    assert_eq!(count(path, &sql), 1);
}

#[test]
fn beyond_a_bound_the_subscriber_is_told_of_webhooks_instead_of_deliveries() {
    let given = Given::new();
    let webhooks: Vec<WebhookId> = (0..20).map(|_| given.paid_webhook()).collect();
    given.heard.take();
    let count = limits::BUFFERED_MAX / webhooks.len() + 10;
    let batch = (0..count).map(|n| {
        let time = 1_000 + i64::try_from(n).unwrap();
        given.new_notification(&n.to_string(), time)
    });
    wait(given.store.accept(batch.collect())).unwrap();
    let told = given.heard.take();
    let [Told::Accepted(whole), Told::PassedOver(lanes)] = &told[..] else {
        panic!("{} things told", told.len());
    };
    assert_eq!(whole.len(), limits::BUFFERED_MAX);
    // Of each webhook the first that was not told: with the others it is all there is.
    assert_eq!(lanes.len(), webhooks.len());
    for (webhook, lane) in webhooks.into_iter().zip(lanes) {
        let (due, _) = given.due(webhook, count, i64::MAX);
        assert_eq!(due.len(), count);
        let told = whole
            .iter()
            .filter(|due| due.delivery.id.webhook == webhook);
        let first = &due[told.count()].delivery;
        assert_eq!((lane.webhook, lane.due_at), (webhook, first.due_at));
    }
}
