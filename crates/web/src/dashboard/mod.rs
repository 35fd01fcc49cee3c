//! The dashboard: the pages that the binary serves to people. Each file has a table of its own
//! pages; this one joins the tables.
//!
//! Everything works without the script, which only adds convenience and live updates. No page names
//! a dialect: what differs comes from its value (`Dialect::dashboard`).

mod alerts;
mod assets;
pub mod brand;
mod calls;
mod calls_view;
mod charts;
mod error_page;
mod explanation;
mod failing;
mod faults;
mod frames;
mod health;
mod layout;
mod live;
mod log;
mod notifications;
mod overview;
mod page;
mod page_context;
mod paged;
mod pause;
mod profile;
mod response;
mod secrets;
mod send_test;
mod serve;
mod session;
mod settings;
mod sign_in;
mod stream_slots;
mod tenants;
mod text;
mod users;
mod view;
mod visit;
mod webhook;
mod webhook_form;

pub use frames::FrameAncestors;
pub(crate) use page::PageRoute;
pub use page_context::DispatchLookup;
pub(crate) use page_context::PageContext;
pub(crate) use serve::{Dashboard, is_for_pages, serve};
#[cfg(test)]
pub(crate) use {page::PageAccess, serve::Pages, session::csrf_token};

/// The table of all pages.
fn routes() -> Vec<PageRoute> {
    let tables = [
        assets::routes(),
        alerts::routes(),
        sign_in::routes(),
        tenants::routes(),
        overview::routes(),
        log::routes(),
        charts::routes(),
        settings::routes(),
        users::routes(),
        profile::routes(),
        // Before the page of one webhook, whose path fits theirs.
        webhook_form::routes(),
        webhook::routes(),
        secrets::routes(),
        calls::routes(),
        pause::routes(),
        send_test::routes(),
        notifications::routes(),
        explanation::routes(),
        failing::routes(),
    ];
    tables.into_iter().flatten().collect()
}
