//! One tenant or receiver never delays another: what goes to a receiver that is well goes at once.
//!
//! What is measured is how long a webhook that is owed something, with none of its calls under way,
//! waits until the next attempt begins. The bounds follow from decision 28
//! (`docs/decisions/0028-shares-of-what-is-free.md`):
//!
//! - **Of other tenants**: if all receivers of the webhook's tenant are well, [`AT_ONCE_MS`]. Some
//!   attempts are left for a tenant that has few in flight, whatever the others do.
//! - **Of its own tenant, quick**: if its receiver's latest attempt ended within [`SOON_MS`], in
//!   this run of the process, [`AT_ONCE_MS`], too. What is known to take long is bounded by half of
//!   all. That says nothing of receivers that were soon to answer last and are not now: while they
//!   have the other half, the third bound holds.
//! - **Of its own tenant, else**: no receiver is known after a start, and each may hold an attempt
//!   for [`EXCHANGE_MS`]. A tenant has at most four times what is free of half of
//!   `max_in_flight`, four fifths of it when alone. Each of its other webhooks is tried once
//!   before, in turn with one that is known to be slow: so there are two attempts for each of its
//!   webhooks, as many at once as it may have.

use model::query::AttemptRecord;

use super::view::{DeliveryKey, View, Violation};
use crate::history::WebhookHistory;
use crate::scenario::{HOUR, MINUTE, START};
use crate::trace::Span;

const PROMISE: &str = "no neighbour delays another";

/// An attempt counts as one that takes long after two seconds, and a turn comes after that.
const AT_ONCE_MS: i64 = 3_000;

/// A receiver whose latest attempt ended within this time is not one that may take long.
const SOON_MS: u32 = 2_000;

/// How long an attempt may take.
const EXCHANGE_MS: i64 = 30_000;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for handed in &view.history.handed_in {
        let Some(accepted_at) = handed.accepted_at else {
            continue;
        };
        for (number, webhook) in view.history.webhooks.iter().enumerate() {
            let key = (number, handed.code.as_str());
            if !view.records.contains_key(&key) || view.is_stopped(number) {
                continue;
            }
            let first_at = view
                .calls_of(key)
                .first()
                .map_or(i64::MAX, |call| call.sent_at);
            let idle_at = idle_at(view, number, accepted_at, first_at);
            if first_at <= idle_at + AT_ONCE_MS {
                continue;
            }
            let bound = bound_ms(view, number, webhook, idle_at);
            let until = idle_at + bound;
            let is_steady = webhook.held(handed.sent_at - HOUR, until).count() == 1
                && view
                    .history
                    .is_quiet(handed.sent_at - MINUTE, until + EXCHANGE_MS);
            if !is_steady || !is_well(view, webhook.receiver, 6 * HOUR, accepted_at, until) {
                continue;
            }
            if may_be_paused(view, number, until) {
                continue;
            }
            if first_at > until && !has_begun(view, key, handed.sent_at, until) {
                let code = &handed.code;
                let words = format!(
                    "w{number} {code} waited longer than {bound} ms from {}; before: {}",
                    Span(idle_at),
                    story(view, number, idle_at)
                );
                violations.push(Violation::new(PROMISE, words));
            }
        }
    }
    violations
}

/// The latest attempts of a webhook before a time: when each began, and for how long it took.
fn story(view: &View<'_>, webhook: usize, at: i64) -> String {
    let mut attempts: Vec<(i64, u32)> = attempts_of(view, webhook)
        .map(|one| {
            (
                one.attempt.began_at.as_millis() - START,
                one.attempt.duration_ms,
            )
        })
        .filter(|(began_at, _)| *began_at <= at)
        .collect();
    attempts.sort_unstable();
    let latest = attempts.iter().rev().take(4);
    let latest = latest.map(|(began_at, ms)| format!("{} {ms} ms", Span(*began_at)));
    latest.collect::<Vec<_>>().join(" | ")
}

/// What the log has of a webhook.
fn attempts_of<'a>(view: &'a View<'_>, webhook: usize) -> impl Iterator<Item = &'a AttemptRecord> {
    let records = view
        .records
        .iter()
        .filter(move |((of, _), _)| *of == webhook);
    records.flat_map(|(_, records)| records.iter().flat_map(|one| &one.attempts))
}

/// How long it may wait at most from then on.
fn bound_ms(view: &View<'_>, number: usize, webhook: &WebhookHistory, from: i64) -> i64 {
    let webhooks = view.history.webhooks.iter();
    let own: Vec<&WebhookHistory> = webhooks
        .filter(|one| one.tenant == webhook.tenant)
        .collect();
    let until = from + AT_ONCE_MS;
    let mut others = own.iter();
    if others.all(|one| is_well(view, one.receiver, 10 * MINUTE, from, until)) {
        return AT_ONCE_MS;
    }
    let half = view.scenario.max_in_flight.div_ceil(2);
    let rest = view.scenario.max_in_flight - half;
    if is_known(view, number, from) && surprises(view, webhook.tenant, from, until) < rest {
        return AT_ONCE_MS;
    }
    let at_once = (half * 4).div_ceil(5).max(1);
    let rounds = (own.len() * 2).div_ceil(at_once);
    AT_ONCE_MS + EXCHANGE_MS * i64::try_from(rounds).unwrap_or(i64::MAX / EXCHANGE_MS)
}

/// Whether its receiver asked to be left alone, and the schedule has not gone on for so long since:
/// it stands still while the node is off, so that may have been days ago.
fn may_be_paused(view: &View<'_>, webhook: usize, at: i64) -> bool {
    let Some(most) = view.dialect(webhook).retry_after_max() else {
        return false;
    };
    let calls = view.history.calls.iter();
    let mut calls = calls.filter(|call| call.webhook == webhook);
    calls.any(|call| match (call.retry_after_ms, call.heard_at) {
        (Some(asked), Some(heard_at)) if heard_at <= at => {
            view.history.least_schedule_ms(heard_at, at) < asked.min(most)
        }
        _ => false,
    })
}

/// Since when none of the webhook's calls is under way that were made before `until`.
fn idle_at(view: &View<'_>, webhook: usize, from: i64, until: i64) -> i64 {
    let calls = view.history.calls.iter();
    let before = calls.filter(|call| call.webhook == webhook && call.sent_at < until);
    let heard = before.filter_map(|call| call.heard_at);
    heard.filter(|at| *at <= until).fold(from, i64::max)
}

/// Whether an attempt at the delivery is logged as begun by then. Before its call is seen the
/// network may have lost what looks up a name, or what was sent on a connection that had ended.
fn has_begun(view: &View<'_>, key: DeliveryKey<'_>, from: i64, until: i64) -> bool {
    let records = view.records.get(&key).into_iter().flatten();
    let mut attempts = records.flat_map(|record| &record.attempts);
    attempts.any(|attempt| view.may_have_begun(attempt, from, until))
}

/// Whether its receiver was soon to answer last, in the run of the process that is on at that time.
fn is_known(view: &View<'_>, webhook: usize, at: i64) -> bool {
    let life = view
        .history
        .lives
        .iter()
        .rposition(|life| life.began_at <= at);
    let calls = view.history.calls.iter();
    let heard = calls.filter(|call| call.webhook == webhook && Some(call.life) == life);
    let heard = heard.filter(|call| call.heard_at.is_some_and(|heard_at| heard_at <= at));
    let Some(last) = heard.max_by_key(|call| call.heard_at) else {
        return false;
    };
    // A look-up that the network lost counts, too, and the log has it.
    let records = view
        .records
        .get(&(webhook, last.code.as_str()))
        .into_iter()
        .flatten();
    let mut attempts = records.flat_map(|record| &record.attempts);
    let were_soon = attempts.all(|attempt| attempt.attempt.duration_ms <= SOON_MS);
    // Nor was there one since that nobody heard of.
    let attempts = attempts_of(view, webhook);
    let before = attempts.filter(|one| one.attempt.began_at.as_millis() - START <= at);
    let ended_at = |one: &&AttemptRecord| {
        let duration_ms = i64::from(one.attempt.duration_ms);
        one.attempt.began_at.plus_ms(duration_ms)
    };
    let latest = before.max_by_key(ended_at);
    // Whoever is led elsewhere is new.
    let versions = view.webhook(webhook).map(|one| one.held(last.sent_at, at));
    let is_same = versions.is_some_and(|versions| versions.count() == 1);
    is_same && were_soon && latest.is_some_and(|latest| latest.attempt.duration_ms <= SOON_MS)
}

/// Calls of a tenant under way between these times that took long, though the receiver was soon to
/// answer the one before.
fn surprises(view: &View<'_>, tenant: usize, from: i64, until: i64) -> usize {
    let is_own = |number: usize| {
        let webhook = view.history.webhooks.get(number);
        webhook.is_some_and(|webhook| webhook.tenant == tenant)
    };
    let calls = view.history.calls.iter().filter(|call| {
        let ended_at = call.heard_at.unwrap_or(call.sent_at + EXCHANGE_MS);
        call.sent_at <= until
            && ended_at >= from
            && ended_at - call.sent_at > i64::from(SOON_MS)
            && is_own(call.webhook)
            && last_heard(view, call.webhook, call.sent_at)
                .is_some_and(|(sent_at, heard_at)| heard_at - sent_at <= i64::from(SOON_MS))
    });
    calls.count()
}

/// When the call of a webhook that was heard last by then was sent and heard.
fn last_heard(view: &View<'_>, webhook: usize, at: i64) -> Option<(i64, i64)> {
    let calls = view.history.calls.iter();
    let heard = calls.filter(|call| call.webhook == webhook);
    let heard = heard.filter_map(|call| Some((call.sent_at, call.heard_at?)));
    heard
        .filter(|(_, heard_at)| *heard_at <= at)
        .max_by_key(|(_, heard_at)| *heard_at)
}

/// Whether a receiver has been well for so `long` before `from` and is until `until`, and its
/// network, too.
fn is_well(view: &View<'_>, receiver: usize, long: i64, from: i64, until: i64) -> bool {
    let Some(one) = view.world.receivers.get(receiver) else {
        return false;
    };
    let mood = one.mood_at(until);
    let since = one.since(until);
    let cut = view
        .history
        .partitions
        .iter()
        .any(|(cut, start, end)| *cut == receiver && *end > from - MINUTE && *start < until);
    let calm = view.history.calm_at.is_some_and(|at| at < until);
    mood.is_good() && since + long < from && !cut && !calm
}
