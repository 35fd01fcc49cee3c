//! Accepting and the fan-out on a real server, where several nodes write at once.

use std::sync::mpsc::channel;

use bytes::Bytes;
use model::contract::StoreError;
use model::delivery::CancelCause;
use model::filter::MatchKey;
use model::id::{NotificationId, TenantId, WebhookId};
use model::limits::UNMATERIALIZED_MAX;
use model::notification::{AcceptResult, NewNotification};
use model::time::Timestamp;
use model::webhook::Headers;

use crate::postgres::accept::{Acceptance, Locking, Talk, Whose, accept, accept_group};
use crate::postgres::connection::PostgresConnection;
use crate::postgres::fan_out;
use crate::postgres::locks::{self, LockKey};
use crate::postgres::migrate::migrate;
use crate::postgres::postgres_server::PostgresServer;
use crate::postgres::session::{Committed, TransactionMode};
use crate::postgres::tests::support::{self, open};
use crate::postgres::tx::{PostgresTx, SessionCache};
use crate::sql::fan_out::STEP_ROWS;
use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;
use crate::sql::row::ReadRow;
use crate::sql::rows;

const TENANT: TenantId = TenantId(1);
const OTHER: TenantId = TenantId(2);

/// A database with two tenants.
struct House {
    url: String,
}

/// A node, as far as it accepts.
struct Node {
    conn: PostgresConnection,
    cache: SessionCache,
}

impl House {
    fn new() -> Self {
        let url = PostgresServer::shared().create_database();
        migrate(&open(&url)).unwrap();
        let house = Self { url };
        house.run(
            "insert into tenant (dialect, key, name, created_at)
             values ('pretix', 'one', 'One', 0), ('pretix', 'two', 'Two', 0)",
        );
        house
    }

    fn node(&self) -> Node {
        Node {
            conn: PostgresConnection::new(open(&self.url)),
            cache: SessionCache::default(),
        }
    }

    /// A change by hand.
    fn run(&self, sql: &str) {
        let session = open(&self.url);
        session.begin(TransactionMode::ReadWrite).unwrap();
        session.batch(sql).unwrap();
        assert_eq!(session.commit().unwrap(), Committed::Durable);
    }

    /// So many webhooks of the tenant that want everything about "paid".
    fn webhooks(&self, tenant: TenantId, count: usize) {
        self.run(&format!(
            "with w as (
               insert into webhook
                 (tenant_id, target_url, filter, settings, created_at, updated_at, version)
               select {tenant}, 'https://example.org/', '[]', '{{}}', 0, 0, 1
               from generate_series(1, {count})
               returning id)
             insert into wish (tenant_id, topic, scope, webhook_id)
             select {tenant}, 'paid', '', id from w;
             update catalog set version = version + 1"
        ));
    }

    fn numbers(&self, sql: &str) -> Vec<i64> {
        let rows = open(&self.url).query(sql, &[]).unwrap();
        rows.iter().map(|row| row.column(0).unwrap()).collect()
    }

    fn count(&self, sql: &str) -> i64 {
        self.numbers(sql).remove(0)
    }
}

impl Node {
    fn group(&mut self, batches: &[&[NewNotification]]) -> Vec<Acceptance> {
        self.try_group(batches, Locking::Try).unwrap()
    }

    fn try_group(
        &mut self,
        batches: &[&[NewNotification]],
        locking: Locking,
    ) -> Result<Vec<Acceptance>, JobError> {
        let mut post_commit = PostCommit::default();
        let cache = &mut self.cache.accept;
        let talk = Talk::new(self.conn.session(), Whose::Own);
        let done = accept_group(talk, cache, &mut post_commit, batches, locking);
        if done.is_err() {
            self.conn.session().rollback().unwrap();
            self.cache = SessionCache::default();
        }
        done.map(|(acceptances, _)| acceptances)
    }

    /// Does something in a transaction that is left open.
    fn hold<T>(&mut self, work: impl FnOnce(&mut PostgresTx<'_>) -> Result<T, JobError>) -> T {
        let session = self.conn.session();
        session.begin(TransactionMode::ReadWrite).unwrap();
        let mut post_commit = PostCommit::default();
        let mut tx = PostgresTx {
            conn: &self.conn,
            cache: &mut self.cache,
            post_commit: &mut post_commit,
            slots: None,
        };
        work(&mut tx).unwrap()
    }

    fn lock(&mut self, key: LockKey) {
        self.hold(|tx| locks::take(tx.conn, &[key]));
    }

    fn commit(&self) {
        assert_eq!(self.conn.session().commit().unwrap(), Committed::Durable);
    }

    fn step(&mut self) -> bool {
        let taken = self.hold(fan_out::step);
        self.commit();
        taken
    }
}

fn new(tenant: TenantId, key: &str, at: i64) -> NewNotification {
    NewNotification {
        tenant,
        key: key.to_owned(),
        action_type: "order.paid".to_owned(),
        match_keys: vec![MatchKey {
            topic: "paid".to_owned(),
            scope: "democon".to_owned(),
        }],
        event: None,
        headers: Headers::default(),
        body: Bytes::from_static(b"{}"),
        digest: None,
        match_context: None,
        only_webhook: None,
        at: Timestamp::from_millis(at),
    }
}

fn accepted(id: i64, deliveries: u32) -> AcceptResult {
    AcceptResult::Accepted {
        id: NotificationId(id),
        deliveries,
    }
}

fn duplicate(id: i64, deliveries: u32) -> AcceptResult {
    AcceptResult::Duplicate {
        id: NotificationId(id),
        deliveries,
    }
}

fn conflict(id: i64, accepted_at: i64) -> AcceptResult {
    AcceptResult::Conflict {
        id: NotificationId(id),
        accepted_at: Timestamp::from_millis(accepted_at),
    }
}

fn done(acceptance: &Acceptance) -> &[AcceptResult] {
    match acceptance {
        Acceptance::Done(results) => results,
        other @ (Acceptance::Refused(_) | Acceptance::Later) => panic!("{other:?}"),
    }
}

#[test]
fn batches_of_many_callers_are_accepted_in_the_order_given() {
    let house = House::new();
    house.webhooks(TENANT, 2);
    let mut node = house.node();
    let [one, two, three] = [
        vec![new(TENANT, "z", 5), new(OTHER, "a", 6)],
        vec![],
        vec![new(TENANT, "y", 7)],
    ];
    let group = node.group(&[&one, &two, &three]);
    let all: Vec<&[AcceptResult]> = group.iter().map(done).collect();
    let meant: [&[AcceptResult]; 3] = [&[accepted(1, 2), accepted(2, 0)], &[], &[accepted(3, 2)]];
    assert_eq!(all, meant);
    let rows = "select webhook_id * 10 + notification_id from fresh order by 1";
    assert_eq!(house.numbers(rows), [11, 13, 21, 23]);
}

#[test]
fn a_key_that_comes_twice_in_a_group_is_accepted_once() {
    let house = House::new();
    let mut node = house.node();
    let first = new(TENANT, "a", 5);
    let other = NewNotification {
        body: Bytes::from_static(b"[]"),
        ..first.clone()
    };
    let (one, two) = (vec![first.clone(), first.clone()], vec![other, first]);
    let group = node.group(&[&one, &two]);
    assert_eq!(done(&group[0]), [accepted(1, 0), duplicate(1, 0)]);
    assert_eq!(done(&group[1]), [conflict(1, 5), duplicate(1, 0)]);
    assert_eq!(house.count("select count(*) from notification"), 1);
}

#[test]
fn what_is_known_is_told_by_its_content_and_takes_no_id() {
    let house = House::new();
    let mut node = house.node();
    let all = ["a", "b", "c"].map(|key| new(TENANT, key, 5));
    node.group(&[&all]);
    let changed = |change: fn(&mut NewNotification)| {
        let mut changed = new(TENANT, "b", 9);
        change(&mut changed);
        changed
    };
    let again = [
        changed(|_| ()),
        changed(|new| new.body = Bytes::from_static(b"[]")),
        changed(|new| new.action_type = "order.placed".to_owned()),
        changed(|new| new.digest = Some(1)),
        new(OTHER, "b", 9),
        new(TENANT, "d", 9),
        changed(|new| new.headers = Headers::from_pairs([("X", &b"1"[..])])),
    ];
    let group = node.group(&[&again]);
    let meant = [
        duplicate(2, 0),
        conflict(2, 5),
        conflict(2, 5),
        conflict(2, 5),
        accepted(4, 0),
        accepted(5, 0),
        duplicate(2, 0),
    ];
    assert_eq!(done(&group[0]), meant);
}

#[test]
fn a_tenant_that_another_node_holds_is_left_for_later_and_delays_nobody_else() {
    let house = House::new();
    let (mut holder, mut node) = (house.node(), house.node());
    let batch = [new(TENANT, "a", 5)];
    holder.hold(|tx| accept(tx, &batch));
    let others = [new(OTHER, "a", 5)];
    let both = [new(OTHER, "b", 5), new(TENANT, "a", 5)];
    let group = node.group(&[&batch, &others, &both]);
    let [Acceptance::Later, Acceptance::Done(_), Acceptance::Later] = &group[..] else {
        panic!("{group:?}");
    };
    holder.commit();
    let group = node.group(&[&batch, &both]);
    assert_eq!(done(&group[0]), [duplicate(1, 0)]);
    assert!(matches!(done(&group[1])[1], AcceptResult::Duplicate { .. }));
}

#[test]
fn who_waits_for_a_tenant_sees_what_its_holder_wrote() {
    let house = House::new();
    let (mut holder, mut node) = (house.node(), house.node());
    let batch = [new(TENANT, "a", 9_000)];
    holder.hold(|tx| accept(tx, &batch));
    let (tell, told) = channel();
    let waiting = support::spawn(move || {
        let batch = [new(TENANT, "a", 8_000), new(TENANT, "b", 8_000)];
        tell.send(node.conn.session().facts().backend).unwrap();
        node.try_group(&[&batch], Locking::All).unwrap().remove(0)
    });
    let backend = told.recv().unwrap();
    let waits = format!(
        "select count(*) from pg_stat_activity
         where pid = {backend} and wait_event_type = 'Lock'"
    );
    while house.count(&waits) == 0 {}
    holder.commit();
    let acceptance = waiting.join().unwrap();
    assert_eq!(done(&acceptance), [duplicate(1, 0), accepted(2, 0)]);
    // The clock of the second node is behind, and times do not fall.
    let times = house.numbers("select accepted_at from notification order by id");
    assert_eq!(times, [9_000, 9_000]);
}

#[test]
fn ids_of_a_tenant_are_in_the_order_in_which_they_are_seen_though_nodes_take_turns() {
    let house = House::new();
    let mut nodes = [house.node(), house.node()];
    let mut latest = 0;
    for number in 0..6 {
        let node = &mut nodes[number % 2];
        let group = node.group(&[&[new(TENANT, &number.to_string(), 5)]]);
        let [AcceptResult::Accepted { id, .. }] = done(&group[0]) else {
            panic!("{group:?}");
        };
        assert!(id.0 > latest);
        latest = id.0;
    }
}

#[test]
fn what_another_node_changes_of_subscriptions_counts_at_once() {
    let house = House::new();
    house.webhooks(TENANT, 1);
    let mut node = house.node();
    let counts: Vec<AcceptResult> = ["a", "b", "c"]
        .into_iter()
        .map(|key| {
            let result = done(&node.group(&[&[new(TENANT, key, 5)]])[0])[0].clone();
            if key == "b" {
                house.webhooks(TENANT, 2);
                house.webhooks(OTHER, 3);
            }
            result
        })
        .collect();
    assert_eq!(counts, [accepted(1, 1), accepted(2, 1), accepted(3, 3)]);
}

#[test]
fn each_wanted_scope_counts_and_each_webhook_once() {
    let house = House::new();
    house.run(
        "insert into wish (tenant_id, topic, scope, webhook_id) values
           (1, 'paid', '', 5), (1, 'paid', '=democon', 5), (1, 'paid', '=democon', 4),
           (1, 'paid', '=other', 9), (1, 'any', '=', 7), (2, 'paid', '', 8)",
    );
    let mut node = house.node();
    let key = |topic: &str, scope: &str| MatchKey {
        topic: topic.to_owned(),
        scope: scope.to_owned(),
    };
    let mut both = new(TENANT, "a", 5);
    both.match_keys.push(key("any", ""));
    let mut none = new(TENANT, "b", 5);
    none.match_keys = vec![key("any", "democon"), key("unheard of", "")];
    let group = node.group(&[&[both, none]]);
    assert_eq!(done(&group[0]), [accepted(1, 3), accepted(2, 0)]);
    let rows = "select webhook_id from fresh order by 1";
    assert_eq!(house.numbers(rows), [4, 5, 7]);
}

#[test]
fn a_tenant_with_very_much_left_is_refused_and_costs_nobody_else() {
    let house = House::new();
    let owed = i64::try_from(UNMATERIALIZED_MAX).unwrap();
    house.run(&format!(
        "insert into listing (tenant_id, reached, owed) values (1, 0, {owed})"
    ));
    let mut node = house.node();
    let batches = [[new(TENANT, "a", 5)], [new(OTHER, "a", 5)]];
    let group = node.group(&[&batches[0], &batches[1]]);
    assert!(matches!(group[0], Acceptance::Refused(StoreError::Busy)));
    assert_eq!(done(&group[1]).len(), 1);
    let batch = [new(TENANT, "a", 5)];
    let mut post_commit = PostCommit::default();
    node.conn
        .session()
        .begin(TransactionMode::ReadWrite)
        .unwrap();
    let mut tx = PostgresTx {
        conn: &node.conn,
        cache: &mut node.cache,
        post_commit: &mut post_commit,
        slots: None,
    };
    let refused = accept(&mut tx, &batch);
    assert!(matches!(refused, Err(JobError::Refused(StoreError::Busy))));
}

#[test]
fn a_show_registers_itself_unless_somebody_changes_the_catalog() {
    let house = House::new();
    let (mut holder, mut node) = (house.node(), house.node());
    let about = |key: &str, show: &str| NewNotification {
        event: Some(show.to_owned()),
        ..new(TENANT, key, 5)
    };
    let version = "select version from catalog";
    let before = house.count(version);
    let both = [about("a", "democon"), about("b", "democon")];
    done(&node.group(&[&both])[0]);
    assert_eq!(house.count(version), before + 1);
    assert_eq!(house.count("select count(*) from event"), 1);
    holder.lock(locks::CATALOG);
    let (known, unknown) = ([about("c", "democon")], [about("d", "other")]);
    let group = node.group(&[&known, &unknown]);
    done(&group[0]);
    assert!(matches!(group[1], Acceptance::Later));
    holder.commit();
    done(&node.group(&[&unknown])[0]);
    assert_eq!(house.count(version), before + 2);
    assert_eq!(house.count("select count(*) from event"), 2);
}

#[test]
fn a_test_goes_to_its_webhook_if_it_is_the_tenants_and_enabled() {
    let house = House::new();
    house.webhooks(TENANT, 2);
    house.webhooks(OTHER, 1);
    house.run("update webhook set disabled_at = 1, disabled_cause = 1 where id = 2");
    let mut node = house.node();
    let tests = [1, 2, 3, 99].map(|webhook| NewNotification {
        only_webhook: Some(WebhookId(webhook)),
        ..new(TENANT, &webhook.to_string(), 5)
    });
    let group = node.group(&[&tests]);
    let meant = [
        accepted(1, 1),
        accepted(2, 0),
        accepted(3, 0),
        accepted(4, 0),
    ];
    assert_eq!(done(&group[0]), meant);
}

#[test]
fn times_of_each_tenant_fall_only_where_a_clock_was_set_back() {
    let house = House::new();
    let mut node = house.node();
    let ahead = [new(TENANT, "a", 90_000), new(OTHER, "a", 20_000)];
    done(&node.group(&[&ahead])[0]);
    let now = [new(TENANT, "b", 30_000), new(OTHER, "b", 21_000)];
    done(&node.group(&[&now])[0]);
    let fall = "select tenant_id * 1000000 + reached_at from clock_fall";
    assert_eq!(house.numbers(fall), [1_090_000]);
    // Over for certain, by the heartbeat: a run begins, and only one.
    house.run(
        "insert into clock (id, schedule_at, wall_at, earliest_at, latest_at, reached_at)
         values (1, 80000, 80000, 80000, 80000, 80000)",
    );
    for key in ["c", "d"] {
        done(&node.group(&[&[new(OTHER, key, 22_000)]])[0]);
    }
    let after = "select tenant_id * 1000000 + after_at from clock_fall order by 1";
    assert_eq!(house.numbers(after), [1_000_000, 2_080_000]);
    let times = house.numbers("select accepted_at from notification order by tenant_id, id");
    assert_eq!(times, [90_000, 30_000, 20_000, 21_000, 22_000, 22_000]);
}

#[test]
fn a_batch_that_fails_leaves_nothing_and_nothing_of_it_is_remembered() {
    let house = House::new();
    let mut node = house.node();
    let about = |tenant| NewNotification {
        event: Some("democon".to_owned()),
        ..new(tenant, "a", 5)
    };
    let bad = [about(TENANT), about(TenantId(999))];
    assert!(node.try_group(&[&bad], Locking::Try).is_err());
    assert_eq!(house.count("select count(*) from notification"), 0);
    done(&node.group(&[&[about(TENANT)]])[0]);
    assert_eq!(house.count("select count(*) from event"), 1);
}

/// As many webhooks as a transaction has no time for, and one for which it has.
const MANY: usize = 2_100;

#[test]
fn what_is_for_very_many_webhooks_is_materialized_in_steps_and_tenants_take_turns() {
    let house = House::new();
    house.webhooks(TENANT, MANY);
    house.webhooks(OTHER, MANY);
    let mut node = house.node();
    let batch = [new(TENANT, "a", 5), new(TENANT, "b", 5), new(OTHER, "a", 5)];
    assert_eq!(done(&node.group(&[&batch])[0]).len(), 3);
    let fresh = |tenant: TenantId| {
        house.count(&format!(
            "select count(*) from fresh where tenant_id = {tenant}"
        ))
    };
    assert_eq!((fresh(TENANT), fresh(OTHER)), (0, 0));
    let step = i64::try_from(STEP_ROWS).unwrap();
    assert!(node.step() && node.step());
    assert_eq!((fresh(TENANT), fresh(OTHER)), (step, step));
    let mut steps = 2;
    while node.step() {
        steps += 1;
    }
    assert_eq!(steps, 5 + 3);
    assert_eq!((fresh(TENANT), fresh(OTHER)), (4_200, 2_100));
    for table in ["listing", "audience", "wide"] {
        assert_eq!(house.count(&format!("select count(*) from {table}")), 0);
    }
}

#[test]
fn a_step_waits_for_no_other_and_none_is_taken_while_webhooks_change() {
    let house = House::new();
    house.webhooks(TENANT, MANY);
    house.webhooks(OTHER, MANY);
    let (mut holder, mut node) = (house.node(), house.node());
    let batch = [new(TENANT, "a", 5), new(OTHER, "a", 5)];
    done(&node.group(&[&batch])[0]);
    let [_, fan_out] = locks::of_change(TENANT);
    holder.lock(fan_out);
    assert!(node.step());
    assert_eq!(house.numbers("select distinct tenant_id from fresh"), [2]);
    // Accepting for the tenant does not wait for its steps.
    done(&node.group(&[&[new(TENANT, "b", 5)]])[0]);
    while node.step() {}
    assert_eq!(house.numbers("select distinct tenant_id from listing"), [1]);
    holder.commit();
    while node.step() {}
    assert_eq!(house.count("select count(*) from listing"), 0);
}

#[test]
fn a_webhook_that_is_disabled_before_its_turn_is_sent_nothing() {
    let house = House::new();
    house.webhooks(TENANT, MANY);
    let mut node = house.node();
    done(&node.group(&[&[new(TENANT, "a", 5), new(TENANT, "b", 6)]])[0]);
    house.run(
        "update webhook set disabled_at = 7, disabled_cause = 2 where id in (3, 2100);
         delete from wish where webhook_id in (3, 4, 2100);
         delete from webhook where id = 4",
    );
    while node.step() {}
    assert_eq!(house.count("select count(*) from fresh"), 2 * (2_100 - 3));
    let cancelled = "
        select webhook_id * 1000 + cause * 100 + ended_at * 10 + notification_id from delivery
        where state = 3 order by 1";
    let gone = rows::cause_number(CancelCause::ReceiverGone);
    let deleted = rows::cause_number(CancelCause::WebhookDeleted);
    let meant = [
        3_000 + gone * 100 + 71,
        3_000 + gone * 100 + 72,
        4_000 + deleted * 100 + 1,
        4_000 + deleted * 100 + 2,
        2_100_000 + gone * 100 + 71,
        2_100_000 + gone * 100 + 72,
    ];
    assert_eq!(house.numbers(cancelled), meant);
    let failed = "select failed from tally order by webhook_id";
    assert_eq!(house.numbers(failed), [2, 2, 2]);
}

#[test]
fn a_step_is_taken_first_if_its_notifications_are_meant() {
    let house = House::new();
    house.webhooks(TENANT, MANY);
    let mut node = house.node();
    done(&node.group(&[&[new(TENANT, "a", 5)]])[0]);
    let mut before = |upto| {
        let taken = node.hold(|tx| fan_out::step_before(tx, TENANT, upto));
        node.commit();
        taken
    };
    assert!(!before(0));
    assert!(before(1) && before(1) && before(1));
    assert!(!before(1));
}
