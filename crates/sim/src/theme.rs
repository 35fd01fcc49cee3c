//! Themes: what a world has more of than others. Trouble of one kind, at the moments at which it
//! matters, finds what trouble of all kinds hides.

use model::rng::SeededRng;

use crate::mood::Mood;
use crate::scenario::{
    Action, Aim, DAY, Fault, HOUR, MINUTE, SECOND, Scenario, StoreFault, TROUBLE, Theme, below,
    index,
};

/// Times of trouble of a kind, for each receiver, in a world that has it as its theme.
const BOUTS: usize = 8;

/// How often a clock that drifts is looked at.
const DRIFT_EVERY: i64 = 20 * SECOND;

impl Theme {
    pub(crate) fn draw(draw: &mut SeededRng) -> Self {
        match draw.below(12) {
            0 | 1 => Self::Store,
            2 => Self::Clocks,
            3 => Self::Blinking,
            4 => Self::Busy,
            5 => Self::People,
            6 => Self::Owed,
            7 => Self::Neighbours,
            _ => Self::All,
        }
    }
}

impl Scenario {
    /// How many retries a webhook has that counts them.
    pub(crate) fn retries(&self, draw: &mut SeededRng) -> u32 {
        let (least, end) = match self.theme {
            Theme::Owed => (0, 20),
            // As many as there is time for while they blink.
            Theme::Blinking => (1, 4),
            Theme::All
            | Theme::Store
            | Theme::Clocks
            | Theme::Busy
            | Theme::People
            | Theme::Neighbours => (0, 8),
        };
        u32::try_from(least + index(draw, end - least)).unwrap_or(0)
    }

    /// What people do on the dashboard, in any world.
    pub(crate) fn draw_people(&mut self, draw: &mut SeededRng) {
        const AIMS: [Aim; 5] = [
            Aim::StopOne,
            Aim::ReplayOne,
            Aim::StopAll,
            Aim::ReplayAll,
            Aim::Test,
        ];
        for _ in 0..index(draw, 8) {
            let aim = AIMS.get(index(draw, AIMS.len())).copied();
            let at = match draw.below(2) {
                0 => HOUR + below(draw, TROUBLE - HOUR),
                _ => self.time_of_business(draw) + below(draw, HOUR),
            };
            let webhook = index(draw, self.webhooks.len());
            self.actions
                .push((at, webhook, Action::Look(aim.unwrap_or(Aim::Test))));
        }
        let webhook = index(draw, self.webhooks.len());
        if draw.below(2) == 0 {
            let at = below(draw, TROUBLE);
            self.actions.push((at, webhook, Action::RevokeSpare));
        }
        if draw.below(6) == 0 {
            let at = below(draw, TROUBLE);
            self.actions.push((at, webhook, Action::KeepADay));
        }
    }

    /// A moment at which an application hands something in.
    fn time_of_business(&self, draw: &mut SeededRng) -> i64 {
        let place = index(draw, self.hand_in_at.len());
        self.hand_in_at.get(place).copied().unwrap_or(0)
    }

    /// Changes what was drawn to what the theme has more of.
    pub(crate) fn draw_theme(&mut self, draw: &mut SeededRng) {
        match self.theme {
            Theme::All => {
                if draw.below(4) == 0 {
                    self.draw_drift(draw);
                }
            }
            Theme::Store => self.draw_store(draw),
            Theme::Clocks => self.draw_clocks(draw),
            Theme::Blinking => self.draw_bouts(draw, Mood::Failing, (Mood::Flaky, MINUTE)),
            Theme::Busy => self.draw_bouts(draw, Mood::Busy, (Mood::Good, 20 * SECOND)),
            Theme::People => self.draw_stops(draw),
            Theme::Owed => self.draw_owed(draw),
            Theme::Neighbours => self.draw_neighbours(draw),
        }
    }

    fn draw_store(&mut self, draw: &mut SeededRng) {
        for (at, fault) in &mut self.faults {
            if matches!(fault, Fault::Kill { .. } | Fault::Stop { .. }) && *at > DAY {
                let ms = MINUTE + below(draw, 5 * MINUTE);
                let kind = StoreFault::Flaky;
                *fault = Fault::Store { kind, ms };
            }
        }
        for _ in 0..BOUTS {
            let at = self.time_of_business(draw);
            let ms = MINUTE + below(draw, 3 * MINUTE);
            let kind = StoreFault::Flaky;
            self.faults.push((at, Fault::Store { kind, ms }));
            for _ in 0..BOUTS {
                let tenant = index(draw, self.tenants.len());
                self.hand_ins.push((tenant, 1));
                self.hand_in_at.push(at + below(draw, 2 * MINUTE));
            }
        }
    }

    fn draw_clocks(&mut self, draw: &mut SeededRng) {
        let mut right = Vec::new();
        for (at, fault) in &mut self.faults {
            if matches!(fault, Fault::Store { .. } | Fault::Partition { .. }) {
                let size = match draw.below(3) {
                    0 => 2 * SECOND + below(draw, MINUTE),
                    1 => MINUTE + below(draw, 2 * DAY),
                    _ => below(draw, 90 * DAY),
                };
                let ahead = draw.below(2) == 0;
                let by_ms = if ahead { size } else { -size };
                *fault = Fault::Step { by_ms };
                right.push((*at + below(draw, 50 * MINUTE), Fault::SetRight));
            }
        }
        self.faults.extend(right);
        self.draw_drift(draw);
    }

    /// A clock that goes too fast or too slow, by up to a hundredth, for up to a day.
    fn draw_drift(&mut self, draw: &mut SeededRng) {
        let from = below(draw, TROUBLE - DAY);
        let until = from + HOUR + below(draw, DAY - HOUR);
        let rate = 1 + below(draw, DRIFT_EVERY / 100);
        let rate = if draw.below(2) == 0 { rate } else { -rate };
        let steps = (until - from) / DRIFT_EVERY;
        for step in 1..=steps {
            let by_ms = step * rate;
            self.faults
                .push((from + step * DRIFT_EVERY, Fault::Drift { by_ms }));
        }
        self.faults.push((until, Fault::SetRight));
    }

    /// Receivers are in a mood while there is business, and in another one now and then.
    fn draw_bouts(&mut self, draw: &mut SeededRng, mood: Mood, between: (Mood, i64)) {
        for webhook in 0..self.webhooks.len() {
            let mut moods = vec![(0, Mood::Good)];
            for _ in 0..BOUTS {
                let mut at = self.time_of_business(draw);
                for _ in 0..6 {
                    moods.push((at, mood));
                    at += 35 * SECOND + below(draw, 4 * MINUTE);
                    moods.push((at, between.0));
                    at += SECOND + below(draw, between.1);
                }
                moods.push((at, Mood::Good));
            }
            moods.sort_by_key(|(at, _)| *at);
            if let Some(own) = self.moods.get_mut(webhook) {
                *own = moods;
            }
        }
    }

    fn draw_stops(&mut self, draw: &mut SeededRng) {
        const MOODS: [Mood; 4] = [Mood::Hanging, Mood::Slow, Mood::Failing, Mood::Flaky];
        for webhook in 0..self.webhooks.len().min(8) {
            let mut moods = vec![(0, Mood::Good)];
            for _ in 0..BOUTS {
                let at = self.time_of_business(draw);
                let mood = MOODS.get(index(draw, MOODS.len())).copied();
                moods.push((at, mood.unwrap_or(Mood::Hanging)));
                let until = at + 20 * MINUTE + below(draw, HOUR);
                moods.push((until, Mood::Good));
                for _ in 0..3 {
                    let stop = match draw.below(3) {
                        0 => Aim::StopAll,
                        _ => Aim::StopOne,
                    };
                    let stop_at = at + 20 * SECOND + below(draw, 20 * MINUTE);
                    self.actions.push((stop_at, webhook, Action::Look(stop)));
                }
                let again = match draw.below(4) {
                    0 => Aim::ReplayOne,
                    _ => Aim::ReplayAll,
                };
                if draw.below(4) > 0 {
                    let again_at = at + 30 * MINUTE + below(draw, 2 * HOUR);
                    self.actions.push((again_at, webhook, Action::Look(again)));
                }
            }
            moods.sort_by_key(|(at, _)| *at);
            if let Some(own) = self.moods.get_mut(webhook) {
                *own = moods;
            }
        }
    }

    fn draw_owed(&mut self, draw: &mut SeededRng) {
        self.retention_days = None;
        for webhook in 0..self.webhooks.len() {
            let from = below(draw, 5 * DAY);
            let until = from + DAY + below(draw, 2 * DAY);
            let moods = vec![(0, Mood::Good), (from, Mood::Failing), (until, Mood::Good)];
            if let Some(own) = self.moods.get_mut(webhook) {
                *own = moods;
            }
            self.actions
                .push((HOUR + below(draw, HOUR), webhook, Action::KeepADay));
        }
        // What is owed is so by who said nothing else.
        self.actions.retain(|(_, _, action)| {
            matches!(
                action,
                Action::Create | Action::KeepADay | Action::Look(Aim::Test)
            )
        });
    }

    /// The first tenant's crowd has much to do, then somebody else has one thing.
    fn draw_neighbours(&mut self, draw: &mut SeededRng) {
        for (place, (tenant, _)) in self.webhooks.iter().enumerate() {
            if let Some(own) = self.moods.get_mut(place).filter(|_| *tenant > 0) {
                *own = vec![(0, Mood::Good)];
            }
        }
        for _ in 0..BOUTS {
            let at = HOUR + below(draw, TROUBLE - 2 * HOUR);
            self.hand_ins.push((0, 8));
            self.hand_in_at.push(at);
            for tenant in 1..self.tenants.len() {
                self.hand_ins.push((tenant, 1));
                self.hand_in_at.push(at + SECOND + below(draw, 15 * SECOND));
            }
        }
    }
}
