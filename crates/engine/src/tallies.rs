//! Tallies: the attempts of a period, counted in memory and written down when it is over.
//!
//! An attempt costs a look-up and two additions. Nothing here is owed to anybody: what the store
//! does not take within a period is let go, and a crash loses what was not written. What is held is
//! bounded, whatever is attempted: when that is used up, tallies are written down early.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use model::attempt::Attempt;
use model::contract::Backend;
use model::id::{TenantId, WebhookId};
use model::limits::{TALLY_CELLS_MAX, TALLY_ROWS_MAX, TALLY_WEBHOOK_CELLS};
use model::rng::SeededRng;
use model::statistics::{AttemptTally, PERIOD_MS, TallyOwner, TallyRow};
use model::time::Timestamp;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::store_call::StoreCall;

/// What ended in a period is counted a moment after it is over.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Tallies {
    store: Arc<dyn Backend>,
    rng: SeededRng,
    running: Option<RunningPeriod>,
    closed: ClosedPeriod,
    /// What is being written.
    written: Vec<TallyRow>,
    call: StoreCall<()>,
    metrics: Arc<Metrics>,
}

struct RunningPeriod {
    starts_at: i64,
    ends_at: Instant,
    webhooks: BTreeMap<WebhookId, (TenantId, AttemptTally)>,
    /// What these take.
    cells: usize,
}

/// What is left to write of a period.
#[derive(Default)]
struct ClosedPeriod {
    starts_at: i64,
    part: i64,
    webhooks: BTreeMap<WebhookId, (TenantId, AttemptTally)>,
    /// The sums of those that went.
    tenants: BTreeMap<TenantId, AttemptTally>,
}

impl Tallies {
    pub(crate) fn new(store: Arc<dyn Backend>, rng: SeededRng, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            rng,
            running: None,
            closed: ClosedPeriod::default(),
            written: Vec::new(),
            call: StoreCall::new("statistics of attempts"),
            metrics,
        }
    }

    /// Counts an attempt that ended.
    pub(crate) fn count(
        &mut self,
        (tenant, webhook): (TenantId, WebhookId),
        attempt: &Attempt,
        ended_at: Timestamp,
        now: Instant,
    ) {
        let period = ended_at.as_millis().div_euclid(PERIOD_MS) * PERIOD_MS;
        // Those that end around a change of periods come in any order.
        let belongs = |own: &RunningPeriod| (period..=period + PERIOD_MS).contains(&own.starts_at);
        if !self.running.as_ref().is_some_and(belongs) {
            self.close();
        }
        if self.running.as_ref().is_some_and(RunningPeriod::is_full) {
            if !self.closed.is_empty() {
                self.metrics.uncounted.inc();
                return;
            }
            self.close();
        }
        let running = self.running.get_or_insert_with(|| {
            let left_ms = period + PERIOD_MS - ended_at.as_millis();
            let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
            RunningPeriod {
                starts_at: period,
                ends_at: now + left + GRACE,
                webhooks: BTreeMap::new(),
                cells: 0,
            }
        });
        let (_, tally) = running.webhooks.entry(webhook).or_insert_with(|| {
            running.cells += TALLY_WEBHOOK_CELLS;
            (tenant, AttemptTally::default())
        });
        running.cells += usize::from(tally.add(&attempt.outcome, attempt.duration_ms));
    }

    /// Hands what is to be written next to the store, if it has nothing of it; `is_last` if
    /// nothing more is counted.
    pub(crate) fn begin(&mut self, now: Instant, is_last: bool) {
        if let Some(running) = &self.running
            && (is_last || now >= running.ends_at)
        {
            self.close();
        }
        if !self.call.may_ask(now) {
            return;
        }
        if self.written.is_empty() {
            self.written = self.closed.take_some();
        }
        if !self.written.is_empty() {
            let rows = self.written.clone();
            self.call.ask(self.store.record_tallies(rows));
        }
    }

    /// Whether everything is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_none() && self.closed.is_empty() && self.written.is_empty()
    }

    /// When there is something to do here without any event: the end of the wait after a refusal.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.call.waits_until(now)
    }

    /// Whether the store answered. What it refuses is repeated, unless that is of no use.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(answer) = self.call.poll(cx) else {
            return false;
        };
        self.metrics.store_errors.inc_by(u64::from(answer.is_err()));
        match answer {
            Ok(()) => self.written.clear(),
            Err(error) if error.is_of_a_part() => {
                let written = std::mem::take(&mut self.written);
                self.lose(written.iter().filter_map(|row| match row.owner {
                    TallyOwner::Webhook(_) => Some(&row.tally),
                    TallyOwner::Tenant(_) => None,
                }));
            }
            Err(_) => {}
        }
        true
    }

    /// The period is over. What is left of the one before is let go: the store had all this time
    /// for it.
    fn close(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        let closed = ClosedPeriod {
            starts_at: running.starts_at,
            part: i64::from_ne_bytes(self.rng.below(u64::MAX).to_ne_bytes()),
            webhooks: running.webhooks,
            tenants: BTreeMap::new(),
        };
        let left = std::mem::replace(&mut self.closed, closed);
        self.lose(left.webhooks.values().map(|(_, tally)| tally));
    }

    fn lose<'a>(&self, tallies: impl Iterator<Item = &'a AttemptTally>) {
        let attempts = tallies.map(AttemptTally::attempts);
        self.metrics.uncounted.inc_by(attempts.sum());
    }
}

impl RunningPeriod {
    fn is_full(&self) -> bool {
        self.cells >= TALLY_CELLS_MAX
    }
}

impl ClosedPeriod {
    fn is_empty(&self) -> bool {
        self.webhooks.is_empty() && self.tenants.is_empty()
    }

    /// Some rows: those of webhooks, which are added up on their way, then those of tenants.
    fn take_some(&mut self) -> Vec<TallyRow> {
        let mut rows = Vec::new();
        while rows.len() < TALLY_ROWS_MAX {
            let (owner, tally) = if let Some((id, (tenant, tally))) = self.webhooks.pop_first() {
                self.tenants.entry(tenant).or_default().merge(&tally);
                (TallyOwner::Webhook(id), tally)
            } else if let Some((id, tally)) = self.tenants.pop_first() {
                (TallyOwner::Tenant(id), tally)
            } else {
                break;
            };
            rows.push(TallyRow {
                owner,
                starts_at: Timestamp::from_millis(self.starts_at),
                part: self.part,
                tally,
            });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::attempt::{BodyEnd, HttpResponse, Outcome};
    use model::contract::Store;
    use model::webhook::Headers;
    use prometheus_client::registry::Registry;

    use super::*;

    fn tallies() -> Tallies {
        let store: Arc<dyn Store> = store::open_inline().unwrap();
        let metrics = Metrics::new(&mut Registry::default(), [].iter());
        Tallies::new(store, SeededRng::from_seed([7; 32]), Arc::new(metrics))
    }

    fn attempt(duration_ms: u32) -> Attempt {
        Attempt {
            began_at: Timestamp::EPOCH,
            duration_ms,
            url: Arc::from("http://a.test/"),
            request_headers: Headers::default(),
            outcome: Outcome::Answered(HttpResponse {
                status: 200,
                headers: Headers::default(),
                body: Bytes::new(),
                body_end: BodyEnd::Whole,
                note: None,
            }),
        }
    }

    fn count(tallies: &mut Tallies, webhook: usize, ms: u32) {
        let webhook = WebhookId(i64::try_from(webhook).unwrap());
        let whose = (TenantId(1), webhook);
        let at = Timestamp::from_millis(1_000);
        tallies.count(whose, &attempt(ms), at, Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_webhooks_are_called_in_a_period_what_is_held_is_bounded() {
        let mut tallies = tallies();
        let fit = TALLY_CELLS_MAX.div_ceil(TALLY_WEBHOOK_CELLS + 1);
        for webhook in 0..3 * fit {
            count(&mut tallies, webhook, 20);
        }
        let running = tallies.running.as_ref().unwrap();
        assert_eq!(
            (running.webhooks.len(), tallies.closed.webhooks.len()),
            (fit, fit)
        );
        assert_eq!(tallies.metrics.uncounted.get(), fit as u64);
        // What is written down makes room.
        let mut steps = 0;
        while !tallies.closed.is_empty() {
            tallies.begin(Instant::now(), false);
            assert!(tallies.written.len() <= TALLY_ROWS_MAX);
            assert!(std::future::poll_fn(|cx| Poll::Ready(tallies.poll(cx))).await);
            steps += 1;
        }
        assert_eq!(steps, (fit + 1).div_ceil(TALLY_ROWS_MAX));
        count(&mut tallies, 0, 20);
        assert_eq!(tallies.metrics.uncounted.get(), fit as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_takes_no_more_however_often_it_is_called() {
        let mut tallies = tallies();
        for _ in 0..100 {
            for ms in (0..600_000).step_by(97) {
                count(&mut tallies, 1, ms);
            }
        }
        let cells = tallies.running.as_ref().unwrap().cells;
        assert!(cells < 300, "{cells}");
    }
}
