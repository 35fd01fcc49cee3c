//! Replay over an API: which deliveries a query selects, and the steps it takes.
//!
//! No parameter that narrows a request is ignored: that would send more than was asked for, and
//! cannot be undone.

use bytes::Bytes;
use model::contract::{ReplayFilter, ReplayRequest, ReplayResult, ReplayScope};
use model::id::{NotificationId, TenantId, WebhookId};
use model::query::DeliveryStatus;
use model::refusal::{Fault, Refusal};
use model::time::Timestamp;

use crate::gateway::api::AdmittedRequest;
use crate::gateway::operations;
use crate::gateway::store::refused;
use crate::transport::query::Query;

/// The parameters that select.
pub(crate) const NAMES: [&str; 4] = ["since", "until", "action_type", "status"];

pub(crate) const NO_MOMENT: &str = "Must be a time such as 2027-01-19T10:00:00Z.";

/// The name that a dialect has for some statuses.
pub(crate) type NamedStatuses = (&'static str, &'static [DeliveryStatus]);

/// Whose deliveries are replayed, and by whom.
pub(crate) struct ReplayCaller {
    pub(crate) tenant: TenantId,
    pub(crate) webhook: WebhookId,
    pub(crate) actor: String,
}

/// Which of the failed deliveries are selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplayQuery {
    statuses: &'static [DeliveryStatus],
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    action_type: Option<String>,
}

impl ReplayQuery {
    /// What the query selects; `None` if it has no parameters. A parameter without a value is an
    /// error: ignored, it would select all.
    pub(crate) fn read(
        query: &Query,
        usual: &'static [DeliveryStatus],
        named: &[NamedStatuses],
    ) -> Result<Option<Self>, Refusal> {
        if query.iter().next().is_none() {
            return Ok(None);
        }
        let mut faults = Vec::new();
        let mut meant = Self {
            statuses: usual,
            since: None,
            until: None,
            action_type: None,
        };
        for (name, place) in [("since", &mut meant.since), ("until", &mut meant.until)] {
            let Some(text) = query.get(name) else {
                continue;
            };
            *place = moment_of(text);
            if place.is_none() {
                faults.push(Fault::new(name, NO_MOMENT));
            }
        }
        match query.get("action_type") {
            Some("") => faults.push(Fault::new("action_type", "May not be empty.")),
            given => meant.action_type = given.map(str::to_owned),
        }
        if let Some(text) = query.get("status") {
            match named.iter().find(|(name, _)| *name == text) {
                Some((_, statuses)) => meant.statuses = statuses,
                None => {
                    let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
                    let names = names.join(", ");
                    let reason = format!("Must be one of {names}: nothing else has failed.");
                    faults.push(Fault::new("status", reason));
                }
            }
        }
        match faults.is_empty() {
            true => Ok(Some(meant)),
            false => Err(Refusal::Invalid(faults)),
        }
    }
}

/// A time in a query, where a bare plus means a space.
pub(crate) fn moment_of(text: &str) -> Option<Timestamp> {
    text.replace(' ', "+").parse().ok()
}

/// Refuses a body that is not empty, where only the query is read.
pub(crate) fn vet_body(body: &Bytes) -> Result<(), Refusal> {
    let said = body.iter().filter(|byte| !byte.is_ascii_whitespace());
    let says = |nothing: &&str| said.clone().take(5).eq(nothing.as_bytes());
    if ["", "{}", "null"].iter().any(says) {
        return Ok(());
    }
    Err(Refusal::BadRequest(format!(
        "The body is not read here. Say in the query what is meant, by {}.",
        NAMES.join(", ")
    )))
}

/// Replays what is selected and returns how many that were; `None` if the webhook is disabled.
/// `all` is what a request without parameters selects.
pub(crate) async fn send(
    request: &AdmittedRequest,
    asker: &ReplayCaller,
    meant: Option<ReplayQuery>,
    all: ReplayScope,
) -> Result<Option<usize>, Refusal> {
    let Some(meant) = meant else {
        return send_all(request, asker, all).await;
    };
    let began_at = request.context.clock.now();
    let mut count: usize = 0;
    for status in meant.statuses {
        let mut after = NotificationId(0);
        loop {
            let pick = ReplayFilter {
                status: *status,
                began_at,
                since: meant.since,
                until: meant.until,
                action_type: meant.action_type.clone(),
                after,
                last: meant.statuses.last() == Some(status),
            };
            match step(request, asker, ReplayScope::Filtered(pick), count).await? {
                ReplayResult::Unknown => return Err(Refusal::NoSuchObject),
                ReplayResult::Disabled => return Ok(None),
                // All of it was done under this key before.
                ReplayResult::Done { count, .. } => return Ok(Some(count)),
                ReplayResult::Reached { count: some, upto } => {
                    count = some;
                    match upto {
                        Some(upto) => after = upto,
                        None => break,
                    }
                }
            }
        }
    }
    Ok(Some(count))
}

async fn send_all(
    request: &AdmittedRequest,
    asker: &ReplayCaller,
    all: ReplayScope,
) -> Result<Option<usize>, Refusal> {
    let mut counted: usize = 0;
    loop {
        match step(request, asker, all.clone(), counted).await? {
            ReplayResult::Unknown => return Err(Refusal::NoSuchObject),
            ReplayResult::Disabled => return Ok(None),
            ReplayResult::Done { count, more: true } => counted = count,
            ReplayResult::Done { count, .. } | ReplayResult::Reached { count, .. } => {
                return Ok(Some(count));
            }
        }
    }
}

/// One step in the store, once if the request has a key. The count includes earlier steps.
pub(crate) async fn step(
    request: &AdmittedRequest,
    asker: &ReplayCaller,
    which: ReplayScope,
    counted: usize,
) -> Result<ReplayResult, Refusal> {
    let ask = ReplayRequest {
        tenant: asker.tenant,
        webhook: asker.webhook,
        which,
        actor: asker.actor.clone(),
    };
    let done = operations::replay(request, ask, counted).await;
    done.map_err(|error| refused(&error))
}
