//! What a store must do, case by case. Every case runs on a fresh store.

#[cfg(test)]
mod ahead;
#[cfg(test)]
mod apply;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod board;
#[cfg(test)]
mod bulk_jobs;
#[cfg(test)]
mod catalog;
mod clock;
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
mod ledger;
#[cfg(test)]
mod log;
#[cfg(test)]
mod match_explanations;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod once;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod people;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod prune;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod settle;
#[cfg(test)]
mod standings;
#[cfg(test)]
mod unattempted;
#[cfg(test)]
mod wal_sync;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod whole;
