//! An example call with a new token. It changes nothing, or reports a paid order, which calls the
//! webhooks that subscribe to that.

use http::Method;
use model::tenant::{Permission, Tenant};
use serde_json::json;

use crate::dialect::demo::DemoCall;

pub(super) fn example(tenant: &Tenant, permission: Permission) -> DemoCall {
    match permission {
        Permission::NotificationsWrite => DemoCall {
            method: Method::POST,
            path: "/trigger".to_owned(),
            scheme: "Bearer",
            body: json!({
                "resource": "order",
                "trigger": "paid",
                "guid": tenant.key,
                "data": {"status": "paid"},
            })
            .to_string(),
        },
        // No tenant's token has the last two.
        Permission::WebhooksRead
        | Permission::WebhooksWrite
        | Permission::TenantsRead
        | Permission::TenantsWrite => DemoCall {
            method: Method::GET,
            path: "/webhook".to_owned(),
            scheme: "Bearer",
            body: String::new(),
        },
    }
}
