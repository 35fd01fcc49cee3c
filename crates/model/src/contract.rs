//! The contract: what a store must do, in one trait for each kind of question.
//!
//! | trait | who asks | what for |
//! |---|---|---|
//! | [`Intake`] | any node | taking in: notifications, replays, cancellations, idempotency keys |
//! | [`Catalog`] | any node | configuration and the log |
//! | [`UserStore`] | any node | users, their sessions and roles |
//! | [`DashboardStore`] | any node | what the dashboard shows beside that |
//! | [`AlertStore`] | any node | incidents, and who was told of them |
//! | [`Leases`] | whoever sends | becoming and staying the owner of slots |
//! | [`Outbox`] | the owner of slots | what its webhooks are owed, and what became of it |
//!
//! [`Frontend`] is what any node may ask, and all that `web` is given. [`Backend`] is what the
//! owner of slots may ask, and all that `engine` is given. [`Store`] is both, for whoever puts them
//! together. A store tells the owner what it took on through a [`CommitSubscriber`].
//!
//! # Rules of every question
//!
//! - `now` and `at` are arguments: a store asks for no time. What is due when, until when a webhook
//!   is paused, and `now` of [`Outbox::due`] are times of the schedule, here and in
//!   [`CommitSubscriber`]; all else is wall time.
//! - The work goes on even if nobody waits for the answer. A change is durable when it is answered.
//! - A question about a tenant's things names the tenant, so that none is answered across tenants.
//! - Bounds of batches and steps are in [`limits`](crate::limits).
//! - Each method says which errors it answers with, by the sets at [`StoreError`].
//!
//! # Ids and time
//!
//! The store hands out the ids of notifications. It guarantees that whoever has seen a notification
//! (in an answer, in a page, by a [`CommitSubscriber`]) never sees one with a smaller id appear
//! later. Cursors of the log, of live pages, of bulk jobs and of [`NotificationQuery`] rest on
//! that. It does not guarantee that ids rise with the time of acceptance: what asks for a time
//! (`since`, `until`, `before`) means the time.
//!
//! A store with one writer has this for nothing. Another has to see to it: ids that are handed out
//! in the order of commits, or pages that end before the oldest transaction that still runs.
//!
//! [`NotificationQuery`]: crate::dashboard::NotificationQuery

mod alerts;
mod catalog;
mod dashboard;
mod error;
mod intake;
mod leases;
mod outbox;
mod users;

pub use alerts::{AlertStore, WatchRecord};
pub use catalog::{Catalog, SealedId, SealedSecret};
pub use dashboard::DashboardStore;
pub use error::{Conflict, StoreError, StoreFuture};
pub use intake::Intake;
pub use leases::Leases;
pub use outbox::{
    Backlog, BacklogCursor, CommitSubscriber, DueCursor, DuePage, DueQuery, Outbox, PendingWebhook,
    RecoveryPage, RecoveryQuery, Settlement, WebhookTarget,
};
pub use users::UserStore;

pub use crate::disk_fault::DiskFault;
pub use crate::replay::{ReplayFilter, ReplayRequest, ReplayResult, ReplayScope};

/// What any node may ask.
pub trait Frontend: Intake + Catalog + UserStore + DashboardStore + AlertStore {
    /// Answers once a change could be made durable, with a sentence for each thing that is worth
    /// knowing of the disk.
    ///
    /// Errors: those of a read; `Disk` whenever nothing can be written.
    fn ping(&self) -> StoreFuture<Vec<String>>;

    /// What is wrong below the store, if it knows more than the error of a call says: since when,
    /// in whose words, and what to do, in sentences for the operator. Does not wait.
    fn trouble(&self) -> Option<String>;
}

/// What whoever sends may ask.
pub trait Backend: Leases + Outbox {}

impl<T: Leases + Outbox + ?Sized> Backend for T {}

/// All of it, for whoever opens a store, hands out its parts, and closes it.
pub trait Store: Frontend + Backend {
    /// Takes nothing more, finishes what was taken, closes every file.
    ///
    /// Errors: `Disk`, `Broken`.
    fn close(&self) -> StoreFuture<()>;

    /// Answers once the store has ended by itself, after which it answers [`StoreError::Ended`] to
    /// everything. Never answers while the store lives, nor after it was closed.
    ///
    /// Errors: none.
    fn ended(&self) -> StoreFuture<()>;
}
