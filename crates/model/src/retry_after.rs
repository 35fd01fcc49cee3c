//! Retry-After: how long a receiver that is busy asks to be left alone.
//!
//! RFC 9110, 10.2.3: seconds, or a moment in one of three forms (5.6.7). What is neither is as
//! good as nothing, and no wait is longer than the policy allows.

use time::{Date, Month, PrimitiveDateTime, Time};

use crate::attempt::Outcome;
use crate::time::Timestamp;

const TOO_MANY_REQUESTS: u16 = 429;
const UNAVAILABLE: u16 = 503;

/// The wait that an answer asks for, counted from `ended_at`, and at most `most_ms`.
pub fn wait_ms(outcome: &Outcome, ended_at: Timestamp, most_ms: i64) -> Option<i64> {
    let Outcome::Answered(answer) = outcome else {
        return None;
    };
    if ![TOO_MANY_REQUESTS, UNAVAILABLE].contains(&answer.status) {
        return None;
    }
    let text = std::str::from_utf8(answer.headers.get("retry-after")?).ok()?;
    let text = text.trim_ascii();
    let wait_ms = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits mean a long time.
        let seconds: i64 = text.parse().unwrap_or(i64::MAX);
        seconds.saturating_mul(1_000)
    } else {
        moment(text)?.ms_since(ended_at)
    };
    (wait_ms > 0).then_some(wait_ms.min(most_ms))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`,
/// `Sun Nov  6 08:49:37 1994`. The name of the day says nothing that the date does not.
fn moment(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text
        .split([' ', '-'])
        .filter(|word| !word.is_empty())
        .collect();
    let (year, month, day, clock) = match *words.as_slice() {
        [_, day, month, year, clock, "GMT"] => (year, month, day, clock),
        [_, month, day, clock, year] => (year, month, day, clock),
        _ => return None,
    };
    let year: i32 = match (year.len(), year.parse().ok()?) {
        // Two digits have meant the years from 1970 to 2069 ever since.
        (2, year @ 70..) => 1900 + year,
        (2, year) => 2000 + year,
        (_, year) => year,
    };
    let month = Month::try_from(month_number(month)?).ok()?;
    let date = Date::from_calendar_date(year, month, day.parse().ok()?).ok()?;
    let mut parts = clock.split(':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // A leap second is as good as the one before it.
    let time = Time::from_hms(hour, minute, second.min(59)).ok()?;
    let seconds = PrimitiveDateTime::new(date, time)
        .assume_utc()
        .unix_timestamp();
    Some(Timestamp::from_millis(seconds.saturating_mul(1_000)))
}

fn month_number(name: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let index = NAMES.iter().position(|own| *own == name)?;
    u8::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::attempt::{BodyEnd, HttpResponse};
    use crate::webhook::Headers;

    const HOUR: i64 = 3_600_000;

    fn asked(status: u16, value: &str) -> Option<i64> {
        let outcome = Outcome::Answered(HttpResponse {
            status,
            headers: Headers::from_pairs([("retry-after", value.as_bytes())]),
            body: Bytes::new(),
            body_end: BodyEnd::Whole,
            note: None,
        });
        // 1994-11-06T08:49:00Z
        wait_ms(&outcome, Timestamp::from_millis(784_111_740_000), HOUR)
    }

    #[test]
    fn seconds_and_all_three_forms_of_a_moment_are_understood() {
        for value in [
            "37",
            " 37 ",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(asked(503, value), Some(37_000), "{value}");
            assert_eq!(asked(429, value), Some(37_000), "{value}");
        }
    }

    #[test]
    fn no_wish_is_longer_than_allowed() {
        for value in [
            "3601",
            "99999999999999999999999",
            "9223372036854775807",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(asked(503, value), Some(HOUR), "{value}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_nothing() {
        for value in [
            "",
            "0",
            "-5",
            "1.5",
            "soon",
            "Sun, 06 Nov 1994 08:48:59 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 999999999 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(asked(503, value), None, "{value}");
        }
        assert_eq!(asked(500, "37"), None);
        assert_eq!(asked(200, "37"), None);
    }

    mod fuzz;
}
