//! What is kept, for how long, and what gives way, on paused time and streams in memory.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};
use tokio::time::advance;

use super::*;
use crate::response::KeepAlive;
use crate::transport::{SocketState, Stream};

const KEPT_FOR: Duration = Duration::from_secs(4);

const TIMES: KeepTimes = KeepTimes {
    usual: KEPT_FOR,
    longest: Duration::from_secs(120),
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pool() -> ConnectionPool {
    ConnectionPool::new(100, TIMES)
}

fn endpoint(port: u16) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        tls: false,
        host: "a.test".to_owned(),
        port,
        own: None,
    })
}

fn connection() -> Connection {
    Connection::new(Box::new(duplex(64).0))
}

/// Whether the receiver has ended a connection.
#[derive(Clone, Default)]
struct Received(Arc<AtomicBool>);

impl Received {
    fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream that knows whether the receiver has ended it.
struct Watched(Received);

impl Stream for Watched {
    fn socket_state(&self) -> SocketState {
        match self.0.0.load(Ordering::Relaxed) {
            true => SocketState::Closed,
            false => SocketState::Idle,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Takes so many, then gives them back.
fn uses(pool: &ConnectionPool, endpoint: &Arc<Endpoint>, count: usize) {
    let used: Vec<Option<(Connection, Duration)>> =
        (0..count).map(|_| pool.take(endpoint)).collect();
    for used in used {
        match used {
            Some((connection, idle)) => pool.put(endpoint, connection, Some(idle)),
            None => pool.put(endpoint, connection(), None),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_line_that_was_used_last_is_taken_first_and_says_how_long_it_lay() {
    let (pool, here) = (pool(), endpoint(1));
    assert!(pool.take(&here).is_none());
    pool.put(&here, connection(), None);
    advance(ms(1_000)).await;
    pool.put(&here, connection(), None);
    advance(ms(500)).await;
    let taken = [pool.take(&here), pool.take(&here)];
    let idle = taken.map(|used| used.map(|(_, idle)| idle));
    assert_eq!(idle, [Some(ms(500)), Some(ms(1_500))]);
    assert!(pool.take(&here).is_none());
    assert!(pool.take(&endpoint(2)).is_none());
}

#[tokio::test(start_paused = true)]
async fn after_a_burst_no_more_lie_idle_than_were_of_use_lately() {
    let (pool, here) = (pool(), endpoint(1));
    uses(&pool, &here, 50);
    assert_eq!(pool.count(), 50);
    // Three at a time go on.
    for _ in 0..20 {
        advance(ms(100)).await;
        uses(&pool, &here, 3);
        pool.sweep();
    }
    assert_eq!(pool.count(), 3);
    // Then nothing: one stays, until it is too old.
    for _ in 0..25 {
        advance(ms(100)).await;
        pool.sweep();
    }
    assert_eq!(pool.count(), 1);
    advance(KEPT_FOR).await;
    assert_eq!(pool.swept(), None);
    // It is remembered for as long as a call tells at what intervals they come.
    assert_eq!((pool.count(), pool.endpoints()), (0, 1));
    advance(TIMES.longest).await;
    pool.sweep();
    assert_eq!(pool.endpoints(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_used_now_and_then_stays() {
    let (pool, here) = (pool(), endpoint(1));
    pool.put(&here, connection(), None);
    for _ in 0..20 {
        for _ in 0..3 {
            advance(ms(1_000)).await;
            pool.sweep();
        }
        let (connection, idle) = pool.take(&here).expect("it is still there");
        pool.put(&here, connection, Some(idle));
    }
}

#[tokio::test(start_paused = true)]
async fn idle_lines_give_way_while_a_new_one_waits_for_its_answer() {
    let (pool, here, other) = (pool(), endpoint(1), endpoint(2));
    uses(&pool, &here, 4);
    uses(&pool, &other, 1);
    let opening = pool.opening(&here);
    assert_eq!(pool.swept(), Some(GIVES_WAY_AFTER));
    assert_eq!(pool.count(), 5, "they may be taken at once");
    advance(GIVES_WAY_AFTER).await;
    pool.sweep();
    assert_eq!(pool.count(), 1, "only those there give way");
    drop(opening);
    uses(&pool, &here, 1);
    advance(GIVES_WAY_AFTER).await;
    pool.sweep();
    assert_eq!(pool.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_one_was_found_closed_the_others_are_not_tried() {
    let (pool, here, other) = (pool(), endpoint(1), endpoint(2));
    uses(&pool, &here, 3);
    uses(&pool, &other, 1);
    advance(ms(2_000)).await;
    let (_, idle) = pool.take(&here).unwrap();
    pool.ended(&here, idle, CloseTiming::BeforeSend);
    assert_eq!(pool.count(), 1);
    assert!(pool.take(&here).is_none());
    // From now on they are used again within half of the time.
    for (wait, is_kept) in [(ms(1_000), true), (ms(1_001), false)] {
        uses(&pool, &here, 1);
        advance(wait).await;
        assert_eq!(pool.take(&here).is_some(), is_kept, "{wait:?}");
    }
    uses(&pool, &other, 1);
    advance(ms(1_001)).await;
    assert!(pool.take(&other).is_some());
}

#[tokio::test(start_paused = true)]
async fn where_one_ended_under_a_request_none_is_kept_for_minutes() {
    let (pool, here) = (pool(), endpoint(1));
    uses(&pool, &here, 3);
    advance(ms(500)).await;
    let (_, idle) = pool.take(&here).unwrap();
    pool.ended(&here, idle, CloseTiming::AfterSend);
    for _ in 0..4 {
        uses(&pool, &here, 2);
        assert_eq!(pool.count(), 0);
        advance(Duration::from_secs(60)).await;
        pool.sweep();
    }
    assert_eq!(pool.endpoints(), 1, "that is remembered");
    advance(Duration::from_secs(61)).await;
    uses(&pool, &here, 1);
    assert_eq!(pool.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_receivers_is_bounded() {
    let pool = pool();
    let all = u32::try_from(RECEIVERS_REMEMBERED_MAX).unwrap() + 10;
    for number in 0..all {
        let endpoint = Arc::new(Endpoint {
            tls: false,
            host: format!("{number}.test"),
            port: 80,
            own: None,
        });
        pool.ended(&endpoint, ms(1), CloseTiming::AfterSend);
        assert!(pool.endpoints() <= RECEIVERS_REMEMBERED_MAX);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_sweeps_sleeps_until_there_is_something_to_sweep() {
    let pool = Arc::new(pool());
    let sweeper = crate::tasks::EngineTask::spawn(
        "the connection pool",
        &crate::tasks::Alarm::new(),
        Arc::clone(&pool).run(),
    );
    advance(Duration::from_secs(3_600)).await;
    uses(&pool, &endpoint(1), 20);
    for _ in 0..3 {
        tokio::time::sleep(USEFUL_WITHIN).await;
    }
    assert_eq!(pool.count(), 1);
    tokio::time::sleep(KEPT_FOR + SWEEP_EVERY).await;
    assert_eq!(pool.count(), 0);
    drop(sweeper);
}

/// Time goes on in small steps, so that every task has its turn in each.
async fn pass(time: Duration) {
    for _ in 0..time.as_millis() / 10 {
        tokio::time::sleep(ms(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenth_of_a_second_after_a_new_line_began_to_wait_idle_ones_have_given_way() {
    for is_kept_first in [true, false] {
        let pool = Arc::new(pool());
        let alarm = crate::tasks::Alarm::new();
        let run = Arc::clone(&pool).run();
        let sweeper = crate::tasks::EngineTask::spawn("the connection pool", &alarm, run);
        let (here, other) = (endpoint(1), endpoint(2));
        // Whoever sweeps is about to come again in two seconds.
        pool.put(&other, connection(), None);
        pass(ms(50)).await;
        if is_kept_first {
            pool.put(&here, connection(), None);
            pass(ms(50)).await;
        }
        let opening = pool.opening(&here);
        if !is_kept_first {
            pool.put(&here, connection(), None);
        }
        pass(ms(90)).await;
        assert_eq!(pool.count(), 2);
        pass(ms(20)).await;
        assert_eq!(pool.count(), 1, "{is_kept_first}");
        assert!(pool.take(&other).is_some());
        drop((opening, sweeper));
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_not_kept_pushes_no_other_out() {
    let (pool, here, other) = (ConnectionPool::new(2, TIMES), endpoint(1), endpoint(2));
    pool.ended(&here, ms(1), CloseTiming::AfterSend);
    uses(&pool, &other, 2);
    uses(&pool, &here, 2);
    assert_eq!(pool.count(), 2);
    assert!(pool.take(&other).is_some() && pool.take(&other).is_some());
    // One that is kept does.
    uses(&pool, &other, 2);
    pool.put(&endpoint(3), connection(), None);
    assert_eq!(pool.count(), 2);
    assert!(pool.take(&endpoint(3)).is_some());
}

/// A connection, and the receiver's end of it.
fn with_receiver() -> (Connection, Received) {
    let received = Received::default();
    let stream = Box::new(Watched(received.clone()));
    (Connection::new(stream), received)
}

/// Calls at these intervals, each over a kept connection if there is one. Answers for each whether
/// there was.
async fn at_intervals(pool: &ConnectionPool, here: &Arc<Endpoint>, every: Duration) -> Vec<bool> {
    let mut kept = Vec::new();
    for _ in 0..8 {
        let taken = pool.take(here);
        kept.push(taken.is_some());
        match taken {
            Some((connection, idle)) => pool.put(here, connection, Some(idle)),
            None => pool.put(here, with_receiver().0, None),
        }
        for _ in 0..every.as_secs() {
            advance(ms(1_000)).await;
            pool.sweep();
        }
    }
    kept
}

#[tokio::test(start_paused = true)]
async fn where_calls_come_at_longer_intervals_connections_are_kept_for_longer() {
    for (seconds, learnt_by) in [(3, 1), (5, 3), (6, 2), (10, 2), (30, 2), (60, 2), (119, 2)] {
        let (pool, here) = (pool(), endpoint(1));
        let kept = at_intervals(&pool, &here, Duration::from_secs(seconds)).await;
        let expected: Vec<bool> = (0..8).map(|call| call >= learnt_by).collect();
        assert_eq!(kept, expected, "{seconds}");
        assert_eq!(pool.count(), 1, "{seconds}");
    }
    let (pool, here) = (pool(), endpoint(1));
    let kept = at_intervals(&pool, &here, Duration::from_secs(121)).await;
    assert_eq!(kept, [false; 8]);
    assert_eq!(pool.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_called_once_in_a_while_has_no_connection_kept_for_long() {
    let (pool, here) = (pool(), endpoint(1));
    // A burst says nothing of what comes later.
    uses(&pool, &here, 5);
    for _ in 0..7 {
        advance(ms(1_000)).await;
        pool.sweep();
    }
    assert_eq!(pool.count(), 0);
    // Nor does what was so long ago.
    at_intervals(&pool, &here, Duration::from_secs(10)).await;
    assert_eq!(pool.count(), 1);
    for _ in 0..121 {
        advance(ms(1_000)).await;
        pool.sweep();
    }
    assert_eq!((pool.count(), pool.endpoints()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_announces_is_believed() {
    for (seconds, is_kept) in [(30, true), (59, false)] {
        let (pool, here) = (pool(), endpoint(1));
        at_intervals(&pool, &here, Duration::from_secs(10)).await;
        let (mut connection, _) = pool.take(&here).unwrap();
        connection.heed(KeepAlive {
            timeout_s: Some(50),
            requests_max: None,
        });
        pool.put(&here, connection, None);
        advance(Duration::from_secs(seconds)).await;
        pool.sweep();
        assert_eq!(pool.take(&here).is_some(), is_kept);
    }
    // Also where it is about what is common.
    let (pool, here) = (pool(), endpoint(1));
    let (mut connection, _) = with_receiver();
    connection.heed(KeepAlive {
        timeout_s: Some(20),
        requests_max: None,
    });
    pool.put(&here, connection, None);
    advance(ms(5_000)).await;
    assert!(pool.take(&here).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_receiver_ends_while_it_is_idle_is_closed_and_learnt_from() {
    let (pool, here) = (pool(), endpoint(1));
    at_intervals(&pool, &here, Duration::from_secs(20)).await;
    let (connection, received) = with_receiver();
    pool.put(&here, connection, None);
    advance(ms(12_500)).await;
    pool.sweep();
    assert_eq!(pool.count(), 1);
    received.end();
    advance(ms(2_000)).await;
    pool.sweep();
    assert_eq!(pool.count(), 0, "it takes a descriptor for nothing");
    // From now on they are used for less than that.
    pool.put(&here, with_receiver().0, None);
    advance(ms(14_500)).await;
    pool.sweep();
    assert_eq!(pool.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_there_are_too_many_those_that_have_been_idle_longest_make_room() {
    let pool = ConnectionPool::new(64, TIMES);
    for port in 1..=64 {
        pool.put(&endpoint(port), connection(), None);
        advance(ms(1)).await;
    }
    // The first is used again, so others are older.
    uses(&pool, &endpoint(1), 1);
    pool.put(&endpoint(100), connection(), None);
    assert_eq!(pool.count(), 64 - 4 + 1);
    let is_there = |port: u16| pool.take(&endpoint(port)).is_some();
    assert!((2..=5).all(|port| !is_there(port)));
    assert!([1, 6, 64, 100].into_iter().all(is_there));
}
