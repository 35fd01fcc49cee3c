//! Limits of a webhook's own: chosen, shown, and part of what calling it takes.

use model::call_limits::{CallLimits, CallRate};
use model::contract::StoreError;
use model::id::{TenantId, WebhookId};

use super::harness::{Given, at, wait};

pub(crate) fn limits() -> CallLimits {
    CallLimits {
        calls_at_a_time: Some(3),
        calls_per_second: CallRate::parse("0.2"),
        time_limit_ms: Some(5_000),
        schedule: Some("patient".to_owned()),
    }
}

impl Given {
    pub(crate) fn limit(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        limits: CallLimits,
    ) -> Result<(), StoreError> {
        let actor = "test".to_owned();
        let set = self
            .store
            .set_call_limits(tenant, webhook, limits, actor, at(10));
        wait(set)
    }
}

#[test]
fn limits_are_shown_and_come_with_what_calling_the_webhook_takes() {
    let given = Given::new();
    let (webhook, plain) = (given.paid_webhook(), given.paid_webhook());
    let tenant = given.tenant;
    let audited = || wait(given.store.audit(tenant, 99)).unwrap().len();
    let mut entries = audited();
    let fast = CallLimits {
        calls_per_second: CallRate::parse("1000"),
        ..CallLimits::default()
    };
    for (chosen, changes) in [
        (limits(), true),
        (limits(), false),
        (fast, true),
        (CallLimits::default(), true),
    ] {
        given.limit(tenant, webhook, chosen.clone()).unwrap();
        let shown = wait(given.store.call_limits(tenant, webhook)).unwrap();
        assert_eq!(shown, chosen);
        let targets = given
            .store
            .webhook_targets(given.epoch(), vec![webhook, plain]);
        let targets = wait(targets).unwrap();
        assert_eq!(targets[0].limits, chosen);
        assert!(targets[1].limits.is_empty());
        entries += usize::from(changes);
        assert_eq!(audited(), entries);
    }
    let newest = &wait(given.store.audit(tenant, 1)).unwrap()[0];
    assert_eq!(newest.action, "webhook.limits");
    let detail: serde_json::Value = serde_json::from_str(&newest.detail).unwrap();
    assert!(!detail["before"]["calls_per_second"].is_null(), "{detail}");
    assert!(detail["after"]["calls_per_second"].is_null(), "{detail}");
}

#[test]
fn a_tenant_limits_and_sees_its_own_webhooks_only() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given.limit(given.tenant, webhook, limits()).unwrap();
    let other = given.another_tenant("other");
    let seen = wait(given.store.call_limits(other, webhook)).unwrap();
    assert!(seen.is_empty());
    let refused = given.limit(other, webhook, CallLimits::default());
    assert!(matches!(refused.unwrap_err(), StoreError::Stale));
    let nowhere = given.limit(given.tenant, WebhookId(99), limits());
    assert!(matches!(nowhere.unwrap_err(), StoreError::Stale));
}
