//! This dialect's part of `willcall demo`: a company whose orders are paid and tickets scanned.

use http::Method;
use model::tenant::DialectName;
use serde_json::{Value, json};

use crate::dialect::demo::{Demo, DemoCall, ReceiverBehavior, WebhookRef};

const COMPANY: &str = "d0a3f370-cd43-11ed-9c9c-bbcffde24a48";
const EVENT: &str = "5f0f6b1e-2c1d-4d0e-9a51-7a8c0e6f1b20";
const TICKET: &str = "3f6b8f8e-0d7c-4e62-9d5b-7f1d8a6e5c13";
const ORDERS: [&str; 2] = [
    "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10",
    "8d1f5c2f-41d6-4e8d-8e1b-1a7e2a3a0b21",
];
const SCANNER: &str = "91aa0c5d-6e7f-4a8b-9c0d-1e2f3a4b5c6d";

pub(super) fn demo(dialect: DialectName) -> Demo {
    Demo {
        dialect,
        title: "OpenTicket, company \"Grand Hall\"",
        tenant: COMPANY,
        file,
        receivers: &[
            ReceiverBehavior::Steady,
            ReceiverBehavior::Recovering,
            ReceiverBehavior::Hanging,
        ],
        webhook,
        made: |answer| {
            let guid = answer.get("guid").and_then(Value::as_str);
            guid.map(|guid| WebhookRef::Key(guid.to_owned()))
        },
        notifications,
        end,
        hints,
    }
}

fn file(token: &str) -> String {
    format!(
        r#"[[company]]
guid = "{COMPANY}"
name = "Grand Hall"

[[company.token]]
name = "demo"
token = "{token}"
permissions = ["webhooks:read", "webhooks:write", "triggers:write"]
"#
    )
}

/// Two hear of a paid order because it is related to what they are about, one of a scan.
fn webhook(name: &str, url: &str) -> DemoCall {
    let (resource, trigger, related) = match name {
        "steady" => ("event", "paid", true),
        "recovering" => ("ticket", "paid", true),
        _ => ("scanner", "scan", false),
    };
    let body = json!({
        "name": format!("The demo's receiver \"{name}\""),
        "url": url,
        "resource": resource,
        "trigger": trigger,
        "retries": 5,
        "triggered_by_child_resources": related,
    });
    call(Method::POST, "/webhook", &body)
}

/// Two paid orders in one batch, then a ticket at the door.
fn notifications() -> Vec<DemoCall> {
    let related = json!([
        {"resource": "event", "guid": EVENT},
        {"resource": "ticket", "guid": TICKET},
    ]);
    let paid = ORDERS.map(|guid| {
        json!({
            "resource": "order",
            "trigger": "paid",
            "guid": guid,
            "related": related,
            "data": {
                "guid": guid,
                "status": "paid",
                "currency": "EUR",
                "price": 2150,
                "firstname": "Ada",
                "lastname": "Vos",
                "tickets": [{"original_id": TICKET, "price": 2150}],
            },
        })
    });
    let [order, _] = ORDERS;
    let scanned = json!({
        "resource": "scanner",
        "trigger": "scan",
        "guid": SCANNER,
        "related": related,
        "data": {"order_id": order, "scanner_id": SCANNER, "direction": "in"},
    });
    vec![
        call(Method::POST, "/trigger", &json!(paid)),
        call(Method::POST, "/trigger", &scanned),
    ]
}

fn end(webhook: &WebhookRef) -> DemoCall {
    let guid = match webhook {
        WebhookRef::Id(id) => id.to_string(),
        WebhookRef::Key(guid) => guid.clone(),
    };
    call(Method::DELETE, &format!("/webhook/{guid}"), &json!({}))
}

fn call(method: Method, path: &str, body: &Value) -> DemoCall {
    DemoCall {
        method,
        path: path.to_owned(),
        scheme: "Bearer",
        body: body.to_string(),
    }
}

fn hints(base: &str, token: &str) -> Vec<(String, String)> {
    let auth = format!("-H 'Authorization: Bearer {token}'");
    let hint = |what: &str, command: String| (what.to_owned(), command);
    vec![
        hint(
            "the webhooks of the company",
            format!("curl -s {auth} {base}/webhook"),
        ),
        hint(
            "make another, as the vendor's page does",
            format!(
                "curl -s {auth} {base}/webhook -F name=Mine -F url=https://example.com/hook \\\n    -F resource=order -F trigger=paid -F retries=3"
            ),
        ),
        hint(
            "report that an order is paid",
            format!(
                "curl -s {auth} -H 'Content-Type: application/json' {base}/trigger \\\n    -d '{{\"resource\":\"order\",\"trigger\":\"paid\",\"guid\":\"{COMPANY}\",\"data\":{{\"status\":\"paid\"}}}}'"
            ),
        ),
    ]
}
