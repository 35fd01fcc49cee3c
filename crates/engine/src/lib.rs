//! Decides what is sent when, sends it, and has the outcome written down.

mod caller;
mod dial;
mod line;
mod pool;
mod request;
mod tasks;
mod tls;

pub use dial::{Dial, Dialled, Limit, NetDial, Place, Stream};
pub use tasks::Boxed;
pub use tls::{BadRoots, TlsRoots, tls_config};
