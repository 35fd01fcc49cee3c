//! What a store must do, case by case. Every case runs on a new store, and every case of the
//! contract on both engines.

#[path = "contract/mod.rs"]
#[cfg(test)]
mod sqlite;

#[path = "contract/mod.rs"]
#[expect(
    clippy::duplicate_mod,
    reason = "the same cases on the other engine, which the harness tells by its path"
)]
#[cfg(test)]
mod postgres;

#[cfg(test)]
mod postgres_server;

#[cfg(test)]
mod databases;

#[cfg(test)]
mod backup;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod executor;
#[cfg(test)]
mod files;
#[cfg(test)]
mod house;
#[cfg(test)]
mod inline;
#[cfg(test)]
mod integrity;
#[cfg(test)]
mod interview;
#[cfg(test)]
mod lease_hints;
#[cfg(test)]
mod moved_files;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod server_restarts;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod unlisted;
#[cfg(test)]
mod untold;
#[cfg(test)]
mod wal_sync;
