//! Requests of applications, as they stand.

use model::rng::SeededRng;

use crate::scenario::Scenario;

pub(crate) type RequestId = usize;

/// All requests of applications.
pub(crate) struct Workload {
    pub(crate) requests: Vec<HandIn>,
    pub(crate) rng: SeededRng,
    pub(crate) numbers: u64,
}

/// One request, however often it is made.
pub(crate) struct HandIn {
    pub(crate) tenant: usize,
    /// How many notifications it has.
    pub(crate) count: usize,
    /// A key under which it is repeated; else its notifications have ids of their own.
    pub(crate) key: Option<String>,
    /// Places in the history.
    pub(crate) notifications: Vec<usize>,
    pub(crate) tries: u32,
    pub(crate) is_done: bool,
}

impl Workload {
    pub(crate) fn new(scenario: &Scenario, rng: SeededRng) -> Self {
        let mut workload = Self {
            requests: Vec::new(),
            rng,
            numbers: 0,
        };
        for (tenant, count) in &scenario.hand_ins {
            let keyed = workload.rng.below(3) == 0;
            let key = format!("key-{}", workload.requests.len());
            workload.requests.push(HandIn {
                tenant: *tenant,
                count: *count,
                key: keyed.then_some(key),
                notifications: Vec::new(),
                tries: 0,
                is_done: false,
            });
        }
        workload
    }
}
