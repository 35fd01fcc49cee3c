//! The meter of a lane: how many calls a second its webhook may have.
//!
//! Calls are spaced evenly, so no second has more of them than the rate says, also after a rest.
//! Arithmetic only, on times it is given; `lanes.rs` waits. A call counts when it begins, whatever
//! it is: a first attempt, a retry, a probe, or one that somebody asked for.

use std::time::Duration;

use model::call_limits::CallRate;
use model::limits::METER_LATE_MS;
use tokio::time::Instant;

/// Who wakes so late still counts from when it was to wake.
const LATE: Duration = Duration::from_millis(METER_LATE_MS);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Meter {
    /// From when the latest call counts.
    latest: Option<Instant>,
    /// The lane waited for this time.
    waited: Option<Instant>,
}

impl Meter {
    /// Goes on from what `latest` said, of an earlier lane.
    pub(crate) fn after(latest: Option<Instant>) -> Self {
        Self {
            latest,
            waited: None,
        }
    }

    pub(crate) fn latest(self) -> Option<Instant> {
        self.latest
    }

    /// When the next call may begin; `None` if it may now. Who is told a time waits for it.
    pub(crate) fn wait(&mut self, rate: CallRate, now: Instant) -> Option<Instant> {
        let next = self.latest? + rate.interval();
        if next <= now {
            return None;
        }
        self.waited = Some(next);
        Some(next)
    }

    /// A call begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        let on_time = |at: &Instant| *at <= now && now.duration_since(*at) <= LATE;
        self.latest = Some(self.waited.take().filter(on_time).unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> CallRate {
        CallRate::parse(text).unwrap()
    }

    /// When calls begin until `ms`, of a lane that always has one, and wakes so late.
    fn calls(meter: &mut Meter, rate: CallRate, ms: u64, late_ms: u64) -> Vec<u64> {
        let start = Instant::now();
        let end = start + Duration::from_millis(ms);
        let (mut now, mut calls) = (start, Vec::new());
        while now < end {
            match meter.wait(rate, now) {
                Some(at) => now = at + Duration::from_millis(late_ms),
                None => {
                    meter.begin(now);
                    let since = now.duration_since(start).as_millis();
                    calls.push(u64::try_from(since).unwrap());
                }
            }
        }
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_spaced_evenly_and_no_second_has_more_than_the_rate() {
        let calls = calls(&mut Meter::default(), rate("4"), 10_000, 0);
        assert_eq!(calls.len(), 40);
        assert_eq!(calls[..5], [0, 250, 500, 750, 1_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn waking_somewhat_late_takes_no_calls_away_and_waking_late_is_not_caught_up_with() {
        let somewhat = calls(&mut Meter::default(), rate("100"), 10_000, 1);
        assert_eq!(somewhat.len(), 1_000);
        let late = calls(&mut Meter::default(), rate("100"), 10_000, 10);
        assert_eq!(late.len(), 500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_saves_nothing_up() {
        let mut meter = Meter::default();
        meter.begin(Instant::now());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(calls(&mut meter, rate("2"), 1_000, 0), [0, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_counts_from_the_latest_call() {
        let mut meter = Meter::default();
        let now = Instant::now();
        meter.begin(now);
        let slow = meter.wait(rate("0.2"), now).unwrap();
        assert_eq!(slow.duration_since(now), Duration::from_secs(5));
        let fast = meter.wait(rate("10"), now).unwrap();
        assert_eq!(fast.duration_since(now), Duration::from_millis(100));
    }
}
