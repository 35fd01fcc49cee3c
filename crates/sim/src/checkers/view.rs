//! What checkers look at: the history and the record, each by delivery.

use std::collections::BTreeMap;
use std::fmt;

use model::attempt::Outcome;
use model::query::AttemptRecord;

use crate::history::{Call, History, WebhookHistory};
use crate::record::Record;
use crate::scenario::{DAY, Dialect, START, Scenario};
use crate::world::World;

/// A promise that was broken.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) promise: &'static str,
    pub(crate) what: String,
}

/// A webhook's number, and a notification's code.
pub(super) type DeliveryKey<'a> = (usize, &'a str);

pub(super) struct View<'a> {
    pub(super) history: &'a History,
    pub(super) scenario: &'a Scenario,
    pub(super) world: &'a World,
    pub(super) records: BTreeMap<DeliveryKey<'a>, Vec<&'a Record>>,
    /// In the order in which they were sent.
    pub(super) calls: BTreeMap<DeliveryKey<'a>, Vec<&'a Call>>,
}

/// How long after it was heard an outcome may be unwritten, with the store in good health.
const UNWRITTEN_MS: i64 = 1_000;

impl Violation {
    pub(crate) fn new(promise: &'static str, what: String) -> Self {
        Self { promise, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

impl<'a> View<'a> {
    pub(super) fn new(world: &'a World, records: &'a [Record]) -> Self {
        let mut by_key: BTreeMap<DeliveryKey<'a>, Vec<&Record>> = BTreeMap::new();
        for record in records {
            let key = (record.webhook, record.code.as_str());
            by_key.entry(key).or_default().push(record);
        }
        let mut calls: BTreeMap<DeliveryKey<'a>, Vec<&Call>> = BTreeMap::new();
        for call in &world.history.calls {
            let key = (call.webhook, call.code.as_str());
            calls.entry(key).or_default().push(call);
        }
        for calls in calls.values_mut() {
            calls.sort_by_key(|call| call.sent_at);
        }
        Self {
            history: &world.history,
            scenario: &world.scenario,
            world,
            records: by_key,
            calls,
        }
    }

    pub(super) fn webhook(&self, number: usize) -> Option<&'a WebhookHistory> {
        self.history.webhooks.get(number)
    }

    pub(super) fn dialect(&self, webhook: usize) -> Dialect {
        let tenant = self
            .webhook(webhook)
            .and_then(|webhook| self.scenario.tenants.get(webhook.tenant));
        tenant.map_or(Dialect::Pretix, |tenant| tenant.dialect)
    }

    pub(super) fn calls_of<'k>(&'k self, key: DeliveryKey<'k>) -> &'k [&'k Call] {
        self.calls.get(&key).map_or(&[], Vec::as_slice)
    }

    /// How long the log of a tenant is kept.
    pub(super) fn retention_ms(&self, webhook: usize) -> i64 {
        let days = match (self.scenario.retention_days, self.dialect(webhook)) {
            (Some(days), _) => i64::from(days),
            (None, Dialect::Pretix) => 30,
            (None, Dialect::OpenTicket) => 7,
        };
        days * DAY
    }

    /// Whether somebody may have had it sent again.
    pub(super) fn replays(&self, webhook: usize) -> usize {
        let replays = self.history.replays.iter();
        replays.filter(|replayed| **replayed == webhook).count()
    }

    /// Whether what came of this call may be unknown to the log: the process was killed before it
    /// could be written.
    pub(super) fn is_excused(&self, call: &Call) -> bool {
        let Some(life) = self.history.lives.get(call.life) else {
            return false;
        };
        let (Some(ended_at), true) = (life.ended_at, life.killed) else {
            return false;
        };
        let Some(heard_at) = call.heard_at else {
            // In flight, or given up shortly before.
            return self.history.awake_ms(call.sent_at, ended_at) < 40_000
                || !self.history.is_quiet(call.sent_at, ended_at - 1);
        };
        // With the store in trouble it may have waited for as long.
        self.history.awake_ms(heard_at, ended_at) <= UNWRITTEN_MS
            || self.history.store_troubles.iter().any(|(from, until)| {
                *from <= ended_at
                    && *until >= heard_at
                    && self.history.awake_ms(*until.min(&ended_at), ended_at) < 5_000
            })
    }

    /// Whether the log may say that an attempt began at `began_at` when in truth it was some time
    /// between these.
    pub(super) fn may_have_begun(&self, attempt: &AttemptRecord, from: i64, until: i64) -> bool {
        let began_at = attempt.attempt.began_at.as_millis() - START;
        let leads = self.history.leads(from, until);
        leads
            .iter()
            .any(|lead| (from..=until + 5).contains(&(began_at - lead)))
    }
}

/// The status that an attempt was answered with.
pub(super) fn status(attempt: &AttemptRecord) -> Option<u16> {
    match &attempt.attempt.outcome {
        Outcome::Answered(response) => Some(response.status),
        Outcome::Failed(_) => None,
    }
}
