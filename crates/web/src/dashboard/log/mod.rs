//! The log: the deliveries of a tenant or a webhook, the page of each, and replaying or stopping
//! one, some or all of them, followed live. Bodies and headers from outside are text, whatever is
//! in them.

mod act;
mod attempt;
mod bulk_job;
mod curl;
mod delivery;
mod download;
mod export;
mod filter;
mod follow;
mod list;
mod names;
mod plan;
mod replay;
mod row;

use super::page::PageRoute;

pub(super) fn routes() -> Vec<PageRoute> {
    [
        list::routes(),
        delivery::routes(),
        download::routes(),
        export::routes(),
        act::routes(),
        bulk_job::routes(),
        replay::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
