//! The API for administrators: tenants, their shows, tokens and people, users, and portal links. It
//! names no dialect: what is particular to one comes from its value.

mod answer;
mod api;
mod body;
mod context;
mod events;
mod page;
mod portal_links;
mod roles;
mod routes;
mod tenants;
mod tokens;
mod users;

pub(crate) use api::api;
