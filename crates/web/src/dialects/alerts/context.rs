//! What the rules of this dialect need, and how those who are told are named.

use model::tenant::DialectName;

use crate::dialect::alerts::AlertsAbout;

pub(super) const NAME: &str = "alerts";

/// The key of those who run the server.
pub(super) const SERVER: &str = "server";

/// What the rules of this dialect need.
pub(super) struct Alerts {
    /// Whether the server can send mail.
    pub(super) mail: bool,
}

pub(super) fn key(about: &AlertsAbout) -> String {
    match about {
        AlertsAbout::Server => SERVER.to_owned(),
        AlertsAbout::Tenant(dialect, key) => format!("{dialect}/{key}"),
    }
}

pub(super) fn about(key: &str) -> Option<AlertsAbout> {
    if key == SERVER {
        return Some(AlertsAbout::Server);
    }
    let (dialect, key) = key.split_once('/')?;
    let is_name = !dialect.is_empty() && dialect != NAME && !key.is_empty();
    is_name.then(|| AlertsAbout::Tenant(DialectName::new(dialect), key.to_owned()))
}
