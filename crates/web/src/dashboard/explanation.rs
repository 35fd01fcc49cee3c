//! Why, or why not: one notification, and for every webhook of the tenant whether it got it and by
//! which rule, as the webhook stood when the notification was accepted.

use crate::transport::body::Body as HttpBody;
use askama::Template;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Response};
use model::dashboard::{MatchExplanation, NotificationDetail, WebhookSnapshot};
use model::id::{NotificationId, WebhookId};
use model::limits::PAGE_ROWS_MAX;
use model::query::DeliveryStatus;
use model::target::masked;
use model::users::Role;
use model::webhook::DisableCause;

use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get};
use super::response::{PageError, PageResponse, page};
use super::send_test::lines;
use super::text::{BodyText, TextExcerpt};
use super::view::{DisplaySize, DisplayTime, Tone, short, status_words};
use super::visit::Visit;
use super::webhook::name_of;
use crate::dialect::dashboard::{DialectDashboard, NotificationFacts};

/// The most bytes of the page that each form of the body takes.
const BODY_ROOM: usize = 16 * 1024;

/// The most characters of a name, a URL or a rule, so that a page stays small.
const SHOWN_CHARS_MAX: usize = 160;
const RULE_CHARS_MAX: usize = 600;

#[derive(Template)]
#[template(path = "notification.html")]
struct ExplanationPage {
    shell: Shell,
    path: String,
    list: String,
    key: String,
    action_type: String,
    event: Option<String>,
    accepted_at: DisplayTime,
    delivery_count: u32,
    is_test: bool,
    rows: Vec<ExplanationLine>,
    is_first: bool,
    /// The path of the next webhooks, if there are more.
    more: Option<String>,
    headers: TextExcerpt,
    body: BodyText,
    size: DisplaySize,
}

/// One webhook, and whether it got the notification.
struct ExplanationLine {
    name: String,
    url: String,
    /// Its page, unless it is deleted.
    path: Option<String>,
    rule: String,
    /// The words that lead from the rule to its time.
    at: Option<DisplayTime>,
    /// More facts.
    more: Option<String>,
    changed_since: bool,
    delivery: Option<DeliveryLink>,
}

struct DeliveryLink {
    path: String,
    tone: Tone,
    status: &'static str,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let look = PageAccess::Role(Role::Look);
    vec![
        get(
            "notification",
            "/t/{tenant}/notifications/{notification}",
            look,
            show,
        ),
        get(
            "notification_body",
            "/t/{tenant}/notifications/{notification}/body",
            look,
            download,
        ),
    ]
}

async fn find(visit: &Visit) -> Result<NotificationDetail, PageError> {
    let (tenant, id) = (
        visit.tenant()?.id,
        NotificationId(visit.id("notification")?),
    );
    let found = visit.ask(|store| store.notification(tenant, id)).await?;
    found.ok_or(PageError::NotFound)
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let detail = find(&visit).await?;
    let tenant = visit.tenant()?;
    let dialect = visit.dialect()?;
    let after = visit.query.get("after").and_then(|text| text.parse().ok());
    let after = after.map(WebhookId);
    let (id, notification) = (tenant.id, detail.id);
    let explanations = visit
        .ask(|store| store.match_explanations(id, notification, after, PAGE_ROWS_MAX))
        .await?;
    let list = format!("{}/notifications", path_of(tenant));
    let path = format!("{list}/{notification}");
    let last = explanations
        .last()
        .filter(|_| explanations.len() >= PAGE_ROWS_MAX);
    let row = |explanation| row(&dialect.dashboard, &path_of(tenant), &detail, explanation);
    page(&ExplanationPage {
        shell: Shell::of(&visit, Tab::Notifications, "Why (not)?"),
        more: last.map(|own| format!("{path}?after={}", own.webhook.id)),
        rows: explanations.iter().map(row).collect(),
        path,
        list,
        key: short(&detail.key, SHOWN_CHARS_MAX),
        action_type: detail.action_type.clone(),
        event: detail.event.clone(),
        accepted_at: DisplayTime(detail.accepted_at),
        delivery_count: detail.delivery_count,
        is_test: detail.only_webhook.is_some(),
        is_first: after.is_none(),
        headers: lines(&detail.headers),
        body: BodyText::of(&detail.body, BODY_ROOM),
        size: DisplaySize(detail.body.len()),
    })
}

fn row(
    dashboard: &DialectDashboard,
    tenant: &str,
    detail: &NotificationDetail,
    explanation: &MatchExplanation,
) -> ExplanationLine {
    let webhook = &explanation.webhook;
    let name = name_of((dashboard.describe)(webhook).name, webhook);
    let then = explanation.then.as_ref();
    let changed_since = then.is_some_and(|then| then.changed_since);
    let text = tell(dashboard, detail, explanation);
    let page = format!("{tenant}/webhooks/{}", webhook.id);
    ExplanationLine {
        name: short(&name, SHOWN_CHARS_MAX),
        url: short(&masked(&webhook.target_url), SHOWN_CHARS_MAX),
        path: (!webhook.is_deleted()).then_some(page),
        rule: short(&text.rule, RULE_CHARS_MAX),
        at: text.at,
        more: text.more.map(|more| short(&more, RULE_CHARS_MAX)),
        changed_since,
        delivery: explanation.delivery.map(|(state, attempts)| {
            let status = DeliveryStatus::of(state, attempts);
            DeliveryLink {
                path: format!("{tenant}/deliveries/dlv_{}_{}", detail.id, webhook.id),
                tone: Tone::of(status),
                status: status_words(status),
            }
        }),
    }
}

/// The rule that decided, in words.
struct ExplanationText {
    rule: String,
    at: Option<DisplayTime>,
    more: Option<String>,
}

impl ExplanationText {
    fn rule(rule: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            at: None,
            more: None,
        }
    }
}

fn tell(
    dashboard: &DialectDashboard,
    detail: &NotificationDetail,
    explanation: &MatchExplanation,
) -> ExplanationText {
    let got = explanation.delivery.is_some();
    if let Some(only) = detail.only_webhook {
        if only != explanation.webhook.id {
            return ExplanationText::rule("A test of another webhook: it went to that one only.");
        }
        if got {
            return ExplanationText::rule("A test of this webhook: it went to this one only.");
        }
    }
    let Some(then) = &explanation.then else {
        return match got {
            true => ExplanationText::rule("It was there when this came in, and wanted it."),
            false => ExplanationText {
                at: Some(DisplayTime(explanation.webhook.created_at)),
                ..ExplanationText::rule("Made later: it was created")
            },
        };
    };
    let happened = NotificationFacts {
        action_type: &detail.action_type,
        event: detail.event.as_deref(),
        about: detail.match_context.as_deref(),
    };
    let verdict = dashboard.forms.explain(&happened, then);
    if !got && then.disabled.is_some() {
        return disabled(then, &verdict.rule);
    }
    match (got, verdict.wanted) {
        (true, true) | (false, false) => ExplanationText::rule(verdict.rule),
        // Said of settings of the operator, which may have been different then.
        (true, false) => {
            ExplanationText::rule("By the server's settings of that time it wanted this.")
        }
        (false, true) => {
            ExplanationText::rule("By the server's settings of that time it did not want this.")
        }
    }
}

fn disabled(then: &WebhookSnapshot, otherwise: &str) -> ExplanationText {
    let (words, at) = match then.disabled {
        Some(disabled) => {
            let words = match disabled.cause {
                DisableCause::Requested => "Disabled: somebody had disabled it",
                DisableCause::Gone => "Disabled: its receiver had answered 410 Gone",
                DisableCause::Deleted => "Deleted",
            };
            (words, Some(DisplayTime(disabled.at)))
        }
        None => ("Disabled", None),
    };
    ExplanationText {
        at,
        more: Some(format!("Had it been enabled: {otherwise}")),
        ..ExplanationText::rule(words)
    }
}

/// The body as it is, as plain text: no browser takes it for a page of ours.
async fn download(visit: Visit) -> Result<PageResponse, PageError> {
    let detail = find(&visit).await?;
    let mut response = Response::new(HttpBody::from(detail.body));
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    let name = format!("attachment; filename=\"notification-{}.txt\"", detail.id);
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
