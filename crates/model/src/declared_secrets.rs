//! Declared secrets: signatures, own headers and certificates of a webhook as an operator's file
//! has them, and what has to change so that a webhook has them.
//!
//! A secret is bound to its webhook, whose id a new one gets within the transaction. So the store
//! asks for the changes there, and gets them sealed. Nothing declared again changes anything.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::certificate::{self, Certificate};
use crate::id::WebhookId;
use crate::limits::FORMER_KEY_MS_DEFAULT;
use crate::own_header::{OwnHeader, OwnHeaderChange, OwnHeaderName};
use crate::rng::SeededRng;
use crate::signing::{
    Keyring, NewSignature, Profile, SealError, SealedKey, Secret, SecretOf, Signature,
    SignatureChange, key_set_name,
};
use crate::time::Timestamp;
use crate::webhook_tls::{WebhookTls, WebhookTlsChange};

/// All that a file says of one webhook. What it does not name stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeclaredSecrets {
    pub signatures: Vec<DeclaredSignature>,
    pub headers: Vec<DeclaredHeader>,
    pub client_certificate: Option<DeclaredClientCertificate>,
    pub ca_certificates: Option<Vec<Certificate>>,
    pub sealer: Sealer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredSignature {
    pub profile: Profile,
    pub header: Option<String>,
    pub svix: bool,
    /// `None`: made here, once.
    pub secret: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredHeader {
    pub name: OwnHeaderName,
    pub value: Secret,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredClientCertificate {
    pub chain: Vec<Certificate>,
    pub key: Secret,
}

/// Seals what is declared. Without master keys it refuses.
#[derive(Clone, Default)]
pub struct Sealer(Option<Arc<Sealing>>);

struct Sealing {
    keyring: Arc<Keyring>,
    rng: Mutex<SeededRng>,
}

/// A change, and what it is called for people.
pub type Change<T> = (String, T);

/// What is stored of a declared secret does not open, or cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("webhook {webhook}, {what}: {error}", webhook = .webhook.0)]
pub struct DeclaredSecretError {
    pub webhook: WebhookId,
    pub what: String,
    pub error: SealError,
}

impl Sealer {
    pub fn new(keyring: Arc<Keyring>, rng: SeededRng) -> Self {
        let rng = Mutex::new(rng);
        Self(Some(Arc::new(Sealing { keyring, rng })))
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Keyring, &mut SeededRng) -> Result<T, SealError>,
    ) -> Result<T, SealError> {
        let sealing = self.0.as_ref().ok_or(SealError::NoMasterKey)?;
        let mut rng = sealing.rng.lock().unwrap_or_else(PoisonError::into_inner);
        work(&sealing.keyring, &mut rng)
    }

    fn seal<'a>(
        &self,
        webhook: WebhookId,
        of: impl Into<SecretOf<'a>>,
        secret: &Secret,
    ) -> Result<bytes::Bytes, SealError> {
        self.with(|keyring, rng| keyring.seal(rng, webhook, of, secret))
    }

    fn open<'a>(
        &self,
        webhook: WebhookId,
        of: impl Into<SecretOf<'a>>,
        sealed: &[u8],
    ) -> Result<Secret, SealError> {
        self.with(|keyring, _| keyring.open(webhook, of, sealed))
    }
}

/// All sealers are alike: what they seal differs each time.
impl PartialEq for Sealer {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Sealer {}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl DeclaredSecrets {
    /// What has to change so that a webhook with these signatures has the declared ones.
    pub fn signature_changes(
        &self,
        webhook: WebhookId,
        stored: &[Signature],
        at: Timestamp,
    ) -> Result<Vec<Change<(Profile, SignatureChange)>>, DeclaredSecretError> {
        let mut all = Vec::new();
        for declared in &self.signatures {
            let profile = declared.profile;
            let stored = stored.iter().find(|own| own.profile == profile);
            let what = format!("signature {}", profile.as_str());
            let changes = self.of_signature(webhook, declared, stored, &what, at);
            let changes = changes.map_err(|error| DeclaredSecretError {
                webhook,
                what,
                error,
            });
            all.extend(
                changes?
                    .into_iter()
                    .map(|(what, one)| (what, (profile, one))),
            );
        }
        Ok(all)
    }

    fn of_signature(
        &self,
        webhook: WebhookId,
        declared: &DeclaredSignature,
        stored: Option<&Signature>,
        what: &str,
        at: Timestamp,
    ) -> Result<Vec<Change<SignatureChange>>, SealError> {
        let profile = declared.profile;
        let key = |secret: &Secret| {
            Ok(SealedKey {
                sealed: self.sealer.seal(webhook, profile, secret)?,
                public: secret.public(profile),
                made_at: at,
            })
        };
        let add = |secret: &Secret, key_set: Option<String>| {
            Ok(SignatureChange::Add(NewSignature {
                header: declared.header.clone(),
                svix: declared.svix,
                key_set,
                key: key(secret)?,
            }))
        };
        let Some(stored) = stored else {
            let secret = match &declared.secret {
                Some(secret) => secret.clone(),
                None => self.sealer.with(|_, rng| Ok(Secret::make(profile, rng)))?,
            };
            let key_set = self.sealer.with(|_, rng| Ok(key_set_name(profile, rng)))?;
            return Ok(vec![(what.to_owned(), add(&secret, key_set)?)]);
        };
        let known = self.sealer.open(webhook, profile, &stored.key.sealed)?;
        let secret = declared.secret.as_ref().unwrap_or(&known);
        let of_stored = (stored.header(), stored.svix);
        let header = declared
            .header
            .as_deref()
            .unwrap_or_else(|| profile.header());
        if of_stored != (header, declared.svix) {
            let remove = SignatureChange::Remove;
            return Ok(vec![
                (format!("header of {what}"), remove),
                (String::new(), add(secret, stored.key_set.clone())?),
            ]);
        }
        if *secret == known {
            return Ok(Vec::new());
        }
        let rotate = SignatureChange::Rotate {
            key: key(secret)?,
            until: at.plus_ms(FORMER_KEY_MS_DEFAULT),
        };
        Ok(vec![(format!("key of {what}"), rotate)])
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        let lists = self.signatures.is_empty() && self.headers.is_empty();
        lists && self.client_certificate.is_none() && self.ca_certificates.is_none()
    }

    /// The same of what the webhook has of its own for TLS.
    pub fn tls_changes(
        &self,
        webhook: WebhookId,
        stored: &WebhookTls,
    ) -> Result<Vec<Change<WebhookTlsChange>>, DeclaredSecretError> {
        let mut changes = Vec::new();
        if let Some(DeclaredClientCertificate { chain, key }) = &self.client_certificate {
            let what = "client certificate".to_owned();
            let of = |error| DeclaredSecretError {
                webhook,
                what: what.clone(),
                error,
            };
            let chain = certificate::stored(chain);
            let is_known = match &stored.client {
                Some(known) if known.chain == chain => {
                    let known = self
                        .sealer
                        .open(webhook, SecretOf::ClientKey, &known.sealed);
                    known.map_err(of)? == *key
                }
                _ => false,
            };
            if !is_known {
                let sealed = self
                    .sealer
                    .seal(webhook, SecretOf::ClientKey, key)
                    .map_err(of)?;
                let change = WebhookTlsChange::SetClientCertificate { chain, sealed };
                changes.push((what, change));
            }
        }
        if let Some(all) = &self.ca_certificates {
            let certificates = certificate::stored(all);
            let known = stored.ca.as_ref().map(|ca| &ca.certificates);
            if known != Some(&certificates) {
                let change = WebhookTlsChange::SetCaCertificates(certificates);
                changes.push(("CA certificates".to_owned(), change));
            }
        }
        Ok(changes)
    }

    /// The same of own headers.
    pub fn header_changes(
        &self,
        webhook: WebhookId,
        stored: &[OwnHeader],
    ) -> Result<Vec<Change<(OwnHeaderName, OwnHeaderChange)>>, DeclaredSecretError> {
        let mut changes = Vec::new();
        for DeclaredHeader { name, value } in &self.headers {
            let what = format!("header {}", name.as_str());
            let of = |error| DeclaredSecretError {
                webhook,
                what: what.clone(),
                error,
            };
            let sealed = || self.sealer.seal(webhook, name, value).map_err(of);
            let change = match stored.iter().find(|own| own.name == *name) {
                None => OwnHeaderChange::Add(sealed()?),
                Some(own) => match self.sealer.open(webhook, name, &own.sealed).map_err(of)? {
                    known if known == *value => continue,
                    _ => OwnHeaderChange::Replace(sealed()?),
                },
            };
            changes.push((what, (name.clone(), change)));
        }
        Ok(changes)
    }
}
