//! How much of everything the benchmark does: in earnest, and with `--quick` just enough to see
//! that every scenario works.

/// Bytes of the body of a call, as the receiver gets it.
pub(crate) const BODY_BYTES: usize = 512;

/// Connections over which notifications are handed in.
pub(crate) const CONNECTIONS: usize = 32;

/// Notifications in one call of the scenario of batches.
pub(crate) const BATCH: u64 = 100;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Notifications to one webhook, one call each; also those in batches.
    pub(crate) single: u64,
    /// Notifications to `FAN_WEBHOOKS`.
    pub(crate) fanned: u64,
    /// Calls straight at the receiver, each time.
    pub(crate) raw: u64,
    /// Notifications of the open loop, in a second and in all.
    pub(crate) pace: Pace,
    /// The same where little happens.
    pub(crate) slow_pace: Pace,
    /// What waits: so many notifications for so many webhooks.
    pub(crate) waiting: (u64, usize),
    /// Tenants, and webhooks of each.
    pub(crate) many: (usize, usize),
    /// Webhooks of which some hang; how many do, in turn.
    pub(crate) fair: (usize, [usize; 2]),
    pub(crate) fair_pace: Pace,
    /// Notifications that wait for each webhook that hangs before the measuring begins.
    pub(crate) fair_backlog: u64,
    /// Between that and the measuring.
    pub(crate) fair_rest_ms: u64,
    /// Beside a tenant that misbehaves: its webhooks, its notifications in one request, its idle
    /// connections.
    pub(crate) beside: Pace,
    pub(crate) beside_webhooks: usize,
    pub(crate) beside_batch: u64,
    pub(crate) beside_idle: usize,
    /// Commits that are timed.
    pub(crate) commits: u64,
    /// Calls of each statement that is timed.
    pub(crate) asks: u64,
    /// Seconds for which a server that was just started is watched.
    pub(crate) watched_s: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) per_second: u32,
    pub(crate) count: u64,
}

pub(crate) const FAN_WEBHOOKS: usize = 10;

pub(crate) const FULL: Sizes = Sizes {
    single: 20_000,
    fanned: 5_000,
    raw: 100_000,
    pace: Pace {
        per_second: 200,
        count: 6_000,
    },
    slow_pace: Pace {
        per_second: 20,
        count: 400,
    },
    waiting: (1_000, 1_000),
    many: (1_000, 100),
    fair: (1_000, [1, 50]),
    fair_pace: Pace {
        per_second: 500,
        count: 17_500,
    },
    fair_backlog: 40,
    fair_rest_ms: 1_000,
    beside: Pace {
        per_second: 50,
        count: 1_000,
    },
    beside_webhooks: 2_000,
    beside_batch: 100,
    beside_idle: 1_024,
    commits: 1_000,
    asks: 300,
    watched_s: 5,
};

pub(crate) const QUICK: Sizes = Sizes {
    single: 200,
    fanned: 20,
    raw: 300,
    pace: Pace {
        per_second: 200,
        count: 60,
    },
    slow_pace: Pace {
        per_second: 20,
        count: 10,
    },
    // More webhooks than a page has.
    waiting: (5, 60),
    many: (4, 5),
    fair: (10, [1, 3]),
    fair_pace: Pace {
        per_second: 100,
        count: 50,
    },
    fair_backlog: 5,
    fair_rest_ms: 50,
    beside: Pace {
        per_second: 50,
        count: 20,
    },
    beside_webhooks: 50,
    beside_batch: 10,
    beside_idle: 20,
    commits: 20,
    asks: 10,
    watched_s: 0,
};
