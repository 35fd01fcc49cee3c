//! Timestamp (milliseconds, UTC) and Clock (a handle that answers "now").
//!
//! Wall time is for what is written down; waiting is `tokio::time`'s business and not known here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ::time::format_description::well_known::Rfc3339;
use ::time::{OffsetDateTime, UtcOffset};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. Prints and parses as RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// Answers what time it is. Cheap to clone; given by `main`, passed down as an argument.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

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

/// What was given is not an RFC 3339 time such as `2027-01-19T10:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time such as 2027-01-19T10:00:00Z")]
pub struct NotATime;

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NotATime)?;
        let nanos = moment.to_offset(UtcOffset::UTC).unix_timestamp_nanos();
        let millis = i64::try_from(nanos.div_euclid(1_000_000)).map_err(|_| NotATime)?;
        if (Self::EPOCH.0..=Self::MAX.0).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(NotATime)
        }
    }
}

impl Clock {
    /// A clock around `now`, held so that it never runs backwards within this process.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let latest = AtomicI64::new(i64::MIN);
        Self(Arc::new(move || {
            let read = now().0;
            // Most calls find the millisecond known; only who writes needs the cell for itself.
            let before = latest.load(Ordering::Relaxed);
            if read <= before {
                return Timestamp(before);
            }
            Timestamp(read.max(latest.fetch_max(read, Ordering::Relaxed)))
        }))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_stands_still() {
        let reading = Arc::new(AtomicI64::new(1_000));
        let source = Arc::clone(&reading);
        let clock = Clock::new(move || Timestamp(source.load(Ordering::Relaxed)));
        assert_eq!(clock.now(), Timestamp(1_000));
        reading.store(400, Ordering::Relaxed);
        assert_eq!(clock.now(), Timestamp(1_000));
        reading.store(1_001, Ordering::Relaxed);
        assert_eq!(clock.now(), Timestamp(1_001));
    }
}
