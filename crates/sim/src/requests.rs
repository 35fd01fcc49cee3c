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
    /// A key under which it is repeated.
    pub(crate) key: Option<String>,
    /// Its notifications have ids of their own.
    pub(crate) has_ids: bool,
    /// It comes with the token that may be revoked.
    pub(crate) uses_spare: bool,
    /// Places in the history.
    pub(crate) notifications: Vec<usize>,
    pub(crate) tries: u32,
    /// When it was last made.
    pub(crate) tried_at: i64,
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
            let of = scenario.tenants.get(*tenant);
            let nameless = of.is_some_and(|tenant| tenant.dialect.makes_ids())
                && !keyed
                && workload.rng.below(3) == 0;
            let key = format!("key-{}", workload.requests.len());
            workload.requests.push(HandIn {
                tenant: *tenant,
                count: *count,
                key: keyed.then_some(key),
                has_ids: !keyed && !nameless,
                uses_spare: workload.rng.below(4) == 0,
                notifications: Vec::new(),
                tries: 0,
                tried_at: 0,
                is_done: false,
            });
        }
        workload
    }
}
