//! What is kept, for how long, and what gives way, on paused time and streams in memory.

use tokio::io::duplex;
use tokio::time::advance;

use super::*;

const KEPT_FOR: Duration = Duration::from_secs(4);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pool() -> ConnectionPool {
    ConnectionPool::new(100, KEPT_FOR)
}

fn endpoint(port: u16) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        tls: false,
        host: "a.test".to_owned(),
        port,
    })
}

fn connection() -> Connection {
    Connection::new(Box::new(duplex(64).0))
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
    assert_eq!((pool.count(), pool.endpoints()), (0, 0));
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
    let (pool, here, other) = (ConnectionPool::new(2, KEPT_FOR), endpoint(1), endpoint(2));
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
