//! What lanes remember and forget, step by step, without a store.

use std::time::Duration;

use bytes::Bytes;
use model::call_limits::CallLimits;
use model::contract::WebhookTarget;
use model::delivery::Delivery;
use model::id::NotificationId;
use model::limits;
use model::policy::{EventNaming, NameOf, Policy};
use model::schedule::Schedule;
use model::signing::Keyring;
use model::tenant::DialectName;
use model::webhook::Headers;
use model::webhook_tls::WebhookTls;

use super::*;
use crate::circuit_breaker::CircuitTransition;
use crate::concurrency::LoadSignal;
use crate::lane::{Pause, TargetSnapshot};

mod rates;
mod steps;

const HOOK: WebhookId = WebhookId(1);
const OTHER: WebhookId = WebhookId(2);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn id(number: i64) -> DeliveryId {
    id_of(HOOK, number)
}

fn id_of(webhook: WebhookId, number: i64) -> DeliveryId {
    DeliveryId {
        notification: NotificationId(number),
        webhook,
    }
}

fn due(number: i64, due_at: i64) -> DueDelivery {
    due_of(HOOK, number, due_at)
}

fn due_of(webhook: WebhookId, number: i64, due_at: i64) -> DueDelivery {
    DueDelivery {
        delivery: Delivery {
            id: id_of(webhook, number),
            round: 1,
            attempts: 0,
            round_attempts: 0,
            round_began_at: None,
            due_at: at(due_at),
        },
        key: "1".into(),
        action_type: Arc::from("order.paid"),
        accepted_at: Timestamp::EPOCH,
        headers: Headers::default(),
        body: Bytes::from_static(b"body"),
    }
}

fn open() -> WebhookLookup {
    open_at(1, "a.test")
}

fn open_at(tenant: i64, host: &str) -> WebhookLookup {
    open_limited(tenant, host, CallLimits::default())
}

fn open_limited(tenant: i64, host: &str, limits: CallLimits) -> WebhookLookup {
    let policy = Policy {
        schedule: Schedule {
            delays_ms: vec![],
            jitter_from_ms: 0,
            jitter_percent: 0,
            final_attempt_after_ms: None,
        },
        exchange_limit_ms: 1,
        gone_disables: true,
        retry_after_max_ms: None,
        dedupe_header: None,
        user_agent: String::new(),
        content_type: String::new(),
        event_naming: EventNaming::default(),
        retention_ms: 1,
        bounds: Arc::default(),
        name_of: NameOf::default(),
    };
    let target = WebhookTarget {
        webhook: HOOK,
        tenant: TenantId(tenant),
        dialect: DialectName::new("any"),
        tenant_key: "bigevents".to_owned(),
        settings: "{}".to_owned(),
        cloud_events: None,
        tls: WebhookTls::default(),
        limits,
        holds: model::hold::Holds::default(),
        key: None,
        target_url: format!("http://{host}/"),
        headers: Headers::default(),
        retries_max: None,
        paused_until: None,
        failing_since: None,
        succeeded_at: None,
        version: 1,
        enabled: true,
        signatures: Vec::new(),
        own_headers: Vec::new(),
        handshake: None,
    };
    WebhookLookup::Callable(TargetSnapshot {
        prepared: Arc::new(PreparedTarget::new(
            &target,
            Arc::new(policy),
            &Keyring::default(),
        )),
        failing_since: None,
        succeeded: false,
        seen_at: at(0),
    })
}

/// Lanes, and which flight each delivery in the air has.
struct Air {
    lanes: Lanes,
    in_flight: BTreeMap<DeliveryId, InFlightId>,
    now: Instant,
}

impl std::ops::Deref for Air {
    type Target = Lanes;

    fn deref(&self) -> &Lanes {
        &self.lanes
    }
}

impl std::ops::DerefMut for Air {
    fn deref_mut(&mut self) -> &mut Lanes {
        &mut self.lanes
    }
}

impl Air {
    fn landed(&mut self, id: DeliveryId, landing: AttemptEffect) -> Option<CircuitTransition> {
        let attempt = self.in_flight.remove(&id).unwrap();
        self.lanes.landed(attempt, id, landing)
    }
}

fn lanes(max_in_flight: usize, max_concurrency: usize) -> Air {
    Air {
        lanes: Lanes::new(max_in_flight, max_concurrency),
        in_flight: BTreeMap::new(),
        now: Instant::now(),
    }
}

/// Answers every target that is asked for.
fn see(lanes: &mut Air) {
    for webhook in lanes.ask_targets() {
        lanes.answer_target(webhook, open());
    }
}

fn next(lanes: &mut Air) -> Option<i64> {
    let call = lanes.lanes.next_call(lanes.now)?;
    let id = call.due.delivery.id;
    lanes.in_flight.insert(id, call.attempt_id);
    Some(id.notification.0)
}

fn asked(lanes: &mut Air, now: i64) -> Vec<(WebhookId, usize)> {
    let asks = lanes.ask_due(at(now));
    asks.into_iter()
        .map(|ask| (ask.webhook, ask.limit))
        .collect()
}

fn answer(lanes: &mut Air, deliveries: Vec<DueDelivery>, next_due_at: Option<i64>, now: i64) {
    let read = DuePage {
        webhook: HOOK,
        deliveries,
        next_due_at: next_due_at.map(at),
        recovery: None,
    };
    lanes.answer_due(&[HOOK], vec![read], at(now));
}

/// How an attempt lands that succeeded.
fn well() -> AttemptEffect {
    AttemptEffect {
        began_at: at(0),
        ended_at: at(0),
        failed: false,
        signal: LoadSignal::Fast,
        slow: false,
        gone: false,
        pause: None,
        agreement: None,
    }
}

fn land(lanes: &mut Air, number: i64) {
    lanes.landed(id(number), well());
}

#[test]
fn a_lane_with_nothing_left_is_dropped() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(1));
    land(&mut lanes, 1);
    assert_eq!((lanes.count(), lanes.held()), (1, 0));
    lanes.settled(id(1), None);
    assert_eq!(lanes.count(), 0);
}

#[test]
fn what_is_told_of_twice_is_sent_once() {
    let mut lanes = lanes(64, 8);
    lanes.lower(HOOK, at(0));
    see(&mut lanes);
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    // Told of by the mailbox and by the answer, in either order.
    lanes.arrive(due(1, 0));
    answer(&mut lanes, vec![due(1, 0), due(2, 0)], None, 0);
    lanes.arrive(due(2, 0));
    assert_eq!((next(&mut lanes), next(&mut lanes)), (Some(1), Some(2)));
    assert_eq!(next(&mut lanes), None);
}

#[test]
fn what_is_settled_while_a_read_is_outstanding_is_not_taken_up_from_its_answer() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(1));
    lanes.lower(HOOK, at(0));
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    land(&mut lanes, 1);
    lanes.settled(id(1), Some(at(5_000)));
    // Answered before it was settled.
    answer(&mut lanes, vec![due(1, 0)], None, 0);
    assert_eq!(next(&mut lanes), None);
    // Its retry is not forgotten over that.
    assert_eq!(lanes.next_read_at(), Some(at(5_000)));
}

#[test]
fn a_held_delivery_seen_in_a_later_state_is_read_again_once_it_is_let_go() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(1));
    land(&mut lanes, 1);
    // Settled, sent again by somebody, and read, before the settlement is known to be written.
    lanes.lower(HOOK, at(10));
    assert_eq!(asked(&mut lanes, 10).len(), 1);
    let mut again = due(1, 10);
    (again.delivery.round, again.delivery.attempts) = (2, 1);
    answer(&mut lanes, vec![again.clone()], None, 10);
    assert_eq!(next(&mut lanes), None);
    assert_eq!(lanes.next_read_at(), None);
    lanes.settled(id(1), None);
    assert_eq!(asked(&mut lanes, 10), [(HOOK, limits::LANE_READ_MAX)]);
    answer(&mut lanes, vec![again], None, 10);
    assert_eq!(next(&mut lanes), Some(1));
}

#[test]
fn what_is_learnt_while_a_read_is_outstanding_is_not_overwritten_by_its_answer() {
    let mut lanes = lanes(8, 8);
    lanes.lower(HOOK, at(0));
    see(&mut lanes);
    assert_eq!(asked(&mut lanes, 100).len(), 1);
    lanes.lower(HOOK, at(100));
    answer(&mut lanes, vec![], Some(9_000), 100);
    assert_eq!(lanes.next_read_at(), Some(at(100)));
    assert_eq!(asked(&mut lanes, 100).len(), 1);
    answer(&mut lanes, vec![], Some(9_000), 100);
    assert_eq!(lanes.next_read_at(), Some(at(9_000)));
}

#[test]
fn a_refused_read_is_asked_again() {
    let mut lanes = lanes(8, 8);
    lanes.lower(HOOK, at(0));
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    assert!(asked(&mut lanes, 0).is_empty());
    lanes.unasked_due(&[HOOK], false);
    assert_eq!(asked(&mut lanes, 0).len(), 1);
}

#[test]
fn what_arrives_goes_behind_what_is_older_in_the_store() {
    let mut lanes = lanes(8, 8);
    lanes.lower(HOOK, at(10));
    see(&mut lanes);
    // Something older waits: this is left where it is.
    lanes.arrive(due(7, 20));
    assert_eq!(next(&mut lanes), None);
    assert_eq!(asked(&mut lanes, 30).len(), 1);
    // While that is read this is taken up, and given back when even older things show up.
    lanes.arrive(due(8, 30));
    answer(&mut lanes, vec![due(5, 10)], Some(20), 30);
    assert_eq!((next(&mut lanes), next(&mut lanes)), (Some(5), None));
    assert_eq!(lanes.next_read_at(), Some(at(20)));
    assert_eq!(asked(&mut lanes, 30), [(HOOK, 1 + limits::LANE_READ_MAX)]);
    answer(&mut lanes, vec![due(7, 20), due(8, 30)], None, 30);
    land(&mut lanes, 5);
    assert_eq!((next(&mut lanes), next(&mut lanes)), (Some(7), Some(8)));
}

#[test]
fn a_read_names_what_is_held_unless_it_was_attempted_before() {
    let mut lanes = lanes(8, 8);
    lanes.lower(HOOK, at(0));
    see(&mut lanes);
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    let mut again = due(1, 0);
    again.delivery.attempts = 1;
    answer(&mut lanes, vec![again, due(2, 0), due(3, 0)], Some(0), 0);
    let asks = lanes.ask_due(at(0));
    // Of a retry the answer may say that it was settled and is due once more.
    assert_eq!(*asks[0].held, [NotificationId(2), NotificationId(3)]);
    assert_eq!(asks[0].limit, 3 + limits::LANE_READ_MAX);
}

#[test]
fn a_lane_holds_no_more_than_its_bound_and_reads_on_when_it_runs_low() {
    let mut lanes = lanes(1_000, 1_000);
    let bound = i64::try_from(limits::LANE_BUFFERED_MAX).unwrap();
    for number in 0..bound + 10 {
        lanes.arrive(due(number, number));
    }
    assert_eq!(lanes.held(), limits::LANE_BUFFERED_MAX);
    see(&mut lanes);
    // The rest is in the store; it is read when there is need and room.
    assert_eq!(lanes.next_read_at(), None);
    for number in 0..bound {
        assert_eq!(next(&mut lanes), Some(number));
        land(&mut lanes, number);
        lanes.settled(id(number), None);
    }
    assert_eq!(lanes.next_read_at(), Some(at(bound)));
}

#[test]
fn lanes_take_turns() {
    let mut lanes = lanes(64, 8);
    // They are known.
    for (webhook, number) in [(HOOK, 50), (OTHER, 51)] {
        lanes.arrive(due_of(webhook, number, 0));
        see(&mut lanes);
        assert_eq!(next(&mut lanes), Some(number));
        lanes.landed(id_of(webhook, number), well());
    }
    for number in 0..4 {
        lanes.arrive(due(number, 0));
    }
    for number in 10..12 {
        lanes.arrive(due_of(OTHER, number, 0));
    }
    let order: Vec<_> = std::iter::from_fn(|| next(&mut lanes)).collect();
    assert_eq!(order[..4], [0, 10, 1, 11]);
}

/// How an attempt lands that was ended by its limit.
fn hung() -> AttemptEffect {
    AttemptEffect {
        failed: true,
        signal: LoadSignal::Timeout,
        slow: true,
        ..well()
    }
}

/// Webhooks of a tenant, with one delivery each.
fn lanes_of(lanes: &mut Air, tenant: i64, webhooks: std::ops::Range<i64>, host: fn(i64) -> String) {
    for webhook in webhooks {
        lanes.arrive(due_of(WebhookId(webhook), webhook, 0));
    }
    for webhook in lanes.ask_targets() {
        lanes.answer_target(webhook, open_at(tenant, &host(webhook.0)));
    }
}

fn own_host(webhook: i64) -> String {
    format!("r{webhook}.test")
}

fn one_host(_: i64) -> String {
    "one.test".to_owned()
}

fn all_next(lanes: &mut Air) -> Vec<i64> {
    std::iter::from_fn(|| next(lanes)).collect()
}

fn pass(lanes: &mut Air, millis: u64) {
    lanes.now += Duration::from_millis(millis);
    let now = lanes.now;
    lanes.age(now);
}

/// All that may begin, now and as what is in the air counts as slow; as many batches as there are.
fn batches(lanes: &mut Air) -> Vec<usize> {
    let mut batches = vec![];
    loop {
        batches.push(all_next(lanes).len());
        if batches.last() == Some(&0) {
            return batches;
        }
        pass(lanes, 2_000);
    }
}

#[test]
fn of_receivers_nobody_knows_a_tenant_has_a_share_and_the_next_one_of_the_rest() {
    let mut lanes = lanes(64, 8);
    // Of 32 for such receivers four times what is free then, and not all at once.
    lanes_of(&mut lanes, 1, 0..100, own_host);
    assert_eq!(batches(&mut lanes), [12, 7, 3, 2, 1, 1, 0]);
    lanes_of(&mut lanes, 2, 100..200, own_host);
    assert_eq!(batches(&mut lanes), [3, 1, 1, 0]);
    // Tenants with nothing in the air have one as long as a sixteenth of all is left.
    for tenant in 3..40 {
        lanes_of(
            &mut lanes,
            tenant,
            1_000 * tenant..1_000 * tenant + 2,
            own_host,
        );
    }
    assert_eq!(batches(&mut lanes), [64 - 64 / 16 - 31, 0]);
    // Whoever has least is next when one ends.
    lanes.landed(id_of(WebhookId(0), 0), well());
    assert!(all_next(&mut lanes)[0] >= 1_000);
}

#[test]
fn at_one_host_fewer_are_in_the_air_whoever_calls_it() {
    let mut lanes = lanes(64, 8);
    lanes_of(&mut lanes, 1, 0..100, one_host);
    assert_eq!(batches(&mut lanes), [6, 4, 2, 2, 1, 1, 0]);
    // Somebody else's first attempt goes; nothing is known of it.
    lanes_of(&mut lanes, 2, 100..200, one_host);
    assert_eq!(all_next(&mut lanes), [100]);
    pass(&mut lanes, 2_000);
    // As some end there is room for some, of either in turn.
    assert_eq!((lanes.queued(), lanes.queued_by_share()), (183, 183));
    let in_the_air: Vec<_> = lanes.in_flight.keys().copied().collect();
    for id in in_the_air.into_iter().take(7) {
        lanes.landed(id, hung());
    }
    let called = all_next(&mut lanes);
    assert_eq!(called.len(), 2, "{called:?}");
    assert!(called[0] >= 100 && called[1] < 100, "{called:?}");
    // And another host of the first is none the worse.
    lanes_of(&mut lanes, 1, 300..302, own_host);
    assert_eq!(all_next(&mut lanes), [300, 301]);
}

#[test]
fn what_has_been_in_the_air_for_long_counts_as_slow_before_it_ends() {
    let mut lanes = lanes(64, 8);
    lanes_of(&mut lanes, 1, 0..40, own_host);
    loop {
        let called = all_next(&mut lanes);
        for webhook in &called {
            lanes.landed(id_of(WebhookId(*webhook), *webhook), well());
        }
        if called.is_empty() {
            break;
        }
    }
    // All were quick, so all but a reserve may be in the air: here there are not so many.
    for webhook in 0..40 {
        lanes.arrive(due_of(WebhookId(webhook), 100 + webhook, 0));
    }
    assert_eq!(all_next(&mut lanes).len(), 40);
    pass(&mut lanes, 1_999);
    assert_eq!(lanes.slow(), 0);
    pass(&mut lanes, 1);
    assert_eq!(lanes.slow(), 40);
    // One that answered is no exception while others of its are in the air for long.
    for webhook in 0..40 {
        lanes.arrive(due_of(WebhookId(webhook), 200 + webhook, 0));
    }
    assert_eq!(next(&mut lanes), None);
    // The others have what is left, and of it those that are new.
    lanes_of(&mut lanes, 2, 1_000..1_010, own_host);
    assert_eq!(all_next(&mut lanes), [1_000]);
    lanes.landed(id_of(WebhookId(1_000), 1_000), well());
    assert_eq!(all_next(&mut lanes), [1_009]);
    for webhook in 0..40 {
        lanes.landed(id_of(WebhookId(webhook), 100 + webhook), hung());
    }
    // Of what is known to be slow no more than twice what is free then goes beside what is new.
    let slow = all_next(&mut lanes).into_iter().filter(|id| *id < 1_000);
    assert_eq!(slow.count(), 16);
}

/// Each webhook of the tenant is asked for so many deliveries, one by one.
fn ask_for_each(
    lanes: &mut Air,
    tenant: i64,
    webhooks: std::ops::Range<i64>,
    (each, host): (i64, fn(i64) -> String),
) {
    for webhook in webhooks {
        for number in 0..each {
            lanes.ask_for(due_of(WebhookId(webhook), webhook + 100_000 * number, 0));
        }
    }
    loop {
        let webhooks = lanes.ask_targets();
        if webhooks.is_empty() {
            break;
        }
        for webhook in webhooks {
            lanes.answer_target(webhook, open_at(tenant, &host(webhook.0)));
        }
    }
}

#[test]
fn slow_lanes_and_what_is_asked_for_go_while_another_tenant_has_more_than_half_in_doubt() {
    let mut lanes = lanes(64, 8);
    lanes_of(&mut lanes, 2, 1_000..1_001, own_host);
    assert_eq!(next(&mut lanes), Some(1_000));
    lanes.landed(id_of(WebhookId(1_000), 1_000), hung());
    lanes.settled(id_of(WebhookId(1_000), 1_000), None);
    for round in 0..2 {
        for webhook in 0..60 {
            lanes.arrive(due_of(WebhookId(webhook), 100 * round + webhook, 0));
        }
        for webhook in lanes.ask_targets() {
            lanes.answer_target(webhook, open_at(1, &own_host(webhook.0)));
        }
        while round == 0
            && let Some(webhook) = next(&mut lanes)
        {
            lanes.landed(id_of(WebhookId(webhook), webhook), well());
        }
    }
    assert_eq!(all_next(&mut lanes).len(), 56);
    pass(&mut lanes, 2_000);
    assert_eq!(lanes.slow(), 56);
    // What is slow, one; what is asked for, whatever its receiver is.
    for number in 1_100..1_102 {
        lanes.arrive(due_of(WebhookId(1_000), number, 0));
    }
    assert_eq!(all_next(&mut lanes), [1_100]);
    ask_for_each(&mut lanes, 2, 1_000..1_001, (1, own_host));
    assert_eq!(all_next(&mut lanes), [1_000]);
    // The first tenant as well, beside all that it has in the air.
    ask_for_each(&mut lanes, 1, 70..71, (1, own_host));
    assert_eq!(all_next(&mut lanes), [70]);
}

#[test]
fn of_what_is_free_a_tenant_that_asks_for_thousands_has_a_sixteenth_and_the_rest_goes_in_turn() {
    let mut lanes = lanes(1_024, 8);
    ask_for_each(&mut lanes, 1, 0..1_000, (4, own_host));
    assert_eq!(lanes.queued(), 64);
    assert_eq!(all_next(&mut lanes).len(), 61);
    pass(&mut lanes, 2_000);
    assert_eq!(all_next(&mut lanes).len(), 0);
    // Whoever comes next finds about as many.
    ask_for_each(&mut lanes, 2, 1_000..2_000, (1, own_host));
    assert_eq!(all_next(&mut lanes).len(), 57);
    // Beyond some the store has them, to be read as all that is due.
    assert!(lanes.held() <= 2 * 64 * 4, "{}", lanes.held());
    assert_eq!(lanes.lanes.read_times.len(), 2 * (1_000 - 64));
    // As some of the first's end there is room for others of it.
    for webhook in 0..5 {
        lanes.landed(id_of(WebhookId(webhook), webhook), hung());
    }
    assert_eq!(all_next(&mut lanes).len(), 1);
}

#[test]
fn of_what_is_asked_for_at_one_host_some_go_at_once_and_the_first_of_each_tenant() {
    let mut lanes = lanes(1_024, 8);
    for (tenant, begun) in [(1, 61), (2, 25), (3, 1), (4, 1)] {
        let webhooks = 1_000 * tenant..1_000 * tenant + 100;
        ask_for_each(&mut lanes, tenant, webhooks, (1, one_host));
        assert_eq!(all_next(&mut lanes).len(), begun, "{tenant}");
    }
    // What found no room there is not lost.
    assert!(!asked(&mut lanes, 0).is_empty());
    // Nor does it keep what is asked for elsewhere.
    ask_for_each(&mut lanes, 4, 9_000..9_010, (1, own_host));
    assert_eq!(all_next(&mut lanes).len(), 10);
}

#[test]
fn a_lane_whose_receiver_was_quick_finds_room_beside_all_others_of_its_tenant() {
    let mut lanes = lanes(64, 8);
    lanes_of(&mut lanes, 1, 0..1, one_host);
    assert_eq!(next(&mut lanes), Some(0));
    lanes.landed(id_of(WebhookId(0), 0), well());
    lanes.settled(id_of(WebhookId(0), 0), None);
    lanes_of(&mut lanes, 1, 1..1_000, one_host);
    assert_eq!(batches(&mut lanes).iter().sum::<usize>(), 16);
    // Even if its lane is forgotten, and at the same host.
    lanes.forget_resting();
    lanes_of(&mut lanes, 1, 0..1, one_host);
    assert_eq!(all_next(&mut lanes), [0]);
    // But not if it leads to somebody else.
    lanes.landed(id_of(WebhookId(0), 0), well());
    lanes.settled(id_of(WebhookId(0), 0), None);
    lanes.changed(WebhookId(0), at(0));
    lanes.arrive(due_of(WebhookId(0), 5_000, 0));
    let webhooks = lanes.ask_targets();
    assert_eq!(webhooks, [WebhookId(0)]);
    lanes.answer_target(WebhookId(0), open_at(1, "two.test"));
    assert_eq!(
        lanes.lanes.lanes[&WebhookId(0)].lane.speed(),
        ReceiverSpeed::Unknown
    );
}

#[test]
fn that_a_receiver_was_quick_outlives_a_change_that_leaves_its_target() {
    let mut lanes = lanes(64, 8);
    lanes_of(&mut lanes, 1, 0..1, one_host);
    assert_eq!(next(&mut lanes), Some(0));
    lanes.landed(id_of(WebhookId(0), 0), well());
    lanes.settled(id_of(WebhookId(0), 0), None);
    lanes.forget_resting();
    lanes.changed(WebhookId(0), at(0));
    lanes_of(&mut lanes, 1, 1..1_000, one_host);
    assert_eq!(batches(&mut lanes).iter().sum::<usize>(), 16);
    assert_eq!(asked(&mut lanes, 0)[0].0, WebhookId(0));
    let read = DuePage {
        webhook: WebhookId(0),
        deliveries: vec![due_of(WebhookId(0), 0, 0)],
        next_due_at: None,
        recovery: None,
    };
    lanes.answer_due(&[WebhookId(0)], vec![read], at(0));
    assert_eq!(all_next(&mut lanes), [0]);
}

#[test]
fn a_lane_that_leads_elsewhere_does_not_wait_at_its_old_host() {
    let mut lanes = lanes(64, 8);
    lanes_of(&mut lanes, 1, 0..100, one_host);
    assert_eq!(batches(&mut lanes).iter().sum::<usize>(), 16);
    lanes.changed(WebhookId(30), at(0));
    for webhook in lanes.ask_targets() {
        lanes.answer_target(webhook, open_at(1, "two.test"));
    }
    let asked = asked(&mut lanes, 0);
    assert_eq!(asked[0].0, WebhookId(30));
    let read = DuePage {
        webhook: WebhookId(30),
        deliveries: vec![due_of(WebhookId(30), 30, 0)],
        next_due_at: None,
        recovery: None,
    };
    lanes.answer_due(&[WebhookId(30)], vec![read], at(0));
    assert_eq!(all_next(&mut lanes), [30]);
}

#[test]
fn whatever_happened_nothing_is_left_of_shares_when_all_is_over() {
    let mut lanes = lanes(16, 8);
    for tenant in 0..5 {
        let host = [one_host, own_host][usize::try_from(tenant).unwrap() % 2];
        lanes_of(&mut lanes, tenant, 100 * tenant..100 * tenant + 30, host);
    }
    ask_for_each(&mut lanes, 5, 500..520, (1, one_host));
    let mut sent = 0;
    loop {
        let called = all_next(&mut lanes);
        if called.is_empty() {
            break;
        }
        sent += called.len();
        pass(&mut lanes, 1_500);
        for webhook in called {
            let landing = [well, hung][usize::try_from(webhook).unwrap() % 2]();
            lanes.landed(id_of(WebhookId(webhook), webhook), landing);
            lanes.settled(id_of(WebhookId(webhook), webhook), None);
        }
    }
    assert_eq!((sent, lanes.queued()), (170, 0));
    lanes.forget_resting();
    assert!(lanes.shares.is_idle());
}

#[test]
fn a_receiver_that_is_gone_shuts_its_lane_at_once() {
    let mut lanes = lanes(8, 1);
    lanes.arrive(due(1, 0));
    lanes.arrive(due(2, 0));
    see(&mut lanes);
    assert_eq!(next(&mut lanes), Some(1));
    let gone = AttemptEffect {
        failed: true,
        gone: true,
        ..well()
    };
    lanes.landed(id(1), gone);
    assert_eq!(next(&mut lanes), None);
    assert_eq!(lanes.held(), 0);
    lanes.settled(id(1), None);
    assert_eq!(lanes.count(), 0);
}

#[test]
fn a_target_that_changes_while_it_is_read_is_read_again() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    assert_eq!(lanes.ask_targets(), [HOOK]);
    lanes.changed(HOOK, at(0));
    lanes.answer_target(HOOK, open());
    assert_eq!(next(&mut lanes), None);
    assert_eq!(lanes.ask_targets(), [HOOK]);
    lanes.answer_target(HOOK, open());
    // Nor is what was ready taken for what is still owed.
    assert_eq!(next(&mut lanes), None);
    assert_eq!(asked(&mut lanes, 0).len(), 1);
    answer(&mut lanes, vec![due(1, 0)], None, 0);
    assert_eq!(next(&mut lanes), Some(1));
}

#[test]
fn a_disabled_webhook_is_cancelled_until_nothing_is_left() {
    let mut lanes = lanes(8, 8);
    lanes.arrive(due(1, 0));
    assert_eq!(lanes.ask_targets(), [HOOK]);
    lanes.answer_target(HOOK, WebhookLookup::Disabled);
    assert_eq!(lanes.held(), 0);
    assert_eq!(lanes.next_cancel(), Some(HOOK));
    assert_eq!(lanes.next_cancel(), None);
    lanes.cancelled(HOOK, true);
    assert_eq!(lanes.next_cancel(), Some(HOOK));
    lanes.cancelled(HOOK, false);
    assert_eq!(lanes.next_cancel(), None);
    assert_eq!(lanes.count(), 0);
}
