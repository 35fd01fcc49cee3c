//! Named retry schedules, as an operator writes them: `patient=5s 1m 1h 12h`.

use std::collections::BTreeMap;

use model::call_limits::is_schedule_name;
use model::limits::{NAMED_SCHEDULES_MAX, SCHEDULE_MS_MAX, SCHEDULE_WAITS_MAX};
use model::schedule::Schedule;

/// Waits from here on have jitter, so that an outage does not end in a stampede.
const JITTER_FROM_MS: i64 = 60_000;
const JITTER_PERCENT: u32 = 10;

/// Each name with its waits.
pub(super) fn schedules<'a>(
    items: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, Schedule>, String> {
    let mut all = BTreeMap::new();
    for item in items {
        let (name, waits) = item.split_once('=').ok_or_else(|| {
            format!("\"{item}\" has no name: write it as in patient=5s 1m 1h 12h")
        })?;
        let name = name.trim();
        if !is_schedule_name(name) {
            return Err(format!(
                "\"{name}\" is no name for a schedule: it has 1 to 50 small letters, digits, - and _"
            ));
        }
        if all
            .insert(name.to_owned(), schedule(name, waits)?)
            .is_some()
        {
            return Err(format!("\"{name}\" is there twice"));
        }
    }
    match all.len() > NAMED_SCHEDULES_MAX {
        true => Err(format!(
            "there are more than {NAMED_SCHEDULES_MAX} schedules"
        )),
        false => Ok(all),
    }
}

fn schedule(name: &str, waits: &str) -> Result<Schedule, String> {
    let waits = waits.split_whitespace();
    let delays: Result<Vec<i64>, String> = waits.map(|wait| wait_ms(name, wait)).collect();
    let delays_ms = delays?;
    let sum = delays_ms
        .iter()
        .fold(0_i64, |sum, ms| sum.saturating_add(*ms));
    let may_be = (1..=SCHEDULE_WAITS_MAX).contains(&delays_ms.len()) && sum <= SCHEDULE_MS_MAX;
    match may_be {
        true => Ok(Schedule {
            delays_ms,
            jitter_from_ms: JITTER_FROM_MS,
            jitter_percent: JITTER_PERCENT,
            final_attempt_after_ms: None,
        }),
        false => Err(format!(
            "the schedule \"{name}\" has to have 1 to {SCHEDULE_WAITS_MAX} waits of 30 days in all at most"
        )),
    }
}

fn wait_ms(name: &str, wait: &str) -> Result<i64, String> {
    let wrong = || {
        format!(
            "the wait \"{wait}\" of the schedule \"{name}\" is no whole number with s, m, h or d \
             behind it, such as 30s or 12h"
        )
    };
    let units = [
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let mut found = units.into_iter();
    let read = found.find_map(|(unit, ms)| Some((wait.strip_suffix(unit)?, ms)));
    let (count, unit_ms) = read.ok_or_else(wrong)?;
    let is_number = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let count: i64 = count.parse().map_err(|_| wrong())?;
    match is_number && count > 0 {
        true => Ok(count.saturating_mul(unit_ms)),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, Schedule>, String> {
        schedules(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty()),
        )
    }

    #[test]
    fn a_schedule_is_a_name_and_its_waits() {
        let all = read("patient=5s 1m 1h 12h, short = 2d").unwrap();
        let waits = |name: &str| all.get(name).unwrap().delays_ms.clone();
        assert_eq!(waits("patient"), [5_000, 60_000, 3_600_000, 43_200_000]);
        assert_eq!(waits("short"), [172_800_000]);
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_schedule_is_named() {
        for (text, named) in [
            ("5s 1m", "has no name"),
            ("Patient=5s", "\"Patient\""),
            ("a=", "\"a\" has to have"),
            ("a=31d", "30 days"),
            ("a=5", "the wait \"5\""),
            ("a=0s", "the wait \"0s\""),
            ("a=+5s", "the wait \"+5s\""),
            ("a=99999999999999999999s", "the wait"),
            ("a=5s,a=6s", "twice"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }
}
