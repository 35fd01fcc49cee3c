//! Incidents: what is found to be wrong, and who was told, once.

use bytes::Bytes;
use model::attempt::FailureKind;
use model::contract::WatchRecord;
use model::filter::MatchKey;
use model::hold::HoldChange;
use model::id::WebhookId;
use model::incident::{
    AlertKind, Incident, IncidentChange, IncidentKind, ToldKinds, WatchQuery, Watched,
};
use model::limits::INCIDENT_RETENTION_MS;
use model::notification::NewNotification;
use model::tenant::DialectName;
use model::webhook::Headers;

use super::harness::{
    Given, answered, at, delivered, delivery_id, failed, gone, retry, settlement, wait,
};

const HOUR: i64 = 3_600_000;

fn query(failing_before: i64) -> WatchQuery {
    WatchQuery {
        failing_before: at(failing_before),
        gone_after: at(0),
        told_after: at(0),
        but_dialect: DialectName::new("alerts"),
    }
}

fn watched(given: &Given, failing_before: i64) -> Watched {
    wait(given.store.watched(query(failing_before))).unwrap()
}

fn call(given: &Given, webhook: WebhookId, time: i64, success: bool) {
    let id = delivery_id(given.notified(&format!("{webhook} {time}"), time), webhook);
    given.settle(match success {
        true => settlement(id, time, answered(200), delivered()),
        false => settlement(id, time, failed(FailureKind::Connect), retry(9_000_000)),
    });
}

fn begun(given: &Given, webhook: WebhookId, kind: IncidentKind, time: i64) -> IncidentChange {
    IncidentChange {
        incident: Incident {
            id: None,
            kind,
            about: Some((given.tenant, webhook)),
            began_at: at(time),
            quiet_since: None,
            told_tenant: ToldKinds::default(),
            told_server: ToldKinds::default().with(AlertKind::Failing),
        },
        ends: false,
    }
}

fn record(given: &Given, version: i64, changes: Vec<IncidentChange>, time: i64) -> bool {
    let round = WatchRecord {
        version,
        changes,
        told: Vec::new(),
        alerts: Vec::new(),
    };
    wait(given.store.record_incidents(round, at(time))).unwrap()
}

#[test]
fn webhooks_that_fail_for_long_enough_are_seen_with_their_oldest_delivery() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    call(&given, webhook, 1_000, false);
    call(&given, webhook, 2_000, false);
    assert!(watched(&given, 999).failing.is_empty());
    let seen = watched(&given, 1_000).failing;
    assert_eq!(seen.len(), 1);
    let failing = &seen[0];
    assert_eq!((failing.tenant, failing.webhook), (given.tenant, webhook));
    assert_eq!(failing.since, at(1_000));
    assert!(
        failing
            .oldest
            .as_ref()
            .is_some_and(|own| own.began_at <= at(1_000))
    );
    call(&given, webhook, 3_000, true);
    assert!(watched(&given, 9_000).failing.is_empty());
}

#[test]
fn webhooks_of_those_who_are_told_are_not_watched_themselves() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    call(&given, webhook, 1_000, false);
    let dialect = wait(given.store.tenant_settings(given.tenant))
        .unwrap()
        .unwrap()
        .tenant
        .dialect;
    let own = WatchQuery {
        but_dialect: dialect,
        ..query(9_000)
    };
    assert!(wait(given.store.watched(own)).unwrap().failing.is_empty());
}

#[test]
fn the_latest_that_began_to_fail_are_looked_at_first_as_others_were_disabled_long_ago() {
    let given = Given::new();
    let webhooks: Vec<WebhookId> = (0..3).map(|_| given.paid_webhook()).collect();
    for (webhook, time) in webhooks.iter().zip([1_000, 2_000, 3_000]) {
        call(&given, *webhook, time, false);
    }
    given.disable(webhooks[0], 4_000);
    let seen = watched(&given, 9_000).failing;
    let seen: Vec<WebhookId> = seen.iter().map(|own| own.webhook).collect();
    assert_eq!(seen, [webhooks[2], webhooks[1]]);
}

#[test]
fn nobody_is_told_of_a_webhook_that_somebody_paused() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    call(&given, webhook, 1_000, false);
    let begun = begun(&given, webhook, IncidentKind::Failing, 1_000);
    assert!(record(&given, 0, vec![begun], 2_000));
    let change = |change, time| {
        let actor = "anna".to_owned();
        let store = &given.store;
        wait(store.change_hold(given.tenant, webhook, change, actor, at(time))).unwrap();
    };
    change(HoldChange::Pause, 3_000);
    let seen = watched(&given, 9_000);
    assert!(seen.failing.is_empty());
    assert!(seen.open[0].1.enabled && seen.open[0].1.is_held);
    change(HoldChange::Resume { drain: None }, 4_000);
    let seen = watched(&given, 9_000);
    assert!(seen.failing.len() == 1 && !seen.open[0].1.is_held);
}

#[test]
fn an_incident_is_open_with_how_its_webhook_stands_until_it_ends() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    call(&given, webhook, 1_000, false);
    assert!(record(
        &given,
        0,
        vec![begun(&given, webhook, IncidentKind::Failing, 1_000)],
        2_000
    ));
    let open = watched(&given, 0).open;
    assert_eq!(open.len(), 1);
    let (incident, state) = open[0].clone();
    assert!(incident.told_server.has(AlertKind::Failing) && incident.id.is_some());
    assert_eq!(
        (state.enabled, state.failing_since),
        (true, Some(at(1_000)))
    );
    let quiet = Incident {
        quiet_since: Some(at(3_000)),
        told_tenant: ToldKinds::default().with(AlertKind::Recovered),
        ..incident
    };
    let change = |ends| IncidentChange {
        incident: quiet.clone(),
        ends,
    };
    assert!(record(&given, 1, vec![change(false)], 3_000));
    assert_eq!(watched(&given, 0).open[0].0, quiet);
    assert!(record(&given, 2, vec![change(true)], 4_000));
    assert!(watched(&given, 0).open.is_empty());
    // Another one of the same webhook may begin.
    assert!(record(
        &given,
        3,
        vec![begun(&given, webhook, IncidentKind::Failing, 5_000)],
        5_000
    ));
    given.disable(webhook, 6_000);
    assert!(!watched(&given, 0).open[0].1.enabled);
}

#[test]
fn of_two_rounds_from_the_same_look_one_is_recorded() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let alert = NewNotification {
        tenant: given.tenant,
        key: "alert".to_owned(),
        action_type: "willcall.webhook.failing".to_owned(),
        match_keys: vec![MatchKey {
            topic: "paid".to_owned(),
            scope: String::new(),
        }],
        event: None,
        headers: Headers::default(),
        body: Bytes::from_static(b"{}"),
        digest: None,
        match_context: None,
        only_webhook: None,
        at: at(2_000),
    };
    let round = |key: &str| WatchRecord {
        version: watched(&given, 0).version,
        changes: vec![begun(&given, webhook, IncidentKind::Failing, 1_000)],
        told: vec![
            (None, AlertKind::Failing),
            (Some(given.tenant), AlertKind::Failing),
        ],
        alerts: vec![NewNotification {
            key: key.to_owned(),
            ..alert.clone()
        }],
    };
    let (one, other) = (round("one"), round("other"));
    assert!(wait(given.store.record_incidents(one, at(2_000))).unwrap());
    assert!(!wait(given.store.record_incidents(other, at(2_000))).unwrap());
    let seen = watched(&given, 0);
    assert_eq!((seen.open.len(), seen.told.len()), (1, 2));
    let told = seen.told.get(&(Some(given.tenant), AlertKind::Failing));
    assert_eq!(told, Some(&at(2_000)));
    let found = |key: &str| {
        let found = given
            .store
            .notification_by_key(given.tenant, key.to_owned());
        wait(found).unwrap().map(|found| found.delivery_count)
    };
    assert_eq!((found("one"), found("other")), (Some(1), None));
}

#[test]
fn a_webhook_that_its_receiver_disabled_is_seen_until_that_is_recorded() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("a", 1_000), webhook);
    given.settle(settlement(id, 1_000, answered(410), gone()));
    let seen = watched(&given, 0);
    assert_eq!(seen.gone.len(), 1);
    let found = seen.gone[0];
    assert_eq!((found.tenant, found.webhook), (given.tenant, webhook));
    let mut change = begun(&given, webhook, IncidentKind::Gone, 0);
    change.incident.began_at = found.at;
    change.ends = true;
    assert!(record(&given, seen.version, vec![change], 2_000));
    assert!(watched(&given, 0).gone.is_empty());
    let later = WatchQuery {
        gone_after: found.at,
        ..query(0)
    };
    assert!(wait(given.store.watched(later)).unwrap().gone.is_empty());
}

#[test]
fn incidents_that_ended_long_ago_are_forgotten() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("a", 1_000), webhook);
    given.settle(settlement(id, 1_000, answered(410), gone()));
    let at_ms = watched(&given, 0).gone[0].at;
    let mut change = begun(&given, webhook, IncidentKind::Gone, 0);
    change.incident.began_at = at_ms;
    change.ends = true;
    assert!(record(&given, 0, vec![change], 2_000));
    assert!(record(&given, 1, Vec::new(), 2_000 + INCIDENT_RETENTION_MS));
    assert!(watched(&given, 0).gone.is_empty(), "it is still known");
    assert!(record(
        &given,
        2,
        Vec::new(),
        2_000 + INCIDENT_RETENTION_MS + HOUR
    ));
    assert_eq!(
        watched(&given, 0).gone.len(),
        1,
        "nothing is known of it any more"
    );
}
