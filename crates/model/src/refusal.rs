//! Refusal: why a request is turned down, and which field is at fault.
//!
//! Knows nothing of HTTP: each dialect renders a refusal in its own words and status (`refuse.rs`
//! beside it).

use crate::disk_fault::DiskFault;

/// Why a request is turned down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody is known to be asking.
    Unauthenticated(AuthFailure),
    /// Who is asking may not do this, or not here, or here is nowhere.
    Forbidden,
    /// There is no such place.
    NoSuchRoute,
    /// There is such a kind of thing, but not this one.
    NoSuchObject,
    /// The object's name cannot be one.
    NotAName,
    /// There is no such page of a list.
    NoSuchPage,
    /// The name of the method that this place does not have.
    NoSuchMethod(String),
    /// None of the forms that the caller accepts can be made.
    NotAcceptable,
    /// The body's form, by its name, cannot be read.
    UnknownForm(String),
    /// The body is not what its form says, in the words of whoever read it.
    Unreadable(String),
    /// Fields and what is wrong with each, in the order of the resource.
    Invalid(Vec<Fault>),
    /// Parameters of the query that are not known here or given twice.
    Parameters(Vec<Fault>),
    /// A request that cannot be meant: what, and what to do.
    BadRequest(String),
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body did not arrive in time.
    TooSlow,
    /// What is asked contradicts what is: how.
    Contradiction(String),
    /// The idempotency key stands for another request.
    KeyReused,
    /// The request with this idempotency key is still running.
    KeyRunning,
    /// No room or no time now; nothing was taken on. Seconds after which to ask again.
    Busy(u32),
    /// The disk below the store does not do; nothing was taken on. Seconds after which to ask
    /// again.
    Disk(DiskFault, u32),
    /// We are wrong. The log has the cause, the caller gets none of it.
    Internal,
}

/// One field that is wrong. An empty name is the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub field: String,
    pub reasons: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthFailure {
    /// No credentials, or of a kind that is not understood here.
    Missing,
    /// The scheme is there, the token is not.
    NoToken,
    /// The token has spaces in it.
    Spaces,
    /// No such token.
    Unknown,
    /// The token is switched off.
    Inactive,
    /// The device's access was taken away.
    Revoked,
}

impl Refusal {
    pub fn invalid(field: &str, reason: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(field, reason)])
    }

    pub fn bad_request(words: impl Into<String>) -> Self {
        Self::BadRequest(words.into())
    }
}

impl Fault {
    pub fn new(field: &str, reason: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            reasons: vec![reason.into()],
        }
    }
}
