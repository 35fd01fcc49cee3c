//! Mutation: a deliberate fault of the product, so that the simulator shows that it can fail.
//!
//! Each is one line, where somebody could really make that mistake. Without the cargo feature
//! `mutations`, which no crate of the program turns on, [`is_on`] is always false and the compiler
//! removes the lines.

use crate::named::named;

/// A deliberate fault, and the promise that it breaks:
///
/// | mutation | broken promise |
/// |---|---|
/// | `AcknowledgeBeforeCommit` | accepted is durable |
/// | `ForgetRetryOnRestart` | each delivery ends as the rules say |
/// | `DropEventWhenMailboxFull` | nothing due waits for longer than its bound |
/// | `LeakLane` | each delivery ends as the rules say |
/// | `UnknownIsWritten` | the log tells what receivers saw |
/// | `TrustOldRead` | no duplicate without a cause |
/// | `SendAfterDisable` | nothing to a disabled webhook |
/// | `CrossTenant` | nothing to another tenant's webhook |
/// | `SkipVetting` | nothing to a forbidden address |
/// | `StaleFilter` | each webhook gets what it wants, and nothing else |
/// | `StaleTarget` | each webhook gets what it wants, where it wants it |
/// | `OneTryTooMany` | no more tries than the schedule |
/// | `OneTryTooFew` | each delivery ends as the rules say |
/// | `EarlyTryCounts` | each delivery ends as the rules say |
/// | `RetryAfterSuccess` | states move only as they may |
/// | `IgnoreRetryAfter` | nothing before it is due |
/// | `CountDowntime` | nothing of the schedule is used up by downtime |
/// | `RetryByWallClock` | nothing of the schedule is used up by a wrong clock |
/// | `SettleTwice` | the log tells what receivers saw |
/// | `IgnoreRound` | states move only as they may |
/// | `OmitAttempt` | the log tells what receivers saw |
/// | `OmitStaleCall` | the log shows each call |
/// | `SkipJobPage` | what was asked for is done |
/// | `RepeatIdempotencyKey` | one idempotency key, one effect |
/// | `ForgetRevocation` | nothing comes in with a revoked token |
/// | `LostAnswerIsFailure` | one request, one notification |
/// | `PruneInDoubt` | nothing is pruned before its time |
/// | `PruneOwed` | nothing pending is pruned |
/// | `IgnoreShare` | no tenant delays another |
/// | `UnboundedFetch` | memory for what waits stays bounded |
/// | `SettleUnfenced` | a fenced write changes nothing |
/// | `RenewAfterEnd` | one owner at a time |
/// | `TrustHints` | each delivery ends as the rules say |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Some notifications are answered with "accepted" and never written.
    AcknowledgeBeforeCommit,
    /// What waits for a retry when the process ends is never looked for again.
    ForgetRetryOnRestart,
    /// A delivery that finds others in the mailbox is dropped there, not passed over.
    DropEventWhenMailboxFull,
    /// A lane whose read the store refused is never read again.
    LeakLane,
    /// Outcomes of which nobody knows whether they are written count as written.
    UnknownIsWritten,
    /// What a read brings that is older than a settlement is sent once more.
    TrustOldRead,
    /// Disabling or deleting a webhook does not stop what is pending for it.
    SendAfterDisable,
    /// Who wants a match key is remembered for all tenants together.
    CrossTenant,
    /// No address is private.
    SkipVetting,
    /// Who wanted a match key before a webhook was edited still counts.
    StaleFilter,
    /// A lane goes on with its webhook as it was before an edit.
    StaleTarget,
    /// The first wait of the schedule counts twice.
    OneTryTooMany,
    /// The first wait of the schedule is left out.
    OneTryTooFew,
    /// An attempt made early after an outage uses up a retry.
    EarlyTryCounts,
    /// Only 200 counts as a success, no other 2xx.
    RetryAfterSuccess,
    /// What a receiver asks for with `Retry-After` is not heeded.
    IgnoreRetryAfter,
    /// Time in which Willcall was off uses up the schedule.
    CountDowntime,
    /// Retries are due by the wall clock, whatever it was set to.
    RetryByWallClock,
    /// Outcomes whose answer was lost are written a second time.
    SettleTwice,
    /// An attempt that was in flight overwrites a replay or a stop.
    IgnoreRound,
    /// The log keeps only the latest attempt.
    OmitAttempt,
    /// A call on a kept connection that had ended is not in the log.
    OmitStaleCall,
    /// A bulk job leaves out a delivery between two of its steps, which are small.
    SkipJobPage,
    /// A request repeated under its idempotency key has its effect again.
    RepeatIdempotencyKey,
    /// That a token was revoked is told, and not written down.
    ForgetRevocation,
    /// A notification whose answer the store lost is handed in again under another id.
    LostAnswerIsFailure,
    /// The retention worker believes a clock that was just set.
    PruneInDoubt,
    /// The retention worker removes what is still pending.
    PruneOwed,
    /// A tenant may take the last attempt there is in flight.
    IgnoreShare,
    /// A lane reads as much as all lanes together may hold.
    UnboundedFetch,
    /// Outcomes are written under a lease that is over, too.
    SettleUnfenced,
    /// A lease that has ended is renewed as if it had not.
    RenewAfterEnd,
    /// What another node took in is learnt of by its hint, and never looked for.
    TrustHints,
}

impl Mutation {
    /// Whether one node alone cannot make this mistake.
    pub fn needs_nodes(self) -> bool {
        matches!(
            self,
            Self::SettleUnfenced | Self::RenewAfterEnd | Self::TrustHints
        )
    }
}

named! { Mutation {
    AcknowledgeBeforeCommit = "acknowledge-before-commit",
    ForgetRetryOnRestart = "forget-retry-on-restart",
    DropEventWhenMailboxFull = "drop-event-when-mailbox-full",
    LeakLane = "leak-lane",
    UnknownIsWritten = "unknown-is-written",
    TrustOldRead = "trust-old-read",
    SendAfterDisable = "send-after-disable",
    CrossTenant = "cross-tenant",
    SkipVetting = "skip-vetting",
    StaleFilter = "stale-filter",
    StaleTarget = "stale-target",
    OneTryTooMany = "one-try-too-many",
    OneTryTooFew = "one-try-too-few",
    EarlyTryCounts = "early-try-counts",
    RetryAfterSuccess = "retry-after-success",
    IgnoreRetryAfter = "ignore-retry-after",
    CountDowntime = "count-downtime",
    RetryByWallClock = "retry-by-wall-clock",
    SettleTwice = "settle-twice",
    IgnoreRound = "ignore-round",
    OmitAttempt = "omit-attempt",
    OmitStaleCall = "omit-stale-call",
    SkipJobPage = "skip-job-page",
    RepeatIdempotencyKey = "repeat-idempotency-key",
    ForgetRevocation = "forget-revocation",
    LostAnswerIsFailure = "lost-answer-is-failure",
    PruneInDoubt = "prune-in-doubt",
    PruneOwed = "prune-owed",
    IgnoreShare = "ignore-share",
    UnboundedFetch = "unbounded-fetch",
    SettleUnfenced = "settle-unfenced",
    RenewAfterEnd = "renew-after-end",
    TrustHints = "trust-hints",
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
