//! Receivers that mean no good, on real sockets: each attempt ends within its limit, and is written
//! down as what it was.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::attempt::{BodyEnd, FailureKind, HttpResponse, Outcome};
use model::contract::Outbox as _;
use model::delivery::DeliveryState;
use model::id::WebhookId;
use model::lease::Epoch;
use model::limits;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::world::World;
use crate::tasks::{Alarm, BoxFuture, EngineTask};
use crate::{NetDial, Resolver, TlsClient, tls_config};

/// Of an exchange in these tests.
const LIMIT_MS: u32 = 2_000;

/// For a defect, not for speed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A compressed body stays as it came, however much it would become.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xed\xc1\x01\x01\x00\x00";

type Script = Box<dyn Fn(TcpStream) -> BoxFuture<'static, ()> + Send + Sync>;
type Expected = Result<(u16, BodyEnd), FailureKind>;
type Row = (&'static str, &'static str, Script, Expected);

fn script<F: Future<Output = ()> + Send + 'static>(
    act: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> Script {
    Box::new(move |stream| Box::pin(act(stream)))
}

/// Reads the request, or as much as comes of it.
async fn hear(stream: &mut TcpStream) {
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while !heard.ends_with(b"body") {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => heard.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Answers with these bytes and closes.
fn says(answer: impl Into<Vec<u8>>) -> Script {
    let answer = answer.into();
    script(move |mut stream| {
        let answer = answer.clone();
        async move {
            hear(&mut stream).await;
            stream.write_all(&answer).await.ok();
            stream.shutdown().await.ok();
        }
    })
}

/// Answers with `begin`, then with `more` for ever; slowly, or as fast as it is taken.
fn goes_on(begin: &'static [u8], more: &'static [u8], slowly: bool) -> Script {
    script(move |mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(begin).await.ok();
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while stream.write_all(more).await.is_ok() {
            if slowly {
                tick.tick().await;
            }
        }
    })
}

/// Holds the connection and says nothing.
fn deaf() -> Script {
    script(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
}

/// Ends the connection without the usual politeness.
fn resets() -> Script {
    script(|mut stream| async move {
        hear(&mut stream).await;
        stream.set_zero_linger().ok();
    })
}

async fn listener() -> (u16, TcpListener) {
    #[expect(clippy::disallowed_methods, reason = "a receiver on the loopback")]
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap().port(), listener)
}

/// A receiver with this script, and how many connections it took.
async fn receiver(script: Script) -> (u16, Arc<AtomicUsize>, EngineTask<()>) {
    let (port, listener) = listener().await;
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let part = EngineTask::spawn("receiver", &Alarm::new(), async move {
        let mut connections = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            connections.push(EngineTask::spawn(
                "connection",
                &Alarm::new(),
                script(stream),
            ));
        }
    });
    (port, taken, part)
}

/// The store is on its file, with its threads, as attempts run on several here.
async fn world(folder: &Path) -> World {
    let store = store::open(&folder.join("willcall.db"), &mut Registry::default());
    let mut world = World::on(store.unwrap()).await;
    world.policy.exchange_limit_ms = LIMIT_MS;
    let tls = TlsClient::new(&tls_config(&[]).unwrap(), &mut Registry::default());
    let resolver = Resolver::of_system(&mut Registry::default());
    world.start_with(Arc::new(NetDial::new(
        resolver,
        "127.0.0.1".parse().unwrap(),
        Arc::new(tls),
    )));
    world
}

/// A webhook whose deliveries are tried once.
async fn webhook(world: &World, url: &str) -> WebhookId {
    let webhook = world.webhook(url, "paid").await;
    world
        .change(webhook, |webhook| webhook.retries_max = Some(0))
        .await;
    webhook
}

async fn settled(world: &World) {
    let deadline = Instant::now() + PATIENCE;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while !world
        .store
        .pending_webhooks(Epoch::FIRST, None, 1)
        .await
        .unwrap()
        .is_empty()
    {
        assert!(Instant::now() < deadline, "something is still owed");
        tick.tick().await;
    }
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const FLOOD: &[u8] = &[b'x'; 65_536];
    let gzip = [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 16\r\n\r\n", GZIP].concat();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).into_bytes();
    // Reads no more than the beginning of what it gets.
    let hasty = |answer: &'static [u8]| script(move |mut stream| async move {
        stream.read_exact(&mut [0; 16]).await.ok();
        stream.write_all(answer).await.ok();
        std::future::pending::<()>().await;
    });
    let early = hasty(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let (time_limit, garbled) = (Err(FailureKind::TimeLimit), Err(FailureKind::Garbled));
    let (cut, broken) = (Ok((200, BodyEnd::Cut)), Ok((200, BodyEnd::Broken)));
    vec![
        ("an endless body", "http", goes_on(b"HTTP/1.1 200 OK\r\n\r\n", FLOOD, false), cut),
        ("a body said to be huge", "http",
            goes_on(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n", FLOOD, false), cut),
        ("endless chunks", "http", goes_on(CHUNKED, chunk.leak(), false), cut),
        ("a head byte by byte", "http", goes_on(OK, b"X", true), Ok((200, BodyEnd::TimeUp))),
        ("a body byte by byte", "http", goes_on(b"HTTP/1.1 200 OK\r\n\r\n", b"x", true),
            Ok((200, BodyEnd::TimeUp))),
        ("endless headers", "http", goes_on(OK, b"X: y\r\n", false), broken),
        ("an endless header", "http", goes_on(b"HTTP/1.1 200 OK\r\nX: ", FLOOD, false), broken),
        ("an end within the head", "http", says(b"HTTP/1.1 200 OK\r\nX: "), broken),
        ("an end within the body", "http", says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
            Ok((200, BodyEnd::Broken))),
        ("no answer", "http", says(b""), Err(FailureKind::Closed)),
        ("garbage", "http", says(b"\x16\x03\x01 hello"), garbled),
        ("an answer without a head", "http", says(b"<html>hello</html>"), garbled),
        ("a storm of interim answers", "http",
            goes_on(b"", b"HTTP/1.1 102 Processing\r\n\r\n", false), garbled),
        ("a compressed body", "http", says(gzip), Ok((200, BodyEnd::Whole))),
        ("two lengths", "http",
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), broken),
        ("a length that is none", "http", says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab"),
            broken),
        ("a folded line", "http", says(b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\nok"), broken),
        ("a line without colon", "http", says(b"HTTP/1.1 200 OK\r\nPHP Warning\r\n\r\nok"), broken),
        ("chunks that are none", "http", says([CHUNKED, b"zz\r\nabc"].concat()),
            Ok((200, BodyEnd::Broken))),
        ("an answer before the request was read", "http", early, Ok((200, BodyEnd::Whole))),
        ("silence", "http", deaf(), time_limit),
        ("a reset", "http", resets(), Err(FailureKind::Closed)),
        ("TLS that stalls", "https", deaf(), time_limit),
        ("TLS that is closed", "https", script(|mut stream| async move {
                stream.read_exact(&mut [0; 16]).await.ok();
            }),
            Err(FailureKind::Tls)),
        ("TLS that is not", "https", hasty(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Err(FailureKind::Tls)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_receiver_does_it_ends_within_the_limit_and_is_written_down_as_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    let mut all = Vec::new();
    for (what, scheme, script, expected) in rows() {
        let (port, taken, part) = receiver(script).await;
        let webhook = webhook(&world, &format!("{scheme}://127.0.0.1:{port}/")).await;
        all.push((what, webhook, expected, taken, part));
    }
    // One whose connections nobody takes, and one that is not there.
    let (full, _unaccepted) = listener().await;
    let (gone, dropped) = listener().await;
    drop(dropped);
    let full = webhook(&world, &format!("http://127.0.0.1:{full}/")).await;
    let gone = webhook(&world, &format!("http://127.0.0.1:{gone}/")).await;
    let ids = world
        .hand_in_with(world.tenant, "paid", 1, |_| "body".to_owned())
        .await;
    settled(&world).await;
    let outcome = async |webhook| {
        let mut story = world.story(ids[0], webhook).await;
        assert_eq!(story.attempts.len(), 1, "{story:#?}");
        story.attempts.remove(0).attempt.outcome
    };
    for (what, webhook, expected, taken, _part) in &all {
        let outcome = outcome(*webhook).await;
        let found = match &outcome {
            Outcome::Answered(answer) => Ok((answer.status, answer.body_end)),
            Outcome::Failed(failure) => Err(failure.kind),
        };
        assert_eq!(&found, expected, "{what}: {}", outcome.words());
        assert_eq!(taken.load(Ordering::Relaxed), 1, "{what}");
        if let Outcome::Answered(HttpResponse { headers, body, .. }) = &outcome {
            assert!(body.len() <= limits::RESPONSE_BODY_BYTES_MAX, "{what}");
            assert!(headers.get("content-encoding").is_none() || **body == *GZIP);
        }
        let state = world.state(ids[0], *webhook).await;
        assert_eq!(
            state == DeliveryState::Delivered,
            expected.is_ok(),
            "{what}"
        );
    }
    for (webhook, kind) in [(full, FailureKind::TimeLimit), (gone, FailureKind::Connect)] {
        let Outcome::Failed(failure) = outcome(webhook).await else {
            panic!("nobody answered");
        };
        assert_eq!(failure.kind, kind);
    }
    assert_eq!(world.health(), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_connections_that_are_refused_or_reset_end_one_by_one() {
    const COUNT: usize = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    let (port, taken, _part) = receiver(resets()).await;
    let (gone, dropped) = listener().await;
    drop(dropped);
    let webhooks = [
        webhook(&world, &format!("http://127.0.0.1:{port}/")).await,
        webhook(&world, &format!("http://127.0.0.1:{gone}/")).await,
    ];
    let mut ids = Vec::new();
    for _ in 0..COUNT / 500 {
        ids.extend(
            world
                .hand_in_with(world.tenant, "paid", 500, |_| "body".to_owned())
                .await,
        );
    }
    settled(&world).await;
    assert_eq!(taken.load(Ordering::Relaxed), COUNT);
    for webhook in webhooks {
        for id in [ids[0], ids[COUNT - 1]] {
            let story = world.story(id, webhook).await;
            assert_eq!(
                (story.row.state, story.attempts.len()),
                (DeliveryState::Failed, 1)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_give_their_room_back_once_they_are_written_down() {
    // Of either kind more than there is room for at the same time.
    const COUNT: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    let body = "x".repeat(60_000);
    let close = "Connection: close\r\n";
    let long_body = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: 60000\r\n\r\n{body}");
    let lines = format!("A: {}\r\n", "y".repeat(1_000)).repeat(60);
    let long_head = format!("HTTP/1.1 204 OK\r\n{close}{lines}\r\n");
    let mut webhooks = Vec::new();
    for (answer, heard) in [(long_body, 60_000), (long_head, 60 * 1_005)] {
        let (port, _, part) = receiver(says(answer)).await;
        let webhook = webhook(&world, &format!("http://127.0.0.1:{port}/")).await;
        webhooks.push((webhook, heard, part));
    }
    let ids = world
        .hand_in_with(world.tenant, "paid", COUNT, |_| "body".to_owned())
        .await;
    settled(&world).await;
    for (webhook, heard, _part) in &webhooks {
        for id in &ids {
            let story = world.story(*id, *webhook).await;
            let outcome = &story.attempts[0].attempt.outcome;
            let Outcome::Answered(answer) = outcome else {
                panic!("{}", outcome.words());
            };
            assert_eq!(answer.body_end, BodyEnd::Whole, "{id}");
            assert!(outcome.bytes() >= *heard, "{id}");
        }
    }
}
