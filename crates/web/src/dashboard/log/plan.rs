//! The plan of a pending delivery: which retry comes next, when and why, and when it ends. Derived
//! from the policy and the latest attempt; nothing is decided here.

use model::attempt::{FailureKind, Outcome};
use model::limits::CLOCK_STEP_MS;
use model::policy::Policy;
use model::query::{AttemptRecord, DeliveryDetail};
use model::retry_after;
use model::schedule::Schedule;
use model::time::Timestamp;

use crate::dashboard::health::is_long_due;
use crate::dashboard::view::{DisplayDuration, DisplayTime};

/// The plan of a pending delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RetryPlan {
    pub(super) due_at: DisplayTime,
    /// It is due, and is sent as soon as its webhook has capacity.
    pub(super) is_due: bool,
    /// For longer than a moment.
    pub(super) is_long_due: bool,
    /// What comes next: `Retry 3 of 20`.
    pub(super) next: String,
    pub(super) is_retry: bool,
    /// Why at that time; empty before the first attempt.
    pub(super) why: String,
    pub(super) gives_up: Option<RetryEnd>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RetryEnd {
    pub(super) at: DisplayTime,
    /// Later delays have no jitter yet, so it may be somewhat later.
    pub(super) is_about: bool,
}

impl RetryPlan {
    /// The plan, if there is one; `retries_max` is the webhook's.
    pub(super) fn of(
        detail: &DeliveryDetail,
        policy: &Policy,
        retries_max: Option<u32>,
        now: Timestamp,
    ) -> Option<Self> {
        let due_at = detail.row.due_at?;
        let round = round(&detail.attempts);
        let (made, latest) = (round.len(), round.last().copied());
        let most = retries(&policy.schedule, retries_max);
        let next = match made {
            0 if detail.row.attempts == 0 => "First attempt".to_owned(),
            0 => "First attempt of another round".to_owned(),
            retry if retry == most => format!("Retry {retry} of {most}, the last one"),
            retry => format!("Retry {retry} of {most}"),
        };
        Some(Self {
            due_at: DisplayTime(due_at),
            is_due: due_at <= now,
            is_long_due: is_long_due(due_at, now),
            next,
            is_retry: made > 0,
            why: why(latest, due_at, made, policy, now),
            gives_up: gives_up(&round, due_at, policy, most),
        })
    }
}

/// The attempts of the current round: those after the last one that scheduled none. A call on a
/// stale connection does not count.
fn round(attempts: &[AttemptRecord]) -> Vec<&AttemptRecord> {
    let mut round: Vec<&AttemptRecord> = attempts
        .iter()
        .rev()
        .filter(|past| !is_stale(&past.attempt.outcome))
        .take_while(|past| past.next_due_at.is_some())
        .collect();
    round.reverse();
    round
}

/// Whether the attempt takes nothing from the schedule, because another was made at once.
pub(super) fn is_stale(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if failure.kind == FailureKind::Stale)
}

/// The most retries of a round.
fn retries(schedule: &Schedule, retries_max: Option<u32>) -> usize {
    let final_attempt = usize::from(schedule.final_attempt_after_ms.is_some());
    let most = schedule.delays_ms.len() + final_attempt;
    let wanted = retries_max.and_then(|most| usize::try_from(most).ok());
    wanted.map_or(most, |wanted| wanted.min(most))
}

fn why(
    latest: Option<&AttemptRecord>,
    due_at: Timestamp,
    made: usize,
    policy: &Policy,
    now: Timestamp,
) -> String {
    let Some(latest) = latest else {
        return String::new();
    };
    let next_due_at = match latest.next_due_at {
        Some(next_due_at) if is_moved(due_at, next_due_at) => {
            // A replay is due at once.
            return match due_at <= now.max(latest.ended_at()) && due_at < next_due_at {
                true => "Somebody replayed it.".to_owned(),
                false => "Its wait goes on where it was: Willcall did not run for a while, could \
                          not send, or the clock was set. Such time does not count."
                    .to_owned(),
            };
        }
        Some(next_due_at) => next_due_at,
        None => return "Somebody replayed it.".to_owned(),
    };
    let schedule = &policy.schedule;
    let waits_ms = next_due_at.ms_since(latest.ended_at());
    let index = made.saturating_sub(1);
    let Some(delay_ms) = schedule.delays_ms.get(index).copied() else {
        let after = schedule.final_attempt_after_ms.unwrap_or_default();
        return format!(
            "The final attempt comes {} after the first attempt began.",
            span(after)
        );
    };
    let has_jitter = delay_ms >= schedule.jitter_from_ms && schedule.jitter_percent > 0;
    let jitter_ms = match has_jitter {
        true => delay_ms.saturating_mul(i64::from(schedule.jitter_percent)) / 100,
        false => 0,
    };
    // Durations are stored in whole milliseconds, so a wait may seem somewhat longer.
    let asked = policy
        .retry_after_max_ms
        .and_then(|most| retry_after::wait_ms(&latest.attempt.outcome, latest.ended_at(), most));
    if asked.is_some() && waits_ms > delay_ms.saturating_add(jitter_ms) {
        return format!(
            "The receiver asked to be left alone for {} (Retry-After).",
            span(waits_ms)
        );
    }
    if waits_ms < delay_ms {
        let after = schedule.final_attempt_after_ms.unwrap_or_default();
        return format!(
            "The final attempt comes {} after the first attempt began, which is before the usual wait \
             of {} is over.",
            span(after),
            span(delay_ms)
        );
    }
    let jitter = match has_jitter {
        true => format!(
            " and up to {} % more, so that not all come at once",
            schedule.jitter_percent
        ),
        false => String::new(),
    };
    format!(
        "The wait before retry {made} is {}{jitter}.",
        span(delay_ms)
    )
}

/// Whether it is due at another time than its latest attempt set. Both clocks are read at
/// intervals, so the times differ a little.
fn is_moved(due_at: Timestamp, told: Timestamp) -> bool {
    due_at.ms_since(told).abs() >= CLOCK_STEP_MS
}

fn gives_up(
    round: &[&AttemptRecord],
    due_at: Timestamp,
    policy: &Policy,
    most: usize,
) -> Option<RetryEnd> {
    let schedule = &policy.schedule;
    let all = retries(schedule, None);
    let final_attempt = schedule.final_attempt_after_ms.filter(|_| most == all);
    if let (Some(after), Some(first)) = (final_attempt, round.first()) {
        let promised = round.last().and_then(|latest| latest.next_due_at);
        // Time that does not count, as far as the latest wait shows it.
        let moved_ms = promised
            .filter(|promised| is_moved(due_at, *promised))
            .map_or(0, |promised| due_at.ms_since(promised).max(0));
        let end = first.attempt.began_at.plus_ms(after).plus_ms(moved_ms);
        return Some(RetryEnd {
            at: DisplayTime(end.max(due_at)),
            is_about: moved_ms > 0,
        });
    }
    // Each remaining retry waits its delay; the attempts themselves take next to no time.
    let rest = schedule.delays_ms.iter().take(most).skip(round.len());
    let rest_ms = rest.fold(0_i64, |sum, delay| sum.saturating_add(*delay));
    let end = due_at.plus_ms(rest_ms.max(final_attempt.unwrap_or_default()));
    let is_about = round.len() < most;
    Some(RetryEnd {
        at: DisplayTime(end),
        is_about,
    })
}

/// The delays of a schedule in one line.
pub(super) fn rule(policy: &Policy, retries_max: Option<u32>) -> String {
    let schedule = &policy.schedule;
    let most = retries(schedule, retries_max);
    if most == 0 {
        return "It is tried once and not again.".to_owned();
    }
    let mut groups: Vec<(i64, usize)> = Vec::new();
    for delay in schedule.delays_ms.iter().take(most) {
        match groups.last_mut() {
            Some((same, count)) if same == delay => *count += 1,
            Some(_) | None => groups.push((*delay, 1)),
        }
    }
    let words = |(delay, count): &(i64, usize)| match count {
        1 => span(*delay),
        count => format!("{count} times {}", span(*delay)),
    };
    let waits: Vec<String> = groups.iter().map(words).collect();
    let has_jitter = schedule.jitter_percent > 0
        && schedule
            .delays_ms
            .iter()
            .take(most)
            .any(|ms| *ms >= schedule.jitter_from_ms);
    let from = match schedule.jitter_from_ms {
        0 => String::new(),
        ms => format!(" from {} on", span(ms)),
    };
    let jitter = match has_jitter {
        true => format!(
            "; waits{from} have jitter of up to {} %",
            schedule.jitter_percent
        ),
        false => String::new(),
    };
    let final_attempt = schedule.final_attempt_after_ms;
    let final_attempt = match final_attempt.filter(|_| most > schedule.delays_ms.len()) {
        Some(after) => format!("; the final attempt comes {} after the first", span(after)),
        None => String::new(),
    };
    let waits = waits.join(", ");
    format!("After a failure it waits {waits}{jitter}{final_attempt}.")
}

/// A configured duration, in the largest unit without a fraction.
fn span(ms: i64) -> String {
    const UNITS: [(i64, &str, &str); 4] = [
        (86_400_000, "day", "days"),
        (3_600_000, "h", "h"),
        (60_000, "min", "min"),
        (1_000, "s", "s"),
    ];
    let exact = UNITS
        .iter()
        .find(|(unit, ..)| ms >= *unit && ms % unit == 0);
    match exact {
        Some((unit, one, _)) if ms == *unit => format!("1 {one}"),
        // One and a half days are shown in hours.
        Some((unit, _, several)) => format!("{} {several}", ms / unit),
        None => DisplayDuration(ms).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::attempt::{Attempt, BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
    use model::delivery::DeliveryState;
    use model::policy::{EventNaming, NameOf};
    use model::query::DeliveryRow;
    use model::webhook::Headers;

    use super::*;

    const SECOND: i64 = 1_000;
    const HOUR: i64 = 3_600_000;

    fn policy(delays_ms: Vec<i64>, final_attempt_after_ms: Option<i64>) -> Policy {
        Policy {
            schedule: Schedule {
                delays_ms,
                jitter_from_ms: 60 * SECOND,
                jitter_percent: 10,
                final_attempt_after_ms,
            },
            exchange_limit_ms: 30_000,
            gone_disables: true,
            retry_after_max_ms: Some(HOUR),
            dedupe_header: None,
            user_agent: String::new(),
            content_type: String::new(),
            event_naming: EventNaming::default(),
            retention_ms: 0,
            bounds: Arc::default(),
            name_of: NameOf::default(),
        }
    }

    /// Attempts that began at these seconds, took none, and scheduled the next for these.
    fn detail(attempts: &[(i64, Option<i64>)], due_at: i64) -> DeliveryDetail {
        let at = |seconds: i64| Timestamp::from_millis(seconds * SECOND);
        let past = |(index, (began_at, next)): (usize, &(i64, Option<i64>))| AttemptRecord {
            number: u32::try_from(index + 1).unwrap(),
            attempt: Attempt {
                began_at: at(*began_at),
                duration_ms: 0,
                url: "".into(),
                request_headers: Headers::default(),
                outcome: Outcome::Failed(Failure::new(FailureKind::Closed, "")),
            },
            next_due_at: next.map(at),
        };
        DeliveryDetail {
            row: DeliveryRow {
                id: "dlv_1_1".parse().unwrap(),
                key: String::new(),
                action_type: String::new(),
                event: None,
                state: DeliveryState::Pending,
                attempts: u32::try_from(attempts.len()).unwrap(),
                accepted_at: at(0),
                due_at: Some(at(due_at)),
                ended_at: None,
                latest: None,
                latest_at: None,
            },
            headers: Headers::default(),
            body: bytes::Bytes::new(),
            attempts: attempts.iter().enumerate().map(past).collect(),
        }
    }

    fn plan(policy: &Policy, attempts: &[(i64, Option<i64>)], due_at: i64) -> RetryPlan {
        let now = Timestamp::from_millis(0);
        RetryPlan::of(&detail(attempts, due_at), policy, None, now).unwrap()
    }

    #[test]
    fn a_schedule_is_said_in_a_line() {
        let long = policy(vec![5 * SECOND, HOUR, HOUR], Some(24 * HOUR));
        assert_eq!(
            rule(&long, None),
            "After a failure it waits 5 s, 2 times 1 h; waits from 1 min on have jitter of up to \
             10 %; the final attempt comes 1 day after the first."
        );
        assert_eq!(rule(&long, Some(1)), "After a failure it waits 5 s.");
        assert_eq!(rule(&long, Some(0)), "It is tried once and not again.");
        assert_eq!(rule(&policy(Vec::new(), None), None), rule(&long, Some(0)));
    }

    #[test]
    fn a_call_on_a_connection_that_had_ended_is_no_attempt_of_the_plan() {
        let policy = policy(vec![5 * SECOND, HOUR], Some(2 * HOUR));
        let mut told = detail(
            &[(0, None), (0, Some(5)), (5, None), (5, Some(3_700))],
            3_700,
        );
        for index in [0, 2] {
            told.attempts[index].attempt.outcome =
                Outcome::Failed(Failure::new(FailureKind::Stale, ""));
        }
        let plan = RetryPlan::of(&told, &policy, None, Timestamp::from_millis(0)).unwrap();
        assert_eq!(plan.next, "Retry 2 of 3");
        assert!(plan.why.starts_with("The wait before retry 2 is 1 h"));
    }

    #[test]
    fn it_is_said_which_retry_comes_and_why_then() {
        let policy = policy(vec![5 * SECOND, HOUR], Some(2 * HOUR));
        let first = plan(&policy, &[(0, Some(5))], 5);
        assert_eq!(first.next, "Retry 1 of 3");
        assert_eq!(first.why, "The wait before retry 1 is 5 s.");
        let gives_up = first.gives_up.unwrap();
        assert_eq!(gives_up.at, DisplayTime(Timestamp::from_millis(2 * HOUR)));
        assert!(!gives_up.is_about);
        let spread = plan(&policy, &[(0, Some(5)), (5, Some(3_700))], 3_700);
        assert_eq!(
            spread.why,
            "The wait before retry 2 is 1 h and up to 10 % more, so that not all come at once."
        );
        let last = plan(
            &policy,
            &[(0, Some(5)), (5, Some(3_700)), (3_700, Some(7_200))],
            7_200,
        );
        assert_eq!(last.next, "Retry 3 of 3, the last one");
        assert_eq!(
            last.why,
            "The final attempt comes 2 h after the first attempt began."
        );
        // The delay of an hour would go past the final attempt.
        let cut = plan(&policy, &[(0, Some(5)), (5_000, Some(7_200))], 7_200);
        assert!(
            cut.why.ends_with("before the usual wait of 1 h is over."),
            "{}",
            cut.why
        );
    }

    #[test]
    fn a_receivers_wish_and_somebodys_are_told_apart_from_the_rule() {
        let policy = policy(vec![5 * SECOND, HOUR], None);
        let mut asked = detail(&[(0, Some(600))], 600);
        asked.attempts[0].attempt.outcome = Outcome::Answered(HttpResponse {
            status: 503,
            headers: Headers::from_pairs([("Retry-After", b"600".as_slice())]),
            body: bytes::Bytes::new(),
            body_end: BodyEnd::Whole,
            note: None,
        });
        let asked = RetryPlan::of(&asked, &policy, None, Timestamp::EPOCH).unwrap();
        assert_eq!(
            asked.why,
            "The receiver asked to be left alone for 10 min (Retry-After)."
        );
        let now = Timestamp::from_millis(3 * SECOND);
        let by_hand = RetryPlan::of(&detail(&[(0, Some(5))], 3), &policy, None, now).unwrap();
        assert_eq!(by_hand.why, "Somebody replayed it.");
        let round = plan(&policy, &[(0, Some(5)), (5, None)], 9);
        assert_eq!(round.next, "First attempt of another round");
        // Without a final attempt the end follows from the remaining delays.
        let gives_up = plan(&policy, &[(0, Some(5))], 5).gives_up.unwrap();
        assert_eq!(
            gives_up.at,
            DisplayTime(Timestamp::from_millis(HOUR + 5 * SECOND))
        );
        assert!(gives_up.is_about);
    }
}
