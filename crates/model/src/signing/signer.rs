//! A signer has the keys of one webhook, opened and prepared once, and makes the header lines of
//! each attempt.
//!
//! What receivers' libraries take decides the form: one line with signatures joined by exactly one
//! blank for Standard Webhooks, no blank behind the commas of Stripe, one signature only for
//! GitHub and RFC 9421. A set of headers is there as a whole or not at all.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::id::WebhookId;
use crate::own_header::title_cased;
use crate::signing::keyring::{Keyring, SealError, hex};
use crate::signing::message::{self, RequestTarget, SignatureBase};
use crate::signing::profile::{Profile, Signature};
use crate::signing::secret::Secret;
use crate::time::Timestamp;
use crate::webhook::Headers;

const STANDARD_SET: [&str; 3] = ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"];
const MESSAGE_SET: [&str; 3] = ["Content-Digest", "Signature-Input", "Signature"];
const SVIX_SET: [&str; 3] = ["Svix-Id", "Svix-Timestamp", "Svix-Signature"];

/// All signatures of a webhook.
#[derive(Debug)]
pub struct Signer {
    standard: Vec<PreparedSignature>,
    svix: bool,
    /// By RFC 9421: one at most.
    message: Option<(PreparedSignature, SignatureBase)>,
    others: Vec<PreparedSignature>,
}

struct PreparedSignature {
    profile: Profile,
    header: String,
    key: PreparedKey,
    former: Option<(PreparedKey, Timestamp)>,
}

struct PreparedKey {
    key: Key,
    /// What names it in a call; empty where nothing does.
    id: String,
}

enum Key {
    Hmac(Box<hmac::Key>),
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
}

impl Signer {
    /// Opens the keys of a webhook's signatures. All of its calls ask for `target`.
    pub fn open(
        keyring: &Keyring,
        webhook: WebhookId,
        signatures: &[Signature],
        target: RequestTarget<'_>,
    ) -> Result<Self, SealError> {
        let prepared = signatures.iter().map(|signature| {
            let open = |sealed: &[u8]| {
                let secret = keyring.open(webhook, signature.profile, sealed)?;
                PreparedKey::new(signature.profile, &secret).ok_or(SealError::Damaged)
            };
            let former = signature.former.as_ref();
            let former = former.map(|former| Ok((open(&former.key.sealed)?, former.until)));
            Ok(PreparedSignature {
                profile: signature.profile,
                header: title_cased(signature.header()).map(char::from).collect(),
                key: open(&signature.key.sealed)?,
                former: former.transpose()?,
            })
        });
        let prepared: Vec<_> = prepared.collect::<Result<_, SealError>>()?;
        let standard = |one: &PreparedSignature| one.profile.is_standard();
        let (standard, others): (_, Vec<_>) = prepared.into_iter().partition(standard);
        let message = |one: &PreparedSignature| one.profile.is_rfc9421();
        let (message, others): (Vec<_>, _) = others.into_iter().partition(message);
        let message = message.into_iter().next();
        Ok(Self {
            standard,
            message: message.map(|one| (one, SignatureBase::new(target))),
            svix: signatures.iter().any(|signature| signature.svix),
            others,
        })
    }

    /// The names of all lines that `lines` makes.
    pub fn names(&self) -> Vec<&str> {
        let standard = STANDARD_SET.iter().filter(|_| !self.standard.is_empty());
        let svix = SVIX_SET.iter().filter(|_| self.has_svix());
        let message = MESSAGE_SET.iter().filter(|_| self.message.is_some());
        let others = self.others.iter().map(|one| &*one.header);
        let fixed = standard.chain(svix).chain(message).copied();
        fixed.chain(others).collect()
    }

    /// The header lines of an attempt at the delivery `id`, which is the same on each attempt.
    pub fn lines(&self, id: &str, now: Timestamp, body: &[u8]) -> Headers {
        let mut block = Vec::new();
        self.write_lines(&mut block, id, now, body);
        Headers(block.into())
    }

    /// The same at the end of `bytes`, each with its line break.
    pub fn write_lines(&self, bytes: &mut Vec<u8>, id: &str, now: Timestamp, body: &[u8]) {
        let seconds = (now.as_millis() / 1_000).max(0).to_string();
        if !self.standard.is_empty() {
            let signed = [id.as_bytes(), b".", seconds.as_bytes(), b".", body];
            let mut signatures = String::new();
            for one in &self.standard {
                one.each_key(now, |key| {
                    if !signatures.is_empty() {
                        signatures.push(' ');
                    }
                    key.add_standard(&mut signatures, &signed);
                });
            }
            let svix = Some(SVIX_SET).filter(|_| self.has_svix());
            for names in [STANDARD_SET].into_iter().chain(svix) {
                for (name, value) in names.into_iter().zip([id, &*seconds, &*signatures]) {
                    write_line(bytes, name, value);
                }
            }
        }
        if let Some((one, base)) = &self.message {
            one.each_key(now, |key| {
                let message = base.message(&key.id, now, body);
                let signature = message::signature(&key.sign(&[message.base.as_bytes()]));
                let values = [message.content_digest, message.signature_input, signature];
                for (name, value) in MESSAGE_SET.into_iter().zip(values) {
                    write_line(bytes, name, &value);
                }
            });
        }
        for one in &self.others {
            write_line(bytes, &one.header, &one.value(&seconds, now, body));
        }
    }

    fn has_svix(&self) -> bool {
        self.svix && !self.standard.is_empty()
    }
}

impl PreparedSignature {
    /// The keys that sign now, the newest first.
    fn each_key(&self, now: Timestamp, mut each: impl FnMut(&PreparedKey)) {
        let former = self.former.as_ref().filter(|(_, until)| now < *until);
        match former {
            Some((former, _)) if !self.profile.has_overlap() => each(former),
            Some((former, _)) => {
                each(&self.key);
                each(former);
            }
            None => each(&self.key),
        }
    }

    fn value(&self, seconds: &str, now: Timestamp, body: &[u8]) -> String {
        let mut value = String::new();
        match self.profile {
            // Their headers are sets.
            Profile::Standard
            | Profile::StandardEd25519
            | Profile::Rfc9421Ed25519
            | Profile::Rfc9421EcdsaP256Sha256
            | Profile::Rfc9421HmacSha256 => {}
            Profile::Github => self.each_key(now, |key| {
                value = format!("sha256={}", hex(&key.sign(&[body])));
            }),
            Profile::Stripe => {
                value = format!("t={seconds}");
                let signed = [seconds.as_bytes(), b".", body];
                self.each_key(now, |key| {
                    value.push_str(",v1=");
                    value.push_str(&hex(&key.sign(&signed)));
                });
            }
        }
        value
    }
}

impl PreparedKey {
    fn new(profile: Profile, secret: &Secret) -> Option<Self> {
        let key = match profile {
            Profile::Standard | Profile::Github | Profile::Stripe | Profile::Rfc9421HmacSha256 => {
                let bytes = secret.hmac_bytes(profile).ok()?;
                Key::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
            }
            Profile::StandardEd25519 | Profile::Rfc9421Ed25519 => {
                Key::Ed25519(secret.ed25519().ok()?)
            }
            Profile::Rfc9421EcdsaP256Sha256 => Key::EcdsaP256(secret.ecdsa_p256().ok()?),
        };
        let id = secret.key_id(profile).unwrap_or_default();
        Some(Self { key, id })
    }

    fn add_standard(&self, text: &mut String, signed: &[&[u8]]) {
        text.push_str(match self.key {
            Key::Hmac(_) => "v1,",
            Key::Ed25519(_) | Key::EcdsaP256(_) => "v1a,",
        });
        BASE64_STANDARD.encode_string(self.sign(signed), text);
    }

    fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        match &self.key {
            Key::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                for part in parts {
                    context.update(part);
                }
                context.sign().as_ref().to_vec()
            }
            Key::Ed25519(pair) => pair.sign(&parts.concat()).as_ref().to_vec(),
            // Each signature takes chance of the library's own, beside key and message.
            Key::EcdsaP256(pair) => match pair.sign(&SystemRandom::new(), &parts.concat()) {
                Ok(signature) => signature.as_ref().to_vec(),
                Err(_) => panic!("the operating system gives no random bytes"),
            },
        }
    }
}

/// Neither has a line break.
fn write_line(bytes: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
}

impl std::fmt::Debug for PreparedSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.profile.as_str())
    }
}

#[cfg(test)]
mod tests;
