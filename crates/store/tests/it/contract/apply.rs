//! Applying an operator's file.

use std::sync::Arc;

use model::contract::{Conflict, StoreError};
use model::declared_secrets::{DeclaredHeader, DeclaredSecrets, DeclaredSignature, Sealer};
use model::id::WebhookId;
use model::limits::PAGE_ROWS_MAX;
use model::own_header::{self, OwnHeaderName};
use model::query::{
    AppliedChange, AppliedItem, ChangeKind, Declaration, DeclaredToken, DeclaredWebhook,
    WebhookDefaults, WebhookQuery,
};
use model::rng::SeededRng;
use model::signing::{Keyring, Profile, Secret};
use model::tenant::{DialectName, Event, Permission, TokenHash, TokenKind};
use model::webhook::{DisableCause, Disablement, Webhook};

use serde_json::json;

use super::harness::{Given, at, declaration, filter, read, wait};

fn declared_token(name: &str, hash: Option<u8>) -> DeclaredToken {
    DeclaredToken {
        name: name.to_owned(),
        hash: hash.map(|hash| TokenHash([hash; 32])),
        fresh: TokenHash([200; 32]),
        permissions: [Permission::WebhooksRead].into_iter().collect(),
        active: None,
        kind: TokenKind::Program,
        default: false,
    }
}

fn declared_webhook(url: &str, topic: &str) -> DeclaredWebhook {
    DeclaredWebhook {
        key: None,
        target_url: url.to_owned(),
        enabled: None,
        filter: filter(&[(topic, None)]),
        settings: "{}".to_owned(),
        headers: None,
        retries_max: None,
        fresh: WebhookDefaults::default(),
        secrets: DeclaredSecrets::default(),
        limits: None,
        cloud_events: None,
    }
}

fn event(slug: &str, date_from: Option<i64>) -> Event {
    Event {
        slug: slug.to_owned(),
        name: slug.to_uppercase(),
        date_from: date_from.map(at),
    }
}

fn apply(
    given: &Given,
    declaration: Declaration,
    time: i64,
) -> Result<Vec<AppliedChange>, StoreError> {
    let applied = given
        .store
        .apply(vec![declaration], "apply".to_owned(), at(time));
    wait(applied)
}

fn changes(applied: &[AppliedChange]) -> Vec<ChangeKind> {
    applied.iter().map(|item| item.change).collect()
}

fn all_webhooks(given: &Given) -> Vec<Webhook> {
    let query = WebhookQuery {
        enabled: None,
        newest_first: false,
        offset: 0,
        limit: 50,
    };
    wait(given.store.webhooks(vec![given.tenant], query))
        .unwrap()
        .webhooks
}

fn full() -> Declaration {
    Declaration {
        events: vec![event("b", Some(5)), event("a", None)],
        tokens: vec![
            declared_token("given", Some(1)),
            declared_token("made", None),
        ],
        webhooks: vec![declared_webhook("https://a.example/", "paid")],
        ..declaration("bigevents")
    }
}

#[test]
fn a_declaration_comes_true_and_is_then_unchanged() {
    let given = Given::new();
    let applied = apply(&given, full(), 5).unwrap();
    let item = |item, change| AppliedChange {
        tenant: "bigevents".to_owned(),
        item,
        change,
    };
    let token = |name: &str, fresh| AppliedItem::Token {
        name: name.to_owned(),
        fresh,
    };
    let webhook = all_webhooks(&given).remove(0);
    let expected = [
        item(AppliedItem::Tenant, ChangeKind::Unchanged),
        item(AppliedItem::Event("b".to_owned()), ChangeKind::Created),
        item(AppliedItem::Event("a".to_owned()), ChangeKind::Created),
        item(token("given", false), ChangeKind::Created),
        item(token("made", true), ChangeKind::Created),
        item(
            AppliedItem::Webhook {
                id: webhook.id,
                target_url: "https://a.example/".to_owned(),
                changed: Vec::new(),
            },
            ChangeKind::Created,
        ),
    ];
    assert_eq!(applied, expected);
    assert!(webhook.enabled());
    assert_eq!(
        wait(given.store.grants(TokenHash([200; 32])))
            .unwrap()
            .len(),
        1
    );
    let audit = wait(given.store.audit(given.tenant, 50)).unwrap();
    assert_eq!(audit.len(), 6);

    let version = given.store.version();
    given.heard.take();
    let again = apply(&given, full(), 9).unwrap();
    assert!(
        changes(&again)
            .iter()
            .all(|change| *change == ChangeKind::Unchanged)
    );
    assert!(
        again
            .iter()
            .all(|item| !matches!(item.item, AppliedItem::Token { fresh: true, .. }))
    );
    assert_eq!(all_webhooks(&given), [webhook]);
    assert_eq!(given.store.version(), version);
    assert_eq!(given.heard.take(), []);
    assert_eq!(wait(given.store.audit(given.tenant, 50)).unwrap(), audit);
}

#[test]
fn events_are_ordered_by_date_name_and_slug() {
    let given = Given::new();
    let events = vec![
        event("z", None),
        event("y", Some(9)),
        event("x", Some(5)),
        Event {
            name: "A".to_owned(),
            ..event("w", Some(9))
        },
    ];
    let declared = Declaration {
        events,
        ..declaration("bigevents")
    };
    apply(&given, declared, 5).unwrap();
    let slugs: Vec<String> = wait(given.store.events(given.tenant))
        .unwrap()
        .into_iter()
        .map(|event| event.slug)
        .collect();
    assert_eq!(slugs, ["x", "w", "y", "z"]);
}

#[test]
fn a_page_of_events_is_of_one_tenant_by_slug_and_says_how_many_there_are() {
    let given = Given::new();
    let slug = |n: usize| format!("e{n:03}");
    let declare = |key: &str, events| {
        let declared = Declaration {
            events,
            ..declaration(key)
        };
        apply(&given, declared, 5).unwrap();
    };
    let all: Vec<Event> = (0..60).map(|n| event(&slug(n), None)).collect();
    declare("bigevents", all.iter().rev().cloned().collect());
    let other = given.another_tenant("other");
    declare("other", vec![event("e000", Some(7))]);
    let page = |tenant, offset, limit| {
        let found = wait(given.store.event_page(tenant, offset, limit)).unwrap();
        (found.count, found.events)
    };
    assert_eq!(page(given.tenant, 0, 2), (60, all[..2].to_vec()));
    assert_eq!(page(given.tenant, 58, 5), (60, all[58..].to_vec()));
    // However many are asked for.
    assert_eq!(
        page(given.tenant, 0, usize::MAX),
        (60, all[..PAGE_ROWS_MAX].to_vec())
    );
    assert_eq!(page(given.tenant, u64::MAX, 5), (60, Vec::new()));
    assert_eq!(page(other, 0, 5), (1, vec![event("e000", Some(7))]));
}

#[test]
fn an_event_is_found_by_its_slug_at_its_tenant_only() {
    let given = Given::new();
    let declared = Declaration {
        events: vec![event("a", Some(5)), event("b", None)],
        ..declaration("bigevents")
    };
    apply(&given, declared, 5).unwrap();
    let other = given.another_tenant("other");
    let find = |tenant, slug: &str| wait(given.store.event(tenant, slug.to_owned())).unwrap();
    assert_eq!(find(given.tenant, "a"), Some(event("a", Some(5))));
    for (tenant, slug) in [(given.tenant, "A"), (given.tenant, ""), (other, "a")] {
        assert_eq!(find(tenant, slug), None, "{slug}");
    }
}

#[test]
fn what_is_declared_differently_is_changed() {
    let given = Given::new();
    apply(&given, full(), 5).unwrap();
    let mut other = full();
    other.name = Some("Renamed".to_owned());
    other.events[0].date_from = Some(at(6));
    other.tokens[0].hash = Some(TokenHash([9; 32]));
    other.tokens[1].active = Some(false);
    other.webhooks[0].settings = "{\"comment\":null}".to_owned();
    let applied = apply(&given, other.clone(), 6).unwrap();
    use ChangeKind::{Changed, Unchanged};
    let expected = [Changed, Changed, Unchanged, Changed, Changed, Changed];
    assert_eq!(changes(&applied), expected);
    assert!(
        wait(given.store.grants(TokenHash([1; 32])))
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        wait(given.store.grants(TokenHash([9; 32]))).unwrap().len(),
        1
    );
    let made = wait(given.store.grants(TokenHash([200; 32]))).unwrap();
    assert!(!made[0].active);
    assert_eq!(all_webhooks(&given)[0].version, 2);
    // What the file leaves out stays: nobody is let in again by accident.
    other.tokens[1].active = None;
    let again = apply(&given, other, 7).unwrap();
    assert!(changes(&again).iter().all(|change| *change == Unchanged));
    let made = wait(given.store.grants(TokenHash([200; 32]))).unwrap();
    assert!(!made[0].active);
    let tenant = wait(
        given
            .store
            .tenant(DialectName::new("pretix"), "bigevents".to_owned()),
    );
    assert_eq!(tenant.unwrap().unwrap().name, "Renamed");
}

#[test]
fn webhooks_of_the_same_url_are_matched_in_their_order() {
    let given = Given::new();
    let url = "https://a.example/";
    let webhooks = |topics: &[&str]| Declaration {
        webhooks: topics
            .iter()
            .map(|topic| declared_webhook(url, topic))
            .collect(),
        ..declaration("bigevents")
    };
    apply(&given, webhooks(&["one", "two"]), 5).unwrap();
    let before = all_webhooks(&given);
    let applied = apply(&given, webhooks(&["one", "other", "three"]), 6).unwrap();
    use ChangeKind::{Changed, Created, Unchanged};
    assert_eq!(changes(&applied), [Unchanged, Unchanged, Changed, Created]);
    let after = all_webhooks(&given);
    assert_eq!(after[0], before[0]);
    assert_eq!(after[1].id, before[1].id);
    assert_eq!(after[1].filter, filter(&[("other", None)]));
    assert_eq!(after.len(), 3);
}

#[test]
fn applying_again_does_not_switch_on_what_was_switched_off() {
    let given = Given::new();
    apply(&given, full(), 5).unwrap();
    let id = all_webhooks(&given)[0].id;
    given.disable(id, 6);
    apply(&given, full(), 7).unwrap();
    assert!(!given.stored(id).enabled());
    let mut asked = full();
    asked.webhooks[0].enabled = Some(true);
    apply(&given, asked.clone(), 8).unwrap();
    assert!(given.stored(id).enabled());
    asked.webhooks[0].enabled = Some(false);
    apply(&given, asked.clone(), 9).unwrap();
    let disabled = given.stored(id);
    assert_eq!(disabled.disabled.unwrap().at, at(9));
    apply(&given, asked, 10).unwrap();
    assert_eq!(given.stored(id), disabled);
}

#[test]
fn what_was_deleted_stays_so_however_long_ago_unless_the_file_asks_for_it() {
    let given = Given::new();
    let mut named = declared_webhook("https://a.example/", "one");
    named.key = Some("a key".to_owned());
    let declared = |webhook: &DeclaredWebhook| Declaration {
        webhooks: vec![webhook.clone()],
        ..declaration("bigevents")
    };
    apply(&given, declared(&named), 5).unwrap();
    let stored = all_webhooks(&given).remove(0);
    let cause = DisableCause::Deleted;
    let gone = Webhook {
        disabled: Some(Disablement { at: at(6), cause }),
        ..stored.clone()
    };
    given.save(gone, 6).unwrap();
    for _ in 0..3 {
        wait(given.prune(10_000_000, 10_000_000)).unwrap();
    }
    let applied = apply(&given, declared(&named), 10_000_001).unwrap();
    assert_eq!(changes(&applied), [ChangeKind::Unchanged; 2]);
    assert!(all_webhooks(&given).is_empty());
    named.enabled = Some(true);
    apply(&given, declared(&named), 10_000_002).unwrap();
    assert_eq!(all_webhooks(&given).remove(0).id, stored.id);
}

#[test]
fn two_tokens_may_change_places() {
    let given = Given::new();
    let tokens = |first, second| Declaration {
        tokens: vec![
            declared_token("first", Some(first)),
            declared_token("second", Some(second)),
        ],
        ..declaration("bigevents")
    };
    apply(&given, tokens(1, 2), 5).unwrap();
    let applied = apply(&given, tokens(2, 1), 6).unwrap();
    assert_eq!(changes(&applied)[1..], [ChangeKind::Changed; 2]);
    let grant = wait(given.store.grants(TokenHash([2; 32]))).unwrap();
    assert_eq!(grant[0].name, "first");
}

#[test]
fn a_conflict_leaves_everything_as_it_was() {
    let given = Given::new();
    apply(&given, full(), 5).unwrap();
    let version = given.store.version();
    let conflict = |tokens| {
        let declared = Declaration {
            name: Some("Renamed".to_owned()),
            tokens,
            ..full()
        };
        let refused = apply(&given, declared, 6).unwrap_err();
        let tenant = wait(
            given
                .store
                .tenant(DialectName::new("pretix"), "bigevents".to_owned()),
        );
        assert_eq!(tenant.unwrap().unwrap().name, "BIGEVENTS");
        let StoreError::Conflict(conflict) = refused else {
            panic!("{refused:?}");
        };
        conflict
    };
    let same_hash = vec![declared_token("x", Some(7)), declared_token("y", Some(7))];
    assert_eq!(conflict(same_hash), Conflict::TokenHash);
    let taken = vec![declared_token("x", Some(1))];
    assert_eq!(conflict(taken), Conflict::TokenHash);
    let changed_to_taken = vec![declared_token("given", Some(200))];
    assert_eq!(conflict(changed_to_taken), Conflict::TokenHash);
    let same_name = vec![declared_token("x", Some(7)), declared_token("x", Some(8))];
    assert_eq!(conflict(same_name), Conflict::TokenName);
    assert_eq!(given.store.version(), version);
}

#[test]
fn a_token_that_is_changed_says_what_it_was_and_nothing_of_its_text() {
    let given = Given::new();
    let declared = |token: DeclaredToken| Declaration {
        tokens: vec![token],
        ..declaration("new")
    };
    apply(&given, declared(declared_token("x", Some(7))), 10).unwrap();
    let off = DeclaredToken {
        active: Some(false),
        ..declared_token("x", Some(8))
    };
    apply(&given, declared(off), 11).unwrap();
    let tenant = wait(
        given
            .store
            .tenant(DialectName::new("pretix"), "new".to_owned()),
    );
    let tenant = tenant.unwrap().unwrap();
    let newest = &wait(given.store.audit(tenant.id, 1)).unwrap()[0];
    assert_eq!(newest.action, "token.changed");
    let shown = |active: bool| {
        json!({
            "kind": "token",
            "permissions": "webhooks:read",
            "active": active,
            "default": false,
        })
    };
    assert_eq!(
        read(&newest.detail),
        json!({
            "name": "x",
            "changed": ["token"],
            "before": shown(true),
            "after": shown(false),
        })
    );
}

#[test]
fn one_token_may_be_listed_under_several_tenants() {
    let given = Given::new();
    let listed = |key| Declaration {
        tokens: vec![declared_token("shared", Some(7))],
        ..declaration(key)
    };
    let both = vec![listed("bigevents"), listed("other")];
    wait(given.store.apply(both, "apply".to_owned(), at(5))).unwrap();
    assert_eq!(
        wait(given.store.grants(TokenHash([7; 32]))).unwrap().len(),
        2
    );
}

/// Applies webhooks to these URLs. Answers for each its number and what changed.
fn to_urls(given: &Given, webhooks: Vec<DeclaredWebhook>) -> Vec<(i64, String)> {
    let declared = Declaration {
        webhooks,
        ..declaration("bigevents")
    };
    let applied = apply(given, declared, 9).unwrap().into_iter();
    let of = |item: AppliedChange| match item.item {
        AppliedItem::Webhook { id, changed, .. } => Some((
            id.0,
            match item.change {
                ChangeKind::Created => "created".to_owned(),
                ChangeKind::Changed => changed.join(", "),
                ChangeKind::Unchanged => "unchanged".to_owned(),
            },
        )),
        AppliedItem::Tenant | AppliedItem::Event(_) | AppliedItem::Token { .. } => None,
    };
    applied.filter_map(of).collect()
}

/// What a file says of the secrets of one webhook.
fn secrets(github: &str, header: Option<&str>, own: &str) -> DeclaredSecrets {
    DeclaredSecrets {
        signatures: vec![
            DeclaredSignature {
                profile: Profile::Github,
                header: header.map(str::to_owned),
                svix: false,
                secret: Some(Secret::brought(Profile::Github, github).unwrap()),
            },
            DeclaredSignature {
                profile: Profile::StandardEd25519,
                header: None,
                svix: true,
                secret: None,
            },
        ],
        headers: vec![DeclaredHeader {
            name: OwnHeaderName::parse("X-Key").unwrap(),
            value: own_header::value(own).unwrap(),
        }],
        sealer: sealer(MASTER),
        ..DeclaredSecrets::default()
    }
}

const MASTER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const OTHER_MASTER: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn sealer(master: &str) -> Sealer {
    let keyring = Keyring::parse(master).unwrap();
    Sealer::new(Arc::new(keyring), SeededRng::from_seed([3; 32]))
}

#[test]
fn declared_secrets_are_sealed_with_their_webhook_and_applying_again_changes_nothing() {
    let given = Given::new();
    let to = |secrets: DeclaredSecrets| {
        let webhook = DeclaredWebhook {
            secrets,
            ..declared_webhook("https://a.example/", "paid")
        };
        to_urls(&given, vec![webhook])
    };
    let one = |what: &str| vec![(1, what.to_owned())];
    let (first, second) = ("the-first-of-theirs", "the-second-of-theirs");
    assert_eq!(to(secrets(first, None, "own-1")), one("created"));
    assert_eq!(to(secrets(first, None, "own-1")), one("unchanged"));
    let id = WebhookId(1);
    let keyring = Keyring::parse(MASTER).unwrap();
    let stored = || wait(given.store.signatures(given.tenant, id)).unwrap();
    let of_github = stored().pop().unwrap();
    let opened = keyring.open(id, Profile::Github, &of_github.key.sealed);
    assert_eq!(opened.unwrap().text(), first);
    let pair = stored().remove(0).key;
    let changed = to(secrets(second, None, "own-2"));
    assert_eq!(changed, one("key of signature github, header X-Key"));
    assert!(stored().pop().unwrap().former.is_some());
    // A pair that was made here stays what it is.
    assert_eq!(stored().remove(0).key, pair);
    let moved = to(secrets(second, Some("X-Shop"), "own-2"));
    assert_eq!(moved, one("header of signature github"));
    assert_eq!(stored().pop().unwrap().header(), "X-Shop");
    // What a file does not name stays.
    assert_eq!(to(DeclaredSecrets::default()), one("unchanged"));
    assert_eq!(stored().len(), 2);
    let audit = wait(given.store.audit(given.tenant, 99)).unwrap();
    let audit = format!("{audit:?}");
    assert!(
        !audit.contains("theirs") && !audit.contains("own-"),
        "{audit}"
    );
}

#[test]
fn what_cannot_be_opened_or_rotated_refuses_the_whole_file() {
    let given = Given::new();
    let to = |secrets: DeclaredSecrets, topic: &str| {
        let webhook = DeclaredWebhook {
            secrets,
            ..declared_webhook("https://a.example/", topic)
        };
        let declared = Declaration {
            webhooks: vec![webhook],
            ..declaration("bigevents")
        };
        apply(&given, declared, 9)
    };
    to(secrets("the-first-of-theirs", None, "own"), "paid").unwrap();
    let other = DeclaredSecrets {
        sealer: sealer(OTHER_MASTER),
        ..secrets("the-first-of-theirs", None, "own")
    };
    let refused = to(other, "changed").unwrap_err().to_string();
    let words = "webhook 1, signature github: its secret is sealed with master key";
    assert!(refused.starts_with(words), "{refused}");
    to(secrets("the-second-of-theirs", None, "own"), "paid").unwrap();
    let again = to(secrets("the-third-of-theirs", None, "own"), "changed");
    let again = again.unwrap_err();
    assert!(matches!(again, StoreError::Conflict(Conflict::FormerKey)));
    assert_eq!(given.stored(WebhookId(1)).filter, filter(&[("paid", None)]));
}

fn keyed(url: &str, key: &str) -> DeclaredWebhook {
    DeclaredWebhook {
        key: Some(key.to_owned()),
        ..declared_webhook(url, "paid")
    }
}

const CREDENTIALS: &str = "user or password of target_url";

#[test]
fn another_password_changes_the_webhook_and_makes_no_second() {
    let given = Given::new();
    let to = |url: &str| to_urls(&given, vec![declared_webhook(url, "paid")]);
    let one = |what: &str| vec![(1, what.to_owned())];
    assert_eq!(to("https://u:old@a.example/hook"), one("created"));
    assert_eq!(to("https://u:new@a.example/hook"), one(CREDENTIALS));
    assert_eq!(to("https://v:new@a.example/hook"), one(CREDENTIALS));
    assert_eq!(to("https://a.example/hook"), one("target_url"));
    assert_eq!(to("https://tok@A.example:443/hook"), one("target_url"));
    assert_eq!(to("https://tok@A.example:443/hook"), one("unchanged"));
    let stored = all_webhooks(&given);
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].target_url, "https://tok@A.example:443/hook");
    // Another host or path is another webhook.
    for (number, url) in [
        (2, "https://a.example/hook?x"),
        (3, "http://a.example/hook"),
    ] {
        assert_eq!(to(url), [(number, "created".to_owned())]);
    }
}

#[test]
fn another_secret_in_a_marked_part_changes_the_webhook_and_makes_no_second() {
    let given = Given::new();
    let to = |url: &str| to_urls(&given, vec![declared_webhook(url, "paid")]);
    let one = |what: &str| vec![(1, what.to_owned())];
    assert_eq!(to("https://a.example/in?key=a"), one("created"));
    let marked = to("https://a.example/in?key=a#secret:key");
    assert_eq!(marked, one("target_url"));
    let changed = to("https://a.example/in?key=b#secret:key");
    assert_eq!(changed, one("what is marked in target_url"));
    let audit = wait(given.store.audit(given.tenant, 1)).unwrap();
    let detail = &audit[0].detail;
    assert!(
        detail.contains("https://a.example/in?key=***#secret:key"),
        "{detail}"
    );
    let other = to("https://a.example/out?key=b#secret:key");
    assert_eq!(other, [(2, "created".to_owned())]);
}

#[test]
fn of_several_at_one_target_each_stays_itself() {
    let given = Given::new();
    let to = |urls: &[&str]| {
        let webhooks = urls.iter().map(|url| declared_webhook(url, "paid"));
        to_urls(&given, webhooks.collect())
    };
    let what = |all: &[(i64, &str)]| -> Vec<(i64, String)> {
        all.iter()
            .map(|(id, what)| (*id, (*what).to_owned()))
            .collect()
    };
    let first = to(&["https://a:1@a.example/", "https://b:1@a.example/"]);
    assert_eq!(first, what(&[(1, "created"), (2, "created")]));
    // In any order, and with a new one among them.
    let second = to(&[
        "https://c:1@a.example/",
        "https://b:2@a.example/",
        "https://a:1@a.example/",
    ]);
    assert_eq!(
        second,
        what(&[(3, "created"), (2, CREDENTIALS), (1, "unchanged")])
    );
    // A disabled one is not taken for the one in use.
    given.disable(WebhookId(1), 10);
    given.disable(WebhookId(2), 10);
    assert_eq!(to(&["https://d:1@a.example/"]), what(&[(3, CREDENTIALS)]));
}

#[test]
fn a_webhook_with_a_key_is_found_wherever_it_goes() {
    let given = Given::new();
    let one = |what: &str| vec![(1, what.to_owned())];
    let to = |webhook: DeclaredWebhook| to_urls(&given, vec![webhook]);
    assert_eq!(
        to(declared_webhook("https://u:p@a.example/", "paid")),
        one("created")
    );
    // It is given its key, found by its target.
    assert_eq!(to(keyed("https://u:p@a.example/", "crm")), one("key"));
    assert_eq!(
        to(keyed("https://u:p@b.example/", "crm")),
        one("target_url")
    );
    assert_eq!(to(keyed("https://u:p@b.example/", "crm")), one("unchanged"));
    assert_eq!(all_webhooks(&given)[0].key.as_deref(), Some("crm"));
    // Another key is another webhook, even with the same target.
    let other = to(keyed("https://u:p@b.example/", "other"));
    assert_eq!(other, [(2, "created".to_owned())]);
}

#[test]
fn what_was_changed_is_named_without_its_value() {
    let given = Given::new();
    let mut webhook = declared_webhook("https://a.example/", "paid");
    webhook.settings = r#"{"comment":"x","action_types":["paid"]}"#.to_owned();
    assert_eq!(
        to_urls(&given, vec![webhook.clone()]),
        [(1, "created".to_owned())]
    );
    webhook.settings = r#"{"comment":"y","limit_events":[]}"#.to_owned();
    webhook.enabled = Some(false);
    webhook.retries_max = Some(3);
    webhook.headers = Some(model::webhook::Headers::from_pairs([(
        "X-Nonce",
        b"secret".as_slice(),
    )]));
    let words = "enabled, headers, retries, action_types, comment, limit_events";
    assert_eq!(
        to_urls(&given, vec![webhook.clone()]),
        [(1, words.to_owned())]
    );
    webhook.filter = filter(&[("other", None)]);
    assert_eq!(to_urls(&given, vec![webhook]), [(1, "filter".to_owned())]);
}

#[test]
fn a_tenants_creation_its_name_and_its_shows_are_in_the_audit_log() {
    let given = Given::new();
    let declared = |name: Option<&str>, date| Declaration {
        name: name.map(str::to_owned),
        events: vec![event("b", date)],
        ..declaration("new")
    };
    // Without a name a new tenant is called as its key, and one that is there keeps its own.
    for (name, date) in [
        (None, None),
        (Some("New"), None),
        (Some("New"), Some(5)),
        (None, Some(5)),
    ] {
        apply(&given, declared(name, date), 7).unwrap();
    }
    let dialect = DialectName::new("pretix");
    let tenant = wait(given.store.tenant(dialect, "new".to_owned()))
        .unwrap()
        .unwrap();
    assert_eq!(tenant.name, "New");
    let entries = wait(given.store.audit(tenant.id, 9)).unwrap();
    let line = |entry: &model::query::AuditEntry| {
        assert_eq!((entry.actor.as_str(), entry.at), ("apply", at(7)));
        (entry.action.clone(), read(&entry.detail))
    };
    let lines: Vec<_> = entries.iter().rev().map(line).collect();
    let shown = event("b", None);
    let show = json!({ "event": "b", "name": shown.name, "date_from": null });
    let dated = json!({ "event": "b", "name": shown.name, "date_from": at(5).to_string() });
    let moved = json!({ "event": "b", "before": show, "after": dated });
    let renamed = json!({ "before": { "name": "new" }, "after": { "name": "New" } });
    assert_eq!(
        lines,
        [
            ("tenant.created".to_owned(), json!({ "name": "new" })),
            ("event.created".to_owned(), show),
            ("tenant.changed".to_owned(), renamed),
            ("event.changed".to_owned(), moved),
        ]
    );
}
