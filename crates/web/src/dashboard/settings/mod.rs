//! Settings of a tenant: tokens, people, how long the log is kept, and the audit log. Whoever may
//! look sees them; whoever may administer changes them.

mod access;
mod audit;
mod audit_text;
mod retention;
mod show;
mod tokens;

use super::page::PageRoute;

pub(super) fn routes() -> Vec<PageRoute> {
    let tables = [
        show::routes(),
        tokens::routes(),
        access::routes(),
        retention::routes(),
        audit::routes(),
    ];
    tables.into_iter().flatten().collect()
}
