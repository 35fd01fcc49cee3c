//! Which certificates are trusted, and in plain words what is wrong with the others.
//!
//! Verification cannot be switched off. Without any root certificate the engine runs all the same,
//! and every https target fails with that reason.

use std::sync::Arc;

use model::certificate::pem_words;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ProducesTickets;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_native_certs::ErrorKind;

pub use self::client::TlsClient;
pub(crate) use self::messages::{TrustSource, tls_words};
pub(crate) use self::own::OwnTls;
pub use self::roots::tls_crypto;
use self::roots::{add, verifier};
use self::verifier::PinnedCertificate;

mod client;
mod messages;
mod own;
mod roots;
mod sessions;
mod stream;
mod verifier;

/// What https targets are verified against.
#[derive(Debug, Clone)]
pub struct TlsRoots {
    pub config: Arc<ClientConfig>,
    /// Usable certificates of the system.
    pub system_roots: usize,
    /// Usable certificates of the extra files: of CAs, and receivers' own.
    pub extra_roots: usize,
    /// What is wrong with the system's certificates, a sentence each.
    pub complaints: Vec<String>,
}

/// An extra file cannot be used: which one, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    #[error("{file} has no certificate in it; it must hold certificates in PEM form")]
    Empty { file: String },
    #[error("{file} is not in PEM form: {cause}")]
    NotPem { file: String, cause: String },
    #[error("certificate {number} in {file} cannot be used: {cause}")]
    Unusable {
        file: String,
        number: usize,
        cause: String,
    },
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl TlsRoots {
    pub fn count(&self) -> usize {
        self.system_roots.saturating_add(self.extra_roots)
    }
}

/// Makes session tickets with a key of its own, for receivers in tests and benchmarks.
///
/// # Errors
/// If there is no randomness for the key.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    rustls::crypto::aws_lc_rs::Ticketer::new()
}

/// The system's root certificates and those of extra files, each given as name and content.
pub fn tls_config(extra_ca_pems: &[(String, Vec<u8>)]) -> Result<TlsRoots, RootsError> {
    let system = rustls_native_certs::load_native_certs();
    let mut complaints: Vec<String> = system.errors.iter().map(system_words).collect();
    let mut roots = RootCertStore::empty();
    let (system_roots, ignored) = roots.add_parsable_certificates(system.certs);
    if ignored > 0 {
        complaints.push(format!(
            "{ignored} of the system's certificates cannot be read"
        ));
    }
    let (mut extra_roots, mut pinned) = (0, Vec::new());
    for (file, pem) in extra_ca_pems {
        extra_roots += add_file(&mut roots, &mut pinned, file, pem)?;
    }
    if roots.is_empty() {
        let but = match pinned.is_empty() {
            true => "",
            false => " but receivers whose own certificate is in a file",
        };
        complaints.push(format!(
            "no root certificates were found, so every https target will fail{but}; install the \
             system's CA certificates (the package ca-certificates) or name a file of them"
        ));
    }
    let builder = ClientConfig::builder_with_provider(tls_crypto())
        .with_safe_default_protocol_versions()
        .map_err(|error| RootsError::Setup(messages::words(&error, TrustSource::Settings)))?;
    let verifier = verifier(roots, pinned).map_err(RootsError::Setup)?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsRoots {
        config: Arc::new(config),
        system_roots,
        extra_roots,
        complaints,
    })
}

/// Takes what is in a file: CAs' certificates as roots, and all that can be as receivers' own.
/// Answers how many there are.
fn add_file(
    roots: &mut RootCertStore,
    pinned: &mut Vec<PinnedCertificate>,
    file: &str,
    pem: &[u8],
) -> Result<usize, RootsError> {
    let mut number = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        number += 1;
        let certificate = certificate.map_err(|error| RootsError::NotPem {
            file: file.to_owned(),
            cause: pem_words(&error),
        })?;
        add(roots, pinned, certificate).map_err(|cause| RootsError::Unusable {
            file: file.to_owned(),
            number,
            cause,
        })?;
    }
    match number {
        0 => Err(RootsError::Empty {
            file: file.to_owned(),
        }),
        number => Ok(number),
    }
}

fn system_words(error: &rustls_native_certs::Error) -> String {
    match &error.kind {
        ErrorKind::Pem(cause) => format!("{}: {}", error.context, pem_words(cause)),
        ErrorKind::Io { .. } | ErrorKind::Os(_) => error.to_string(),
        _ => error.context.to_owned(),
    }
}
