//! What a webhook has of its own for TLS: a client certificate, which its calls show to a receiver
//! that wants one, and CA certificates, by which its receiver is verified in place of those that
//! the operator trusts. Its dialect's resource does not know of either.

use std::sync::Arc;

use bytes::Bytes;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use crate::certificate::{self, Certificate, ClientKeyError};
use crate::id::{TenantId, WebhookId};
use crate::named::named;
use crate::signing::{Keyring, SealError, SecretOf};
use crate::time::Timestamp;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsItem {
    ClientCertificate,
    CaCertificates,
}

named!(
    TlsItem {
        ClientCertificate = "client_certificate",
        CaCertificates = "ca_certificates",
    }
);

/// As it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookTls {
    pub client: Option<ClientCertificate>,
    pub ca: Option<CaCertificates>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The client's own first, in the form of `certificate::stored`.
    pub chain: Bytes,
    /// The private key.
    pub sealed: Bytes,
    pub set_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCertificates {
    /// In the form of `certificate::stored`.
    pub certificates: Bytes,
    pub set_at: Timestamp,
}

/// Whose client certificate: a webhook has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientKeyId {
    pub tenant: TenantId,
    pub webhook: WebhookId,
}

/// A private key with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredClientKey {
    pub id: ClientKeyId,
    pub sealed: Bytes,
}

/// What is to become of it. Keys come sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookTlsChange {
    SetClientCertificate { chain: Bytes, sealed: Bytes },
    SetCaCertificates(Bytes),
    Remove(TlsItem),
}

/// Ready for TLS.
#[derive(Debug, Clone, Default)]
pub struct OpenedTls {
    /// SHA-256 of all certificates: differs if anything does.
    pub id: [u8; 32],
    pub client: Option<Arc<CertifiedKey>>,
    /// When the client certificate ends.
    pub client_until: Option<Timestamp>,
    pub ca: Option<Vec<Certificate>>,
}

/// Why calls cannot be made with what the webhook has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableTls {
    #[error("the private key of its client certificate: {0}")]
    Sealed(SealError),
    #[error("the private key of its client certificate: {0}")]
    Key(ClientKeyError),
    #[error("its client certificate cannot be read as it is stored")]
    Chain,
    #[error("its CA certificates cannot be read as they are stored")]
    Ca,
}

impl WebhookTls {
    pub fn is_empty(&self) -> bool {
        self.client.is_none() && self.ca.is_none()
    }

    /// What an attempt needs: all of it, or no call is made.
    pub fn open(&self, keyring: &Keyring, webhook: WebhookId) -> Result<OpenedTls, UnusableTls> {
        let mut opened = OpenedTls {
            id: self.id(),
            ..OpenedTls::default()
        };
        if let Some(client) = &self.client {
            let chain = certificate::of_stored(&client.chain).ok_or(UnusableTls::Chain)?;
            let key = keyring.open(webhook, SecretOf::ClientKey, &client.sealed);
            let key = key.map_err(UnusableTls::Sealed)?;
            let matching = certificate::matching_key(&chain, &key);
            opened.client = Some(matching.map_err(UnusableTls::Key)?);
            opened.client_until = chain.first().map(|own| own.validity().not_after);
        }
        if let Some(ca) = &self.ca {
            let all = certificate::of_stored(&ca.certificates);
            opened.ca = Some(all.ok_or(UnusableTls::Ca)?);
        }
        Ok(opened)
    }
}

impl WebhookTls {
    /// A certificate has one key, so that the key, which is sealed anew at times, is left out.
    fn id(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let chain = self.client.as_ref().map(|client| &client.chain);
        let ca = self.ca.as_ref().map(|ca| &ca.certificates);
        for part in [chain, ca] {
            let part = part.map_or(&[][..], |part| part);
            hasher.update(part.len().to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests;
