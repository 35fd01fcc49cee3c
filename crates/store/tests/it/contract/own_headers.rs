//! Own headers of webhooks: added, replaced, removed, sealed anew, bounded, and seen by their
//! tenant only.

use bytes::Bytes;
use model::contract::{Conflict, SealedId, StoreError};
use model::id::{TenantId, WebhookId};
use model::limits::{OWN_HEADERS_BYTES_MAX, OWN_HEADERS_MAX};
use model::own_header::{OwnHeader, OwnHeaderChange, OwnHeaderId, OwnHeaderName};
use model::signing::{Profile, SEALED_BYTES};
use model::webhook::{DisableCause, Disablement, Webhook};

use super::harness::{Given, at, wait};
use super::signatures;

pub(crate) fn add(sealed: &'static str) -> OwnHeaderChange {
    OwnHeaderChange::Add(Bytes::from_static(sealed.as_bytes()))
}

fn replace(sealed: &'static str) -> OwnHeaderChange {
    OwnHeaderChange::Replace(Bytes::from_static(sealed.as_bytes()))
}

impl Given {
    fn header_id(&self, webhook: WebhookId, name: &str) -> OwnHeaderId {
        OwnHeaderId {
            tenant: self.tenant,
            webhook,
            name: OwnHeaderName::parse(name).unwrap(),
        }
    }

    pub(crate) fn change_header(
        &self,
        webhook: WebhookId,
        name: &str,
        change: OwnHeaderChange,
        time: i64,
    ) -> Result<(), StoreError> {
        let id = self.header_id(webhook, name);
        let changed = self
            .store
            .change_own_header(id, change, "test".to_owned(), at(time));
        wait(changed)
    }

    fn own_headers(&self, tenant: TenantId, webhook: WebhookId) -> Vec<OwnHeader> {
        wait(self.store.own_headers(tenant, webhook)).unwrap()
    }
}

fn conflict(refused: Result<(), StoreError>) -> Conflict {
    let StoreError::Conflict(conflict) = refused.unwrap_err() else {
        panic!("it is refused for another reason")
    };
    conflict
}

fn header(name: &str, sealed: &'static str, set_at: i64) -> OwnHeader {
    OwnHeader {
        name: OwnHeaderName::parse(name).unwrap(),
        sealed: Bytes::from_static(sealed.as_bytes()),
        set_at: at(set_at),
    }
}

#[test]
fn own_headers_come_back_with_their_webhook_and_with_what_calling_it_takes() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let plain = given.paid_webhook();
    let change = |name, change, time| given.change_header(webhook, name, change, time);
    change("X-Key", add("first"), 10).unwrap();
    change("authorization", add("second"), 11).unwrap();
    change("X-Key", replace("third"), 12).unwrap();
    let wanted = [
        header("Authorization", "second", 11),
        header("X-Key", "third", 12),
    ];
    assert_eq!(given.own_headers(given.tenant, webhook), wanted);
    let targets = given
        .store
        .webhook_targets(given.epoch(), vec![plain, webhook]);
    let targets = wait(targets).unwrap();
    assert_eq!(targets[0].own_headers, []);
    assert_eq!(targets[1].own_headers, wanted);
    let audit = wait(given.store.audit(given.tenant, 3)).unwrap();
    let told: Vec<_> = audit.iter().map(|entry| &*entry.action).collect();
    assert_eq!(told, ["header.changed", "header.added", "header.added"]);
    assert!(!format!("{audit:?}").contains("third"));
}

#[test]
fn a_webhook_has_each_name_once_whatever_its_case_and_none_of_its_signatures() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let change = |name, change| given.change_header(webhook, name, change, 10);
    change("X-Key", add("first")).unwrap();
    assert_eq!(conflict(change("x-KEY", add("again"))), Conflict::OwnHeader);
    let sign = |profile, header| given.sign(webhook, profile, signatures::new(header), 11);
    let taken = sign(Profile::Github, Some("x-key"));
    assert_eq!(conflict(taken), Conflict::SignatureHeader);
    sign(Profile::Stripe, None).unwrap();
    let signed = change("stripe-signature", add("first"));
    assert_eq!(conflict(signed), Conflict::OwnHeaderSigned);
    assert_eq!(given.own_headers(given.tenant, webhook).len(), 1);
}

#[test]
fn own_headers_are_bounded_in_number_and_in_bytes() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let change = |name: &str, change| given.change_header(webhook, name, change, 10);
    for number in 0..OWN_HEADERS_MAX {
        change(&format!("X-{number}"), add("sealed")).unwrap();
    }
    assert_eq!(conflict(change("X-More", add("a"))), Conflict::OwnHeaders);
    change("X-0", replace("another")).unwrap();
    let other = given.paid_webhook();
    let sized = |bytes: usize| Bytes::from(vec![b'a'; bytes + SEALED_BYTES]);
    let change = |name, change| given.change_header(other, name, change, 10);
    let room = OWN_HEADERS_BYTES_MAX - 2 * "X-0".len();
    change("X-0", OwnHeaderChange::Add(sized(room - 10))).unwrap();
    let refused = change("X-1", OwnHeaderChange::Add(sized(11)));
    assert_eq!(conflict(refused), Conflict::OwnHeaderBytes);
    change("X-1", OwnHeaderChange::Add(sized(10))).unwrap();
    let refused = change("X-1", OwnHeaderChange::Replace(sized(11)));
    assert_eq!(conflict(refused), Conflict::OwnHeaderBytes);
}

#[test]
fn a_removed_own_header_and_those_of_a_deleted_webhook_are_gone() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let change = |name, change| given.change_header(webhook, name, change, 10);
    for name in ["X-A", "X-B"] {
        change(name, add("sealed")).unwrap();
    }
    change("X-A", OwnHeaderChange::Remove).unwrap();
    for again in [OwnHeaderChange::Remove, replace("sealed")] {
        let again = change("X-A", again).unwrap_err();
        assert!(matches!(again, StoreError::Stale));
    }
    assert_eq!(given.own_headers(given.tenant, webhook).len(), 1);
    let deleted = Webhook {
        disabled: Some(Disablement {
            at: at(20),
            cause: DisableCause::Deleted,
        }),
        ..given.stored(webhook)
    };
    given.save(deleted, 20).unwrap();
    assert_eq!(wait(given.store.own_headers_behind(None, 9)).unwrap(), []);
    let late = change("X-C", add("sealed")).unwrap_err();
    assert!(matches!(late, StoreError::Stale));
}

#[test]
fn a_tenant_sees_and_changes_its_own_lines_only() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    given
        .change_header(webhook, "X-A", add("sealed"), 10)
        .unwrap();
    let other = given.another_tenant("other");
    assert_eq!(given.own_headers(other, webhook), []);
    let id = OwnHeaderId {
        tenant: other,
        ..given.header_id(webhook, "X-A")
    };
    let removed =
        given
            .store
            .change_own_header(id, OwnHeaderChange::Remove, "test".to_owned(), at(11));
    assert!(matches!(wait(removed).unwrap_err(), StoreError::Stale));
    assert_eq!(given.own_headers(given.tenant, webhook).len(), 1);
}

#[test]
fn every_own_header_is_found_page_by_page_and_sealed_anew_where_it_is() {
    let given = Given::new();
    let webhooks = [given.paid_webhook(), given.paid_webhook()];
    for webhook in webhooks {
        for name in ["X-A", "X-B"] {
            given
                .change_header(webhook, name, add("sealed"), 10)
                .unwrap();
        }
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = wait(given.store.own_headers_behind(after, 3)).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(given.header_id(last.webhook, last.header.name.as_str()));
        seen.extend(page.into_iter().map(|one| (one.webhook, one.header.name)));
    }
    seen.dedup();
    assert_eq!(seen.len(), 4);
    let reseal = |old: &'static str, new: &'static str| {
        let id = SealedId::Header(given.header_id(webhooks[0], "X-A"));
        let [old, new] = [old, new].map(|text| Bytes::from_static(text.as_bytes()));
        wait(given.store.reseal(id, old, new)).unwrap()
    };
    assert!(reseal("sealed", "anew"));
    assert!(!reseal("sealed", "anew"));
    let sealed = |webhook| {
        let all = given.own_headers(given.tenant, webhook).into_iter();
        all.map(|one| one.sealed).collect::<Vec<_>>()
    };
    assert_eq!(sealed(webhooks[0]), ["anew", "sealed"]);
    assert_eq!(sealed(webhooks[1]), ["sealed", "sealed"]);
}
