//! Settings of a tenant: tokens, people, retention, and the audit log. The role *look* sees them,
//! the role *administer* changes them.

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
