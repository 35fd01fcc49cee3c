//! The page of one delivery: what was accepted, its state and why, what comes next and when, and
//! every attempt.

use std::borrow::Cow;

use askama::Template;
use model::delivery::{DeliveryState, DispatchState, probe_words};
use model::id::{DeliveryId, TenantId};
use model::limits::OVERDUE_AFTER_MS;
use model::query::{DeliveryDetail, DeliveryRow, DeliveryStatus};
use model::refusal::Refusal;
use model::time::Timestamp;
use model::users::Role;
use model::webhook::Webhook;

use super::attempt::{self, ATTEMPTS};
use super::names::{name_of, off};
use super::plan::{self, RetryPlan};
use super::row::seen;
use crate::dashboard::health;
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::live::{self, Feed, FeedItem, FeedUpdate, NewsFuture};
use crate::dashboard::page::{PageAccess, PageRoute, get};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::response::{PageError, PageResponse, page};
use crate::dashboard::text::{BodyText, TextExcerpt};
use crate::dashboard::view::{DisplaySize, DisplayTime, HtmlFragment, Tone, status_words};
use crate::dashboard::visit::Visit;

#[derive(Template)]
#[template(path = "log/delivery.html")]
struct DeliveryPage {
    shell: Shell,
    id: DeliveryId,
    path: String,
    here: String,
    state: HtmlFragment,
    is_moving: bool,
    key: String,
    action_type: String,
    show: Option<String>,
    is_test: bool,
    accepted_at: DisplayTime,
    webhook: String,
    target_url: String,
    body: BodyText,
    size: DisplaySize,
    content_type: String,
    attempts: Vec<HtmlFragment>,
    /// The number from which earlier attempts are shown, if there are any.
    before: Option<u32>,
    /// Whether there are later attempts.
    after: bool,
    lost: u32,
    live: Option<String>,
}

/// The state of a delivery, sent again whenever it changes.
#[derive(Template)]
#[template(path = "log/state.html")]
struct StateView<'a> {
    around: &'a StateContext,
    status: &'static str,
    tone: Tone,
    seen: String,
    words: String,
    attempts: u32,
    ended_at: Option<DisplayTime>,
    plan: Option<RetryPlan>,
    /// Why it is due and not sent, if that is known.
    unsent: Option<Cow<'static, str>>,
    in_the_air: bool,
    /// It waits until a probe succeeds.
    probe: Option<ProbeWait>,
    rule: Option<String>,
    off: Option<(DisplayTime, &'static str)>,
    is_deleted: bool,
    can_stop: bool,
}

/// What a delivery waits for whose receiver is probed.
struct ProbeWait {
    /// Since when all calls have failed.
    since: Option<DisplayTime>,
    words: String,
    /// From then on it is tried in any case.
    at_last: DisplayTime,
}

/// What the fragment of the state needs beside the delivery.
#[derive(Clone)]
struct StateContext {
    /// The path of the delivery's page.
    here: String,
    /// The prefix of the tenant's paths.
    path: String,
    may_edit: bool,
    csrf_token: String,
    id: DeliveryId,
}

/// A page waits for what is due within this time.
const SOON_MS: i64 = 60_000;

/// Limits in bytes of the page.
const NAME_ROOM: usize = 600;
const URL_ROOM: usize = 600;
const WORDS_ROOM: usize = 600;
const BODY_ROOM: usize = 8 * 1024;

pub(super) fn routes() -> Vec<PageRoute> {
    let look = PageAccess::Role(Role::Look);
    vec![
        get("delivery", "/t/{tenant}/deliveries/{delivery}", look, show),
        get(
            "delivery_live",
            "/t/{tenant}/deliveries/{delivery}/live",
            look,
            follow,
        ),
    ]
}

/// The delivery that the path names.
pub(super) fn delivery_id(visit: &Visit) -> Result<DeliveryId, PageError> {
    visit
        .param("delivery")
        .parse()
        .map_err(|_| PageError::NotFound)
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let (tenant, id) = (visit.tenant()?, delivery_id(&visit)?);
    let number = tenant.id;
    let detail = visit.ask(|store| store.delivery(number, id)).await?;
    let detail = detail.ok_or(PageError::NotFound)?;
    let lines = visit.ask(|s| s.log_rows(number, vec![id])).await?;
    let line = lines.into_iter().next().ok_or(PageError::NotFound)?;
    let webhook = visit.ask(|s| s.webhook(number, id.webhook)).await?;
    let name = match &webhook {
        Some(webhook) => name_of(&visit, webhook)?,
        None => format!("Webhook {}, which was deleted", id.webhook),
    };
    let asked = visit
        .query
        .get("attempt")
        .and_then(|n| n.parse::<u32>().ok());
    let around = StateContext::of(&visit, id)?;
    let (shown, before, after) = window(&detail, asked);
    let attempts = attempt::parts(&around.here, shown, &detail.body, asked)?;
    let oldest = detail.attempts.first().map_or(1, |past| past.number);
    let row = &detail.row;
    let soon = visit.now.plus_ms(SOON_MS);
    let newest_shown = !after;
    let content_type = visit.policy()?.content_type.clone();
    page(&DeliveryPage {
        shell: Shell::of(&visit, Tab::Log, format!("Delivery {id}")),
        id,
        path: around.path.clone(),
        state: state(&detail, webhook.as_ref(), &visit, &around).await?,
        is_moving: newest_shown && row.due_at.is_some_and(|at| at <= soon),
        key: TextExcerpt::line(&row.key, NAME_ROOM),
        action_type: TextExcerpt::line(&row.action_type, NAME_ROOM),
        show: row
            .event
            .as_ref()
            .map(|slug| TextExcerpt::line(slug, NAME_ROOM)),
        is_test: line.is_test,
        accepted_at: DisplayTime(row.accepted_at),
        webhook: name,
        target_url: TextExcerpt::line(&line.target_url, URL_ROOM),
        body: BodyText::of(&detail.body, BODY_ROOM),
        size: DisplaySize(detail.body.len()),
        content_type,
        attempts,
        before,
        after,
        lost: oldest.saturating_sub(1),
        // The state that is shown, not one read later.
        live: newest_shown.then(|| format!("{}/live?mark={}", around.here, mark(&detail.row))),
        here: around.here,
    })
}

/// The attempts of a page: the latest, or those around the one asked for; the number from which to
/// show earlier ones; and whether there are later ones.
fn window(
    detail: &DeliveryDetail,
    asked: Option<u32>,
) -> (&[model::query::AttemptRecord], Option<u32>, bool) {
    let all = &detail.attempts;
    let end = asked
        .and_then(|asked| all.iter().position(|past| past.number == asked))
        // The last ones are shown with the latest.
        .filter(|index| index + ATTEMPTS < all.len())
        .map_or(all.len(), |index| index + 1);
    let begin = end.saturating_sub(ATTEMPTS);
    let shown = all.get(begin..end).unwrap_or_default();
    let before = begin.checked_sub(1).and_then(|index| all.get(index));
    (shown, before.map(|past| past.number), end < all.len())
}

impl StateContext {
    fn of(visit: &Visit, id: DeliveryId) -> Result<Self, PageError> {
        let path = path_of(visit.tenant()?);
        Ok(Self {
            here: format!("{path}/deliveries/{id}"),
            path,
            may_edit: visit.may(Role::Edit),
            csrf_token: visit.csrf_token(),
            id,
        })
    }
}

/// Where the engine has a due delivery, if it knows.
async fn dispatch_state(
    context: &PageContext,
    row: &DeliveryRow,
    now: Timestamp,
) -> Option<DispatchState> {
    match row.due_at.is_some_and(|at| at <= now) {
        true => (context.dispatch_state)(row.id).await,
        false => None,
    }
}

/// Whether a due delivery waits for a probe: as the engine says, or, if another node has it, as
/// failures tell.
async fn probe_wait(
    context: &PageContext,
    (tenant, row): (TenantId, &DeliveryRow),
    webhook: Option<&Webhook>,
    (at, now): (Option<DispatchState>, Timestamp),
) -> Result<Option<ProbeWait>, Refusal> {
    let due_at = row.due_at.filter(|due_at| *due_at <= now);
    let (Some(due_at), Some(webhook)) = (due_at, webhook) else {
        return Ok(None);
    };
    if at.is_some_and(|at| at != DispatchState::CircuitOpen) {
        return Ok(None);
    }
    let asked = context
        .store
        .ask(|s| s.standings(tenant, vec![webhook.id], now));
    let health = asked.await?.into_iter().next();
    let guessed = health.as_ref();
    let guessed = guessed.is_some_and(|health| health::waits_for_probe(webhook, health, now));
    let since = health.and_then(|health| health.failing_since);
    Ok((at.is_some() || guessed).then(|| ProbeWait {
        since: since.map(DisplayTime),
        words: probe_words(),
        at_last: DisplayTime(due_at.plus_ms(OVERDUE_AFTER_MS)),
    }))
}

async fn state(
    detail: &DeliveryDetail,
    webhook: Option<&Webhook>,
    visit: &Visit,
    around: &StateContext,
) -> Result<HtmlFragment, PageError> {
    let (tenant, id) = (visit.tenant()?.id, detail.row.id.webhook);
    let limits = visit.ask(move |s| s.call_limits(tenant, id)).await?;
    let policy = visit.policy()?;
    let limited = policy.limited(&limits);
    let policy = limited.as_ref().unwrap_or(policy);
    let at = dispatch_state(&visit.context, &detail.row, visit.now).await;
    let owed = (tenant, &detail.row);
    let probe = probe_wait(&visit.context, owed, webhook, (at, visit.now)).await?;
    Ok(state_view(
        detail,
        webhook,
        policy,
        around,
        (at, probe, visit.now),
    )?)
}

fn state_view(
    detail: &DeliveryDetail,
    webhook: Option<&Webhook>,
    policy: &model::policy::Policy,
    around: &StateContext,
    (at, probe, now): (Option<DispatchState>, Option<ProbeWait>, Timestamp),
) -> Result<HtmlFragment, Refusal> {
    let row = &detail.row;
    let status = row.status();
    let retries_max = webhook.and_then(|webhook| webhook.retries_max);
    let plan = RetryPlan::of(detail, policy, retries_max, now);
    let is_owed = row.state == DeliveryState::Pending;
    HtmlFragment::of(&StateView {
        around,
        status: status_words(status),
        tone: Tone::of(status),
        seen: seen(status, row.attempts),
        words: TextExcerpt::line(&words(detail), WORDS_ROOM),
        attempts: row.attempts,
        ended_at: row.ended_at.map(DisplayTime),
        rule: is_owed.then(|| plan::rule(policy, retries_max)),
        plan,
        unsent: at.and_then(DispatchState::words),
        probe,
        in_the_air: at == Some(DispatchState::InFlight),
        off: webhook.and_then(|webhook| webhook.disabled.map(off)),
        is_deleted: webhook.is_none(),
        can_stop: is_owed,
    })
}

/// The state, in a sentence or two.
fn words(detail: &DeliveryDetail) -> String {
    let row = &detail.row;
    let latest = row.latest.as_ref().map(model::attempt::Outcome::words);
    match (row.state, latest) {
        (DeliveryState::Pending, None) => "It was not tried yet.".to_owned(),
        (DeliveryState::Cancelled(cause), _) => cause.words().to_owned(),
        (DeliveryState::Failed, Some(latest)) => {
            format!("All attempts of the schedule failed. The last time: {latest}")
        }
        (DeliveryState::Pending | DeliveryState::Delivered, Some(latest)) => latest,
        (DeliveryState::Delivered, None) => "The receiver has it.".to_owned(),
        (DeliveryState::Failed, None) => "All attempts of the schedule failed.".to_owned(),
    }
}

async fn follow(visit: Visit) -> Result<PageResponse, PageError> {
    let id = delivery_id(&visit)?;
    let tenant = visit.tenant()?;
    let sent_mark = live::mark_of(&visit).to_owned();
    let attempts = sent_mark.split('.').next().and_then(|n| n.parse().ok());
    let feed = DeliveryFeed {
        tenant: tenant.id,
        policy: visit.policy()?.clone(),
        around: StateContext::of(&visit, id)?,
        sent_mark,
        attempts: attempts.unwrap_or_default(),
        at: None,
    };
    live::follow(&visit, feed)
}

/// A token of the delivery as it was shown: number of attempts, state, due time.
fn mark(row: &DeliveryRow) -> String {
    let due_at = row.due_at.map_or(0, Timestamp::as_millis);
    format!(
        "{}.{}.{due_at}",
        row.attempts,
        DeliveryStatus::of(row.state, row.attempts).as_str()
    )
}

struct DeliveryFeed {
    tenant: TenantId,
    policy: model::policy::Policy,
    around: StateContext,
    /// The mark of the latest news.
    sent_mark: String,
    /// How many attempts were sent.
    attempts: u32,
    /// Where the engine had it in the latest news, while it was due.
    at: Option<DispatchState>,
}

impl Feed for DeliveryFeed {
    fn look<'a>(&'a mut self, context: &'a PageContext, now: Timestamp) -> NewsFuture<'a> {
        Box::pin(async move {
            let (tenant, id) = (self.tenant, self.around.id);
            let lines = context.store.ask(|s| s.log_rows(tenant, vec![id])).await?;
            let Some(line) = lines.first() else {
                // It was pruned meanwhile.
                return Ok(FeedUpdate {
                    over: true,
                    ..FeedUpdate::default()
                });
            };
            let mark = mark(&line.row);
            // While it is due its state in the engine changes, and no row does.
            let at = dispatch_state(context, &line.row, now).await;
            let again = at.is_some();
            if mark == self.sent_mark && at == self.at {
                return Ok(FeedUpdate {
                    again,
                    ..FeedUpdate::default()
                });
            }
            let Some(detail) = context.store.ask(|s| s.delivery(tenant, id)).await? else {
                return Ok(FeedUpdate {
                    over: true,
                    ..FeedUpdate::default()
                });
            };
            let webhook = context.store.ask(|s| s.webhook(tenant, id.webhook)).await?;
            let limits = context.store.ask(|s| s.call_limits(tenant, id.webhook));
            let limited = self.policy.limited(&limits.await?);
            let mut news = FeedUpdate {
                mark: mark.clone(),
                again,
                ..FeedUpdate::default()
            };
            let fresh = detail
                .attempts
                .iter()
                .filter(|past| past.number > self.attempts);
            let fresh: Vec<_> = fresh.collect();
            for past in fresh.iter().skip(fresh.len().saturating_sub(ATTEMPTS)) {
                let part = attempt::whole(&self.around.here, past, &detail.body, true)?;
                news.tidings.push(FeedItem::Put(part));
            }
            let owed = (tenant, &detail.row);
            let probe = probe_wait(context, owed, webhook.as_ref(), (at, now)).await?;
            let part = state_view(
                &detail,
                webhook.as_ref(),
                limited.as_ref().unwrap_or(&self.policy),
                &self.around,
                (at, probe, now),
            )?;
            news.tidings.push(FeedItem::Put(part));
            self.attempts = detail.row.attempts;
            self.sent_mark = mark;
            self.at = at;
            Ok(news)
        })
    }
}
