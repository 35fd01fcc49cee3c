//! Renewals: the calls that keep a lease, and claim another one after it was lost.
//!
//! A renewal writes down how far the schedule has come, too. So it is made now and then even where
//! a lease does not end.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use model::contract::{Backend, StoreError};
use model::lease::Lease;
use model::limits::{HEARTBEAT_MS, HEARTBEAT_PART, IDLE_HEARTBEAT_MS, LEASE_RENEWAL_MS};
use model::time::{Clock, Heartbeat};
use tokio::time::Instant;

use crate::health::StoreTrouble;
use crate::ownership::AskedAt;
use crate::store_call::StoreCall;

/// Two leases are not claimed sooner after another: a store that fences whatever it grants is not
/// asked without end, and nothing is sent again and again.
const CLAIM_EVERY: Duration = Duration::from_secs(10);

/// Renewals are not made sooner after another, however many nodes come and go.
const HASTE_MS: i64 = 100;

pub(crate) struct Renewal {
    call: StoreCall<Lease>,
    /// The outstanding call, or the latest.
    asked: AskedAt,
    /// Whether it claims, and not before when.
    claims: Option<Instant>,
    claimed_at: Instant,
    beaten_at: Option<Instant>,
    /// Something changed for which the next renewal is made soon.
    hastened: bool,
}

/// Whether a lease ends, and whether slots of it are being given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseStage {
    Endless,
    Kept,
    Draining,
}

/// What was answered.
pub(crate) enum Renewed {
    /// The lease as it is from now on.
    Kept(Lease, AskedAt),
    /// Another one.
    Claimed(Lease, AskedAt),
}

impl Renewal {
    /// After a lease was claimed.
    pub(crate) fn new(claimed: AskedAt) -> Self {
        Self {
            call: StoreCall::new("the time"),
            asked: claimed,
            claims: None,
            claimed_at: claimed.at,
            beaten_at: None,
            hastened: false,
        }
    }

    /// Whether it is time to renew. `wait_ms`: how long until something is due, if anything is.
    pub(crate) fn is_due(&self, now: Instant, wait_ms: Option<i64>, stage: LeaseStage) -> bool {
        let every_ms = self.interval_ms(wait_ms, stage);
        let is_time = |at: Instant| millis(now.duration_since(at)) >= every_ms;
        self.claims.is_none() && self.call.may_ask(now) && self.beaten_at.is_none_or(is_time)
    }

    /// Whatever was written last says something wrong.
    pub(crate) fn hurry(&mut self) {
        self.beaten_at = None;
    }

    /// Others wait for slots of this node, or have given some up.
    pub(crate) fn hasten(&mut self) {
        self.hastened = true;
    }

    /// Renews, or gives up what is not named, because this node `leaves`.
    pub(crate) fn renew(
        &mut self,
        store: &dyn Backend,
        (lease, leaves): (Lease, bool),
        beat: Heartbeat,
        now: Instant,
    ) {
        self.beaten_at = Some(now);
        self.hastened = false;
        self.asked = AskedAt {
            at: now,
            wall: beat.at.wall,
        };
        self.call.ask(match leaves {
            true => store.leave(lease, beat),
            false => store.renew(lease, beat),
        });
    }

    /// Begins to claim, until there is another lease. What is outstanding is of no use any more.
    pub(crate) fn begin_claim(&mut self, now: Instant) {
        self.claims = Some(now.max(self.claimed_at + CLAIM_EVERY));
        self.call = StoreCall::new("a claim of slots");
    }

    /// Asks for a lease, if one is to be claimed.
    pub(crate) fn claim(&mut self, store: &dyn Backend, clock: &Clock, now: Instant) {
        if self.claims.is_some_and(|at| at <= now) && self.call.may_ask(now) {
            let wall = clock.now();
            self.asked = AskedAt { at: now, wall };
            self.call.ask(store.claim(wall));
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Renewed, StoreError>> {
        let answer = ready!(self.call.poll(cx));
        let asked = self.asked;
        Poll::Ready(match (answer, self.claims.is_some()) {
            (Ok(lease), false) => Ok(Renewed::Kept(lease, asked)),
            (Ok(lease), true) => {
                self.claims = None;
                self.claimed_at = asked.at;
                self.beaten_at = None;
                self.call = StoreCall::new("the time");
                Ok(Renewed::Claimed(lease, asked))
            }
            (Err(error), _) => {
                self.beaten_at = None;
                Err(error)
            }
        })
    }

    /// Nothing can be sent while slots are claimed.
    pub(crate) fn trouble(&self, now: Instant) -> Option<StoreTrouble> {
        self.call.trouble(now).filter(|_| self.claims.is_some())
    }

    /// When there is something to do here without any event.
    pub(crate) fn waits_until(&self, now: Instant, stage: LeaseStage) -> Option<Instant> {
        let ends = stage != LeaseStage::Endless;
        let next = self.beaten_at.filter(|_| ends && self.call.may_ask(now));
        let every = Duration::from_millis(self.interval_ms(None, stage).unsigned_abs());
        let next = next.map(|at| at + every);
        let claim = self.claims.filter(|_| self.call.may_ask(now));
        self.call.waits_until(now).or(claim).or(next)
    }

    /// How long a lease stays as it is while the first wait takes so long.
    fn interval_ms(&self, wait_ms: Option<i64>, stage: LeaseStage) -> i64 {
        match (stage, self.hastened) {
            (LeaseStage::Endless, _) => heartbeat_ms(wait_ms),
            (LeaseStage::Draining, _) | (LeaseStage::Kept, true) => HASTE_MS,
            (LeaseStage::Kept, false) => LEASE_RENEWAL_MS,
        }
    }
}

/// How long the time is not written while the first wait takes so long.
fn heartbeat_ms(wait_ms: Option<i64>) -> i64 {
    wait_ms.map_or(IDLE_HEARTBEAT_MS, |wait_ms| {
        (wait_ms / HEARTBEAT_PART).clamp(HEARTBEAT_MS, IDLE_HEARTBEAT_MS)
    })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;

    use super::*;

    #[test]
    fn the_time_is_written_often_while_a_wait_is_short_and_a_lease_is_renewed_in_time() {
        const HOUR: i64 = 3_600_000;
        let asked = AskedAt {
            at: Instant::now(),
            wall: Timestamp::from_millis(0),
        };
        let mut renewal = Renewal::new(asked);
        for (wait_ms, every_ms) in [
            (Some(-5), 10_000),
            (Some(0), 10_000),
            (Some(200_000), 10_000),
            (Some(600_000), 30_000),
            (Some(HOUR), 60_000),
            (Some(i64::MAX), 60_000),
            (None, 60_000),
        ] {
            let interval = |stage| renewal.interval_ms(wait_ms, stage);
            assert_eq!(interval(LeaseStage::Endless), every_ms, "{wait_ms:?}");
            assert_eq!(interval(LeaseStage::Kept), LEASE_RENEWAL_MS);
            assert_eq!(interval(LeaseStage::Draining), HASTE_MS);
        }
        renewal.hasten();
        assert_eq!(renewal.interval_ms(None, LeaseStage::Kept), HASTE_MS);
        assert_eq!(renewal.interval_ms(None, LeaseStage::Endless), 60_000);
    }
}
