//! An example call with a new token. It changes nothing, or hands in a notification that registers
//! no show.

use http::Method;
use model::tenant::{Permission, Tenant};

use crate::dialect::demo::DemoCall;

pub(super) fn example(tenant: &Tenant, permission: Permission) -> DemoCall {
    let below = format!("/api/v1/organizers/{}", tenant.key);
    match permission {
        Permission::NotificationsWrite => DemoCall {
            method: Method::POST,
            path: format!("{below}/notifications/"),
            scheme: "Token",
            body: r#"{"action": "pretix.customer.created", "customer": "BU548VN"}"#.to_owned(),
        },
        // No tenant's token has the last two.
        Permission::WebhooksRead
        | Permission::WebhooksWrite
        | Permission::TenantsRead
        | Permission::TenantsWrite => DemoCall {
            method: Method::GET,
            path: format!("{below}/webhooks/"),
            scheme: "Token",
            body: String::new(),
        },
    }
}
