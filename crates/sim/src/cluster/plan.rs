//! What is drawn for a world with several nodes: their clocks, and what happens to each of them and
//! to the database. Trouble lasts for minutes, so that a seed takes a moment.

use model::rng::SeededRng;

use crate::cluster::faults::{ClusterPlan, CutKind, HintPlan, NodeClock, NodeFault};
use crate::dialects::Tenant;
use crate::mood::Mood;
use crate::scenario::{Action, Aim, Fault, MINUTE, SECOND, Scenario, Theme, below, index};

/// Nodes that share the store.
pub(crate) const NODES: usize = 3;

impl Scenario {
    /// A world with several nodes.
    pub(crate) fn draw_cluster(seed: u64) -> Self {
        let rng = Self::rng(seed).split("cluster");
        let mut draw = rng.split("scenario");
        let tenants: Vec<Tenant> = (0..2 + index(&mut draw, 2)).map(Tenant::numbered).collect();
        let mut webhooks = Vec::new();
        for tenant in 0..tenants.len() {
            for _ in 0..2 + index(&mut draw, 4) {
                webhooks.push((tenant, webhooks.len()));
            }
        }
        let trouble = 3 * MINUTE + below(&mut draw, 9 * MINUTE);
        let moods = webhooks.iter().map(|_| moods(&mut draw, trouble)).collect();
        let ends = webhooks.iter().map(|_| Mood::Good).collect();
        let mut scenario = Self {
            theme: Theme::All,
            tenants,
            max_in_flight: 8 + index(&mut draw, 56),
            max_concurrency_per_webhook: 1 + index(&mut draw, 8),
            retention_days: None,
            hand_ins: Vec::new(),
            hand_in_at: Vec::new(),
            webhooks,
            moods,
            ends,
            actions: Vec::new(),
            faults: Vec::new(),
            trouble,
            cluster: None,
            rng,
        };
        scenario.draw_business(&mut draw);
        scenario.draw_changes(&mut draw);
        scenario.cluster = Some(scenario.draw_nodes(&mut draw));
        scenario
    }

    fn draw_business(&mut self, draw: &mut SeededRng) {
        for _ in 0..40 + index(draw, 60) {
            let size = match draw.below(10) {
                0..7 => 1,
                7..9 => 2 + index(draw, 4),
                _ => 8 + index(draw, 8),
            };
            let tenant = index(draw, self.tenants.len());
            self.hand_ins.push((tenant, size));
            self.hand_in_at.push(below(draw, self.trouble));
        }
    }

    fn draw_changes(&mut self, draw: &mut SeededRng) {
        for webhook in 0..self.webhooks.len() {
            let at = 5 * SECOND + below(draw, 10 * SECOND);
            self.actions.push((at, webhook, Action::Create));
        }
        for _ in 0..index(draw, 8) {
            let at = 30 * SECOND + below(draw, self.trouble);
            let webhook = index(draw, self.webhooks.len());
            let action = match draw.below(4) {
                0 => {
                    let later = at + below(draw, MINUTE);
                    self.actions.push((later, webhook, Action::Enable));
                    Action::Disable
                }
                1 => Action::ChangeUrl,
                2 => Action::ChangeFilter,
                _ => Action::RetryFailed,
            };
            self.actions.push((at, webhook, action));
        }
        const AIMS: [Aim; 4] = [Aim::StopOne, Aim::ReplayOne, Aim::StopAll, Aim::ReplayAll];
        for _ in 0..index(draw, 6) {
            let at = 40 * SECOND + below(draw, self.trouble);
            let webhook = index(draw, self.webhooks.len());
            let aim = AIMS.get(index(draw, AIMS.len())).copied();
            let look = Action::Look(aim.unwrap_or(Aim::ReplayAll));
            self.actions.push((at, webhook, look));
        }
        for _ in 0..index(draw, 3) {
            let receiver = index(draw, self.webhooks.len());
            let ms = SECOND + below(draw, MINUTE);
            let at = below(draw, self.trouble);
            self.faults.push((at, Fault::Partition { receiver, ms }));
        }
    }

    fn draw_nodes(&self, draw: &mut SeededRng) -> ClusterPlan {
        let clocks = (0..NODES).map(|_| draw_clock(draw)).collect();
        // In some worlds little happens but for what is lost on its way.
        let every = match draw.below(4) {
            0 => 5 * MINUTE,
            1 => 90 * SECOND,
            _ => 25 * SECOND,
        };
        let mut faults = Vec::new();
        let mut at = 10 * SECOND + below(draw, every);
        let mut leaves = draw.below(4) == 0;
        while at < self.trouble {
            let fault = draw_fault(draw, &mut leaves);
            faults.push((at, fault));
            at += SECOND + below(draw, 2 * every);
        }
        ClusterPlan {
            clocks,
            database_lead: below(draw, 10 * MINUTE) - 5 * MINUTE,
            hints: HintPlan {
                lost_percent: [0, 5, 60].get(index(draw, 3)).copied().unwrap_or(0),
                late_ms_max: [5, 2_000].get(index(draw, 2)).copied().unwrap_or(5),
            },
            faults,
            gap: 5 + index(draw, 25),
        }
    }
}

fn draw_clock(draw: &mut SeededRng) -> NodeClock {
    let most = match draw.below(4) {
        0 => 5 * SECOND,
        1 => 5 * MINUTE,
        _ => 24 * 60 * MINUTE,
    };
    NodeClock {
        lead: below(draw, 2 * most) - most,
        drift: below(draw, 400) - 200,
    }
}

fn draw_fault(draw: &mut SeededRng, leaves: &mut bool) -> NodeFault {
    let node = index(draw, NODES);
    let off_ms = Some(match draw.below(4) {
        0 => below(draw, 3 * MINUTE),
        _ => SECOND + below(draw, 20 * SECOND),
    });
    let ms = SECOND + below(draw, 39 * SECOND);
    match draw.below(16) {
        0..3 => NodeFault::Kill { node, off_ms },
        // One may leave for good.
        3 | 4 if std::mem::take(leaves) => NodeFault::Stop { node, off_ms: None },
        3 | 4 => NodeFault::Stop { node, off_ms },
        5..9 => NodeFault::Freeze { node, ms },
        9..15 => {
            let kind = match draw.below(3) {
                0 => CutKind::Refuses,
                1 => CutKind::Hangs,
                _ => CutKind::LosesAnswers,
            };
            NodeFault::Cut { node, kind, ms }
        }
        _ => NodeFault::Pause {
            ms: SECOND + below(draw, 20 * SECOND),
        },
    }
}

/// Mostly well, and in trouble for seconds or minutes.
fn moods(draw: &mut SeededRng, trouble: i64) -> Vec<(i64, Mood)> {
    const BAD: [Mood; 10] = [
        Mood::Slow,
        Mood::Slow,
        Mood::Failing,
        Mood::Failing,
        Mood::Flaky,
        Mood::Hanging,
        Mood::Refusing,
        Mood::Resetting,
        Mood::HalfClosing,
        Mood::NameHangs,
    ];
    let mut moods = vec![(0, Mood::Good)];
    let mut at = below(draw, trouble);
    while at < trouble && draw.below(4) > 0 {
        let mood = BAD.get(index(draw, BAD.len())).copied();
        moods.push((at, mood.unwrap_or(Mood::Slow)));
        at += 5 * SECOND + below(draw, 2 * MINUTE);
        moods.push((at, Mood::Good));
        at += below(draw, 2 * MINUTE);
    }
    moods
}
