//! How much the benchmark does: in full, and with `--quick` just enough to see that every scenario
//! works.

use std::time::Duration;

/// Bytes of a call's body as the receiver gets it.
pub(crate) const BODY_BYTES: usize = 512;

/// Connections over which notifications are sent.
pub(crate) const CONNECTIONS: usize = 32;

/// Notifications in one call of `batches`.
pub(crate) const BATCH: u64 = 100;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Notifications to one webhook, one per call; also in `batches`.
    pub(crate) single: u64,
    /// Notifications to `FAN_WEBHOOKS`.
    pub(crate) fanned: u64,
    /// Calls to the receiver directly, each time.
    pub(crate) raw: u64,
    /// The open loop: notifications per second and in total.
    pub(crate) pace: Pace,
    /// The same at a low rate.
    pub(crate) slow_pace: Pace,
    /// Waiting deliveries: notifications times webhooks.
    pub(crate) waiting: (u64, usize),
    /// Tenants, and webhooks of each.
    pub(crate) many: (usize, usize),
    /// Webhooks, and how many of them hang in the first and second run.
    pub(crate) fair: (usize, [usize; 2]),
    pub(crate) fair_pace: Pace,
    /// Notifications that wait for each hanging webhook before measuring begins.
    pub(crate) fair_backlog: u64,
    /// Milliseconds between that and measuring.
    pub(crate) fair_rest_ms: u64,
    /// The open loop beside a noisy tenant; that tenant's webhooks, notifications in one request,
    /// and idle connections.
    pub(crate) beside: Pace,
    pub(crate) beside_webhooks: usize,
    pub(crate) beside_batch: u64,
    pub(crate) beside_idle: usize,
    /// Receivers with a certificate each, and those of them to which connections are kept.
    pub(crate) receivers: usize,
    pub(crate) receivers_kept: usize,
    /// Receivers that are called at each of some intervals; what an interval is counted in, and for
    /// how long.
    pub(crate) receivers_paused: usize,
    pub(crate) pauses: (Duration, u64),
    /// Commits that are timed.
    pub(crate) commits: u64,
    /// Calls of each statement that is timed.
    pub(crate) asks: u64,
    /// Notifications that PostgreSQL has before WAL is measured.
    pub(crate) house: u64,
    /// Seconds for which a newly started server is watched.
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
    receivers: 2_000,
    receivers_kept: 500,
    receivers_paused: 50,
    pauses: (Duration::from_secs(1), 105),
    commits: 1_000,
    asks: 300,
    house: 2_000_000,
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
    // More webhooks than fit on a page, and more deliveries than one transaction writes down.
    waiting: (100, 60),
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
    receivers: 20,
    receivers_kept: 10,
    receivers_paused: 2,
    pauses: (Duration::from_millis(4), 55),
    commits: 20,
    asks: 10,
    house: 2_000,
    watched_s: 0,
};
