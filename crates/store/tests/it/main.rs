//! What a store must do, case by case. Every case runs on a new store.

#[cfg(test)]
mod apply;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod bulk_jobs;
#[cfg(test)]
mod catalog;
mod clock;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod executor;
#[cfg(test)]
mod fan_out;
#[cfg(test)]
mod files;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod history;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod integrity;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod log;
#[cfg(test)]
mod match_explanations;
#[cfg(test)]
mod moved_files;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod prune;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod settle;
#[cfg(test)]
mod unattempted;
#[cfg(test)]
mod users;
#[cfg(test)]
mod wal_sync;
#[cfg(test)]
mod webhook_health;
#[cfg(test)]
mod webhooks;
