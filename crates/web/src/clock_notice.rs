//! The notice about a clock that was set, for people and tools.

use model::time::Clock;

/// What there is to know of a clock that was set, while it is not trusted.
pub(crate) fn clock_words(clock: &Clock) -> Option<String> {
    let (doubt, left_ms) = clock.doubt()?;
    let minutes = (left_ms / 60_000).max(1);
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    Some(format!(
        "The time of the server: {doubt}. Waits go on as they were, and for {minutes} {unit} more \
         nothing is removed or ended by what the clock says. If it is wrong, set it right."
    ))
}
