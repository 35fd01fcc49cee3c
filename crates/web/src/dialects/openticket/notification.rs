//! The notification for the store, made from a draft.

use model::notification::NewNotification;
use model::tenant::Tenant;
use model::time::Timestamp;

use super::wire::Draft;

pub(super) fn notification(
    tenant: &Tenant,
    draft: Draft,
    id: &str,
    at: Timestamp,
) -> NewNotification {
    NewNotification {
        tenant: tenant.id,
        key: id.to_owned(),
        headers: draft.headers(),
        action_type: draft.name,
        match_keys: draft.pairs,
        event: None,
        body: draft.body,
        digest: Some(draft.digest),
        match_context: Some(draft.about),
        only_webhook: None,
        at,
    }
}
