//! The dashboard: pages that the binary serves to people. Each file has a table of its own pages;
//! this one puts the tables together.
//!
//! Everything works without the script; what is live or convenient is added by it. No page names
//! a dialect: what is peculiar to one comes from its value (`Dialect::board`).

mod assets;
mod layout;
mod live;
mod log;
mod page;
mod serve;
mod session;
mod shown;
mod sign_in;
mod trouble;
mod view;
mod visit;

pub(crate) use live::Seats;
use page::Page;
pub(crate) use serve::{Pages, is_for_pages, serve};

/// The table of all pages.
fn places() -> Vec<Page> {
    [assets::places(), log::places(), sign_in::places()]
        .into_iter()
        .flatten()
        .collect()
}
