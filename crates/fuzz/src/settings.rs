//! How long and from which seed: the two variables that a run is steered by.

use std::thread::available_parallelism;
use std::time::Duration;

#[expect(
    clippy::disallowed_types,
    reason = "a run of tests ends by the clock, nothing else does"
)]
use std::time::{Instant, SystemTime};

/// How long all targets run together, as in `90s`, `10m`, `1h`.
const FOR: &str = "WILLCALL_TEST_FUZZ_FOR";

/// The seed of the run that is to be repeated.
const SEED: &str = "WILLCALL_TEST_FUZZ_SEED";

pub(crate) struct Settings {
    pub(crate) seed: u64,
    all: Option<Duration>,
}

/// When a target stops.
#[expect(clippy::disallowed_types, reason = "a run of tests ends by the clock")]
pub(crate) struct Deadline(Option<Instant>);

impl Settings {
    /// Without a time every run has the same inputs, so that no run of all tests fails by luck.
    ///
    /// # Panics
    /// If a variable is not what it should be.
    pub(crate) fn read() -> Self {
        let seed = variable(SEED).map(|text| {
            let seed = text.parse();
            seed.unwrap_or_else(|_| panic!("{SEED} must be a number, and is {text:?}"))
        });
        let all = variable(FOR).map(|text| {
            let all = duration(&text);
            all.unwrap_or_else(|| panic!("{FOR} must be as 90s, 10m or 1h, and is {text:?}"))
        });
        let first = || all.map_or(0, |_| fresh_seed());
        Self {
            seed: seed.unwrap_or_else(first),
            all,
        }
    }

    /// When one of so many targets stops, counted from now. As many run at once as there are
    /// processors. Without a time the first round is the only one.
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "a run of tests ends by the clock"
    )]
    pub(crate) fn deadline(&self, targets: usize) -> Deadline {
        let at_once = available_parallelism().map_or(1, usize::from);
        let rounds = u32::try_from(targets.div_ceil(at_once).max(1)).unwrap_or(u32::MAX);
        Deadline(self.all.map(|all| Instant::now() + all / rounds))
    }
}

impl Deadline {
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "a run of tests ends by the clock"
    )]
    pub(crate) fn is_ahead(&self) -> bool {
        self.0.is_some_and(|end| Instant::now() < end)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "these steer tests and are no settings"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a fresh seed is different in each run; it is printed"
)]
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| {
        u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(24)
    })
}

/// `90s`, `10m`, `1h`; nothing if it is written in another way.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return None,
    };
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(Duration::from_secs(count.checked_mul(seconds)?))
}
