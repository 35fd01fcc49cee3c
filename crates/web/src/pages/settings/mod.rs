//! Settings of a tenant: tokens, people, how long the log is kept, and the audit log. Whoever may
//! look sees them; whoever may administer changes them.

mod access;
mod audit;
mod retention;
mod show;
mod tokens;
mod told;

use super::page::Page;

pub(super) fn places() -> Vec<Page> {
    let tables = [
        show::places(),
        tokens::places(),
        access::places(),
        retention::places(),
        audit::places(),
    ];
    tables.into_iter().flatten().collect()
}
