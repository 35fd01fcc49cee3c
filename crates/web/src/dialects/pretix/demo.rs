//! This dialect's part of `willcall demo`: an organizer on the day its sale opens.

use http::Method;
use model::id::WebhookId;
use model::tenant::DialectName;
use serde_json::{Map, Value, json};

use crate::dialect::demo::{Demo, DemoCall, ReceiverBehavior, WebhookRef};

const ORGANIZER: &str = "bigevents";

pub(super) fn demo(dialect: DialectName) -> Demo {
    Demo {
        dialect,
        title: "pretix, organizer \"Big Events\"",
        tenant: ORGANIZER,
        file,
        receivers: &[
            ReceiverBehavior::Steady,
            ReceiverBehavior::Recovering,
            ReceiverBehavior::Gone,
            ReceiverBehavior::Hanging,
        ],
        webhook,
        made,
        notifications,
        end,
        hints,
    }
}

fn file(token: &str) -> String {
    format!(
        r#"[[organizer]]
slug = "{ORGANIZER}"
name = "Big Events"

[[organizer.event]]
slug = "democon"
name = "Demo Con"
date_from = 2027-01-19T10:00:00Z

[[organizer.token]]
name = "demo"
token = "{token}"
permissions = ["webhooks:read", "webhooks:write", "notifications:write"]
"#
    )
}

fn webhook(name: &str, url: &str) -> DemoCall {
    // Only the steady receiver asks for everything, so that the others stay easy to follow.
    let action_types: &[&str] = match name {
        "steady" => &[
            "pretix.event.order.placed",
            "pretix.event.order.paid",
            "pretix.event.order.changed.*",
            "pretix.event.checkin",
            "pretix.event.item.*",
            "pretix.event.quota.*",
            "pretix.event.orders.waitinglist.added",
            "pretix.voucher.added",
            "pretix.customer.created",
            "pretix.giftcards.transaction.*",
            "pretix.subevent.added",
            "pretix.event.live.activated",
        ],
        "recovering" => &["pretix.event.order.placed", "pretix.event.order.paid"],
        _ => &["pretix.event.order.paid"],
    };
    let body = json!({
        "enabled": true,
        "target_url": url,
        "all_events": true,
        "limit_events": [],
        "action_types": action_types,
        "comment": format!("The demo's receiver \"{name}\""),
    });
    call(Method::POST, "webhooks/", &body)
}

pub(super) fn made(answer: &Value) -> Option<WebhookRef> {
    let id = answer.get("id").and_then(Value::as_i64);
    id.map(|id| WebhookRef::Id(WebhookId(id)))
}

/// A sale in one batch, then a payment on its own.
fn notifications() -> Vec<DemoCall> {
    let at_show = |action: &str, key: &str, value: Value| {
        let mut notification = Map::new();
        notification.insert("event".to_owned(), json!("democon"));
        notification.insert("action".to_owned(), json!(action));
        notification.insert(key.to_owned(), value);
        Value::Object(notification)
    };
    let batch = json!([
        at_show("pretix.event.live.activated", "event", json!("democon")),
        at_show("pretix.event.order.placed", "code", json!("ABC23")),
        at_show("pretix.event.order.placed", "code", json!("DEF45")),
        at_show("pretix.event.order.changed.item", "code", json!("ABC23")),
        at_show("pretix.event.item.changed", "item", json!(19)),
        at_show("pretix.event.quota.closed", "item", json!(11)),
        at_show("pretix.event.orders.waitinglist.added", "waitinglistentry", json!(5)),
        at_show("pretix.voucher.added", "voucher", json!(15)),
        at_show("pretix.subevent.added", "subevent", json!(6)),
        {"action": "pretix.customer.created", "customer": "BU548VN"},
        {
            "action": "pretix.giftcards.transaction.payment",
            "issuer_id": 1,
            "issuer_slug": ORGANIZER,
            "acceptor_id": 1,
            "acceptor_slug": ORGANIZER,
            "giftcard": 4,
        },
        {
            "event": "democon",
            "action": "pretix.event.checkin",
            "code": "ABC23",
            "orderposition_id": 50,
            "orderposition_positionid": 1,
            "checkin_list": 1,
            "type": "entry",
            "first_checkin": true,
        },
    ]);
    let paid = at_show("pretix.event.order.paid", "code", json!("ABC23"));
    vec![
        call(Method::POST, "notifications/", &batch),
        call(Method::POST, "notifications/", &paid),
    ]
}

fn end(webhook: &WebhookRef) -> DemoCall {
    let webhook = match webhook {
        WebhookRef::Id(id) => id.to_string(),
        WebhookRef::Key(key) => key.clone(),
    };
    call(
        Method::PATCH,
        &format!("webhooks/{webhook}/"),
        &json!({"enabled": false}),
    )
}

fn call(method: Method, below: &str, body: &Value) -> DemoCall {
    DemoCall {
        method,
        path: format!("/api/v1/organizers/{ORGANIZER}/{below}"),
        scheme: "Token",
        body: body.to_string(),
    }
}

fn hints(base: &str, token: &str) -> Vec<(String, String)> {
    let auth = "-H \"$TOKEN\"";
    let json = "-H 'Content-Type: application/json'";
    let hint = |what: &str, command: String| (what.to_owned(), command);
    vec![
        hint(
            "set these first",
            format!(
                "TOKEN='Authorization: Token {token}'\n  API={base}/api/v1/organizers/{ORGANIZER}"
            ),
        ),
        hint("the webhooks", format!("curl -s {auth} $API/webhooks/")),
        hint(
            "hand in a notification",
            format!(
                "curl -s {auth} {json} $API/notifications/ \\\n    -d '{{\"event\":\"democon\",\"action\":\"pretix.event.order.paid\",\"code\":\"XYZ99\"}}'"
            ),
        ),
        hint(
            "what became of it at the first webhook",
            format!("curl -s {auth} \"$API/webhooks/1/deliveries/?page_size=3\""),
        ),
        hint(
            "try again at once what waits for the receiver that hangs",
            format!("curl -s -X POST {auth} $API/webhooks/4/retry_failed/"),
        ),
    ]
}
