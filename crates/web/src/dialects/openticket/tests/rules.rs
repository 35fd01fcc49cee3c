//! Which webhooks hear of a trigger: every combination of both ways to read the vendor's table.

use std::collections::BTreeSet;

use model::filter::Filter;
use serde_json::json;

use super::super::fields::Settings;
use super::super::triggers::{DIRECT, RULES, RuleSource, TriggerTable};
use super::super::wire::Draft;

const RESOURCES: [&str; 6] = ["event", "ticket", "product", "shop", "order", "scanner"];
const TRIGGERS: [&str; 7] = [
    "create", "update", "delete", "paid", "scan", "relation", "reorder",
];
const OWN: &str = "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10";
const RELATED: &str = "3f6b8f8e-0d7c-4e62-9d5b-7f1d8a6e5c13";
const OTHER: &str = "5f0f6b1e-2c1d-4d0e-9a51-7a8c0e6f1b20";

/// The table as it is printed: source, target, triggers.
const PRINTED: [(&str, &str, &[&str]); 8] = [
    ("ticket", "event", &["create", "update", "delete"]),
    ("product", "event", &["create", "update", "delete"]),
    ("shop", "event", &["paid", "update"]),
    ("shop", "ticket", &["paid"]),
    ("shop", "product", &["paid"]),
    ("order", "event", &["create", "delete", "scan"]),
    ("order", "ticket", &["scan"]),
    ("order", "product", &["scan"]),
];

/// The same with its last rows labelled Order, Scanner, Shop.
const CORRECTED: [(&str, &str, &[&str]); 8] = [
    ("ticket", "event", &["create", "update", "delete"]),
    ("product", "event", &["create", "update", "delete"]),
    ("order", "event", &["paid", "update"]),
    ("order", "ticket", &["paid"]),
    ("order", "product", &["paid"]),
    ("scanner", "event", &["create", "delete", "scan"]),
    ("scanner", "ticket", &["scan"]),
    ("scanner", "product", &["scan"]),
];

fn listed(table: &[(&str, &str, &[&str])], source: &str, trigger: &str, target: &str) -> bool {
    table
        .iter()
        .any(|(s, t, triggers)| *s == source && *t == target && triggers.contains(&trigger))
}

fn filter(resource: &str, trigger: &str, identifier: &str, related: bool) -> Filter {
    let settings = Settings {
        name: String::new(),
        resource: resource.to_owned(),
        trigger: trigger.to_owned(),
        identifier: identifier.to_owned(),
        triggered_by_child_resources: related,
    };
    settings.filter()
}

fn draft(source: &str, trigger: &str, related: &[(&str, &str)]) -> Draft {
    let related: Vec<_> = related
        .iter()
        .map(|(resource, guid)| json!({"resource": resource, "guid": guid}))
        .collect();
    let text = json!({
        "resource": source,
        "trigger": trigger,
        "guid": OWN.to_uppercase(),
        "related": related,
        "data": {},
    });
    Draft::read(&text.to_string(), &TriggerTable::with(&[])).unwrap()
}

#[test]
fn every_source_trigger_target_identifier_and_switch_is_as_the_tables_say() {
    let mut heard_count = 0;
    for source in RESOURCES {
        for trigger in TRIGGERS {
            for target in RESOURCES {
                let draft = draft(source, trigger, &[(target, RELATED)]);
                for wanted in TRIGGERS {
                    for (identifier, is_own, is_related) in [
                        ("", true, true),
                        (OWN, true, false),
                        (RELATED, false, true),
                        (OTHER, false, false),
                    ] {
                        for switch in [false, true] {
                            let ruled = listed(&PRINTED, source, trigger, target)
                                || listed(&CORRECTED, source, trigger, target);
                            let direct = source == target && is_own;
                            let through = switch && ruled && is_related;
                            let expected = wanted == trigger && (direct || through);
                            let filter = filter(target, wanted, identifier, switch);
                            let heard = filter.matches(&draft.pairs);
                            assert_eq!(
                                heard, expected,
                                "{source} {trigger} -> {target} {wanted} {identifier} {switch}"
                            );
                            heard_count += usize::from(heard);
                        }
                    }
                }
            }
        }
    }
    // 6 x 7 direct ones, each twice per identifier that meets it and per switch; 24 rules.
    assert_eq!(heard_count, 42 * 2 * 2 + 24 * 2);
}

#[test]
fn nobody_related_is_nobody_reached_and_it_goes_one_step_only() {
    let event = filter("event", "paid", "", true);
    assert!(!event.matches(&draft("order", "paid", &[]).pairs));
    assert!(!event.matches(&draft("order", "paid", &[("ticket", RELATED)]).pairs));
    assert!(event.matches(&draft("order", "paid", &[("event", RELATED)]).pairs));
    // A ticket reaches its event on create; what reaches a ticket does not go on to the event.
    let created = filter("event", "scan", "", true);
    assert!(!created.matches(&draft("scanner", "scan", &[("ticket", RELATED)]).pairs));
}

#[test]
fn an_identifier_is_met_in_any_case() {
    let upper = filter("event", "paid", &RELATED.to_uppercase(), true);
    assert!(upper.matches(&draft("order", "paid", &[("event", RELATED)]).pairs));
    assert!(upper.matches(&draft("order", "paid", &[("event", &RELATED.to_uppercase())]).pairs));
}

#[test]
fn every_rule_names_its_source_and_is_there_once() {
    let mut seen = BTreeSet::new();
    for (source, trigger, target, says) in RULES {
        assert!(seen.insert((source, trigger, target)));
        let printed = listed(&PRINTED, source, trigger, target);
        let corrected = listed(&CORRECTED, source, trigger, target);
        let expected = match (printed, corrected) {
            (true, true) => RuleSource::Both,
            (true, false) => RuleSource::Printed,
            (false, true) => RuleSource::Corrected,
            (false, false) => panic!("nobody says {source} {trigger} -> {target}"),
        };
        assert_eq!(*says, expected, "{source} {trigger} -> {target}");
    }
    assert_eq!(seen.len(), 24);
    // As many marks as the rows of the vendor's table have.
    let marks = |resource: &str| DIRECT.iter().filter(|(own, ..)| *own == resource).count();
    assert_eq!(RESOURCES.map(marks), [3, 3, 3, 0, 2, 1]);
    assert!(DIRECT.iter().all(|(_, _, why)| !why.is_empty()));
}

#[test]
fn a_trigger_is_named_for_what_happened() {
    for (source, trigger, name) in [
        ("order", "paid", "order.paid"),
        ("order", "update", "order.updated"),
        ("event", "create", "event.created"),
        ("ticket", "delete", "ticket.deleted"),
        ("event", "reorder", "event.reordered"),
        ("scanner", "scan", "order.ticket.scanned"),
        ("ticket", "scan", "order.ticket.scanned"),
        ("order", "scan", "order.ticket.scanned"),
        ("event", "scan", "event.scanned"),
    ] {
        assert_eq!(draft(source, trigger, &[]).name, name);
    }
}
