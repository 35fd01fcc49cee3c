//! Replaying what a filter means: of one webhook or of all, counted before, in turns with others.

use bytes::Bytes;
use model::contract::StoreError;
use model::dashboard::{BoundedCount, BulkJob, BulkJobKind, NewBulkJob};
use model::delivery::{CancelCause, DeliveryState};
use model::delivery_filter::{DeliveryFilter, ResponseFilter};
use model::id::{BulkJobId, DeliveryId, TenantId, WebhookId};
use model::limits::{BULK_JOBS_RUNNING_MAX, BULK_STEP_MAX, COUNTED_MAX};
use model::notification::{AcceptResult, NewNotification};
use model::query::DeliveryStatus;

use super::harness::{
    Given, Told, answered, at, delivered, delivery_id, ended, failed, retry, settlement, wait,
};
use super::replay::{many, settle_all};
use model::attempt::FailureKind;

fn all() -> DeliveryFilter {
    DeliveryFilter {
        statuses: DeliveryFilter::REPLAYED.to_vec(),
        ..DeliveryFilter::default()
    }
}

fn undelivered() -> DeliveryFilter {
    DeliveryFilter {
        statuses: DeliveryFilter::UNDELIVERED.to_vec(),
        ..DeliveryFilter::default()
    }
}

fn new(given: &Given, webhook: Option<WebhookId>, filter: &DeliveryFilter) -> NewBulkJob {
    NewBulkJob {
        tenant: given.tenant,
        webhook,
        what: BulkJobKind::ReplayMatching,
        filter: Some(filter.clone()),
        expected: 7,
        actor: "anna".to_owned(),
    }
}

fn begin(given: &Given, webhook: Option<WebhookId>, filter: &DeliveryFilter, time: i64) -> BulkJob {
    let new = new(given, webhook, filter);
    wait(given.store.start_bulk_job(new, at(time))).unwrap()
}

fn step(given: &Given, time: i64) -> bool {
    wait(given.store.step_bulk_job(given.epoch(), at(time))).unwrap()
}

fn job(given: &Given, id: BulkJobId) -> BulkJob {
    let found = wait(given.store.bulk_job(given.tenant, id));
    found.unwrap().unwrap()
}

/// How many the filter means, of each status that has any.
fn counted(
    given: &Given,
    webhook: Option<WebhookId>,
    filter: &DeliveryFilter,
) -> Vec<(DeliveryStatus, u64)> {
    let counts = given
        .store
        .count_matching(given.tenant, webhook, filter.clone(), at(3_000));
    let counts = wait(counts).unwrap().into_iter();
    let counts = counts.map(|(status, count)| {
        assert!(!count.more);
        (status, count.count)
    });
    counts.filter(|(_, count)| *count > 0).collect()
}

/// A webhook with deliveries in each state, of other action types, shows, times and responses:
/// delivered, failed, failed without a response, cancelled, retrying and unattempted.
fn one_of_each(given: &Given) -> (WebhookId, Vec<DeliveryId>) {
    let webhook = given.paid_webhook();
    let id = |n: i64| {
        let accepted = given.accept(NewNotification {
            action_type: format!("kind {}", n % 2),
            event: Some(format!("show {}", n % 3)),
            body: Bytes::from(format!("body <{n}>")),
            ..given.new_notification(&format!("{webhook} {n}"), 1_000 + n)
        });
        let AcceptResult::Accepted { id, .. } = accepted else {
            panic!("{accepted:?}");
        };
        delivery_id(id.0, webhook)
    };
    let ids: Vec<DeliveryId> = (0..6).map(id).collect();
    let cancelled = ended(DeliveryState::Cancelled(CancelCause::ReceiverGone));
    let ends = [
        (answered(200), delivered()),
        (answered(500), ended(DeliveryState::Failed)),
        (failed(FailureKind::Connect), ended(DeliveryState::Failed)),
        (answered(410), cancelled),
        (answered(503), retry(90_000)),
    ];
    for (id, (outcome, next)) in ids.iter().zip(ends) {
        given.settle(settlement(*id, 2_000, outcome, next));
    }
    (webhook, ids)
}

/// The places of the deliveries that are due now and were not before.
fn replayed(given: &Given, ids: &[DeliveryId], time: i64) -> Vec<usize> {
    let is_due = |id: &DeliveryId| {
        let row = given.story(*id).row;
        row.state == DeliveryState::Pending && row.due_at == Some(at(time))
    };
    let due = ids.iter().enumerate().filter(|(_, id)| is_due(id));
    due.map(|(place, _)| place).collect()
}

/// What a filter is counted to mean, and what its replay makes due, have to be the same.
#[track_caller]
fn means(filter: &DeliveryFilter, wanted: &[usize]) {
    let given = Given::new();
    let (webhook, ids) = one_of_each(&given);
    let counts = counted(&given, Some(webhook), filter);
    let count: u64 = counts.iter().map(|(_, count)| count).sum();
    assert_eq!(count, u64::try_from(wanted.len()).unwrap(), "{counts:?}");
    let begun = begin(&given, Some(webhook), filter, 3_000);
    assert!(!step(&given, 3_001));
    assert_eq!(replayed(&given, &ids, 3_001), wanted);
    let done = job(&given, begun.id);
    assert_eq!((done.done, done.ended_at), (count, Some(at(3_001))));
    assert_eq!(done.filter.as_ref(), Some(filter));
}

#[test]
fn a_replay_takes_the_statuses_of_its_filter_and_delivered_ones_only_if_named() {
    means(&all(), &[0, 1, 2, 3, 4]);
    means(&undelivered(), &[1, 2, 3, 4]);
    for (status, wanted) in [
        (DeliveryStatus::Delivered, &[0][..]),
        (DeliveryStatus::Failed, &[1, 2]),
        (DeliveryStatus::Cancelled, &[3]),
        (DeliveryStatus::Retrying, &[4]),
        (DeliveryStatus::Pending, &[]),
    ] {
        let statuses = vec![status];
        means(&DeliveryFilter { statuses, ..all() }, wanted);
    }
}

#[test]
fn a_replay_leaves_out_what_any_condition_of_its_filter_leaves_out() {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let action_types = texts(&["kind 1", "x"]);
    means(
        &DeliveryFilter {
            action_types,
            ..all()
        },
        &[1, 3],
    );
    let events = texts(&["show 0", "show 2"]);
    means(&DeliveryFilter { events, ..all() }, &[0, 2, 3]);
    let responses = vec![ResponseFilter::Class(5), ResponseFilter::Status(200)];
    means(&DeliveryFilter { responses, ..all() }, &[0, 1, 4]);
    let responses = vec![ResponseFilter::Missing];
    means(&DeliveryFilter { responses, ..all() }, &[2]);
    let (since, until) = (Some(at(1_001)), Some(at(1_004)));
    means(
        &DeliveryFilter {
            since,
            until,
            ..all()
        },
        &[1, 2, 3],
    );
    let text = "<4>".to_owned();
    means(&DeliveryFilter { text, ..all() }, &[4]);
    let both = DeliveryFilter {
        action_types: texts(&["kind 1"]),
        events: texts(&["show 0"]),
        ..undelivered()
    };
    means(&both, &[3]);
}

#[test]
fn a_replay_of_a_tenant_takes_all_enabled_webhooks_and_nothing_of_others() {
    let given = Given::new();
    let (first, firsts) = one_of_each(&given);
    let (off, offs) = one_of_each(&given);
    let (last, lasts) = one_of_each(&given);
    given.disable(off, 2_500);
    let other = given.of(given.another_tenant("other"));
    let (_, foreign) = one_of_each(&other);
    let counts = counted(&given, None, &undelivered());
    let (some, two) = (DeliveryStatus::Failed, 2);
    assert!(counts.contains(&(some, 2 * two)), "{counts:?}");
    given.heard.take();
    let begun = begin(&given, None, &undelivered(), 3_000);
    assert_eq!(begun.webhook, None);
    while step(&given, 3_001) {}
    let done = job(&given, begun.id);
    assert!(done.ended_at.is_some());
    assert_eq!(replayed(&given, &firsts, 3_001), [1, 2, 3, 4]);
    assert_eq!(replayed(&given, &lasts, 3_001), [1, 2, 3, 4]);
    assert_eq!(replayed(&given, &offs, 3_001), [0; 0]);
    assert_eq!(replayed(&other, &foreign, 3_001), [0; 0]);
    assert_eq!(done.done, 8);
    let mut changed = Vec::new();
    for told in given.heard.take() {
        if let Told::Changed(webhooks) = told {
            changed.extend(webhooks);
        }
    }
    assert_eq!(changed, [first, last]);
}

#[test]
fn a_replay_of_many_rows_goes_on_after_a_restart_and_takes_each_once() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let ids = many(&given, BULK_STEP_MAX + 700);
    settle_all(&given, webhook, &ids, &ended(DeliveryState::Failed));
    let filter = DeliveryFilter {
        responses: vec![ResponseFilter::Status(500)],
        ..all()
    };
    let begun = begin(&given, None, &filter, 3_000);
    assert!(step(&given, 3_001));
    let given = given.reopened();
    let partly = job(&given, begun.id);
    assert_eq!(
        (partly.done, partly.ended_at),
        (4_950, None),
        "seeking costs rows"
    );
    while step(&given, 3_002) {}
    assert_eq!(job(&given, begun.id).done, 5_700);
    let rounds = given.log(webhook);
    assert!(rounds.iter().all(|row| row.state == DeliveryState::Pending));
}

#[test]
fn bulk_jobs_take_turns_so_that_a_long_one_holds_up_no_other() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids = many(&given, 2 * BULK_STEP_MAX);
    settle_all(&given, webhook, &ids, &ended(DeliveryState::Failed));
    let other = given.of(given.another_tenant("other"));
    let (theirs, _) = one_of_each(&other);
    let long = begin(&given, Some(webhook), &all(), 3_000);
    assert!(step(&given, 3_001));
    let short = begin(&other, Some(theirs), &all(), 3_002);
    assert!(step(&given, 3_003), "the long one goes on");
    assert!(job(&other, short.id).ended_at.is_some());
    assert_eq!(job(&given, long.id).ended_at, None);
}

#[test]
fn the_same_replay_is_begun_once_and_another_beside_it() {
    let given = Given::new();
    let (webhook, _) = one_of_each(&given);
    let first = begin(&given, Some(webhook), &all(), 3_000);
    assert_eq!(begin(&given, Some(webhook), &all(), 3_001), first);
    let other = begin(&given, Some(webhook), &undelivered(), 3_002);
    let of_all = begin(&given, None, &all(), 3_003);
    let running = |webhook| wait(given.store.running_bulk_jobs(given.tenant, webhook)).unwrap();
    assert_eq!(running(Some(webhook)), [first.clone(), other.clone()]);
    assert_eq!(running(None), [first, other, of_all]);
}

#[test]
fn a_replay_that_is_stopped_does_no_more_and_says_who_stopped_it() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids = many(&given, BULK_STEP_MAX + 1);
    settle_all(&given, webhook, &ids, &ended(DeliveryState::Failed));
    let begun = begin(&given, Some(webhook), &all(), 3_000);
    assert!(step(&given, 3_001));
    let stop = |tenant, time| {
        let stopped = given
            .store
            .stop_bulk_job(tenant, begun.id, "bert".to_owned(), at(time));
        wait(stopped).unwrap()
    };
    assert_eq!(stop(TenantId(99), 3_002), None);
    let stopped = stop(given.tenant, 3_003).unwrap();
    assert_eq!((stopped.done, stopped.ended_at), (5_000, Some(at(3_003))));
    assert_eq!(stopped.abort_reason.as_deref(), Some("bert stopped it."));
    assert_eq!(stop(given.tenant, 3_004), Some(stopped.clone()));
    assert!(!step(&given, 3_005));
    assert_eq!(job(&given, begun.id), stopped);
    let audit = wait(given.store.audit(given.tenant, 10)).unwrap();
    let stops = audit
        .iter()
        .filter(|entry| entry.action == "errand.stopped");
    assert_eq!(stops.count(), 1);
}

#[test]
fn a_tenant_has_a_bound_of_running_replays() {
    let given = Given::new();
    let (webhook, _) = one_of_each(&given);
    let numbered = |n: usize| DeliveryFilter {
        text: n.to_string(),
        ..all()
    };
    for n in 0..BULK_JOBS_RUNNING_MAX {
        begin(&given, Some(webhook), &numbered(n), 3_000);
    }
    let more = new(&given, Some(webhook), &numbered(BULK_JOBS_RUNNING_MAX));
    let refused = wait(given.store.start_bulk_job(more, at(3_001)));
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    begin(&given, Some(webhook), &numbered(0), 3_001);
}

#[test]
fn counting_what_a_filter_means_stops_at_its_bound() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let ids = many(&given, COUNTED_MAX + 500);
    settle_all(&given, webhook, &ids, &ended(DeliveryState::Failed));
    let bound = u64::try_from(COUNTED_MAX).unwrap();
    let count = |filter| {
        let counts = given
            .store
            .count_matching(given.tenant, Some(webhook), filter, at(3_000));
        wait(counts).unwrap()
    };
    let failed = DeliveryFilter {
        statuses: vec![DeliveryStatus::Failed],
        ..all()
    };
    let more = BoundedCount {
        count: bound,
        more: true,
    };
    assert_eq!(count(failed.clone()), [(DeliveryStatus::Failed, more)]);
    let nothing = DeliveryFilter {
        action_types: vec!["none of these".to_owned()],
        ..failed
    };
    let unknown = BoundedCount {
        count: 0,
        more: true,
    };
    assert_eq!(count(nothing), [(DeliveryStatus::Failed, unknown)]);
}

#[test]
fn a_filter_of_another_tenants_webhook_means_nothing() {
    let given = Given::new();
    let (webhook, _) = one_of_each(&given);
    let other = given.of(given.another_tenant("other"));
    assert_eq!(counted(&other, Some(webhook), &all()), []);
    let refused = wait(
        given
            .store
            .start_bulk_job(new(&other, Some(webhook), &all()), at(3_000)),
    );
    assert!(matches!(refused, Err(StoreError::Stale)), "{refused:?}");
    let none = wait(given.store.start_bulk_job(new(&other, None, &all()), at(1)));
    assert!(matches!(none, Err(StoreError::Stale)), "{none:?}");
}
