//! Limits that a webhook has of its own: calls at a time, calls a second, the time of a call, and a
//! retry schedule by its name. Each stays within what the operator allows.
//!
//! What is typed is judged here, wherever it was typed. What is stored was judged then; the
//! operator's bounds of today hold all the same, where calls are made.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::limits::{CALL_RATE_MICROS_MAX, CALL_RATE_MICROS_MIN, SCHEDULE_NAME_BYTES_MAX};
use crate::refusal::Fault;
use crate::schedule::Schedule;

/// The names of the fields, wherever they are typed.
pub const FIELDS: [&str; 4] = [
    "calls_at_a_time",
    "calls_per_second",
    "time_limit",
    "schedule",
];

/// `None`: as the operator and the dialect have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallLimits {
    pub calls_at_a_time: Option<u32>,
    pub calls_per_second: Option<CallRate>,
    /// For the whole exchange.
    pub time_limit_ms: Option<u32>,
    pub schedule: Option<String>,
}

/// So many calls in a million seconds, so that parts of one a second are exact enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallRate(u32);

/// What an operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallBounds {
    pub calls_at_a_time_max: u32,
    pub time_limit_ms_max: u32,
    /// The name under which this server asks receivers whether they agree, if it has one.
    pub origin: Option<String>,
    /// Besides the dialect's own, which needs no name.
    pub schedules: BTreeMap<String, Schedule>,
}

/// Limits as they were typed: numbers as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypedLimits {
    pub calls_at_a_time: Option<String>,
    pub calls_per_second: Option<String>,
    /// In seconds.
    pub time_limit: Option<String>,
    pub schedule: Option<String>,
}

impl CallRate {
    /// A decimal number with at most six digits behind its point.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 6 {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let part: u32 = format!("{part:0<6}").parse().ok()?;
        Self::of_micros(whole.checked_mul(1_000_000)?.checked_add(part)?)
    }

    /// So many calls in a million seconds, if that may be.
    pub fn of_micros(micros: u32) -> Option<Self> {
        let may_be = CALL_RATE_MICROS_MIN..=CALL_RATE_MICROS_MAX;
        may_be.contains(&micros).then_some(Self(micros))
    }

    pub fn micros(self) -> u32 {
        self.0
    }

    /// The fastest that never has more calls in a minute; `None` if that is no bound.
    pub fn of_minute(calls: u32) -> Option<Self> {
        let micros = u64::from(calls) * 1_000_000 / 60;
        u32::try_from(micros).ok().and_then(Self::of_micros)
    }

    /// How many calls a minute it has at most.
    pub fn per_minute(self) -> u64 {
        (u64::from(self.0) * 60).div_ceil(1_000_000)
    }

    /// From one call to the next.
    pub fn interval(self) -> Duration {
        Duration::from_nanos(1_000_000_000_000_000_u64.div_ceil(u64::from(self.0)))
    }
}

/// As it is typed: `0.2`.
impl fmt::Display for CallRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// An operator's own defaults.
impl Default for CallBounds {
    fn default() -> Self {
        Self {
            calls_at_a_time_max: 32,
            time_limit_ms_max: 60_000,
            origin: None,
            schedules: BTreeMap::new(),
        }
    }
}

impl CallBounds {
    /// The names of the schedules, for people.
    pub fn schedule_names(&self) -> String {
        let names: Vec<&str> = self.schedules.keys().map(String::as_str).collect();
        names.join(", ")
    }
}

impl CallLimits {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The schedule that it names and the operator does not have any more.
    pub fn missing_schedule(&self, bounds: &CallBounds) -> Option<&str> {
        let name = self.schedule.as_deref()?;
        (!bounds.schedules.contains_key(name)).then_some(name)
    }

    /// For the audit log and for people: each limit by its field, as it is typed.
    pub fn typed(&self) -> TypedLimits {
        TypedLimits {
            calls_at_a_time: self.calls_at_a_time.map(|count| count.to_string()),
            calls_per_second: self.calls_per_second.map(|rate| rate.to_string()),
            time_limit: self.time_limit_ms.map(|ms| (ms / 1_000).to_string()),
            schedule: self.schedule.clone(),
        }
    }
}

impl TypedLimits {
    /// Judges what was typed. Each fault names its field.
    pub fn judged(&self, bounds: &CallBounds) -> Result<CallLimits, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, words: String| faults.push(Fault::new(field, words));
        let whole = |text: &String, most: u32| {
            let number = text.parse::<u32>().ok();
            number.filter(|number| (1..=most).contains(number))
        };
        let most = bounds.calls_at_a_time_max;
        let calls_at_a_time = self.calls_at_a_time.as_ref().and_then(|text| {
            let count = whole(text, most);
            if count.is_none() {
                let words = format!("It has to be a whole number of calls from 1 to {most}.");
                fault("calls_at_a_time", words);
            }
            count
        });
        let calls_per_second = self.calls_per_second.as_ref().and_then(|text| {
            let rate = CallRate::parse(text);
            if rate.is_none() {
                let words = "It has to be a number of calls a second from 0.001 to 1000, such as \
                             5, or 0.2 for one call in five seconds.";
                fault("calls_per_second", words.to_owned());
            }
            rate
        });
        let most = bounds.time_limit_ms_max / 1_000;
        let time_limit = self.time_limit.as_ref().and_then(|text| {
            let seconds = whole(text, most);
            if seconds.is_none() {
                let words = format!("It has to be a whole number of seconds from 1 to {most}.");
                fault("time_limit", words);
            }
            seconds
        });
        let schedule = self.schedule.as_ref().filter(|name| {
            let is_known = bounds.schedules.contains_key(*name);
            if !is_known {
                let words = match bounds.schedules.is_empty() {
                    true => "There is no schedule to choose: whoever runs the server has none in \
                             the setting schedules."
                        .to_owned(),
                    false => format!("It has to be one of {}.", bounds.schedule_names()),
                };
                fault("schedule", words);
            }
            is_known
        });
        match faults.is_empty() {
            true => Ok(CallLimits {
                calls_at_a_time,
                calls_per_second,
                time_limit_ms: time_limit.map(|seconds| seconds.saturating_mul(1_000)),
                schedule: schedule.cloned(),
            }),
            false => Err(faults),
        }
    }
}

/// Whether a schedule may have this name.
pub fn is_schedule_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=SCHEDULE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> CallBounds {
        let schedule = Schedule {
            delays_ms: vec![1_000],
            jitter_from_ms: 0,
            jitter_percent: 0,
            final_attempt_after_ms: None,
        };
        CallBounds {
            calls_at_a_time_max: 8,
            time_limit_ms_max: 20_000,
            origin: None,
            schedules: [("patient".to_owned(), schedule)].into(),
        }
    }

    fn typed(field: &str, text: &str) -> TypedLimits {
        let of = |own: &str| (own == field).then(|| text.to_owned());
        TypedLimits {
            calls_at_a_time: of("calls_at_a_time"),
            calls_per_second: of("calls_per_second"),
            time_limit: of("time_limit"),
            schedule: of("schedule"),
        }
    }

    #[test]
    fn a_rate_is_a_decimal_number_and_is_written_as_it_was_typed() {
        for (text, interval_ms) in [
            ("1", 1_000),
            ("0.2", 5_000),
            ("2.5", 400),
            ("0.001", 1_000_000),
            ("1000", 1),
        ] {
            let rate = CallRate::parse(text).unwrap();
            assert_eq!(rate.to_string(), text);
            assert_eq!(rate.interval(), Duration::from_millis(interval_ms));
        }
        for text in [
            "",
            "0",
            ".5",
            "5.",
            "-1",
            "1e3",
            "0.0009",
            "1000.1",
            "1.0000001",
            "٣",
        ] {
            assert_eq!(CallRate::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_rate_is_never_faster_than_was_typed() {
        let rate = CallRate::parse("3").unwrap();
        assert!(rate.interval() * 3 >= Duration::from_secs(1));
    }

    #[test]
    fn what_was_typed_is_taken_within_the_operators_bounds() {
        let all = TypedLimits {
            calls_at_a_time: Some("8".to_owned()),
            calls_per_second: Some("0.5".to_owned()),
            time_limit: Some("20".to_owned()),
            schedule: Some("patient".to_owned()),
        };
        let judged = all.judged(&bounds()).unwrap();
        assert_eq!(judged.time_limit_ms, Some(20_000));
        assert_eq!(judged.typed(), all);
        let nothing = TypedLimits::default().judged(&bounds()).unwrap();
        assert!(nothing.is_empty());
    }

    #[test]
    fn every_wrong_value_is_refused_at_its_field() {
        for (field, text) in [
            ("calls_at_a_time", "0"),
            ("calls_at_a_time", "9"),
            ("calls_at_a_time", "1.5"),
            ("calls_per_second", "0"),
            ("calls_per_second", "fast"),
            ("time_limit", "0"),
            ("time_limit", "21"),
            ("time_limit", "99999999999"),
            ("schedule", "eager"),
        ] {
            let faults = typed(field, text).judged(&bounds()).unwrap_err();
            let fields: Vec<&str> = faults.iter().map(|fault| &*fault.field).collect();
            assert_eq!(fields, [field], "{text}");
        }
    }

    #[test]
    fn a_schedule_that_the_operator_took_away_is_named() {
        let limits = typed("schedule", "patient").judged(&bounds()).unwrap();
        assert_eq!(limits.missing_schedule(&bounds()), None);
        let missing = limits
            .missing_schedule(&CallBounds::default())
            .unwrap()
            .to_owned();
        assert_eq!(missing, "patient");
    }
}
