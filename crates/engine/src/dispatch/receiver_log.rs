//! What the log says of receivers: when they begin to fail, fail for long, succeed again or are
//! gone, and what is wrong with webhooks.
//!
//! A receiver that fails and recovers again and again has its first lines in full, and then one
//! every ten minutes. If very many fail together some are named, and the others are counted. So
//! what receivers do never fills the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::contract::WebhookTarget;
use model::delivery::NextState;
use model::id::WebhookId;
use model::limits::{LOGGED_RECEIVERS_MAX, NAMED_SCHEDULES_MAX};
use model::log_line::{LineBudget, shown};
use model::policy::Policy;
use model::target;
use model::tenant::DialectName;
use tokio::time::Instant;

use crate::circuit_breaker::CircuitTransition;
use crate::metrics::Metrics;
use crate::request::{PreparedTarget, WebhookLabel};

/// So often a receiver is said to fail, and to succeed again, before only a line every
/// `SUMMARY_EVERY` is about it.
const TIMES_IN_FULL: u32 = 3;
const SUMMARY_EVERY: Duration = Duration::from_secs(600);

/// After so long without trouble it is as new.
const QUIET: Duration = Duration::from_secs(3_600);

/// For all receivers together: so many lines of a kind at once, then one each so often.
const LINES_AT_ONCE: u32 = 100;
const LINE_EVERY_MS: i64 = 1_000;

/// How often it is looked what was left out, and what can be forgotten.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The most characters of a target URL in a log line.
const URL_CHARS_MAX: usize = 300;

/// A line about a webhook, with what people know it by.
macro_rules! tell {
    ($level:ident, $webhook:expr, $label:expr, $($rest:tt)+) => {{
        let label: &WebhookLabel = $label;
        tracing::$level!(
            webhook = %$webhook,
            dialect = %label.dialect,
            tenant = &*label.tenant,
            name = label.name.as_deref(),
            url = shown(&label.url, URL_CHARS_MAX),
            $($rest)+
        )
    }};
}

pub(super) struct ReceiverLog {
    began: Instant,
    looked_at: Instant,
    known: BTreeMap<WebhookId, LoggedReceiver>,
    /// Lines that are due later, in the order of their times.
    owed: VecDeque<(Instant, WebhookId)>,
    lines: LineBudget,
    warnings: LineBudget,
    unserved: BTreeSet<DialectName>,
    missing: BTreeSet<String>,
}

struct LoggedReceiver {
    seen_at: Instant,
    label: Arc<WebhookLabel>,
    /// How often it began to fail, in full.
    times_said: u32,
    /// How often it did since a line was said of that; a line about these is owed.
    times_unsaid: u64,
    fails: bool,
    is_owed: bool,
    /// It was said to have failed for long.
    is_long: bool,
    /// The version of the webhook that its receiver's 410 disabled.
    disabled: Option<i64>,
}

impl ReceiverLog {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            looked_at: now,
            known: BTreeMap::new(),
            owed: VecDeque::new(),
            lines: LineBudget::new(LINES_AT_ONCE, LINE_EVERY_MS),
            warnings: LineBudget::new(LINES_AT_ONCE, LINE_EVERY_MS),
            unserved: BTreeSet::new(),
            missing: BTreeSet::new(),
        }
    }

    /// Logs and counts what a receiver asks for, and logs how it fares.
    pub(super) fn effect(
        &mut self,
        metrics: &Metrics,
        (webhook, prepared): (WebhookId, &PreparedTarget),
        next: &NextState,
        (class, transition): (&str, Option<CircuitTransition>),
    ) {
        let label = &prepared.label;
        if let Some(until) = next.pauses_until {
            metrics.pauses.inc();
            tell!(debug, webhook, label, %until, "its receiver asks for a pause");
        }
        if next.disables_webhook {
            metrics.disabled.inc();
            self.disabled(webhook, prepared);
        } else if let Some(transition) = transition {
            self.transition(webhook, label, class, transition);
        }
    }

    /// Says the lines that are due, and how many were left out.
    pub(super) fn turn(&mut self, now: Instant) {
        while let Some((due_at, webhook)) = self.owed.front().copied()
            && due_at <= now
        {
            self.owed.pop_front();
            self.summary(webhook);
        }
        if now.duration_since(self.looked_at) < LOOK_EVERY {
            return;
        }
        self.looked_at = now;
        let lines = self.lines.take_left_out() + self.warnings.take_left_out();
        if lines > 0 {
            tracing::warn!(
                lines,
                "very many receivers fail or succeed again: lines about others were left out; the \
                 dashboard lists those that fail"
            );
        }
        self.known
            .retain(|_, one| one.is_owed || now.duration_since(one.seen_at) < QUIET);
    }

    fn transition(
        &mut self,
        webhook: WebhookId,
        label: &Arc<WebhookLabel>,
        class: &str,
        transition: CircuitTransition,
    ) {
        let now = Instant::now();
        let now_ms = self.now_ms(now);
        let mut fresh = LoggedReceiver::new(now, Arc::clone(label));
        let is_full = self.known.len() >= LOGGED_RECEIVERS_MAX;
        let (one, is_known) = match self.known.get_mut(&webhook) {
            Some(one) => (one, true),
            None if is_full => (&mut fresh, false),
            None => (self.known.entry(webhook).or_insert(fresh), true),
        };
        if !one.is_owed && now.duration_since(one.seen_at) >= QUIET {
            *one = LoggedReceiver::new(now, Arc::clone(label));
        }
        one.seen_at = now;
        one.label = Arc::clone(label);
        match transition {
            CircuitTransition::FailuresBegan => {
                one.fails = true;
                if one.times_said >= TIMES_IN_FULL && is_known {
                    one.times_unsaid += 1;
                    if !one.is_owed {
                        one.is_owed = true;
                        self.owed.push_back((now + SUMMARY_EVERY, webhook));
                    }
                    return;
                }
                one.times_said += 1;
                if let Some(others) = self.lines.take(now_ms) {
                    tell!(
                        info,
                        webhook,
                        label,
                        class,
                        others = some(others),
                        "deliveries begin to fail"
                    );
                }
            }
            CircuitTransition::Opened => {
                one.is_long = true;
                if let Some(others) = self.warnings.take(now_ms) {
                    tell!(
                        warn,
                        webhook,
                        label,
                        class,
                        others = some(others),
                        "deliveries have failed for long: one at a time finds out whether the \
                         receiver is back, the others wait for an hour at most"
                    );
                }
            }
            CircuitTransition::Closed => {
                one.fails = false;
                let is_long = std::mem::take(&mut one.is_long);
                if one.is_owed && !is_long {
                    return;
                }
                if let Some(others) = self.lines.take(now_ms) {
                    tell!(
                        info,
                        webhook,
                        label,
                        others = some(others),
                        "deliveries succeed again"
                    );
                }
            }
        }
    }

    /// Attempts that were in flight together may all be answered 410: that is said once.
    fn disabled(&mut self, webhook: WebhookId, prepared: &PreparedTarget) {
        let now = Instant::now();
        if let Some(one) = self.known.get_mut(&webhook)
            && one.disabled.replace(prepared.version) == Some(prepared.version)
        {
            return;
        }
        if self.known.len() < LOGGED_RECEIVERS_MAX {
            let fresh = || LoggedReceiver::new(now, Arc::clone(&prepared.label));
            let one = self.known.entry(webhook).or_insert_with(fresh);
            one.seen_at = now;
            one.disabled = Some(prepared.version);
        }
        if let Some(others) = self.warnings.take(self.now_ms(now)) {
            tell!(
                warn,
                webhook,
                &prepared.label,
                others = some(others),
                "its receiver answered 410 Gone, the webhook is disabled"
            );
        }
    }

    fn summary(&mut self, webhook: WebhookId) {
        let Some(one) = self.known.get_mut(&webhook) else {
            return;
        };
        one.is_owed = false;
        let times = std::mem::take(&mut one.times_unsaid);
        let minutes = SUMMARY_EVERY.as_secs() / 60;
        let now = if one.fails { "failing" } else { "succeeding" };
        tell!(
            info,
            webhook,
            &one.label,
            times,
            minutes,
            now,
            "deliveries fail and succeed again and again"
        );
    }

    /// Says once for each name that a webhook wants a schedule which is not there.
    pub(super) fn missing_schedule(&mut self, target: &WebhookTarget, policy: &Policy) {
        let missing = target.limits.missing_schedule(&policy.bounds);
        if let Some(name) = missing.filter(|name| !self.missing.contains(*name))
            && self.missing.len() < NAMED_SCHEDULES_MAX
        {
            self.missing.insert(name.to_owned());
            let url = target::masked(&target.target_url).into();
            tell!(
                warn,
                target.webhook,
                &WebhookLabel::new(target, policy, url),
                schedule = name,
                "webhooks name a retry schedule that is not in the setting schedules any more; \
                 they have their platform's own until it is there again"
            );
        }
    }

    /// Says once for each dialect that this version does not know it.
    pub(super) fn unserved(&mut self, target: &WebhookTarget) {
        if self.unserved.insert(target.dialect.clone()) {
            tracing::error!(
                dialect = %target.dialect,
                tenant = target.tenant_key,
                webhook = %target.webhook,
                url = shown(&target::masked(&target.target_url), URL_CHARS_MAX),
                "this version of Willcall does not know the dialect; its deliveries stay in the \
                 store until a version that does is started"
            );
        }
    }

    fn now_ms(&self, now: Instant) -> i64 {
        let since = now.duration_since(self.began).as_millis();
        i64::try_from(since).unwrap_or(i64::MAX)
    }
}

impl LoggedReceiver {
    fn new(now: Instant, label: Arc<WebhookLabel>) -> Self {
        Self {
            seen_at: now,
            label,
            times_said: 0,
            times_unsaid: 0,
            fails: false,
            is_owed: false,
            is_long: false,
            disabled: None,
        }
    }
}

/// A count that is left out of the line if nothing was left out of the log.
fn some(others: u64) -> Option<u64> {
    (others > 0).then_some(others)
}

#[cfg(test)]
mod tests;
