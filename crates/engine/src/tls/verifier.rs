//! Who a receiver is: a certificate that a trusted CA issued, or one that is itself trusted,
//! even if it is a CA's. One that is no CA's vouches only for the receiver that shows it.

use std::sync::Arc;

use model::certificate::Validity;
use model::time::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::messages::{TrustSource, words};

/// Chains are the library's business, and signatures too; a certificate that is byte for byte in an
/// extra file needs no chain, but its name and its time are looked at all the same.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Nothing without a root.
    pub(super) chains: Option<Arc<WebPkiServerVerifier>>,
    pub(super) pinned: Vec<PinnedCertificate>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// A certificate of an extra file.
#[derive(Debug)]
pub(super) struct PinnedCertificate {
    certificate: CertificateDer<'static>,
    validity: Validity,
}

impl PinnedCertificate {
    /// Not one whose names or whose time cannot be read; it may be a CA's all the same.
    pub(super) fn new(certificate: &CertificateDer<'static>) -> Result<Self, String> {
        ParsedCertificate::try_from(certificate)
            .map_err(|error| words(&error, TrustSource::Settings))?;
        let validity = Validity::of(certificate);
        Ok(Self {
            validity: validity.ok_or("it says in no readable way when it is valid")?,
            certificate: certificate.clone(),
        })
    }

    fn judge(&self, name: &ServerName<'_>, now: UnixTime) -> Result<ServerCertVerified, Error> {
        let now = timestamp(now);
        if now < self.validity.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > self.validity.not_after {
            return Err(CertificateError::Expired.into());
        }
        verify_server_name(&ParsedCertificate::try_from(&self.certificate)?, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown: &[u8] = end_entity;
        let is_shown = |pinned: &&PinnedCertificate| *pinned.certificate == *shown;
        match self.pinned.iter().find(is_shown) {
            Some(pinned) => pinned.judge(server_name, now),
            None => match &self.chains {
                Some(chains) => chains.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                ),
                None => Err(CertificateError::UnknownIssuer.into()),
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Far beyond what can be written down it is the latest time there is.
pub(super) fn timestamp(time: UnixTime) -> Timestamp {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_millis(seconds.saturating_mul(1_000))
}
