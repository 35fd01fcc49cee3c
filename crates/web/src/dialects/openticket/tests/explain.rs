//! Why a webhook heard of a trigger or not says what the filter does, always.

use model::dashboard::WebhookSnapshot;
use proptest::prelude::*;
use serde_json::json;

use super::super::explain::{explain, rule};
use super::super::fields::Settings;
use super::super::triggers::TriggerTable;
use super::super::wire::{Draft, TriggerContext};
use crate::dialect::dashboard::NotificationFacts;
use crate::dialects::Trigger;

const RESOURCES: [&str; 7] = [
    "event", "ticket", "product", "shop", "order", "scanner", "badge",
];
const TRIGGERS: [&str; 5] = ["create", "update", "paid", "scan", "print"];
const GUIDS: [&str; 3] = [
    "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10",
    "3f6b8f8e-0d7c-4e62-9d5b-7f1d8a6e5c13",
    "5f0f6b1e-2c1d-4d0e-9a51-7a8c0e6f1b20",
];

fn triggers() -> TriggerTable {
    TriggerTable::with(&[Trigger {
        resource: "badge".to_owned(),
        trigger: "print".to_owned(),
        name: None,
        reaches: Some("badge".to_owned()),
    }])
}

fn one(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(of.to_vec())
}

fn draft(
    resource: &str,
    trigger: &str,
    guid: &str,
    related: &[(&'static str, &'static str)],
) -> Draft {
    let related = related.iter();
    let related = related.map(|(resource, guid)| json!({"resource": resource, "guid": guid}));
    let text = json!({
        "resource": resource,
        "trigger": trigger,
        "guid": guid,
        "related": related.collect::<Vec<_>>(),
        "data": {},
    });
    Draft::read(&text.to_string(), &triggers()).unwrap()
}

fn settings(resource: &str, trigger: &str, identifier: &str, related: bool) -> Settings {
    Settings {
        name: "A webhook".to_owned(),
        resource: resource.to_owned(),
        trigger: trigger.to_owned(),
        identifier: identifier.to_owned(),
        triggered_by_child_resources: related,
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(1_024))]

    #[test]
    fn what_is_said_is_what_the_filter_does(
        source in one(&RESOURCES),
        trigger in one(&TRIGGERS),
        guid in one(&GUIDS),
        related in prop::collection::vec((one(&RESOURCES), one(&GUIDS)), 0..4),
        resource in one(&RESOURCES),
        waits_for in one(&TRIGGERS),
        same in any::<bool>(),
        identifier in prop::option::of(one(&GUIDS)),
        upper in any::<bool>(),
        switch in any::<bool>(),
    ) {
        let draft = draft(source, trigger, guid, &related);
        let about: TriggerContext = serde_json::from_str(&draft.about).unwrap();
        prop_assert_eq!(&about.pairs(), &draft.pairs);
        let identifier = identifier.unwrap_or_default();
        let identifier = if upper { identifier.to_uppercase() } else { identifier.to_owned() };
        let waits_for = if same { trigger } else { waits_for };
        let settings = settings(resource, waits_for, &identifier, switch);
        let wanted = settings.filter().matches(&draft.pairs);
        let verdict = rule(&about, &settings);
        prop_assert_eq!(verdict.wanted, wanted, "{}", verdict.rule);
        let happened = NotificationFacts {
            action_type: &draft.name,
            event: None,
            about: Some(&draft.about),
        };
        let then = WebhookSnapshot {
            disabled: None,
            settings: serde_json::to_string(&settings).unwrap(),
            filter: settings.filter(),
            changed_since: false,
        };
        prop_assert_eq!(explain(&happened, &then), verdict);
        let damaged = WebhookSnapshot { settings: "{".to_owned(), ..then };
        prop_assert_eq!(explain(&happened, &damaged).wanted, wanted);
    }
}

#[test]
fn the_rule_that_decided_is_named() {
    let [own, event, other] = GUIDS;
    let draft = draft("order", "paid", own, &[("event", event), ("shop", other)]);
    let about: TriggerContext = serde_json::from_str(&draft.about).unwrap();
    let said = |resource: &str, trigger: &str, identifier: &str, related: bool| {
        rule(&about, &settings(resource, trigger, identifier, related)).rule
    };
    assert_eq!(
        said("order", "paid", "", false),
        "It is for this: an order is paid."
    );
    assert_eq!(
        said("order", "paid", other, false),
        format!("Other identifier: it is limited to {other}, and this was about {own}.")
    );
    assert_eq!(
        said("event", "paid", "", true),
        "It is triggered by related resources: an order is paid, and an event is related to that."
    );
    assert!(said("event", "paid", "", false).starts_with("No child switch: an order is paid"));
    assert_eq!(
        said("event", "paid", other, true),
        format!("Other identifier: it is limited to {other}, and this was about {event}.")
    );
    assert_eq!(
        said("event", "create", "", true),
        "Other trigger: it waits for \"create\", and this was \"paid\"."
    );
    assert_eq!(
        said("shop", "paid", "", true),
        "Other resource: it is for \"shop\", and this was about \"order\". A shop was related to \
         it, but \"paid\" does not reach from there."
    );
    assert_eq!(
        said("ticket", "paid", "", true),
        "Other resource: it is for \"ticket\", and this was about \"order\", with no ticket \
         related to it that it reaches."
    );
}

#[test]
fn what_is_kept_of_many_related_things_is_what_they_reach() {
    let guid = |n: usize| format!("00000000-0000-4000-8000-{n:012}");
    let related: Vec<_> = (0..500)
        .map(|n| json!({"resource": if n % 2 == 0 { "ticket" } else { "shop" }, "guid": guid(n)}))
        .collect();
    let text = json!({
        "resource": "order", "trigger": "paid", "guid": GUIDS[0], "related": related, "data": {},
    });
    let draft = Draft::read(&text.to_string(), &triggers()).unwrap();
    let about: TriggerContext = serde_json::from_str(&draft.about).unwrap();
    assert_eq!(about.reached["ticket"].len(), 250);
    assert!(about.beyond.contains("shop"));
    assert!(draft.about.len() < 250 * 40 + 200);
}
