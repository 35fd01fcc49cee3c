//! How long connections to a receiver may be idle and still be used again, as far as was observed.
//!
//! Arithmetic only. A connection that the receiver closed makes the time shorter, or bans reuse
//! for a while. After an hour without anything new it is forgotten.

use std::time::Duration;

use tokio::time::Instant;

/// After a connection ended under a request, or almost at once, none is used again for this long;
/// twice as long each time it happens again. A receiver that hangs up after each answer then costs
/// one futile call an hour, and one that was restarted is back to normal after minutes.
const BANNED_FOR: Duration = Duration::from_secs(5 * 60);
const BANNED_FOR_MAX: Duration = Duration::from_secs(60 * 60);

/// What was observed counts for this long: the receiver may be set up anew.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// A receiver that allows less hangs up after each answer, or has just been restarted.
const SHORTEST: Duration = Duration::from_millis(50);

/// Longer than the time after which most receivers end idle connections, if they do so soon: five
/// seconds.
const PAST_EARLY_END: Duration = Duration::from_secs(6);

/// So far apart are what a receiver was seen to bear and what it was not, if both are to count.
const CLEAR_OF: Duration = Duration::from_secs(2);

/// Connections that end this close to one another end by the same event.
const SAME_EVENT: Duration = Duration::from_secs(1);

/// When it was noticed that the receiver had closed an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseTiming {
    /// Before anything was sent.
    BeforeSend,
    /// By a request without an answer.
    AfterSend,
}

/// How long connections are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeepTimes {
    /// To any receiver.
    pub(crate) usual: Duration,
    /// To one that is called at longer intervals, and that was not seen to close them before.
    pub(crate) longest: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct IdleLifetime {
    /// The longest that a connection was idle and still served.
    longest_served: Duration,
    shortest_closed: Option<ShortestIdle>,
    ban: Option<ReuseBan>,
}

#[derive(Debug, Clone, Copy)]
struct ShortestIdle {
    /// The shortest that a connection was idle and was found closed by the receiver.
    idle: Duration,
    at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct ReuseBan {
    until: Instant,
    lasts: Duration,
}

impl IdleLifetime {
    /// Whether a connection that has been idle for this long, and is open, may be used again:
    /// its request may meet the receiver's end of it. Most receivers that end connections soon do
    /// so after five seconds, so one that is open after `PAST_EARLY_END` will hardly end now. Nor
    /// will it where others were seen to stay open for longer.
    pub(crate) fn may_use(&self, idle: Duration, usual: Duration) -> bool {
        idle <= usual || idle >= PAST_EARLY_END || idle <= self.longest_served * 4 / 5
    }

    /// How long a connection may have been idle to be used again; `ours` at most. None: not at all.
    pub(crate) fn idle_max(&self, ours: Duration, now: Instant) -> Option<Duration> {
        if self.ban.is_some_and(|ban| now < ban.until) {
            return None;
        }
        let shortest_closed = self
            .shortest_closed
            .filter(|closed| now - closed.at < REMEMBERED_FOR);
        Some(shortest_closed.map_or(ours, |closed| self.safe(closed).min(ours)))
    }

    /// Well below the shortest time that failed, unless longer times were seen to work.
    fn safe(&self, closed: ShortestIdle) -> Duration {
        let served = self.longest_served;
        let is_clear = served + CLEAR_OF.max(served / 10) <= closed.idle;
        let served = match is_clear {
            true => served,
            false => served * 3 / 4,
        };
        (closed.idle / 2).max(served)
    }

    /// A connection served after it had been idle for this long.
    pub(crate) fn served(&mut self, idle: Duration) {
        self.longest_served = self.longest_served.max(idle);
    }

    /// A connection that had been idle for this long was found closed by the receiver.
    pub(crate) fn ended(&mut self, idle: Duration, timing: CloseTiming, now: Instant) {
        let before = self
            .shortest_closed
            .filter(|closed| now - closed.at < REMEMBERED_FOR);
        let is_new = before.is_none_or(|before| now - before.at >= SAME_EVENT);
        // Once may be a restart; if it is the rule now, it comes again.
        if is_new && idle < self.longest_served {
            self.longest_served /= 2;
        }
        let shortest = before.map_or(idle, |before| before.idle.min(idle));
        let shortest_closed = ShortestIdle {
            idle: shortest,
            at: now,
        };
        let is_short = self.safe(shortest_closed) < SHORTEST;
        self.shortest_closed = (!is_short).then_some(shortest_closed);
        if timing == CloseTiming::AfterSend || is_short {
            self.ban(now);
        }
    }

    /// Whether it is not known yet how long it bears what is longer than usual.
    pub(crate) fn is_to_be_learnt(&self, now: Instant) -> bool {
        self.longest_served < PAST_EARLY_END * 5 / 4 && !self.is_known(now)
    }

    /// Whether anything is known that counts.
    pub(crate) fn is_known(&self, now: Instant) -> bool {
        self.shortest_closed
            .is_some_and(|closed| now - closed.at < REMEMBERED_FOR)
            || self.ban.is_some_and(|ban| now < ban.until + REMEMBERED_FOR)
    }

    fn ban(&mut self, now: Instant) {
        let before = self.ban.filter(|ban| now < ban.until + REMEMBERED_FOR);
        let lasts = match before {
            // Those that were in use when it began.
            Some(ban) if now < ban.until => ban.lasts,
            Some(ban) => (ban.lasts * 2).min(BANNED_FOR_MAX),
            None => BANNED_FOR,
        };
        self.ban = Some(ReuseBan {
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
        assert_eq!(IdleLifetime::default().idle_max(OURS, now), Some(OURS));
        assert!(!IdleLifetime::default().is_known(now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ended_under_a_request_has_none_used_for_minutes() {
        let begin = Instant::now();
        let mut lifetime = IdleLifetime::default();
        lifetime.ended(ms(2_000), CloseTiming::AfterSend, begin);
        let barred = |lifetime: &IdleLifetime, now: Instant| lifetime.idle_max(OURS, now).is_none();
        assert!(barred(&lifetime, begin) && barred(&lifetime, begin + BANNED_FOR - ms(1)));
        // Then with a time that is shorter than the one it did not bear.
        assert_eq!(lifetime.idle_max(OURS, begin + BANNED_FOR), Some(ms(1_000)));
        // One that was in use at the same time says nothing more.
        lifetime.ended(ms(1_900), CloseTiming::AfterSend, begin + ms(5));
        assert!(!barred(&lifetime, begin + ms(5) + BANNED_FOR));
        // If it goes on, it is tried more seldom.
        let mut now = begin + ms(5) + BANNED_FOR;
        for minutes in [10, 20, 40, 60, 60] {
            lifetime.ended(ms(900), CloseTiming::AfterSend, now);
            let lasts = Duration::from_secs(minutes * 60);
            assert!(barred(&lifetime, now + lasts - ms(1)), "{minutes}");
            now += lasts;
            assert!(lifetime.ban.is_some_and(|ban| ban.until == now));
        }
        assert!(lifetime.is_known(now));
        assert!(!lifetime.is_known(now + REMEMBERED_FOR));
        assert_eq!(lifetime.idle_max(OURS, now + REMEMBERED_FOR), Some(OURS));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_closed_in_time_shortens_the_time_and_bars_nothing() {
        let now = Instant::now();
        let mut lifetime = IdleLifetime::default();
        lifetime.ended(ms(3_000), CloseTiming::BeforeSend, now);
        assert_eq!(lifetime.idle_max(OURS, now), Some(ms(1_500)));
        lifetime.ended(ms(1_400), CloseTiming::BeforeSend, now);
        assert_eq!(lifetime.idle_max(OURS, now), Some(ms(700)));
        assert_eq!(
            lifetime.idle_max(OURS, now + REMEMBERED_FOR - ms(1)),
            Some(ms(700))
        );
        assert_eq!(lifetime.idle_max(OURS, now + REMEMBERED_FOR), Some(OURS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_hangs_up_at_once_is_tried_anew_ever_more_seldom() {
        let mut now = Instant::now();
        let mut lifetime = IdleLifetime::default();
        for minutes in [5, 10, 20, 40, 60, 60] {
            lifetime.ended(ms(1), CloseTiming::BeforeSend, now);
            now += Duration::from_secs(minutes * 60);
            assert_eq!(lifetime.idle_max(OURS, now - ms(1)), None);
            assert_eq!(lifetime.idle_max(OURS, now), Some(OURS));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_receiver_was_seen_to_bear_counts_against_a_single_accident() {
        let begin = Instant::now();
        let mut lifetime = IdleLifetime::default();
        lifetime.served(ms(3_600));
        lifetime.ended(ms(3_800), CloseTiming::BeforeSend, begin);
        assert_eq!(lifetime.idle_max(OURS, begin), Some(ms(2_700)));
        // A restart closes all, whatever their age.
        let restart = begin + ms(10_000);
        for idle in [5, 6, 7] {
            lifetime.ended(ms(idle), CloseTiming::BeforeSend, restart);
        }
        assert_eq!(lifetime.idle_max(OURS, restart), Some(ms(1_350)));
        // What goes on is no accident.
        for step in 1..8 {
            lifetime.ended(ms(5), CloseTiming::BeforeSend, restart + ms(step * 10_000));
        }
        assert_eq!(lifetime.idle_max(OURS, restart + ms(80_000)), None);
    }
}
