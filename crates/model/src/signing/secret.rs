//! A secret as its receiver has it: made here, or brought by whoever has one already.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

use crate::rng::SeededRng;
use crate::signing::jwk;
use crate::signing::profile::Profile;

/// In front of the secret of an HMAC, of a private key, of a public key.
const HMAC_PREFIX: &str = "whsec_";
const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// Of a secret that is made here. Divisible by 3, so that its text needs no padding: what
/// receivers' libraries make of a missing one differs.
const HMAC_BYTES: usize = 33;

/// What Standard Webhooks asks for.
const HMAC_BYTES_MIN: usize = 24;
const HMAC_BYTES_MAX: usize = 64;

/// Of a secret that is a text as it stands.
const TEXT_BYTES_MIN: usize = 16;
const TEXT_BYTES_MAX: usize = 200;

const SEED_BYTES: usize = 32;

/// Prints as nothing; `text` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a text is no secret. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("it has to begin with whsec_")]
    Prefix,
    #[error(
        "- and _ are of URL-safe base64, which some libraries read as another key: use + and /"
    )]
    UrlSafe,
    #[error("behind whsec_ it has to be base64 with its padding")]
    Base64,
    #[error("behind whsec_ it has to be 24 to 64 bytes in base64")]
    Length,
    #[error("it has to be 16 to 200 visible ASCII characters without blanks")]
    Text,
    #[error("the key pair of this profile is made by Willcall: leave the secret out")]
    MadeHere,
    #[error("it is no key of this profile")]
    Broken,
}

impl Secret {
    /// A new one.
    pub fn make(profile: Profile, rng: &mut SeededRng) -> Self {
        match profile {
            Profile::Standard | Profile::Github | Profile::Stripe | Profile::Rfc9421HmacSha256 => {
                let mut bytes = [0; HMAC_BYTES];
                rng.fill(&mut bytes);
                Self(format!("{HMAC_PREFIX}{}", BASE64_STANDARD.encode(bytes)))
            }
            Profile::StandardEd25519 | Profile::Rfc9421Ed25519 => {
                let mut seed = [0; SEED_BYTES];
                rng.fill(&mut seed);
                Self(format!("{PRIVATE_PREFIX}{}", BASE64_STANDARD.encode(seed)))
            }
            // ring makes such a key by its own source of chance only.
            Profile::Rfc9421EcdsaP256Sha256 => {
                let random = SystemRandom::new();
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                let Ok(made) = made else {
                    panic!("the operating system gives no random bytes");
                };
                Self(format!("{PRIVATE_PREFIX}{}", BASE64_STANDARD.encode(made)))
            }
        }
    }

    /// One that the receiver has already.
    pub fn brought(profile: Profile, text: &str) -> Result<Self, SecretError> {
        match profile {
            Profile::Standard | Profile::Rfc9421HmacSha256 => {
                standard_bytes(text)?;
            }
            Profile::StandardEd25519
            | Profile::Rfc9421Ed25519
            | Profile::Rfc9421EcdsaP256Sha256 => return Err(SecretError::MadeHere),
            Profile::Github | Profile::Stripe => {
                let length = (TEXT_BYTES_MIN..=TEXT_BYTES_MAX).contains(&text.len());
                if !length || !text.bytes().all(|letter| letter.is_ascii_graphic()) {
                    return Err(SecretError::Text);
                }
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of an own header, judged by then.
    pub(crate) fn of_header(value: &str) -> Self {
        Self(value.to_owned())
    }

    /// The private key of a client certificate, judged by then.
    pub(crate) fn of_client_key(pem: String) -> Self {
        Self(pem)
    }

    /// As it was stored.
    pub(super) fn stored(text: String) -> Self {
        Self(text)
    }

    /// To be shown to whoever asked for it, once, or to be sealed.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What a receiver verifies with, if that is not the secret itself: a text of Standard
    /// Webhooks, or a JWK.
    pub fn public(&self, profile: Profile) -> Option<String> {
        match profile {
            Profile::Standard | Profile::Github | Profile::Stripe | Profile::Rfc9421HmacSha256 => {
                None
            }
            Profile::StandardEd25519 => {
                let key = BASE64_STANDARD.encode(self.ed25519().ok()?.public_key());
                Some(format!("{PUBLIC_PREFIX}{key}"))
            }
            Profile::Rfc9421Ed25519 => {
                let pair = self.ed25519().ok()?;
                Some(jwk::ed25519(pair.public_key().as_ref()))
            }
            Profile::Rfc9421EcdsaP256Sha256 => {
                let pair = self.ecdsa_p256().ok()?;
                jwk::p256(pair.public_key().as_ref())
            }
        }
    }

    /// What names the key in a call, where a call names its key: the thumbprint of its JWK.
    pub fn key_id(&self, profile: Profile) -> Option<String> {
        match profile {
            Profile::Standard | Profile::StandardEd25519 | Profile::Github | Profile::Stripe => {
                None
            }
            Profile::Rfc9421Ed25519 | Profile::Rfc9421EcdsaP256Sha256 => {
                Some(jwk::thumbprint(&self.public(profile)?))
            }
            // Says no more of the key than any signature of a body that is known.
            Profile::Rfc9421HmacSha256 => {
                let key = self.hmac_bytes(profile).ok()?;
                Some(jwk::thumbprint(&jwk::symmetric(&key)))
            }
        }
    }

    /// What a secret of an HMAC stands for.
    pub(super) fn hmac_bytes(&self, profile: Profile) -> Result<Vec<u8>, SecretError> {
        match profile {
            Profile::Standard | Profile::Rfc9421HmacSha256 => standard_bytes(&self.0),
            // Both take the text as it stands, with its prefix.
            Profile::Github | Profile::Stripe => Ok(self.0.clone().into_bytes()),
            Profile::StandardEd25519
            | Profile::Rfc9421Ed25519
            | Profile::Rfc9421EcdsaP256Sha256 => Err(SecretError::Broken),
        }
    }

    pub(super) fn ed25519(&self) -> Result<Ed25519KeyPair, SecretError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.private()?);
        pair.map_err(|_| SecretError::Broken)
    }

    pub(super) fn ecdsa_p256(&self) -> Result<EcdsaKeyPair, SecretError> {
        let way = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(way, &self.private()?);
        pair.map_err(|_| SecretError::Broken)
    }

    fn private(&self) -> Result<Vec<u8>, SecretError> {
        let text = self.0.strip_prefix(PRIVATE_PREFIX);
        let bytes = text.and_then(|text| BASE64_STANDARD.decode(text).ok());
        bytes.ok_or(SecretError::Broken)
    }
}

/// The bytes of a public key of Standard Webhooks.
pub(super) fn standard_public(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix(PUBLIC_PREFIX)?;
    BASE64_STANDARD.decode(text).ok()
}

fn standard_bytes(text: &str) -> Result<Vec<u8>, SecretError> {
    let text = text.strip_prefix(HMAC_PREFIX).ok_or(SecretError::Prefix)?;
    let Ok(bytes) = BASE64_STANDARD.decode(text) else {
        let is_url_safe = text.contains(['-', '_']) && BASE64_URL_SAFE.decode(padded(text)).is_ok();
        return Err(match is_url_safe {
            true => SecretError::UrlSafe,
            false => SecretError::Base64,
        });
    };
    match (HMAC_BYTES_MIN..=HMAC_BYTES_MAX).contains(&bytes.len()) {
        true => Ok(bytes),
        false => Err(SecretError::Length),
    }
}

fn padded(text: &str) -> String {
    let text = text.trim_end_matches('=');
    let missing = text.len().wrapping_neg() % 4;
    format!("{text}{}", "=".repeat(missing))
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_made_here_is_whsec_and_base64_without_padding() {
        let mut rng = SeededRng::from_seed([3; 32]);
        let secret = Secret::make(Profile::Standard, &mut rng);
        let text = secret.text().strip_prefix("whsec_").unwrap();
        assert_eq!(text.len(), 44);
        assert!(!text.contains('='));
        assert_eq!(
            Secret::brought(Profile::Standard, secret.text()),
            Ok(secret)
        );
    }

    #[test]
    fn a_url_safe_secret_is_refused_and_the_refusal_says_why() {
        let bytes = [0xfb; 33];
        for text in [
            BASE64_URL_SAFE.encode(bytes),
            BASE64_URL_SAFE.encode([0xfb; 32]).replace('=', ""),
        ] {
            let brought = Secret::brought(Profile::Standard, &format!("whsec_{text}"));
            assert_eq!(brought, Err(SecretError::UrlSafe));
        }
    }

    #[test]
    fn a_secret_of_another_form_or_length_is_refused() {
        let standard = |text: &str| Secret::brought(Profile::Standard, text).unwrap_err();
        assert_eq!(standard("MTIz"), SecretError::Prefix);
        assert_eq!(standard("whsec_a"), SecretError::Base64);
        assert_eq!(standard("whsec_MTIz"), SecretError::Length);
        let unpadded = BASE64_STANDARD.encode([1; 32]).replace('=', "");
        assert_eq!(standard(&format!("whsec_{unpadded}")), SecretError::Base64);
        let github = |text: &str| Secret::brought(Profile::Github, text);
        assert_eq!(github("0123456789abcde"), Err(SecretError::Text));
        assert_eq!(github("0123456789abcdeä"), Err(SecretError::Text));
        assert_eq!(github("0123456789 abcdef"), Err(SecretError::Text));
        assert!(github("0123456789abcdef").is_ok());
        let pair = Secret::brought(Profile::StandardEd25519, "whsk_x");
        assert_eq!(pair, Err(SecretError::MadeHere));
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::make(Profile::Stripe, &mut SeededRng::from_seed([3; 32]));
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[test]
    fn only_a_key_pair_has_a_public_key() {
        let mut rng = SeededRng::from_seed([3; 32]);
        for profile in Profile::ALL {
            let secret = Secret::make(profile, &mut rng);
            let public = secret.public(profile);
            assert_eq!(public.is_some(), profile.has_key_pair());
            let begin = if profile.is_rfc9421() { "{" } else { "whpk_" };
            assert!(public.is_none_or(|key| key.starts_with(begin)));
            assert_eq!(secret.key_id(profile).is_some(), profile.is_rfc9421());
        }
    }

    #[test]
    fn the_key_of_an_hmac_is_named_by_the_thumbprint_of_its_jwk() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secret = Secret::brought(Profile::Rfc9421HmacSha256, secret).unwrap();
        // By Python's hashlib over {"k":"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","kty":"oct"}
        let id = secret.key_id(Profile::Rfc9421HmacSha256);
        assert_eq!(
            id.as_deref(),
            Some("LzOz4ihK63zzaCTfl-j0hWG0FuiOPodoGPHiB0TpCnY")
        );
    }
}
