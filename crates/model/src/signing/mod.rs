//! Signing: how a receiver can verify that a call comes from here. Profiles are ways to sign that
//! receivers know; a secret is theirs and ours; a keyring has the master keys that seal secrets.
//!
//! Nothing here prints a secret: neither `Debug` nor an error.

mod keyring;
mod profile;
mod secret;
mod signer;

pub use keyring::{Keyring, KeyringError, SEALED_BYTES, SealError, SecretOf};
pub use profile::{
    FormerKey, HeaderError, NewSignature, Profile, SealedKey, Signature, SignatureChange,
    SignatureId, StoredSignature,
};
pub use secret::{Secret, SecretError};
pub use signer::Signer;
