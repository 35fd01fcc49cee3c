//! What is wrong with TLS, in plain words. The libraries' own errors are names in their source
//! code.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

/// By what receivers are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrustSource {
    /// There is no certificate that could be trusted.
    Nothing,
    /// The system's certificates, and those of the setting `ca_files`.
    Settings,
    /// The webhook's own CA certificates.
    Webhook,
}

/// What TLS has against the receiver, if that is what the error is about.
pub(crate) fn tls_words(error: &io::Error, source: TrustSource) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<Error>()?;
    Some(words(inner, source))
}

pub(super) fn words(error: &Error, source: TrustSource) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others cannot come up here: no revocation lists, no encrypted hellos"
    )]
    let words = match error {
        Error::InvalidCertificate(cause) => certificate(cause, source),
        Error::AlertReceived(alert) => return refused(*alert),
        Error::InvalidMessage(_) => "the receiver does not speak TLS",
        Error::PeerIncompatible(cause) => incompatible(cause),
        Error::NoCertificatesPresented => "the receiver showed no certificate",
        Error::NoApplicationProtocol => "the receiver does not take HTTP/1.1 over TLS",
        Error::DecryptError => "what the receiver sent cannot be decrypted",
        Error::EncryptError => "what was to be sent could not be encrypted",
        Error::PeerSentOversizedRecord => "the receiver sent a longer record than TLS allows",
        Error::FailedToGetCurrentTime => "this machine does not know what time it is",
        Error::FailedToGetRandomBytes => "this machine has no random numbers to give",
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_) => "the receiver broke the rules of TLS",
        _ => "TLS could not be agreed on",
    };
    words.to_owned()
}

fn certificate(cause: &CertificateError, source: TrustSource) -> &'static str {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others cannot come up here: no revocation lists are asked"
    )]
    match cause {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet"
        }
        CertificateError::Revoked => "the certificate was revoked",
        CertificateError::UnknownIssuer => match source {
            TrustSource::Settings => {
                "the certificate's issuer is not trusted here; the receiver may have forgotten an \
                 intermediate certificate, or its CA must be added to the settings or to the \
                 webhook"
            }
            TrustSource::Webhook => {
                "the certificate's issuer is not among the webhook's CA certificates, and no other \
                 is trusted for it; the receiver may have forgotten an intermediate certificate"
            }
            TrustSource::Nothing => "no root certificates are installed on this machine",
        },
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "the certificate is for no name at all; it must have one as a subjectAltName"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not meant for servers"
        }
        CertificateError::BadEncoding => "the certificate cannot be read",
        CertificateError::BadSignature => {
            "a signature is wrong: the certificate's own, or the receiver has another key than the \
             certificate's"
        }
        CertificateError::UnhandledCriticalExtension => {
            "the certificate demands something that is not known here"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the certificate is signed in a way that is not accepted here, such as SHA-1"
        }
        CertificateError::Other(OtherError(other)) => match other.downcast_ref() {
            Some(cause) => chain(cause),
            None => "the certificate is not valid",
        },
        _ => "the certificate is not valid",
    }
}

/// What the library that follows chains has no word for in TLS.
fn chain(cause: &webpki::Error) -> &'static str {
    use webpki::Error as Cause;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are ways in which its bytes break the rules"
    )]
    match cause {
        Cause::CaUsedAsEndEntity => {
            "the certificate is a CA's and not a server's; this one is trusted when it is itself \
             in a file of the setting ca_files, or among the webhook's CA certificates"
        }
        Cause::EndEntityUsedAsCa => "the certificate was issued by one that is not a CA's",
        Cause::CertDistrusted => "the certificate is distrusted",
        Cause::NameConstraintViolation => {
            "the certificate's issuer may not issue certificates for this name"
        }
        Cause::PathLenConstraintViolated => {
            "the certificate's issuer may not issue certificates through so many others"
        }
        Cause::MaximumNameConstraintComparisonsExceeded
        | Cause::MaximumPathBuildCallsExceeded
        | Cause::MaximumPathDepthExceeded
        | Cause::MaximumSignatureChecksExceeded => {
            "the certificate's chain is too long or too tangled"
        }
        Cause::UnsupportedCertVersion => "the certificate is not of version 3",
        _ => "the certificate cannot be read",
    }
}

fn incompatible(cause: &PeerIncompatible) -> &'static str {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are all of one kind: something else that must be there is not"
    )]
    match cause {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the receiver's TLS is too old: it must be 1.2 or 1.3"
        }
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon => {
            "the receiver's TLS is too old or too strange: no cipher is known to both sides (Willcall \
             needs ECDHE with AES-GCM or ChaCha20)"
        }
        _ => "the receiver's TLS is too old or too strange",
    }
}

/// Alerts by what their senders mean by them (RFC 8446, 6.2), with the number to search for.
fn refused(alert: AlertDescription) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are not for clients, or known by their number only"
    )]
    let why = match alert {
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => "it does not want to",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "no cipher is known to both sides (Willcall needs ECDHE with AES-GCM or ChaCha20), or it \
             serves no such name"
        }
        AlertDescription::ProtocolVersion | AlertDescription::InappropriateFallback => {
            "it speaks neither TLS 1.2 nor TLS 1.3"
        }
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "it wants a client certificate, and the webhook has none"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => {
            "it does not take the webhook's client certificate, or wants one"
        }
        AlertDescription::AccessDenied => "Willcall may not call it",
        AlertDescription::UnrecognisedName => "it does not serve this name",
        AlertDescription::NoApplicationProtocol => "it does not take HTTP/1.1 over TLS",
        AlertDescription::InternalError => "something went wrong in it",
        AlertDescription::UnexpectedMessage
        | AlertDescription::BadRecordMac
        | AlertDescription::DecryptionFailed
        | AlertDescription::RecordOverflow
        | AlertDescription::DecompressionFailure
        | AlertDescription::IllegalParameter
        | AlertDescription::DecodeError
        | AlertDescription::DecryptError
        | AlertDescription::MissingExtension
        | AlertDescription::UnsupportedExtension => "it could not make sense of what it got",
        _ => "it gives no reason that is known here",
    };
    let number = u8::from(alert);
    format!("the receiver refused TLS: {why} (alert {number})")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{InconsistentKeys, InvalidMessage, PeerMisbehaved};

    use super::*;

    /// Words of ours have no names of source code in them: no `CamelCase` but of these.
    fn is_plain(words: &str) -> bool {
        let names = ["subjectAltName", "ChaCha20"];
        words.split([' ', ';', ':', ',', '(', ')']).all(|word| {
            let inner_capital = word
                .chars()
                .zip(word.chars().skip(1))
                .any(|(before, after)| before.is_lowercase() && after.is_uppercase());
            names.contains(&word) || !inner_capital && !word.contains(['{', '}', '['])
        })
    }

    #[test]
    fn every_alert_there_is_has_plain_words() {
        for number in 0..=u8::MAX {
            let words = words(
                &Error::AlertReceived(AlertDescription::from(number)),
                TrustSource::Settings,
            );
            assert!(is_plain(&words), "{words}");
            assert!(words.ends_with(&format!("(alert {number})")), "{words}");
        }
    }

    #[test]
    fn what_can_be_wrong_with_a_certificate_has_plain_words() {
        use webpki::Error as Cause;
        let other = |cause: Cause| CertificateError::Other(OtherError(Arc::new(cause)));
        let nobody = CertificateError::Other(OtherError(Arc::new(io::Error::other("OddThing"))));
        for cause in [
            other(Cause::CaUsedAsEndEntity),
            other(Cause::EndEntityUsedAsCa),
            other(Cause::CertDistrusted),
            other(Cause::NameConstraintViolation),
            other(Cause::PathLenConstraintViolated),
            other(Cause::MaximumSignatureChecksExceeded),
            other(Cause::UnsupportedCertVersion),
            other(Cause::MalformedExtensions),
            nobody,
            CertificateError::BadEncoding,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownRevocationStatus,
            CertificateError::ApplicationVerificationFailure,
            CertificateError::InvalidOcspResponse,
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: vec![1, 2],
                supported_algorithms: Vec::new(),
            },
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: vec![1, 2],
                public_key_algorithm_id: vec![3],
            },
        ] {
            let words = words(&Error::InvalidCertificate(cause), TrustSource::Settings);
            assert!(words.starts_with("the certificate"), "{words}");
            assert!(is_plain(&words), "{words}");
        }
    }

    #[test]
    fn what_both_sides_have_to_know_is_named_where_it_is_missing() {
        for error in [
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::AlertReceived(AlertDescription::HandshakeFailure),
        ] {
            let words = words(&error, TrustSource::Settings);
            let named = "no cipher is known to both sides (Willcall needs ECDHE with AES-GCM or \
                         ChaCha20)";
            assert!(words.contains(named), "{words}");
        }
    }

    #[test]
    fn everything_else_that_goes_wrong_with_tls_has_plain_words() {
        for error in [
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
            Error::PeerIncompatible(PeerIncompatible::KeyShareExtensionRequired),
            Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
            Error::InappropriateMessage {
                expect_types: Vec::new(),
                got_type: rustls::ContentType::Heartbeat,
            },
            Error::General("SomethingOdd".to_owned()),
            Error::Other(OtherError(Arc::new(io::Error::other("OddThing")))),
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
            Error::NoCertificatesPresented,
            Error::DecryptError,
        ] {
            let words = words(&error, TrustSource::Settings);
            assert!(is_plain(&words), "{words}");
        }
    }
}
