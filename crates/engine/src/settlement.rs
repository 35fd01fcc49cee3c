//! The settlement queue: outcomes until they are written.
//!
//! One batch is written at a time; the outcomes of that while make the next. Nothing is dropped:
//! what the store refuses is repeated until it is taken.
//!
//! Plain successes are gathered for a while, so that one commit takes many of them, and the store
//! may let such a batch wait for a commit that is made anyway. Neither waits where that would delay
//! something: where much has come meanwhile, or something that matters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use model::contract::{Backend, DiskFault, Settlement, StoreError};
use model::delivery::DeliveryState;
use model::id::DeliveryId;
use model::lease::Epoch;
use model::limits;
use model::mutation::{Mutation, is_on};
use tokio::time::Instant;

use crate::health::StoreTrouble;
use crate::response_budget::HeldReservation;
use crate::store_call::StoreCall;

/// One in this many of the attempts that may be in flight may have an outcome that waits.
const PATIENT_SHARE: usize = 16;

/// Plain successes are gathered for at least and at most this long: in between they go when the
/// engine is awake anyway. The store has the rest of `OUTCOME_DELAY_MAX_MS`.
const GATHER: Duration = Duration::from_millis(limits::OUTCOME_DELAY_MAX_MS / 2);
const GATHER_MAX: Duration =
    Duration::from_millis(limits::OUTCOME_DELAY_MAX_MS - limits::COMMIT_DELAY_MAX_MS);

const _: () = assert!(
    limits::OUTCOME_DELAY_MAX_MS / 2 + limits::COMMIT_DELAY_MAX_MS < limits::OUTCOME_DELAY_MAX_MS
);

/// After much has come within a moment the rest is soon to follow: it is gathered for four times
/// as long, this long at least, and each batch behind it for four times as long again.
const GATHER_MIN: Duration = Duration::from_millis(5);

/// What receivers said and may wait with its outcomes.
const HEARD_BYTES_PATIENT: usize = 256 * 1024;

pub(crate) struct SettlementQueue {
    store: Arc<dyn Backend>,
    waiting: VecDeque<Settlement>,
    /// When the first of these arrived.
    waiting_since: Option<Instant>,
    /// They are gathered for at least this long.
    gather: Duration,
    /// What is being written was gathered in a busy moment.
    brisk: bool,
    /// The batch that is being written.
    written: Arc<[Settlement]>,
    call: StoreCall<()>,
    batch_max: usize,
    /// This many outcomes do not wait for more.
    hurries_from: usize,
    /// One that waits matters: somebody else wants to see it.
    matters: bool,
    /// The store was told to flush the batch that is being written.
    hurried: bool,
    /// The bytes of all their responses.
    heard_bytes: usize,
    /// What long responses among these keep of the memory budget.
    held: BTreeMap<DeliveryId, HeldReservation>,
}

impl SettlementQueue {
    /// `max_in_flight` attempts may be in flight; those whose outcomes wait count as such.
    pub(crate) fn new(store: Arc<dyn Backend>, max_in_flight: usize) -> Self {
        Self {
            hurries_from: (max_in_flight / PATIENT_SHARE).min(limits::DELAYED_OUTCOMES_MAX / 2),
            matters: false,
            hurried: false,
            store,
            waiting: VecDeque::new(),
            waiting_since: None,
            gather: GATHER,
            brisk: false,
            written: Arc::default(),
            call: StoreCall::new("outcomes of attempts"),
            batch_max: limits::SETTLE_BATCH_MAX,
            heard_bytes: 0,
            held: BTreeMap::new(),
        }
    }

    /// Takes an outcome, and what it holds until it is written.
    pub(crate) fn push(
        &mut self,
        settlement: Settlement,
        held: Option<HeldReservation>,
        now: Instant,
    ) {
        // Its delivery is not tried again before this is written.
        self.held.extend(held.map(|held| (settlement.id, held)));
        self.heard_bytes += heard_bytes(&settlement);
        self.matters |= matters(&settlement);
        self.waiting_since.get_or_insert(now);
        self.waiting.push_back(settlement);
    }

    /// Whether no more attempts should begin, beside those in flight: an attempt counts until its
    /// outcome is written, and all of them have to fit into memory.
    pub(crate) fn is_full(&self, in_flight_count: usize, max_in_flight: usize) -> bool {
        self.len() + in_flight_count >= max_in_flight
            || self.heard_bytes >= limits::BUFFERED_BYTES_MAX
    }

    /// Outcomes that are not known to be written.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.written.len()
    }

    pub(crate) fn trouble(&self, now: Instant) -> Option<StoreTrouble> {
        self.call.trouble(now)
    }

    /// When there is something to do here without any event: the end of the wait after a refusal,
    /// or of gathering.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        let longest = match self.gather < GATHER {
            true => self.gather,
            false => GATHER_MAX,
        };
        let gathered = self.waiting_since.map(|since| since + longest);
        let gathered = gathered.filter(|_| self.call.may_ask(now));
        self.call.waits_until(now).or(gathered)
    }

    /// Hands the next batch to the store, if it has none and there is one that has gathered for
    /// long enough; `at_once` if nothing may wait any more. Returns its size.
    pub(crate) fn begin(&mut self, epoch: Epoch, now: Instant, at_once: bool) -> Option<usize> {
        let since = self.waiting_since?;
        if !self.call.may_ask(now) || !(now >= since + self.gather || self.is_held_up(at_once)) {
            return None;
        }
        self.brisk = self.gather < GATHER;
        self.gather = match self.len() > self.hurries_from {
            true => now.saturating_duration_since(since),
            false => self.gather,
        };
        self.gather = (self.gather * 4).clamp(GATHER_MIN, GATHER);
        let count = self.waiting.len().min(self.batch_max);
        self.written = self.waiting.drain(..count).collect();
        if self.waiting.is_empty() {
            self.waiting_since = None;
        }
        self.call
            .ask(self.store.settle(epoch, Arc::clone(&self.written)));
        self.hurried = false;
        self.matters = self.waiting.iter().any(matters);
        Some(count)
    }

    /// Has the store write what it has at once, if more waits than may or something matters.
    /// `at_once` if nothing may wait any more.
    pub(crate) fn hurry(&mut self, at_once: bool) {
        if (self.brisk || self.is_held_up(at_once)) && !self.hurried && !self.written.is_empty() {
            self.hurried = true;
            self.store.flush();
        }
    }

    fn is_held_up(&self, at_once: bool) -> bool {
        at_once
            || self.matters
            || self.len() > self.hurries_from
            || self.heard_bytes > HEARD_BYTES_PATIENT
    }

    /// The batch that was written, or why the store refused it; it is then repeated.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arc<[Settlement]>, StoreError>> {
        let answer = match ready!(self.call.poll(cx)) {
            Err(StoreError::Unknown) if is_on(Mutation::UnknownIsWritten) => Ok(()),
            answer => answer,
        };
        match answer {
            Ok(()) => {
                self.batch_max = (self.batch_max * 2).min(limits::SETTLE_BATCH_MAX);
                let written = std::mem::take(&mut self.written);
                let heard: usize = written.iter().map(heard_bytes).sum();
                self.heard_bytes = self.heard_bytes.saturating_sub(heard);
                if !self.held.is_empty() {
                    written.iter().for_each(|settlement| {
                        self.held.remove(&settlement.id);
                    });
                }
                Poll::Ready(Ok(written))
            }
            Err(error) => {
                self.put_back(&error);
                Poll::Ready(Err(error))
            }
        }
    }

    /// If the store chokes on a single outcome, ever smaller batches from alternating ends let the
    /// others through.
    fn put_back(&mut self, error: &StoreError) {
        let batch = std::mem::take(&mut self.written);
        // They have gathered before.
        self.waiting_since = Some(
            Instant::now()
                .checked_sub(GATHER_MAX)
                .unwrap_or_else(Instant::now),
        );
        match error {
            StoreError::Broken(_)
            | StoreError::Disk(DiskFault::Unreadable)
            | StoreError::Conflict(_)
            | StoreError::TooManyWebhooks
            | StoreError::Secret(_)
            | StoreError::Stale => {
                self.batch_max = (batch.len() / 2).max(1);
                self.waiting.extend(batch.iter().cloned());
            }
            StoreError::Busy
            | StoreError::Disk(_)
            | StoreError::Fenced
            | StoreError::Ended
            | StoreError::Unknown => {
                for settlement in batch.iter().rev() {
                    self.waiting.push_front(settlement.clone());
                }
            }
        }
    }
}

/// Whether somebody else wants to see it soon: it is no plain success. What a receiver agreed to
/// is one of these, because it would be asked again.
fn matters(settlement: &Settlement) -> bool {
    settlement.next.state != DeliveryState::Delivered || settlement.handshake.is_some()
}

fn heard_bytes(settlement: &Settlement) -> usize {
    settlement.attempt.outcome.bytes()
}
