//! Secrets of a webhook: its signatures, its own headers, its certificates, and what its URL marks.
//! The role *look* sees which there are, the role *edit* changes them. A secret is shown once, if
//! it was made here.

mod headers;
mod show;
mod signatures;
mod tls;

use super::page::PageRoute;

pub(super) fn routes() -> Vec<PageRoute> {
    let tables = [
        show::routes(),
        signatures::routes(),
        headers::routes(),
        tls::routes(),
    ];
    tables.into_iter().flatten().collect()
}
