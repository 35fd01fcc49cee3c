//! A scenario: everything that is drawn from a seed before the simulation begins.
//!
//! Trouble lasts for a week, then comes calm: the receivers are well again, nothing fails any more,
//! and what is owed has to come to its end.

use std::collections::BTreeSet;

use model::rng::SeededRng;

use crate::cluster::faults::ClusterPlan;
use crate::dialects::{Dialect, Tenant};
use crate::history::{Version, WebhookHistory};
use crate::mood::{Mood, Receiver};

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// How long the trouble lasts.
pub(crate) const TROUBLE: i64 = 7 * DAY;

/// Topics and shows of each tenant.
pub(crate) const TOPICS: usize = 3;
pub(crate) const SHOWS: usize = 3;

/// The wall clock's truth when the simulation begins: 2027-01-15T08:00:00Z.
pub(crate) const START: i64 = 1_800_000_000_000;

/// What a world has more of than others; `theme.rs` says what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Some of everything.
    All,
    /// The store is in trouble, and the process runs on.
    Store,
    /// Clocks are set, and drift.
    Clocks,
    /// Receivers come and go within seconds and minutes.
    Blinking,
    /// Receivers ask to be left alone.
    Busy,
    /// People replay and stop what waits, much of it in flight.
    People,
    /// Logs are kept for a shorter time than deliveries are owed.
    Owed,
    /// One tenant is busy with slow receivers whenever another has something.
    Neighbours,
}

/// What somebody does with a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Disable,
    Enable,
    ChangeUrl,
    ChangeFilter,
    RetryFailed,
    /// Looks at the log on the dashboard, to do that with what is there.
    Look(Aim),
    /// Does it.
    Do(Aim),
    /// Has its tenant's log kept for a day only.
    KeepADay,
    /// Revokes its tenant's spare token.
    RevokeSpare,
    /// The latest change, once more: it was not answered.
    Repeat,
}

/// What somebody does on the dashboard with what they see there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Stops one delivery that waits.
    StopOne,
    /// Has one sent again, whatever became of it.
    ReplayOne,
    /// Stops all that waits.
    StopAll,
    /// Has all sent again that was not delivered.
    ReplayAll,
    /// Sends a test.
    Test,
}

/// A way in which a store can be in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// Answers come late.
    Slow,
    /// Some calls are refused, of others the answer is lost.
    Flaky,
    /// Nothing can be written.
    Full,
}

/// What is drawn to happen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Planned {
    /// An application makes the request of this number.
    HandIn(usize),
    /// Somebody does something with the webhook of this number.
    Act(usize, Action),
    Fault(Fault),
    /// The trouble is over.
    Calm,
}

/// Something that goes wrong in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is killed and started again after so long.
    Kill {
        off_ms: i64,
    },
    /// The process is told to stop, and started again after so long.
    Stop {
        off_ms: i64,
    },
    /// The process stands still; clocks go on.
    Freeze {
        ms: i64,
    },
    /// The machine sleeps, and its steady clock with it.
    Suspend {
        ms: i64,
    },
    /// The wall clock is set, by so much.
    Step {
        by_ms: i64,
    },
    /// The wall clock goes wrong a little more: it is ahead by so much now.
    Drift {
        by_ms: i64,
    },
    /// The wall clock is set right.
    SetRight,
    Store {
        kind: StoreFault,
        ms: i64,
    },
    /// The network to a receiver is cut.
    Partition {
        receiver: usize,
        ms: i64,
    },
    /// Half of all kept connections are reset.
    ResetConnections,
}

/// What is drawn from a seed.
pub(crate) struct Scenario {
    pub(crate) rng: SeededRng,
    pub(crate) theme: Theme,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) max_in_flight: usize,
    pub(crate) max_concurrency_per_webhook: usize,
    /// How long the log is kept, in days, if not as usual.
    pub(crate) retention_days: Option<u32>,
    /// Tenant and number of notifications of each request, and when it is made.
    pub(crate) hand_ins: Vec<(usize, usize)>,
    pub(crate) hand_in_at: Vec<i64>,
    pub(crate) webhooks: Vec<(usize, usize)>,
    pub(crate) moods: Vec<Vec<(i64, Mood)>>,
    pub(crate) ends: Vec<Mood>,
    pub(crate) actions: Vec<(i64, usize, Action)>,
    pub(crate) faults: Vec<(i64, Fault)>,
    /// How long the trouble lasts.
    pub(crate) trouble: i64,
    /// What several nodes have beside that.
    pub(crate) cluster: Option<ClusterPlan>,
}

/// A number below `end`.
pub(crate) fn below(rng: &mut SeededRng, end: i64) -> i64 {
    rng.below(u64::try_from(end).unwrap_or(0)).cast_signed()
}

pub(crate) fn index(rng: &mut SeededRng, end: usize) -> usize {
    usize::try_from(rng.below(end as u64)).unwrap_or(0)
}

impl Scenario {
    /// The chance of a seed.
    pub(crate) fn rng(seed: u64) -> SeededRng {
        let mut bytes = [0; 32];
        for (byte, given) in bytes.iter_mut().zip(seed.to_le_bytes()) {
            *byte = given;
        }
        SeededRng::from_seed(bytes)
    }

    pub(crate) fn draw(seed: u64) -> Self {
        let rng = Self::rng(seed);
        let mut themed = rng.split("theme");
        let theme = Theme::draw(&mut themed);
        let mut draw = rng.split("scenario");
        let tenants: Vec<Tenant> = (0..2 + index(&mut draw, 3)).map(Tenant::numbered).collect();
        // One tenant in some worlds has a crowd of webhooks.
        let crowd = if draw.below(4) == 0 || theme == Theme::Neighbours {
            20 + index(&mut draw, 30)
        } else {
            0
        };
        let mut webhooks: Vec<(usize, usize)> = Vec::new();
        for tenant in 0..tenants.len() {
            for _ in 0..1 + index(&mut draw, 3) {
                webhooks.push((tenant, webhooks.len()));
            }
        }
        let first_of_crowd = webhooks.len();
        webhooks.extend((0..crowd).map(|number| (0, first_of_crowd + number)));
        let moods: Vec<Vec<(i64, Mood)>> = (0..webhooks.len())
            .map(|number| match number >= first_of_crowd {
                true => vec![(0, Mood::Slow)],
                false => moods(&mut draw),
            })
            .collect();
        let ends = webhooks.iter().map(|_| end(&mut draw)).collect();
        let mut scenario = Self {
            theme,
            tenants,
            max_in_flight: 8 + index(&mut draw, 56),
            max_concurrency_per_webhook: 1 + index(&mut draw, 8),
            retention_days: (draw.below(3) == 0).then_some(2),
            hand_ins: Vec::new(),
            hand_in_at: Vec::new(),
            webhooks,
            moods,
            ends,
            actions: Vec::new(),
            faults: Vec::new(),
            trouble: TROUBLE,
            cluster: None,
            rng,
        };
        scenario.draw_hand_ins(&mut draw);
        scenario.draw_actions(&mut draw);
        scenario.draw_faults(&mut draw);
        scenario.draw_people(&mut themed);
        scenario.draw_theme(&mut themed);
        scenario
    }

    /// Bursts of business, at least 240 notifications in all.
    fn draw_hand_ins(&mut self, draw: &mut SeededRng) {
        let mut count = 0;
        while count < 240 {
            let begins = below(draw, TROUBLE - 2 * HOUR);
            let long = MINUTE + below(draw, HOUR);
            let tenant = index(draw, self.tenants.len());
            let flood = draw.below(12) == 0;
            for _ in 0..5 + index(draw, 20) {
                let size = match draw.below(10) {
                    0..7 => 1,
                    7..9 => 2 + index(draw, 6),
                    _ if flood => 40 + index(draw, 60),
                    _ => 8 + index(draw, 8),
                };
                count += size;
                let tenant = match draw.below(4) {
                    0 => index(draw, self.tenants.len()),
                    _ => tenant,
                };
                self.hand_ins.push((tenant, size));
                self.hand_in_at.push(begins + below(draw, long));
            }
        }
    }

    fn draw_actions(&mut self, draw: &mut SeededRng) {
        for webhook in 0..self.webhooks.len() {
            self.actions
                .push((below(draw, 10 * SECOND), webhook, Action::Create));
        }
        for _ in 0..20 + index(draw, 20) {
            let at = HOUR + below(draw, TROUBLE - HOUR);
            let webhook = index(draw, self.webhooks.len());
            let action = match draw.below(10) {
                0..2 => {
                    let later = at + below(draw, 6 * HOUR);
                    self.actions.push((later, webhook, Action::Enable));
                    Action::Disable
                }
                2..4 => Action::Enable,
                4..6 => Action::ChangeUrl,
                6..8 => Action::ChangeFilter,
                _ => Action::RetryFailed,
            };
            self.actions.push((at, webhook, action));
        }
    }

    /// At least twenty.
    fn draw_faults(&mut self, draw: &mut SeededRng) {
        // More of them while there is business.
        let count = 20 + index(draw, 15);
        for _ in 0..count {
            let at = match draw.below(3) {
                0 => below(draw, TROUBLE),
                _ => {
                    let index = index(draw, self.hand_in_at.len());
                    let at = self.hand_in_at.get(index).copied().unwrap_or(0);
                    at + below(draw, 2 * MINUTE)
                }
            };
            let fault = self.draw_fault(draw, at);
            self.faults.push((at, fault));
        }
        // Once it is off for days: what waits has to have its whole schedule nevertheless.
        let at = DAY + below(draw, 3 * DAY);
        let ms = DAY + below(draw, 36 * HOUR);
        let absence = match draw.below(3) {
            0 => Fault::Kill { off_ms: ms },
            1 => Fault::Stop { off_ms: ms },
            _ => Fault::Suspend { ms },
        };
        self.faults.push((at, absence));
    }

    fn draw_fault(&mut self, draw: &mut SeededRng, at: i64) -> Fault {
        let off_ms = match draw.below(10) {
            0..7 => SECOND + below(draw, 10 * SECOND),
            7..9 => below(draw, 20 * MINUTE),
            _ => below(draw, 2 * DAY),
        };
        match draw.below(16) {
            0..4 => Fault::Kill { off_ms },
            4 => Fault::Stop { off_ms },
            5 => Fault::Freeze {
                ms: SECOND + below(draw, 2 * MINUTE),
            },
            6 => Fault::Suspend {
                ms: MINUTE + below(draw, 12 * HOUR),
            },
            7..9 => {
                let size = match draw.below(3) {
                    0 => 2 * SECOND + below(draw, MINUTE),
                    1 => MINUTE + below(draw, 2 * DAY),
                    _ => below(draw, 90 * DAY),
                };
                // Whoever set it wrongly sets it right within the hour.
                let right = at + below(draw, 50 * MINUTE);
                self.faults.push((right, Fault::SetRight));
                let ahead = draw.below(2) == 0;
                Fault::Step {
                    by_ms: if ahead { size } else { -size },
                }
            }
            9..12 => Fault::Store {
                kind: match draw.below(4) {
                    0 => StoreFault::Full,
                    1 => StoreFault::Slow,
                    _ => StoreFault::Flaky,
                },
                ms: SECOND + below(draw, 3 * MINUTE),
            },
            12..14 => Fault::Partition {
                receiver: index(draw, self.webhooks.len()),
                ms: SECOND + below(draw, 5 * MINUTE),
            },
            _ => Fault::ResetConnections,
        }
    }

    pub(crate) fn receivers(&self, rng: &SeededRng) -> Vec<Receiver> {
        let mut draw = rng.split("idle");
        let all = self.moods.iter().zip(&self.ends).enumerate();
        all.map(|(number, (moods, end))| {
            let idle_ms = SECOND + below(&mut draw, 60 * SECOND);
            Receiver::new(number, moods.clone(), idle_ms, *end)
        })
        .collect()
    }

    pub(crate) fn webhooks(&self) -> Vec<WebhookHistory> {
        let mut draw = self.rng.split("webhooks");
        let all = self.webhooks.iter();
        all.map(|(tenant, receiver)| {
            let dialect = self.tenants.get(*tenant).map(|tenant| tenant.dialect);
            let filters = dialect.is_some_and(Dialect::filters);
            let counts = dialect.is_some_and(Dialect::counts_retries);
            let topics: BTreeSet<usize> = match filters {
                true => filter(&mut draw).0,
                false => BTreeSet::from([index(&mut draw, TOPICS)]),
            };
            WebhookHistory {
                tenant: *tenant,
                receiver: *receiver,
                id: None,
                retries: counts.then(|| self.retries(&mut draw)),
                versions: vec![Version {
                    from: i64::MAX,
                    known_at: None,
                    enabled: true,
                    topics,
                    shows: if filters {
                        filter(&mut draw).1
                    } else {
                        BTreeSet::new()
                    },
                    path: 0,
                }],
                gone: Vec::new(),
                is_edited: false,
                seen: None,
            }
        })
        .collect()
    }

    pub(crate) fn plan(&self) -> Vec<(i64, Planned)> {
        let hand_ins = self.hand_in_at.iter().enumerate();
        let hand_ins = hand_ins.map(|(id, at)| (20 * SECOND + at, Planned::HandIn(id)));
        let actions = self.actions.iter();
        let actions = actions.map(|(at, webhook, action)| (*at, Planned::Act(*webhook, *action)));
        let faults = self.faults.iter();
        let faults = faults.map(|(at, fault)| (MINUTE + at, Planned::Fault(*fault)));
        let calm_at = match self.cluster {
            None => self.trouble + HOUR,
            Some(_) => self.trouble + MINUTE,
        };
        let end = [(calm_at, Planned::Calm)];
        hand_ins.chain(actions).chain(faults).chain(end).collect()
    }

    /// The tenants, as `willcall apply` declares them.
    pub(crate) fn declarations(&self) -> String {
        self.tenants.iter().map(Tenant::declaration).collect()
    }
}

/// Topics and shows that somebody wants.
pub(crate) fn filter(draw: &mut SeededRng) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let mut topics: BTreeSet<usize> = (0..TOPICS).filter(|_| draw.below(3) > 0).collect();
    if topics.is_empty() {
        topics.insert(0);
    }
    let shows = match draw.below(3) {
        0 => (0..SHOWS).filter(|_| draw.below(2) == 0).collect(),
        _ => BTreeSet::new(),
    };
    (topics, shows)
}

/// Good for hours or days, then in trouble for seconds or days, and so on.
fn moods(draw: &mut SeededRng) -> Vec<(i64, Mood)> {
    let mut moods = vec![(0, Mood::Good)];
    if draw.below(5) == 0 {
        return moods;
    }
    let mut at = below(draw, 12 * HOUR);
    while at < TROUBLE {
        let sum = Mood::TROUBLE.iter().map(|(weight, _)| weight).sum();
        let mut drawn = draw.below(sum);
        for (weight, mood) in Mood::TROUBLE {
            if drawn < *weight {
                moods.push((at, *mood));
                break;
            }
            drawn -= weight;
        }
        at += match draw.below(3) {
            0 => 10 * SECOND + below(draw, 10 * MINUTE),
            1 => 10 * MINUTE + below(draw, 6 * HOUR),
            _ => below(draw, 2 * DAY),
        };
        if draw.below(3) > 0 {
            moods.push((at, Mood::Good));
            at += HOUR + below(draw, DAY);
        }
    }
    moods
}

/// Most receivers are well in the end.
fn end(draw: &mut SeededRng) -> Mood {
    match draw.below(24) {
        0 => Mood::Failing,
        1 => Mood::Slow,
        _ => Mood::Good,
    }
}
