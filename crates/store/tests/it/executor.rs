//! The executor with its threads: shared commits, bounds, order, a full disk, other processes,
//! panics.

use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use model::contract::{
    CommitSubscriber, DiskFault, PendingWebhook, Store, StoreError, StoreFuture,
};
use model::delivery::{DeliveryState, DueDelivery, NextState};
use model::id::{TenantId, WebhookId};
use model::idempotency::{IdempotencyKey, IdempotentOperation};
use model::lease::Epoch;
use model::limits::{BUFFERED_MAX, COMMIT_DELAY_MAX_MS, INTAKE_BATCH_MAX, WRITER_QUEUE_MAX};
use model::notification::{AcceptResult, NewNotification};
use model::query::{ChangeKind, LogQuery};
use model::tenant::TokenHash;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::sqlite::harness::{
    Given, Heard, Told, answered, at, declaration, delivered, delivery_id, retry, settlement, wait,
};

/// A store with threads on a file of its own.
struct ThreadedStore {
    given: Given,
    path: PathBuf,
    registry: Registry,
    _folder: TempDir,
}

fn threaded() -> ThreadedStore {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let mut registry = Registry::default();
    let given = Given::on(store::open(&path, &mut registry).unwrap());
    ThreadedStore {
        given,
        path,
        registry,
        _folder: folder,
    }
}

impl ThreadedStore {
    fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .parse()
            .unwrap()
    }
}

/// A subscriber that holds the writer until it is released, whenever something was accepted.
struct Gate {
    heard: Arc<Heard>,
    reached: Mutex<Sender<()>>,
    go: Mutex<Receiver<Verdict>>,
}

/// What becomes of the writer at the gate. When the keeper has gone home, everybody may pass.
enum Verdict {
    Pass,
    Panic,
}

struct Gatekeeper {
    reached: Receiver<()>,
    go: Sender<Verdict>,
}

impl CommitSubscriber for Gate {
    fn on_accepted(&self, deliveries: Vec<DueDelivery>) {
        self.heard.on_accepted(deliveries);
        if self.reached.lock().unwrap().send(()).is_err() {
            return;
        }
        let verdict = self.go.lock().unwrap().recv().unwrap_or(Verdict::Pass);
        assert!(matches!(verdict, Verdict::Pass), "as the keeper wishes");
    }

    fn on_requested(&self, deliveries: Vec<DueDelivery>) {
        self.on_accepted(deliveries);
    }

    fn on_skipped(&self, lanes: Vec<PendingWebhook>) {
        self.heard.on_skipped(lanes);
    }

    fn on_changed(&self, _webhooks: &[WebhookId]) {}

    fn on_external_change(&self) {}

    fn on_bulk_job_started(&self) {}

    fn on_leases_changed(&self) {}
}

/// A store whose writer can be held, with a webhook that wants everything.
fn gated() -> (ThreadedStore, Gatekeeper, WebhookId) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let mut registry = Registry::default();
    let store = store::open(&path, &mut registry).unwrap();
    let (reached_in, reached) = channel();
    let (go, go_in) = channel();
    let heard = Arc::new(Heard::default());
    store.subscribe(Arc::new(Gate {
        heard: heard.clone(),
        reached: Mutex::new(reached_in),
        go: Mutex::new(go_in),
    }));
    let mut given = Given::unheard(store);
    given.heard = heard;
    let webhook = given.paid_webhook();
    let threaded = ThreadedStore {
        given,
        path,
        registry,
        _folder: folder,
    };
    (threaded, Gatekeeper { reached, go }, webhook)
}

impl Gatekeeper {
    /// Stops the writer: what comes now waits.
    fn hold(&self, given: &Given) -> StoreFuture<Vec<AcceptResult>> {
        let held = given.store.accept(vec![given.new_notification("held", 1)]);
        self.reached.recv().unwrap();
        held
    }

    fn open(self) {
        drop(self.go);
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

fn is_busy<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Busy))
}

#[test]
fn concurrent_callers_share_a_commit() {
    let (threaded, keeper, webhook) = gated();
    let given = &threaded.given;
    let held = keeper.hold(given);
    let commits = threaded.metric("willcall_store_commits_total");
    let replies: Vec<_> = (0..20)
        .map(|n| {
            given
                .store
                .accept(vec![given.new_notification(&n.to_string(), n)])
        })
        .collect();
    assert!((threaded.metric("willcall_store_jobs_queued") - 20.0).abs() < 0.1);
    keeper.open();
    for reply in replies {
        wait(reply).unwrap();
    }
    wait(held).unwrap();
    assert!((threaded.metric("willcall_store_commits_total") - commits - 1.0).abs() < 0.1);
    assert!(threaded.metric("willcall_store_group_commit_jobs_sum") >= 20.0);
    assert!(threaded.metric("willcall_store_jobs_queued").abs() < 0.1);
    assert!(threaded.metric("willcall_store_commit_duration_seconds_count") >= 2.0);
    assert_eq!(given.due(webhook, 50, 50).0.len(), 21);
}

/// Sends a notification of its own and answers its id.
fn hand_in(given: &Given) -> i64 {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    given.notified(&COUNT.fetch_add(1, Ordering::Relaxed).to_string(), 1)
}

/// How long the store takes to write the outcome of one delivery, if something else happens
/// meanwhile.
fn settling_takes(
    threaded: &ThreadedStore,
    webhook: WebhookId,
    next: NextState,
    meanwhile: fn(&Given),
) -> Duration {
    let given = &threaded.given;
    let accepted = hand_in(given);
    let outcome = match next.state {
        DeliveryState::Delivered => answered(200),
        DeliveryState::Pending | DeliveryState::Failed | DeliveryState::Cancelled(_) => {
            answered(500)
        }
    };
    let batch = [settlement(delivery_id(accepted, webhook), 2, outcome, next)];
    let began_at = Instant::now();
    let settled = given.store.settle(Epoch::FIRST, batch.into());
    meanwhile(given);
    wait(settled).unwrap();
    began_at.elapsed()
}

/// Whether it is done within a fraction of its commit delay. On a busy machine that may fail by
/// chance, so it is tried often; what is delayed never does it.
fn is_quick(take: impl Fn() -> Duration) -> bool {
    (0..50).any(|_| take() < Duration::from_millis(COMMIT_DELAY_MAX_MS / 3))
}

#[test]
fn what_was_delivered_waits_for_a_commit_that_is_made_anyway_but_not_for_ever() {
    let threaded = threaded();
    let webhook = threaded.given.paid_webhook();
    let took = settling_takes(&threaded, webhook, delivered(), |_| {});
    // The writer's clock and this one are read at different moments.
    assert!(
        took >= Duration::from_millis(COMMIT_DELAY_MAX_MS - 10),
        "{took:?}"
    );
}

#[test]
fn what_was_delivered_shares_the_commit_of_what_is_handed_in_next() {
    let threaded = threaded();
    let webhook = threaded.given.paid_webhook();
    let commits = || threaded.metric("willcall_store_commits_total");
    // Sent one after the other, while the outcome of the one before waits.
    let shares = || {
        let given = &threaded.given;
        let id = delivery_id(hand_in(given), webhook);
        let batch = [settlement(id, 2, answered(200), delivered())];
        let before = commits();
        let mut settled = given.store.settle(Epoch::FIRST, batch.into());
        let mut handed_in = 0.0;
        while block_on(poll_fn(|cx| Poll::Ready(settled.as_mut().poll(cx)))).is_pending() {
            hand_in(given);
            handed_in += 1.0;
        }
        let own: f64 = commits() - before - handed_in;
        own.abs() < 0.1
    };
    assert!((0..50).any(|_| shares()));
}

#[test]
fn an_outcome_that_matters_or_holds_others_up_is_written_soon() {
    let threaded = threaded();
    let webhook = threaded.given.paid_webhook();
    let failed = || settling_takes(&threaded, webhook, retry(5_000), |_| {});
    assert!(is_quick(failed), "one that failed");
    let hurried = || settling_takes(&threaded, webhook, delivered(), |given| given.store.flush());
    assert!(is_quick(hurried), "one that was hurried");
}

#[test]
fn many_threads_lose_nothing() {
    let threaded = threaded();
    let given = &threaded.given;
    let webhook = given.paid_webhook();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for n in 0..50 {
                    let id = given.notified(&format!("{thread} {n}"), n);
                    // A reader sees what was answered.
                    let id = delivery_id(id, webhook);
                    assert_eq!(given.story(id).row.attempts, 0);
                    given.settle(settlement(id, n, answered(200), delivered()));
                    assert_eq!(given.story(id).attempts.len(), 1);
                }
            });
        }
    });
    let mut told = Vec::new();
    for heard in given.heard.take() {
        match heard {
            Told::Accepted(due) => told.extend(due.into_iter().map(|due| due.delivery.id)),
            Told::PassedOver(_) => panic!("all of it fits"),
            Told::Asked(_) | Told::Changed(_) | Told::BulkJobStarted => {}
            Told::ChangedElsewhere => panic!("nobody else was here"),
        }
    }
    assert_eq!(told.len(), 400);
    assert!(told.is_sorted(), "told in the order of the commits");
    assert_eq!(given.due(webhook, 500, i64::MAX).0.len(), 0);
}

#[test]
fn a_failing_job_is_undone_alone() {
    let (threaded, keeper, webhook) = gated();
    let given = &threaded.given;
    let held = keeper.hold(given);
    let bad = NewNotification {
        tenant: TenantId(99),
        event: Some("democon".to_owned()),
        ..given.new_notification("bad 2", 1)
    };
    let batches = [
        vec![given.new_notification("good 1", 1)],
        vec![given.new_notification("bad 1", 1), bad],
        vec![given.new_notification("good 2", 1)],
    ];
    let replies: Vec<_> = batches
        .map(|batch| given.store.accept(batch))
        .into_iter()
        .collect();
    keeper.open();
    let answers: Vec<bool> = replies
        .into_iter()
        .map(|reply| wait(reply).is_ok())
        .collect();
    assert_eq!(answers, [true, false, true]);
    wait(held).unwrap();
    let keys: Vec<String> = given.log(webhook).into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["good 2", "good 1", "held"]);
    let told: Vec<_> = given
        .heard
        .take()
        .into_iter()
        .filter_map(|told| match told {
            Told::Accepted(due) => Some(due.len()),
            Told::PassedOver(_) => panic!("all of it fits"),
            Told::Asked(_) | Told::Changed(_) | Told::ChangedElsewhere | Told::BulkJobStarted => {
                None
            }
        })
        .collect();
    assert_eq!(told, [1, 2]);
}

#[test]
fn what_a_failing_job_accepted_is_not_told_and_takes_no_room_from_others() {
    let (threaded, keeper, webhook) = gated();
    let given = &threaded.given;
    let mut webhooks = vec![webhook];
    webhooks.extend((1..20).map(|_| given.paid_webhook()));
    let held = keeper.hold(given);
    let bad = NewNotification {
        tenant: TenantId(99),
        event: Some("democon".to_owned()),
        ..given.new_notification("bad", 1)
    };
    // Each time so many that some are skipped.
    let many = BUFFERED_MAX / webhooks.len() + 1;
    let batch = |name: &str, time: i64| -> Vec<NewNotification> {
        let one = |n| given.new_notification(&format!("{name} {n}"), time);
        (0..many).map(one).collect()
    };
    let mut failing = batch("failing", 1);
    failing.push(bad);
    let replies = [failing, batch("good", 2)].map(|batch| given.store.accept(batch));
    keeper.open();
    let answers = replies.map(|reply| wait(reply).is_ok());
    assert_eq!(answers, [false, true]);
    wait(held).unwrap();
    let told = given.heard.take();
    let counts = told.iter().filter_map(|told| match told {
        Told::Accepted(due) => Some(due.len()),
        Told::PassedOver(_)
        | Told::Asked(_)
        | Told::Changed(_)
        | Told::ChangedElsewhere
        | Told::BulkJobStarted => None,
    });
    assert_eq!(counts.collect::<Vec<_>>(), [webhooks.len(), BUFFERED_MAX]);
    let rest = webhooks.split_off(webhooks.len() - (many * webhooks.len() - BUFFERED_MAX));
    let due_at = at(2);
    let lane = |webhook| PendingWebhook { webhook, due_at };
    let lanes = rest.into_iter().map(lane).collect();
    assert_eq!(told.last(), Some(&Told::PassedOver(lanes)));
}

#[test]
fn what_does_not_fit_in_the_queue_is_refused_at_once() {
    let (threaded, keeper, webhook) = gated();
    let given = &threaded.given;
    let other = given.another_tenant("other");
    let held = keeper.hold(given);
    let mut waiting = Vec::new();
    // A tenant that is alone leaves a part to others.
    for n in 0..WRITER_QUEUE_MAX / 4 * 3 {
        waiting.push(
            given
                .store
                .accept(vec![given.new_notification(&n.to_string(), 1)]),
        );
    }
    let refused = given
        .store
        .accept(vec![given.new_notification("too much", 1)]);
    assert!(is_busy(&crate::inline::now(refused)));
    assert!(
        (threaded.metric(r#"willcall_store_jobs_rejected_total{reason="busy"}"#) - 1.0).abs() < 0.1
    );
    let other = NewNotification {
        tenant: other,
        ..given.new_notification("other", 1)
    };
    waiting.push(given.store.accept(vec![other]));
    // Settling is not shut out by a flood at intake.
    let id = delivery_id(1, webhook);
    let settled = given.store.settle(
        Epoch::FIRST,
        [settlement(id, 2, answered(200), delivered())].into(),
    );
    keeper.open();
    wait(settled).unwrap();
    wait(held).unwrap();
    for reply in waiting {
        assert!(wait(reply).is_ok());
    }
    given.notified("too much", 1);
}

#[test]
fn what_is_handed_in_under_keys_leaves_room_to_others_too() {
    let (threaded, keeper, _) = gated();
    let given = &threaded.given;
    let other = given.another_tenant("other");
    let held = keeper.hold(given);
    let once = |name: &str, batch: Vec<NewNotification>| {
        let key = IdempotencyKey {
            key: name.to_owned(),
            holder: TokenHash([1; 32]),
            request: TokenHash([2; 32]),
        };
        let effect = IdempotentOperation::Accept { batch, part: 0 };
        given.store.run_idempotent(key, effect, at(1))
    };
    let replies: Vec<_> = (0..WRITER_QUEUE_MAX / INTAKE_BATCH_MAX)
        .map(|n| {
            let new = |m| given.new_notification(&format!("{n} {m}"), 1);
            once(&n.to_string(), (0..INTAKE_BATCH_MAX).map(new).collect())
        })
        .collect();
    let others = NewNotification {
        tenant: other,
        ..given.new_notification("other", 1)
    };
    let others = once("other", vec![others]);
    keeper.open();
    wait(others).unwrap();
    wait(held).unwrap();
    let answers: Vec<bool> = replies
        .into_iter()
        .map(|reply| wait(reply).is_ok())
        .collect();
    assert_eq!(answers.iter().filter(|taken| **taken).count(), 8);
}

#[test]
fn large_bodies_fill_the_queue_sooner() {
    let (threaded, keeper, _) = gated();
    let given = &threaded.given;
    let held = keeper.hold(given);
    let large = |n: usize| NewNotification {
        body: Bytes::from(vec![b'x'; 256 * 1024]),
        ..given.new_notification(&n.to_string(), 1)
    };
    let replies: Vec<_> = (0..400)
        .map(|n| given.store.accept(vec![large(n)]))
        .collect();
    keeper.open();
    let answers: Vec<_> = replies.into_iter().map(wait).collect();
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((200..400).contains(&taken), "{taken}");
    assert!(
        answers
            .iter()
            .all(|answer| answer.is_ok() || is_busy(answer))
    );
    wait(held).unwrap();
}

#[test]
fn work_goes_on_if_nobody_waits() {
    let (threaded, keeper, webhook) = gated();
    let given = &threaded.given;
    let held = keeper.hold(given);
    drop(
        given
            .store
            .accept(vec![given.new_notification("unwaited", 1)]),
    );
    drop(held);
    keeper.open();
    wait(given.store.ping()).unwrap();
    assert_eq!(given.log(webhook).len(), 2);
}

#[test]
fn bulk_work_comes_after_what_somebody_waits_for() {
    let (threaded, keeper, webhook) = gated();
    let given = &threaded.given;
    let held = keeper.hold(given);
    let swept = given.prune(1_000, 0);
    let id = delivery_id(1, webhook);
    let settled = given.store.settle(
        Epoch::FIRST,
        [settlement(id, 2, answered(200), delivered())].into(),
    );
    keeper.open();
    wait(held).unwrap();
    wait(settled).unwrap();
    assert!(!wait(swept).unwrap());
    // It was settled first, so there was something to prune.
    assert!(given.log(webhook).is_empty());
}

#[test]
fn bulk_work_is_not_starved() {
    let (threaded, keeper, webhook) = gated();
    let given = &threaded.given;
    let mut latest = keeper.hold(given);
    let swept = given.prune(0, 0);
    let mut swept = std::pin::pin!(swept);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // There is always a notification waiting, so the writer is never idle.
    let mut groups = 0;
    loop {
        let next = given
            .store
            .accept(vec![given.new_notification(&groups.to_string(), 1)]);
        keeper.go.send(Verdict::Pass).unwrap();
        keeper.reached.recv().unwrap();
        wait(latest).unwrap();
        latest = next;
        groups += 1;
        if swept.as_mut().poll(&mut context).is_ready() {
            break;
        }
        assert!(groups < 20);
    }
    keeper.open();
    wait(latest).unwrap();
    assert!(given.log(webhook).len() > 4);
}

#[test]
fn nobody_waits_for_a_login_because_somebody_searches_a_log() {
    let threaded = threaded();
    let given = &threaded.given;
    let webhook = given.paid_webhook();
    for n in 0..10 {
        let one = |m| given.new_notification(&format!("{n} {m}"), 1);
        wait(given.store.accept((0..1_000).map(one).collect())).unwrap();
    }
    // Each looks at ten thousand rows, and all of them would take minutes.
    let mut searches: Vec<_> = (0..9_000)
        .map(|_| {
            let query = LogQuery {
                webhook: Some(webhook),
                action_type: Some("there is none".to_owned()),
                limit: 50,
                ..LogQuery::default()
            };
            given.store.log(given.tenant, query)
        })
        .collect();
    wait(given.store.has_tokens()).unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let latest = searches.last_mut().unwrap().as_mut();
    assert!(latest.poll(&mut context).is_pending());
}

#[test]
fn a_panic_ends_the_store_instead_of_leaving_callers_waiting() {
    let (threaded, keeper, _) = gated();
    let given = &threaded.given;
    let held = keeper.hold(given);
    let waiting = given
        .store
        .accept(vec![given.new_notification("waiting", 1)]);
    keeper.go.send(Verdict::Pass).unwrap();
    keeper.reached.recv().unwrap();
    keeper.go.send(Verdict::Panic).unwrap();
    wait(held).unwrap();
    let ended = |answer| matches!(answer, Err(StoreError::Ended | StoreError::Broken(_)));
    assert!(ended(wait(waiting).map(drop)));
    let later = given.store.accept(vec![given.new_notification("later", 1)]);
    assert!(ended(wait(later).map(drop)));
    assert!(ended(wait(given.store.ping()).map(drop)));
    assert!(ended(wait(given.store.has_tokens()).map(drop)));
    wait(given.store.close()).unwrap();
}

#[test]
fn a_full_disk_refuses_intake_loses_nothing_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let given = Given::on(store::probe::open_with_room(&path, 100).unwrap());
    let webhook = given.paid_webhook();
    given.heard.take();
    let batch = |n: usize| {
        let one = |m| NewNotification {
            body: Bytes::from(vec![b'x'; 2_000]),
            ..given.new_notification(&format!("{n} {m}"), 1_000)
        };
        (0..10).map(one).collect::<Vec<_>>()
    };
    let mut accepted = 0;
    while let Ok(answers) = wait(given.store.accept(batch(accepted))) {
        assert_eq!(answers.len(), 10);
        accepted += 1;
        assert!(accepted < 60);
    }
    assert!(accepted > 0);
    let refused = wait(given.store.accept(batch(accepted)));
    assert!(
        matches!(refused, Err(StoreError::Disk(DiskFault::Full))),
        "{refused:?}"
    );
    // Nothing is there by halves, nothing was told, and what was accepted is there.
    let due = given.due(webhook, 1_000, 1_000).0;
    assert_eq!(due.len(), accepted * 10);
    let told: usize = given
        .heard
        .take()
        .iter()
        .map(|told| match told {
            Told::Accepted(due) => due.len(),
            Told::PassedOver(_) => panic!("all of it fits"),
            Told::Asked(_) | Told::Changed(_) | Told::ChangedElsewhere | Told::BulkJobStarted => 0,
        })
        .sum();
    assert_eq!(told, due.len());
    // It lives and says what is wrong. A little later it may have found space for a little.
    let mut said = false;
    while !said {
        drop(wait(given.store.accept(batch(accepted))));
        let pulse = wait(given.store.ping());
        said = matches!(pulse, Err(StoreError::Disk(DiskFault::Full)));
    }
    // Settling needs less space than intake; then pruning makes some.
    for due in due {
        let settlement = settlement(due.delivery.id, 1_100, answered(200), delivered());
        drop(wait(given.store.settle(Epoch::FIRST, [settlement].into())));
    }
    while wait(given.prune(2_000, 0)).unwrap() {}
    let again = wait(given.store.accept(batch(accepted))).unwrap();
    assert!(
        again
            .iter()
            .all(|answer| matches!(answer, AcceptResult::Accepted { .. }))
    );
    wait(given.store.close()).unwrap();
    assert!(store::inspect(&path).is_ok());
}

/// Runs this very test again in a process that may not write files longer than 2 MB. True in that
/// process.
#[cfg(target_os = "linux")]
fn with_bounded_files(test: &str) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max file size"))
        .unwrap();
    if !limit.contains("unlimited") {
        return true;
    }
    // Without the trap the system would end the process instead of failing the write.
    let script = r#"trap "" XFSZ; ulimit -f 4000; exec "$0" "$@""#;
    let child = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let complained = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "{said}");
    false
}

#[cfg(target_os = "linux")]
#[test]
fn a_write_that_the_system_refuses_is_a_full_disk_too() {
    if !with_bounded_files("executor::a_write_that_the_system_refuses_is_a_full_disk_too") {
        return;
    }
    let ThreadedStore { given, path, .. } = &threaded();
    let webhook = given.paid_webhook();
    let mut accepted = 0;
    let mut refused_in_a_row = 0;
    for n in 0..3_000 {
        let new = NewNotification {
            body: Bytes::from(vec![b'x'; 2_000]),
            ..given.new_notification(&n.to_string(), 1)
        };
        match wait(given.store.accept(vec![new])) {
            Ok(_) => (accepted, refused_in_a_row) = (accepted + 1, 0),
            Err(error) => {
                assert!(
                    matches!(error, StoreError::Disk(DiskFault::Full)),
                    "{error}"
                );
                refused_in_a_row += 1;
            }
        }
        if refused_in_a_row == 20 {
            break;
        }
    }
    assert_eq!(refused_in_a_row, 20);
    // Every notification writes more pages to the WAL than it fills, so the WAL is full long before
    // the file: its space was used again and again.
    assert!(accepted > 500, "{accepted}");
    assert_eq!(given.due(webhook, 3_000, 1).0.len(), accepted);
    wait(given.store.close()).unwrap();
    let again = store::open_inline_at(path).unwrap();
    let ask = model::contract::DueQuery {
        webhook,
        limit: 3_000,
        held: [].into(),
        recovery: None,
    };
    let due = wait(again.due(Epoch::FIRST, vec![ask], at(1))).unwrap();
    assert_eq!(due[0].deliveries.len(), accepted);
}

#[test]
fn what_another_process_changes_is_noticed() {
    let threaded = threaded();
    let given = &threaded.given;
    let id = given.notified("1", 1_000);
    given.heard.take();
    let version = given.store.version();
    let other = store::open_inline_at(&threaded.path).unwrap();
    let applied = other.apply(vec![declaration("other")], "apply".to_owned(), at(0));
    assert_eq!(wait(applied).unwrap()[0].change, ChangeKind::Created);
    // The next group sees it, whatever it is.
    wait(given.store.ping()).unwrap();
    assert_eq!(given.heard.take(), [Told::ChangedElsewhere]);
    assert_eq!(given.store.version(), version + 1);
    wait(given.store.ping()).unwrap();
    assert_eq!(given.heard.take(), []);
    assert!(given.notified("2", 1_000) > id);
    // What is cached here is not taken for what is there.
    let webhook = given.paid_webhook();
    let later = wait(other.accept(vec![given.new_notification("3", 3_000)])).unwrap();
    assert!(matches!(later[0], AcceptResult::Accepted { .. }));
    let id = delivery_id(given.notified("4", 2_000), webhook);
    assert_eq!(given.story(id).row.accepted_at, at(3_000));
    // And the other one sees what happened here.
    let before = other.version();
    wait(other.ping()).unwrap();
    assert!(other.version() > before);
}

#[test]
fn an_idle_writer_notices_it_too() {
    struct Bell(Mutex<Sender<()>>);
    impl CommitSubscriber for Bell {
        fn on_accepted(&self, _: Vec<DueDelivery>) {}
        fn on_requested(&self, _: Vec<DueDelivery>) {}
        fn on_skipped(&self, _: Vec<PendingWebhook>) {}
        fn on_changed(&self, _: &[WebhookId]) {}
        fn on_external_change(&self) {
            self.0.lock().unwrap().send(()).unwrap();
        }
        fn on_bulk_job_started(&self) {}

        fn on_leases_changed(&self) {}
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let store = store::open(&path, &mut Registry::default()).unwrap();
    let (bell, rung) = channel();
    store.subscribe(Arc::new(Bell(Mutex::new(bell))));
    let other = store::open_inline_at(&path).unwrap();
    let applied = other.apply(vec![declaration("other")], "apply".to_owned(), at(0));
    wait(applied).unwrap();
    rung.recv_timeout(Duration::from_secs(30)).unwrap();
}

#[test]
fn replies_may_be_awaited_together_and_in_any_order() {
    let threaded = threaded();
    let given = &threaded.given;
    given.paid_webhook();
    let mut replies: Vec<_> = (0..50)
        .map(|n| {
            given
                .store
                .accept(vec![given.new_notification(&n.to_string(), n)])
        })
        .collect();
    replies.reverse();
    block_on(async {
        for reply in replies {
            assert_eq!(reply.await.unwrap().len(), 1);
        }
    });
    fn is_sent<T: Send + 'static>(_: &Pin<Box<T>>) {}
    is_sent(&Box::pin(given.store.ping()));
    let shared: Arc<dyn Store> = Arc::clone(&given.store);
    wait(shared.ping()).unwrap();
}
