//! Histories: applications, people and receivers drawn from a seed, against the real binary on a
//! real file, with kills, freezes, full disks, damaged files and power failures. What was promised
//! is kept in a ledger, and held against the log and against what receivers saw.

mod client;
mod damage;
mod history;
mod ledger;
mod power;
mod receivers;
mod runs;
mod small_disk;
