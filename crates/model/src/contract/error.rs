//! The errors of the contract: what callers branch on, and nothing else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::declared_secrets::DeclaredSecretError;
use crate::disk_fault::DiskFault;
use crate::limits;

/// An answer of the store. The work goes on even if nobody waits for it.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// What callers branch on, and nothing else.
///
/// Methods name them in sets:
///
/// | set | errors | of |
/// |---|---|---|
/// | those of a read | `Busy`, `Disk`, `Ended`, `Broken` | every question |
/// | those of a change | the same, `Unknown` | whatever writes |
/// | those of an owner | the same, `Fenced` | all of `Leases` and `Outbox` |
///
/// After all but `Unknown` nothing was changed. After `Unknown` a change may be asked for again,
/// unless its method says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("{0} is taken")]
    Conflict(Conflict),
    /// The thing changed since it was read: read it again.
    #[error("changed meanwhile")]
    Stale,
    /// The tenant has as many webhooks as it may have.
    #[error(
        "a tenant may have {} webhooks, and this would be one more",
        limits::WEBHOOKS_MAX
    )]
    TooManyWebhooks,
    /// Too much is waiting already; nothing was taken on.
    #[error("too much is waiting to be written")]
    Busy,
    /// The disk does not do what it should; nothing was taken on.
    #[error("{0}")]
    Disk(DiskFault),
    /// A declared secret cannot be brought to its webhook; nothing was taken on.
    #[error("{0}")]
    Secret(DeclaredSecretError),
    /// The answer was lost after the work may have been done.
    #[error("it is not known whether it was written")]
    Unknown,
    /// The epoch is over: somebody else owns the slots. Drop them, and claim anew.
    #[error("another node owns these webhooks now")]
    Fenced,
    /// The store has ended by itself: what its disk holds is not known, only a restart finds out.
    #[error("the store has ended, and a restart finds out what its disk holds")]
    Ended,
    #[error("the store failed: {0}")]
    Broken(Arc<dyn std::error::Error + Send + Sync>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("a token of this name")]
    TokenName,
    #[error("this token")]
    TokenHash,
    #[error("the key of this webhook")]
    WebhookKey,
    #[error("a user of this name")]
    UserName,
    #[error("this profile of the webhook")]
    SignatureProfile,
    #[error("the header of another signature, or of the webhook's own")]
    SignatureHeader,
    #[error("this own header of the webhook")]
    OwnHeader,
    #[error("the header of a signature of the webhook")]
    OwnHeaderSigned,
    #[error("the last place for an own header of the webhook")]
    OwnHeaders,
    #[error("the room for own headers of the webhook")]
    OwnHeaderBytes,
    #[error("the place of a former key that still signs")]
    FormerKey,
    #[error("this idempotency key")]
    IdempotencyKey,
}

impl StoreError {
    /// Whether it may come of a part of what was asked, and the rest would be answered.
    pub fn is_of_a_part(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Disk(DiskFault::Unreadable))
    }
}
