//! What checkers look at: the history and the record, each by delivery.

use std::collections::BTreeMap;
use std::fmt;

use model::attempt::Outcome;
use model::query::AttemptRecord;
use model::time::Timestamp;

use crate::dialects::Dialect;
use crate::history::{Call, Handed, History, Replay, WebhookHistory};
use crate::record::Record;
use crate::scenario::{DAY, HOUR, MINUTE, SECOND, START, Scenario};
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
        tenant.map_or_else(Dialect::default, |tenant| tenant.dialect)
    }

    pub(super) fn calls_of<'k>(&'k self, key: DeliveryKey<'k>) -> &'k [&'k Call] {
        self.calls.get(&key).map_or(&[], Vec::as_slice)
    }

    /// How long the log of a tenant is kept at least.
    pub(super) fn retention_ms(&self, webhook: usize) -> i64 {
        let tenant = self.webhook(webhook).map(|webhook| webhook.tenant);
        let mut for_a_day = self.history.kept_a_day.iter();
        if for_a_day.any(|kept| Some(*kept) == tenant) {
            return DAY;
        }
        let days = self.scenario.retention_days;
        let usual = self.dialect(webhook).retention();
        days.map_or(usual, |days| i64::from(days) * DAY)
    }

    /// Whether nothing tells how old it is: while or after it was accepted the clock was behind,
    /// and had never been right before; or that is longer ago than logs are kept; or it had been
    /// ahead for so long before that this was believed (docs/reliability.md says so).
    pub(super) fn is_of_a_lost_time(&self, handed: &Handed, webhook: usize) -> bool {
        let clock = &self.history.clock;
        let kept_ms = self.retention_ms(webhook) - HOUR;
        let until = |index: usize| clock.get(index + 1).map_or(self.world.now, |(at, _)| *at);
        let mut behind = clock
            .iter()
            .enumerate()
            .filter(|(index, (_, lead))| *lead < -MINUTE && until(*index) >= handed.sent_at);
        behind.any(|(index, _)| {
            let before = clock.iter().enumerate().take(index);
            let mut ahead = before.clone().filter(|(_, (_, lead))| *lead > MINUTE);
            let was_believed = ahead.any(|(index, (at, _))| until(index) - at > HOUR - 10 * MINUTE);
            let right = before.filter(|(_, (_, lead))| lead.abs() <= MINUTE);
            let right =
                right.filter_map(|(index, (at, _))| self.history.ran_until(*at, until(index)));
            let known = right.max();
            was_believed || known.is_none_or(|at| self.world.now - at > kept_ms)
        })
    }

    /// How long a node may not know what another one was told: a hint may be lost, and is not
    /// missed before all is looked through.
    pub(super) fn unheard_ms(&self) -> i64 {
        match self.history.cluster {
            Some(_) => 75 * SECOND,
            None => 0,
        }
    }

    /// What somebody had sent again of this webhook.
    pub(super) fn replays(&self, webhook: usize) -> impl Iterator<Item = &'a Replay> {
        let replays = self.history.replays.iter();
        replays.filter(move |replay| replay.webhook == webhook)
    }

    /// When somebody first had something sent again.
    pub(super) fn replayed_at(&self, webhook: usize) -> Option<i64> {
        self.replays(webhook).map(|replay| replay.from).min()
    }

    /// Whether somebody may have stopped deliveries of it.
    pub(super) fn is_stopped(&self, webhook: usize) -> bool {
        let mut stops = self.history.stops.iter();
        stops.any(|stop| stop.webhook == webhook)
    }

    /// Whether a code that no application handed in may be that of a test, and of how many.
    pub(super) fn tests(&self, webhook: usize, code: &str) -> usize {
        if self.history.codes.contains_key(code) {
            return 0;
        }
        let tests = self.history.tests.iter();
        tests.filter(|(tested, _)| *tested == webhook).count()
    }

    /// When it was in truth, by a wall clock that may have been wrong; nothing if it may have been
    /// at two times.
    pub(super) fn truth(&self, at: Timestamp) -> Option<i64> {
        let wall = at.as_millis() - START;
        if let Some(cluster) = &self.history.cluster {
            return cluster.truth(wall);
        }
        let clock = &self.history.clock;
        let mut found = clock
            .iter()
            .enumerate()
            .filter_map(|(index, (from, lead))| {
                let until = clock.get(index + 1).map_or(self.world.now, |(at, _)| *at);
                let at = wall - lead;
                (*from <= at && at <= until).then_some(at)
            });
        let at = found.next()?;
        found.next().is_none().then_some(at)
    }

    /// Whether what came of this call may be unknown to the log: the process was killed before it
    /// could be written.
    pub(super) fn is_excused(&self, call: &Call) -> bool {
        let Some(life) = self.history.lives.get(call.life) else {
            return false;
        };
        let cluster = self.history.cluster.as_ref();
        if cluster.is_some_and(|cluster| cluster.is_lost(call.life, call.sent_at, call.heard_at)) {
            return true;
        }
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
