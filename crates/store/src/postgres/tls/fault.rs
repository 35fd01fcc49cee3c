//! What is wrong with a server's TLS, of which rustls knows.

use rustls::{AlertDescription, CertificateError, Error, OtherError};

/// Why there is no TLS with a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    #[error(
        "its certificate is of an authority that is not trusted: name the authority's certificate \
         in sslrootcert"
    )]
    UnknownIssuer,
    #[error(
        "its certificate is for another host{}: name the host as the certificate has it, or have \
         one issued for this name (a subject alternative name; a common name does not count)",
        .0.as_ref().map(|names| format!(", {names}")).unwrap_or_default()
    )]
    WrongName(Option<String>),
    #[error("its certificate has expired: have it renewed")]
    Expired,
    #[error("its certificate is not valid yet: see whether the clocks of both machines are right")]
    NotYetValid,
    #[error(
        "its certificate is of version 1 of X.509, which says too little: have one of version 3 \
         issued"
    )]
    Version1,
    #[error(
        "it refused our certificate: see that sslcert and sslkey are those that this server knows"
    )]
    ClientCertificate,
    #[error(
        "its certificate marks itself as an authority's: name that very certificate in \
         sslrootcert, or have another issued"
    )]
    AuthorityItself,
    #[error("{0}")]
    Other(String),
}

/// What a server says of a certificate of ours that it does not take, or that is missing.
const OF_OUR_CERTIFICATE: &[AlertDescription] = &[
    AlertDescription::AccessDenied,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRequired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::UnsupportedCertificate,
];

impl TlsFault {
    /// Of what came of a handshake.
    pub(crate) fn of(error: &std::io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        let error = inner.downcast_ref::<Error>()?;
        Some(Self::of_tls(error))
    }

    fn of_tls(error: &Error) -> Self {
        if let Error::InvalidCertificate(error) = error {
            return Self::of_certificate(error);
        }
        if let Error::AlertReceived(alert) = error
            && OF_OUR_CERTIFICATE.contains(alert)
        {
            return Self::ClientCertificate;
        }
        Self::Other(error.to_string())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls has dozens, of which few come about"
    )]
    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForName => Self::WrongName(None),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::WrongName((!presented.is_empty()).then(|| presented.join(", ")))
            }
            CertificateError::Other(OtherError(cause)) => {
                match cause.downcast_ref::<webpki::Error>() {
                    Some(webpki::Error::CaUsedAsEndEntity) => Self::AuthorityItself,
                    Some(webpki::Error::UnsupportedCertVersion) => Self::Version1,
                    _ => Self::Other(format!("its certificate cannot be used: {cause}")),
                }
            }
            error => Self::Other(format!("its certificate cannot be used: {error}")),
        }
    }
}
