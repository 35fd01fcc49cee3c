//! The schedule clock. Schedule time passes by the runtime's clock while Willcall can send, and
//! goes on where the process before left off. The wall clock moves nothing here; its time is
//! only recorded with it.
//!
//! How far it has come is written now and then (`Leases::renew`).

use std::time::Duration;

use model::attempt::Attempt;
use model::limits::HEARTBEAT_MS;
use model::mutation::{Mutation, is_on};
use model::time::{Clock, Heartbeat, Moment, Timestamp};
use tokio::time::Instant;

/// The loop turns at least this often.
pub(crate) const BEAT: Duration = Duration::from_secs(5);

/// A turn this late was not held up by work: the process was stopped.
const STOOD_STILL: Duration = Duration::from_secs(15);

pub(crate) struct ScheduleClock {
    /// Where it was at `from`.
    base: Timestamp,
    from: Instant,
    /// When the loop last turned.
    turned_at: Instant,
    /// It stands still: nothing can be sent.
    held: bool,
    /// Where the process before was seen last.
    before: Moment,
}

impl ScheduleClock {
    /// Goes on after `last`. What passed since then counts as far as the process before may have
    /// run on without writing that down.
    pub(crate) fn after(last: Option<Moment>, wall: Timestamp, now: Instant) -> Self {
        let before = last.unwrap_or_else(|| Moment::same(wall));
        let most_ms = match is_on(Mutation::CountDowntime) {
            true => i64::MAX,
            false => HEARTBEAT_MS,
        };
        let ran_ms = wall.ms_since(before.wall).clamp(0, most_ms);
        Self {
            base: before.schedule.plus_ms(ran_ms),
            from: now,
            turned_at: now,
            held: false,
            before,
        }
    }

    /// The loop turns. If it did not for very long, the process was stopped, or the machine stood
    /// still while its clock went on: that uses up no schedule.
    pub(crate) fn turn(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.turned_at);
        if since >= STOOD_STILL && !self.held {
            self.base = self.at(self.turned_at + BEAT);
            self.from = now;
            tracing::warn!(
                seconds = since.as_secs(),
                "this process stood still; waits go on where they were"
            );
        }
        self.turned_at = now;
    }

    pub(crate) fn at(&self, now: Instant) -> Timestamp {
        match self.held {
            true => self.base,
            false => self.base.plus_ms(millis(now.duration_since(self.from))),
        }
    }

    /// Has it stand still, or go on.
    pub(crate) fn hold(&mut self, held: bool, now: Instant) {
        if held != self.held {
            self.base = self.at(now);
            self.from = now;
            self.held = held;
        }
    }

    /// The schedule's time at which the wall clock said this, as far as that can be known.
    pub(crate) fn of(&self, wall: Timestamp, now: Moment) -> Timestamp {
        let (known, ago_ms) = match self.before.wall.ms_since(wall) {
            ago_ms @ 0.. => (self.before.schedule, ago_ms),
            _ => (now.schedule, now.wall.ms_since(wall).max(0)),
        };
        known.plus_ms(ago_ms.saturating_neg())
    }

    /// When an attempt began, in the schedule, and ended that has ended just now and was begun no
    /// sooner than `begun_at`: it may have taken longer than schedule time went on meanwhile.
    pub(crate) fn of_attempt(
        &self,
        attempt: &Attempt,
        begun_at: Timestamp,
        ended_at: Timestamp,
        now: Instant,
    ) -> (Timestamp, Moment) {
        let ended = match is_on(Mutation::RetryByWallClock) {
            true => Moment::same(ended_at),
            false => self.moment(ended_at, now),
        };
        let took_ms = i64::from(attempt.duration_ms);
        let began_at = ended.schedule.plus_ms(took_ms.saturating_neg());
        (began_at.max(begun_at), ended)
    }

    /// What to write down.
    pub(crate) fn written(&self, clock: &Clock, now: Instant) -> Heartbeat {
        Heartbeat {
            at: self.moment(clock.now(), now),
            bounds: clock.bounds(),
        }
    }

    pub(crate) fn moment(&self, wall: Timestamp, now: Instant) -> Moment {
        Moment {
            wall,
            schedule: self.at(now),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn it_goes_on_where_it_was_however_long_nothing_ran() {
        let now = Instant::now();
        let last = Moment {
            wall: at(500 * HOUR),
            schedule: at(400 * HOUR),
        };
        for (away_ms, ran_ms) in [
            (0, 0),
            (3_000, 3_000),
            (96 * HOUR, HEARTBEAT_MS),
            (-96 * HOUR, 0),
        ] {
            let line = ScheduleClock::after(Some(last), last.wall.plus_ms(away_ms), now);
            assert_eq!(line.at(now), last.schedule.plus_ms(ran_ms), "{away_ms}");
            let later = now + Duration::from_millis(7);
            assert_eq!(line.at(later), last.schedule.plus_ms(ran_ms + 7));
        }
        assert_eq!(ScheduleClock::after(None, at(7), now).at(now), at(7));
    }

    #[test]
    fn it_stands_still_while_nothing_can_be_sent() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut line = ScheduleClock::after(None, at(0), began);
        line.hold(true, after(1));
        assert_eq!(line.at(after(300_000)), at(1_000));
        line.hold(true, after(300_000));
        line.hold(false, after(300_001));
        line.hold(false, after(300_001));
        assert_eq!(line.at(after(300_003)), at(3_000));
    }

    #[test]
    fn it_stands_still_while_the_process_does() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut line = ScheduleClock::after(None, at(0), began);
        line.turn(after(4));
        // Late, and all of it counts.
        line.turn(after(18));
        assert_eq!(line.at(after(18)), at(18_000));
        // Stopped for three days: the time counts in which the loop may have gone on.
        line.turn(after(300_000));
        assert_eq!(line.at(after(300_000)), at(23_000));
        line.turn(after(300_004));
        assert_eq!(line.at(after(300_004)), at(27_000));
        // Where nothing can be sent nothing passes anyway.
        line.hold(true, after(300_004));
        line.turn(after(600_000));
        assert_eq!(line.at(after(600_000)), at(27_000));
    }

    #[test]
    fn what_was_before_the_start_is_where_it_was_then() {
        let now = Instant::now();
        let last = Moment {
            wall: at(500 * HOUR),
            schedule: at(400 * HOUR),
        };
        let wall = at(600 * HOUR);
        let line = ScheduleClock::after(Some(last), wall, now);
        let moment = line.moment(wall, now);
        assert_eq!(line.of(at(499 * HOUR), moment), at(399 * HOUR));
        assert_eq!(
            line.of(at(600 * HOUR - 5), moment),
            moment.schedule.plus_ms(-5)
        );
        // What is told from a clock that was ahead cannot be later than now.
        assert_eq!(line.of(at(900 * HOUR), moment), moment.schedule);
    }
}
