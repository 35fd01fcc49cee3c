//! Percentiles, rates and ratios of samples. No sample is discarded.

/// Samples of one quantity, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// The percentile at so many `thousandths` (990 is the p99). By nearest rank, so it is a sample
    /// that was measured; 0 without samples.
    pub(crate) fn percentile(&self, thousandths: usize) -> f64 {
        let rank = (self.0.len() * thousandths).div_ceil(1_000);
        let found = self.0.get(rank.saturating_sub(1));
        found.copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(500)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Count per second; 0 if it took no time.
pub(crate) fn rate(count: u64, took: std::time::Duration) -> f64 {
    ratio(float(count), took.as_secs_f64())
}

/// The ratio; 0 if the whole is not positive.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Exact below 2^53; no count here is larger.
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

pub(crate) fn micros(took: std::time::Duration) -> f64 {
    took.as_secs_f64() * 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample_at_the_nearest_rank() {
        let samples = Samples::of((1..=1_000).rev().map(f64::from));
        for (thousandths, expected) in [(500, 500.0), (990, 990.0), (999, 999.0), (1_000, 1_000.0)]
        {
            assert!((samples.percentile(thousandths) - expected).abs() < f64::EPSILON);
        }
        let few = Samples::of([3.0, 1.0, 2.0]);
        assert!((few.median() - 2.0).abs() < f64::EPSILON);
        assert!((few.percentile(999) - 3.0).abs() < f64::EPSILON);
        assert_eq!(few.count(), 3);
    }

    #[test]
    fn nothing_measured_and_nothing_to_divide_by_are_zero() {
        assert!(Samples::default().median().abs() < f64::EPSILON);
        assert!(ratio(1.0, 0.0).abs() < f64::EPSILON);
        assert!(rate(7, std::time::Duration::ZERO).abs() < f64::EPSILON);
    }
}
