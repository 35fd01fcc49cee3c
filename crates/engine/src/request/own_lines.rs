//! What a webhook has of its own, opened: its headers, and what it has for TLS. All of it, or
//! nothing is sent.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use model::attempt::{Failure, FailureKind};
use model::contract::WebhookTarget;
use model::own_header::{self, UnopenedHeader};
use model::signing::{Keyring, Secret};
use model::target::{SECRET_BYTES_MIN, decoded_basic};

use crate::tls::OwnTls;

/// A line that somebody gave the webhook.
pub(super) struct OwnLine {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    secret: Secret,
}

pub(super) fn own_lines(
    webhook: &WebhookTarget,
    keyring: &Keyring,
) -> Result<Vec<OwnLine>, Failure> {
    let failure = |detail: String| Failure::new(FailureKind::SealedHeader, detail);
    let opened = own_header::open(keyring, webhook.webhook, &webhook.own_headers);
    let opened = opened.map_err(|unopened: UnopenedHeader| failure(unopened.to_string()))?;
    let lines = opened.into_iter().map(|(name, secret)| {
        let value = HeaderValue::try_from(secret.text());
        let (Ok(known), Ok(value)) = (HeaderName::try_from(name.as_str()), value) else {
            return Err(failure(format!("{}: it is no header", name.as_str())));
        };
        Ok(OwnLine {
            name: known,
            value,
            secret,
        })
    });
    lines.collect()
}

/// Nothing if the webhook has nothing of its own for TLS.
pub(super) fn own_tls(
    webhook: &WebhookTarget,
    keyring: &Keyring,
) -> Result<Option<Arc<OwnTls>>, Failure> {
    if webhook.tls.is_empty() {
        return Ok(None);
    }
    let opened = webhook.tls.open(keyring, webhook.webhook);
    let ready = opened.map_err(|unusable| unusable.to_string());
    match ready.and_then(OwnTls::new) {
        Ok(own) => Ok(Some(Arc::new(own))),
        Err(words) => Err(Failure::new(FailureKind::TlsSettings, words)),
    }
}

impl OwnLine {
    /// What a receiver may echo: the value, what stands behind its scheme, and what that encodes.
    pub(super) fn secrets(&self) -> Vec<String> {
        let value = self.secret.text();
        let behind = value.split_once(' ').map(|(_, behind)| behind);
        let decoded = behind.and_then(decoded_basic);
        let all = [Some(value.to_owned()), behind.map(str::to_owned), decoded];
        let long = |secret: &String| secret.len() >= SECRET_BYTES_MIN;
        all.into_iter().flatten().filter(long).collect()
    }
}
