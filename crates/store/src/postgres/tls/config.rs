//! From the settings to what rustls is configured with. Files are read for each session, so that
//! renewed certificates are used without a restart.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::verifier::{Authorities, Trust, Verifier};
use crate::postgres::settings::{RootCertificates, TlsSettings, TlsVersion};

/// A file that the settings name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFileError {
    #[error("{} cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, String),
    #[error("{} has no certificate in it: it must hold certificates in PEM form", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} holds a certificate that cannot be used: {}", .0.display(), .1)]
    Unusable(PathBuf, String),
    #[error(
        "{} has no private key in it: it must hold one in PEM form, without a passphrase",
        .0.display()
    )]
    NoKey(PathBuf),
    #[error(
        "{} can be read by others: let only its owner read it (chmod 600), or its group if it \
         belongs to root (chmod 640)",
        .0.display()
    )]
    Open(PathBuf),
    #[error(
        "the certificate in {} and the key in {} do not belong together",
        .0.display(), .1.display()
    )]
    Pair(PathBuf, PathBuf),
    #[error(
        "this machine has no certificates of authorities: install them (the package \
         ca-certificates), or name a file in sslrootcert"
    )]
    NoSystem,
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// What handshakes are made with.
pub(crate) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, TlsFileError> {
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let setup = |error: rustls::Error| TlsFileError::Setup(error.to_string());
    let versions = versions(settings);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&crypto))
        .with_protocol_versions(&versions)
        .map_err(setup)?;
    let verifier = Verifier::shared(trust(settings)?, crypto.signature_verification_algorithms);
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let private = private_key(key)?;
            let pair = builder.with_client_auth_cert(chain, private);
            pair.map_err(|_| TlsFileError::Pair(certificate.clone(), key.clone()))?
        }
    };
    config.enable_sni = settings.sends_name;
    Ok(Arc::new(config))
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let all = [
        (TlsVersion::Tls12, &rustls::version::TLS12),
        (TlsVersion::Tls13, &rustls::version::TLS13),
    ];
    let wanted = settings.oldest..=settings.newest;
    let wanted = all.iter().filter(|(version, _)| wanted.contains(version));
    wanted.map(|(_, version)| *version).collect()
}

fn trust(settings: &TlsSettings) -> Result<Trust, TlsFileError> {
    let authorities = match &settings.roots {
        None => return Ok(Trust::Anybody),
        Some(RootCertificates::System) => system()?,
        Some(RootCertificates::File(path)) => authorities(path)?,
    };
    Ok(match settings.verifies_name {
        true => Trust::IssuerAndName(authorities),
        false => Trust::Issuer(authorities),
    })
}

fn system() -> Result<Authorities, TlsFileError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err(TlsFileError::NoSystem),
        false => Ok(Authorities {
            roots,
            certificates: Vec::new(),
        }),
    }
}

fn authorities(path: &Path) -> Result<Authorities, TlsFileError> {
    let certificates = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|error| TlsFileError::Unusable(path.to_owned(), error.to_string()))?;
    }
    Ok(Authorities {
        roots,
        certificates,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, &error))?;
    let found: Result<Vec<_>, pem::Error> = found.collect();
    let found = found.map_err(|error| unreadable(path, &error))?;
    match found.is_empty() {
        true => Err(TlsFileError::NoCertificate(path.to_owned())),
        false => Ok(found),
    }
}

/// Refuses a key that others can read, as libpq does.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let metadata = std::fs::metadata(path);
    let metadata =
        metadata.map_err(|error| TlsFileError::Unreadable(path.to_owned(), error.to_string()))?;
    let others = match metadata.uid() {
        0 => 0o037,
        _ => 0o077,
    };
    if metadata.mode() & others != 0 {
        return Err(TlsFileError::Open(path.to_owned()));
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        if let pem::Error::Io(error) = error {
            return TlsFileError::Unreadable(path.to_owned(), error.to_string());
        }
        TlsFileError::NoKey(path.to_owned())
    })
}

fn unreadable(path: &Path, error: &pem::Error) -> TlsFileError {
    if let pem::Error::Io(error) = error {
        return TlsFileError::Unreadable(path.to_owned(), error.to_string());
    }
    TlsFileError::Unusable(path.to_owned(), error.to_string())
}
