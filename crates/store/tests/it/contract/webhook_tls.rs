//! What webhooks have of their own for TLS: set, replaced, removed, sealed anew, and seen by their
//! tenant only.

use bytes::Bytes;
use model::contract::{SealedId, StoreError};
use model::id::{TenantId, WebhookId};
use model::webhook::{DisableCause, Disablement, Webhook};
use model::webhook_tls::{
    CaCertificates, ClientCertificate, ClientKeyId, TlsItem, WebhookTls, WebhookTlsChange,
};

use super::harness::{Given, at, wait};

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(crate) fn client(chain: &'static str, sealed: &'static str) -> WebhookTlsChange {
    WebhookTlsChange::SetClientCertificate {
        chain: bytes(chain),
        sealed: bytes(sealed),
    }
}

pub(crate) fn ca(certificates: &'static str) -> WebhookTlsChange {
    WebhookTlsChange::SetCaCertificates(bytes(certificates))
}

impl Given {
    fn client_key_id(&self, webhook: WebhookId) -> ClientKeyId {
        ClientKeyId {
            tenant: self.tenant,
            webhook,
        }
    }

    pub(crate) fn change_tls(
        &self,
        webhook: WebhookId,
        change: WebhookTlsChange,
        time: i64,
    ) -> Result<(), StoreError> {
        let id = self.client_key_id(webhook);
        let changed = self
            .store
            .change_webhook_tls(id, change, "test".to_owned(), at(time));
        wait(changed)
    }

    fn webhook_tls(&self, tenant: TenantId, webhook: WebhookId) -> WebhookTls {
        wait(self.store.webhook_tls(tenant, webhook)).unwrap()
    }
}

#[test]
fn certificates_come_back_with_their_webhook_and_with_what_calling_it_takes() {
    let given = Given::new();
    let (webhook, plain) = (given.paid_webhook(), given.paid_webhook());
    let change = |change, time| given.change_tls(webhook, change, time);
    change(client("chain", "sealed"), 10).unwrap();
    change(ca("roots"), 11).unwrap();
    change(client("another", "key"), 12).unwrap();
    let wanted = WebhookTls {
        client: Some(ClientCertificate {
            chain: bytes("another"),
            sealed: bytes("key"),
            set_at: at(12),
        }),
        ca: Some(CaCertificates {
            certificates: bytes("roots"),
            set_at: at(11),
        }),
    };
    assert_eq!(given.webhook_tls(given.tenant, webhook), wanted);
    let targets = given
        .store
        .webhook_targets(given.epoch(), vec![plain, webhook]);
    let targets = wait(targets).unwrap();
    assert!(targets[0].tls.is_empty());
    assert_eq!(targets[1].tls, wanted);
    let audit = wait(given.store.audit(given.tenant, 3)).unwrap();
    let told: Vec<_> = audit.iter().map(|entry| &*entry.action).collect();
    let wanted = [
        "client_certificate.changed",
        "ca_certificates.added",
        "client_certificate.added",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn what_is_removed_and_what_a_deleted_webhook_had_is_gone() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let change = |change| given.change_tls(webhook, change, 10);
    change(client("chain", "sealed")).unwrap();
    change(ca("roots")).unwrap();
    change(WebhookTlsChange::Remove(TlsItem::CaCertificates)).unwrap();
    let again = change(WebhookTlsChange::Remove(TlsItem::CaCertificates));
    assert!(matches!(again.unwrap_err(), StoreError::Stale));
    let left = given.webhook_tls(given.tenant, webhook);
    assert!(left.client.is_some() && left.ca.is_none());
    let deleted = Webhook {
        disabled: Some(Disablement {
            at: at(20),
            cause: DisableCause::Deleted,
        }),
        ..given.stored(webhook)
    };
    given.save(deleted, 20).unwrap();
    assert_eq!(wait(given.store.client_keys_behind(None, 9)).unwrap(), []);
    let late = change(ca("roots")).unwrap_err();
    assert!(matches!(late, StoreError::Stale));
}

#[test]
fn a_tenant_sees_and_changes_its_own_certificates_only() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given
        .change_tls(webhook, client("chain", "sealed"), 10)
        .unwrap();
    let other = given.another_tenant("other");
    assert!(given.webhook_tls(other, webhook).is_empty());
    for change in [
        WebhookTlsChange::Remove(TlsItem::ClientCertificate),
        ca("roots"),
    ] {
        let id = ClientKeyId {
            tenant: other,
            webhook,
        };
        let refused = given
            .store
            .change_webhook_tls(id, change, "test".to_owned(), at(11));
        assert!(matches!(wait(refused).unwrap_err(), StoreError::Stale));
    }
    let tls = given.webhook_tls(given.tenant, webhook);
    assert!(tls.client.is_some() && tls.ca.is_none());
}

#[test]
fn every_private_key_is_found_page_by_page_and_sealed_anew_where_it_is() {
    let given = Given::new();
    let webhooks: Vec<WebhookId> = (0..5).map(|_| given.paid_webhook()).collect();
    for webhook in &webhooks {
        given.change_tls(*webhook, ca("roots"), 9).unwrap();
        given
            .change_tls(*webhook, client("chain", "sealed"), 10)
            .unwrap();
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = wait(given.store.client_keys_behind(after, 2)).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.into_iter().map(|one| one.id.webhook));
    }
    assert_eq!(seen, webhooks);
    let reseal = |old, new| {
        let id = SealedId::ClientKey(given.client_key_id(webhooks[0]));
        wait(given.store.reseal(id, bytes(old), bytes(new))).unwrap()
    };
    assert!(reseal("sealed", "anew"));
    assert!(!reseal("sealed", "anew"));
    let sealed = |webhook| {
        let client = given.webhook_tls(given.tenant, webhook).client;
        client.unwrap().sealed
    };
    assert_eq!(sealed(webhooks[0]), "anew");
    assert_eq!(sealed(webhooks[1]), "sealed");
}
