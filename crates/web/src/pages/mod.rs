//! The dashboard: pages that the binary serves to people. Each file has a table of its own pages;
//! this one puts the tables together.
//!
//! Everything works without the script; what is live or convenient is added by it. No page names
//! a dialect: what is peculiar to one comes from its value (`Dialect::board`).

mod assets;
mod editing;
mod layout;
mod page;
mod serve;
mod session;
mod shown;
mod sign_in;
mod standing;
mod trouble;
mod view;
mod visit;
mod webhook;

use page::Page;
pub(crate) use serve::{Pages, is_for_pages, serve};

/// The table of all pages.
fn places() -> Vec<Page> {
    [
        assets::places(),
        sign_in::places(),
        // Before the page of one webhook, whose path fits theirs.
        editing::places(),
        webhook::places(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
