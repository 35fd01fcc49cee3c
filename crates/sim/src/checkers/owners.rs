//! A webhook has one owner at a time: whoever begins an attempt owns its slot, and no other node
//! has one of it in the air. What a frozen node had begun is over for the others, and not for its
//! receiver.

use std::collections::BTreeMap;

use model::id::WebhookId;

use super::view::{View, Violation};
use crate::cluster::history::ClusterHistory;
use crate::history::Call;
use crate::trace::Span;

const ONE: &str = "one owner at a time";

/// What was begun before a node was frozen goes on when it thaws, until it learns of the time.
const THAWS_MS: i64 = 1;

pub(super) fn check(view: &View<'_>) -> Vec<Violation> {
    let Some(cluster) = &view.history.cluster else {
        return Vec::new();
    };
    let records = view.records.values().flatten();
    let ids: BTreeMap<usize, WebhookId> = records
        .map(|record| (record.webhook, record.webhook_id))
        .collect();
    let mut violations = Vec::new();
    let mut calls: BTreeMap<usize, Vec<&Call>> = BTreeMap::new();
    for call in &view.history.calls {
        calls.entry(call.webhook).or_default().push(call);
        let Some(id) = ids.get(&call.webhook) else {
            continue;
        };
        let owners = cluster.owners(*id, call.sent_at);
        let thaws = cluster.was_frozen(call.life, call.sent_at - THAWS_MS, call.sent_at);
        if !owners.contains(&call.life) && !thaws {
            let words = format!(
                "{call} at {} by life {}, and its slot is of {owners:?}",
                Span(call.sent_at),
                call.life
            );
            violations.push(Violation::new(ONE, words));
        }
    }
    for calls in calls.values_mut() {
        calls.sort_by_key(|call| call.sent_at);
        violations.extend(together(cluster, calls));
    }
    violations
}

/// Calls of different nodes that were in the air at the same time, in the order in which they were
/// sent.
fn together(cluster: &ClusterHistory, calls: &[&Call]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut open: Vec<&Call> = Vec::new();
    for call in calls {
        open.retain(|before| ended_at(before) > call.sent_at);
        for before in &open {
            let at = call.sent_at;
            let frozen = cluster.was_frozen(before.life, at - THAWS_MS, at + THAWS_MS)
                || cluster.was_frozen(call.life, at - THAWS_MS, at);
            if before.life != call.life && !frozen {
                let words = format!(
                    "{before} at {} by life {}, and {call} at {} by life {}",
                    Span(before.sent_at),
                    before.life,
                    Span(call.sent_at),
                    call.life
                );
                violations.push(Violation::new(ONE, words));
            }
        }
        open.push(call);
    }
    violations
}

/// When it was no longer in the air.
fn ended_at(call: &Call) -> i64 {
    call.heard_at.or(call.left_at).unwrap_or(i64::MAX)
}
