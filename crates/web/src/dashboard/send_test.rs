//! Sending a test: a sample notification of a kind that the webhook wants, for this webhook only,
//! and what came of it.
//!
//! It is delivered like every notification. The page waits a moment for the first attempt, never
//! for a slow receiver.

use std::borrow::Cow;
use std::time::Duration;

use askama::Template;
use http::StatusCode;
use model::attempt::{Attempt, FailureKind, Outcome};
use model::delivery::{DeliveryState, DispatchState};
use model::id::{DeliveryId, NotificationId};
use model::query::{AttemptRecord, DeliveryDetail};
use model::target::masked;
use model::users::Role;
use model::webhook::Headers;

use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get, post};
use super::response::{PageError, PageResponse, go_to, page, page_with};
use super::text::{BodyText, TextExcerpt};
use super::view::{DisplayDuration, DisplayTime, Tone, status_words};
use super::visit::Visit;
use super::webhook::name_of;
use super::webhook_form::{find, path_to};
use crate::dialect::form::FieldChoice;
use crate::dialect::send_test::{TestResult, TestSender};

/// How long the page waits for the first attempt, and how often it looks.
const LOOKS: u32 = 20;
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// How often a page without an outcome reloads by itself.
const AGAIN_MAX: u32 = 30;

/// The most bytes of the page for each body and each block of header lines.
const BODY_ROOM: usize = 12 * 1024;
const HEADERS_ROOM: usize = 6 * 1024;

#[derive(Template)]
#[template(path = "send_test.html")]
struct TestPage {
    shell: Shell,
    path: String,
    name: String,
    url: String,
    kinds: Vec<FieldChoice>,
    enabled: bool,
    fault: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "test_outcome.html")]
struct TestOutcomePage {
    shell: Shell,
    path: String,
    name: String,
    /// The delivery's own page, with every attempt.
    delivery: String,
    notification: String,
    action_type: String,
    sent_at: DisplayTime,
    tone: Tone,
    status: &'static str,
    /// There is no outcome yet.
    waiting: bool,
    /// Why it is not sent yet, if that is known.
    unsent: Option<Cow<'static, str>>,
    /// It was sent, as far as is known.
    in_the_air: bool,
    /// The path to look again.
    look: String,
    /// The page looks again by itself, which helps for a while.
    again: bool,
    /// An outcome arrived after a reload, and screen readers are to announce it.
    arrived: bool,
    attempt: Option<TestAttempt>,
    /// When it is tried again, and whether that is due.
    next: Option<(DisplayTime, bool)>,
    body: BodyText,
}

impl TestOutcomePage {
    fn is_answered(&self) -> bool {
        let told = self.attempt.as_ref();
        told.is_some_and(|told| told.answer.is_some())
    }

    fn was_sent(&self) -> bool {
        let told = self.attempt.as_ref();
        told.is_some_and(|told| told.was_sent)
    }
}

/// The latest attempt.
struct TestAttempt {
    words: String,
    took: Option<DisplayDuration>,
    was_sent: bool,
    url: String,
    request_headers: TextExcerpt,
    answer: Option<TestResponse>,
}

struct TestResponse {
    status: u16,
    headers: TextExcerpt,
    body: BodyText,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    vec![
        get("test", "/t/{tenant}/webhooks/{webhook}/test", edit, ask),
        post(
            "test_send",
            "/t/{tenant}/webhooks/{webhook}/test",
            edit,
            send,
        ),
        get(
            "test_outcome",
            "/t/{tenant}/webhooks/{webhook}/test/{notification}",
            PageAccess::Role(Role::Look),
            show,
        ),
    ]
}

async fn ask(visit: Visit) -> Result<PageResponse, PageError> {
    form(&visit, StatusCode::OK, None).await
}

async fn form(
    visit: &Visit,
    status: StatusCode,
    fault: Option<&'static str>,
) -> Result<PageResponse, PageError> {
    let webhook = find(visit).await?;
    let dashboard = &visit.dialect()?.dashboard;
    let mut kinds = dashboard.forms.samples(&webhook);
    let typed = visit.form.get("kind");
    let position = kinds
        .iter()
        .position(|kind| Some(kind.value.as_str()) == typed);
    if let Some(kind) = kinds.get_mut(position.unwrap_or(0)) {
        kind.chosen = true;
    }
    let page = TestPage {
        shell: Shell::of(visit, Tab::Webhooks, "Send a test"),
        path: path_to(visit.tenant()?, webhook.id),
        name: name_of((dashboard.describe)(&webhook).name, &webhook),
        url: masked(&webhook.target_url),
        kinds,
        enabled: webhook.enabled(),
        fault,
    };
    page_with(status, &page)
}

async fn send(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    if !webhook.enabled() {
        return form(&visit, unprocessable, None).await;
    }
    let kind = visit.form.get("kind").unwrap_or_default();
    let dialect = visit.dialect()?;
    let sender = TestSender {
        store: &visit.context.store,
        rng: &visit.context.rng,
        tenant: visit.tenant()?,
        now: visit.now,
    };
    let forms = &*dialect.dashboard.forms;
    match sender.send(forms, &webhook, kind).await? {
        TestResult::Unwanted => {
            form(&visit, unprocessable, Some("Choose one of these kinds.")).await
        }
        // Just before.
        TestResult::Disabled => form(&visit, unprocessable, None).await,
        TestResult::Accepted(id) => {
            let path = path_to(visit.tenant()?, webhook.id);
            Ok(go_to(&format!("{path}/test/{}", id.notification)))
        }
    }
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let webhook = find(&visit).await?;
    let id = DeliveryId {
        notification: NotificationId(visit.id("notification")?),
        webhook: webhook.id,
    };
    let detail = first_attempt(&visit, id).await?;
    let tenant = visit.tenant()?;
    let path = path_to(tenant, webhook.id);
    let described = (visit.dialect()?.dashboard.describe)(&webhook);
    let looked: u32 = visit
        .query
        .get("again")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let waiting = detail.attempts.is_empty() && detail.row.state == DeliveryState::Pending;
    let next = looked.saturating_add(1);
    let dispatch_state = match waiting {
        true => (visit.context.dispatch_state)(id).await,
        false => None,
    };
    page(&TestOutcomePage {
        shell: Shell::of(&visit, Tab::Webhooks, "Test sent"),
        name: name_of(described.name, &webhook),
        delivery: format!("{}/deliveries/{id}", path_of(tenant)),
        notification: format!("{}/notifications/{}", path_of(tenant), id.notification),
        action_type: detail.row.action_type.clone(),
        sent_at: DisplayTime(detail.row.accepted_at),
        tone: Tone::of(detail.row.status()),
        status: status_words(detail.row.status()),
        waiting,
        unsent: dispatch_state.and_then(DispatchState::words),
        in_the_air: dispatch_state == Some(DispatchState::InFlight),
        look: format!("{path}/test/{}?again={next}", id.notification),
        again: waiting && looked < AGAIN_MAX,
        arrived: !waiting && looked > 0,
        attempt: detail.attempts.last().map(test_attempt),
        next: detail
            .row
            .due_at
            .map(|at| (DisplayTime(at), at <= visit.now)),
        body: BodyText::of(&detail.body, BODY_ROOM),
        path,
    })
}

/// The delivery, as soon as it has an outcome or the page has waited long enough.
async fn first_attempt(visit: &Visit, id: DeliveryId) -> Result<DeliveryDetail, PageError> {
    let tenant = visit.tenant()?.id;
    let mut looks = 0;
    loop {
        let found = visit.ask(|store| store.delivery(tenant, id)).await?;
        let detail = found.ok_or(PageError::NotFound)?;
        looks += 1;
        let done = !detail.attempts.is_empty() || detail.row.state.is_end();
        if done || looks >= LOOKS {
            return Ok(detail);
        }
        tokio::time::sleep(LOOK_AFTER).await;
    }
}

fn test_attempt(past: &AttemptRecord) -> TestAttempt {
    let attempt = &past.attempt;
    TestAttempt {
        words: attempt.outcome.words(),
        took: took(attempt),
        was_sent: was_sent(&attempt.outcome),
        url: attempt.url.to_string(),
        request_headers: lines(&attempt.request_headers),
        answer: match &attempt.outcome {
            Outcome::Answered(answer) => Some(TestResponse {
                status: answer.status,
                headers: lines(&answer.headers),
                body: BodyText::of(&answer.body, BODY_ROOM),
            }),
            Outcome::Failed(_) => None,
        },
    }
}

/// Whether the receiver may have got any of it.
pub(super) fn was_sent(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answered(_) => true,
        Outcome::Failed(failure) => match failure.kind {
            FailureKind::BadTarget
            | FailureKind::Unsigned
            | FailureKind::SealedHeader
            | FailureKind::TlsSettings
            | FailureKind::Handshake
            | FailureKind::Short
            | FailureKind::LookUp
            | FailureKind::Forbidden
            | FailureKind::Connect
            | FailureKind::Tls => false,
            FailureKind::TimeLimit
            | FailureKind::Closed
            | FailureKind::Garbled
            | FailureKind::Stale => true,
        },
    }
}

/// How long it took, unless it failed before anything was sent.
pub(super) fn took(attempt: &Attempt) -> Option<DisplayDuration> {
    let is_told = attempt.duration_ms > 0 || attempt.outcome.status().is_some();
    is_told.then(|| DisplayDuration(i64::from(attempt.duration_ms)))
}

/// Header lines as text.
pub(super) fn lines(headers: &Headers) -> TextExcerpt {
    let text = String::from_utf8_lossy(&headers.0);
    TextExcerpt::of(&text.replace("\r\n", "\n"), HEADERS_ROOM)
}
