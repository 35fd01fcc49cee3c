//! Signing: how a receiver can verify that a call comes from here. Profiles are ways to sign that
//! receivers know; a secret is theirs and ours; a keyring has the master keys that seal secrets.
//!
//! Nothing here prints a secret: neither `Debug` nor an error.

mod jwk;
mod key_set;
mod keyring;
mod message;
mod profile;
mod secret;
mod signer;

pub use key_set::{key_set, key_set_name};
pub use keyring::{Keyring, KeyringError, SEALED_BYTES, SealError, SecretOf};
pub use message::RequestTarget;
pub use profile::{
    FormerKey, HeaderError, NewSignature, Profile, SealedKey, Signature, SignatureChange,
    SignatureId, StoredSignature,
};
pub use secret::{Secret, SecretError};
pub use signer::Signer;
