//! Values of `Retry-After` as no server would send them.

use super::*;

#[test]
fn any_value_is_a_wait_within_bounds_or_none() {
    ::fuzz::run("retry_after", 6_000, |bytes| {
        let found = |status, ended_at, most_ms| {
            let outcome = Outcome::Answered(HttpResponse {
                status,
                headers: Headers::from_pairs([("retry-after", bytes)]),
                body: Bytes::new(),
                body_end: BodyEnd::Whole,
                note: None,
            });
            wait_ms(&outcome, Timestamp::from_millis(ended_at), most_ms)
        };
        for ended_at in [0, 784_111_740_000, Timestamp::MAX.as_millis()] {
            let long = found(503, ended_at, i64::MAX);
            assert!(long.is_none_or(|wait| wait > 0));
            assert_eq!(found(429, ended_at, HOUR), long.map(|wait| wait.min(HOUR)));
            assert_eq!(found(500, ended_at, HOUR), None);
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            assert_eq!(found(503, 0, HOUR), None);
            return;
        };
        // An instant is read again from the form that RFC 9110 prefers. Earlier ones are
        // as good as 1970.
        let names = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
        ];
        if let Some(at) = moment(text).filter(|at| *at > Timestamp::EPOCH) {
            let printed = at.to_string();
            let month: usize = printed[5..7].parse().unwrap();
            let month = names.get(month - 1).unwrap_or(&["Nov", "Dec"][month / 12]);
            let (year, day, clock) = (&printed[..4], &printed[8..10], &printed[11..19]);
            let form = format!("Xxx, {day} {month} {year} {clock} GMT");
            assert_eq!(moment(&form), Some(at), "{form}");
        }
    });
}
