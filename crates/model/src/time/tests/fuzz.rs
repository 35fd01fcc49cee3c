//! Times as nobody would write them.

use super::*;

#[test]
fn a_time_prints_as_what_is_read_as_the_same_time() {
    ::fuzz::run("timestamp", 3_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(at) = text.parse::<Timestamp>() {
            assert_eq!(at.to_string().parse(), Ok(at));
            assert!((Timestamp::EPOCH..=Timestamp::MAX).contains(&at));
        }
    });
}
