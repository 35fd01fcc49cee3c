//! The notification for the store, made from a draft.

use std::borrow::Cow;

use bytes::Bytes;
use model::notification::NewNotification;
use model::tenant::Tenant;
use model::time::Timestamp;
use model::webhook::Headers;

use super::wire::Draft;

pub(super) fn notification(
    tenant: &Tenant,
    draft: &Draft<'_>,
    id: &str,
    at: Timestamp,
) -> NewNotification {
    NewNotification {
        tenant: tenant.id,
        key: id.to_owned(),
        action_type: draft.action.clone().into_owned(),
        match_keys: draft.pairs(),
        event: draft.event.clone().map(Cow::into_owned),
        headers: Headers::default(),
        body: Bytes::from(draft.body(id)),
        digest: None,
        match_context: None,
        only_webhook: None,
        at,
    }
}
