//! Drawings: bars that are stacked, and lines, as paths of an SVG that is stretched to where it
//! stands. Numbers only: words and colours come from the template and the style sheet.

use std::fmt::Write as _;

use model::statistics::{AttemptClass, AttemptTally};

use super::scale::Scale;
use crate::dialect::statistics::PERCENTILES;

/// The canvas: so wide for each step, and so high.
pub(super) const STEP_WIDTH: u64 = 10;
pub(super) const HEIGHT: u64 = 200;

/// A part of a bar that is not zero is always visible.
const VISIBLE: u64 = 2;

/// A part of a bar: what it counts, and its outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BarPart {
    pub(crate) class: &'static str,
    pub(crate) outline: String,
}

/// A line through the steps: its name, and its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) path: String,
}

/// Where a step begins on the canvas.
pub(super) fn left(step: usize) -> u64 {
    u64::try_from(step).unwrap_or(0).saturating_mul(STEP_WIDTH)
}

/// The parts of one step's bar, from the ground up.
pub(super) fn bar(step: usize, tally: &AttemptTally, scale: Scale) -> Vec<BarPart> {
    let (left, width) = (left(step) + 1, STEP_WIDTH - 2);
    let mut ground = HEIGHT;
    let mut parts = Vec::new();
    for class in AttemptClass::ALL {
        let count = tally.count(class);
        if count > 0 {
            let high = scale.up(count, HEIGHT).max(VISIBLE).min(ground);
            ground -= high;
            parts.push(BarPart {
                class: class.as_str(),
                outline: format!("M{left} {ground}h{width}v{high}h-{width}z"),
            });
        }
    }
    parts
}

/// A line for each percentile, with a gap where nothing was answered.
pub(super) fn lines(steps: &[AttemptTally], scale: Scale) -> Vec<Line> {
    let each = PERCENTILES.into_iter();
    each.map(|(name, percent)| {
        let mut path = String::new();
        let mut goes_on = false;
        for (step, tally) in steps.iter().enumerate() {
            let Some(ms) = tally.percentile(percent) else {
                goes_on = false;
                continue;
            };
            let x = left(step) + STEP_WIDTH / 2;
            let y = HEIGHT - scale.up(u64::from(ms), HEIGHT);
            // Writing to a text cannot fail. One that stands alone is a dot.
            match goes_on {
                true => write!(path, "L{x} {y}").ok(),
                false => write!(path, "M{x} {y}h0").ok(),
            };
            goes_on = true;
        }
        Line { name, path }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::attempt::{BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
    use model::webhook::Headers;

    use super::super::scale::ScaleUnit;
    use super::*;

    fn tally(delivered: usize, unanswered: usize, ms: u32) -> AttemptTally {
        let answered = Outcome::Answered(HttpResponse {
            status: 200,
            headers: Headers::default(),
            body: Bytes::new(),
            body_end: BodyEnd::Whole,
            note: None,
        });
        let failed = Outcome::Failed(Failure::new(FailureKind::Connect, ""));
        let mut tally = AttemptTally::default();
        for _ in 0..delivered {
            tally.add(&answered, ms);
        }
        for _ in 0..unanswered {
            tally.add(&failed, ms);
        }
        tally
    }

    #[test]
    fn parts_stand_on_one_another_and_the_least_is_visible() {
        let scale = Scale::of(1_000, ScaleUnit::Attempts);
        let parts = bar(3, &tally(500, 1, 20), scale);
        let part = |class, outline: &str| BarPart {
            class,
            outline: outline.to_owned(),
        };
        assert_eq!(
            parts,
            [
                part("delivered", "M31 100h8v100h-8z"),
                part("no_answer", "M31 98h8v2h-8z"),
            ]
        );
        assert_eq!(bar(0, &tally(0, 0, 0), scale), []);
    }

    #[test]
    fn a_full_bar_does_not_leave_the_canvas() {
        let scale = Scale::of(1, ScaleUnit::Attempts);
        let parts = bar(0, &tally(500, 500, 20), scale);
        assert_eq!(parts[0].outline, "M1 0h8v200h-8z");
        assert_eq!(parts[1].outline, "M1 0h8v0h-8z");
    }

    #[test]
    fn a_line_has_gaps_where_nothing_was_answered() {
        let steps = [
            tally(1, 0, 100),
            tally(1, 0, 50),
            tally(0, 3, 50),
            tally(2, 0, 20),
        ];
        let scale = Scale::of(200, ScaleUnit::Milliseconds);
        let lines = lines(&steps, scale);
        let names: Vec<_> = lines.iter().map(|line| line.name).collect();
        assert_eq!(names, ["p50", "p95", "p99"]);
        assert_eq!(lines[0].path, "M5 98h0L15 149M35 180h0");
    }
}
