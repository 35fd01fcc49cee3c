//! The words and rules of Willcall: what a webhook sender keeps, and how it decides.
//!
//! Every other crate uses this one, and this one uses none of them. Nothing here awaits, opens a
//! file or socket, or asks for the time: what a rule needs is handed to it. Only the store that
//! nodes of a test share waits, for the one behind it.
//!
//! # The life of a delivery
//!
//! 1. An application hands in a [`NewNotification`](notification::NewNotification): the exact bytes
//!    to be sent, and the [`MatchKey`](filter::MatchKey)s that it stands for. Handed in again under
//!    the same key it is a duplicate or a conflict
//!    ([`AcceptResult`](notification::AcceptResult)).
//! 2. The store accepts it ([`Intake::accept`](contract::Intake::accept)): it writes the
//!    notification down with one [`Delivery`](delivery::Delivery) for each enabled
//!    [`Webhook`](webhook::Webhook) whose [`Filter`](filter::Filter) has one of these keys, and
//!    tells the engine ([`CommitSubscriber`](contract::CommitSubscriber)).
//! 3. The engine makes an [`Attempt`](attempt::Attempt), one HTTP exchange with the
//!    [`Target`](target::Target) of the webhook. What came of it is an
//!    [`Outcome`](attempt::Outcome), whatever the receiver did.
//! 4. [`Delivery::transition`](delivery::Delivery::transition) makes the
//!    [`NextState`](delivery::NextState) of it: delivered after 2xx, else pending until the time
//!    that the [`schedule`] and [`retry_after`] give, failed when the schedule is at its end, or
//!    cancelled after 410 where the [`Policy`](policy::Policy) of the dialect says so.
//! 5. The engine has attempt and state written down
//!    ([`Outbox::settle`](contract::Outbox::settle)). A pending delivery comes back from
//!    [`Outbox::due`](contract::Outbox::due) when it is due, or before that once its receiver has
//!    recovered from an outage.
//! 6. What has ended stays in the log for the retention time of its tenant. A
//!    [`ReplayRequest`](replay::ReplayRequest) begins another round, with the whole schedule before
//!    it.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | what a store must do | [`contract`], with its shapes in [`query`], [`dashboard`], [`replay`] |
//! | who sends, if several nodes share a store | [`lease`] |
//! | states, and what an attempt changes | [`delivery`], [`attempt`] |
//! | when it is tried again | [`schedule`], [`retry_after`], [`policy`] |
//! | who gets a notification | [`filter`], [`webhook`] |
//! | what may be called, through what | [`target`], [`address`], [`url_marks`], [`proxy`] |
//! | what is written to instead | [`mail`] |
//! | by what a receiver knows a delivery again | [`dedupe`] |
//! | how a receiver verifies a call | [`signing`] |
//! | lines that somebody gives a webhook | [`own_header`] |
//! | TLS of a webhook's own | [`webhook_tls`], [`certificate`] |
//! | secrets of an operator's file | [`declared_secrets`] |
//! | who may do what | [`tenant`] (tokens), [`users`], [`password`] |
//! | why a request is refused | [`refusal`], [`disk_fault`] |
//! | what is done once under a key | [`idempotency`] |
//! | who is told that something is wrong | [`incident`] |
//! | time and chance | [`time`], [`rng`] |
//! | bounds, also of what is logged | [`limits`], [`log_line`] |
//! | faults on purpose, for the simulator | [`mutation`] |
//! | nodes that stand still, and share an inline store, there | [`gate`], [`leased_store`] |
//!
//! `docs/words.md` has the glossary, `ARCHITECTURE.md` the other crates.

mod named;

pub mod limits;

pub mod hold;
pub mod id;
pub mod rng;
pub mod time;

pub mod notification;
pub mod password;
pub mod tenant;
pub mod users;
pub mod webhook;
pub mod webhook_tls;

pub mod filter;

pub mod attempt;
pub mod certificate;
pub mod declared_secrets;
pub mod dedupe;
pub mod delivery;
pub mod delivery_filter;
pub mod own_header;
pub mod policy;
pub mod response_filter;
pub mod retry_after;
pub mod schedule;
pub mod signing;
pub mod statistics;

pub mod address;
pub mod proxy;
pub mod target;
pub mod url_marks;

pub mod call_limits;
pub mod cloud_event;
pub mod contract;
pub mod dashboard;
pub mod disk_fault;
pub mod gate;
pub mod handshake;
pub mod idempotency;
pub mod incident;
pub mod lease;
pub mod lease_table;
pub mod leased_store;
pub mod log_line;
pub mod mail;
pub mod mutation;
pub mod query;
pub mod refusal;
pub mod replay;
pub mod wrapper;
