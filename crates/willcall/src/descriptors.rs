//! File descriptors: raises the limit as far as allowed, and keeps the settings within it.
//!
//! The usual soft limit of 1,024 exists for programs that use `select`; others may raise it to the
//! hard limit. If that is too low for the settings, they are reduced, so that the server answers
//! and the store writes whatever receivers do.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::store_location::StoreLocation;

/// For the files and readers of the store, the log, connections being accepted, certificate files.
const RESERVE: u64 = 64;

/// What the sessions with a database have beyond that: each has a socket and a queue of its events.
const SESSIONS: u64 = 32;

/// Name lookups that run at the same time; each has a socket.
const LOOK_UPS_MAX: u64 = 256;

/// Raises the limit as far as this process may; returns it, or nothing if there is none.
pub(crate) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // If that is not allowed after all, the old limit has to do.
        if setrlimit(Resource::Nofile, raised).is_err() {
            tracing::debug!("the limit of open files cannot be raised");
        }
    }
    getrlimit(Resource::Nofile).current
}

/// Most descriptors that the settings can need.
pub(crate) fn needed(config: &Config) -> u64 {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    // For each attempt one connection in use, and one kept for the next.
    let receivers = count(config.max_in_flight).saturating_mul(2);
    receivers
        .saturating_add(count(config.max_connections))
        .saturating_add(LOOK_UPS_MAX + reserve(config))
}

fn reserve(config: &Config) -> u64 {
    match config.store {
        StoreLocation::Folder(_) => RESERVE,
        StoreLocation::Database(_) => RESERVE + SESSIONS,
    }
}

/// Reduces the settings to what `limit` allows. Returns a warning if that was necessary.
pub(crate) fn fit(config: &mut Config, limit: Option<u64>) -> Option<String> {
    let limit = limit?;
    let needed = needed(config);
    if needed <= limit {
        return None;
    }
    let rest = limit
        .saturating_sub(reserve(config))
        .saturating_sub(LOOK_UPS_MAX.min(limit / 4));
    let rest = usize::try_from(rest).unwrap_or(usize::MAX);
    config.max_connections = config.max_connections.min((rest / 3).max(1));
    let left = rest.saturating_sub(config.max_connections);
    config.max_in_flight = config.max_in_flight.min((left / 2).max(1));
    Some(format!(
        "this process may open {limit} files, and the settings need {needed}: until the limit is \
         raised (`LimitNOFILE`, `ulimit -n`), max_connections is {} and max_in_flight is {}",
        config.max_connections, config.max_in_flight
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(max_connections: usize, max_in_flight: usize) -> Config {
        Config {
            max_connections,
            max_in_flight,
            ..Config::for_demo("/".into()).unwrap()
        }
    }

    #[test]
    fn settings_that_fit_stay_as_they_are() {
        for limit in [None, Some(3_392), Some(1_000_000)] {
            let mut given = config(1_024, 1_024);
            assert_eq!(fit(&mut given, limit), None);
            assert_eq!((given.max_connections, given.max_in_flight), (1_024, 1_024));
        }
    }

    #[test]
    fn what_may_be_open_is_shared_out_and_never_exceeded() {
        for limit in [256, 512, 1_024, 2_048, 3_391] {
            let mut given = config(1_024, 1_024);
            let words = fit(&mut given, Some(limit)).unwrap();
            assert!(words.contains(&limit.to_string()), "{words}");
            let look_ups = LOOK_UPS_MAX.min(limit / 4);
            let used = given.max_connections + 2 * given.max_in_flight;
            assert!(u64::try_from(used).unwrap() + look_ups + RESERVE <= limit);
            assert!(given.max_connections >= 10 && given.max_in_flight >= 10);
        }
        // With few connections there are more for attempts.
        let mut given = config(16, 1_024);
        fit(&mut given, Some(1_024)).unwrap();
        assert_eq!((given.max_connections, given.max_in_flight), (16, 344));
    }

    #[test]
    fn even_the_smallest_limit_leaves_something() {
        let mut given = config(1_024, 1_024);
        fit(&mut given, Some(3)).unwrap();
        assert_eq!((given.max_connections, given.max_in_flight), (1, 1));
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        assert_eq!(raise(), getrlimit(Resource::Nofile).maximum);
    }
}
