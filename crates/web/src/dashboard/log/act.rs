//! Replaying and stopping deliveries: one, or those selected on a page. Each is named together with
//! the state that the page showed, so that a form sent twice, or late, does nothing to a delivery
//! that has changed.

use std::collections::BTreeMap;

use model::contract::{ReplayRequest, ReplayResult, ReplayScope};
use model::id::DeliveryId;
use model::limits::PAGE_ROWS_MAX;
use model::refusal::Refusal;
use model::users::Role;

use super::delivery::delivery_id;
use super::row::seen;
use crate::dashboard::layout::path_of;
use crate::dashboard::page::{PageAccess, PageRoute, post};
use crate::dashboard::response::{PageError, PageResponse, go_to};
use crate::dashboard::visit::Visit;

pub(super) fn routes() -> Vec<PageRoute> {
    let edit = PageAccess::Role(Role::Edit);
    vec![
        post(
            "deliveries_chosen",
            "/t/{tenant}/deliveries",
            edit,
            act_on_chosen,
        ),
        post(
            "delivery_again",
            "/t/{tenant}/deliveries/{delivery}/again",
            edit,
            send_again,
        ),
        post(
            "delivery_stop",
            "/t/{tenant}/deliveries/{delivery}/stop",
            edit,
            stop_one,
        ),
    ]
}

/// What to do with the deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeliveryAction {
    Again,
    Stop,
}

/// The result, in numbers of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct ActionCounts {
    done: usize,
    /// Their webhook is disabled or deleted.
    off: usize,
    /// They had changed since they were shown.
    moved: usize,
}

/// A delivery and the state that was shown of it.
type Selection = BTreeMap<DeliveryId, String>;

async fn send_again(visit: Visit) -> Result<PageResponse, PageError> {
    one(&visit, DeliveryAction::Again).await
}

async fn stop_one(visit: Visit) -> Result<PageResponse, PageError> {
    one(&visit, DeliveryAction::Stop).await
}

async fn one(visit: &Visit, what: DeliveryAction) -> Result<PageResponse, PageError> {
    let (tenant, id) = (visit.tenant()?, delivery_id(visit)?);
    let number = tenant.id;
    let known = visit.ask(|s| s.log_rows(number, vec![id])).await?;
    if known.is_empty() {
        return Err(PageError::NotFound);
    }
    let saw = visit.form.get("seen").unwrap_or_default().to_owned();
    let came = act(visit, what, Selection::from([(id, saw)])).await?;
    let said = match (what, came) {
        (_, ActionCounts { off: 1, .. }) => "off",
        (_, ActionCounts { moved: 1, .. }) => "moved",
        (DeliveryAction::Again, _) => "retried",
        (DeliveryAction::Stop, _) => "stopped",
    };
    Ok(go_to(&format!(
        "{}/deliveries/{id}?said={said}",
        path_of(tenant)
    )))
}

async fn act_on_chosen(visit: Visit) -> Result<PageResponse, PageError> {
    let what = match visit.form.get("do") {
        Some("again") => DeliveryAction::Again,
        Some("stop") => DeliveryAction::Stop,
        _ => return Err(Refusal::bad_request("Say what to do: again or stop.").into()),
    };
    let chosen = visit.form.all("delivery").filter_map(|value| {
        let (id, saw) = value.split_once(':')?;
        Some((id.parse().ok()?, saw.to_owned()))
    });
    let chosen: Selection = chosen.take(PAGE_ROWS_MAX).collect();
    let none = chosen.is_empty();
    let came = act(&visit, what, chosen).await?;
    let said = match (what, came) {
        _ if none => "none-chosen",
        (
            _,
            ActionCounts {
                done: 0, off: 0, ..
            },
        ) => "all-moved",
        (_, ActionCounts { done: 0, .. }) => "all-off",
        (
            DeliveryAction::Again,
            ActionCounts {
                off: 0, moved: 0, ..
            },
        ) => "retried-some",
        (
            DeliveryAction::Stop,
            ActionCounts {
                off: 0, moved: 0, ..
            },
        ) => "stopped-some",
        (DeliveryAction::Again, _) => "retried-part",
        (DeliveryAction::Stop, _) => "stopped-part",
    };
    Ok(go_to(&back(&visit, said)?))
}

/// The page that the form was sent from, if it is one of the tenant's; else the log.
fn back(visit: &Visit, said: &str) -> Result<String, PageError> {
    let path = path_of(visit.tenant()?);
    let given = visit.form.get("back").unwrap_or_default();
    let own = given
        .strip_prefix(&path)
        .is_some_and(|rest| rest.starts_with('/') && rest.chars().all(|c| c.is_ascii_graphic()));
    let place = match own {
        true => given.to_owned(),
        false => format!("{path}/log"),
    };
    let joint = match place.contains('?') {
        true if place.ends_with(['?', '&']) => "",
        true => "&",
        false => "?",
    };
    Ok(format!("{place}{joint}said={said}"))
}

async fn act(
    visit: &Visit,
    what: DeliveryAction,
    chosen: Selection,
) -> Result<ActionCounts, PageError> {
    let tenant = visit.tenant()?.id;
    let ids: Vec<DeliveryId> = chosen.keys().copied().collect();
    let mut came = ActionCounts::default();
    if ids.is_empty() {
        return Ok(came);
    }
    let rows = visit.ask(|s| s.log_rows(tenant, ids.clone())).await?;
    let as_seen = rows.iter().filter(|line| {
        let now = seen(line.row.status(), line.row.attempts);
        chosen.get(&line.row.id) == Some(&now)
    });
    let ids: Vec<DeliveryId> = as_seen.map(|line| line.row.id).collect();
    came.moved = chosen.len() - ids.len();
    match what {
        DeliveryAction::Stop => {
            let (count, now) = (ids.len(), visit.now);
            let stopped =
                visit.ask(|s| s.cancel_deliveries(tenant, ids.clone(), visit.actor(), now));
            came.done = stopped.await?;
            came.moved += count.saturating_sub(came.done);
        }
        DeliveryAction::Again => again(visit, ids, &mut came).await?,
    }
    Ok(came)
}

/// Hands all to the store before waiting for any, so that they share its commits.
async fn again(
    visit: &Visit,
    ids: Vec<DeliveryId>,
    came: &mut ActionCounts,
) -> Result<(), PageError> {
    let tenant = visit.tenant()?.id;
    let ask = |id: DeliveryId| ReplayRequest {
        tenant,
        webhook: id.webhook,
        which: ReplayScope::One(id),
        actor: visit.actor(),
    };
    let store = visit.context.store.get();
    let replies = ids
        .iter()
        .map(|id| (*id, store.replay(ask(*id), visit.now)));
    let replies: Vec<_> = replies.collect();
    for (id, reply) in replies {
        let answer = match reply.await {
            Ok(answer) => answer,
            // Safe to repeat: what is due already stays so.
            Err(_) => visit.ask(|s| s.replay(ask(id), visit.now)).await?,
        };
        match answer {
            ReplayResult::Done { count: 0, .. } | ReplayResult::Unknown => came.moved += 1,
            ReplayResult::Done { .. } | ReplayResult::Reached { .. } => came.done += 1,
            ReplayResult::Disabled => came.off += 1,
        }
    }
    Ok(())
}
