//! The filter of a log over REST: read from the query, the same for every dialect.

use model::id::{NotificationId, TenantId, WebhookId};
use model::limits::{NAME_BYTES_MAX, NOTIFICATION_KEY_BYTES_MAX, PAGE_ROWS_MAX};
use model::query::{DeliveryStatus, LogQuery};
use model::refusal::{Fault, Refusal};

use super::log_names::LogNames;
use super::replay;
use crate::gateway::api::AdmittedRequest;

/// No notification has this id.
const NONE: NotificationId = NotificationId(0);

/// The query that a request asks, of this webhook or of all. `others` is what was wrong with its
/// other parameters.
pub(crate) async fn read(
    request: &AdmittedRequest,
    tenant: TenantId,
    webhook: Option<WebhookId>,
    names: &LogNames,
    others: Vec<Fault>,
) -> Result<LogQuery, Refusal> {
    let (query, mut faults) = filter(request, webhook, names.code_text);
    faults.extend(others);
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }
    let Some(key) = given(request, "notification_id") else {
        return Ok(query);
    };
    let asked = request.ask(|s| s.notification_by_key(tenant, key.to_owned()));
    let found = asked.await?;
    Ok(LogQuery {
        notification: Some(found.map_or(NONE, |detail| detail.id)),
        ..query
    })
}

/// A parameter that is not empty.
fn given<'a>(request: &'a AdmittedRequest, name: &str) -> Option<&'a str> {
    let value = request.head.query.get(name);
    value.filter(|text| !text.is_empty())
}

fn filter(
    request: &AdmittedRequest,
    webhook: Option<WebhookId>,
    code_text: fn(&str) -> String,
) -> (LogQuery, Vec<Fault>) {
    let mut faults = Vec::new();
    let given = |name: &str| given(request, name);
    let status = given("status").and_then(|text| {
        let status = text.parse::<DeliveryStatus>().ok();
        if status.is_none() {
            let all = DeliveryStatus::ALL.map(DeliveryStatus::as_str);
            let words = format!("Must be one of {}.", all.join(", "));
            faults.push(Fault::new("status", words));
        }
        status
    });
    let response = given("response").and_then(|text| {
        let response = text.parse().ok();
        if response.is_none() {
            let words = "Must be a status such as 503, a class such as 5xx, or none.";
            faults.push(Fault::new("response", words));
        }
        response
    });
    let mut moment = |name: &'static str| {
        let moment = replay::moment_of(given(name)?);
        if moment.is_none() {
            faults.push(Fault::new(name, replay::NO_MOMENT));
        }
        moment
    };
    let (since, until) = (moment("since"), moment("until"));
    for (name, most) in [
        ("text", NAME_BYTES_MAX),
        ("code", NAME_BYTES_MAX),
        ("notification_id", NOTIFICATION_KEY_BYTES_MAX),
    ] {
        if given(name).is_some_and(|text| text.len() > most) {
            faults.push(Fault::new(name, format!("Must have {most} bytes at most.")));
        }
    }
    if given("text").is_some() && given("code").is_some() {
        faults.push(Fault::new("code", "Give either a code or a text."));
    }
    let text =
        given("code").map_or_else(|| given("text").unwrap_or_default().to_owned(), code_text);
    let query = LogQuery {
        webhook,
        status,
        action_type: given("action_type").map(str::to_owned),
        event: given("event").map(str::to_owned),
        since,
        until,
        response,
        text,
        limit: PAGE_ROWS_MAX,
        ..LogQuery::default()
    };
    (query, faults)
}
