//! What a webhook has of its own for TLS, ready for handshakes: its client certificate, and whom it
//! trusts.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use model::time::Timestamp;
use model::webhook_tls::OpenedTls;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::messages::TrustSource;
use super::roots::{add, verifier};
use super::verifier::Verifier;

/// Part of an endpoint: a connection, and a session, is used for those webhooks only that have the
/// same. Two are the same if they are made from the same certificates.
pub struct OwnTls {
    id: [u8; 32],
    client: Option<Arc<SingleCertAndKey>>,
    /// When the client certificate ends.
    client_until: Option<Timestamp>,
    verifier: Option<Arc<Verifier>>,
}

impl OwnTls {
    /// What is opened, ready. Errors: a CA certificate cannot be trusted; the words say why.
    pub(crate) fn new(opened: OpenedTls) -> Result<Self, String> {
        let verifier = match opened.ca {
            None => None,
            Some(all) => {
                let (mut roots, mut pinned) = (RootCertStore::empty(), Vec::new());
                for certificate in all {
                    add(&mut roots, &mut pinned, certificate.der().clone())?;
                }
                Some(verifier(roots, pinned)?)
            }
        };
        let client = opened.client;
        Ok(Self {
            id: opened.id,
            client: client.map(|key| Arc::new(SingleCertAndKey::from((*key).clone()))),
            client_until: opened.client_until,
            verifier,
        })
    }

    /// Has a handshake use it; answers by what the receiver is verified then.
    pub(super) fn apply(&self, config: &mut ClientConfig, source: TrustSource) -> TrustSource {
        if let Some(client) = &self.client {
            config.client_auth_cert_resolver = Arc::clone(client) as Arc<_>;
        }
        let Some(verifier) = &self.verifier else {
            return source;
        };
        let verifier = Arc::clone(verifier) as Arc<_>;
        config.dangerous().set_certificate_verifier(verifier);
        TrustSource::Webhook
    }

    /// What is wrong with the client certificate at this time, if it has ended.
    pub(crate) fn expired(&self, now: Timestamp) -> Option<String> {
        let until = self.client_until.filter(|until| *until < now)?;
        Some(format!(
            "the webhook's client certificate has expired on {until}"
        ))
    }
}

impl PartialEq for OwnTls {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for OwnTls {}

impl Hash for OwnTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl PartialOrd for OwnTls {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OwnTls {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

impl fmt::Debug for OwnTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnTls")
    }
}

#[cfg(test)]
mod tests;
