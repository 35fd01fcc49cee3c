//! Receivers that behave as drawn: quick, slow, failing, hanging, gone and back. What they saw is
//! kept, with how they answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use model::rng::SeededRng;
use serde_json::Value;

use crate::harness::{Call, Receiver};

/// The notification a call was about, by tenant, webhook and id.
pub(crate) type Called = (usize, usize, u64);

/// One call. `run` says which process made it, by its user agent. `status` is how it was answered;
/// `None` if its connection was closed instead.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) run: u64,
    pub(crate) status: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Quick,
    /// It takes so many milliseconds.
    Slow(u64),
    Failing,
    /// It answers nobody before the calm.
    Hanging,
    /// It closes each connection.
    Gone,
}

pub(crate) struct Receivers {
    all: Vec<Receiver>,
    world: Arc<World>,
}

struct World {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    behaviours: Vec<Behaviour>,
    seen: BTreeMap<Called, Vec<Seen>>,
    wrong: Vec<String>,
}

impl Receivers {
    pub(crate) fn start(count: usize, tenants: &'static [&'static str]) -> Self {
        let state = State {
            behaviours: vec![Behaviour::Quick; count],
            seen: BTreeMap::new(),
            wrong: Vec::new(),
        };
        let world = Arc::new(World {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let all = (0..count).map(|index| {
            let world = Arc::clone(&world);
            Receiver::start(move |call| world.answer(index, call, tenants))
        });
        Self {
            all: all.collect(),
            world,
        }
    }

    pub(crate) fn url(&self, index: usize, path: &str) -> String {
        self.all[index].url(path)
    }

    /// From now on each behaves as drawn.
    pub(crate) fn trouble(&self, rng: &mut SeededRng) {
        let mut state = self.world.state.lock().unwrap();
        for behaviour in &mut state.behaviours {
            *behaviour = match rng.below(8) {
                0..=2 => Behaviour::Quick,
                3 | 4 => Behaviour::Slow(1 + rng.below(150)),
                5 => Behaviour::Failing,
                6 => Behaviour::Hanging,
                _ => Behaviour::Gone,
            };
        }
        self.world.changed.notify_all();
    }

    /// From now on all are quick.
    pub(crate) fn calm(&self) {
        let mut state = self.world.state.lock().unwrap();
        state.behaviours.fill(Behaviour::Quick);
        self.world.changed.notify_all();
        // Nobody else reads what they report.
        for receiver in &self.all {
            while receiver.calls.try_recv().is_ok() {}
        }
    }

    pub(crate) fn seen(&self) -> BTreeMap<Called, Vec<Seen>> {
        self.world.state.lock().unwrap().seen.clone()
    }

    /// What they saw that nobody may ever see.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.world.state.lock().unwrap().wrong.clone()
    }
}

impl World {
    /// 0 closes the connection.
    fn answer(&self, index: usize, call: &Call, tenants: &[&str]) -> u16 {
        let mut state = self.state.lock().unwrap();
        let behaviour = state.behaviours[index];
        let Some((called, run)) = called(call, tenants) else {
            state
                .wrong
                .push(format!("a call that is for nobody: {call:?}"));
            return 500;
        };
        let status = match behaviour {
            Behaviour::Quick => Some(200),
            Behaviour::Failing => Some(500),
            Behaviour::Gone => None,
            Behaviour::Slow(ms) => {
                let wait = Duration::from_millis(ms);
                let slow = |state: &mut State| state.behaviours[index] == behaviour;
                state = self
                    .changed
                    .wait_timeout_while(state, wait, slow)
                    .unwrap()
                    .0;
                Some(200)
            }
            Behaviour::Hanging => {
                let hangs = |state: &mut State| state.behaviours[index] == Behaviour::Hanging;
                state = self.changed.wait_while(state, hangs).unwrap();
                None
            }
        };
        let seen = Seen { run, status };
        state.seen.entry(called).or_default().push(seen);
        status.unwrap_or(0)
    }
}

fn called(call: &Call, tenants: &[&str]) -> Option<(Called, u64)> {
    let run = call.headers.get("user-agent")?.strip_prefix("run-")?;
    let (slug, webhook) = call.path.strip_prefix('/')?.split_once('/')?;
    let body: Value = serde_json::from_str(&call.body).ok()?;
    let tenant = tenants.iter().position(|known| *known == slug)?;
    if body["organizer"].as_str() != Some(slug) {
        return None;
    }
    let id = body["notification_id"].as_u64()?;
    Some(((tenant, webhook.parse().ok()?, id), run.parse().ok()?))
}
