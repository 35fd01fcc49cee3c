//! Bulk jobs: each delivery is changed once, however often the job is interrupted.

use model::contract::StoreError;
use model::dashboard::{BoundedCount, BulkJob, BulkJobKind, NewBulkJob};
use model::delivery::{CancelCause, DeliveryState};
use model::id::{BulkJobId, DeliveryId, TenantId, WebhookId};
use model::limits::BULK_STEP_MAX;
use serde_json::json;

use super::harness::{
    Given, Told, answered, at, delivered, delivery_id, ended, read, retry, settlement, wait,
};
use super::replay::{many, settle_all};

fn new_bulk_job(given: &Given, webhook: WebhookId, what: BulkJobKind) -> NewBulkJob {
    NewBulkJob {
        tenant: given.tenant,
        webhook: Some(webhook),
        what,
        filter: None,
        expected: 3,
        actor: "anna".to_owned(),
    }
}

fn begin(given: &Given, webhook: WebhookId, what: BulkJobKind, time: i64) -> BulkJob {
    let new = new_bulk_job(given, webhook, what);
    wait(given.store.start_bulk_job(new, at(time))).unwrap()
}

fn step(given: &Given, time: i64) -> bool {
    wait(given.store.step_bulk_job(given.epoch(), at(time))).unwrap()
}

fn bulk_job(given: &Given, id: BulkJobId) -> BulkJob {
    wait(given.store.bulk_job(given.tenant, id))
        .unwrap()
        .unwrap()
}

fn count(given: &Given, webhook: WebhookId, what: BulkJobKind, time: i64) -> BoundedCount {
    let count = given
        .store
        .count_bulk_job(given.tenant, webhook, what, at(time));
    wait(count).unwrap()
}

fn exact(count: u64) -> BoundedCount {
    BoundedCount { count, more: false }
}

/// A webhook with a delivery in each state: delivered, failed, cancelled, waiting for a retry, and
/// unattempted.
fn one_of_each(given: &Given) -> (WebhookId, Vec<DeliveryId>) {
    let webhook = given.paid_webhook();
    let ids: Vec<DeliveryId> = (0..5)
        .map(|n| delivery_id(given.notified(&format!("{webhook} {n}"), 1_000), webhook))
        .collect();
    let cancelled = ended(DeliveryState::Cancelled(CancelCause::WebhookDisabled));
    let nexts = [
        delivered(),
        ended(DeliveryState::Failed),
        cancelled,
        retry(90_000),
    ];
    for (id, next) in ids.iter().zip(nexts) {
        let status = if next.state == DeliveryState::Delivered {
            200
        } else {
            500
        };
        given.settle(settlement(*id, 2_000, answered(status), next));
    }
    (webhook, ids)
}

#[test]
fn retrying_takes_all_that_failed_and_nothing_else() {
    let given = Given::new();
    let (webhook, ids) = one_of_each(&given);
    let what = BulkJobKind::ReplayUndelivered;
    assert_eq!(count(&given, webhook, what, 3_000), exact(3));
    given.heard.take();
    let begun = begin(&given, webhook, what, 3_000);
    assert_eq!(given.heard.take(), [Told::BulkJobStarted]);
    assert_eq!((begun.done, begun.ended_at), (0, None));
    assert!(!step(&given, 3_001));
    let done = bulk_job(&given, begun.id);
    assert_eq!((done.done, done.ended_at), (3, Some(at(3_001))));
    assert_eq!(given.heard.take(), [Told::Changed(vec![webhook])]);
    let due = given.due(webhook, 10, 3_001).0;
    let mut due: Vec<_> = due
        .iter()
        .map(|due| (due.delivery.id, due.delivery.round))
        .collect();
    due.sort();
    assert_eq!(
        due,
        [(ids[1], 2), (ids[2], 2), (ids[3], 1), (ids[4], 1)],
        "the fresh one was due anyway"
    );
    assert_eq!(given.state(ids[0]), DeliveryState::Delivered);
    assert!(!step(&given, 3_002));
    assert_eq!(count(&given, webhook, what, 3_002), exact(0));
}

#[test]
fn stopping_cancels_all_that_was_owed_when_it_began() {
    let given = Given::new();
    let (webhook, ids) = one_of_each(&given);
    let what = BulkJobKind::CancelPending;
    assert_eq!(count(&given, webhook, what, 3_000), exact(2));
    let begun = begin(&given, webhook, what, 3_000);
    let later = delivery_id(given.notified("later", 3_001), webhook);
    assert!(!step(&given, 3_002));
    assert_eq!(bulk_job(&given, begun.id).done, 2);
    for id in &ids[3..] {
        assert_eq!(
            given.state(*id),
            DeliveryState::Cancelled(CancelCause::Requested)
        );
        assert_eq!(given.story(*id).row.ended_at, Some(at(3_002)));
    }
    assert_eq!(given.state(later), DeliveryState::Pending);
    assert_eq!(given.state(ids[1]), DeliveryState::Failed);
}

#[test]
fn what_failed_after_it_began_is_left_alone() {
    let given = Given::new();
    let (webhook, ids) = one_of_each(&given);
    let begun = begin(&given, webhook, BulkJobKind::ReplayUndelivered, 3_000);
    let end = ended(DeliveryState::Failed);
    given.settle(settlement(ids[4], 3_500, answered(500), end));
    given.settle(settlement(ids[3], 3_500, answered(500), retry(95_000)));
    assert!(!step(&given, 4_000));
    assert_eq!(bulk_job(&given, begun.id).done, 2);
    assert_eq!(given.state(ids[4]), DeliveryState::Failed);
    assert_eq!(given.story(ids[3]).row.due_at, Some(at(95_000)));
}

#[test]
fn a_bulk_job_over_many_steps_meets_each_delivery_once_while_others_arrive_and_fail() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids = many(&given, BULK_STEP_MAX + 1_500);
    let (exhausted, retrying) = ids.split_at(BULK_STEP_MAX - 500);
    settle_all(&given, webhook, exhausted, &ended(DeliveryState::Failed));
    settle_all(&given, webhook, retrying, &retry(90_000));
    let begun = begin(&given, webhook, BulkJobKind::ReplayUndelivered, 3_000);
    assert!(step(&given, 3_001));
    assert_eq!(bulk_job(&given, begun.id).done, 5_000);
    // A replayed one fails again; a new one fails, too.
    let first = delivery_id(exhausted[0], webhook);
    let again = settlement(first, 3_100, answered(500), ended(DeliveryState::Failed));
    given.settle(model::contract::Settlement { round: 2, ..again });
    assert_eq!(given.state(first), DeliveryState::Failed);
    let new = delivery_id(given.notified("new", 3_100), webhook);
    given.settle(settlement(new, 3_100, answered(500), retry(95_000)));
    assert!(!step(&given, 3_200));
    let done = bulk_job(&given, begun.id);
    assert_eq!((done.done, done.ended_at), (6_500, Some(at(3_200))));
    assert_eq!(given.state(first), DeliveryState::Failed);
    assert_eq!(given.story(new).row.due_at, Some(at(95_000)));
}

#[test]
fn a_crash_between_two_steps_loses_and_repeats_nothing() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let ids = many(&given, BULK_STEP_MAX + 700);
    let begun = begin(&given, webhook, BulkJobKind::CancelPending, 3_000);
    assert!(step(&given, 3_001));
    let given = given.reopened();
    assert_eq!(bulk_job(&given, begun.id).done, 5_000);
    assert!(!step(&given, 3_002));
    assert!(!step(&given, 3_003));
    let done = bulk_job(&given, begun.id);
    assert_eq!((done.done, done.ended_at), (5_700, Some(at(3_002))));
    let state = |index: usize| given.state(delivery_id(ids[index], webhook));
    let stopped = DeliveryState::Cancelled(CancelCause::Requested);
    assert_eq!([0, 4_999, 5_000, 5_699].map(state), [stopped; 4]);
    let standing = given.store.standings(given.tenant, vec![webhook], at(0));
    assert_eq!(wait(standing).unwrap()[0].hours[0].failed, 5_700);
}

#[test]
fn a_second_bulk_job_of_the_kind_is_the_one_that_runs() {
    let given = Given::new();
    let (webhook, _) = one_of_each(&given);
    let first = begin(&given, webhook, BulkJobKind::ReplayUndelivered, 3_000);
    assert_eq!(
        begin(&given, webhook, BulkJobKind::ReplayUndelivered, 3_500),
        first
    );
    let other = begin(&given, webhook, BulkJobKind::CancelPending, 3_600);
    assert_ne!(other.id, first.id);
    let running = || wait(given.store.running_bulk_jobs(given.tenant, Some(webhook))).unwrap();
    assert_eq!(running(), [first.clone(), other.clone()]);
    assert!(step(&given, 4_000), "the other one waits");
    assert_eq!(running(), [other]);
    assert!(!step(&given, 4_001));
    assert_eq!(running(), []);
    let next = begin(&given, webhook, BulkJobKind::ReplayUndelivered, 5_000);
    assert_ne!(next.id, first.id);
    let entries = wait(given.store.audit(given.tenant, 10)).unwrap();
    let begun: Vec<_> = entries
        .iter()
        .filter(|entry| entry.action == "errand.begun")
        .map(|entry| (entry.actor.as_str(), read(&entry.detail)))
        .collect();
    let detail = json!({ "expected": 3, "what": "retry_failed" });
    assert_eq!(begun.last(), Some(&("anna", detail)));
    assert_eq!(begun.len(), 3);
}

#[test]
fn a_bulk_job_is_aborted_when_its_webhook_is_switched_off() {
    let given = Given::new();
    let (webhook, ids) = one_of_each(&given);
    let begun = begin(&given, webhook, BulkJobKind::ReplayUndelivered, 3_000);
    given.disable(webhook, 3_500);
    assert!(!step(&given, 4_000));
    let broken = bulk_job(&given, begun.id);
    assert_eq!((broken.done, broken.ended_at), (0, Some(at(4_000))));
    let why = broken.abort_reason.unwrap();
    assert_eq!(why, "The webhook was disabled meanwhile.");
    assert_eq!(given.state(ids[1]), DeliveryState::Failed);
}

#[test]
fn bulk_jobs_of_other_tenants_can_neither_be_begun_nor_seen() {
    let given = Given::new();
    let (webhook, ids) = one_of_each(&given);
    let other = given.another_tenant("other");
    for (tenant, webhook) in [
        (other, webhook),
        (given.tenant, WebhookId(99)),
        (TenantId(99), webhook),
    ] {
        let new = NewBulkJob {
            tenant,
            webhook: Some(webhook),
            ..new_bulk_job(&given, webhook, BulkJobKind::CancelPending)
        };
        let refused = wait(given.store.start_bulk_job(new, at(3_000)));
        assert!(matches!(refused, Err(StoreError::Stale)), "{refused:?}");
    }
    let begun = begin(&given, webhook, BulkJobKind::CancelPending, 3_000);
    assert_eq!(wait(given.store.bulk_job(other, begun.id)).unwrap(), None);
    let running = given.store.running_bulk_jobs(other, Some(webhook));
    assert_eq!(wait(running).unwrap(), []);
    for what in BulkJobKind::ALL {
        let counted = given.store.count_bulk_job(other, webhook, what, at(3_000));
        assert_eq!(wait(counted).unwrap(), exact(0));
    }
    let theirs = given
        .store
        .cancel_deliveries(other, ids, "bert".to_owned(), at(3_000));
    assert_eq!(wait(theirs).unwrap(), 0);
}

#[test]
fn counting_stops_at_its_bound() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let bound = model::limits::COUNTED_MAX;
    many(&given, bound + 1);
    let what = BulkJobKind::CancelPending;
    let count = count(&given, webhook, what, 3_000);
    let bound = u64::try_from(bound).unwrap();
    assert_eq!((count.count, count.more), (bound, true));
}

#[test]
fn stopping_some_cancels_those_that_are_owed_and_says_so() {
    let given = Given::new();
    let (webhook, ids) = one_of_each(&given);
    let (other, more) = one_of_each(&given);
    given.heard.take();
    let nowhere = delivery_id(99, webhook);
    let asked = [ids[4], more[3], ids[0], ids[4], nowhere].to_vec();
    let stop = |asked| {
        let stopped =
            given
                .store
                .cancel_deliveries(given.tenant, asked, "anna".to_owned(), at(3_000));
        wait(stopped).unwrap()
    };
    assert_eq!(stop(asked.clone()), 2);
    assert_eq!(given.heard.take(), [Told::Changed(vec![webhook, other])]);
    assert_eq!(stop(asked), 0);
    assert_eq!(given.heard.take(), []);
    assert_eq!(
        given.state(ids[4]),
        DeliveryState::Cancelled(CancelCause::Requested)
    );
    assert_eq!(given.state(ids[0]), DeliveryState::Delivered);
    assert_eq!(given.state(ids[3]), DeliveryState::Pending);
    let entries = wait(given.store.audit(given.tenant, 2)).unwrap();
    assert_eq!(entries[1].action, "deliveries.stopped");
    let detail = json!({ "count": 1, "deliveries": [ids[4].to_string()] });
    assert_eq!(read(&entries[1].detail), detail);
    assert_eq!(stop(Vec::new()), 0);
}

#[test]
fn a_bulk_job_that_ended_is_forgotten_after_its_time() {
    let given = Given::new();
    let (webhook, _) = one_of_each(&given);
    let ended = begin(&given, webhook, BulkJobKind::CancelPending, 3_000);
    step(&given, 4_000);
    let running = begin(&given, webhook, BulkJobKind::ReplayUndelivered, 5_000);
    let later = 4_001 + model::limits::BULK_JOB_RETENTION_MS;
    wait(given.prune(0, later)).unwrap();
    assert_eq!(
        wait(given.store.bulk_job(given.tenant, ended.id)).unwrap(),
        None
    );
    assert_eq!(bulk_job(&given, running.id).ended_at, None);
}

#[test]
fn whoever_owns_a_webhook_is_told_when_another_process_begins_a_bulk_job_of_it() {
    let given = Given::kept();
    let (webhook, _) = one_of_each(&given);
    let other = given.beside();
    given.heard.take();
    begin(&other, webhook, BulkJobKind::ReplayUndelivered, 5_000);
    // A file tells whoever writes next.
    wait(given.store.ping()).unwrap();
    given.heard.wait_beyond(0);
    assert_eq!(given.heard.take(), [Told::ChangedElsewhere]);
    while step(&given, 5_000) {}
    let running = given.store.running_bulk_jobs(given.tenant, Some(webhook));
    assert_eq!(wait(running).unwrap(), []);
}
