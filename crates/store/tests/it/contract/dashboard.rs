//! What the dashboard asks about tenants, webhooks, tokens and the audit log.

use model::dashboard::{AuditQuery, TenantQuery, TokenRow, WebhookSearch};
use model::id::{TenantId, TokenId, WebhookId};
use model::query::Declaration;
use model::tenant::{NewToken, Permission, TokenHash, TokenKind};
use model::webhook::NewWebhook;
use serde_json::json;

use super::harness::{
    Given, answered, at, declaration, delivered, delivery_id, read, settlement, wait,
};

fn token(tenant: Option<TenantId>, name: &str) -> NewToken {
    NewToken {
        tenant,
        name: name.to_owned(),
        hash: TokenHash::of(name),
        kind: TokenKind::Program,
        permissions: [Permission::WebhooksRead].into_iter().collect(),
        active: true,
        default: false,
    }
}

fn create(given: &Given, new: NewToken) {
    let created = given.store.create_token(new, "anna".to_owned(), at(10));
    wait(created).unwrap();
}

fn tokens(given: &Given, tenant: Option<TenantId>) -> Vec<TokenRow> {
    wait(given.store.tokens(tenant)).unwrap()
}

fn revoke(given: &Given, tenant: Option<TenantId>, id: TokenId) -> bool {
    let revoked = given
        .store
        .revoke_token(tenant, id, "anna".to_owned(), at(20));
    wait(revoked).unwrap()
}

fn find(given: &Given, query: &TenantQuery) -> Vec<String> {
    let found = wait(given.store.find_tenants(query.clone())).unwrap();
    found.into_iter().map(|tenant| tenant.name).collect()
}

fn all_tenants() -> TenantQuery {
    TenantQuery {
        among: None,
        but_dialect: None,
        text: String::new(),
        after: None,
        limit: 50,
    }
}

#[test]
fn tenants_are_found_by_name_and_key_among_those_one_may_see() {
    let given = Given::new();
    let names = ["beta", "Alpha", "alpha", "Gamma"];
    for (n, name) in names.into_iter().enumerate() {
        let declared = Declaration {
            name: Some(name.to_owned()),
            ..declaration(&format!("key{n}"))
        };
        wait(given.store.apply(vec![declared], "test".to_owned(), at(0))).unwrap();
    }
    let sorted = ["Alpha", "alpha", "beta", "BIGEVENTS", "Gamma"];
    assert_eq!(find(&given, &all_tenants()), sorted);
    let all = wait(given.store.find_tenants(all_tenants())).unwrap();
    for among in [
        None,
        Some(all.iter().rev().map(|tenant| tenant.id).collect()),
    ] {
        let query = TenantQuery {
            among,
            ..all_tenants()
        };
        assert_eq!(find(&given, &query), sorted);
        let text = |text: &str| TenantQuery {
            text: text.to_owned(),
            ..query.clone()
        };
        assert_eq!(find(&given, &text("ALPH")), ["Alpha", "alpha"]);
        assert_eq!(find(&given, &text("KEY3")), ["Gamma"]);
        for hostile in ["%", "_", "' or 1=1 --", "\0"] {
            assert_eq!(find(&given, &text(hostile)), [""; 0], "{hostile:?}");
        }
        let mut walked = Vec::new();
        let mut after = None;
        loop {
            let page = TenantQuery {
                after,
                limit: 2,
                ..query.clone()
            };
            let page = wait(given.store.find_tenants(page)).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            walked.extend(page.into_iter().map(|tenant| tenant.name));
        }
        assert_eq!(walked, sorted);
    }
    let none = TenantQuery {
        among: Some(Vec::new()),
        but_dialect: None,
        ..all_tenants()
    };
    assert_eq!(find(&given, &none), [""; 0]);
    let some = TenantQuery {
        among: Some(vec![all[2].id, TenantId(99), all[2].id]),
        but_dialect: None,
        ..all_tenants()
    };
    assert_eq!(find(&given, &some), ["beta"]);
}

#[test]
fn webhooks_are_searched_by_what_is_shown_of_their_url_and_by_settings() {
    let given = Given::new();
    let new = |path: &str, settings: &str| NewWebhook {
        target_url: format!("https://user:secret@example.org/{path}"),
        settings: settings.to_owned(),
        ..given.new_webhook(&[])
    };
    let create = |new| {
        let created = given.store.create_webhook(new, "test".to_owned(), at(0));
        wait(created).unwrap().id
    };
    let ids = [
        create(new("Erp", "{}")),
        create(new("mail", "{\"comment\": \"the ERP\"}")),
        create(new("mail", "{}")),
    ];
    let search = |tenant, text: &str, older_than, limit| {
        let query = WebhookSearch {
            text: text.to_owned(),
            older_than,
            limit,
        };
        let found = wait(given.store.find_webhooks(tenant, query)).unwrap();
        let webhooks = found.webhooks.into_iter().map(|webhook| webhook.id);
        (webhooks.collect::<Vec<_>>(), found.older)
    };
    let mine = given.tenant;
    assert_eq!(
        search(mine, "", None, 50),
        (vec![ids[2], ids[1], ids[0]], None)
    );
    assert_eq!(search(mine, "erp", None, 50), (vec![ids[1], ids[0]], None));
    assert_eq!(search(mine, "secret", None, 50), (vec![], None));
    assert_eq!(
        search(mine, "", None, 2),
        (vec![ids[2], ids[1]], Some(ids[1]))
    );
    assert_eq!(search(mine, "", Some(ids[1]), 2), (vec![ids[0]], None));
    let other = given.another_tenant("other");
    assert_eq!(search(other, "", None, 50), (vec![], None));
    let deleted = model::webhook::Webhook {
        disabled: Some(model::webhook::Disablement {
            at: at(1),
            cause: model::webhook::DisableCause::Deleted,
        }),
        ..given.stored(ids[2])
    };
    given.save(deleted, 1).unwrap();
    assert_eq!(search(mine, "mail", None, 50), (vec![ids[1]], None));
}

#[test]
fn tokens_are_listed_for_their_owner_and_revoked_for_good() {
    let given = Given::new();
    let other = given.another_tenant("other");
    let mine = Some(given.tenant);
    create(&given, token(mine, "shop"));
    create(&given, token(mine, "door"));
    create(&given, token(None, "root"));
    let names = |tenant| {
        let rows = tokens(&given, tenant);
        rows.into_iter().map(|row| row.name).collect::<Vec<_>>()
    };
    assert_eq!(names(mine), ["door", "shop"]);
    assert_eq!(names(Some(other)), [""; 0]);
    assert_eq!(names(None), ["root"]);
    let door = tokens(&given, mine).remove(0);
    assert_eq!((door.tenant, door.created_at), (mine, at(10)));
    assert_eq!((door.active, door.used_at), (true, None));
    let version = given.store.version();
    assert!(!revoke(&given, Some(other), door.id));
    assert!(!revoke(&given, None, door.id));
    assert!(!revoke(&given, mine, TokenId(99)));
    assert_eq!(given.store.version(), version);
    assert!(revoke(&given, mine, door.id));
    assert!(given.store.version() > version, "caches forget it");
    assert!(!tokens(&given, mine)[0].active);
    let grants = wait(given.store.grants(TokenHash::of("door"))).unwrap();
    assert!(!grants[0].active);
    assert!(revoke(&given, mine, door.id));
    let root = tokens(&given, None).remove(0);
    assert!(revoke(&given, None, root.id));
    let entries = wait(given.store.audit(given.tenant, 3)).unwrap();
    let actions: Vec<_> = entries
        .iter()
        .map(|entry| (entry.action.as_str(), entry.actor.as_str()))
        .collect();
    let created = ("token.created", "anna");
    assert_eq!(actions, [("token.revoked", "anna"), created, created]);
    let detail = json!({ "name": "door", "before": "active", "after": "revoked" });
    assert_eq!(read(&entries[0].detail), detail);
}

#[test]
fn the_use_of_a_token_is_noted_and_changes_nothing_else() {
    let given = Given::new();
    create(&given, token(Some(given.tenant), "shop"));
    let version = given.store.version();
    let uses = vec![
        (TokenHash::of("shop"), at(500)),
        (TokenHash::of("shop"), at(400)),
        (TokenHash::of("unknown"), at(600)),
    ];
    wait(given.store.note_uses(uses)).unwrap();
    wait(given.store.note_uses(Vec::new())).unwrap();
    let used_at = tokens(&given, Some(given.tenant))[0].used_at;
    assert_eq!(used_at, Some(at(500)));
    // A clock that was ahead does not have the last word.
    for time in [40_000_000, 600] {
        let uses = vec![(TokenHash::of("shop"), at(time))];
        wait(given.store.note_uses(uses)).unwrap();
    }
    let used_at = tokens(&given, Some(given.tenant))[0].used_at;
    assert_eq!(used_at, Some(at(600)));
    assert_eq!(given.store.version(), version);
}

#[test]
fn the_audit_log_comes_in_pages_and_by_webhook() {
    let given = Given::new();
    let [one, other] = [given.paid_webhook(), given.paid_webhook()];
    for n in 0..3 {
        given.disable(one, 10 + n);
        given.enable(one, 10 + n);
    }
    let page = |tenant, webhook, older_than, limit| {
        let query = AuditQuery {
            webhook,
            older_than,
            limit,
        };
        wait(given.store.audit_page(tenant, query)).unwrap()
    };
    let mine = given.tenant;
    let all = page(mine, None, None, 50);
    assert_eq!(all.len(), 9);
    assert!(all.is_sorted_by(|one, next| one.number > next.number));
    let whole = wait(given.store.audit(mine, 50)).unwrap();
    assert!(all.iter().map(|row| &row.entry).eq(&whole));
    let of_one = page(mine, Some(one), None, 50);
    assert_eq!(of_one.len(), 7);
    assert_eq!(page(mine, Some(other), None, 50).len(), 1);
    let rest = page(mine, Some(one), Some(of_one[2].number), 3);
    assert_eq!(rest, of_one[3..6]);
    let strangers = given.another_tenant("other");
    let theirs = page(strangers, None, None, 50);
    assert_eq!(theirs.len(), 1);
    assert_eq!(theirs[0].entry.action, "tenant.created");
    assert_eq!(page(strangers, Some(one), None, 50), []);
    assert_eq!(page(mine, Some(WebhookId(99)), Some(i64::MIN), 50), []);
}

#[test]
fn a_tenant_may_keep_its_log_longer_or_shorter_than_its_dialect() {
    let given = Given::new();
    let longer = given.another_tenant("longer");
    let shorter = given.another_tenant("shorter");
    let mut rows = Vec::new();
    for tenant in [given.tenant, longer, shorter] {
        let new = NewWebhook {
            tenant,
            ..given.new_webhook(&[("paid", None)])
        };
        let webhook = given.store.create_webhook(new, "test".to_owned(), at(0));
        let webhook = wait(webhook).unwrap().id;
        for (key, time, pairs) in [
            ("old", 100, true),
            ("nobodys", 101, false),
            ("new", 500, true),
        ] {
            let mut new = given.new_notification(key, time);
            new.tenant = tenant;
            if !pairs {
                new.match_keys.clear();
            }
            given.accept(new);
            let id = given.store.notification_by_key(tenant, key.to_owned());
            let id = wait(id).unwrap().unwrap().id;
            let mut settled =
                settlement(delivery_id(id.0, webhook), time, answered(200), delivered());
            settled.attempts = 0;
            given.settle_again(settled);
            rows.push((tenant, id));
        }
    }
    let keep = |tenant, kept| {
        let kept = given
            .store
            .set_retention(tenant, kept, "anna".to_owned(), at(50));
        wait(kept).unwrap();
    };
    keep(longer, Some(2_000));
    keep(shorter, Some(100));
    keep(shorter, Some(100));
    keep(TenantId(99), Some(1));
    let settings = |tenant| wait(given.store.tenant_settings(tenant)).unwrap();
    assert_eq!(settings(longer).unwrap().retention_ms, Some(2_000));
    assert_eq!(settings(given.tenant).unwrap().retention_ms, None);
    assert_eq!(settings(TenantId(99)), None);
    while wait(given.prune(300, 1_000)).unwrap() {}
    let left = |tenant| {
        let of_tenant = rows.iter().filter(|(owner, _)| *owner == tenant);
        let there = of_tenant.filter(|(_, id)| {
            wait(given.store.notification(tenant, *id))
                .unwrap()
                .is_some()
        });
        there.count()
    };
    assert_eq!([given.tenant, longer, shorter].map(left), [1, 3, 0]);
    let entries = wait(given.store.audit(shorter, 10)).unwrap();
    assert_eq!(entries.len(), 3, "one change, one webhook, the tenant");
    assert_eq!(entries[0].action, "retention.changed");
    let detail = json!({ "before_ms": null, "after_ms": 100 });
    assert_eq!(read(&entries[0].detail), detail);
    keep(shorter, None);
    assert_eq!(settings(shorter).unwrap().retention_ms, None);
}

#[test]
fn whoever_follows_the_log_is_told_that_something_was_written_and_not_that_it_was_read() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let changes = || given.store.changes();
    let before = changes();
    let id = delivery_id(given.notified("a", 10), webhook);
    let accepted = changes();
    assert!(accepted > before);
    given.settle(settlement(id, 20, answered(200), delivered()));
    let settled = changes();
    assert!(settled > accepted);
    given.log(webhook);
    given.story(id);
    assert_eq!(changes(), settled);
}
