//! What a log line may hold of what others wrote, and how many lines of a kind there may be.
//!
//! Texts of others are bounded, and nothing in them can end a line or hide a part of it. A budget
//! knows no clock: the time is handed to it.

/// What stands for the rest of a text that was cut.
const CUT: char = '…';

/// The text with at most so many of its characters, those that nobody sees made visible.
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(chars_max));
    let mut rest = text.chars();
    for letter in rest.by_ref().take(chars_max) {
        match letter {
            '\'' | '"' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    if rest.next().is_some() {
        shown.push(CUT);
    }
    shown
}

/// How many lines of a kind there may be: some at once, then one from time to time. What is left
/// out is counted for the next line.
#[derive(Debug)]
pub struct LineBudget {
    at_once: u32,
    every_ms: i64,
    /// Lines that were said of those at once.
    used: u32,
    /// From when on one more may be said.
    paid_at_ms: i64,
    left_out: u64,
}

impl LineBudget {
    /// `at_once` lines together, and one each `every_ms` from then on.
    pub const fn new(at_once: u32, every_ms: i64) -> Self {
        Self {
            at_once,
            every_ms,
            used: 0,
            paid_at_ms: 0,
            left_out: 0,
        }
    }

    /// Whether a line may be said at this time of a clock that only goes on; and if so, how many
    /// were left out since the one before.
    pub fn take(&mut self, now_ms: i64) -> Option<u64> {
        let regained = now_ms.saturating_sub(self.paid_at_ms) / self.every_ms.max(1);
        if regained > 0 {
            self.used = self
                .used
                .saturating_sub(u32::try_from(regained).unwrap_or(u32::MAX));
            self.paid_at_ms = now_ms;
        }
        if self.used >= self.at_once {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        if self.used == 0 {
            self.paid_at_ms = now_ms;
        }
        self.used += 1;
        Some(self.take_left_out())
    }

    /// How many were left out since a line was said; they are not counted again.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_ends_no_line_hides_nothing_and_is_bounded() {
        for (text, wanted) in [
            ("anna", "anna"),
            ("O'N \"x\" \\", "O'N \"x\" \\"),
            ("a\r\nb\u{1b}[31m", "a\\r\\nb\\u{1b}[31m"),
            ("\u{202e}evil\u{200b}", "\\u{202e}evil\\u{200b}"),
            ("żółw 票", "żółw 票"),
            ("0123456789a", "0123456789…"),
        ] {
            assert_eq!(shown(text, 10), wanted);
        }
        assert_eq!(shown("\0\0\0", 2), "\\0\\0…");
    }

    #[test]
    fn some_lines_are_said_at_once_and_then_one_from_time_to_time_with_how_many_were_left_out() {
        let mut budget = LineBudget::new(3, 1_000);
        let mut said = |now_ms| budget.take(now_ms);
        assert_eq!([said(5), said(5), said(6)], [Some(0); 3]);
        assert_eq!([said(7), said(900)], [None; 2]);
        assert_eq!(said(1_006), Some(2));
        assert_eq!([said(1_007), said(2_005)], [None; 2]);
        assert_eq!(said(2_006), Some(2));
        // After a rest all of them may be said again, but no more.
        let at = 1_000_000;
        assert_eq!([said(at), said(at), said(at)], [Some(0); 3]);
        assert_eq!(said(at), None);
    }

    #[test]
    fn what_was_left_out_is_counted_once() {
        let mut budget = LineBudget::new(1, 1_000);
        assert_eq!((budget.take(0), budget.take(1)), (Some(0), None));
        assert_eq!(budget.take_left_out(), 1);
        assert_eq!(budget.take(1_001), Some(0));
    }
}
