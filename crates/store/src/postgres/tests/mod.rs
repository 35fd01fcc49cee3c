//! Sessions with a real server.

mod accept;
mod contested;
mod every_plan;
mod guarded;
mod inspections;
mod leases;
mod lost;
mod migrations;
mod notifications;
mod opening;
mod plans;
mod poolers;
mod proxy;
mod sessions;
mod settings;
mod settle;
mod store_database;
mod support;
mod tls;
