//! Why a webhook got a notification or not says what the filter does, always; and a sample of
//! every kind is one.

use std::collections::BTreeSet;

use model::dashboard::WebhookSnapshot;
use proptest::prelude::*;

use super::super::action_types::ActionTypes;
use super::super::explain::{explain, pairs, rule};
use super::super::fields::Settings;
use super::super::json::read;
use super::super::wire::Draft;
use crate::dialect::dashboard::NotificationFacts;
use crate::dialects::ActionType;

const ACTIONS: [&str; 9] = [
    "pretix.event.order.paid",
    "pretix.event.order.changed.item",
    "pretix.event.order.changed",
    "pretix.event.deleted",
    "pretix.customer.created",
    "pretix.giftcards.transaction.payment",
    "pretix.event.checkin",
    "plugin.badge.printed",
    "nobody.knows.this",
];
const TYPES: [&str; 8] = [
    "pretix.event.order.paid",
    "pretix.event.order.changed.*",
    "pretix.event.deleted",
    "pretix.customer.created",
    "pretix.giftcards.transaction.*",
    "pretix.event.checkin",
    "plugin.badge.*",
    "gone.type",
];
const SHOWS: [&str; 3] = ["democon", "secondcon", "organizer"];

fn action_types() -> ActionTypes {
    ActionTypes::with(&[ActionType {
        key: "plugin.badge.*".to_owned(),
        label: "Badge".to_owned(),
        help: String::new(),
    }])
}

fn some(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let some = prop::sample::subsequence(of, 0..=of.len());
    some.prop_map(|all| all.into_iter().map(str::to_owned).collect())
}

/// What stands for an action at a show after it went through intake.
fn handed_in<'a>(action: &str, show: Option<&str>, action_types: &'a ActionTypes) -> Draft<'a> {
    let show = show.map_or_else(|| "null".to_owned(), |slug| format!("\"{slug}\""));
    let text = format!(
        r#"{{"action":"{action}","event":{show},"code":"A","customer":"C","issuer_id":1,
           "issuer_slug":"bigevents","giftcard":1}}"#
    );
    let value = read(&text).unwrap().into_owned();
    Draft::read(value, "bigevents", action_types).unwrap()
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn what_is_said_is_what_the_filter_does(
        action in prop::sample::select(ACTIONS.to_vec()),
        show in prop::option::of(prop::sample::select(SHOWS.to_vec())),
        chosen in some(&TYPES),
        limit_events in some(&SHOWS),
        all_events in any::<bool>(),
    ) {
        let action_types = action_types();
        let needs_show = action.starts_with("pretix.event.") && action != "pretix.event.deleted";
        prop_assume!(show.is_some() || !needs_show);
        let draft = handed_in(action, show, &action_types);
        let happened = NotificationFacts {
            action_type: &draft.action,
            event: draft.event.as_deref(),
            about: None,
        };
        prop_assert_eq!(&pairs(&action_types, &happened), &draft.pairs());
        let settings = Settings {
            all_events,
            limit_events: if all_events { Vec::new() } else { limit_events },
            action_types: chosen,
            comment: None,
        };
        let wanted = settings.filter().matches(&draft.pairs());
        let verdict = rule(&action_types, &happened, &settings);
        prop_assert_eq!(verdict.wanted, wanted, "{}", verdict.rule);
        let then = WebhookSnapshot {
            disabled: None,
            settings: serde_json::to_string(&settings).unwrap(),
            filter: settings.filter(),
            changed_since: false,
        };
        let told = explain(&action_types, &happened, &then);
        prop_assert_eq!(told, verdict);
        // Settings that cannot be read spoil the words, never the verdict.
        let damaged = WebhookSnapshot { settings: "{".to_owned(), ..then };
        prop_assert_eq!(explain(&action_types, &happened, &damaged).wanted, wanted);
    }
}

#[test]
fn the_rule_that_decided_is_named() {
    let action_types = action_types();
    let said = |action: &str, show: Option<&str>, limit: &[&str]| {
        let settings = Settings {
            all_events: limit.is_empty(),
            limit_events: limit.iter().map(|slug| (*slug).to_owned()).collect(),
            action_types: vec!["pretix.event.order.changed.*".to_owned()],
            comment: None,
        };
        let happened = NotificationFacts {
            action_type: action,
            event: show,
            about: None,
        };
        rule(&action_types, &happened, &settings).rule
    };
    let item = "pretix.event.order.changed.item";
    let words: BTreeSet<String> = [
        said(item, Some("democon"), &[]),
        said(item, Some("democon"), &["democon"]),
        said(item, Some("democon"), &["secondcon"]),
        said("pretix.event.order.paid", Some("democon"), &[]),
        said("pretix.event.settings", Some("democon"), &[]),
    ]
    .into();
    let expected = [
        "It asks for pretix.event.order.changed.item (as pretix.event.order.changed.*), for all \
         shows.",
        "It asks for pretix.event.order.changed.item (as pretix.event.order.changed.*), for the \
         show democon.",
        "No webhook can ask for pretix.event.settings: it belongs to no action type.",
        "Other action type: pretix.event.order.paid is not among those it asks for.",
        "Other show: this is about democon, and the webhook is limited to secondcon.",
    ];
    assert_eq!(words, expected.map(str::to_owned).into());
}
