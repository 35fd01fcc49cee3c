//! The real binary on real sockets: what a user sees, what survives a kill, name lookups, HTTP over
//! a socket, users, the receivers of the guide; and the properties of the source tree.

#[cfg(test)]
mod administrators;
#[cfg(test)]
mod alerts;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod call_limits;
#[cfg(test)]
mod cloud_events;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod crowds;
#[cfg(test)]
mod database;
#[cfg(test)]
mod database_refusals;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod front;
#[cfg(test)]
mod full;
#[cfg(test)]
mod handshakes;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod listen_socket;
#[cfg(test)]
mod live;
#[cfg(test)]
mod log_lines;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod names;
#[cfg(test)]
mod once;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod openticket;
#[cfg(test)]
#[path = "../../../store/tests/it/postgres_server.rs"]
mod postgres_server;
mod process;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod receivers;
#[cfg(test)]
mod shells;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod smoke;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod upgrades;
#[cfg(test)]
mod users;
