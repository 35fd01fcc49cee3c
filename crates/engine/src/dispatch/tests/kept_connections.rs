//! Receivers that end kept connections in all the ways servers are known to, on paused time: none
//! of it is a failure of theirs, also where a webhook has nothing repeated.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::attempt::{FailureKind, Outcome};
use model::delivery::DeliveryState;
use model::id::{NotificationId, WebhookId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::world::{World, seconds};
use crate::tasks::{Alarm, EngineTask};
use crate::transport::{Deadline, Dial, DialFuture, Endpoint, LookupContext, Stream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const WORK: Duration = Duration::from_millis(20);

/// How a receiver ends its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// After each answer, without saying so.
    OneShot,
    /// After each answer it says no more, and reads on.
    HalfClosed,
    /// After the second request, without an answer: as where both sides meet at the edge.
    Edge,
    /// When it has lain idle for so long.
    Idle(Duration),
    /// All of them, every second.
    Reloaded,
    /// It says when.
    Says(&'static str),
}

/// Receivers of one kind.
struct Servers {
    kind: Kind,
    /// Processes, each of which has one connection at a time.
    workers: Option<Arc<Semaphore>>,
    taken: AtomicUsize,
    served: Arc<AtomicUsize>,
    reload: watch::Receiver<u64>,
    _reloads: EngineTask<()>,
    running: Mutex<Vec<EngineTask<()>>>,
}

impl Servers {
    fn new(kind: Kind, workers: Option<usize>) -> Arc<Self> {
        let (tell, reload) = watch::channel(0);
        let reloads = EngineTask::spawn("reloads", &Alarm::new(), async move {
            for count in 1.. {
                sleep(Duration::from_secs(1)).await;
                tell.send(count).ok();
            }
        });
        Arc::new(Self {
            kind,
            workers: workers.map(|count| Arc::new(Semaphore::new(count))),
            taken: AtomicUsize::new(0),
            served: Arc::default(),
            reload,
            _reloads: reloads,
            running: Mutex::default(),
        })
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Dial for Arc<Servers> {
    fn dial<'a>(&'a self, _: &'a Endpoint, _: LookupContext, _: Deadline) -> DialFuture<'a> {
        Box::pin(async move {
            self.taken.fetch_add(1, Ordering::Relaxed);
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let (kind, workers) = (self.kind, self.workers.clone());
            let (served, reload) = (Arc::clone(&self.served), self.reload.clone());
            let serving = async move {
                // A process takes the connection, and has no other until it has ended.
                let _worker = match &workers {
                    Some(workers) => Some(workers.acquire().await.unwrap()),
                    None => None,
                };
                serve(theirs, kind, &served, reload).await;
            };
            let part = EngineTask::spawn("receiver", &Alarm::new(), serving);
            self.running.lock().unwrap().push(part);
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

async fn serve(
    mut stream: DuplexStream,
    kind: Kind,
    served: &AtomicUsize,
    mut reload: watch::Receiver<u64>,
) {
    reload.mark_unchanged();
    for number in 1.. {
        let idle_for = match kind {
            Kind::Idle(idle_for) => idle_for,
            Kind::Says("timeout=2") => Duration::from_secs(2),
            Kind::OneShot | Kind::HalfClosed | Kind::Edge | Kind::Reloaded | Kind::Says(_) => {
                Duration::from_secs(60)
            }
        };
        let heard = tokio::select! {
            biased;
            _ = reload.changed(), if kind == Kind::Reloaded => false,
            heard = timeout(idle_for, hear(&mut stream)) => heard.unwrap_or(false),
        };
        if !heard || (kind == Kind::Edge && number > 1) {
            return;
        }
        sleep(WORK).await;
        served.fetch_add(1, Ordering::Relaxed);
        let answer = match kind {
            Kind::Says(line) => {
                format!("HTTP/1.1 204 X\r\nKeep-Alive: {line}\r\n\r\n").into_bytes()
            }
            Kind::OneShot | Kind::HalfClosed | Kind::Edge | Kind::Idle(_) | Kind::Reloaded => {
                ANSWER.to_vec()
            }
        };
        stream.write_all(&answer).await.ok();
        match kind {
            Kind::OneShot => return,
            Kind::HalfClosed => {
                stream.shutdown().await.ok();
            }
            Kind::Says("max=3") if number == 3 => return,
            Kind::Edge | Kind::Idle(_) | Kind::Reloaded | Kind::Says(_) => {}
        }
    }
}

/// Reads one request; the world's bodies have no line breaks.
async fn hear(stream: &mut DuplexStream) -> bool {
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lines = head.lines();
            let length = lines.filter_map(|line| line.strip_prefix("Content-Length: "));
            let length = length
                .filter_map(|value| value.parse::<usize>().ok())
                .next();
            if body.len() >= length.unwrap_or(0) {
                return true;
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => heard.extend_from_slice(&chunk[..count]),
        }
    }
}

/// A world with such receivers, and a webhook of which nothing is repeated.
async fn world(servers: &Arc<Servers>) -> (World, WebhookId) {
    let mut world = World::new().await;
    world.settings.idle_connection_ms = 4_000;
    world.start_with(Arc::new(Arc::clone(servers)));
    let webhook = world.webhook("http://a.test/", "paid").await;
    world
        .change(webhook, |webhook| webhook.retries_max = Some(0))
        .await;
    (world, webhook)
}

/// All are delivered, no attempt counts as a failure of the receiver. Answers the calls that came
/// to nothing.
async fn stale_calls(world: &World, webhook: WebhookId, ids: &[NotificationId]) -> usize {
    let mut stale = 0;
    for id in ids {
        let story = world.story(*id, webhook).await;
        assert_eq!(story.row.state, DeliveryState::Delivered, "{story:#?}");
        let (last, before) = story.attempts.split_last().unwrap();
        assert!(last.attempt.outcome.is_success());
        assert!(before.len() <= 1, "{story:#?}");
        for past in before {
            let Outcome::Failed(failure) = &past.attempt.outcome else {
                panic!("{story:#?}");
            };
            assert_eq!(failure.kind, FailureKind::Stale);
            stale += 1;
        }
    }
    stale
}

#[tokio::test(start_paused = true)]
async fn however_a_receiver_ends_kept_connections_it_has_failed_nothing() {
    let second = Duration::from_secs(1);
    for (kind, stale_max) in [
        (Kind::OneShot, 0),
        (Kind::HalfClosed, 0),
        // As many as were in the air when the first was noticed.
        (Kind::Edge, 8),
        (Kind::Idle(second), 0),
        (Kind::Idle(second * 2), 0),
        (Kind::Reloaded, 2),
        (Kind::Says("timeout=2"), 0),
        (Kind::Says("max=3"), 0),
    ] {
        let servers = Servers::new(kind, None);
        let (world, webhook) = world(&servers).await;
        let mut ids = world.hand_in("paid", 200).await;
        seconds(30).await;
        // One at a time, near every edge.
        for wait_ms in [
            5, 980, 990, 999, 1_000, 1_001, 1_979, 1_980, 2_000, 2_001, 3_900, 4_100,
        ] {
            ids.extend(world.hand_in("paid", 1).await);
            sleep(Duration::from_millis(wait_ms)).await;
        }
        seconds(30).await;
        let stale = stale_calls(&world, webhook, &ids).await;
        assert!(stale <= stale_max, "{kind:?}: {stale}");
        assert_eq!(world.health(), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_keep_no_call_from_a_receiver_with_few_processes() {
    for workers in [1, 2, 5] {
        let servers = Servers::new(Kind::Idle(Duration::from_secs(60)), Some(workers));
        let (world, webhook) = world(&servers).await;
        let ids = world.hand_in("paid", 100).await;
        let began = Instant::now();
        while servers.served.load(Ordering::Relaxed) < ids.len() {
            sleep(Duration::from_millis(10)).await;
            assert!(began.elapsed() < Duration::from_secs(10), "{workers}");
        }
        // Its own work takes most of that.
        let work = WORK * u32::try_from(ids.len() / workers).unwrap();
        let took = began.elapsed();
        assert!(
            took < work + Duration::from_millis(1_500),
            "{workers}: {took:?}"
        );
        // Somebody else is served soon after, too.
        let free = servers.workers.clone().unwrap();
        if workers > 1 {
            let free = timeout(Duration::from_millis(2_500), free.acquire()).await;
            drop(free.unwrap().unwrap());
        }
        seconds(7).await;
        assert_eq!(free.available_permits(), workers);
        assert_eq!(stale_calls(&world, webhook, &ids).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_keeps_connections_has_as_few_as_it_needs() {
    let servers = Servers::new(Kind::Idle(Duration::from_secs(60)), None);
    let (world, webhook) = world(&servers).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.extend(world.hand_in("paid", 2).await);
        sleep(Duration::from_millis(200)).await;
    }
    seconds(1).await;
    assert!(servers.taken() <= 3, "{}", servers.taken());
    assert_eq!(stale_calls(&world, webhook, &ids).await, 0);
}
