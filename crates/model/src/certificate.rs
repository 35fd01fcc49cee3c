//! Certificates that somebody hands in for TLS: read from PEM, judged, and shown to people. Chains
//! and signatures are the TLS library's business, in `engine`.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::server::ParsedCertificate;

pub use self::client::{ClientFaults, ClientKeyError, client_certificate, matching_key};
use self::der::value;
pub use self::issuing::may_issue;
pub use self::validity::Validity;
use crate::limits::{CERTIFICATES_BYTES_MAX, CERTIFICATES_MAX};
use crate::time::Timestamp;

mod client;
mod der;
mod issuing;
mod name;
mod validity;

/// A certificate, read.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    validity: Validity,
}

/// Why a text has no certificates that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error(
        "there is no certificate in it; it has to be in PEM form, with a line -----BEGIN \
         CERTIFICATE-----"
    )]
    Empty,
    #[error("it is not in PEM form: {0}")]
    NotPem(String),
    #[error("there is a private key in it, and only certificates belong here")]
    PrivateKey,
    #[error("certificate {0} cannot be read")]
    Unreadable(usize),
    #[error("there are more than {CERTIFICATES_MAX} certificates in it")]
    TooMany,
    #[error("its certificates have more than {CERTIFICATES_BYTES_MAX} bytes together")]
    TooLong,
    #[error("its first certificate has expired on {0}")]
    Expired(Timestamp),
    #[error("certificate {number} has expired on {at}")]
    ExpiredAmong { number: usize, at: Timestamp },
}

impl Certificate {
    /// Reads one in DER. `None` if it is none, or says in no readable way when it is valid.
    pub fn read(der: CertificateDer<'static>) -> Option<Self> {
        let validity = Validity::of(&der)?;
        // What can be trusted: by its names, or as an authority.
        let is_read = ParsedCertificate::try_from(&der).is_ok()
            || RootCertStore::empty().add(der.clone()).is_ok();
        is_read.then_some(Self { der, validity })
    }

    /// In the form that TLS sends.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// From when until when it is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Whose it is, as people name it: the parts of its subject that are mostly there.
    pub fn subject(&self) -> String {
        name::subject(&self.der).unwrap_or_default()
    }

    /// Who issued it.
    pub fn issuer(&self) -> String {
        name::issuer(&self.der).unwrap_or_default()
    }

    /// SHA-256 of all of it, as `openssl x509 -fingerprint -sha256` prints it.
    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, &self.der);
        let pairs: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        pairs.join(":")
    }
}

/// The certificates in a text in PEM form, in its order. What stands between them is skipped.
pub fn certificates(text: &str) -> Result<Vec<Certificate>, CertificateError> {
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, der) = section.map_err(|error| CertificateError::NotPem(pem_words(&error)))?;
        let private = [
            SectionKind::PrivateKey,
            SectionKind::RsaPrivateKey,
            SectionKind::EcPrivateKey,
        ];
        if private.contains(&kind) {
            return Err(CertificateError::PrivateKey);
        }
        if kind != SectionKind::Certificate {
            continue;
        }
        bytes = bytes.saturating_add(der.len());
        if bytes > CERTIFICATES_BYTES_MAX {
            return Err(CertificateError::TooLong);
        }
        if found.len() >= CERTIFICATES_MAX {
            return Err(CertificateError::TooMany);
        }
        let certificate = Certificate::read(der.into());
        found.push(certificate.ok_or(CertificateError::Unreadable(found.len() + 1))?);
    }
    match found.is_empty() {
        true => Err(CertificateError::Empty),
        false => Ok(found),
    }
}

/// Certificates that receivers are to be verified by: those of authorities, and receivers' own.
/// One that has expired vouches for nobody.
pub fn ca_certificates(text: &str, now: Timestamp) -> Result<Vec<Certificate>, CertificateError> {
    let found = certificates(text)?;
    let expired = |one: &Certificate| one.validity.not_after < now;
    match found.iter().position(expired) {
        None => Ok(found),
        Some(place) => Err(CertificateError::ExpiredAmong {
            number: place + 1,
            at: found.get(place).map_or(now, |one| one.validity.not_after),
        }),
    }
}

/// Certificates as they are stored: one behind another, in DER.
pub fn stored(certificates: &[Certificate]) -> Bytes {
    let all: Vec<&[u8]> = certificates.iter().map(|one| &*one.der).collect();
    all.concat().into()
}

/// What `stored` made; `None` if it made something else.
pub fn of_stored(mut stored: &[u8]) -> Option<Vec<Certificate>> {
    let mut found = Vec::new();
    while !stored.is_empty() {
        let rest = value(stored)?.2;
        let (der, _) = stored.split_at_checked(stored.len() - rest.len())?;
        found.push(Certificate::read(der.to_vec().into())?);
        stored = rest;
    }
    (!found.is_empty()).then_some(found)
}

/// What is wrong with a text in PEM form, in words.
pub fn pem_words(error: &pem::Error) -> String {
    let text = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        line.trim().chars().take(80).collect::<String>()
    };
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

/// A section in PEM form.
fn to_pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = behind;
    }
    out + &format!("-----END {label}-----\n")
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

/// In PEM form.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_pem("CERTIFICATE", &self.der))
    }
}

#[cfg(test)]
mod tests;
