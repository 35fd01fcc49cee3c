//! Scales: where a chart ends above, so that its top and its middle are numbers that people like.

use std::fmt;

use super::super::view::DisplayDuration;

/// What a scale may end with, times a power of ten. Half of each is short, too.
const ENDS: [u64; 5] = [2, 4, 6, 8, 10];

/// From zero to its top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) top: u64,
    unit: ScaleUnit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScaleUnit {
    Attempts,
    Milliseconds,
}

/// A number on a scale, with its unit if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScaleMark(u64, ScaleUnit);

impl Scale {
    /// The least that holds `highest`.
    pub(super) fn of(highest: u64, unit: ScaleUnit) -> Self {
        let mut power = 1_u64;
        loop {
            let fits = |end: &u64| end.saturating_mul(power) >= highest;
            if let Some(end) = ENDS.into_iter().find(fits) {
                let top = end.saturating_mul(power);
                return Self { top, unit };
            }
            power = power.saturating_mul(10);
        }
    }

    /// From above.
    pub(super) fn marks(self) -> [ScaleMark; 3] {
        [self.top, self.top / 2, 0].map(|at| ScaleMark(at, self.unit))
    }

    /// How far up a number is, of `height`.
    pub(super) fn up(self, number: u64, height: u64) -> u64 {
        let up = u128::from(number) * u128::from(height) / u128::from(self.top.max(1));
        u64::try_from(up).unwrap_or(height).min(height)
    }
}

impl fmt::Display for ScaleMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.1, self.0) {
            (ScaleUnit::Attempts, count) if count >= 10_000_000 => {
                write!(f, "{}M", count / 1_000_000)
            }
            (ScaleUnit::Attempts, count) if count >= 10_000 => write!(f, "{}k", count / 1_000),
            (ScaleUnit::Attempts, count) => count.fmt(f),
            (ScaleUnit::Milliseconds, ms) => {
                DisplayDuration(i64::try_from(ms).unwrap_or(i64::MAX)).fmt(f)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_with_a_number_that_can_be_halved_and_holds_the_highest() {
        let tops = [0, 1, 2, 3, 10, 11, 41, 999, 1_001, 123_456].map(|highest| {
            let scale = Scale::of(highest, ScaleUnit::Attempts);
            assert_eq!(scale.top % 2, 0);
            scale.top
        });
        assert_eq!(tops, [2, 2, 2, 4, 10, 20, 60, 1_000, 2_000, 200_000]);
        assert_eq!(Scale::of(u64::MAX, ScaleUnit::Attempts).top, u64::MAX);
    }

    #[test]
    fn marks_are_short_and_have_their_unit() {
        let words = |highest, unit| {
            Scale::of(highest, unit)
                .marks()
                .map(|mark| mark.to_string())
        };
        assert_eq!(words(3, ScaleUnit::Attempts), ["4", "2", "0"]);
        assert_eq!(words(150_000, ScaleUnit::Attempts), ["200k", "100k", "0"]);
        assert_eq!(
            words(280, ScaleUnit::Milliseconds),
            ["400 ms", "200 ms", "0 ms"]
        );
        assert_eq!(
            words(2_900, ScaleUnit::Milliseconds),
            ["4.0 s", "2.0 s", "0 ms"]
        );
    }

    #[test]
    fn nothing_is_drawn_above_the_top() {
        let scale = Scale::of(90, ScaleUnit::Attempts);
        assert_eq!(
            [0, 45, 90, 100, u64::MAX].map(|at| scale.up(at, 200)),
            [0, 90, 180, 200, 200]
        );
    }
}
