//! The dashboard: pages that the binary serves to people. Each file has a table of its own pages;
//! this one puts the tables together.
//!
//! Everything works without the script; what is live or convenient is added by it. No page names
//! a dialect: what is peculiar to one comes from its value (`Dialect::board`).

mod assets;
mod editing;
mod faults;
mod health;
mod layout;
mod live;
mod log;
mod notifications;
mod overview;
mod page;
mod paged;
mod serve;
mod session;
mod settings;
mod shown;
mod sign_in;
mod tenants;
mod text;
mod trial;
mod trouble;
mod users;
mod view;
mod visit;
mod webhook;
mod why;
mod yourself;

pub(crate) use live::Seats;
use page::Page;
pub(crate) use serve::{Pages, is_for_pages, serve};
#[cfg(test)]
pub(crate) use {page::Needs, page::Page as OnePage, session::csrf_token};

/// The table of all pages.
fn routes() -> Vec<Page> {
    let tables = [
        assets::routes(),
        sign_in::routes(),
        tenants::routes(),
        overview::routes(),
        log::routes(),
        settings::routes(),
        users::routes(),
        yourself::routes(),
        // Before the page of one webhook, whose path fits theirs.
        editing::routes(),
        webhook::routes(),
        trial::routes(),
        notifications::routes(),
        why::routes(),
    ];
    tables.into_iter().flatten().collect()
}
