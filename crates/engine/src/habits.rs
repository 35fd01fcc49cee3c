//! Habits: how long a receiver keeps an idle connection, as far as it was seen.
//!
//! Arithmetic only. What goes wrong makes the time shorter in which a connection is used again, or
//! has none used again for a while; after an hour without anything new it is forgotten.

use std::time::Duration;

use tokio::time::Instant;

/// After a connection has ended under a request, or at once, none is used again for so long; twice
/// as long each time it happens again. A receiver that hangs up after each answer then costs a call
/// that came to nothing every hour, and one that was restarted is as it was after minutes.
const BARRED_FOR: Duration = Duration::from_secs(5 * 60);
const BARRED_FOR_MAX: Duration = Duration::from_secs(60 * 60);

/// So long something that was seen of a receiver means something: it may be set up anew.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// A receiver that bears less hangs up after each answer, or has just been restarted.
const SHORTEST: Duration = Duration::from_millis(50);

/// Connections that end within this time of one another end by the same event.
const SAME_EVENT: Duration = Duration::from_secs(1);

/// How it was noticed that the receiver had ended an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// Before anything was sent.
    InTime,
    /// By a request that got no answer.
    TooLate,
}

#[derive(Debug, Default)]
pub(crate) struct Habits {
    /// The longest that a connection lay idle and served all the same.
    bears: Duration,
    fails: Option<Fails>,
    bar: Option<Bar>,
}

#[derive(Debug, Clone, Copy)]
struct Fails {
    /// The shortest that a connection lay idle and had been ended by the receiver.
    idle: Duration,
    at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Bar {
    until: Instant,
    lasts: Duration,
}

impl Habits {
    /// How long a connection may have lain idle to be used again, if at all; `ours` at most.
    pub(crate) fn idle_max(&self, ours: Duration, now: Instant) -> Option<Duration> {
        if self.bar.is_some_and(|bar| now < bar.until) {
            return None;
        }
        let fails = self.fails.filter(|fails| now - fails.at < REMEMBERED_FOR);
        Some(fails.map_or(ours, |fails| self.safe(fails).min(ours)))
    }

    /// Far from where it was seen to end, unless longer times were seen to do no harm.
    fn safe(&self, fails: Fails) -> Duration {
        (fails.idle / 2).max(self.bears * 3 / 4)
    }

    /// A connection that had lain idle for so long has served.
    pub(crate) fn bore(&mut self, idle: Duration) {
        self.bears = self.bears.max(idle);
    }

    /// The receiver had ended a connection that lay idle for so long.
    pub(crate) fn ended(&mut self, idle: Duration, noticed: Noticed, now: Instant) {
        let before = self.fails.filter(|fails| now - fails.at < REMEMBERED_FOR);
        let is_new = before.is_none_or(|before| now - before.at >= SAME_EVENT);
        // Once may be a restart; if it is a habit now, it comes again.
        if is_new && idle < self.bears {
            self.bears /= 2;
        }
        let shortest = before.map_or(idle, |before| before.idle.min(idle));
        let fails = Fails {
            idle: shortest,
            at: now,
        };
        let is_short = self.safe(fails) < SHORTEST;
        self.fails = (!is_short).then_some(fails);
        if noticed == Noticed::TooLate || is_short {
            self.bar(now);
        }
    }

    /// Whether anything is known that counts.
    pub(crate) fn are_known(&self, now: Instant) -> bool {
        self.fails
            .is_some_and(|fails| now - fails.at < REMEMBERED_FOR)
            || self.bar.is_some_and(|bar| now < bar.until + REMEMBERED_FOR)
    }

    fn bar(&mut self, now: Instant) {
        let before = self.bar.filter(|bar| now < bar.until + REMEMBERED_FOR);
        let lasts = match before {
            // Those that were in use when it began.
            Some(bar) if now < bar.until => bar.lasts,
            Some(bar) => (bar.lasts * 2).min(BARRED_FOR_MAX),
            None => BARRED_FOR,
        };
        self.bar = Some(Bar {
            until: now + lasts,
            lasts,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Duration = Duration::from_secs(4);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_receiver_that_is_not_known_the_best_is_thought() {
        let now = Instant::now();
        assert_eq!(Habits::default().idle_max(OURS, now), Some(OURS));
        assert!(!Habits::default().are_known(now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ended_under_a_request_has_none_used_for_minutes() {
        let begin = Instant::now();
        let mut habits = Habits::default();
        habits.ended(ms(2_000), Noticed::TooLate, begin);
        let barred = |habits: &Habits, now: Instant| habits.idle_max(OURS, now).is_none();
        assert!(barred(&habits, begin) && barred(&habits, begin + BARRED_FOR - ms(1)));
        // Then with a time that is shorter than the one it did not bear.
        assert_eq!(habits.idle_max(OURS, begin + BARRED_FOR), Some(ms(1_000)));
        // One that was in use at the same time says nothing more.
        habits.ended(ms(1_900), Noticed::TooLate, begin + ms(5));
        assert!(!barred(&habits, begin + ms(5) + BARRED_FOR));
        // If it goes on, it is tried more seldom.
        let mut now = begin + ms(5) + BARRED_FOR;
        for minutes in [10, 20, 40, 60, 60] {
            habits.ended(ms(900), Noticed::TooLate, now);
            let lasts = Duration::from_secs(minutes * 60);
            assert!(barred(&habits, now + lasts - ms(1)), "{minutes}");
            now += lasts;
            assert!(habits.bar.is_some_and(|bar| bar.until == now));
        }
        assert!(habits.are_known(now));
        assert!(!habits.are_known(now + REMEMBERED_FOR));
        assert_eq!(habits.idle_max(OURS, now + REMEMBERED_FOR), Some(OURS));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_closed_in_time_shortens_the_time_and_bars_nothing() {
        let now = Instant::now();
        let mut habits = Habits::default();
        habits.ended(ms(3_000), Noticed::InTime, now);
        assert_eq!(habits.idle_max(OURS, now), Some(ms(1_500)));
        habits.ended(ms(1_400), Noticed::InTime, now);
        assert_eq!(habits.idle_max(OURS, now), Some(ms(700)));
        assert_eq!(
            habits.idle_max(OURS, now + REMEMBERED_FOR - ms(1)),
            Some(ms(700))
        );
        assert_eq!(habits.idle_max(OURS, now + REMEMBERED_FOR), Some(OURS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_hangs_up_at_once_is_tried_anew_ever_more_seldom() {
        let mut now = Instant::now();
        let mut habits = Habits::default();
        for minutes in [5, 10, 20, 40, 60, 60] {
            habits.ended(ms(1), Noticed::InTime, now);
            now += Duration::from_secs(minutes * 60);
            assert_eq!(habits.idle_max(OURS, now - ms(1)), None);
            assert_eq!(habits.idle_max(OURS, now), Some(OURS));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_receiver_was_seen_to_bear_counts_against_a_single_accident() {
        let begin = Instant::now();
        let mut habits = Habits::default();
        habits.bore(ms(3_600));
        habits.ended(ms(3_800), Noticed::InTime, begin);
        assert_eq!(habits.idle_max(OURS, begin), Some(ms(2_700)));
        // A restart closes all, whatever their age.
        let restart = begin + ms(10_000);
        for idle in [5, 6, 7] {
            habits.ended(ms(idle), Noticed::InTime, restart);
        }
        assert_eq!(habits.idle_max(OURS, restart), Some(ms(1_350)));
        // What goes on is no accident.
        for step in 1..8 {
            habits.ended(ms(5), Noticed::InTime, restart + ms(step * 10_000));
        }
        assert_eq!(habits.idle_max(OURS, restart + ms(80_000)), None);
    }
}
