//! Settings of a webhook that its dialect cannot read. Every page and list that shows the webhook
//! meets them, so they are logged now and then only.

use model::log_line::shown;
use model::target;
use model::webhook::Webhook;

use crate::line_budget::SharedLineBudget;

/// So many at once, then one a minute.
static LINES: SharedLineBudget = SharedLineBudget::new(5, 60_000);

/// The most characters of a target URL in a log line.
const URL_CHARS_MAX: usize = 300;

pub(crate) fn tell(webhook: &Webhook, dialect: &str, error: &serde_json::Error) {
    if let Some(others) = LINES.take() {
        let url = shown(&target::masked(&webhook.target_url), URL_CHARS_MAX);
        tracing::error!(
            webhook = %webhook.id,
            dialect,
            tenant_id = %webhook.tenant,
            url,
            %error,
            others,
            "the settings of a webhook are damaged"
        );
    }
}
