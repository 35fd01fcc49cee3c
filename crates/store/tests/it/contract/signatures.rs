//! Signatures of webhooks: added, rotated, removed, sealed anew, and seen by their tenant only.

use bytes::Bytes;
use model::contract::{Conflict, SealedId, StoreError};
use model::id::{TenantId, WebhookId};
use model::signing::{
    FormerKey, NewSignature, Profile, SealedKey, Signature, SignatureChange, SignatureId,
};
use model::webhook::{DisableCause, Disablement, Webhook};

use super::harness::{Given, answered, at, delivered, delivery_id, settlement, wait};

pub(crate) fn key(name: &'static str, made_at: i64) -> SealedKey {
    SealedKey {
        sealed: Bytes::from_static(name.as_bytes()),
        public: Some(format!("public {name}")),
        made_at: at(made_at),
    }
}

pub(crate) fn new(header: Option<&str>) -> SignatureChange {
    SignatureChange::Add(NewSignature {
        header: header.map(str::to_owned),
        svix: header.is_none(),
        key_set: None,
        key: key("first", 10),
    })
}

pub(crate) fn published(key_set: &str) -> SignatureChange {
    SignatureChange::Add(NewSignature {
        header: None,
        svix: false,
        key_set: Some(key_set.to_owned()),
        key: key("first", 10),
    })
}

pub(crate) fn rotation(name: &'static str, made_at: i64, until: i64) -> SignatureChange {
    SignatureChange::Rotate {
        key: key(name, made_at),
        until: at(until),
    }
}

impl Given {
    pub(crate) fn sign(
        &self,
        webhook: WebhookId,
        profile: Profile,
        change: SignatureChange,
        time: i64,
    ) -> Result<(), StoreError> {
        let id = SignatureId {
            tenant: self.tenant,
            webhook,
            profile,
        };
        let changed = self
            .store
            .change_signature(id, change, "test".to_owned(), at(time));
        wait(changed)
    }

    fn signatures(&self, tenant: TenantId, webhook: WebhookId) -> Vec<Signature> {
        wait(self.store.signatures(tenant, webhook)).unwrap()
    }

    fn former(&self, webhook: WebhookId) -> Option<FormerKey> {
        let mut all = self.signatures(self.tenant, webhook);
        all.remove(0).former
    }
}

#[test]
fn a_signature_comes_back_with_its_webhook_and_with_what_calling_it_takes() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let plain = given.paid_webhook();
    given
        .sign(webhook, Profile::Stripe, new(Some("X-A")), 10)
        .unwrap();
    given
        .sign(webhook, Profile::Standard, new(None), 11)
        .unwrap();
    let found = given.signatures(given.tenant, webhook);
    let signature = |profile, header: Option<&str>| Signature {
        profile,
        header: header.map(str::to_owned),
        svix: header.is_none(),
        key_set: None,
        key: key("first", 10),
        former: None,
    };
    let wanted = [
        signature(Profile::Standard, None),
        signature(Profile::Stripe, Some("X-A")),
    ];
    assert_eq!(found, wanted);
    let targets = given
        .store
        .webhook_targets(given.epoch(), vec![plain, webhook]);
    let targets = wait(targets).unwrap();
    assert_eq!(targets[0].signatures, []);
    assert_eq!(targets[1].signatures, wanted);
}

#[test]
fn a_webhook_has_each_profile_and_each_header_once() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let add = |profile, header| given.sign(webhook, profile, new(header), 10);
    add(Profile::Github, None).unwrap();
    let twice = add(Profile::Github, Some("X-A")).unwrap_err();
    assert!(matches!(
        twice,
        StoreError::Conflict(Conflict::SignatureProfile)
    ));
    let taken = add(Profile::Stripe, Some("x-hub-signature-256")).unwrap_err();
    assert!(matches!(
        taken,
        StoreError::Conflict(Conflict::SignatureHeader)
    ));
    add(Profile::Rfc9421Ed25519, None).unwrap();
    let second = add(Profile::Rfc9421HmacSha256, None).unwrap_err();
    assert!(matches!(
        second,
        StoreError::Conflict(Conflict::SignatureHeader)
    ));
    // These two share a header by their nature.
    add(Profile::Standard, None).unwrap();
    add(Profile::StandardEd25519, None).unwrap();
    assert_eq!(given.signatures(given.tenant, webhook).len(), 4);
}

#[test]
fn a_signature_is_found_by_the_name_of_its_key_set_until_it_is_removed() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let change = |change| given.sign(webhook, Profile::Rfc9421Ed25519, change, 10);
    change(published("a-name")).unwrap();
    let found = |name: &str| wait(given.store.published_signature(name.to_owned())).unwrap();
    let all = given.signatures(given.tenant, webhook);
    assert_eq!(found("a-name").as_ref(), all.first());
    assert_eq!(found("another-name"), None);
    change(rotation("second", 20, 1_000)).unwrap();
    let rotated = found("a-name").unwrap();
    assert_eq!(rotated.key, key("second", 20));
    assert!(rotated.former.is_some());
    change(SignatureChange::Remove).unwrap();
    assert_eq!(found("a-name"), None);
}

#[test]
fn a_former_key_stays_until_it_is_ended_and_says_when_it_signed_last() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let change = |change, time| given.sign(webhook, Profile::Standard, change, time);
    change(new(None), 10).unwrap();
    change(rotation("second", 20, 1_000), 20).unwrap();
    let former = |used_at: Option<i64>| FormerKey {
        key: key("first", 10),
        until: at(1_000),
        used_at: used_at.map(at),
    };
    assert_eq!(given.former(webhook), Some(former(None)));
    let too_early = change(rotation("third", 30, 2_000), 30).unwrap_err();
    assert!(matches!(
        too_early,
        StoreError::Conflict(Conflict::FormerKey)
    ));
    for (name, time, used_at) in [("a", 500, 500), ("b", 1_500, 1_000)] {
        let id = delivery_id(given.notified(name, time), webhook);
        given.settle(settlement(id, time, answered(200), delivered()));
        assert_eq!(given.former(webhook), Some(former(Some(used_at))));
    }
    change(SignatureChange::EndFormer, 1_600).unwrap();
    assert_eq!(given.former(webhook), None);
    let gone = change(SignatureChange::EndFormer, 1_700).unwrap_err();
    assert!(matches!(gone, StoreError::Stale));
    change(rotation("third", 1_800, 1_900), 1_800).unwrap();
    // It has ended by itself, and makes room.
    change(rotation("fourth", 1_900, 2_000), 1_900).unwrap();
}

#[test]
fn a_removed_signature_and_those_of_a_deleted_webhook_are_gone() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let change = |profile, change| given.sign(webhook, profile, change, 10);
    let each = Profile::ALL.into_iter();
    // Of those of RFC 9421 one.
    let each = each.filter(|one| !one.is_rfc9421() || *one == Profile::Rfc9421HmacSha256);
    for profile in each {
        change(profile, new(None)).unwrap();
    }
    change(Profile::Github, SignatureChange::Remove).unwrap();
    let again = change(Profile::Github, SignatureChange::Remove).unwrap_err();
    assert!(matches!(again, StoreError::Stale));
    assert_eq!(given.signatures(given.tenant, webhook).len(), 4);
    let deleted = Webhook {
        disabled: Some(Disablement {
            at: at(20),
            cause: DisableCause::Deleted,
        }),
        ..given.stored(webhook)
    };
    given.save(deleted, 20).unwrap();
    assert_eq!(wait(given.store.signatures_behind(None, 9)).unwrap(), []);
    let late = change(Profile::Github, new(None)).unwrap_err();
    assert!(matches!(late, StoreError::Stale));
}

#[test]
fn a_tenant_sees_and_changes_its_own_signatures_only() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given.sign(webhook, Profile::Github, new(None), 10).unwrap();
    let other = given.another_tenant("other");
    assert_eq!(given.signatures(other, webhook), []);
    let id = SignatureId {
        tenant: other,
        webhook,
        profile: Profile::Github,
    };
    let change = SignatureChange::Remove;
    let removed = given
        .store
        .change_signature(id, change, "test".to_owned(), at(11));
    assert!(matches!(wait(removed).unwrap_err(), StoreError::Stale));
    assert_eq!(given.signatures(given.tenant, webhook).len(), 1);
}

#[test]
fn every_key_is_found_page_by_page_and_sealed_anew_where_it_is() {
    let given = Given::new();
    let webhooks = [given.paid_webhook(), given.paid_webhook()];
    for webhook in webhooks {
        for profile in [Profile::Standard, Profile::Github] {
            given.sign(webhook, profile, new(None), 10).unwrap();
        }
    }
    let rotated = rotation("second", 20, 1_000);
    given
        .sign(webhooks[0], Profile::Standard, rotated, 20)
        .unwrap();
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = wait(given.store.signatures_behind(after, 3)).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(SignatureId {
            tenant: last.tenant,
            webhook: last.webhook,
            profile: last.signature.profile,
        });
        seen += page.len();
    }
    assert_eq!(seen, 4);
    let id = SignatureId {
        tenant: given.tenant,
        webhook: webhooks[0],
        profile: Profile::Standard,
    };
    let reseal = |old: &'static str, new: &'static str| {
        let [old, new] = [old, new].map(|text| Bytes::from_static(text.as_bytes()));
        wait(given.store.reseal(SealedId::Signature(id), old, new)).unwrap()
    };
    assert!(reseal("first", "first again"));
    assert!(!reseal("first", "first again"));
    assert!(reseal("second", "second again"));
    let found = given.signatures(given.tenant, webhooks[0]).remove(0);
    assert_eq!(&*found.key.sealed, b"second again");
    assert_eq!(&*found.former.unwrap().key.sealed, b"first again");
    let other = given.signatures(given.tenant, webhooks[1]).remove(0);
    assert_eq!(&*other.key.sealed, b"first");
}
