//! Time: timestamps, moments, and a clock that says how far it can be trusted.
//!
//! A `Timestamp` is milliseconds in UTC, a `Moment` the same instant on the wall and in the
//! schedule. Wall time is for what is written down. It may jump. What is due when is in schedule
//! time, which goes on only while Willcall runs, and never jumps; waiting is `tokio::time`'s
//! business.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use serde::{Deserialize, Serialize};

use crate::limits::{CLOCK_DISTRUST_MS, CLOCK_FAR_MS, CLOCK_STEP_MS};

/// Milliseconds since 1970-01-01T00:00:00Z. Prints and parses as RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// One moment, as the wall clock and as the schedule has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub wall: Timestamp,
    pub schedule: Timestamp,
}

impl Moment {
    /// Of a schedule that never stood still.
    pub fn same(at: Timestamp) -> Self {
        Self {
            wall: at,
            schedule: at,
        }
    }
}

/// Answers what time it is. Cheap to clone; given by `main`, passed down as an argument.
#[derive(Clone)]
pub struct Clock(Arc<ClockInner>);

struct ClockInner {
    wall: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Milliseconds since whenever, which never jump.
    steady_ms: Box<dyn Fn() -> i64 + Send + Sync>,
    trust: Mutex<ClockTrust>,
}

/// How the wall clock went beside the steady one.
#[derive(Debug)]
struct ClockTrust {
    /// By how much the wall clock is ahead of the steady one.
    lead_ms: i64,
    /// When that was found.
    found_at_ms: i64,
    /// The same of the wall clock as it is trusted.
    trusted_lead_ms: i64,
    doubt: Option<ActiveDoubt>,
    untold: Vec<ClockDoubt>,
}

#[derive(Debug, Clone, Copy)]
struct ActiveDoubt {
    why: ClockDoubt,
    until_ms: i64,
}

/// Why the clock is not trusted with what cannot be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockDoubt {
    /// It was set, by so much; ahead if that is positive. A machine that stood still and goes on
    /// looks the same.
    Stepped { by_ms: i64 },
    /// When the process began, it was so far ahead of the newest time in the store.
    AheadOfStore { by_ms: i64 },
    /// When the process began, it was so far behind the newest time in the store.
    BehindStore { by_ms: i64 },
}

/// So often both clocks are read, if the process stands still each time in between.
const READS_MAX: usize = 3;

/// A clock that jumps all the time is told of so often between two looks.
const UNTOLD_MAX: usize = 16;

impl Timestamp {
    /// The first instant there is, for "since ever".
    pub const EPOCH: Self = Self(0);

    /// The latest instant that prints: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment moved by `ms`, held between the earliest and latest moment that print.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms).clamp(Self::EPOCH.0, Self::MAX.0))
    }

    /// Milliseconds from `earlier` until this moment; negative if `earlier` is later.
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    /// Always with three digits after the second, so that texts sort as the moments do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.clamp(Self::EPOCH.0, Self::MAX.0);
        let text = OffsetDateTime::from_unix_timestamp(millis.div_euclid(1_000))
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        let second = text.as_deref().and_then(|text| text.strip_suffix('Z'));
        match second {
            Some(second) => write!(f, "{second}.{:03}Z", millis.rem_euclid(1_000)),
            None => f.write_str("a moment out of range"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Between which times it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBounds {
    pub earliest: Timestamp,
    pub latest: Timestamp,
}

impl TimeBounds {
    /// It is this time, for certain.
    pub fn exactly(at: Timestamp) -> Self {
        Self {
            earliest: at,
            latest: at,
        }
    }
}

/// What is written down of the time now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    pub at: Moment,
    pub bounds: TimeBounds,
}

impl Heartbeat {
    /// One while the clock was not in doubt.
    pub fn certain(at: Moment) -> Self {
        Self {
            at,
            bounds: TimeBounds::exactly(at.wall),
        }
    }
}

/// What was given is not an RFC 3339 time such as `2027-01-19T10:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time such as 2027-01-19T10:00:00Z")]
pub struct InvalidTimestamp;

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        let nanos = moment.unix_timestamp_nanos();
        let millis = i64::try_from(nanos.div_euclid(1_000_000)).map_err(|_| InvalidTimestamp)?;
        if (Self::EPOCH.0..=Self::MAX.0).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(InvalidTimestamp)
        }
    }
}

impl Clock {
    /// A clock that is trusted whatever it says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let now = Arc::new(now);
        let wall = Arc::clone(&now);
        Self::watched(move || wall(), move || now().0)
    }

    /// A clock whose jumps are noticed, because milliseconds are known that never jump.
    pub fn watched(
        wall: impl Fn() -> Timestamp + Send + Sync + 'static,
        steady_ms: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Self {
        let inside = ClockInner {
            wall: Box::new(wall),
            steady_ms: Box::new(steady_ms),
            trust: Mutex::new(ClockTrust {
                lead_ms: 0,
                found_at_ms: 0,
                trusted_lead_ms: 0,
                doubt: None,
                untold: Vec::new(),
            }),
        };
        let (wall, steady_ms) = inside.read();
        let lead_ms = wall.0.saturating_sub(steady_ms);
        let mut trust = inside.trust();
        trust.lead_ms = lead_ms;
        trust.trusted_lead_ms = lead_ms;
        trust.found_at_ms = steady_ms;
        drop(trust);
        Self(Arc::new(inside))
    }

    /// What the wall clock says, which may be earlier than what it said before.
    pub fn now(&self) -> Timestamp {
        (self.0.wall)()
    }

    /// To be called at the start, with what the store was told last of what time it is: a doubt
    /// of that moment goes on.
    pub fn begins_after(&self, last: TimeBounds) {
        let (wall, steady_ms) = self.0.read();
        let (ahead_ms, behind_ms) = (wall.ms_since(last.earliest), last.latest.ms_since(wall));
        let (why, newest) = if ahead_ms >= CLOCK_FAR_MS {
            (ClockDoubt::AheadOfStore { by_ms: ahead_ms }, last.earliest)
        } else if behind_ms >= CLOCK_STEP_MS {
            (ClockDoubt::BehindStore { by_ms: behind_ms }, last.latest)
        } else {
            return;
        };
        let mut trust = self.0.trust();
        trust.trusted_lead_ms = newest.0.saturating_sub(steady_ms);
        trust.take(why, steady_ms);
    }

    /// A time that has come for certain: what cannot be undone happens by this one. While the
    /// clock is in doubt it goes on as it did before, and it is never later than `now`.
    pub fn certain(&self) -> Timestamp {
        self.bounds().earliest
    }

    /// What time it is at least, and at most: while the clock is in doubt what it says, and what
    /// it would say had it not been set.
    pub fn bounds(&self) -> TimeBounds {
        let (wall, steady_ms) = self.0.read();
        let mut trust = self.0.trust();
        trust.look(wall, steady_ms);
        let trusted = Timestamp::EPOCH.plus_ms(steady_ms.saturating_add(trust.trusted_lead_ms));
        TimeBounds {
            earliest: wall.min(trusted),
            // Clocks that are not in doubt drift, and are taken at their word.
            latest: match trust.doubt {
                Some(_) => wall.max(trusted),
                None => wall,
            },
        }
    }

    /// Looks whether the clock was set, and answers what nobody was told yet.
    pub fn look(&self) -> Vec<ClockDoubt> {
        let (wall, steady_ms) = self.0.read();
        let mut trust = self.0.trust();
        trust.look(wall, steady_ms);
        std::mem::take(&mut trust.untold)
    }

    /// Why it is in doubt, if it is, and for how many milliseconds more.
    pub fn doubt(&self) -> Option<(ClockDoubt, i64)> {
        let (wall, steady_ms) = self.0.read();
        let mut trust = self.0.trust();
        trust.look(wall, steady_ms);
        let doubted = trust.doubt?;
        Some((doubted.why, doubted.until_ms.saturating_sub(steady_ms)))
    }
}

impl ClockInner {
    /// Both clocks at one moment.
    fn read(&self) -> (Timestamp, i64) {
        let mut before = (self.steady_ms)();
        for _ in 0..READS_MAX {
            let wall = (self.wall)();
            let after = (self.steady_ms)();
            // Else the process stood still in between, and what was read is of two moments.
            if after.saturating_sub(before) < CLOCK_STEP_MS / 2 {
                return (wall, after);
            }
            before = after;
        }
        ((self.wall)(), before)
    }

    /// What stands behind the lock is whole at every moment.
    fn trust(&self) -> std::sync::MutexGuard<'_, ClockTrust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClockTrust {
    fn look(&mut self, wall: Timestamp, steady_ms: i64) {
        let lead_ms = wall.0.saturating_sub(steady_ms);
        let by_ms = lead_ms.saturating_sub(self.lead_ms);
        if self.doubt.is_some_and(|doubt| steady_ms >= doubt.until_ms) {
            self.doubt = None;
            self.trusted_lead_ms = self.lead_ms;
        }
        if by_ms.abs() >= CLOCK_STEP_MS {
            self.lead_ms = lead_ms;
            self.found_at_ms = steady_ms;
            self.take(ClockDoubt::Stepped { by_ms }, steady_ms);
        } else if steady_ms.saturating_sub(self.found_at_ms) >= CLOCK_DISTRUST_MS {
            // Clocks drift, and are set right in small steps.
            self.lead_ms = lead_ms;
            self.found_at_ms = steady_ms;
            if self.doubt.is_none() {
                self.trusted_lead_ms = lead_ms;
            }
        }
    }

    fn take(&mut self, why: ClockDoubt, steady_ms: i64) {
        self.doubt = Some(ActiveDoubt {
            why,
            until_ms: steady_ms.saturating_add(CLOCK_DISTRUST_MS),
        });
        if self.untold.len() < UNTOLD_MAX {
            self.untold.push(why);
        }
    }
}

impl fmt::Display for ClockDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Stepped { by_ms: by_ms @ 0.. } => write!(
                f,
                "the clock was set ahead by {}, or the machine stood still for so long",
                Span(by_ms)
            ),
            Self::Stepped { by_ms } => {
                write!(f, "the clock was set back by {}", Span(by_ms))
            }
            Self::AheadOfStore { by_ms } => write!(
                f,
                "at the start the clock was {} ahead of the newest time in the store: Willcall did \
                 not run for so long, or the clock is wrong",
                Span(by_ms)
            ),
            Self::BehindStore { by_ms } => write!(
                f,
                "at the start the clock was {} behind the newest time in the store: it is wrong, or \
                 was ahead before",
                Span(by_ms)
            ),
        }
    }
}

/// A length of time in its two largest units, whatever its sign.
struct Span(i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both clocks are read a moment apart, so 4 d may be some milliseconds less.
        let seconds = self.0.unsigned_abs().saturating_add(500) / 1_000;
        let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
        let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{rest} s"),
            (0, 0, _) => write!(f, "{minutes} min {rest} s"),
            (0, _, _) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn a_time_at_the_ends_of_the_calendar_is_read_or_refused() {
        for (text, read) in [
            ("9999-12-31T23:59:59.999Z", Ok(Timestamp::MAX)),
            ("9999-12-31T23:59:59-00:01", Err(InvalidTimestamp)),
            ("9999-12-31T23:59:59.999999999-23:59", Err(InvalidTimestamp)),
            ("0000-01-01T00:00:00+00:01", Err(InvalidTimestamp)),
            ("0000-01-01T00:00:00+23:59", Err(InvalidTimestamp)),
            ("1970-01-01T00:59:59+01:00", Err(InvalidTimestamp)),
        ] {
            assert_eq!(text.parse::<Timestamp>(), read, "{text}");
        }
    }

    #[test]
    fn a_time_prints_as_it_is_read() {
        for text in [
            "2027-01-19T00:00:00.000Z",
            "2026-11-20T18:52:54.120Z",
            "1970-01-01T00:00:00.001Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn another_zone_is_the_same_moment() {
        let utc: Timestamp = "2027-01-19T00:00:00Z".parse().unwrap();
        let berlin: Timestamp = "2027-01-19T01:00:00+01:00".parse().unwrap();
        assert_eq!(utc, berlin);
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2027-01-19",
            "2027-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const START: i64 = 1_800_000_000_000;

    /// A clock, and what it is made from: its lead over the steady one, and that.
    fn watched() -> (Clock, Arc<AtomicI64>, Arc<AtomicI64>) {
        let (lead, steady) = (Arc::new(AtomicI64::new(START)), Arc::new(AtomicI64::new(7)));
        let parts = (Arc::clone(&lead), Arc::clone(&steady), Arc::clone(&steady));
        let wall = move || Timestamp(parts.0.load(Relaxed) + parts.1.load(Relaxed));
        let clock = Clock::watched(wall, move || parts.2.load(Relaxed));
        (clock, lead, steady)
    }

    #[test]
    fn the_wall_clock_is_followed_in_both_directions() {
        let reading = Arc::new(AtomicI64::new(1_000));
        let source = Arc::clone(&reading);
        let clock = Clock::new(move || Timestamp(source.load(Relaxed)));
        for millis in [1_000, 400, 1_001, 40 * DAY, 3] {
            reading.store(millis, Relaxed);
            assert_eq!(clock.now(), Timestamp(millis));
            assert_eq!(clock.certain(), Timestamp(millis));
        }
    }

    #[test]
    fn a_jump_ahead_makes_nothing_certain_for_an_hour() {
        for by_ms in [2_000, HOUR, 4 * DAY, 400 * DAY] {
            let (clock, lead, steady) = watched();
            lead.fetch_add(by_ms, Relaxed);
            steady.fetch_add(15_000, Relaxed);
            assert_eq!(clock.now(), Timestamp(START + by_ms + 15_007));
            assert_eq!(clock.certain(), Timestamp(START + 15_007));
            assert_eq!(clock.look(), [ClockDoubt::Stepped { by_ms }]);
            assert_eq!(clock.look(), []);
            steady.fetch_add(HOUR - 1, Relaxed);
            assert_eq!(clock.certain(), Timestamp(START + 15_006 + HOUR));
            assert!(clock.doubt().is_some());
            steady.fetch_add(1, Relaxed);
            assert_eq!(clock.certain(), clock.now());
            assert!(clock.doubt().is_none());
        }
    }

    #[test]
    fn a_clock_that_is_set_back_takes_what_is_certain_with_it() {
        let (clock, lead, steady) = watched();
        for by_ms in [-2_000, -HOUR, -40 * DAY] {
            lead.fetch_add(by_ms, Relaxed);
            steady.fetch_add(5_000, Relaxed);
            assert_eq!(clock.certain(), clock.now());
            assert_eq!(clock.look(), [ClockDoubt::Stepped { by_ms }]);
        }
    }

    #[test]
    fn a_jump_that_is_set_right_leaves_what_is_certain_as_it_was() {
        let (clock, lead, steady) = watched();
        for _ in 0..100 {
            lead.fetch_add(4 * DAY, Relaxed);
            steady.fetch_add(15_000, Relaxed);
            assert!(clock.certain() < Timestamp(START + HOUR));
            lead.fetch_sub(4 * DAY, Relaxed);
            assert_eq!(clock.certain(), clock.now());
        }
        assert!(clock.look().len() <= UNTOLD_MAX);
        steady.fetch_add(HOUR, Relaxed);
        assert_eq!((clock.certain(), clock.doubt()), (clock.now(), None));
    }

    #[test]
    fn while_a_clock_is_in_doubt_it_may_be_late_or_early() {
        for by_ms in [4 * DAY, -4 * DAY] {
            let (clock, lead, steady) = watched();
            lead.fetch_add(by_ms, Relaxed);
            steady.fetch_add(15_000, Relaxed);
            let (wall, trusted) = (clock.now(), clock.now().plus_ms(-by_ms));
            let bounds = TimeBounds {
                earliest: wall.min(trusted),
                latest: wall.max(trusted),
            };
            assert_eq!(clock.bounds(), bounds);
            steady.fetch_add(HOUR, Relaxed);
            assert_eq!(clock.bounds(), TimeBounds::exactly(clock.now()));
        }
        let (clock, ..) = watched();
        clock.begins_after(TimeBounds::exactly(clock.now().plus_ms(DAY)));
        assert_eq!(clock.bounds().latest, clock.now().plus_ms(DAY));
    }

    #[test]
    fn a_clock_that_drifts_is_followed_without_a_word() {
        let (clock, lead, steady) = watched();
        for _ in 0..1_000 {
            lead.fetch_add(1_000, Relaxed);
            steady.fetch_add(HOUR, Relaxed);
            assert_eq!(clock.certain(), clock.now());
        }
        assert_eq!(clock.look(), []);
        // A second each minute is no drift.
        for _ in 0..10 {
            lead.fetch_add(1_000, Relaxed);
            steady.fetch_add(60_000, Relaxed);
            assert!(clock.certain() <= clock.now());
        }
        assert!(!clock.look().is_empty());
    }

    #[test]
    fn what_a_clock_says_at_the_start_is_held_against_the_store() {
        for (by_ms, certain_ms, doubted) in [
            (0, 0, None),
            (HOUR - 1, HOUR - 1, None),
            (
                40 * DAY,
                0,
                Some(ClockDoubt::AheadOfStore { by_ms: 40 * DAY }),
            ),
            (-1_000, -1_000, None),
            (-DAY, -DAY, Some(ClockDoubt::BehindStore { by_ms: DAY })),
        ] {
            let (clock, _, steady) = watched();
            let newest = clock.now().plus_ms(-by_ms);
            clock.begins_after(TimeBounds::exactly(newest));
            assert_eq!(clock.certain(), newest.plus_ms(certain_ms), "{by_ms}");
            assert_eq!(clock.doubt().map(|(why, _)| why), doubted);
            assert_eq!(clock.look(), Vec::from_iter(doubted));
            steady.fetch_add(HOUR, Relaxed);
            assert_eq!(clock.certain(), clock.now());
        }
    }

    #[test]
    fn a_doubt_goes_on_after_a_restart() {
        for by_ms in [40 * DAY, -40 * DAY] {
            let (clock, lead, _) = watched();
            lead.fetch_add(by_ms, Relaxed);
            let before = clock.bounds();
            // To another process it looks as if the clock had always been so.
            let again = Clock::watched(move || Timestamp(START + 7 + by_ms), || 7);
            again.begins_after(before);
            assert_eq!(again.bounds(), before);
            assert!(again.doubt().is_some());
        }
    }

    #[test]
    fn a_process_that_stands_still_between_two_readings_sees_no_jump() {
        let steady = Arc::new(AtomicI64::new(0));
        let (source, lags) = (Arc::clone(&steady), Arc::new(AtomicI64::new(1)));
        let wall = move || {
            let read = source.load(Relaxed);
            // Once more it stands still for so long, after it has read.
            if lags.swap(0, Relaxed) > 0 {
                source.fetch_add(34_000, Relaxed);
            }
            Timestamp(START + read)
        };
        let clock = Clock::watched(wall, move || steady.load(Relaxed));
        assert_eq!(clock.look(), []);
    }

    #[test]
    fn a_doubt_says_how_much_and_what_it_may_be() {
        let said = |doubt: ClockDoubt| doubt.to_string();
        let by_ms = 4 * DAY + 2 * HOUR;
        let words = "the clock was set ahead by 4 d 2 h, or the machine stood still for so long";
        assert_eq!(said(ClockDoubt::Stepped { by_ms }), words);
        let words = "the clock was set back by 1 min 5 s";
        assert_eq!(said(ClockDoubt::Stepped { by_ms: -65_000 }), words);
        assert!(said(ClockDoubt::AheadOfStore { by_ms }).contains("did not run for so long"));
        assert!(said(ClockDoubt::BehindStore { by_ms: 9_000 }).contains("9 s behind"));
    }

    mod fuzz;
}
