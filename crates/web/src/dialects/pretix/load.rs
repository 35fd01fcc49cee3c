//! This dialect's part of `willcall bench`: organizers with any number of shows and webhooks, and
//! orders that are paid by the thousand.

use std::ops::Range;

use bytes::Bytes;
use http::Method;
use model::filter::MatchKey;
use model::notification::NewNotification;
use model::tenant::{DialectName, Tenant};
use model::time::Timestamp;
use model::webhook::Headers;
use serde_json::{Value, json};

use super::{demo, scopes};
use crate::dialect::demo::{DemoCall, WebhookRef};
use crate::dialect::load::{Load, LoadPage, LoadTenant};

const PAID: &str = "pretix.event.order.paid";
const CANCELED: &str = "pretix.event.order.canceled";

/// Before the number in an order's code.
const CODE: &[u8] = b"\"code\"";

/// The largest page of the log.
const PAGE_ROWS: usize = model::limits::PAGE_ROWS_MAX;

pub(super) fn load(dialect: DialectName) -> Load {
    Load {
        dialect,
        section,
        webhook,
        sign: |organizer, webhook, profile| {
            let path = format!("webhooks/{}/willcall/signatures/", name(webhook));
            let body = json!({"profile": profile}).to_string();
            call(organizer, Method::POST, &path, body)
        },
        made: demo::made,
        end: |organizer, webhook| {
            let path = format!("webhooks/{}/", name(webhook));
            call(
                organizer,
                Method::PATCH,
                &path,
                json!({"enabled": false}).to_string(),
            )
        },
        hand_in,
        hand_in_as,
        notification,
        number,
        log: |organizer, webhook, status| {
            let (webhook, status) = (name(webhook), status.as_str());
            let path =
                format!("webhooks/{webhook}/deliveries/?status={status}&page_size={PAGE_ROWS}");
            call(organizer, Method::GET, &path, String::new())
        },
        page: |answer| {
            let rows = answer.get("results")?.as_array()?.len();
            let next = answer.get("next").and_then(Value::as_str);
            Some(LoadPage {
                rows: u64::try_from(rows).ok()?,
                next: next.map(str::to_owned),
            })
        },
    }
}

fn section(tenant: &LoadTenant) -> String {
    let LoadTenant { key, token, .. } = tenant;
    let mut text = format!(
        r#"
[[organizer]]
slug = "{key}"
name = "Benchmark"

[[organizer.token]]
name = "bench"
token = "{token}"
permissions = ["webhooks:read", "webhooks:write", "notifications:write"]
"#
    );
    for index in 0..tenant.shows {
        let show = show(index);
        text.push_str("\n[[organizer.event]]\nslug = \"");
        text.push_str(&show);
        text.push_str("\"\n");
    }
    for (url, wanting) in &tenant.webhooks {
        let action = if *wanting { PAID } else { CANCELED };
        text.push_str("\n[[organizer.webhook]]\nall_events = true\ntarget_url = \"");
        text.push_str(url);
        text.push_str("\"\naction_types = [\"");
        text.push_str(action);
        text.push_str("\"]\n");
    }
    text
}

fn webhook(organizer: &str, at_show: Option<usize>, url: &str) -> DemoCall {
    let shows: Vec<String> = at_show.into_iter().map(show).collect();
    let body = json!({
        "target_url": url,
        "all_events": shows.is_empty(),
        "limit_events": shows,
        "action_types": [PAID],
    });
    call(organizer, Method::POST, "webhooks/", body.to_string())
}

fn hand_in(organizer: &str, numbers: Range<u64>, show: usize, bytes: usize) -> DemoCall {
    let single = numbers.end.saturating_sub(numbers.start) == 1;
    let bytes = bytes.saturating_sub(added(organizer));
    let orders: Vec<String> = numbers.map(|number| order(number, show, bytes)).collect();
    let body = orders.join(",");
    let body = if single { body } else { format!("[{body}]") };
    call(organizer, Method::POST, "notifications/", body)
}

fn hand_in_as(organizer: &str, number: u64, id: u64, show: usize, bytes: usize) -> DemoCall {
    let bytes = bytes.saturating_sub(added(organizer));
    let order = order(number, show, bytes);
    // An object without its beginning.
    let rest = order.get(1..).unwrap_or_default();
    let body = format!(r#"{{"notification_id": {id}, {rest}"#);
    call(organizer, Method::POST, "notifications/", body)
}

/// By how much a call is longer than what is handed in without an id.
fn added(organizer: &str) -> usize {
    const ID_DIGITS: usize = 16;
    r#""notification_id": , "organizer": "", "#.len() + ID_DIGITS + organizer.len()
}

/// A paid order of exactly so many bytes, unless that is too few for what it must say.
fn order(number: u64, at_show: usize, bytes: usize) -> String {
    let show = show(at_show);
    let start = format!(
        r#"{{"event": "{show}", "code": "N{number:010}", "action": "{PAID}", "comment": ""#
    );
    let room = bytes.saturating_sub(start.len() + 2);
    format!("{start}{}\"}}", "x".repeat(room))
}

fn notification(organizer: &Tenant, number: u64, bytes: usize, at: Timestamp) -> NewNotification {
    let event = show(0);
    let pair = MatchKey {
        topic: PAID.to_owned(),
        scope: scopes::event_scope(&event),
    };
    NewNotification {
        tenant: organizer.id,
        key: (number + 1).to_string(),
        action_type: PAID.to_owned(),
        match_keys: vec![pair],
        event: Some(event),
        headers: Headers::default(),
        body: Bytes::from(order(number, 0, bytes)),
        digest: None,
        match_context: None,
        only_webhook: None,
        at,
    }
}

fn number(body: &[u8]) -> Option<u64> {
    let at = body.windows(CODE.len()).position(|part| part == CODE)?;
    let after = body.get(at + CODE.len()..)?;
    let from = after.iter().position(u8::is_ascii_digit)?;
    let digits = after.get(from..)?.iter();
    digits
        .take_while(|byte| byte.is_ascii_digit())
        .try_fold(0_u64, |number, digit| {
            let digit = u64::from(digit.wrapping_sub(b'0'));
            number.checked_mul(10)?.checked_add(digit)
        })
}

fn show(index: usize) -> String {
    format!("show-{index}")
}

fn name(webhook: &WebhookRef) -> String {
    match webhook {
        WebhookRef::Id(id) => id.to_string(),
        WebhookRef::Key(key) => key.clone(),
    }
}

fn call(organizer: &str, method: Method, below: &str, body: String) -> DemoCall {
    DemoCall {
        method,
        path: format!("/api/v1/organizers/{organizer}/{below}"),
        scheme: "Token",
        body,
    }
}
