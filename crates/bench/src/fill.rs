//! Works on a store directly, without a server: fills it with what would take hours over HTTP (a
//! million deliveries that failed once and wait), and times commits, reads of due deliveries and
//! matching.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use model::attempt::{Attempt, BodyEnd, HttpResponse, Outcome};
use model::contract::{DueQuery, Settlement, Store};
use model::delivery::{DeliveryState, NextState};
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::lease::{Lease, Slots};
use model::limits::{LANE_READ_MAX, PAGE_ROWS_MAX, SETTLE_BATCH_MAX, WRITER_QUEUE_MAX};
use model::notification::AcceptResult;
use model::query::WebhookQuery;
use model::tenant::Tenant;
use model::time::{Heartbeat, Moment, Timestamp};
use model::webhook::Headers;
use tokio::time::Instant;

use crate::measure::{Samples, micros};
use crate::sizes::BODY_BYTES;
use crate::stage::Bench;
use crate::stage_store::StageStore;

/// Notifications accepted in one call: with a thousand webhooks, fifty thousand rows.
/// Each commit touches some pages of every webhook, so few large ones are many times cheaper.
const FILL_BATCH: u64 = 50;

/// Waiting deliveries are due between one hour and a day from now, so none falls due in a run.
const WAITS_FROM_MS: i64 = 3_600_000;
const WAITS_OVER_MS: i64 = 23 * 3_600_000;

/// Failures are dated so far into the future. Otherwise a server that starts later would see an
/// outage, and at its end retry everything that waits.
const FAILED_AHEAD_MS: i64 = 600_000;

/// How long the deliveries of a batch may take to be written down.
const FAN_OUT_LIMIT: Duration = Duration::from_secs(60);

/// Well before a lease ends.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// Webhooks whose first delivery is due at once.
pub(crate) const DUE_LANES: usize = 64;

/// A store opened in this process, while no server runs on it.
pub(crate) struct DirectStore {
    store: Arc<dyn Store>,
    pub(crate) tenant: Tenant,
    pub(crate) webhooks: Vec<WebhookId>,
    now: Timestamp,
    /// With all slots: nobody else has any. A database ends it after a time, so it is renewed.
    lease: Lease,
    renewed_at: Instant,
}

impl DirectStore {
    pub(crate) async fn open(bench: &Bench, stage: &StageStore<'_>) -> Result<Self> {
        let store = stage.open()?;
        let (dialect, key) = (bench.load.dialect.clone(), bench.tenant.clone());
        let tenant = store.tenant(dialect, key).await?;
        let tenant = tenant.context("the benchmark's own file declared no tenant")?;
        let mut webhooks = Vec::new();
        loop {
            let query = WebhookQuery {
                enabled: None,
                newest_first: false,
                offset: u64::try_from(webhooks.len())?,
                limit: PAGE_ROWS_MAX,
            };
            let page = store.webhooks(vec![tenant.id], query).await?;
            if page.webhooks.is_empty() {
                break;
            }
            webhooks.extend(page.webhooks.iter().map(|webhook| webhook.id));
        }
        let (now, asked_at) = (bench.clock.now(), Instant::now());
        let lease = store.claim(now).await?;
        ensure!(
            lease.slots == Slots::ALL,
            "somebody else uses the store of the benchmark"
        );
        Ok(Self {
            store,
            tenant,
            webhooks,
            now,
            lease,
            renewed_at: asked_at,
        })
    }

    pub(crate) async fn close(self) -> Result<()> {
        if self.lease.until.is_some() {
            self.store.release(self.lease, self.beat()).await?;
        }
        Ok(self.store.close().await?)
    }

    /// Keeps the lease. To be called between calls that take less than a second each.
    async fn keep(&mut self) -> Result<()> {
        if self.lease.until.is_some() && self.renewed_at.elapsed() >= RENEW_EVERY {
            let asked_at = Instant::now();
            self.lease = self.store.renew(self.lease, self.beat()).await?;
            self.renewed_at = asked_at;
        }
        Ok(())
    }

    /// As a store without heartbeats has it: the newest time in it.
    fn beat(&self) -> Heartbeat {
        let at = self.now.plus_ms(FAILED_AHEAD_MS);
        Heartbeat::certain(Moment::same(at))
    }

    /// Accepts the notifications with these numbers in one commit. Returns the number of deliveries
    /// of each, and how long it took.
    pub(crate) async fn accept(
        &self,
        bench: &Bench,
        numbers: std::ops::Range<u64>,
    ) -> Result<(Vec<(NotificationId, u32)>, Duration)> {
        let batch = numbers
            .map(|number| (bench.load.notification)(&self.tenant, number, BODY_BYTES, self.now))
            .collect();
        let (answers, took) = timed(self.store.accept(batch)).await;
        let accepted = answers.context("the store refused the benchmark's notifications")?;
        let accepted = accepted.into_iter().map(|acceptance| match acceptance {
            AcceptResult::Accepted { id, deliveries } => Ok((id, deliveries)),
            AcceptResult::Duplicate { .. } | AcceptResult::Conflict { .. } => Err(anyhow::anyhow!(
                "a notification of the benchmark was already in the store"
            )),
        });
        Ok((accepted.collect::<Result<_>>()?, took))
    }

    /// Makes `notifications` deliveries of every webhook wait, each after one failed attempt. The
    /// first `DUE_LANES` webhooks have one delivery that is due. Returns the number of deliveries.
    pub(crate) async fn wait(&mut self, bench: &Bench, notifications: u64) -> Result<u64> {
        let mut count = 0;
        let mut from = 0;
        while from < notifications {
            let to = notifications.min(from + FILL_BATCH);
            self.keep().await?;
            let (accepted, _) = self.accept(bench, from..to).await?;
            if let (Some((latest, _)), Some(last)) = (accepted.last(), self.webhooks.last()) {
                self.fan_out(*latest, *last).await?;
            }
            // As many as fit into the writer's queue are sent before any is awaited, so that they
            // share commits.
            let mut replies = Vec::new();
            let mut batch = Vec::with_capacity(SETTLE_BATCH_MAX);
            for (notification, deliveries) in accepted {
                ensure!(
                    usize::try_from(deliveries)? == self.webhooks.len(),
                    "not every webhook matches the benchmark's notifications"
                );
                for (index, webhook) in self.webhooks.iter().enumerate() {
                    let is_first = count < u64::try_from(self.webhooks.len())?;
                    let is_due = is_first && index < DUE_LANES;
                    batch.push(self.failed(notification, *webhook, count, is_due));
                    count += 1;
                    if batch.len() == SETTLE_BATCH_MAX {
                        replies.push(
                            self.store
                                .settle(self.lease.epoch, std::mem::take(&mut batch).into()),
                        );
                    }
                    if (replies.len() + 2) * SETTLE_BATCH_MAX > WRITER_QUEUE_MAX {
                        for reply in std::mem::take(&mut replies) {
                            reply.await?;
                        }
                    }
                }
            }
            replies.push(self.store.settle(self.lease.epoch, batch.into()));
            for reply in replies {
                reply.await?;
            }
            from = to;
        }
        Ok(count)
    }

    /// Waits until this delivery is there: for many webhooks they are written down step by step, in
    /// the order of their ids, and an outcome of one that is not there yet would be dropped.
    async fn fan_out(&self, notification: NotificationId, webhook: WebhookId) -> Result<()> {
        let id = DeliveryId {
            notification,
            webhook,
        };
        let began = Instant::now();
        while self.store.delivery(self.tenant.id, id).await?.is_none() {
            ensure!(
                began.elapsed() < FAN_OUT_LIMIT,
                "the store has not written down {id} after {} s",
                FAN_OUT_LIMIT.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    fn failed(
        &self,
        notification: NotificationId,
        webhook: WebhookId,
        count: u64,
        is_due: bool,
    ) -> Settlement {
        // Multiplied by a prime, so that neighbours in the store are due at different times.
        let offset = i64::try_from(count % 1_000_003).unwrap_or_default() * 7_919;
        let due_at = match is_due {
            true => self.now,
            false => self.now.plus_ms(WAITS_FROM_MS + offset % WAITS_OVER_MS),
        };
        let failed_at = self.now.plus_ms(FAILED_AHEAD_MS);
        let answer = HttpResponse {
            status: 503,
            headers: Headers::from_pairs([("content-length", b"0".as_slice())]),
            body: Bytes::new(),
            body_end: BodyEnd::Whole,
            note: None,
        };
        Settlement {
            stale: None,
            id: DeliveryId {
                notification,
                webhook,
            },
            round: 1,
            attempts: 0,
            webhook_version: 1,
            ended_at: failed_at,
            attempt: Attempt {
                began_at: failed_at,
                duration_ms: 3,
                url: "http://127.0.0.1/".into(),
                request_headers: Headers::default(),
                outcome: Outcome::Answered(answer),
            },
            next: NextState {
                state: DeliveryState::Pending,
                due_at: Some(due_at),
                began_at: failed_at,
                round_began_at: failed_at,
                disables_webhook: false,
                pauses_until: None,
                early: false,
            },
            handshake: None,
        }
    }

    /// Microseconds for one query of what is due for the first webhooks. It returns the same number
    /// of rows whatever else waits.
    pub(crate) async fn due(&mut self, asks: u64) -> Result<Samples> {
        let lanes = self.webhooks.iter().take(DUE_LANES);
        let lanes: Vec<DueQuery> = lanes
            .map(|webhook| DueQuery::new(*webhook, LANE_READ_MAX))
            .collect();
        let mut samples = Vec::new();
        for _ in 0..asks {
            self.keep().await?;
            let epoch = self.lease.epoch;
            let (reads, took) = timed(self.store.due(epoch, lanes.clone(), self.now)).await;
            let rows: usize = reads?.iter().map(|read| read.deliveries.len()).sum();
            ensure!(
                rows == lanes.len(),
                "{rows} deliveries are due, not {}",
                lanes.len()
            );
            samples.push(micros(took));
        }
        Ok(Samples::of(samples))
    }
}

/// Microseconds for a commit of one notification that no webhook matches, one after the other.
pub(crate) async fn commits(bench: &Bench, direct: &DirectStore) -> Result<Samples> {
    let mut samples = Vec::new();
    for number in 0..bench.sizes.commits {
        let (_, took) = direct.accept(bench, number..number + 1).await?;
        samples.push(micros(took));
    }
    Ok(Samples::of(samples))
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let done = work.await;
    (done, began.elapsed())
}
