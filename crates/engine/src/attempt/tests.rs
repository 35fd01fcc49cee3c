//! One attempt against receivers of every kind, on paused time and streams in memory.

mod handshakes;
mod mail;

use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use model::attempt::{BodyEnd, Failure};
use model::call_limits::{CallBounds, CallLimits};
use model::contract::WebhookTarget;
use model::delivery::Delivery;
use model::handshake::Handshake;
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::limits;
use model::policy::{EventNaming, NameOf, Policy};
use model::schedule::Schedule;
use model::signing::Keyring;
use model::tenant::DialectName;
use model::webhook::Headers;
use model::webhook_tls::WebhookTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::concurrency::timed_out;
use crate::idle_lifetime::KeepTimes;
use crate::response_budget::STEP_BYTES;
use crate::tasks::{Alarm, BoxFuture, EngineTask};
use crate::transport::{DialFuture, Endpoint, Stream};

const LIMIT_MS: u32 = 30_000;

/// What the receiver does with one connection.
type Script = Box<dyn Fn(DuplexStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// The n-th connection meets the n-th script, the last one all that follow.
struct Scripted {
    scripts: Vec<Script>,
    dialled: AtomicUsize,
    /// So many connections are not had for want of descriptors.
    short: AtomicUsize,
    askers: Mutex<Vec<LookupContext>>,
    running: Mutex<Vec<EngineTask<()>>>,
}

impl Dial for Scripted {
    fn dial<'a>(
        &'a self,
        _place: &'a Endpoint,
        asker: LookupContext,
        _limit: Deadline,
    ) -> DialFuture<'a> {
        self.askers.lock().unwrap().push(asker);
        let short = |left: usize| left.checked_sub(1);
        if self
            .short
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, short)
            .is_ok()
        {
            let failure = Failure::new(FailureKind::Short, "descriptors");
            return Box::pin(std::future::ready(Err(failure)));
        }
        Box::pin(async move {
            let number = self.dialled.fetch_add(1, Ordering::Relaxed);
            let (ours, theirs) = duplex(16 * 1024);
            let script = &self.scripts[number.min(self.scripts.len() - 1)];
            let part = EngineTask::spawn("receiver", &Alarm::new(), script(theirs));
            self.running.lock().unwrap().push(part);
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

fn script<F: Future<Output = ()> + Send + 'static>(
    act: impl Fn(DuplexStream) -> F + Send + Sync + 'static,
) -> Script {
    Box::new(move |stream| Box::pin(act(stream)))
}

/// Reads the request, then writes these bytes and closes.
fn says(answer: &'static [u8]) -> Script {
    script(move |mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(answer).await.ok();
    })
}

/// Reads the request, then writes these bytes and holds the line open for ever.
fn says_and_stays(answer: &'static [u8]) -> Script {
    script(move |mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(answer).await.ok();
        std::future::pending::<()>().await;
    })
}

/// Writes `begin` once, then `more` again and again, with a pause between.
fn goes_on(begin: &'static [u8], more: &'static [u8], pause: Duration) -> Script {
    script(move |mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(begin).await.ok();
        while stream.write_all(more).await.is_ok() {
            if pause.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(pause).await;
            }
        }
    })
}

/// Reads one request with its body, as text. Empty when the line is closed.
async fn hear(stream: &mut DuplexStream) -> String {
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .and_then(|value| value.parse::<usize>().ok())
                .unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return String::new(),
            Ok(count) => heard.extend_from_slice(&chunk[..count]),
        }
    }
}

struct Given {
    caller: AttemptRunner,
    dial: Arc<Scripted>,
    pool: Arc<ConnectionPool>,
    room: Arc<ResponseBudget>,
}

fn given(scripts: Vec<Script>) -> Given {
    let dial = Arc::new(Scripted {
        scripts,
        dialled: AtomicUsize::new(0),
        short: AtomicUsize::new(0),
        askers: Mutex::default(),
        running: Mutex::default(),
    });
    let times = KeepTimes {
        usual: Duration::from_secs(20),
        longest: Duration::from_secs(20),
    };
    let pool = Arc::new(ConnectionPool::new(4, times));
    let room = ResponseBudget::new(limits::RESPONSES_BYTES_MAX, Counter::default());
    let began = Instant::now();
    let clock = Clock::new(move || {
        let millis = i64::try_from(began.elapsed().as_millis()).unwrap();
        Timestamp::from_millis(1_000_000 + millis)
    });
    let caller = AttemptRunner::new(
        Arc::clone(&dial) as Arc<dyn Dial>,
        clock,
        Arc::clone(&pool),
        Arc::clone(&room),
        Counter::default(),
        Arc::default(),
    );
    Given {
        caller,
        dial,
        pool,
        room,
    }
}

impl Given {
    async fn made(&self) -> AttemptResult {
        self.caller
            .attempt(
                &prepared("http://user:pw@receiver.test/hook"),
                &due(),
                false,
            )
            .await
    }

    async fn attempt(&self) -> Attempt {
        self.made().await.attempt
    }

    async fn outcome(&self) -> Outcome {
        self.attempt().await.outcome
    }

    fn dialled(&self) -> usize {
        self.dial.dialled.load(Ordering::Relaxed)
    }
}

fn prepared(url: &str) -> PreparedTarget {
    prepared_with(url, None, None)
}

/// One whose receiver is to agree, asked under this name.
fn prepared_with(url: &str, handshake: Option<Handshake>, origin: Option<&str>) -> PreparedTarget {
    let bounds = CallBounds {
        origin: origin.map(str::to_owned),
        ..CallBounds::default()
    };
    let policy = Policy {
        schedule: Schedule {
            delays_ms: vec![],
            jitter_from_ms: 0,
            jitter_percent: 0,
            final_attempt_after_ms: None,
        },
        exchange_limit_ms: LIMIT_MS,
        gone_disables: true,
        retry_after_max_ms: None,
        dedupe_header: None,
        user_agent: "Willcall/0".to_owned(),
        content_type: "application/json".to_owned(),
        event_naming: EventNaming::default(),
        retention_ms: 1,
        bounds: Arc::new(bounds),
        name_of: NameOf::default(),
    };
    let target = WebhookTarget {
        webhook: WebhookId(1),
        tenant: model::id::TenantId(1),
        dialect: DialectName::new("any"),
        tenant_key: "bigevents".to_owned(),
        settings: "{}".to_owned(),
        cloud_events: None,
        tls: WebhookTls::default(),
        limits: CallLimits::default(),
        holds: model::hold::Holds::default(),
        key: None,
        target_url: url.to_owned(),
        headers: Headers::default(),
        retries_max: None,
        paused_until: None,
        failing_since: None,
        succeeded_at: None,
        version: 1,
        enabled: true,
        signatures: Vec::new(),
        own_headers: Vec::new(),
        handshake,
    };
    PreparedTarget::new(&target, Arc::new(policy), &Keyring::default())
}

fn due() -> DueDelivery {
    DueDelivery {
        delivery: Delivery {
            id: DeliveryId {
                notification: NotificationId(1),
                webhook: WebhookId(1),
            },
            round: 1,
            attempts: 0,
            round_attempts: 0,
            round_began_at: None,
            due_at: Timestamp::EPOCH,
        },
        key: "1".into(),
        action_type: Arc::from("order.paid"),
        accepted_at: Timestamp::EPOCH,
        headers: Headers::default(),
        body: Bytes::from_static(b"{\"a\": 1}"),
    }
}

fn status_and_end(outcome: &Outcome) -> Option<(u16, BodyEnd)> {
    match outcome {
        Outcome::Answered(answer) => Some((answer.status, answer.body_end)),
        Outcome::Failed(_) => None,
    }
}

fn failed(outcome: &Outcome) -> &Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Answered(answer) => panic!("answered {}", answer.status),
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_has_its_lines_in_the_promised_order() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let given = given(vec![script(move |mut stream| {
        let tell = tell.clone();
        async move {
            tell.send(hear(&mut stream).await).unwrap();
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .ok();
        }
    })]);
    let attempt = given.attempt().await;
    assert!(attempt.outcome.is_success());
    assert_eq!(
        told.recv().await.unwrap(),
        "POST /hook HTTP/1.1\r\n\
         Host: receiver.test\r\n\
         User-Agent: Willcall/0\r\n\
         Accept: */*\r\n\
         Connection: keep-alive\r\n\
         Content-Length: 8\r\n\
         Content-Type: application/json\r\n\
         Authorization: Basic dXNlcjpwdw==\r\n\
         \r\n{\"a\": 1}"
    );
    assert_eq!(&*attempt.url, "http://***@receiver.test/hook");
    assert_eq!(
        attempt.request_headers.0,
        "Host: receiver.test\r\n\
         User-Agent: Willcall/0\r\n\
         Accept: */*\r\n\
         Connection: keep-alive\r\n\
         Content-Type: application/json\r\n\
         Authorization: Basic ***\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_with_its_lines_and_body_whatever_their_bytes() {
    let given = given(vec![says(
        b"HTTP/1.1 500 Oh\r\nX-Odd: \xff\x80\r\nContent-Length: 5\r\n\r\na\0\xffb\n",
    )]);
    let Outcome::Answered(answer) = given.outcome().await else {
        panic!("it was answered");
    };
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body, &b"a\0\xffb\n"[..]);
    assert_eq!(answer.body_end, BodyEnd::Whole);
    let lines: Vec<_> = answer.headers.iter().collect();
    assert_eq!(lines[0], (&b"x-odd"[..], &b"\xff\x80"[..]));
}

/// What a receiver does, what that comes to, and after how many seconds.
type Row = (
    &'static str,
    Script,
    Result<(u16, BodyEnd), FailureKind>,
    u64,
);

const AT_ONCE: u64 = 0;
const AT_THE_LIMIT: u64 = 30;
const NO_PAUSE: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

async fn check(rows: Vec<Row>) {
    for (what, script, expected, seconds) in rows {
        let given = given(vec![script]);
        let began = Instant::now();
        let outcome = given.outcome().await;
        let found = status_and_end(&outcome).ok_or_else(|| failed(&outcome).kind);
        assert_eq!(found, expected, "{what}: {outcome:?}");
        assert_eq!(began.elapsed().as_secs(), seconds, "{what}");
        if let Outcome::Answered(answer) = &outcome {
            assert!(
                answer.body.len() <= limits::RESPONSE_BODY_BYTES_MAX,
                "{what}"
            );
        }
        assert_eq!(given.dialled(), 1, "{what}");
    }
}

#[rustfmt::skip]
#[tokio::test(start_paused = true)]
async fn a_receiver_without_a_valid_status_line_has_not_answered() {
    let deaf = || script(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    check(vec![
        ("never answers", says_and_stays(b""), Err(FailureKind::TimeLimit), AT_THE_LIMIT),
        ("never reads", deaf(), Err(FailureKind::TimeLimit), AT_THE_LIMIT),
        ("closes at once", script(|stream| async move { drop(stream) }),
            Err(FailureKind::Closed), AT_ONCE),
        ("closes after the request", says(b""), Err(FailureKind::Closed), AT_ONCE),
        ("closes within the status", says(b"HTTP/1.1 20"), Err(FailureKind::Closed), AT_ONCE),
        ("garbage before the status", says(b"\x16\x03\x01 hello"),
            Err(FailureKind::Garbled), AT_ONCE),
        ("another protocol", says(b"SSH-2.0-OpenSSH_9.6\r\n"),
            Err(FailureKind::Garbled), AT_ONCE),
        ("a status of four digits", says(b"HTTP/1.1 2000 OK\r\n\r\n"),
            Err(FailureKind::Garbled), AT_ONCE),
        ("a status of 99", says(b"HTTP/1.1 099 X\r\n\r\n"), Err(FailureKind::Garbled), AT_ONCE),
        ("an endless status line", goes_on(b"HTTP/1.1 200 ", &[b'x'; 4096], NO_PAUSE),
            Err(FailureKind::Garbled), AT_ONCE),
        ("a status line of one byte a second", goes_on(b"HTTP/1.1 200 ", b"x", SECOND),
            Err(FailureKind::TimeLimit), AT_THE_LIMIT),
    ]).await;
}

#[rustfmt::skip]
#[tokio::test(start_paused = true)]
async fn strange_statuses_are_answers() {
    check(vec![
        ("interim answers without end", goes_on(b"", b"HTTP/1.1 100 Continue\r\n\r\n", NO_PAUSE),
            Err(FailureKind::Garbled), AT_ONCE),
        ("an interim answer every other second",
            goes_on(b"", b"HTTP/1.1 102 Wait\r\n\r\n", SECOND * 2),
            Ok((102, BodyEnd::TimeUp)), AT_THE_LIMIT),
        ("an interim answer and no other", says(b"HTTP/1.1 199 Odd\r\n\r\n"),
            Ok((199, BodyEnd::Broken)), AT_ONCE),
        ("an interim answer first",
            says(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 Fine\r\n\r\n"),
            Ok((204, BodyEnd::Whole)), AT_ONCE),
        ("a switch of protocols", says(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"),
            Ok((101, BodyEnd::Whole)), AT_ONCE),
        ("status 600", says(b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n"),
            Ok((600, BodyEnd::Whole)), AT_ONCE),
        ("status 999", says(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"),
            Ok((999, BodyEnd::Whole)), AT_ONCE),
        ("a redirect to a private address",
            says(b"HTTP/1.1 302 X\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n"),
            Ok((302, BodyEnd::Whole)), AT_ONCE),
        ("HTTP/1.0", says(b"HTTP/1.0 200 OK\r\n\r\nbody"), Ok((200, BodyEnd::Whole)), AT_ONCE),
    ]).await;
}

#[rustfmt::skip]
#[tokio::test(start_paused = true)]
async fn the_status_decides_whatever_the_head_does() {
    check(vec![
        ("no colon", says(b"HTTP/1.1 204 X\r\nWarning message\r\n\r\n"),
            Ok((204, BodyEnd::Broken)), AT_ONCE),
        ("a folded line that stays", says_and_stays(b"HTTP/1.1 410 X\r\nA: b\r\n c\r\nB: 1\r\n\r\n"),
            Ok((410, BodyEnd::Broken)), AT_ONCE),
        ("closes within the head", says(b"HTTP/1.1 200 OK\r\nX: "),
            Ok((200, BodyEnd::Broken)), AT_ONCE),
        ("closes after the status line", says(b"HTTP/1.1 200 OK\r\n"),
            Ok((200, BodyEnd::Broken)), AT_ONCE),
        ("closes within the reason", says(b"HTTP/1.1 200 O"),
            Ok((200, BodyEnd::Broken)), AT_ONCE),
        ("two blanks", says(b"HTTP/1.1  200  OK\r\nContent-Length: 0\r\n\r\n"),
            Ok((200, BodyEnd::Whole)), AT_ONCE),
        ("another version", says(b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
            Ok((200, BodyEnd::Whole)), AT_ONCE),
        ("contradicting lengths",
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            Ok((200, BodyEnd::Broken)), AT_ONCE),
        ("an endless header", goes_on(b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 4096], NO_PAUSE),
            Ok((200, BodyEnd::Broken)), AT_ONCE),
        ("endless headers", goes_on(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", NO_PAUSE),
            Ok((200, BodyEnd::Broken)), AT_ONCE),
        ("a head of one byte a second", goes_on(b"HTTP/1.1 200 OK\r\nX: ", b"x", SECOND),
            Ok((200, BodyEnd::TimeUp)), AT_THE_LIMIT),
    ]).await;
}

#[rustfmt::skip]
#[tokio::test(start_paused = true)]
async fn the_status_decides_whatever_the_body_does() {
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(vec![
        ("an endless body", goes_on(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4096], NO_PAUSE),
            Ok((200, BodyEnd::Cut)), AT_ONCE),
        ("a body said to be huge",
            goes_on(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
                &[b'x'; 4096], NO_PAUSE), Ok((200, BodyEnd::Cut)), AT_ONCE),
        ("endless chunks", goes_on(CHUNKED, b"1\r\nx\r\n", NO_PAUSE),
            Ok((200, BodyEnd::Cut)), AT_ONCE),
        ("an endless chunk extension",
            goes_on(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
                &[b'e'; 4096], NO_PAUSE), Ok((200, BodyEnd::Broken)), AT_ONCE),
        ("endless trailers",
            goes_on(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
                b"T: t\r\n", NO_PAUSE), Ok((200, BodyEnd::Broken)), AT_ONCE),
        ("a chunk of no size", says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            Ok((200, BodyEnd::Broken)), AT_ONCE),
        ("a body of one byte a second", goes_on(b"HTTP/1.1 200 OK\r\n\r\n", b"x", SECOND),
            Ok((200, BodyEnd::TimeUp)), AT_THE_LIMIT),
        ("a body that never comes", says_and_stays(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n"),
            Ok((500, BodyEnd::TimeUp)), AT_THE_LIMIT),
        ("a body that breaks off", says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
            Ok((200, BodyEnd::Broken)), AT_ONCE),
    ]).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_has_room_for_as_long_as_whoever_got_it_wants() {
    let given = given(vec![script(|mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok();
        let body = vec![b'x'; limits::RESPONSE_BODY_BYTES_MAX];
        stream.write_all(&body).await.ok();
    })]);
    let all = limits::RESPONSES_BYTES_MAX + limits::RESPONSE_FREE_BYTES;
    let affordable = || given.room.nothing().afford(all);
    assert_eq!(affordable(), all);
    let prepared = prepared("http://receiver.test/hook");
    let AttemptResult { attempt, held, .. } = given.caller.attempt(&prepared, &due(), false).await;
    drop(attempt);
    assert_eq!(affordable(), all - 7 * STEP_BYTES);
    drop(held);
    assert_eq!(affordable(), all);
}

#[tokio::test(start_paused = true)]
async fn of_a_long_body_the_first_64_kib_are_kept_and_an_exact_one_is_whole() {
    for (extra, end) in [(0, BodyEnd::Whole), (1, BodyEnd::Cut)] {
        let given = given(vec![script(move |mut stream| async move {
            hear(&mut stream).await;
            let length = limits::RESPONSE_BODY_BYTES_MAX + extra;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok();
            stream.write_all(&vec![b'x'; length]).await.ok();
            std::future::pending::<()>().await;
        })]);
        let Outcome::Answered(answer) = given.outcome().await else {
            panic!("it was answered");
        };
        assert_eq!(answer.body.len(), limits::RESPONSE_BODY_BYTES_MAX);
        assert_eq!(answer.body_end, end);
    }
}

#[tokio::test(start_paused = true)]
async fn what_time_ran_out_on_is_said() {
    let given = given(vec![says_and_stays(b"")]);
    let attempt = given.attempt().await;
    assert_eq!(
        attempt.outcome.words(),
        "The receiver did not answer within the time limit: timed out after 30 s, waiting for the \
         answer."
    );
    assert_eq!(attempt.duration_ms, 30_000);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_never_ends_is_ended() {
    struct Never;
    impl Dial for Never {
        fn dial<'a>(&'a self, _: &'a Endpoint, _: LookupContext, _: Deadline) -> DialFuture<'a> {
            Box::pin(std::future::pending())
        }
    }
    let given = given(vec![says(b"")]);
    let caller = AttemptRunner {
        dial: Arc::new(Never),
        ..given.caller
    };
    let began = Instant::now();
    let AttemptResult { attempt, .. } = caller
        .attempt(&prepared("http://a.test/"), &due(), false)
        .await;
    assert_eq!(failed(&attempt.outcome).kind, FailureKind::TimeLimit);
    assert!(timed_out(&attempt.outcome));
    assert_eq!(began.elapsed(), Duration::from_secs(30));
}

/// Its first stream takes so long, those that follow are there at once.
struct Slow {
    first: Duration,
    began: AtomicUsize,
    then: Arc<Scripted>,
}

impl Dial for Slow {
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        asker: LookupContext,
        limit: Deadline,
    ) -> DialFuture<'a> {
        let is_first = self.began.fetch_add(1, Ordering::Relaxed) == 0;
        let wait = if is_first { self.first } else { Duration::ZERO };
        // The real one gives up by itself at the same moment.
        let ready = tokio::time::timeout_at(limit.deadline(), sleep(wait));
        Box::pin(async move {
            let missed = || limit.missed("the TLS handshake");
            ready.await.map_err(|_| missed())?;
            self.then.dial(endpoint, asker, limit).await
        })
    }
}

/// An attempt whose stream takes so long while this process stands still for 34 s, what it took,
/// and how many streams were asked for.
async fn frozen(first: Duration, scripts: Vec<Script>) -> (Attempt, Duration, usize) {
    let given = given(scripts);
    let dial = Arc::new(Slow {
        first,
        began: AtomicUsize::new(0),
        then: Arc::clone(&given.dial),
    });
    let caller = AttemptRunner {
        dial: Arc::clone(&dial) as Arc<dyn Dial>,
        ..given.caller
    };
    let began = Instant::now();
    let prepared = prepared("https://a.test/");
    let due = due();
    let stands_still = tokio::time::advance(Duration::from_secs(34));
    let (made, ()) = tokio::join!(caller.attempt(&prepared, &due, false), stands_still);
    let asked = dial.began.load(Ordering::Relaxed);
    (made.attempt, began.elapsed(), asked)
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_before_it_was_connected_begins_the_attempt_anew() {
    let answers_late = || {
        script(|mut stream| async move {
            hear(&mut stream).await;
            sleep(Duration::from_secs(5)).await;
            stream.write_all(FINE).await.ok();
        })
    };
    // Not connected, nor agreed on TLS, by then; and connected, with no time left to send.
    for (first_ms, asked) in [(600_000, 2), (34_001, 2), (33_000, 1), (20, 1)] {
        let first = Duration::from_millis(first_ms);
        let (attempt, _, streams) = frozen(first, vec![answers_late()]).await;
        assert!(attempt.outcome.is_success(), "{attempt:?}");
        assert_eq!((attempt.duration_ms, streams), (5_000, asked), "{first:?}");
        let began_ms = attempt.began_at.as_millis();
        assert!((1_034_000..1_034_100).contains(&began_ms), "{began_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_begins_anew_once_however_often_the_process_stands_still() {
    let silent = script(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let (attempt, took, streams) = frozen(Duration::from_secs(600), vec![silent]).await;
    assert_eq!(failed(&attempt.outcome).kind, FailureKind::TimeLimit);
    assert_eq!((took.as_secs(), streams), (64, 2));
}

#[tokio::test(start_paused = true)]
async fn a_url_that_cannot_be_called_is_a_failure_without_its_credentials() {
    let given = given(vec![says(b"")]);
    let prepared = prepared("ftp://user:secret@receiver.test/");
    let AttemptResult { attempt, .. } = given.caller.attempt(&prepared, &due(), false).await;
    assert_eq!(failed(&attempt.outcome).kind, FailureKind::BadTarget);
    assert!(!format!("{attempt:?}").contains("secret"));
    assert_eq!(given.dialled(), 0);
}

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers every request on the line with `FINE`, at most `count` of them, then closes.
fn answers(count: usize) -> Script {
    script(move |mut stream| async move {
        for _ in 0..count {
            if hear(&mut stream).await.is_empty() {
                return;
            }
            stream.write_all(FINE).await.ok();
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_while_it_is_young() {
    let given = given(vec![answers(usize::MAX)]);
    for _ in 0..5 {
        assert!(given.outcome().await.is_success());
    }
    assert_eq!(given.dialled(), 1);
    tokio::time::advance(Duration::from_secs(21)).await;
    assert!(given.outcome().await.is_success());
    assert_eq!(given.dialled(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_swept_pool_keeps_nothing_old_and_never_more_than_its_bound() {
    let given = given(vec![answers(usize::MAX)]);
    for number in 0..6 {
        let prepared = prepared(&format!("http://receiver-{number}.test/"));
        let AttemptResult { attempt, .. } = given.caller.attempt(&prepared, &due(), false).await;
        assert!(attempt.outcome.is_success());
    }
    assert_eq!(given.pool.count(), 4);
    tokio::time::advance(Duration::from_secs(21)).await;
    given.pool.sweep();
    assert_eq!(given.pool.count(), 0);
    assert_eq!(given.pool.endpoints(), 0);
}

#[tokio::test(start_paused = true)]
async fn places_whose_connections_are_gone_do_not_keep_others_from_theirs() {
    // Each answers once and closes: what is kept of it is found closed by the next attempt.
    let given = given(vec![answers(1)]);
    let to = |number| prepared(&format!("http://receiver-{number}.test/"));
    for round in 0..4 {
        for number in 0..6 {
            let AttemptResult { attempt, stale, .. } =
                given.caller.attempt(&to(number), &due(), false).await;
            assert!(attempt.outcome.is_success(), "{round} {number}");
            assert_eq!(stale, None);
            tokio::task::yield_now().await;
        }
        assert!(given.pool.count() <= 4, "{round}");
    }
    // By now it is known of each that it keeps none.
    assert_eq!(given.pool.count(), 0);
    tokio::time::advance(Duration::from_secs(7_200)).await;
    given.pool.sweep();
    assert_eq!((given.pool.count(), given.pool.endpoints()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_closed_meanwhile_is_not_used_again() {
    let given = given(vec![answers(1)]);
    for expected in 1..4 {
        assert!(given.outcome().await.is_success());
        tokio::task::yield_now().await;
        assert_eq!(given.dialled(), expected);
    }
}

/// Answers once, takes the second request, and closes without a byte.
fn closes_late() -> Script {
    script(|mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(FINE).await.ok();
        hear(&mut stream).await;
    })
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_ends_under_a_request_has_another_call_made_at_once() {
    let given = given(vec![closes_late(), answers(usize::MAX)]);
    assert!(given.outcome().await.is_success());
    tokio::time::advance(SECOND).await;
    let made = given.made().await;
    assert!(made.attempt.outcome.is_success());
    assert_eq!(given.dialled(), 2);
    let stale = *made.stale.expect("the first call is told");
    assert_eq!(failed(&stale.outcome).kind, FailureKind::Stale);
    assert_eq!(
        stale.outcome.words(),
        "No answer came on a connection kept from an earlier call, so the receiver was called \
         again at once on a new one."
    );
    assert_eq!(stale.url, made.attempt.url);
    assert_eq!(stale.request_headers, made.attempt.request_headers);
    // None is used again for a while.
    for expected in 3..6 {
        let made = given.made().await;
        assert!(made.attempt.outcome.is_success() && made.stale.is_none());
        assert_eq!(given.dialled(), expected);
    }
    tokio::time::advance(Duration::from_secs(301)).await;
    for _ in 0..3 {
        assert!(given.outcome().await.is_success());
    }
    assert_eq!(given.dialled(), 6);
}

#[tokio::test(start_paused = true)]
async fn the_call_made_at_once_has_what_is_left_of_the_time_and_is_not_repeated() {
    let late = script(|mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(FINE).await.ok();
        hear(&mut stream).await;
        tokio::time::sleep(SECOND * 20).await;
    });
    let given = given(vec![late, says_and_stays(b"")]);
    assert!(given.outcome().await.is_success());
    let began = Instant::now();
    let made = given.made().await;
    assert_eq!(began.elapsed(), SECOND * 30);
    let outcome = &made.attempt.outcome;
    assert_eq!(failed(outcome).kind, FailureKind::TimeLimit);
    assert_eq!(made.attempt.duration_ms, 10_000);
    let stale = made.stale.expect("the first call is told");
    assert_eq!(stale.duration_ms, 20_000);
    assert_eq!(
        made.attempt.began_at.ms_since(stale.began_at),
        20_000,
        "the second began when the first was over"
    );
    assert_eq!(given.dialled(), 2);
    // One that is new and breaks is a failure.
    let given = super::tests::given(vec![closes_late(), says(b"")]);
    assert!(given.outcome().await.is_success());
    let made = given.made().await;
    assert_eq!(failed(&made.attempt.outcome).kind, FailureKind::Closed);
    assert!(made.stale.is_some());
    assert_eq!(given.dialled(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_came_to_nothing_is_told_though_we_run_short_of_what_the_next_takes() {
    let given = given(vec![closes_late(), answers(usize::MAX)]);
    assert!(given.outcome().await.is_success());
    given.dial.short.store(3, Ordering::Relaxed);
    let made = given.made().await;
    assert!(made.attempt.outcome.is_success());
    assert!(made.stale.is_some());
    assert_eq!(given.dialled(), 2);
}

#[tokio::test(start_paused = true)]
async fn such_a_call_ends_by_its_limit_if_we_stay_short() {
    let given = given(vec![closes_late()]);
    assert!(given.outcome().await.is_success());
    given.dial.short.store(usize::MAX, Ordering::Relaxed);
    let began = Instant::now();
    let made = given.made().await;
    assert!(began.elapsed() <= Duration::from_millis(LIMIT_MS.into()));
    assert_eq!(failed(&made.attempt.outcome).kind, FailureKind::TimeLimit);
    assert!(made.stale.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_fails_on_a_kept_connection_says_that_it_was_one() {
    const WHERE: &str = "on a connection kept from an earlier call";
    for (second, kind) in [
        (&b"HTTP/1.1 2"[..], FailureKind::Closed),
        (b"nonsense", FailureKind::Garbled),
    ] {
        let given = given(vec![script(move |mut stream| async move {
            hear(&mut stream).await;
            stream.write_all(FINE).await.ok();
            hear(&mut stream).await;
            stream.write_all(second).await.ok();
        })]);
        assert!(given.outcome().await.is_success());
        let outcome = given.outcome().await;
        assert_eq!(failed(&outcome).kind, kind);
        assert!(outcome.words().contains(WHERE), "{}", outcome.words());
        assert_eq!(given.dialled(), 1);
    }
    let given = given(vec![script(|mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(FINE).await.ok();
        hear(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nA: ").await.ok();
    })]);
    assert!(given.outcome().await.is_success());
    let outcome = given.outcome().await;
    assert!(outcome.is_success());
    assert!(outcome.words().contains(WHERE), "{}", outcome.words());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_for_as_long_and_as_often_as_the_receiver_says() {
    let says = |line: &'static str| {
        script(move |mut stream| async move {
            while !hear(&mut stream).await.is_empty() {
                let answer = format!("HTTP/1.1 204 X\r\nKeep-Alive: {line}\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.ok();
            }
        })
    };
    for (line, wait_ms, expected) in [
        ("timeout=5", 3_900, 1),
        ("timeout=5", 4_100, 2),
        ("timeout=2", 900, 1),
        ("timeout=2", 1_100, 2),
        ("timeout=1", 400, 1),
        ("timeout=1", 600, 2),
        ("timeout=0", 1, 2),
    ] {
        let given = given(vec![says(line)]);
        assert!(given.outcome().await.is_success());
        tokio::time::advance(Duration::from_millis(wait_ms)).await;
        assert!(given.outcome().await.is_success());
        assert_eq!(given.dialled(), expected, "{line} {wait_ms}");
    }
    for (line, calls, expected) in [("max=3", 6, 2), ("max=1", 4, 4), ("max=0", 4, 4)] {
        let given = given(vec![says(line)]);
        for _ in 0..calls {
            assert!(given.outcome().await.is_success());
        }
        assert_eq!(given.dialled(), expected, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_broke_off_within_an_answer_is_not_tried_again() {
    let breaks = script(|mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(FINE).await.ok();
        hear(&mut stream).await;
        stream.write_all(b"HTTP/1.1 2").await.ok();
    });
    let given = given(vec![breaks, answers(1)]);
    assert!(given.outcome().await.is_success());
    assert_eq!(failed(&given.outcome().await).kind, FailureKind::Closed);
    assert_eq!(given.dialled(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_nobody_asked_for_is_not_taken_for_the_next_one() {
    let twice = script(|mut stream| async move {
        hear(&mut stream).await;
        stream.write_all(FINE).await.ok();
        stream.write_all(FINE).await.ok();
        std::future::pending::<()>().await;
    });
    let given = given(vec![twice, says(b"HTTP/1.1 500 No\r\n\r\n")]);
    assert_eq!(given.outcome().await.status(), Some(200));
    assert_eq!(given.outcome().await.status(), Some(500));
    assert_eq!(given.dialled(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_said_to_close_or_not_read_to_its_end_is_not_kept() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let given = given(vec![says_and_stays(answer)]);
        assert!(given.outcome().await.is_success());
        assert_eq!(given.pool.count(), 0);
    }
    let long = goes_on(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4096], Duration::ZERO);
    let given = given(vec![long]);
    assert!(given.outcome().await.is_success());
    assert_eq!(given.pool.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_request_was_read_counts_and_the_line_is_not_kept() {
    let hasty = script(|mut stream| async move {
        stream.write_all(FINE).await.ok();
        std::future::pending::<()>().await;
    });
    let given = given(vec![hasty]);
    let mut due = due();
    due.body = Bytes::from(vec![b'x'; 200_000]);
    let AttemptResult { attempt, .. } = given
        .caller
        .attempt(&prepared("http://a.test/"), &due, false)
        .await;
    assert_eq!(attempt.outcome.status(), Some(200));
    assert_eq!(given.pool.count(), 0);
}

/// Answers as they are, and with bytes changed, lost, doubled and cut; in pieces of any size.
#[tokio::test(start_paused = true)]
async fn whatever_bytes_come_an_attempt_ends_within_its_limit() {
    const ANSWERS: [&[u8]; 4] = [
        FINE,
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: t\r\n\r\n",
        b"HTTP/1.0 500 Oh\r\nConnection: keep-alive, close\r\nX: \xff\r\n\r\nrest",
    ];
    let mut rng = model::rng::SeededRng::from_seed([9; 32]);
    let mut draw = move |end: usize| usize::try_from(rng.below(end as u64)).unwrap();
    for round in 0..1_500 {
        let mut answer = ANSWERS[draw(ANSWERS.len())].to_vec();
        for _ in 0..draw(5) {
            let at = draw(answer.len());
            match draw(5) {
                _ if answer.len() < 2 => {}
                0 => answer[at] = u8::try_from(draw(256)).unwrap(),
                1 => drop(answer.remove(at)),
                2 => answer.insert(at, answer[at]),
                3 => answer.truncate(at.max(1)),
                _ => answer.extend_from_within(at..),
            }
        }
        let (piece, closes) = (1 + draw(40), draw(2) == 0);
        let sent = answer.clone();
        let given = given(vec![script(move |mut stream| {
            let answer = answer.clone();
            async move {
                hear(&mut stream).await;
                for bytes in answer.chunks(piece) {
                    stream.write_all(bytes).await.ok();
                    tokio::task::yield_now().await;
                }
                if !closes {
                    std::future::pending::<()>().await;
                }
            }
        })]);
        let attempt = given.attempt().await;
        let sent = String::from_utf8_lossy(&sent);
        assert!(attempt.duration_ms <= LIMIT_MS, "round {round}: {sent:?}");
        assert!(!attempt.outcome.words().is_empty());
        if let Some(status) = attempt.outcome.status() {
            assert!(
                sent.contains(&status.to_string()),
                "round {round}: {status} {sent:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_asked_for_in_the_name_of_the_tenant_and_with_what_is_known_of_the_webhook() {
    let given = given(vec![says(b"HTTP/1.1 500 No\r\n\r\n")]);
    let mut prepared = prepared("http://a.test/");
    for succeeded in [false, true] {
        prepared.succeeded = succeeded;
        given.caller.attempt(&prepared, &due(), false).await;
    }
    let asker = |succeeded| LookupContext {
        tenant: prepared.tenant,
        since: Some(prepared.seen_at),
        succeeded,
    };
    let askers = given.dial.askers.lock().unwrap().clone();
    assert_eq!(askers, [asker(false), asker(true)]);
}
