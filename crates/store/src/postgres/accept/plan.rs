//! Decides what becomes of each notification of a group, and what is written for it. Asks nothing
//! and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::contract::StoreError;
use model::delivery::{Delivery, DueDelivery};
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::limits::INTAKE_BATCH_MAX;
use model::mutation::{Mutation, is_on};
use model::notification::{AcceptResult, NewNotification};
use model::time::Timestamp;

use crate::postgres::accept::ask::Known;
use crate::postgres::accept::events::NewEvents;
use crate::postgres::accept::repeated::Repeated;
use crate::postgres::accept::subscribers::Subscribers;
use crate::postgres::accept::times::Fall;
use crate::postgres::session_caches::AcceptCache;
use crate::sql::fan_out;
use crate::sql::intake_cache;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::post_commit::PostCommit;

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Acceptance {
    Done(Vec<AcceptResult>),
    /// Nothing was written for it, and nothing will be if it comes again at once.
    Refused(StoreError),
    /// Nothing was written for it: somebody else holds one of its tenants. To be tried again.
    Later,
}

/// Rows that a group writes at most for notifications of many webhooks: some milliseconds, for
/// which others of the tenant wait. What is owed beyond it is materialized in steps.
const ROWS_MAX: usize = 2_048;

/// The same for notifications of few webhooks, which steps would take no less time for.
const ROWS_OF_FEW_MAX: usize = 8_192;

/// So many webhooks are few.
const FEW_WEBHOOKS: usize = 64;

/// What is written for a group.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) notifications: Vec<NewRow<'a>>,
    /// Deliveries that are materialized at once: tenants, webhooks and notifications.
    pub(super) unattempted: [Vec<i64>; 3],
    pub(super) listings: Vec<Listing>,
    pub(super) falls: Vec<(TenantId, i64, Fall)>,
    pub(super) events: Vec<(TenantId, &'a str)>,
}

pub(super) struct NewRow<'a> {
    pub(super) new: &'a NewNotification,
    pub(super) id: i64,
    pub(super) accepted_at: Timestamp,
    pub(super) deliveries: u32,
}

/// Notifications that are materialized in steps, for the same webhooks.
pub(super) struct Listing {
    pub(super) tenant: TenantId,
    pub(super) webhooks: Arc<[WebhookId]>,
    pub(super) notifications: Vec<i64>,
}

/// Decides about a group.
pub(super) struct Planner<'g, 'a> {
    pub(super) known: Known,
    pub(super) repeated: Repeated<'a>,
    pub(super) subscribers: Subscribers<'g>,
    pub(super) new_events: NewEvents<'a>,
    /// Whether the catalog may be changed.
    pub(super) has_turn: bool,
    pub(super) cache: &'g mut AcceptCache,
    pub(super) post_commit: &'g mut PostCommit,
    /// What the group itself has under these keys, by its place among `plan.notifications`.
    pub(super) own: BTreeMap<(TenantId, &'a str), usize>,
    pub(super) plan: Plan<'a>,
}

impl<'a> Planner<'_, 'a> {
    /// Decides about a batch, whose first notification has this place in the group.
    pub(super) fn batch(
        &mut self,
        first: usize,
        batch: &'a [NewNotification],
    ) -> Result<Acceptance, JobError> {
        if let Some(refused) = self.refusal(first, batch) {
            return Ok(refused);
        }
        let results = batch.iter().enumerate();
        let results = results.map(|(index, new)| self.one(first + index, new));
        Ok(Acceptance::Done(results.collect::<Result<_, JobError>>()?))
    }

    fn refusal(&self, first: usize, batch: &[NewNotification]) -> Option<Acceptance> {
        for (index, new) in batch.iter().enumerate() {
            if let Some(None) = self.repeated.result(first + index) {
                return Some(Acceptance::Later);
            }
            let Some(state) = self.known.tenants.get(&new.tenant) else {
                return Some(Acceptance::Later);
            };
            if fan_out::is_much(state.owed) {
                return Some(Acceptance::Refused(StoreError::Busy));
            }
            let slug = new.event.as_deref();
            if !self.has_turn && slug.is_some_and(|slug| self.new_events.is_due(new.tenant, slug)) {
                return Some(Acceptance::Later);
            }
        }
        None
    }

    fn one(&mut self, place: usize, new: &'a NewNotification) -> Result<AcceptResult, JobError> {
        if let Some(Some(result)) = self.repeated.result(place) {
            return Ok(result.clone());
        }
        let own = self.own.get(&(new.tenant, new.key.as_str())).copied();
        if let Some(own) = own.and_then(|own| self.plan.notifications.get(own)) {
            return Ok(own.found(new));
        }
        let state = self.known.tenants.get_mut(&new.tenant);
        let state = state.ok_or(CorruptRow("answer"))?;
        let webhooks = self.subscribers.of(place);
        let id = self.known.ids.next().ok_or(CorruptRow("answer"))?;
        let (accepted_at, fall) = state.times.accepted_at(new.at);
        let row = NewRow {
            new,
            id,
            accepted_at,
            deliveries: u32::try_from(webhooks.len()).unwrap_or(u32::MAX),
        };
        let accepted = row.accepted();
        if is_on(Mutation::AcknowledgeBeforeCommit) && id % 64 == 0 {
            return Ok(accepted);
        }
        self.own
            .insert((new.tenant, &new.key), self.plan.notifications.len());
        self.plan.notifications.push(row);
        let fall = fall.map(|fall| (new.tenant, id, fall));
        self.plan.falls.extend(fall);
        self.register(new);
        if self.owe(new.tenant, id, &webhooks) {
            tell(self.post_commit, new, NotificationId(id), &webhooks);
        }
        Ok(accepted)
    }

    /// Registers the event with the tenant, unless it is known or the tenant has too many.
    fn register(&mut self, new: &'a NewNotification) {
        let Some(slug) = new.event.as_deref() else {
            return;
        };
        let tenant = new.tenant;
        if self.new_events.is_due(tenant, slug) {
            let count = self.new_events.take(tenant, slug);
            self.plan.events.push((tenant, slug));
            self.post_commit.catalog_changed();
            self.cache.events.keep_count(tenant, count);
            self.cache.events.keep(tenant, slug);
        } else if self.new_events.is_too_many(tenant, slug) {
            let count = self.new_events.count(tenant);
            self.cache.events.keep_count(tenant, count);
            if self.cache.warned.insert(tenant) {
                intake_cache::warn_of_events(tenant);
            }
        }
    }

    /// Records the deliveries of a new notification. Answers whether they have rows at once; those
    /// of the fan-out are told with their step.
    fn owe(&mut self, tenant: TenantId, id: i64, webhooks: &Arc<[WebhookId]>) -> bool {
        let [tenants, ids, notifications] = &mut self.plan.unattempted;
        let rows = tenants.len() + webhooks.len();
        let most = match webhooks.len() {
            0..=FEW_WEBHOOKS => ROWS_OF_FEW_MAX,
            _ => ROWS_MAX,
        };
        if webhooks.is_empty() || rows <= most {
            tenants.extend(webhooks.iter().map(|_| tenant.0));
            ids.extend(webhooks.iter().map(|webhook| webhook.0));
            notifications.extend(webhooks.iter().map(|_| id));
            return true;
        }
        if let Some(state) = self.known.tenants.get_mut(&tenant) {
            state.owed += webhooks.len();
        }
        self.post_commit.fan_out_begun();
        let same = |open: &&mut Listing| {
            open.tenant == tenant
                && open.notifications.len() < INTAKE_BATCH_MAX
                && (Arc::ptr_eq(&open.webhooks, webhooks) || open.webhooks == *webhooks)
        };
        match self.plan.listings.last_mut().filter(same) {
            Some(open) => open.notifications.push(id),
            None => self.plan.listings.push(Listing {
                tenant,
                webhooks: Arc::clone(webhooks),
                notifications: vec![id],
            }),
        }
        false
    }
}

impl NewRow<'_> {
    fn accepted(&self) -> AcceptResult {
        AcceptResult::Accepted {
            id: NotificationId(self.id),
            deliveries: self.deliveries,
        }
    }

    /// What this one makes of a later one with the same key.
    fn found(&self, later: &NewNotification) -> AcceptResult {
        let id = NotificationId(self.id);
        let same = self.new.action_type == later.action_type
            && self.new.body == later.body
            && self.new.digest == later.digest;
        match same {
            true => AcceptResult::Duplicate {
                id,
                deliveries: self.deliveries,
            },
            false => AcceptResult::Conflict {
                id,
                accepted_at: self.accepted_at,
            },
        }
    }
}

/// Tells the subscriber what is due, once it is durable.
fn tell(
    post_commit: &mut PostCommit,
    new: &NewNotification,
    notification: NotificationId,
    webhooks: &[WebhookId],
) {
    if let Some(webhook) = new.only_webhook {
        // Somebody waits for the result, so the subscriber has to look the webhook up again.
        post_commit.changed(webhook);
    }
    let key: Arc<str> = Arc::from(new.key.as_str());
    let action_type: Arc<str> = Arc::from(new.action_type.as_str());
    let due = |webhook| DueDelivery {
        delivery: Delivery {
            id: DeliveryId {
                notification,
                webhook,
            },
            round: 1,
            attempts: 0,
            round_attempts: 0,
            round_began_at: None,
            due_at: new.at,
        },
        key: Arc::clone(&key),
        action_type: Arc::clone(&action_type),
        accepted_at: new.at,
        headers: new.headers.clone(),
        body: new.body.clone(),
    };
    match new.only_webhook {
        // A test: somebody is looking at the page.
        Some(_) => webhooks
            .iter()
            .for_each(|webhook| post_commit.requested(due(*webhook))),
        None => post_commit.accepted(webhooks, new.at, due),
    }
}
