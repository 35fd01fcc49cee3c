//! Settings of a tenant: tokens, people, how long the log is kept, and the audit log. Whoever may
//! look sees them; whoever may administer changes them.

mod access;
mod audit;
mod retention;
mod show;
mod tokens;
mod told;

use super::page::Page;

pub(super) fn routes() -> Vec<Page> {
    let tables = [
        show::routes(),
        tokens::routes(),
        access::routes(),
        retention::routes(),
        audit::routes(),
    ];
    tables.into_iter().flatten().collect()
}
