//! Whether calls of a webhook are CloudEvents: chosen, shown, and part of what calling it takes.

use model::cloud_event::{CloudEventChoice, CloudEventMode};
use model::contract::StoreError;
use model::id::{TenantId, WebhookId};

use super::harness::{Given, at, wait};

impl Given {
    pub(crate) fn send_cloud_events(
        &self,
        webhook: WebhookId,
        mode: Option<CloudEventMode>,
        time: i64,
    ) -> Result<(), StoreError> {
        self.choose(self.tenant, webhook, mode.map(without), time)
    }

    pub(crate) fn choose(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        choice: Option<CloudEventChoice>,
        time: i64,
    ) -> Result<(), StoreError> {
        let actor = "test".to_owned();
        wait(
            self.store
                .set_cloud_events(tenant, webhook, choice, actor, at(time)),
        )
    }
}

/// A mode without a handshake.
fn without(mode: CloudEventMode) -> CloudEventChoice {
    CloudEventChoice {
        mode,
        handshake: false,
    }
}

#[test]
fn a_mode_is_shown_and_comes_with_what_calling_the_webhook_takes() {
    let given = Given::new();
    let (webhook, plain) = (given.paid_webhook(), given.paid_webhook());
    let tenant = given.tenant;
    let audited = || wait(given.store.audit(tenant, 99)).unwrap().len();
    let mut entries = audited();
    for (mode, changes) in [
        (Some(CloudEventMode::Binary), true),
        (Some(CloudEventMode::Structured), true),
        (Some(CloudEventMode::Structured), false),
        (None, true),
    ] {
        given.send_cloud_events(webhook, mode, 10).unwrap();
        let shown = wait(given.store.cloud_events(tenant, webhook));
        assert_eq!(
            shown.unwrap().map(|events| events.choice()),
            mode.map(without)
        );
        let targets = given
            .store
            .webhook_targets(given.epoch(), vec![webhook, plain]);
        let targets = wait(targets).unwrap();
        assert_eq!(targets[0].cloud_events, mode);
        assert_eq!(targets[1].cloud_events, None);
        entries += usize::from(changes);
        assert_eq!(audited(), entries);
    }
    let newest = &wait(given.store.audit(tenant, 1)).unwrap()[0];
    assert_eq!(newest.action, "webhook.cloud_events");
    let detail: serde_json::Value = serde_json::from_str(&newest.detail).unwrap();
    assert_eq!(detail["before"]["mode"], "structured");
    assert!(detail["after"]["mode"].is_null(), "{detail}");
}

#[test]
fn a_tenant_chooses_and_sees_the_mode_of_its_own_webhooks_only() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let mode = Some(CloudEventMode::Binary);
    given.send_cloud_events(webhook, mode, 10).unwrap();
    let other = given.another_tenant("other");
    let seen = wait(given.store.cloud_events(other, webhook)).unwrap();
    assert_eq!(seen, None);
    let refused = given.choose(other, webhook, None, 11).unwrap_err();
    assert!(matches!(refused, StoreError::Stale));
    let nowhere = given.send_cloud_events(WebhookId(99), mode, 11);
    assert!(matches!(nowhere.unwrap_err(), StoreError::Stale));
}

#[test]
fn what_is_due_says_what_it_is_about_and_when_it_was_accepted() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given.notified("a", 500);
    let due = given.due(webhook, 9, 1_000).0;
    assert_eq!(&*due[0].action_type, "order.paid");
    assert_eq!(due[0].accepted_at, at(500));
}
