//! The recorded exchanges against the site.
//!
//! Where Willcall decides for itself the difference has a name, a reason and an expectation of
//! its own; afterwards the store is brought to the recorded state, so that what follows compares.

use std::collections::BTreeMap;

use model::id::WebhookId;
use model::webhook::{DisableCause, Disablement, NewWebhook, Webhook};
use serde::Deserialize;
use serde_json::Value;

use super::super::fields::Settings;
use super::differences::{DIFFERENCES, Difference};
use crate::tests::harness::{Arrived, Asking, TestApp, asking};

#[derive(Debug, Deserialize)]
struct Exchange {
    name: String,
    request: Recorded,
    response: Expected,
}

#[derive(Debug, Deserialize)]
struct Recorded {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Expected {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

fn exchanges() -> Vec<Exchange> {
    let lines = include_str!("../golden/pretix-api.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const TOKENS: [(&str, &str); 8] = [
    ("{token}", "tokenall"),
    ("{token_noperm}", "tokennone"),
    ("{token_inactive}", "tokenoff"),
    ("{token_other}", "tokenother"),
    ("{device_token}", "tokendevice"),
    ("{oauth_rw}", "tokenrw"),
    ("{oauth_read}", "tokenread"),
    ("{oauth_noorg}", "tokennoorg"),
];

fn asked(recorded: &Recorded) -> Asking {
    let mut asking = asking(&recorded.method, &recorded.path).without("Authorization");
    for (name, value) in &recorded.headers {
        let fill = |value: String, (place, token): (&str, &str)| value.replace(place, token);
        let value = TOKENS.into_iter().fold(value.clone(), fill);
        asking = asking.with(name, &value);
    }
    asking.body(bytes_of(recorded.body.as_deref().unwrap_or_default()))
}

/// Bytes that are not text were recorded as `\xff`, which is never part of JSON.
fn bytes_of(body: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("\\x") {
        let code = after
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.extend_from_slice(before.as_bytes());
        match code {
            Some(byte) if !before.ends_with('\\') => {
                bytes.push(byte);
                rest = after.get(2..).unwrap();
            }
            _ => {
                bytes.extend_from_slice(b"\\x");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn compare(name: &str, expected: &Expected, arrived: &Arrived) {
    assert_eq!(arrived.status, expected.status, "{name}: {}", arrived.body);
    if let Some(body) = &expected.body {
        assert_eq!(&arrived.body, body, "{name}");
    }
    for (header, value) in &expected.headers {
        assert_eq!(
            arrived.header(header),
            Some(value.as_str()),
            "{name}: {header}"
        );
    }
}

/// Writes down the webhook as pretix had it after the exchange.
async fn bring_to(app: &TestApp, body: &Value) {
    let id = WebhookId(body["id"].as_i64().unwrap());
    let tenant = app.tenant("bigevents").await;
    let settings: Settings = serde_json::from_value(body.clone()).unwrap();
    let disablement = Disablement {
        at: app.now(),
        cause: DisableCause::Requested,
    };
    let disabled = (body["enabled"] == false).then_some(disablement);
    let target_url = body["target_url"].as_str().unwrap().to_owned();
    let (filter, settings) = (settings.filter(), serde_json::to_string(&settings).unwrap());
    let actor = "test".to_owned();
    if let Some(old) = app.store.webhook(tenant, id).await.unwrap() {
        let webhook = Webhook {
            target_url,
            disabled,
            filter,
            settings,
            ..old
        };
        app.store
            .save_webhook(webhook, actor, app.now())
            .await
            .unwrap();
        return;
    }
    let new = NewWebhook {
        key: None,
        retries_max: None,
        tenant,
        target_url,
        disabled,
        filter,
        settings,
        headers: model::webhook::Headers::default(),
    };
    let created = app
        .store
        .create_webhook(new, actor, app.now())
        .await
        .unwrap();
    assert_eq!(created.id, id);
}

async fn differ(app: &TestApp, exchange: &Exchange, difference: &Difference) {
    let name = &exchange.name;
    let aside;
    let place = if difference.aside {
        aside = TestApp::new().await;
        let created = exchanges()
            .into_iter()
            .find(|other| other.name == "create_full");
        aside.ask(asked(&created.unwrap().request)).await;
        &aside
    } else {
        app
    };
    let arrived = place.ask(asked(&exchange.request)).await;
    let decision = difference.decision;
    assert_eq!(
        arrived.told(),
        (difference.status, difference.body),
        "{name}, {decision}"
    );
    let same = exchange.response.status == difference.status
        && exchange.response.body.as_deref() == Some(difference.body);
    assert!(!same, "{name} differs no longer");
    if difference.status != 204 {
        assert_eq!(
            arrived.header("content-type"),
            Some("application/json"),
            "{name}"
        );
    }
    let stored = [200, 201].contains(&exchange.response.status);
    if stored && exchange.request.method != "GET" && !difference.aside {
        let body: Value = serde_json::from_str(exchange.response.body.as_ref().unwrap()).unwrap();
        if body["id"].is_i64() {
            bring_to(app, &body).await;
        }
    }
}

#[tokio::test]
async fn every_recorded_exchange_comes_out_as_recorded_or_differs_by_name() {
    let app = TestApp::new().await;
    let mut used = Vec::new();
    for exchange in exchanges() {
        let differences = DIFFERENCES.iter();
        match differences
            .clone()
            .find(|difference| difference.name == exchange.name)
        {
            Some(difference) => {
                used.push(difference.name);
                differ(&app, &exchange, difference).await;
            }
            None => {
                let arrived = app.ask(asked(&exchange.request)).await;
                compare(&exchange.name, &exchange.response, &arrived);
            }
        }
    }
    let all: Vec<&str> = DIFFERENCES
        .iter()
        .map(|difference| difference.name)
        .collect();
    assert_eq!(
        used, all,
        "differences that no exchange has, or out of order"
    );
}

#[test]
fn every_difference_is_in_the_document_for_users() {
    let document = include_str!("../../../../../../docs/pretix.md");
    for difference in DIFFERENCES {
        let row = format!("| {} |", difference.decision);
        assert!(document.contains(&row), "docs/pretix.md has no row {row}");
    }
}
