//! Which certificates are trusted, and in plain words what is wrong with the others.
//!
//! Verification cannot be switched off. Without any root certificate the engine runs all the same,
//! and every https target fails with that reason.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::ProducesTickets;
use rustls::{CipherSuite, ClientConfig, Error, RootCertStore, SupportedCipherSuite};
use rustls_native_certs::ErrorKind;

pub use self::client::TlsClient;
pub(crate) use self::messages::tls_words;
use self::verifier::{PinnedCertificate, Verifier};

mod client;
mod der;
mod issuing;
mod messages;
mod sessions;
mod stream;
mod validity;
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

/// What TLS is made of here: ciphers, key exchanges, signatures, randomness.
///
/// AES with 128 bits comes first, as in browsers: its hash has an instruction of its own in most
/// processors, and that of AES with 256 bits has none (docs/decisions/0049).
pub fn tls_crypto() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let is_second = |suite: &SupportedCipherSuite| {
        let first = [
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ];
        !first.contains(&suite.suite())
    };
    provider.cipher_suites.sort_by_key(is_second);
    Arc::new(provider)
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
    let provider = tls_crypto();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| RootsError::Setup(messages::words(&error, true)))?;
    let algorithms = provider.signature_verification_algorithms;
    let chains = match roots.is_empty() {
        true => None,
        false => {
            let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
            let chains = chains.build();
            Some(chains.map_err(|error| RootsError::Setup(error.to_string()))?)
        }
    };
    let verifier = Verifier {
        chains,
        pinned,
        algorithms,
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
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

fn add(
    roots: &mut RootCertStore,
    pinned: &mut Vec<PinnedCertificate>,
    certificate: CertificateDer<'static>,
) -> Result<(), String> {
    let own = PinnedCertificate::new(&certificate);
    // The library takes any as a root. A server's own vouches for nobody else.
    if issuing::may_issue(&certificate) == Some(true) {
        let added = roots.add(certificate);
        added.map_err(|error| messages::words(&error, true))?;
    } else if let Err(cause) = &own {
        return Err(cause.clone());
    }
    pinned.extend(own);
    Ok(())
}

fn system_words(error: &rustls_native_certs::Error) -> String {
    match &error.kind {
        ErrorKind::Pem(cause) => format!("{}: {}", error.context, pem_words(cause)),
        ErrorKind::Io { .. } | ErrorKind::Os(_) => error.to_string(),
        _ => error.context.to_owned(),
    }
}

fn pem_words(error: &pem::Error) -> String {
    let text = |line: &[u8]| String::from_utf8_lossy(line).trim().to_owned();
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("the line -----END {}----- is missing", text(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("the line {} does not end in five dashes", text(line))
        }
        pem::Error::Base64Decode(_) => {
            "what is between the lines BEGIN and END is not base64".to_owned()
        }
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is nothing in it".to_owned(),
        pem::Error::SectionTooLarge => "a section in it is too long".to_owned(),
        _ => "it cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests;
