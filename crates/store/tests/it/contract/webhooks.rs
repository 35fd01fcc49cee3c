//! Webhooks with keys of their own, deleted ones, paused ones, and retention by tenant.

use std::collections::BTreeMap;

use model::contract::{Conflict, ReplayResult, ReplayScope, Settlement, StoreError};
use model::declared_secrets::DeclaredSecrets;
use model::delivery::{CancelCause, DeliveryState, NextState};
use model::id::{TenantId, WebhookId};
use model::limits::WEBHOOKS_MAX;
use model::notification::{AcceptResult, NewNotification};
use model::query::{ChangeKind, Declaration, DeclaredWebhook, WebhookDefaults, WebhookQuery};
use model::tenant::DialectName;
use model::time::TimeBounds;
use model::webhook::{DisableCause, Disablement, NewWebhook, Webhook};

use super::harness::{
    Given, answered, at, declaration, delivered, delivery_id, ended, filter, headers, retry,
    settlement, wait,
};

impl Given {
    fn keyed(&self, tenant: TenantId, key: &str) -> Result<Webhook, StoreError> {
        let new = NewWebhook {
            tenant,
            key: Some(key.to_owned()),
            retries_max: Some(3),
            ..self.new_webhook(&[("paid", None)])
        };
        wait(self.store.create_webhook(new, "test".to_owned(), at(0)))
    }

    fn found(&self, tenants: &[TenantId], key: &str) -> Option<WebhookId> {
        let found = self.store.webhook_by_key(tenants.to_vec(), key.to_owned());
        wait(found).unwrap().map(|webhook| webhook.id)
    }

    fn delete(&self, webhook: Webhook, time: i64) -> Result<Webhook, StoreError> {
        let deleted = Disablement {
            at: at(time),
            cause: DisableCause::Deleted,
        };
        let webhook = Webhook {
            disabled: Some(deleted),
            ..webhook
        };
        self.save(webhook, time)
    }

    fn listed(&self, tenants: &[TenantId], newest_first: bool, offset: u64) -> (u64, Vec<i64>) {
        let query = WebhookQuery {
            enabled: None,
            newest_first,
            offset,
            limit: 3,
        };
        let page = wait(self.store.webhooks(tenants.to_vec(), query)).unwrap();
        let ids = page.webhooks.iter().map(|webhook| webhook.id.0).collect();
        (page.count, ids)
    }

    fn paused_until(&self, webhook: WebhookId) -> Option<i64> {
        let targets = wait(self.store.webhook_targets(self.epoch(), vec![webhook])).unwrap();
        targets[0].paused_until.map(|at| at.as_millis())
    }
}

fn paused(until: i64) -> NextState {
    NextState {
        pauses_until: Some(at(until)),
        ..retry(until)
    }
}

#[test]
fn a_key_names_one_webhook_of_a_tenant_for_ever() {
    let given = Given::new();
    let (own, other) = (given.tenant, given.another_tenant("other"));
    let webhook = given.keyed(own, "a").unwrap();
    let taken = given.keyed(own, "a").unwrap_err();
    assert!(matches!(taken, StoreError::Conflict(Conflict::WebhookKey)));
    let namesake = given.keyed(other, "a").unwrap();
    assert_eq!(given.found(&[own], "a"), Some(webhook.id));
    assert_eq!(given.found(&[other, own], "a"), Some(namesake.id));
    assert_eq!(given.found(&[], "a"), None);
    assert_eq!(given.found(&[own], "b"), None);
    let renamed = Webhook {
        key: Some("b".to_owned()),
        ..webhook.clone()
    };
    assert_eq!(given.save(renamed, 5).unwrap().key, webhook.key);
    let target = &wait(given.store.webhook_targets(given.epoch(), vec![webhook.id])).unwrap()[0];
    assert_eq!(
        (target.key.as_deref(), target.retries_max),
        (Some("a"), Some(3))
    );
    given.delete(given.stored(webhook.id), 6).unwrap();
    assert_eq!(given.found(&[own], "a"), None);
    let taken = given.keyed(own, "a").unwrap_err();
    assert!(matches!(taken, StoreError::Conflict(Conflict::WebhookKey)));
}

#[test]
fn a_webhook_without_a_key_is_given_none_that_another_has() {
    let given = Given::new();
    let keyed = NewWebhook {
        key: Some("crm".to_owned()),
        ..given.new_webhook(&[("paid", None)])
    };
    wait(given.store.create_webhook(keyed, "test".to_owned(), at(1))).unwrap();
    let bare = given.webhook(&[("paid", None)]);
    let with_key = |key: &str| Webhook {
        key: Some(key.to_owned()),
        ..bare.clone()
    };
    let taken = given.save(with_key("crm"), 2).unwrap_err();
    assert!(matches!(taken, StoreError::Conflict(Conflict::WebhookKey)));
    assert_eq!(given.stored(bare.id), bare);
    let saved = given.save(with_key("other"), 3).unwrap();
    assert_eq!(saved.key.as_deref(), Some("other"));
}

#[test]
fn webhooks_of_several_tenants_are_listed_in_one_order() {
    let given = Given::new();
    let (one, two) = (given.tenant, given.another_tenant("other"));
    let ids: Vec<i64> = (0..7)
        .map(|n| given.keyed([one, two][n % 2], &n.to_string()).unwrap().id.0)
        .collect();
    assert_eq!(given.listed(&[one, two], false, 0), (7, ids[..3].to_vec()));
    assert_eq!(given.listed(&[one, two], false, 6), (7, ids[6..].to_vec()));
    let newest = given.listed(&[one, two], true, 1).1;
    assert_eq!(newest, [ids[5], ids[4], ids[3]]);
    assert_eq!(
        given.listed(&[two], true, 0),
        (3, vec![ids[5], ids[3], ids[1]])
    );
    assert_eq!(given.listed(&[one, two], true, u64::MAX), (7, Vec::new()));
}

#[test]
fn a_tenant_has_as_many_webhooks_as_it_may_and_no_more() {
    let given = Given::new();
    let (own, other) = (given.tenant, given.another_tenant("other"));
    let made = |tenant, number: usize| given.keyed(tenant, &number.to_string());
    for number in 1..WEBHOOKS_MAX {
        made(own, number).unwrap();
    }
    let last = made(own, WEBHOOKS_MAX).unwrap();
    let refused = made(own, WEBHOOKS_MAX + 1);
    assert!(matches!(refused, Err(StoreError::TooManyWebhooks)));
    made(other, 1).unwrap();
    // A disabled one counts, a deleted one does not.
    let off = Disablement {
        at: at(1),
        cause: DisableCause::Requested,
    };
    let last = given.save(
        Webhook {
            disabled: Some(off),
            ..last
        },
        1,
    );
    let refused = made(own, WEBHOOKS_MAX + 1);
    assert!(matches!(refused, Err(StoreError::TooManyWebhooks)));
    given.delete(last.unwrap(), 2).unwrap();
    made(own, WEBHOOKS_MAX + 1).unwrap();
    let refused = made(own, WEBHOOKS_MAX + 2);
    assert!(matches!(refused, Err(StoreError::TooManyWebhooks)));
    let declared = DeclaredWebhook {
        key: None,
        target_url: "https://one.more.example.org/".to_owned(),
        enabled: None,
        filter: filter(&[("paid", None)]),
        settings: "{}".to_owned(),
        headers: None,
        retries_max: None,
        fresh: WebhookDefaults::default(),
        secrets: DeclaredSecrets::default(),
        limits: None,
        cloud_events: None,
    };
    let declaration = Declaration {
        webhooks: vec![declared],
        ..declaration("bigevents")
    };
    let applied = given
        .store
        .apply(vec![declaration], "test".to_owned(), at(3));
    assert!(matches!(wait(applied), Err(StoreError::TooManyWebhooks)));
    assert_eq!(
        given.listed(&[own], true, 0).0,
        u64::try_from(WEBHOOKS_MAX).unwrap()
    );
}

#[test]
fn a_deleted_webhook_is_gone_for_everybody_and_its_log_stays() {
    let given = Given::new();
    let webhook = given.keyed(given.tenant, "a").unwrap();
    let (id, tenants) = (webhook.id, [given.tenant]);
    let owed = delivery_id(given.notified("1", 1_000), id);
    given.delete(webhook.clone(), 2_000).unwrap();
    let cause = CancelCause::WebhookDeleted;
    assert_eq!(given.state(owed), DeliveryState::Cancelled(cause));
    assert_eq!(given.listed(&tenants, false, 0), (0, Vec::new()));
    assert_eq!(wait(given.store.webhook(given.tenant, id)).unwrap(), None);
    let again = given.accept(given.new_notification("2", 3_000));
    assert!(matches!(
        again,
        AcceptResult::Accepted { deliveries: 0, .. }
    ));
    assert_eq!(
        given.replay(id, ReplayScope::One(owed), 3_000),
        ReplayResult::Unknown
    );
    for back in [
        webhook.clone(),
        Webhook {
            version: 2,
            ..webhook
        },
    ] {
        assert!(matches!(given.save(back, 4_000), Err(StoreError::Stale)));
    }
    assert_eq!(given.log(id)[0].id, owed);
    let audit = wait(given.store.audit(given.tenant, 1)).unwrap();
    assert_eq!(audit[0].action, "webhook.deleted");
    // The attempt in flight is written, and counts.
    given.settle(settlement(owed, 2_500, answered(200), delivered()));
    assert_eq!(given.state(owed), DeliveryState::Delivered);
}

#[test]
fn a_pause_grows_and_ends_with_the_target_it_was_asked_for() {
    let given = Given::new();
    let id = given.paid_webhook();
    let notified = |key: &str| delivery_id(given.notified(key, 1_000), id);
    given.settle(settlement(
        notified("1"),
        1_100,
        answered(503),
        paused(9_000),
    ));
    assert_eq!(given.paused_until(id), Some(9_000));
    given.settle(settlement(
        notified("2"),
        1_200,
        answered(503),
        paused(5_000),
    ));
    assert_eq!(given.paused_until(id), Some(9_000));
    let webhook = given.stored(id);
    assert_eq!(webhook.paused_until, Some(at(9_000)));
    let settings = Webhook {
        settings: "{\"a\":1}".to_owned(),
        paused_until: None,
        ..webhook
    };
    given.save(settings, 2_000).unwrap();
    assert_eq!(given.paused_until(id), Some(9_000));
    let moved = Webhook {
        target_url: "https://other.example.org/".to_owned(),
        ..given.stored(id)
    };
    given.save(moved, 3_000).unwrap();
    assert_eq!(given.paused_until(id), None);
    // It was asked for by whoever was there before, whatever the clock said when.
    let asked = settlement(notified("3"), 3_100, answered(503), paused(9_000));
    given.settle(asked);
    assert_eq!(given.paused_until(id), None);
    let asked = settlement(notified("4"), 2_900, answered(503), paused(9_000));
    given.settle(Settlement {
        webhook_version: given.stored(id).version,
        ..asked
    });
    assert_eq!(given.paused_until(id), Some(9_000));
}

#[test]
fn asking_for_what_is_exhausted_leaves_the_rest_alone() {
    let given = Given::new();
    let id = given.paid_webhook();
    let [tried_out, waiting, done] = ["1", "2", "3"].map(|key| {
        let next = match key {
            "1" => ended(DeliveryState::Failed),
            "2" => retry(90_000),
            _ => delivered(),
        };
        let delivery = delivery_id(given.notified(key, 1_000), id);
        given.settle(settlement(delivery, 1_100, answered(500), next));
        delivery
    });
    let which = ReplayScope::Failed {
        began_at: at(2_000),
    };
    let done_once = ReplayResult::Done {
        count: 1,
        more: false,
    };
    assert_eq!(given.replay(id, which.clone(), 2_000), done_once);
    let again = given.replay(id, which.clone(), 2_000);
    assert!(matches!(again, ReplayResult::Done { count: 0, .. }));
    let due_at = |id| given.story(id).row.due_at.map(|at| at.as_millis());
    assert_eq!(due_at(tried_out), Some(2_000));
    assert_eq!(due_at(waiting), Some(90_000));
    assert_eq!(given.state(done), DeliveryState::Delivered);
    given.disable(id, 3_000);
    assert_eq!(given.replay(id, which, 4_000), ReplayResult::Disabled);
}

#[test]
fn every_dialect_keeps_its_log_for_a_time_of_its_own() {
    let given = Given::new();
    let (short, unknown) = (given.tenant_of("short", "s"), given.tenant_of("later", "l"));
    let mut owed = Vec::new();
    for tenant in [given.tenant, short, unknown] {
        let webhook = given.keyed(tenant, "w").unwrap().id;
        let notified = |key: &str, time, wanted: bool| {
            let mut new = NewNotification {
                tenant,
                ..given.new_notification(key, time)
            };
            if !wanted {
                new.match_keys.clear();
            }
            match given.accept(new) {
                AcceptResult::Accepted { id, .. } => id.0,
                AcceptResult::Duplicate { .. } | AcceptResult::Conflict { .. } => unreachable!(),
            }
        };
        let id = delivery_id(notified("1", 1_000, true), webhook);
        given.settle(settlement(id, 1_000, answered(200), delivered()));
        notified("nobody's", 1_000, false);
        owed.push((tenant, id));
    }
    let logs = |before: &[(&str, i64)]| {
        let before: BTreeMap<_, _> = before
            .iter()
            .map(|(dialect, time)| (DialectName::new(dialect), at(*time)))
            .collect();
        assert!(
            !wait(
                given
                    .store
                    .prune(given.epoch(), before, TimeBounds::exactly(at(0)))
            )
            .unwrap()
        );
        let there = owed.iter().map(|(tenant, id)| {
            let log = wait(given.store.delivery(*tenant, *id)).unwrap().is_some();
            let nobodys = NewNotification {
                tenant: *tenant,
                match_keys: Vec::new(),
                ..given.new_notification("nobody's", 1_000)
            };
            let known = matches!(given.accept(nobodys), AcceptResult::Duplicate { .. });
            assert_eq!(log, known);
            log
        });
        there.collect::<Vec<_>>()
    };
    assert_eq!(logs(&[("pretix", 500), ("short", 900)]), [true, true, true]);
    assert_eq!(
        logs(&[("pretix", 500), ("short", 9_000)]),
        [true, false, true]
    );
}

#[test]
fn the_same_content_has_the_same_digest() {
    let given = Given::new();
    let new = |digest| NewNotification {
        digest,
        ..given.new_notification("1", 1_000)
    };
    given.accept(new(Some(7)));
    let repeated = given.accept(new(Some(7)));
    assert!(matches!(repeated, AcceptResult::Duplicate { .. }));
    for other in [Some(8), None] {
        let contradicted = given.accept(new(other));
        assert!(matches!(contradicted, AcceptResult::Conflict { .. }));
    }
}

#[test]
fn a_declared_webhook_keeps_what_was_made_for_it_and_comes_back_by_its_key() {
    let given = Given::new();
    let declared = |key: Option<&str>, url: &str, nonce: &str| DeclaredWebhook {
        key: key.map(str::to_owned),
        target_url: url.to_owned(),
        enabled: None,
        filter: filter(&[("paid", None)]),
        settings: "{}".to_owned(),
        headers: None,
        retries_max: None,
        secrets: DeclaredSecrets::default(),
        limits: None,
        cloud_events: None,
        fresh: WebhookDefaults {
            key: Some(nonce.to_owned()),
            headers: headers("X-Nonce", nonce),
        },
    };
    let apply = |webhooks: Vec<DeclaredWebhook>, time| {
        let declaration = Declaration {
            webhooks,
            ..declaration("bigevents")
        };
        let applied = given
            .store
            .apply(vec![declaration], "test".to_owned(), at(time));
        wait(applied).unwrap().pop().unwrap().change
    };
    let a = "https://a.example.org/";
    assert_eq!(apply(vec![declared(None, a, "n1")], 1), ChangeKind::Created);
    let made = given.stored(WebhookId(1));
    assert_eq!(made.key.as_deref(), Some("n1"));
    assert_eq!(
        apply(vec![declared(None, a, "n2")], 2),
        ChangeKind::Unchanged
    );
    // By its key it is found wherever it goes, and others of its URL are left to others.
    let moved = declared(Some("n1"), "https://b.example.org/", "n3");
    assert_eq!(apply(vec![moved.clone()], 3), ChangeKind::Changed);
    let stored = given.stored(WebhookId(1));
    assert_eq!(stored.target_url, "https://b.example.org/");
    assert_eq!(stored.headers, headers("X-Nonce", "n1"));
    let given_headers = DeclaredWebhook {
        headers: Some(headers("X-Nonce", "own")),
        ..moved
    };
    assert_eq!(apply(vec![given_headers.clone()], 4), ChangeKind::Changed);
    given.delete(given.stored(WebhookId(1)), 5).unwrap();
    assert_eq!(apply(vec![given_headers.clone()], 6), ChangeKind::Unchanged);
    assert_eq!(given.listed(&[given.tenant], false, 0).0, 0);
    let asked_for = DeclaredWebhook {
        enabled: Some(true),
        ..given_headers
    };
    assert_eq!(apply(vec![asked_for], 6), ChangeKind::Changed);
    let back = given.stored(WebhookId(1));
    assert!(back.enabled());
    assert_eq!(back.headers, headers("X-Nonce", "own"));
    // A deleted one without a key is created again.
    given.delete(back, 7).unwrap();
    let anew = declared(None, "https://b.example.org/", "n4");
    assert_eq!(apply(vec![anew], 8), ChangeKind::Created);
    assert_eq!(given.stored(WebhookId(2)).key.as_deref(), Some("n4"));
}

#[test]
fn what_was_pending_when_a_webhook_was_disabled_is_cancelled_before_it_is_enabled() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let step = model::limits::BULK_STEP_MAX;
    let ids: Vec<i64> = (0..2 * step + 1)
        .map(|number| given.notified(&number.to_string(), 0))
        .collect();
    given.disable(webhook, 1);
    let enabled = Webhook {
        disabled: None,
        ..given.stored(webhook)
    };
    // More is left than one step, so it has to wait; and nothing has changed.
    let refused = given.save(enabled.clone(), 2);
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    assert!(!given.stored(webhook).enabled());
    assert_eq!(
        wait(given.store.cancel_pending(given.epoch(), webhook, at(3))).unwrap(),
        step
    );
    // The one that is left goes with the change.
    given.save(enabled, 4).unwrap();
    assert_eq!(
        wait(given.store.pending_webhooks(given.epoch(), None, 10)).unwrap(),
        []
    );
    let cancelled = DeliveryState::Cancelled(CancelCause::WebhookDisabled);
    for id in [ids[0], ids[step], ids[2 * step]] {
        assert_eq!(given.state(delivery_id(id, webhook)), cancelled);
    }
    // What is accepted from then on is owed.
    let fresh = given.notified("fresh", 5);
    assert_eq!(
        given.state(delivery_id(fresh, webhook)),
        DeliveryState::Pending
    );
}
