//! Between commit and answer: the sync runs beside the writer, and nobody learns of a commit
//! before.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use model::contract::{CommitSubscriber, PendingWebhook, StoreError, StoreFuture};
use model::delivery::DueDelivery;
use model::id::WebhookId;
use model::notification::{AcceptResult, NewNotification};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use store::probe::SyncTarget;
use tempfile::TempDir;

use crate::sqlite::harness::{Given, Heard, Told, wait};

/// A disk that can be held, and that counts its syncs.
#[derive(Clone)]
struct Gate {
    syncs: Arc<AtomicUsize>,
    held: Arc<AtomicBool>,
    reached: Sender<()>,
    go: Arc<Mutex<Receiver<io::Result<()>>>>,
}

impl SyncTarget for Gate {
    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if !self.held.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.reached.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap_or(Ok(()))
    }
}

/// A store on such a disk.
struct Held {
    given: Given,
    webhook: WebhookId,
    gate: Gate,
    reached: Receiver<()>,
    go: Sender<io::Result<()>>,
    registry: Registry,
    _folder: TempDir,
}

fn on_held_disk() -> Held {
    let folder = tempfile::tempdir().unwrap();
    let (reached_in, reached) = channel();
    let (go, go_in) = channel();
    let gate = Gate {
        syncs: Arc::default(),
        held: Arc::default(),
        reached: reached_in,
        go: Arc::new(Mutex::new(go_in)),
    };
    let mut registry = Registry::default();
    let path = folder.path().join("willcall.db");
    let store = store::probe::open_on_disk(&path, &mut registry, gate.clone()).unwrap();
    let given = Given::on(store);
    let webhook = given.paid_webhook();
    given.heard.take();
    gate.held.store(true, Ordering::SeqCst);
    Held {
        given,
        webhook,
        gate,
        reached,
        go,
        registry,
        _folder: folder,
    }
}

impl Held {
    /// More than the writer would wait for by itself.
    fn accept_three(&self, name: &str) -> StoreFuture<Vec<AcceptResult>> {
        let given = &self.given;
        let one = |n: i64| given.new_notification(&format!("{name} {n}"), n);
        given.store.accept((0..3).map(one).collect())
    }

    fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let name = format!("{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap().parse().unwrap()
    }
}

fn is_pending<T>(reply: Pin<&mut (dyn Future<Output = T> + Send)>) -> bool {
    matches!(
        reply.poll(&mut Context::from_waker(Waker::noop())),
        Poll::Pending
    )
}

#[test]
fn nobody_hears_of_what_the_disk_does_not_have_yet() {
    let held = on_held_disk();
    let mut reply = held.accept_three("a");
    held.reached.recv().unwrap();
    // It is committed: the writer is done with it, and the disk was asked.
    assert!(is_pending(reply.as_mut()));
    assert_eq!(held.given.heard.take(), []);
    let let_go = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let rows = held.given.log(held.webhook).len();
            assert!(let_go.load(Ordering::SeqCst), "a reader saw it before");
            rows
        });
        // Time for a reader that does not wait to be noticed, were there one.
        for _ in 0..1_000 {
            std::thread::yield_now();
        }
        let_go.store(true, Ordering::SeqCst);
        held.go.send(Ok(())).unwrap();
        // The reader may have had it materialized first, which is a commit of its own.
        held.go.send(Ok(())).unwrap();
        assert!(matches!(reader.join().unwrap(), 0 | 3));
    });
    assert_eq!(wait(reply).unwrap().len(), 3);
    assert!(matches!(&held.given.heard.take()[..], [Told::Accepted(due)] if due.len() == 3));
}

#[test]
fn what_comes_while_the_disk_is_busy_shares_the_next_commit() {
    let held = on_held_disk();
    let first = held.accept_three("first");
    held.reached.recv().unwrap();
    let commits = held.metric("willcall_store_commits_total");
    let given = &held.given;
    let replies: Vec<_> = (0..20)
        .map(|n| {
            let new = given.new_notification(&n.to_string(), n);
            given.store.accept(vec![new])
        })
        .collect();
    // The writer works on them meanwhile.
    while held.metric("willcall_store_jobs_queued") > 0.5 {
        std::thread::yield_now();
    }
    assert!((held.metric("willcall_store_commits_total") - commits).abs() < 0.1);
    let before = held.gate.syncs.load(Ordering::SeqCst);
    held.go.send(Ok(())).unwrap();
    held.reached.recv().unwrap();
    held.go.send(Ok(())).unwrap();
    wait(first).unwrap();
    for reply in replies {
        wait(reply).unwrap();
    }
    assert!((held.metric("willcall_store_commits_total") - commits - 1.0).abs() < 0.1);
    assert_eq!(held.gate.syncs.load(Ordering::SeqCst), before + 1);
    let told: Vec<usize> = given.heard.take().into_iter().map(accepted).collect();
    assert_eq!(told, [3, 20]);
}

#[test]
fn one_that_comes_alone_after_many_is_not_kept_waiting_for_company() {
    let held = on_held_disk();
    let first = held.accept_three("first");
    held.reached.recv().unwrap();
    let given = &held.given;
    let accept = |n: i64| {
        let new = given.new_notification(&n.to_string(), n);
        given.store.accept(vec![new])
    };
    let replies: Vec<_> = (0..50).map(accept).collect();
    held.gate.held.store(false, Ordering::SeqCst);
    held.go.send(Ok(())).unwrap();
    for reply in replies.into_iter().chain([first]) {
        wait(reply).unwrap();
    }
    for n in 50..60 {
        wait(accept(n)).unwrap();
    }
    assert_eq!(given.due(held.webhook, 100, 100).0.len(), 63);
}

fn accepted(told: Told) -> usize {
    match told {
        Told::Accepted(due) => due.len(),
        Told::PassedOver(_) => panic!("all of it fits"),
        Told::Asked(_) | Told::Changed(_) | Told::ChangedElsewhere | Told::BulkJobStarted => 0,
    }
}

#[test]
fn what_fails_in_a_group_that_grows_is_undone_alone() {
    let held = on_held_disk();
    let first = held.accept_three("first");
    held.reached.recv().unwrap();
    let given = &held.given;
    let good = given.store.accept(vec![given.new_notification("good", 1)]);
    while held.metric("willcall_store_jobs_queued") > 0.5 {
        std::thread::yield_now();
    }
    let bad = NewNotification {
        tenant: model::id::TenantId(99),
        event: Some("democon".to_owned()),
        ..given.new_notification("bad", 1)
    };
    let bad = given.store.accept(vec![bad]);
    let again = given.store.accept(vec![given.new_notification("again", 1)]);
    while held.metric("willcall_store_jobs_queued") > 0.5 {
        std::thread::yield_now();
    }
    held.gate.held.store(false, Ordering::SeqCst);
    held.go.send(Ok(())).unwrap();
    wait(first).unwrap();
    wait(good).unwrap();
    assert!(wait(bad).is_err());
    wait(again).unwrap();
    assert_eq!(given.log(held.webhook).len(), 5);
    let told: Vec<usize> = given.heard.take().into_iter().map(accepted).collect();
    assert_eq!(told, [3, 2]);
}

#[test]
fn a_group_that_writes_nothing_waits_for_no_disk() {
    let held = on_held_disk();
    let before = held.gate.syncs.load(Ordering::SeqCst);
    wait(held.given.store.ping()).unwrap();
    assert_eq!(held.gate.syncs.load(Ordering::SeqCst), before);
}

#[test]
fn what_the_disk_may_have_lost_is_unknown_and_the_store_ends() {
    let held = on_held_disk();
    let reply = held.accept_three("a");
    held.reached.recv().unwrap();
    let failed = io::Error::other("the disk is on fire");
    held.go.send(Err(failed)).unwrap();
    let answer = wait(reply);
    assert!(matches!(answer, Err(StoreError::Unknown)), "{answer:?}");
    // Whoever has a part in it looks again; nothing is told as if it were sure.
    assert_eq!(held.given.heard.take(), [Told::ChangedElsewhere]);
    let mut ended = wait(held.given.store.ping());
    while ended.is_ok() {
        ended = wait(held.given.store.ping());
    }
    assert!(matches!(ended, Err(StoreError::Ended)), "{ended:?}");
    let read = wait(held.given.store.has_tokens());
    assert!(matches!(read, Err(StoreError::Ended)), "{read:?}");
    // Whoever waits for that hears of it.
    wait(held.given.store.ended()).unwrap();
    wait(held.given.store.close()).unwrap();
}

#[test]
fn a_quiet_house_meets_a_failing_disk_as_well() {
    let held = on_held_disk();
    let given = &held.given;
    let reply = given.store.accept(vec![given.new_notification("a", 1)]);
    held.reached.recv().unwrap();
    held.go.send(Err(io::Error::other("on fire"))).unwrap();
    assert!(matches!(wait(reply), Err(StoreError::Unknown)));
    while wait(given.store.ping()).is_ok() {}
    wait(given.store.close()).unwrap();
}

/// A subscriber that panics when it is told of several.
struct Clumsy(Arc<Heard>);

impl CommitSubscriber for Clumsy {
    fn on_accepted(&self, deliveries: Vec<DueDelivery>) {
        assert!(deliveries.len() < 2, "as the test wishes");
        self.0.on_accepted(deliveries);
    }

    fn on_requested(&self, _deliveries: Vec<DueDelivery>) {}

    fn on_skipped(&self, _lanes: Vec<PendingWebhook>) {}

    fn on_changed(&self, _webhooks: &[WebhookId]) {}

    fn on_external_change(&self) {}

    fn on_bulk_job_started(&self) {}

    fn on_leases_changed(&self) {}
}

#[test]
fn a_panic_while_telling_ends_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let store = store::open(&path, &mut Registry::default()).unwrap();
    store.subscribe(Arc::new(Clumsy(Arc::default())));
    let given = Given::unheard(store);
    given.paid_webhook();
    let one = |n: i64| given.new_notification(&n.to_string(), n);
    let reply = given.store.accept((0..3).map(one).collect());
    assert!(matches!(wait(reply), Err(StoreError::Ended)));
    while wait(given.store.ping()).is_ok() {}
    wait(given.store.close()).unwrap();
}

#[test]
fn the_log_is_begun_anew_while_the_house_is_busy() {
    const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let given = Given::on(store::open(&path, &mut Registry::default()).unwrap());
    given.paid_webhook();
    let batch = |n: i64| {
        let one = |m: i64| NewNotification {
            body: Bytes::from(vec![b'x'; 2_000]),
            ..given.new_notification(&format!("{n} {m}"), n)
        };
        (0..250).map(one).collect::<Vec<_>>()
    };
    // Four are always on their way, so the writer never pauses.
    let mut waiting: Vec<_> = (0..4).map(|n| given.store.accept(batch(n))).collect();
    let mut written = 0;
    for n in 4..300 {
        wait(waiting.remove(0)).unwrap();
        waiting.push(given.store.accept(batch(n)));
        written = written.max(length(&log_of(&path)));
        assert!(written < LOG_BYTES_MAX, "{written}");
    }
    for reply in waiting {
        wait(reply).unwrap();
    }
    assert!(length(&path) > LOG_BYTES_MAX, "there was enough to write");
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
