//! The one list of dialects. None of them imports another, and nobody else names one.

mod alerts;
mod openticket;
mod pretix;

pub use crate::dialect::apply_file::conflict_words;
pub use crate::dialect::demo::{Demo, DemoCall, ReceiverBehavior, WebhookRef};
pub use crate::dialect::load::{Load, LoadPage, LoadTenant};
pub use crate::dialect::options::{ActionType, DialectOptions, LogRetention, Trigger};
pub use crate::dialect::section::{
    DeclarationFile, FileError, FileSecrets, GeneratedToken, KnownEvents, SecretPlace,
};
pub use crate::dialect::value::Dialects;

/// Every dialect there is.
pub fn all(options: &DialectOptions) -> Dialects {
    let all = vec![
        pretix::dialect(options),
        openticket::dialect(options),
        alerts::dialect(options),
    ];
    Dialects::new(all, options.retention.clone(), options.bounds.clone())
}
