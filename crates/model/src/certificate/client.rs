//! A client certificate: what Willcall shows to a receiver that wants to know who calls (RFC 8446,
//! 4.4.2), and the private key that goes with it.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};

use super::{Certificate, CertificateError, certificates, pem_words, to_pem};
use crate::limits::CLIENT_KEY_BYTES_MAX;
use crate::signing::Secret;
use crate::time::Timestamp;

/// Why a text is no private key of a client certificate. Says nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientKeyError {
    #[error(
        "there is no private key in it; it has to be in PEM form, with a line -----BEGIN PRIVATE \
         KEY-----"
    )]
    Empty,
    #[error("it is not in PEM form: {0}")]
    NotPem(String),
    #[error(
        "it is protected by a password, and Willcall has none; `openssl pkey -in FILE` prints it \
         without"
    )]
    Encrypted,
    #[error("it has more than {CLIENT_KEY_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is no key of RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) or Ed25519")]
    Unsupported,
    #[error(
        "it is not the key of the first certificate; the client's own certificate comes first, \
         those that issued it follow"
    )]
    OfAnother,
}

/// What is wrong with the chain, and with the key.
pub type ClientFaults = (Option<CertificateError>, Option<ClientKeyError>);

/// Judges a certificate with those that issued it, and its key. Answers the chain, and the key in a
/// form that `matching_key` reads.
///
/// Errors: of the chain, and of the key if there is a chain to judge it by.
pub fn client_certificate(
    chain: &str,
    key: &str,
    now: Timestamp,
) -> Result<(Vec<Certificate>, Secret), ClientFaults> {
    let chain = certificates(chain).and_then(|chain| match chain.first() {
        Some(own) if own.validity().not_after < now => {
            Err(CertificateError::Expired(own.validity().not_after))
        }
        _ => Ok(chain),
    });
    let key = read_key(key);
    match (chain, key) {
        (Ok(chain), Ok(key)) => match matching(&chain, &key) {
            Ok(_) => Ok((chain, secret(&key))),
            Err(error) => Err((None, Some(error))),
        },
        (chain, key) => Err((chain.err(), key.err())),
    }
}

/// The chain and the key, ready for TLS. `key` is as `client_certificate` answered it.
pub fn matching_key(
    chain: &[Certificate],
    key: &Secret,
) -> Result<Arc<CertifiedKey>, ClientKeyError> {
    matching(chain, &read_key(key.text())?)
}

fn matching(
    chain: &[Certificate],
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, ClientKeyError> {
    let chain = chain.iter().map(|one| one.der().clone()).collect();
    let key: Arc<dyn SigningKey> =
        any_supported_type(key).map_err(|_| ClientKeyError::Unsupported)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // What cannot be compared is left to the receiver.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(_) => Err(ClientKeyError::OfAnother),
    }
}

fn read_key(text: &str) -> Result<PrivateKeyDer<'static>, ClientKeyError> {
    if text.len() > CLIENT_KEY_BYTES_MAX {
        return Err(ClientKeyError::TooLong);
    }
    // The library passes over sections whose names it does not know.
    let is_encrypted = text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED");
    if is_encrypted {
        return Err(ClientKeyError::Encrypted);
    }
    match PrivateKeyDer::pem_slice_iter(text.as_bytes()).next() {
        None => Err(ClientKeyError::Empty),
        Some(Err(error)) => Err(ClientKeyError::NotPem(pem_words(&error))),
        Some(Ok(key)) => Ok(key),
    }
}

/// Only the key: what stands beside it in a file is not kept.
fn secret(key: &PrivateKeyDer<'static>) -> Secret {
    let label = if let PrivateKeyDer::Pkcs1(_) = key {
        "RSA PRIVATE KEY"
    } else if let PrivateKeyDer::Sec1(_) = key {
        "EC PRIVATE KEY"
    } else {
        "PRIVATE KEY"
    };
    Secret::of_client_key(to_pem(label, key.secret_der()))
}
