//! Tenants, tokens, webhooks, the audit log; and that no tenant sees another's.

use std::collections::BTreeSet;

use model::contract::{Conflict, StoreError};
use model::delivery::{CancelCause, DeliveryState};
use model::id::{TenantId, WebhookId};
use model::query::{Declaration, LogPage, LogQuery, WebhookQuery};
use model::rng::SeededRng;
use model::tenant::{
    DialectName, Event, Grant, NewToken, Permission, Permissions, TokenHash, TokenKind,
};
use model::webhook::{DisableCause, Disablement, NewWebhook, Webhook};

use super::harness::{
    Given, Told, answered, at, declaration, delivered, delivery_id, filter, headers, settlement,
    wait,
};

fn token(tenant: Option<TenantId>, name: &str, hash: u8) -> NewToken {
    NewToken {
        tenant,
        name: name.to_owned(),
        hash: TokenHash([hash; 32]),
        kind: TokenKind::Program,
        permissions: [Permission::WebhooksWrite].into_iter().collect(),
        active: true,
        default: false,
    }
}

#[test]
fn a_tenant_is_found_by_its_dialect_and_key() {
    let given = Given::new();
    let find = |dialect, key: &str| {
        wait(
            given
                .store
                .tenant(DialectName::new(dialect), key.to_owned()),
        )
        .unwrap()
    };
    let tenant = find("pretix", "bigevents").unwrap();
    assert_eq!(
        (tenant.id, tenant.name.as_str()),
        (given.tenant, "BIGEVENTS")
    );
    assert_eq!(find("pretix", "BigEvents"), None);
    assert_eq!(find("openticket", "bigevents"), None);
    given.another_tenant("a");
    let all = wait(given.store.tenants(DialectName::new("pretix"))).unwrap();
    let keys: Vec<&str> = all.iter().map(|tenant| tenant.key.as_str()).collect();
    assert_eq!(keys, ["a", "bigevents"]);
}

#[test]
fn a_token_grants_what_each_of_its_listings_says() {
    let given = Given::new();
    let other = given.another_tenant("other");
    assert!(!wait(given.store.has_tokens()).unwrap());
    let create = |token| wait(given.store.create_token(token, "test".to_owned(), at(0)));
    let version = given.store.version();
    let listed = NewToken {
        default: true,
        ..token(Some(given.tenant), "one", 1)
    };
    create(listed).unwrap();
    assert!(given.store.version() > version);
    let device = NewToken {
        kind: TokenKind::Device,
        permissions: Permissions::default(),
        active: false,
        ..token(Some(other), "two", 1)
    };
    create(device).unwrap();
    create(token(None, "admin", 2)).unwrap();
    assert!(wait(given.store.has_tokens()).unwrap());
    let grants = |hash: u8| wait(given.store.grants(TokenHash([hash; 32]))).unwrap();
    let found = grants(1);
    assert_eq!(found.len(), 2);
    let key = "bigevents".to_owned();
    let tenant = given.store.tenant(DialectName::new("pretix"), key);
    let tenant = wait(tenant).unwrap().unwrap();
    let expected = Grant {
        name: "one".to_owned(),
        tenant: Some(tenant),
        kind: TokenKind::Program,
        permissions: [Permission::WebhooksWrite].into_iter().collect(),
        active: true,
        default: true,
    };
    assert_eq!(found[0], expected);
    let second = &found[1];
    assert_eq!(
        (second.kind, second.active, second.default),
        (TokenKind::Device, false, false)
    );
    assert_eq!(grants(2)[0].tenant, None);
    assert_eq!(grants(3), []);
}

#[test]
fn a_name_or_token_is_taken_once_per_tenant() {
    let given = Given::new();
    let other = given.another_tenant("other");
    let create = |token| wait(given.store.create_token(token, "test".to_owned(), at(0)));
    for tenant in [Some(given.tenant), Some(other), None] {
        create(token(tenant, "one", 1)).unwrap();
        let taken = create(token(tenant, "one", 2)).unwrap_err();
        assert!(matches!(taken, StoreError::Conflict(Conflict::TokenName)));
        let taken = create(token(tenant, "two", 1)).unwrap_err();
        assert!(matches!(taken, StoreError::Conflict(Conflict::TokenHash)));
    }
    assert_eq!(
        wait(given.store.grants(TokenHash([1; 32]))).unwrap().len(),
        3
    );
}

#[test]
fn a_webhook_is_read_as_it_was_written() {
    let given = Given::new();
    let new = NewWebhook {
        filter: filter(&[("paid", None), ("placed", Some(""))]),
        settings: "{\"comment\":\"ä\"}".to_owned(),
        headers: headers("X-Key", "1"),
        disabled: Some(Disablement {
            at: at(3),
            cause: DisableCause::Gone,
        }),
        ..given.new_webhook(&[])
    };
    let created = wait(
        given
            .store
            .create_webhook(new.clone(), "me".to_owned(), at(5)),
    )
    .unwrap();
    let expected = Webhook {
        key: None,
        retries_max: None,
        paused_until: None,
        id: WebhookId(1),
        tenant: given.tenant,
        target_url: new.target_url,
        disabled: new.disabled,
        filter: new.filter,
        settings: new.settings,
        headers: new.headers,
        created_at: at(5),
        updated_at: at(5),
        version: 1,
    };
    assert_eq!(created, expected);
    assert_eq!(given.stored(created.id), expected);
    assert_eq!(given.heard.take(), [Told::Changed(vec![created.id])]);
}

#[test]
fn a_change_names_the_version_it_read() {
    let given = Given::new();
    let read = given.webhook(&[("paid", None)]);
    let version = given.store.version();
    let changed = Webhook {
        target_url: "https://example.org/2".to_owned(),
        ..read.clone()
    };
    let saved = given.save(changed.clone(), 9).unwrap();
    assert_eq!(
        (saved.version, saved.updated_at, saved.created_at),
        (2, at(9), at(0))
    );
    assert_eq!(given.stored(read.id), saved);
    assert!(given.store.version() > version);
    let version = given.store.version();
    assert!(matches!(given.save(changed, 10), Err(StoreError::Stale)));
    let foreign = Webhook {
        tenant: given.another_tenant("other"),
        ..saved.clone()
    };
    assert!(matches!(given.save(foreign, 10), Err(StoreError::Stale)));
    let missing = Webhook {
        id: WebhookId(99),
        ..saved.clone()
    };
    assert!(matches!(given.save(missing, 10), Err(StoreError::Stale)));
    assert_eq!(given.stored(read.id), saved);
    assert_eq!(given.store.version(), version + 1, "only the tenant is new");
}

#[test]
fn disabling_cancels_what_is_pending_and_enabling_does_not_revive_it() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let done = delivery_id(given.notified("1", 1_000), webhook);
    given.settle(settlement(done, 1_100, answered(200), delivered()));
    let owed = delivery_id(given.notified("2", 1_000), webhook);
    given.heard.take();
    given.disable(webhook, 2_000);
    assert_eq!(given.heard.take(), [Told::Changed(vec![webhook])]);
    let cancelled = DeliveryState::Cancelled(CancelCause::WebhookDisabled);
    assert_eq!(
        (given.state(done), given.state(owed)),
        (DeliveryState::Delivered, cancelled)
    );
    assert_eq!(given.story(owed).row.ended_at, Some(at(2_000)));
    given.notified("3", 2_100);
    given.enable(webhook, 3_000);
    assert_eq!(given.state(owed), cancelled);
    assert_eq!(given.log(webhook).len(), 2);
    given.notified("4", 3_100);
    assert_eq!(given.due(webhook, 10, 3_100).0.len(), 1);
}

#[test]
fn the_audit_log_tells_who_changed_what_without_secrets() {
    let given = Given::new();
    let webhook = given.webhook(&[("paid", None), ("paid", Some("democon"))]);
    let changed = Webhook {
        target_url: "https://user:other-secret@example.org/hook".to_owned(),
        settings: "{\"key\":\"secret\"}".to_owned(),
        headers: headers("X", "secret"),
        filter: filter(&[("placed", Some("democon"))]),
        ..webhook
    };
    given.save(changed, 7).unwrap();
    let audit = wait(given.store.audit(given.tenant, 10)).unwrap();
    assert_eq!(audit.len(), 3, "and that the tenant was created");
    assert_eq!(
        (audit[0].action.as_str(), audit[0].at),
        ("webhook.changed", at(7))
    );
    assert_eq!(
        (audit[0].actor.as_str(), audit[0].webhook),
        ("test", Some(WebhookId(1)))
    );
    let expected = concat!(
        r#"{"changed":["target_url","filter","settings","headers"],"#,
        r#""before":{"target_url":"https://***@example.org/hook","enabled":true,"#,
        r#""topics":["paid"],"scopes":["democon"],"any_scope":true},"#,
        r#""after":{"target_url":"https://***@example.org/hook","enabled":true,"#,
        r#""topics":["placed"],"scopes":["democon"],"any_scope":false}}"#,
    );
    assert_eq!(audit[0].detail, expected);
    assert_eq!(audit[1].action, "webhook.created");
    assert!(audit.iter().all(|entry| !entry.detail.contains("secret")));
    assert_eq!(
        wait(given.store.audit(given.tenant, 1)).unwrap(),
        audit[..1]
    );
}

#[test]
fn an_audit_entry_stays_small_however_many_wishes_there_are() {
    let given = Given::new();
    let names: Vec<String> = (0..2_000).map(|n| format!("show-{n:04}")).collect();
    let subscriptions: Vec<_> = names
        .iter()
        .map(|name| ("paid", Some(name.as_str())))
        .collect();
    given.webhook(&subscriptions);
    let audit = wait(given.store.audit(given.tenant, 1)).unwrap();
    assert!(audit[0].detail.len() < 2_000);
    assert!(
        audit[0].detail.contains("and 1950 more"),
        "{}",
        audit[0].detail
    );
}

#[test]
fn webhooks_come_in_pages_by_id() {
    let given = Given::new();
    let ids: Vec<WebhookId> = (0..5).map(|_| given.paid_webhook()).collect();
    given.disable(ids[1], 9);
    given.disable(ids[3], 9);
    let page = |enabled, offset, limit| {
        let query = WebhookQuery {
            enabled,
            newest_first: false,
            offset,
            limit,
        };
        let page = wait(given.store.webhooks(vec![given.tenant], query)).unwrap();
        let found: Vec<WebhookId> = page.webhooks.iter().map(|webhook| webhook.id).collect();
        (page.count, found)
    };
    assert_eq!(page(None, 0, 50), (5, ids.clone()));
    assert_eq!(page(None, 1, 2), (5, ids[1..3].to_vec()));
    assert_eq!(page(None, 9, 2), (5, vec![]));
    assert_eq!(page(None, u64::MAX, usize::MAX), (5, vec![]));
    assert_eq!(page(Some(true), 0, 2), (3, vec![ids[0], ids[2]]));
    assert_eq!(page(Some(false), 1, 2), (2, vec![ids[3]]));
}

#[test]
fn no_tenant_sees_what_is_anothers() {
    let seed = [17; 32];
    let mut rng = SeededRng::from_seed(seed);
    let given = Given::new();
    let tenants: Vec<TenantId> = (0..4)
        .map(|n| given.another_tenant(&n.to_string()))
        .collect();
    let mut webhooks = Vec::new();
    let mut deliveries = Vec::new();
    for number in 0..60 {
        let tenant = tenants[usize::try_from(rng.below(4)).unwrap()];
        let own = given.of(tenant);
        webhooks.push((tenant, own.paid_webhook()));
        let notification = own.notified(&number.to_string(), number);
        for (owner, webhook) in &webhooks {
            if *owner == tenant {
                deliveries.push((tenant, delivery_id(notification, *webhook)));
            }
        }
    }
    let limit = 50;
    for asking in &tenants {
        for (owner, webhook) in &webhooks {
            let own = owner == asking;
            let found = wait(given.store.webhook(*asking, *webhook)).unwrap();
            assert_eq!(found.is_some(), own);
            let query = LogQuery {
                webhook: Some(*webhook),
                limit,
                ..LogQuery::default()
            };
            let page = wait(given.store.log(*asking, query)).unwrap();
            assert_eq!(!page.rows.is_empty(), own);
            assert!(own || page == LogPage::default());
        }
        for (owner, id) in &deliveries {
            let found = wait(given.store.delivery(*asking, *id)).unwrap();
            assert_eq!(found.is_some(), owner == asking);
        }
        let query = WebhookQuery {
            enabled: None,
            newest_first: false,
            offset: 0,
            limit,
        };
        let page = wait(given.store.webhooks(vec![*asking], query)).unwrap();
        let own: BTreeSet<WebhookId> = webhooks
            .iter()
            .filter(|(owner, _)| owner == asking)
            .map(|(_, webhook)| *webhook)
            .collect();
        let found: BTreeSet<WebhookId> = page.webhooks.iter().map(|webhook| webhook.id).collect();
        assert_eq!((page.count, &found), (own.len() as u64, &own));
        let audit = wait(given.store.audit(*asking, 1_000)).unwrap();
        let seen: BTreeSet<WebhookId> = audit.iter().filter_map(|entry| entry.webhook).collect();
        assert_eq!(seen, own);
    }
}

#[test]
fn pages_of_tokens_and_events_go_on_behind_the_last_one() {
    let given = Given::new();
    let other = given.another_tenant("other");
    let mine = Some(given.tenant);
    for (tenant, name, hash) in [
        (mine, "b", 1),
        (mine, "a", 2),
        (mine, "C", 3),
        (Some(other), "d", 4),
        (None, "e", 5),
    ] {
        let new = token(tenant, name, hash);
        wait(given.store.create_token(new, "test".to_owned(), at(0))).unwrap();
    }
    let tokens = |tenant, after: Option<&str>, limit| {
        let found = given
            .store
            .tokens_behind(tenant, after.map(str::to_owned), limit);
        let found = wait(found).unwrap();
        found
            .into_iter()
            .map(|token| token.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(tokens(mine, None, 2), ["C", "a"]);
    assert_eq!(tokens(mine, Some("a"), 2), ["b"]);
    assert_eq!(tokens(None, None, 2), ["e"]);
    let named = |tenant, name: &str| {
        let found = wait(given.store.token(tenant, name.to_owned())).unwrap();
        found.map(|token| token.tenant)
    };
    assert_eq!(named(mine, "a"), Some(mine));
    assert_eq!(named(mine, "A"), None);
    assert_eq!(named(mine, "d"), None);
    assert_eq!(named(None, "e"), Some(None));
    let event = |slug: &str| Event {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        date_from: None,
    };
    let declared = Declaration {
        events: ["b", "a", "C"].map(event).into(),
        ..declaration("bigevents")
    };
    wait(given.store.apply(vec![declared], "test".to_owned(), at(1))).unwrap();
    let events = |tenant, after: Option<&str>| {
        let found = given
            .store
            .events_behind(tenant, after.map(str::to_owned), 2);
        let found = wait(found).unwrap();
        found
            .into_iter()
            .map(|event| event.slug)
            .collect::<Vec<_>>()
    };
    assert_eq!(events(given.tenant, None), ["C", "a"]);
    assert_eq!(events(given.tenant, Some("a")), ["b"]);
    assert_eq!(events(other, None), [""; 0]);
}
