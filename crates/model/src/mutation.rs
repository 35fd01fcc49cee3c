//! Mutation: a deliberate fault of the product, so that the simulator shows that it can fail.
//!
//! Each is one line, where somebody could really make that mistake. Without the cargo feature
//! `mutations`, which no crate of the program turns on, [`is_on`] is always false and the compiler
//! removes the lines.

use crate::named::named;

/// A deliberate fault; what each breaks is said at its variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Some notifications are answered with "accepted" and never written.
    AcknowledgeBeforeCommit,
    /// What was to be retried when the process ended is not retried.
    ForgetRetryOnRestart,
    /// A webhook that was disabled is still sent what was waiting for it.
    SendAfterDisable,
    /// A delivery is attempted once more than its schedule says.
    OneTryTooMany,
    /// A delivery is given up one attempt before its schedule ends.
    OneTryTooFew,
    /// A bulk job leaves out deliveries between two of its steps.
    SkipJobPage,
    /// Time in which Willcall was off or could not send uses up the schedule.
    CountDowntime,
    /// Retries are due by the wall clock, whatever it was set to.
    RetryByWallClock,
    /// The retention worker believes a clock that was just set.
    PruneInDoubt,
    /// An event that finds the mailbox of the engine full is dropped.
    DropEventWhenMailboxFull,
    /// A request repeated with its idempotency key has its effect again.
    RepeatIdempotencyKey,
    /// A delivery that was answered with 2xx is retried.
    RetryAfterSuccess,
    /// A lane that once stood still is never dispatched again.
    LeakLane,
    /// A tenant may have as much in flight as it likes while others wait.
    IgnoreShare,
    /// An attempt of an earlier round settles the round that a replay began.
    IgnoreRound,
    /// Outcomes are written a second time after they were settled.
    SettleTwice,
    /// The retention worker removes deliveries that are still owed.
    PruneOwed,
    /// A webhook that was edited is still matched by the filter that it had.
    StaleFilter,
    /// Webhooks of another tenant get the notification, too.
    CrossTenant,
    /// Addresses that may not be called are called.
    SkipVetting,
    /// The log leaves out attempts.
    OmitAttempt,
    /// What the receiver asked for with `Retry-After` is not heeded.
    IgnoreRetryAfter,
    /// Recovery after an outage does not end.
    EndlessRecovery,
    /// A lane reads all that it is owed into memory.
    UnboundedFetch,
}

named! { Mutation {
    AcknowledgeBeforeCommit = "acknowledge-before-commit",
    ForgetRetryOnRestart = "forget-retry-on-restart",
    SendAfterDisable = "send-after-disable",
    OneTryTooMany = "one-try-too-many",
    OneTryTooFew = "one-try-too-few",
    SkipJobPage = "skip-job-page",
    CountDowntime = "count-downtime",
    RetryByWallClock = "retry-by-wall-clock",
    PruneInDoubt = "prune-in-doubt",
    DropEventWhenMailboxFull = "drop-event-when-mailbox-full",
    RepeatIdempotencyKey = "repeat-idempotency-key",
    RetryAfterSuccess = "retry-after-success",
    LeakLane = "leak-lane",
    IgnoreShare = "ignore-share",
    IgnoreRound = "ignore-round",
    SettleTwice = "settle-twice",
    PruneOwed = "prune-owed",
    StaleFilter = "stale-filter",
    CrossTenant = "cross-tenant",
    SkipVetting = "skip-vetting",
    OmitAttempt = "omit-attempt",
    IgnoreRetryAfter = "ignore-retry-after",
    EndlessRecovery = "endless-recovery",
    UnboundedFetch = "unbounded-fetch",
} }

/// Whether the code is to make this mistake: never, without the feature `mutations`.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub const fn is_on(_mutation: Mutation) -> bool {
    false
}

/// Whether the code is to make this mistake, on this thread.
#[cfg(feature = "mutations")]
pub fn is_on(mutation: Mutation) -> bool {
    ON.get() == Some(mutation)
}

/// Turns one mutation on and all others off, on this thread; `None` turns all off.
#[cfg(feature = "mutations")]
pub fn set(mutation: Option<Mutation>) {
    ON.set(mutation);
}

#[cfg(feature = "mutations")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mutation_is_on_unless_one_is_set() {
        for mutation in Mutation::ALL {
            assert!(!is_on(mutation), "{}", mutation.as_str());
            assert_eq!(mutation.as_str().parse(), Ok(mutation));
        }
    }
}
