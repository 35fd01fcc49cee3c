//! The master keys of an operator. The first seals secrets before they are stored, and each opens
//! what it sealed: so a new one is put in front, everything is sealed anew, and the old one goes.
//!
//! A sealed secret names its master key, and belongs to one profile or own header or to the client
//! certificate of one webhook: it opens for no other. AES-256-GCM with a nonce that is drawn.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::id::WebhookId;
use crate::rng::SeededRng;
use crate::signing::profile::Profile;
use crate::signing::secret::Secret;

const KEY_BYTES: usize = 32;

/// The first byte of what is sealed in this way.
const FORM: u8 = 1;

const ID_BYTES: usize = 8;

/// By how much a sealed secret is longer than the secret.
pub const SEALED_BYTES: usize = 1 + ID_BYTES + NONCE_LEN + 16;

/// A new one, those that are still needed, and room for mistakes.
const KEYS_MAX: usize = 16;

/// What of a webhook a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretOf<'a> {
    Signature(Profile),
    /// An own header, by its name.
    Header(&'a str),
    /// The private key of its client certificate.
    ClientKey,
}

/// None of them if no secret is to be kept.
#[derive(Default)]
pub struct Keyring {
    keys: Vec<MasterKey>,
}

struct MasterKey {
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

/// Why a text has no master keys. Says nothing of the text but the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error(
        "line {0} is no master key: one is 32 bytes in base64, as `openssl rand -base64 32` prints"
    )]
    NoKey(usize),
    #[error("line {0} has a master key that stands above already")]
    Twice(usize),
    #[error("there is no master key in it: `openssl rand -base64 32` makes one")]
    Empty,
    #[error("there are more than 16 master keys in it")]
    TooMany,
}

/// Why a secret cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("no master key is set (`master_key_file` or `master_key`)")]
    NoMasterKey,
    #[error("its secret is sealed with master key {0}, which is not among those that are set")]
    UnknownMasterKey(String),
    #[error("its secret cannot be opened: what is stored is damaged, or belongs elsewhere")]
    Damaged,
}

impl Keyring {
    /// One master key a line; empty lines and those that begin with `#` are skipped.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<MasterKey> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = MasterKey::parse(line).ok_or(KeyringError::NoKey(number))?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeyringError::Twice(number));
            }
            keys.push(key);
        }
        match keys.len() {
            0 => Err(KeyringError::Empty),
            1..=KEYS_MAX => Ok(Self { keys }),
            _ => Err(KeyringError::TooMany),
        }
    }

    /// Whether there is no master key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Seals a secret of this webhook.
    pub fn seal<'a>(
        &self,
        rng: &mut SeededRng,
        webhook: WebhookId,
        of: impl Into<SecretOf<'a>>,
        secret: &Secret,
    ) -> Result<Bytes, SealError> {
        let master = self.keys.first().ok_or(SealError::NoMasterKey)?;
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        let mut text = secret.text().as_bytes().to_vec();
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        let owner = Aad::from(owner(webhook, of.into()));
        let sealed = master
            .key
            .seal_in_place_append_tag(nonce_of, owner, &mut text);
        sealed.map_err(|_| SealError::Damaged)?;
        Ok([&[FORM][..], &master.id, &nonce, &text].concat().into())
    }

    /// Opens what was sealed for this webhook.
    pub fn open<'a>(
        &self,
        webhook: WebhookId,
        of: impl Into<SecretOf<'a>>,
        sealed: &[u8],
    ) -> Result<Secret, SealError> {
        if self.is_empty() {
            return Err(SealError::NoMasterKey);
        }
        let (id, nonce, text) = parts(sealed).ok_or(SealError::Damaged)?;
        let master = self.keys.iter().find(|key| key.id == id);
        let master = master.ok_or_else(|| SealError::UnknownMasterKey(hex(&id)))?;
        let (mut text, owner) = (text.to_vec(), Aad::from(owner(webhook, of.into())));
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = master.key.open_in_place(nonce, owner, &mut text);
        let opened = opened.map_err(|_| SealError::Damaged)?;
        let opened = str::from_utf8(opened).map_err(|_| SealError::Damaged)?;
        Ok(Secret::stored(opened.to_owned()))
    }

    /// Whether it is sealed with the first master key.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let id = parts(sealed).map(|(id, ..)| id);
        let first = self.keys.first().map(|key| key.id);
        id.is_some() && id == first
    }

    /// By what messages name the first master key.
    pub fn current_id(&self) -> Option<String> {
        self.keys.first().map(|key| hex(&key.id))
    }
}

impl MasterKey {
    fn parse(line: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(line).ok()?;
        let bytes: [u8; KEY_BYTES] = bytes.try_into().ok()?;
        let mut hasher = Sha256::new();
        hasher.update(b"willcall master key");
        hasher.update(bytes);
        let hash: [u8; 32] = hasher.finalize().into();
        let (id, _) = hash.split_first_chunk()?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).ok()?;
        Some(Self {
            id: *id,
            key: LessSafeKey::new(key),
        })
    }
}

/// Master key, nonce, and the rest.
fn parts(sealed: &[u8]) -> Option<([u8; ID_BYTES], [u8; NONCE_LEN], &[u8])> {
    let rest = sealed.strip_prefix(&[FORM])?;
    let (id, rest) = rest.split_first_chunk()?;
    let (nonce, rest) = rest.split_first_chunk()?;
    Some((*id, *nonce, rest))
}

/// Of a header with two words more, so that none has the text of a profile.
fn owner(webhook: WebhookId, of: SecretOf<'_>) -> String {
    match of {
        SecretOf::Signature(profile) => {
            format!("willcall secret {} {}", webhook.0, profile.as_str())
        }
        SecretOf::Header(name) => format!("willcall secret {} of header {name}", webhook.0),
        SecretOf::ClientKey => format!("willcall secret {} of client certificate", webhook.0),
    }
}

impl From<Profile> for SecretOf<'_> {
    fn from(profile: Profile) -> Self {
        Self::Signature(profile)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves
        .filter_map(|half| DIGITS.get(usize::from(half)))
        .collect()
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| hex(&key.id)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const TWO: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    const WEBHOOK: WebhookId = WebhookId(7);

    fn sealed(keyring: &Keyring) -> (Secret, Bytes) {
        let mut rng = SeededRng::from_seed([5; 32]);
        let secret = Secret::make(Profile::Github, &mut rng);
        let sealed = keyring.seal(&mut rng, WEBHOOK, Profile::Github, &secret);
        (secret, sealed.unwrap())
    }

    #[test]
    fn a_sealed_secret_opens_for_its_webhook_and_profile_only() {
        let keyring = Keyring::parse(ONE).unwrap();
        let (secret, sealed) = sealed(&keyring);
        assert!(
            !sealed
                .windows(8)
                .any(|part| secret.text().as_bytes().starts_with(part))
        );
        assert_eq!(sealed.len(), secret.text().len() + SEALED_BYTES);
        let open = |webhook, profile: Profile| keyring.open(webhook, profile, &sealed);
        assert_eq!(open(WEBHOOK, Profile::Github), Ok(secret));
        assert_eq!(open(WebhookId(8), Profile::Github), Err(SealError::Damaged));
        assert_eq!(open(WEBHOOK, Profile::Stripe), Err(SealError::Damaged));
    }

    #[test]
    fn every_bent_byte_of_a_sealed_secret_is_noticed() {
        let keyring = Keyring::parse(ONE).unwrap();
        let (_, sealed) = sealed(&keyring);
        for place in 0..sealed.len() {
            let mut bent = sealed.to_vec();
            bent[place] ^= 1;
            assert!(keyring.open(WEBHOOK, Profile::Github, &bent).is_err());
            let cut = &sealed[..place];
            assert!(keyring.open(WEBHOOK, Profile::Github, cut).is_err());
        }
    }

    #[test]
    fn a_new_master_key_in_front_seals_and_the_old_one_still_opens() {
        let (secret, old) = sealed(&Keyring::parse(ONE).unwrap());
        let both = Keyring::parse(&format!("# new\n{TWO}\n\n{ONE}\n")).unwrap();
        assert!(!both.is_current(&old));
        assert_eq!(both.open(WEBHOOK, Profile::Github, &old), Ok(secret));
        let (secret, new) = sealed(&both);
        assert!(both.is_current(&new));
        let only = Keyring::parse(TWO).unwrap();
        assert_eq!(only.open(WEBHOOK, Profile::Github, &new), Ok(secret));
        let refused = only.open(WEBHOOK, Profile::Github, &old).unwrap_err();
        assert!(matches!(refused, SealError::UnknownMasterKey(_)));
    }

    #[test]
    fn without_a_master_key_nothing_is_sealed_or_opened() {
        let (secret, sealed) = sealed(&Keyring::parse(ONE).unwrap());
        let none = Keyring::default();
        let mut rng = SeededRng::from_seed([5; 32]);
        let refused = none.seal(&mut rng, WEBHOOK, Profile::Github, &secret);
        assert_eq!(refused, Err(SealError::NoMasterKey));
        let refused = none.open(WEBHOOK, Profile::Github, &sealed);
        assert_eq!(refused, Err(SealError::NoMasterKey));
    }

    #[test]
    fn a_wrong_file_of_master_keys_is_refused_with_its_line() {
        let refused = |text: &str| Keyring::parse(text).unwrap_err();
        assert_eq!(refused(""), KeyringError::Empty);
        assert_eq!(refused("# only words\n"), KeyringError::Empty);
        assert_eq!(refused("\nsecret"), KeyringError::NoKey(2));
        assert_eq!(refused(&format!("{ONE}\n{ONE}")), KeyringError::Twice(2));
        let many: Vec<String> = (0..17).map(|n| BASE64_STANDARD.encode([n; 32])).collect();
        assert_eq!(refused(&many.join("\n")), KeyringError::TooMany);
    }

    #[test]
    fn a_keyring_prints_no_key() {
        let printed = format!("{:?}", Keyring::parse(ONE).unwrap());
        assert_eq!(printed.len(), "[\"0123456789abcdef\"]".len());
    }
}
