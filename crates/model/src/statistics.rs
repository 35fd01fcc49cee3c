//! Statistics: attempts counted by what they came to, and how long receivers took to answer.
//!
//! A tally is small whatever it counts: a count for each class, and one for each range of response
//! times that came up. A range is at most a sixteenth of its times wide, so that a percentile is
//! within 3.2 % of the true one. Tallies add up, over periods, webhooks and nodes.

use crate::attempt::{FailureKind, Outcome};
use crate::id::{TenantId, WebhookId};
use crate::named::named;
use crate::time::Timestamp;

/// Attempts are tallied by periods of so many ms, which begin with the hour.
pub const PERIOD_MS: i64 = 5 * 60_000;

/// Below this each ms has a range of its own.
const EXACT_MS: u32 = 32;

/// Ranges between a power of two and the next, and the power of two they are.
const RANGES: u32 = 16;
const RANGES_LOG: u32 = 4;

/// How a tally is written down.
const VERSION: u8 = 1;

/// What an attempt came to, as coarse as a chart shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptClass {
    /// Answered with 2xx.
    Delivered,
    /// Answered with any other status.
    Rejected,
    /// Called, and not answered.
    NoAnswer,
    /// Not called, because of how the webhook is set up.
    NotSent,
}

named!(
    AttemptClass {
        Delivered = "delivered",
        Rejected = "rejected",
        NoAnswer = "no_answer",
        NotSent = "not_sent",
    }
);

impl AttemptClass {
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Answered(_) if outcome.is_success() => Self::Delivered,
            Outcome::Answered(_) => Self::Rejected,
            Outcome::Failed(failure) => match failure.kind {
                FailureKind::LookUp
                | FailureKind::Connect
                | FailureKind::Tls
                | FailureKind::TimeLimit
                | FailureKind::Closed
                | FailureKind::Garbled
                | FailureKind::Stale => Self::NoAnswer,
                FailureKind::BadTarget
                | FailureKind::Short
                | FailureKind::Forbidden
                | FailureKind::Unsigned
                | FailureKind::SealedHeader
                | FailureKind::TlsSettings
                | FailureKind::Handshake => Self::NotSent,
            },
        }
    }
}

/// Attempts, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttemptTally {
    counts: [u64; AttemptClass::ALL.len()],
    /// Answers by the range of their response time, in order; none is zero.
    answers: Vec<(u16, u64)>,
}

impl AttemptTally {
    /// Counts an attempt. Answers whether that took room: its range came up for the first time.
    pub fn add(&mut self, outcome: &Outcome, duration_ms: u32) -> bool {
        self.count_as(AttemptClass::of(outcome), 1);
        outcome.status().is_some() && self.add_answers(range_of(duration_ms), 1)
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for class in AttemptClass::ALL {
            self.count_as(class, other.count(class));
        }
        for (range, count) in &other.answers {
            self.add_answers(*range, *count);
        }
    }

    pub fn count(&self, class: AttemptClass) -> u64 {
        self.counts.get(class as usize).copied().unwrap_or(0)
    }

    pub fn attempts(&self) -> u64 {
        let counts = self.counts.iter();
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The response time that so many of a hundred answers did not exceed, in ms; `None` if there
    /// was no answer.
    pub fn percentile(&self, percent: u8) -> Option<u32> {
        let counts = self.answers.iter().map(|(_, count)| u128::from(*count));
        let rank = counts.sum::<u128>() * u128::from(percent);
        let mut passed = 0;
        let found = self.answers.iter().find(|(_, count)| {
            passed += u128::from(*count) * 100;
            passed >= rank
        });
        found.map(|(range, _)| middle_ms(*range))
    }

    /// As it is written down: some ten bytes, and two to four for each range that came up.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for count in self.counts {
            put_number(&mut bytes, count);
        }
        let mut before = 0;
        for (range, count) in &self.answers {
            put_number(&mut bytes, u64::from(range.saturating_sub(before)));
            put_number(&mut bytes, *count);
            before = *range;
        }
        bytes
    }

    /// Reads what was written down; `None` if it is nothing of the kind.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let mut tally = Self::default();
        for count in &mut tally.counts {
            *count = take_number(&mut rest)?;
        }
        let mut range = 0_u16;
        while !rest.is_empty() {
            let step = u16::try_from(take_number(&mut rest)?).ok()?;
            range = range.checked_add(step)?;
            if range > range_of(u32::MAX) {
                return None;
            }
            tally.add_answers(range, take_number(&mut rest)?);
        }
        Some(tally)
    }

    fn count_as(&mut self, class: AttemptClass, more: u64) {
        if let Some(count) = self.counts.get_mut(class as usize) {
            *count = count.saturating_add(more);
        }
    }

    fn add_answers(&mut self, range: u16, more: u64) -> bool {
        match self.answers.binary_search_by_key(&range, |(own, _)| *own) {
            Ok(place) => {
                if let Some((_, count)) = self.answers.get_mut(place) {
                    *count = count.saturating_add(more);
                }
                false
            }
            Err(_) if more == 0 => false,
            Err(place) => {
                self.answers.insert(place, (range, more));
                true
            }
        }
    }
}

/// The range that a response time is in.
fn range_of(ms: u32) -> u16 {
    let range = match ms.checked_ilog2() {
        Some(log) if ms >= EXACT_MS => {
            let part = (ms >> (log - RANGES_LOG)) % RANGES;
            EXACT_MS + (log - EXACT_MS.ilog2()) * RANGES + part
        }
        Some(_) | None => ms,
    };
    u16::try_from(range).unwrap_or(u16::MAX)
}

/// The middle of a range, which differs from no time in it by more than a 32nd.
fn middle_ms(range: u16) -> u32 {
    let range = u32::from(range);
    let Some(above) = range.checked_sub(EXACT_MS) else {
        return range;
    };
    let shift = above / RANGES + EXACT_MS.ilog2() - RANGES_LOG;
    let first = u64::from(RANGES + above % RANGES) << shift;
    let middle = first + (1_u64 << shift) / 2;
    u32::try_from(middle).unwrap_or(u32::MAX)
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        let part = u64::from(byte & 0x7f);
        number |= part
            .checked_shl(shift)
            .filter(|moved| moved >> shift == part)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Whose attempts are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TallyOwner {
    Webhook(WebhookId),
    /// All webhooks of the tenant together.
    Tenant(TenantId),
}

/// What one node counted in one period, or in a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TallyRow {
    pub owner: TallyOwner,
    pub starts_at: Timestamp,
    /// Tells it from others of the same owner and period: drawn by whoever counted.
    pub part: i64,
    pub tally: AttemptTally,
}

/// For how long back statistics are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatisticsPeriod {
    Hour,
    Day,
    Week,
    Month,
}

named!(
    StatisticsPeriod {
        Hour = "1h",
        Day = "24h",
        Week = "7d",
        Month = "30d",
    }
);

impl StatisticsPeriod {
    /// How much time one step of it is.
    pub fn step_ms(self) -> i64 {
        const HOUR_MS: i64 = 3_600_000;
        match self {
            Self::Hour => PERIOD_MS,
            Self::Day => HOUR_MS / 2,
            Self::Week => 3 * HOUR_MS,
            Self::Month => 12 * HOUR_MS,
        }
    }

    /// How many steps it has: as many as a telephone has room for.
    pub fn steps(self) -> u8 {
        match self {
            Self::Hour => 12,
            Self::Day => 48,
            Self::Week => 56,
            Self::Month => 60,
        }
    }

    /// What to ask for at `now`. The period that runs is left out: it is not written down yet.
    pub fn query(
        self,
        tenant: TenantId,
        webhook: Option<WebhookId>,
        now: Timestamp,
    ) -> StatisticsQuery {
        let step_ms = self.step_ms();
        let known_to = now.as_millis().div_euclid(PERIOD_MS) * PERIOD_MS;
        // The last step may not be over.
        let to = (known_to + step_ms - 1).div_euclid(step_ms) * step_ms;
        StatisticsQuery {
            tenant,
            webhook,
            from: Timestamp::from_millis(to - i64::from(self.steps()) * step_ms),
            step_ms,
            steps: self.steps(),
        }
    }
}

/// A question for tallies, added up by steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsQuery {
    pub tenant: TenantId,
    /// `None`: all webhooks of the tenant together.
    pub webhook: Option<WebhookId>,
    /// When the first step begins.
    pub from: Timestamp,
    pub step_ms: i64,
    pub steps: u8,
}

impl StatisticsQuery {
    /// When a step begins; the one behind the last: when the last ends.
    pub fn starts_at(&self, step: usize) -> Timestamp {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.from.plus_ms(step.saturating_mul(self.step_ms))
    }

    pub fn to(&self) -> Timestamp {
        self.starts_at(usize::from(self.steps))
    }

    /// The step that this time is in, if it is in any.
    pub fn step_of(&self, at: Timestamp) -> Option<usize> {
        let step = at.ms_since(self.from).div_euclid(self.step_ms.max(1));
        let step = usize::try_from(step).ok()?;
        (step < usize::from(self.steps)).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::attempt::{BodyEnd, Failure, HttpResponse};
    use crate::webhook::Headers;

    fn answered(status: u16) -> Outcome {
        Outcome::Answered(HttpResponse {
            status,
            headers: Headers::default(),
            body: Bytes::new(),
            body_end: BodyEnd::Whole,
            note: None,
        })
    }

    fn tally(times: impl IntoIterator<Item = u32>) -> AttemptTally {
        let mut tally = AttemptTally::default();
        for ms in times {
            tally.add(&answered(200), ms);
        }
        tally
    }

    #[test]
    fn a_percentile_is_within_a_31st_of_the_true_one() {
        for ms in (0..5_000).chain([59_999, 600_000, 1 << 30, u32::MAX]) {
            let shown = tally([ms]).percentile(50).unwrap();
            assert!(shown.abs_diff(ms) <= ms / 31, "{ms} shown as {shown}");
        }
        let even = tally(1..=1_000);
        for (percent, true_ms) in [(50, 500_u32), (95, 950), (99, 990)] {
            let shown = even.percentile(percent).unwrap();
            assert!(
                shown.abs_diff(true_ms) <= true_ms / 31,
                "p{percent}: {shown}"
            );
        }
        assert_eq!(tally([]).percentile(99), None);
        assert_eq!(tally([7, 7, 7, 9]).percentile(75), Some(7));
        assert_eq!(tally([7, 7, 7, 9]).percentile(76), Some(9));
    }

    #[test]
    fn only_what_was_answered_has_a_response_time() {
        let mut tally = AttemptTally::default();
        assert!(tally.add(&answered(200), 10));
        assert!(!tally.add(&answered(503), 10));
        let timed_out = Outcome::Failed(Failure::new(FailureKind::TimeLimit, ""));
        assert!(!tally.add(&timed_out, 30_000));
        let unsigned = Outcome::Failed(Failure::new(FailureKind::Unsigned, ""));
        assert!(!tally.add(&unsigned, 0));
        assert_eq!(AttemptClass::ALL.map(|class| tally.count(class)), [1; 4]);
        assert_eq!(tally.attempts(), 4);
        assert_eq!(tally.percentile(99), Some(10));
    }

    #[test]
    fn tallies_add_up_to_what_one_would_have_counted() {
        let mut sum = tally([1, 40, 7_000]);
        sum.merge(&tally([2, 40, 900_000]));
        assert_eq!(sum, tally([1, 2, 40, 40, 7_000, 900_000]));
    }

    #[test]
    fn a_tally_comes_back_as_it_was_written_and_is_small() {
        for one in [tally([]), tally([0]), tally([u32::MAX]), tally(0..100_000)] {
            assert_eq!(AttemptTally::from_bytes(&one.to_bytes()), Some(one));
        }
        assert_eq!(tally([12, 14, 15, 230]).to_bytes().len(), 13);
        assert!(tally(0..600_000).to_bytes().len() < 1_024);
        let mut full = AttemptTally::default();
        full.count_as(AttemptClass::NoAnswer, u64::MAX);
        full.add_answers(range_of(u32::MAX), u64::MAX);
        full.merge(&full.clone());
        assert_eq!(AttemptTally::from_bytes(&full.to_bytes()), Some(full));
    }

    #[test]
    fn what_is_no_tally_is_not_read_as_one() {
        let good = tally([5, 600]).to_bytes();
        assert!(AttemptTally::from_bytes(&[]).is_none());
        for length in [1, 4, good.len() - 1] {
            assert!(
                AttemptTally::from_bytes(&good[..length]).is_none(),
                "{length}"
            );
        }
        assert!(AttemptTally::from_bytes(&[2, 0, 0, 0, 0]).is_none());
        assert!(AttemptTally::from_bytes(&[1, 0, 0, 0, 0, 0xff, 0xff, 3, 1]).is_none());
        assert!(AttemptTally::from_bytes(&[0xff; 40]).is_none());
        let too_long = [&[1][..], &[0xff; 9], &[2], &[0; 3]].concat();
        assert!(AttemptTally::from_bytes(&too_long).is_none());
    }

    #[test]
    fn a_question_ends_with_the_last_period_that_is_over() {
        let now = Timestamp::from_millis(1_000 * 3_600_000 + 8 * 60_000);
        for period in StatisticsPeriod::ALL {
            let query = period.query(TenantId(1), None, now);
            let known_to = Timestamp::from_millis(1_000 * 3_600_000 + PERIOD_MS);
            assert!(query.to() >= known_to, "{period:?}");
            assert!(query.to() < known_to.plus_ms(period.step_ms()));
            assert_eq!(query.from.as_millis() % period.step_ms(), 0);
            assert_eq!(query.step_of(query.from), Some(0));
            assert_eq!(query.step_of(query.from.plus_ms(-1)), None);
            assert_eq!(query.step_of(query.to()), None);
            let last = usize::from(query.steps) - 1;
            assert_eq!(query.step_of(query.to().plus_ms(-1)), Some(last));
            assert_eq!(period.as_str().parse(), Ok(period));
        }
        let hour = StatisticsPeriod::Hour.query(TenantId(1), None, now);
        assert_eq!(hour.to().ms_since(now), -3 * 60_000);
    }
}
