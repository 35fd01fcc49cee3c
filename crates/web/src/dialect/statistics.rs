//! Attempts by what they came to, and response times, over REST: the same for every dialect, under
//! a path of our own. The dashboard draws the same numbers.

use http::StatusCode;
use model::id::{TenantId, WebhookId};
use model::refusal::Refusal;
use model::statistics::{AttemptClass, AttemptTally, StatisticsPeriod};
use serde_json::{Map, Value, json};

use super::own_block::answer;
use crate::gateway::api::{AdmittedRequest, ApiResponse};

/// The parameter that says for how long back.
pub(crate) const PERIOD: &str = "period";

/// If nobody says.
pub(crate) const PERIOD_USUAL: StatisticsPeriod = StatisticsPeriod::Day;

/// The percentiles that are shown, by their names.
pub(crate) const PERCENTILES: [(&str, u8); 3] = [("p50", 50), ("p95", 95), ("p99", 99)];

/// Shows those of a webhook, or of all webhooks of the tenant together.
pub(crate) async fn show(
    request: &AdmittedRequest,
    tenant: TenantId,
    webhook: Option<WebhookId>,
) -> Result<ApiResponse, Refusal> {
    let named = request.head.query.get(PERIOD);
    let period = named.map_or(Ok(PERIOD_USUAL), str::parse);
    let period = period.map_err(|()| {
        let names = StatisticsPeriod::ALL.map(StatisticsPeriod::as_str);
        Refusal::invalid(PERIOD, format!("It has to be one of {}.", names.join(", ")))
    })?;
    let query = period.query(tenant, webhook, request.context.clock.now());
    let steps = request.ask(move |store| store.statistics(query)).await?;
    let mut sum = AttemptTally::default();
    for step in &steps {
        sum.merge(step);
    }
    let shown = steps.iter().enumerate().map(|(place, step)| {
        let from = query.starts_at(place).to_string();
        json!({ "from": from, "attempts": counts(step), "response_ms": times(step) })
    });
    let all = json!({
        "period": period.as_str(),
        "from": query.from.to_string(),
        "to": query.to().to_string(),
        "step_seconds": query.step_ms / 1_000,
        "attempts": counts(&sum),
        "response_ms": times(&sum),
        "steps": shown.collect::<Vec<Value>>(),
    });
    Ok(answer(StatusCode::OK, &all))
}

fn counts(tally: &AttemptTally) -> Map<String, Value> {
    let each = AttemptClass::ALL.into_iter();
    each.map(|class| (class.as_str().to_owned(), json!(tally.count(class))))
        .collect()
}

/// Null where nothing was answered.
fn times(tally: &AttemptTally) -> Map<String, Value> {
    let each = PERCENTILES.into_iter();
    each.map(|(name, percent)| (name.to_owned(), json!(tally.percentile(percent))))
        .collect()
}
