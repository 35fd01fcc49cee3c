//! Idempotency keys: the operation and its record are both written, or neither.

use model::contract::{
    Conflict, ReplayFilter, ReplayRequest, ReplayResult, ReplayScope, StoreError,
};
use model::id::NotificationId;
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::notification::AcceptResult;
use model::query::{DeliveryStatus, WebhookQuery};
use model::tenant::TokenHash;
use model::time::{Heartbeat, Moment, TimeBounds};

use super::harness::{Given, at, is_postgres, wait};

fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey {
        key: name.to_owned(),
        holder: TokenHash([1; 32]),
        request: TokenHash([2; 32]),
    }
}

fn accept(given: &Given, name: &str, time: i64) -> IdempotentOperation {
    IdempotentOperation::Accept {
        batch: vec![given.new_notification(name, time)],
        part: 0,
    }
}

fn webhooks(given: &Given) -> usize {
    let query = WebhookQuery {
        enabled: None,
        newest_first: false,
        offset: 0,
        limit: 10,
    };
    let found = wait(given.store.webhooks(vec![given.tenant], query)).unwrap();
    found.webhooks.len()
}

/// One of each kind of operation that creates something.
fn effects(given: &Given) -> [IdempotentOperation; 2] {
    let create = IdempotentOperation::CreateWebhook {
        webhook: given.new_webhook(&[("order.paid", None)]),
        actor: "test".to_owned(),
    };
    [accept(given, "1", 1_000), create]
}

#[test]
fn what_came_of_it_is_told_again_and_nothing_is_done() {
    let given = Given::new();
    let first = wait(given.store.run_idempotent(
        key("a"),
        accept(&given, "made", 1_000),
        at(1_000),
    ))
    .unwrap();
    // The second time another name was made for it.
    let again = wait(given.store.run_idempotent(
        key("a"),
        accept(&given, "other", 2_000),
        at(2_000),
    ));
    assert_eq!(again.unwrap(), first);
    let IdempotentResult::Accepted(all) = first else {
        panic!("{first:?}");
    };
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].0, "made");
    assert!(matches!(all[0].1, AcceptResult::Accepted { .. }));
    // A later part of the same request is something else.
    let part = IdempotentOperation::Accept {
        batch: vec![given.new_notification("third", 3_000)],
        part: 1,
    };
    let IdempotentResult::Accepted(all) =
        wait(given.store.run_idempotent(key("a"), part, at(3_000))).unwrap()
    else {
        panic!("it was handed in");
    };
    assert_eq!(all[0].0, "third");
}

#[test]
fn a_key_is_known_for_a_day_of_the_schedule_however_the_clock_is_set() {
    const DAY: i64 = 24 * 3_600_000;
    let given = Given::new();
    let beat = |schedule: i64, wall: i64| {
        let moment = Moment {
            schedule: at(schedule),
            wall: at(wall),
        };
        wait(given.store.renew(given.lease, Heartbeat::certain(moment))).unwrap();
    };
    let prune = |time: i64| {
        let done = given.prune_between(0, TimeBounds::exactly(at(time)));
        wait(done).unwrap();
    };
    let make = |name: &str, key_name: &str, time: i64| {
        let effect = accept(&given, name, time);
        let done = wait(given.store.run_idempotent(key(key_name), effect, at(time))).unwrap();
        let IdempotentResult::Accepted(all) = done else {
            panic!("{done:?}");
        };
        all[0].0.clone()
    };
    beat(50 * DAY, 50 * DAY);
    assert_eq!(make("a", "a", 50 * DAY), "a");
    // The clock is ahead for some seconds, in which another key comes; then far behind.
    for wall in [90 * DAY, 50 * DAY, 10 * DAY] {
        beat(50 * DAY + 5_000, wall);
        assert_eq!(make("other", "a", wall), "a");
        assert_eq!(make("b", "b", wall), "b");
        prune(wall);
    }
    // It was set right, and both end with a day of the schedule.
    beat(51 * DAY, 11 * DAY);
    assert_eq!(make("other", "a", 11 * DAY), "a");
    beat(51 * DAY + 1, 11 * DAY + 1);
    assert_eq!(make("new", "a", 11 * DAY + 1), "new");
    assert_eq!(make("other", "b", 11 * DAY + 1), "b");
    beat(51 * DAY + 5_001, 11 * DAY + 5_001);
    prune(11 * DAY + 5_001);
    assert_eq!(make("newer", "b", 11 * DAY + 5_001), "newer");
}

#[test]
fn a_key_that_another_request_used_is_refused() {
    let given = Given::new();
    wait(
        given
            .store
            .run_idempotent(key("a"), accept(&given, "1", 1_000), at(1_000)),
    )
    .unwrap();
    let other = IdempotencyKey {
        request: TokenHash([3; 32]),
        ..key("a")
    };
    let refused = wait(
        given
            .store
            .run_idempotent(other, accept(&given, "2", 1_000), at(1_000)),
    );
    let taken = StoreError::Conflict(Conflict::IdempotencyKey);
    assert_eq!(refused.unwrap_err().to_string(), taken.to_string());
    let others = IdempotencyKey {
        holder: TokenHash([3; 32]),
        ..key("a")
    };
    wait(
        given
            .store
            .run_idempotent(others, accept(&given, "2", 1_000), at(1_000)),
    )
    .unwrap();
}

#[test]
fn a_key_that_cannot_be_written_undoes_the_effect() {
    let given = Given::kept();
    let (breaks, mended) = match is_postgres() {
        false => (
            "create trigger breaks before insert on kept_answer begin
              select raise(abort, 'as a crash between the two'); end",
            "drop trigger breaks",
        ),
        true => (
            "alter table kept_answer add constraint breaks check (key is null)",
            "alter table kept_answer drop constraint breaks",
        ),
    };
    given.execute(breaks);
    let before = webhooks(&given);
    for effect in effects(&given) {
        wait(given.store.run_idempotent(key("a"), effect, at(1_000))).unwrap_err();
    }
    let counted = "select count(*) from notification";
    let notifications = || given.number(counted);
    assert_eq!((notifications(), webhooks(&given)), (0, before));
    given.execute(mended);
    for (effect, name) in effects(&given).into_iter().zip(["a", "b"]) {
        wait(given.store.run_idempotent(key(name), effect, at(1_000))).unwrap();
    }
    assert_eq!((notifications(), webhooks(&given)), (1, before + 1));
}

#[test]
fn both_are_there_after_a_kill() {
    let given = Given::kept();
    for (effect, name) in effects(&given).into_iter().zip(["a", "b"]) {
        wait(given.store.run_idempotent(key(name), effect, at(1_000))).unwrap();
    }
    let count = webhooks(&given);
    let again = given.killed();
    for (effect, name) in effects(&again).into_iter().zip(["a", "b"]) {
        wait(again.store.run_idempotent(key(name), effect, at(2_000))).unwrap();
    }
    assert_eq!(webhooks(&again), count);
}

#[test]
fn a_key_is_free_again_after_its_time() {
    let given = Given::new();
    let day = model::limits::IDEMPOTENCY_RETENTION_MS;
    wait(
        given
            .store
            .run_idempotent(key("a"), accept(&given, "1", 1_000), at(1_000)),
    )
    .unwrap();
    let later = wait(given.store.run_idempotent(
        key("a"),
        accept(&given, "2", 2_000),
        at(1_001 + day),
    ));
    let IdempotentResult::Accepted(all) = later.unwrap() else {
        panic!("it was handed in");
    };
    assert_eq!(all[0].0, "2");
}

#[test]
fn sending_again_in_steps_is_done_with_the_last() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given.notified("1", 1_000);
    let ask = ReplayRequest {
        tenant: given.tenant,
        webhook,
        which: ReplayScope::Undelivered {
            began_at: at(2_000),
        },
        actor: "test".to_owned(),
    };
    let replay = |counted| IdempotentOperation::Replay {
        ask: ask.clone(),
        counted,
    };
    let first = wait(given.store.run_idempotent(key("a"), replay(7), at(2_000))).unwrap();
    let done = IdempotentResult::Replayed(ReplayResult::Done {
        count: 7,
        more: false,
    });
    assert_eq!(first, done);
    // Whoever begins anew is told all of it.
    assert_eq!(
        wait(given.store.run_idempotent(key("a"), replay(0), at(3_000))).unwrap(),
        done
    );
}

#[test]
fn what_is_picked_is_done_with_the_last_of_its_statuses() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let replay = |status, last, counted| {
        let which = ReplayScope::Filtered(ReplayFilter {
            status,
            began_at: at(2_000),
            since: None,
            until: None,
            action_type: None,
            after: NotificationId(0),
            last,
        });
        let ask = ReplayRequest {
            tenant: given.tenant,
            webhook,
            which,
            actor: "test".to_owned(),
        };
        let effect = IdempotentOperation::Replay { ask, counted };
        wait(given.store.run_idempotent(key("a"), effect, at(2_000))).unwrap()
    };
    let reached = |count| IdempotentResult::Replayed(ReplayResult::Reached { count, upto: None });
    assert_eq!(replay(DeliveryStatus::Retrying, false, 0), reached(0));
    assert_eq!(replay(DeliveryStatus::Failed, true, 3), reached(3));
    // Whoever begins anew is told all of it.
    let done = IdempotentResult::Replayed(ReplayResult::Done {
        count: 3,
        more: false,
    });
    assert_eq!(replay(DeliveryStatus::Retrying, false, 0), done);
}
