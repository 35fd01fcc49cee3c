//! The scopes in which this dialect's notifications happen.

/// The scope of notifications that are about no event in particular.
pub(super) const ORGANIZER_SCOPE: &str = "organizer";

pub(super) fn event_scope(slug: &str) -> String {
    ["event:", slug].concat()
}
