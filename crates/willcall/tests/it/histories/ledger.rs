//! What was promised: every answer that an application or a person got. After a round it is held
//! against what the server knows, what its log says and what receivers saw.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Site, TENANTS, notification};
use super::receivers::{Called, Receivers, Seen};
use crate::harness::PATIENCE;

/// Handed in at once when everything is repeated.
const BATCH: usize = 100;

/// What was replayed has been attempted by then.
const REPLAY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Of deliveries that were received once, and attempted as often as their receivers saw them, so
/// many are looked at one by one.
const LOOKED_AT_ONE_IN: u64 = 16;

type Verdict = Result<(), String>;

/// Everything that was promised.
#[derive(Default, Clone)]
pub(crate) struct Ledger {
    /// By tenant and id: how many deliveries it was said to have.
    pub(crate) accepted: BTreeMap<(usize, u64), u64>,
    /// Handed in, and no answer came.
    pub(crate) unanswered: BTreeSet<(usize, u64)>,
    pub(crate) keyed: BTreeMap<String, Keyed>,
    pub(crate) webhooks: Vec<WebhookEdits>,
    /// How often somebody asked to replay one delivery, by its notification.
    pub(crate) replays: BTreeMap<Called, usize>,
    /// What was wrong while it happened.
    pub(crate) wrong: Vec<String>,
    /// The runs of the server that ended without being told to.
    pub(crate) crashed: BTreeSet<u64>,
    /// Runs on disks that were thrown away.
    pub(crate) discarded: BTreeSet<u64>,
    pub(crate) tally: Tally,
}

/// How much was seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) accepted: usize,
    pub(crate) deliveries: usize,
    pub(crate) calls: usize,
    pub(crate) repeated_calls: usize,
    pub(crate) answers_repeated: usize,
    pub(crate) refusals: usize,
    pub(crate) faults: BTreeMap<&'static str, usize>,
}

/// A request with an idempotency key.
#[derive(Clone)]
pub(crate) struct Keyed {
    pub(crate) tenant: usize,
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) answer: Option<Value>,
}

/// A webhook and the edits that were asked for, one after the other. Edit number n sets the comment
/// to n.
#[derive(Clone)]
pub(crate) struct WebhookEdits {
    pub(crate) tenant: usize,
    pub(crate) index: usize,
    pub(crate) id: i64,
    /// By number: whether it was enabled.
    pub(crate) asked: Vec<bool>,
    /// So many of them were answered.
    pub(crate) saved: usize,
    /// It was disabled at some time, or all that failed was replayed.
    pub(crate) disturbed: usize,
}

/// A delivery in the log.
struct Row {
    id: String,
    status: String,
    attempts: u64,
}

impl Ledger {
    /// Everything promised is known to the server. Hands in again what was not answered.
    pub(crate) fn is_known(&mut self, site: &Site) -> Verdict {
        for tenant in 0..TENANTS.len() {
            self.notifications_are_known(site, tenant)?;
        }
        for (key, keyed) in &mut self.keyed {
            let answer = site.keyed(keyed.tenant, &keyed.path, key, &keyed.body);
            let (status, answer) = answer.map_err(|error| format!("{key}: {error}"))?;
            if status != 201 && status != 200 {
                return Err(format!("the request with the key {key}: {status} {answer}"));
            }
            let first = keyed.answer.get_or_insert_with(|| answer.clone());
            if *first != answer {
                return Err(format!("the key {key} gave {first}, then {answer}"));
            }
            self.tally.answers_repeated += 1;
        }
        for webhook in &mut self.webhooks {
            webhook.is_as_saved(site)?;
        }
        Ok(())
    }

    fn notifications_are_known(&mut self, site: &Site, tenant: usize) -> Verdict {
        let of_tenant = |&&(of, _): &&(usize, u64)| of == tenant;
        let unanswered: Vec<_> = self.unanswered.iter().filter(of_tenant).copied().collect();
        let accepted: Vec<_> = self.accepted.keys().filter(of_tenant).copied().collect();
        let mut lost = Vec::new();
        let all: Vec<_> = unanswered.into_iter().chain(accepted).collect();
        for some in all.chunks(BATCH) {
            let batch: Vec<Value> = some.iter().map(|(_, id)| notification(*id)).collect();
            let (status, answer) = site.hand_in(tenant, &json!(batch).to_string())?;
            let results = answer
                .as_array()
                .filter(|results| results.len() == some.len());
            let Some(results) = results.filter(|_| status == 200 || status == 201) else {
                return Err(format!("what was handed in again: {status} {answer}"));
            };
            for (one, result) in some.iter().zip(results) {
                let deliveries = result["deliveries"].as_u64();
                let deliveries = deliveries.ok_or_else(|| format!("{one:?}: {result}"))?;
                match self.accepted.get(one) {
                    None => drop(self.accepted.insert(*one, deliveries)),
                    Some(_) if result["status"] != 200 => lost.push(one.1),
                    Some(known) if *known != deliveries => {
                        return Err(format!("{one:?} had {known} deliveries, then {result}"));
                    }
                    Some(_) => {}
                }
                self.unanswered.remove(one);
            }
        }
        match lost.len() {
            0 => Ok(()),
            count => Err(format!(
                "{count} accepted notifications of {} are lost, such as {:?}",
                TENANTS[tenant],
                &lost[..count.min(5)]
            )),
        }
    }

    /// Everything owed ends, and the log tells what the receivers saw. The receivers are calm.
    pub(crate) fn ends_well(&mut self, site: &Site, receivers: &Receivers) -> Verdict {
        for webhook in &mut self.webhooks {
            webhook.edit(site, true)?;
        }
        self.everything_ends(site)?;
        let mut seen = receivers.seen();
        for calls in seen.values_mut() {
            calls.retain(|call| !self.discarded.contains(&call.run));
        }
        seen.retain(|_, calls| !calls.is_empty());
        let mut owed: BTreeMap<(usize, u64), u64> = BTreeMap::new();
        let mut rows = BTreeMap::new();
        for webhook in &self.webhooks {
            for (id, row) in webhook.log(site)? {
                *owed.entry((webhook.tenant, id)).or_default() += 1;
                rows.insert((webhook.tenant, webhook.index, id), row);
            }
        }
        for (one, deliveries) in &self.accepted {
            let found = owed.remove(one).unwrap_or(0);
            if found != *deliveries {
                return Err(format!(
                    "{one:?} has {found} of its {deliveries} deliveries"
                ));
            }
        }
        if let Some(one) = owed.keys().next() {
            return Err(format!("the log has {one:?}, which nobody handed in"));
        }
        if let Some(called) = seen.keys().find(|called| !rows.contains_key(called)) {
            return Err(format!(
                "a receiver saw {called:?}, of which the log has nothing"
            ));
        }
        self.tally.accepted = self.accepted.len();
        self.tally.deliveries = rows.len();
        self.tally.calls = seen.values().map(Vec::len).sum();
        self.tally.repeated_calls = 0;
        for (called, row) in &rows {
            self.is_told(
                site,
                called,
                row,
                seen.get(called).map_or(&[][..], Vec::as_slice),
            )?;
        }
        match receivers.wrong().pop().or_else(|| self.wrong.pop()) {
            None => Ok(()),
            Some(wrong) => Err(wrong),
        }
    }

    /// First what is due ends by itself; then what failed is replayed instead of waited for.
    fn everything_ends(&mut self, site: &Site) -> Verdict {
        let begun = Instant::now();
        for open in ["pending", "retrying"] {
            let query = format!("?page_size=1&status={open}");
            let (mut left, mut asked) = (self.webhooks.len(), None);
            while left > 0 {
                let webhook = &mut self.webhooks[left - 1];
                let page = webhook.page(site, &query)?;
                if page["results"].as_array().is_some_and(Vec::is_empty) {
                    (left, asked) = (left - 1, None);
                    continue;
                }
                if begun.elapsed() > PATIENCE {
                    return Err(format!("a delivery stays {open}: {page}"));
                }
                // What fails once more, as the receiver was just coming back, is replayed again.
                let long_ago = |at: Instant| at.elapsed() > REPLAY_AGAIN_AFTER;
                if open == "retrying" && asked.is_none_or(long_ago) {
                    asked = Some(Instant::now());
                    webhook.retry_failed(site)?;
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// The log of one delivery is what the receiver saw, but for what was in the air at a crash.
    fn is_told(&mut self, site: &Site, called: &Called, row: &Row, seen: &[Seen]) -> Verdict {
        let succeeded = seen.iter().filter(|call| call.status == Some(200)).count();
        self.tally.repeated_calls += succeeded.saturating_sub(1);
        if !["delivered", "exhausted", "cancelled"].contains(&row.status.as_str()) {
            return Err(format!("{called:?} is {}", row.status));
        }
        if row.status == "delivered" && succeeded == 0 {
            return Err(format!(
                "{called:?} is delivered, and its receiver never saw it"
            ));
        }
        let as_many = u64::try_from(seen.len()).is_ok_and(|count| count == row.attempts);
        if succeeded <= 1 && as_many && !called.2.is_multiple_of(LOOKED_AT_ONE_IN) {
            return Ok(());
        }
        let (status, detail) = site.get(called.0, &format!("deliveries/{}/", row.id))?;
        let attempts = detail["attempts"].as_array().filter(|_| status == 200);
        let attempts = attempts.ok_or_else(|| format!("{called:?}: {status} {detail}"))?;
        // The outcome of the last call before a crash may not have been written down.
        let runs: BTreeSet<u64> = seen.iter().map(|call| call.run).collect();
        let crashed = runs.intersection(&self.crashed).count();
        for code in [200_u16, 500] {
            let told = attempts
                .iter()
                .filter(|one| one["response_status"] == code)
                .count();
            let saw = seen.iter().filter(|call| call.status == Some(code)).count();
            if told > saw || saw > told + crashed {
                return Err(format!(
                    "{called:?}: the log has {told} calls answered with {code}, the receiver saw \
                     {saw}, and {crashed} crashes may explain that: {detail} {seen:?}"
                ));
            }
        }
        let webhook = self.webhooks.iter();
        let mut webhook = webhook.filter(|one| (one.tenant, one.index) == (called.0, called.1));
        let asked = self.replays.get(called).copied().unwrap_or(0);
        let asked = asked + webhook.next().map_or(0, |webhook| webhook.disturbed);
        if succeeded > 1 + crashed + asked {
            return Err(format!(
                "{called:?} was received {succeeded} times; {crashed} crashes and {asked} replays \
                 explain less: {detail} {seen:?}"
            ));
        }
        Ok(())
    }
}

impl WebhookEdits {
    fn path(&self) -> String {
        format!("webhooks/{}/", self.id)
    }

    /// Its latest saved edit holds, or one that was asked for after that.
    fn is_as_saved(&mut self, site: &Site) -> Verdict {
        let (status, found) = site.get(self.tenant, &self.path())?;
        let number = found["comment"]
            .as_str()
            .and_then(|text| text.parse::<usize>().ok());
        let number = number.filter(|number| (self.saved..self.asked.len()).contains(number));
        let Some(number) = number.filter(|_| status == 200) else {
            return Err(format!(
                "edit {} of a webhook is gone: {status} {found}",
                self.saved
            ));
        };
        if found["enabled"] != self.asked[number] {
            return Err(format!("half of edit {number} is there: {found}"));
        }
        self.saved = number;
        Ok(())
    }

    /// Saves another edit.
    pub(crate) fn edit(&mut self, site: &Site, enabled: bool) -> Verdict {
        self.ask(enabled);
        let number = self.asked.len() - 1;
        let body = edit(number, enabled);
        let (status, answer) = site.call(self.tenant, "PATCH", &self.path(), &body)?;
        if status != 200 {
            return Err(format!("an edit was refused: {status} {answer}"));
        }
        self.saved = number;
        Ok(())
    }

    /// Another edit is asked for; what comes of it is not known yet.
    pub(crate) fn ask(&mut self, enabled: bool) {
        self.asked.push(enabled);
        self.disturbed += usize::from(!enabled);
    }

    pub(crate) fn retry_failed(&mut self, site: &Site) -> Verdict {
        self.disturbed += 1;
        let path = format!("{}retry_failed/", self.path());
        let (status, answer) = site.call(self.tenant, "POST", &path, "")?;
        match status {
            202 => Ok(()),
            _ => Err(format!("a replay was refused: {status} {answer}")),
        }
    }

    fn page(&self, site: &Site, query: &str) -> Result<Value, String> {
        let path = format!("{}deliveries/{query}", self.path());
        let (status, page) = site.get(self.tenant, &path)?;
        match status {
            200 => Ok(page),
            _ => Err(format!("the log: {status} {page}")),
        }
    }

    /// All its deliveries by notification.
    fn log(&self, site: &Site) -> Result<BTreeMap<u64, Row>, String> {
        let mut rows = BTreeMap::new();
        let mut query = "?page_size=50".to_owned();
        loop {
            let page = self.page(site, &query)?;
            for row in page["results"].as_array().into_iter().flatten() {
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                let found = Row {
                    id: text("id"),
                    status: text("status"),
                    attempts: row["attempt_count"].as_u64().unwrap_or(0),
                };
                let id = row["notification_id"].as_u64().unwrap_or(0);
                if rows.insert(id, found).is_some() {
                    return Err(format!("{id} is owed twice: {row}"));
                }
            }
            match page["next"].as_str().and_then(|next| next.split_once('?')) {
                Some((_, next)) => query = format!("?{next}"),
                None => return Ok(rows),
            }
        }
    }
}

/// The body of an edit.
pub(crate) fn edit(number: usize, enabled: bool) -> String {
    json!({ "comment": number.to_string(), "enabled": enabled }).to_string()
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.deliveries += other.deliveries;
        self.calls += other.calls;
        self.repeated_calls += other.repeated_calls;
        self.answers_repeated += other.answers_repeated;
        self.refusals += other.refusals;
        for (what, count) in &other.faults {
            *self.faults.entry(what).or_default() += count;
        }
    }
}
