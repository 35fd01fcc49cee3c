//! Which certificates are trusted, and what is wrong with those that are not, in plain words.
//!
//! There is no way to switch verification off. Without any root certificate the engine runs all
//! the same, and every https target fails with that reason.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// What https targets are verified against.
#[derive(Debug, Clone)]
pub struct TlsRoots {
    pub config: Arc<ClientConfig>,
    /// Usable certificates of the system.
    pub system_roots: usize,
    /// Usable certificates of the extra files.
    pub extra_roots: usize,
    /// What is wrong with the system's certificates, a sentence each.
    pub complaints: Vec<String>,
}

/// An extra file cannot be used: which one, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRoots {
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

/// The system's root certificates and those of extra files, each given as name and content.
pub fn tls_config(extra_ca_pems: &[(String, Vec<u8>)]) -> Result<TlsRoots, BadRoots> {
    let system = rustls_native_certs::load_native_certs();
    let mut complaints: Vec<String> = system.errors.iter().map(ToString::to_string).collect();
    let mut roots = RootCertStore::empty();
    let (system_roots, ignored) = roots.add_parsable_certificates(system.certs);
    if ignored > 0 {
        complaints.push(format!(
            "{ignored} of the system's certificates cannot be read"
        ));
    }
    let mut extra_roots = 0;
    for (file, pem) in extra_ca_pems {
        extra_roots += add_file(&mut roots, file, pem)?;
    }
    if roots.is_empty() {
        complaints.push(
            "no root certificates were found, so every https target will fail; install the \
             system's CA certificates (the package ca-certificates) or name a file of them"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BadRoots::Setup(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsRoots {
        config: Arc::new(config),
        system_roots,
        extra_roots,
        complaints,
    })
}

fn add_file(roots: &mut RootCertStore, file: &str, pem: &[u8]) -> Result<usize, BadRoots> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let file = || file.to_owned();
        let certificate = certificate.map_err(|error| BadRoots::NotPem {
            file: file(),
            cause: error.to_string(),
        })?;
        count += 1;
        roots.add(certificate).map_err(|error| BadRoots::Unusable {
            file: file(),
            number: count,
            cause: rustls_words(&error, true),
        })?;
    }
    if count == 0 {
        return Err(BadRoots::Empty {
            file: file.to_owned(),
        });
    }
    Ok(count)
}

/// What TLS has against the receiver, if that is what the error is about.
pub(crate) fn tls_words(error: &io::Error, has_roots: bool) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(rustls_words(inner, has_roots))
}

fn rustls_words(error: &rustls::Error, has_roots: bool) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other errors say best themselves what they are"
    )]
    match error {
        rustls::Error::InvalidCertificate(cause) => certificate_words(cause, has_roots),
        rustls::Error::AlertReceived(alert) => {
            format!("the receiver refused TLS with the alert {alert:?}")
        }
        rustls::Error::InvalidMessage(_) => "the receiver does not speak TLS".to_owned(),
        rustls::Error::PeerIncompatible(_) => {
            format!("the receiver's TLS is too old or too strange: {error}")
        }
        other => other.to_string(),
    }
}

fn certificate_words(cause: &CertificateError, has_roots: bool) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other causes say best themselves what they are"
    )]
    let words = match cause {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet"
        }
        CertificateError::Revoked => "the certificate was revoked",
        CertificateError::UnknownIssuer if has_roots => {
            "the certificate's issuer is not trusted here; the receiver may have forgotten an \
             intermediate certificate, or its CA must be added to the settings"
        }
        CertificateError::UnknownIssuer => "no root certificates are installed on this machine",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not meant for servers"
        }
        CertificateError::BadEncoding => "the certificate cannot be read",
        CertificateError::BadSignature => "the certificate's signature is wrong",
        other => return format!("the certificate is not valid: {other}"),
    };
    words.to_owned()
}
