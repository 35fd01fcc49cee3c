//! The threads that tasks run on: as many as processors, and on request each on one of its own.
//!
//! Who sends something to a socket of the same machine wakes its reader onto the own processor:
//! the system believes that the sender is about to sleep. Ours is not, so the reader waits while
//! another processor is idle. Threads that stay where they are do not meet this.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// A runtime whose threads stay on processors of their own, if that is asked for and there are as
/// many of both: with fewer threads several programs would choose the same few processors.
pub(crate) fn runtime(own_processors: bool) -> Result<Runtime> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = Builder::new_multi_thread();
    builder.enable_all();
    let processors = allowed();
    if !own_processors || processors.len() != count || count < 2 {
        return build(&mut builder);
    }
    builder.worker_threads(count);
    // Later ones are for what blocks, and take from the same queue in which those for tasks find
    // that they are. So that none overtakes them, all of these have nothing to do before anything
    // is: a thread rests only once it knows what it is for.
    let (started, all_rest) = (AtomicUsize::new(0), Arc::new(Barrier::new(count + 1)));
    builder.on_thread_start(move || {
        let index = started.fetch_add(1, Ordering::Relaxed);
        match processors.get(index) {
            Some(processor) => stay_on(&[*processor]),
            // It would stay with the thread that started it.
            None => stay_on(&processors),
        }
    });
    let barrier = Arc::clone(&all_rest);
    builder.on_thread_park(move || {
        if !HAS_RESTED.replace(true) {
            barrier.wait();
        }
    });
    let runtime = build(&mut builder)?;
    all_rest.wait();
    Ok(runtime)
}

thread_local! {
    static HAS_RESTED: Cell<bool> = const { Cell::new(false) };
}

fn build(builder: &mut Builder) -> Result<Runtime> {
    builder
        .build()
        .context("the operating system gives no threads")
}

/// The processors that this process may use, as far as the system says.
#[cfg(target_os = "linux")]
fn allowed() -> Vec<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let allowed = sched_getaffinity(None);
    let all = 0..CpuSet::MAX_CPU;
    allowed.map_or(Vec::new(), |set| {
        all.filter(|processor| set.is_set(*processor)).collect()
    })
}

#[cfg(not(target_os = "linux"))]
fn allowed() -> Vec<usize> {
    Vec::new()
}

/// Keeps the calling thread on these processors; where that is forbidden it goes where it is sent.
#[cfg(target_os = "linux")]
fn stay_on(processors: &[usize]) {
    let mut set = rustix::thread::CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::debug!(%error, "a thread cannot stay on its processors");
    }
}

#[cfg(not(target_os = "linux"))]
fn stay_on(_processors: &[usize]) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::{Mutex, PoisonError};
    use std::thread::ThreadId;

    use super::*;

    /// The processors that each thread of a runtime may use.
    fn of_threads(runtime: &Runtime) -> Vec<Vec<usize>> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let look = || {
            let seen = Arc::clone(&seen);
            runtime.spawn(async move {
                while note(&seen) < count {
                    tokio::task::yield_now().await;
                }
            })
        };
        let looking: Vec<_> = (0..2 * count).map(|_| look()).collect();
        for look in looking {
            runtime.block_on(look).ok();
        }
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = seen.iter().map(|(_, allowed)| allowed.clone()).collect();
        found.sort();
        found
    }

    /// Notes what the calling thread may use, and answers how many have.
    fn note(seen: &Mutex<Vec<(ThreadId, Vec<usize>)>>) -> usize {
        let own = std::thread::current().id();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.iter().any(|(thread, _)| *thread == own) {
            seen.push((own, allowed()));
        }
        seen.len()
    }

    #[test]
    fn each_thread_stays_on_a_processor_of_its_own_unless_that_is_not_wanted() {
        let all = allowed();
        let own: Vec<_> = all.iter().map(|processor| vec![*processor]).collect();
        let shared = vec![all.clone(); all.len()];
        let is_one_each = std::thread::available_parallelism().unwrap().get() == all.len();
        let wanted = if is_one_each && all.len() > 1 {
            own
        } else {
            shared.clone()
        };
        assert_eq!(of_threads(&runtime(true).unwrap()), wanted);
        assert_eq!(of_threads(&runtime(false).unwrap()), shared);
    }

    #[test]
    fn a_thread_for_what_blocks_may_go_anywhere() {
        let processors = |status: &[u8]| {
            let status = str::from_utf8(status).unwrap();
            let mut lines = status.lines();
            lines
                .find(|line| line.starts_with("Cpus_allowed:"))
                .unwrap()
                .to_owned()
        };
        // Read by a thread that one of those for tasks has started.
        let status = "/proc/thread-self/status";
        let runtime = runtime(true).unwrap();
        let asked = runtime.spawn(tokio::fs::read(status));
        let found = runtime.block_on(asked).unwrap().unwrap();
        let own = std::fs::read(status).unwrap();
        assert_eq!(processors(&found), processors(&own));
    }
}
