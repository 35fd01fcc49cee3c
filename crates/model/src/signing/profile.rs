//! A profile is a way to sign; a signature is a profile that a webhook has, with its keys as they
//! are stored.

use bytes::Bytes;

use crate::id::{TenantId, WebhookId};
use crate::named::named;
use crate::time::Timestamp;

/// A way to sign that receivers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Standard Webhooks `v1`: HMAC-SHA256.
    Standard,
    /// Standard Webhooks `v1a`: Ed25519, in the same header.
    StandardEd25519,
    /// `sha256=…` over the body.
    Github,
    /// `t=…,v1=…` over time and body.
    Stripe,
    /// HTTP Message Signatures (RFC 9421) with a digest of the body (RFC 9530), by algorithm.
    Rfc9421Ed25519,
    Rfc9421EcdsaP256Sha256,
    Rfc9421HmacSha256,
}

named!(
    Profile {
        Standard = "standard",
        StandardEd25519 = "standard_ed25519",
        Github = "github",
        Stripe = "stripe",
        Rfc9421Ed25519 = "rfc9421_ed25519",
        Rfc9421EcdsaP256Sha256 = "rfc9421_ecdsa_p256_sha256",
        Rfc9421HmacSha256 = "rfc9421_hmac_sha256",
    }
);

/// Which signature of which webhook: a webhook has each profile once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignatureId {
    pub tenant: TenantId,
    pub webhook: WebhookId,
    pub profile: Profile,
}

/// A profile that a webhook has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub profile: Profile,
    /// The header that it goes into, if not the profile's own.
    pub header: Option<String>,
    /// Standard Webhooks under the names that Svix gave them, too.
    pub svix: bool,
    /// The name under which its public keys are published. Nobody guesses it.
    pub key_set: Option<String>,
    pub key: SealedKey,
    /// The key that `key` follows.
    pub former: Option<FormerKey>,
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    pub sealed: Bytes,
    /// What a receiver verifies with, where that is no secret.
    pub public: Option<String>,
    pub made_at: Timestamp,
}

/// A key that another one follows. Where a header has room for two signatures both sign until
/// then; elsewhere this one signs until then, and the other from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerKey {
    pub key: SealedKey,
    pub until: Timestamp,
    /// When the latest call ended that it signed, as far as is known.
    pub used_at: Option<Timestamp>,
}

/// A signature with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSignature {
    pub tenant: TenantId,
    pub webhook: WebhookId,
    pub signature: Signature,
}

/// A signature as it is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSignature {
    pub header: Option<String>,
    pub svix: bool,
    pub key_set: Option<String>,
    pub key: SealedKey,
}

/// What is to become of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureChange {
    Add(NewSignature),
    /// Another key follows; its predecessor is the former one until then.
    Rotate {
        key: SealedKey,
        until: Timestamp,
    },
    /// The former key ends now.
    EndFormer,
    Remove,
}

/// Why a header cannot have a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("a header's name is 1 to 100 letters, digits and -")]
    NoName,
    #[error("this header is not for signatures: its meaning is fixed")]
    Reserved,
    #[error("the headers of this profile have fixed names")]
    Fixed,
}

/// Headers that mean something to HTTP, or are another profile's.
const RESERVED: [&str; 24] = [
    "accept",
    "accept-encoding",
    "authorization",
    "cache-control",
    "connection",
    "content-digest",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "signature",
    "signature-input",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
];

const RESERVED_BEGINNINGS: [&str; 3] = ["proxy-", "svix-", "webhook-"];

const HEADER_BYTES_MAX: usize = 100;

impl Profile {
    /// The header that it goes into.
    pub fn header(self) -> &'static str {
        match self {
            Self::Standard | Self::StandardEd25519 => "Webhook-Signature",
            Self::Github => "X-Hub-Signature-256",
            Self::Stripe => "Stripe-Signature",
            Self::Rfc9421Ed25519 | Self::Rfc9421EcdsaP256Sha256 | Self::Rfc9421HmacSha256 => {
                "Signature"
            }
        }
    }

    /// Whether a call can have signatures of two keys.
    pub fn has_overlap(self) -> bool {
        match self {
            Self::Standard | Self::StandardEd25519 | Self::Stripe => true,
            // Two of three libraries refuse two signatures on a message, though they know both
            // keys.
            Self::Rfc9421Ed25519 | Self::Rfc9421EcdsaP256Sha256 | Self::Rfc9421HmacSha256 => false,
            Self::Github => false,
        }
    }

    pub fn is_standard(self) -> bool {
        match self {
            Self::Standard | Self::StandardEd25519 => true,
            Self::Github
            | Self::Stripe
            | Self::Rfc9421Ed25519
            | Self::Rfc9421EcdsaP256Sha256
            | Self::Rfc9421HmacSha256 => false,
        }
    }

    pub fn is_rfc9421(self) -> bool {
        match self {
            Self::Rfc9421Ed25519 | Self::Rfc9421EcdsaP256Sha256 | Self::Rfc9421HmacSha256 => true,
            Self::Standard | Self::StandardEd25519 | Self::Github | Self::Stripe => false,
        }
    }

    /// Whether a webhook with `self` can't have `other` as well: each once, and one of RFC 9421.
    pub fn excludes(self, other: Self) -> bool {
        self == other || self.is_rfc9421() && other.is_rfc9421()
    }

    /// Whether receivers verify with a public key.
    pub fn has_key_pair(self) -> bool {
        match self {
            Self::StandardEd25519 | Self::Rfc9421Ed25519 | Self::Rfc9421EcdsaP256Sha256 => true,
            Self::Standard | Self::Github | Self::Stripe | Self::Rfc9421HmacSha256 => false,
        }
    }

    /// Judges the name of a header that a signature is to go into.
    pub fn check_header(self, name: &str) -> Result<(), HeaderError> {
        if self.is_standard() || self.is_rfc9421() {
            return Err(HeaderError::Fixed);
        }
        let letters = name
            .bytes()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == b'-');
        if name.is_empty() || name.len() > HEADER_BYTES_MAX || !letters {
            return Err(HeaderError::NoName);
        }
        let name = name.to_ascii_lowercase();
        let begins = |beginning: &&str| name.starts_with(*beginning);
        match RESERVED.contains(&&*name) || RESERVED_BEGINNINGS.iter().any(begins) {
            true => Err(HeaderError::Reserved),
            false => Ok(()),
        }
    }
}

impl Signature {
    /// The header that it goes into.
    pub fn header(&self) -> &str {
        self.header
            .as_deref()
            .unwrap_or_else(|| self.profile.header())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_goes_into_no_header_that_means_something_else() {
        let judged = |name| Profile::Github.check_header(name);
        assert_eq!(judged("X-Shop-Signature"), Ok(()));
        for name in ["Content-Length", "HOST", "Webhook-Id", "svix-id", "Proxy-X"] {
            assert_eq!(judged(name), Err(HeaderError::Reserved), "{name}");
        }
        for name in ["", "a b", "a:", "ä", "a\r\nb", &"a".repeat(101)] {
            assert_eq!(judged(name), Err(HeaderError::NoName), "{name:?}");
        }
        let standard = Profile::Standard.check_header("X-Other");
        assert_eq!(standard, Err(HeaderError::Fixed));
    }
}
