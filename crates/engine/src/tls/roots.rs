//! From certificates to who is trusted: by the settings, or by a webhook.

use std::sync::Arc;

use model::certificate::may_issue;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, RootCertStore, SupportedCipherSuite};

use super::messages::{TrustSource, words};
use super::verifier::{PinnedCertificate, Verifier};

/// What TLS is made of here: ciphers, key exchanges, signatures, randomness.
///
/// AES with 128 bits comes first, as in browsers: its hash has an instruction of its own in most
/// processors, and that of AES with 256 bits has none (docs/decisions/0049).
pub fn tls_crypto() -> Arc<CryptoProvider> {
    let mut crypto = rustls::crypto::aws_lc_rs::default_provider();
    let is_second = |suite: &SupportedCipherSuite| {
        let first = [
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ];
        !first.contains(&suite.suite())
    };
    crypto.cipher_suites.sort_by_key(is_second);
    Arc::new(crypto)
}

/// Trusts these, and nobody else.
pub(super) fn verifier(
    roots: RootCertStore,
    pinned: Vec<PinnedCertificate>,
) -> Result<Arc<Verifier>, String> {
    let crypto = tls_crypto();
    let algorithms = crypto.signature_verification_algorithms;
    let chains = match roots.is_empty() {
        true => None,
        false => {
            let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto);
            Some(chains.build().map_err(|error| error.to_string())?)
        }
    };
    Ok(Arc::new(Verifier {
        chains,
        pinned,
        algorithms,
    }))
}

/// Takes one: a CA's as a root, and any that can be as a receiver's own.
pub(super) fn add(
    roots: &mut RootCertStore,
    pinned: &mut Vec<PinnedCertificate>,
    certificate: CertificateDer<'static>,
) -> Result<(), String> {
    let own = PinnedCertificate::new(&certificate);
    // The library takes any as a root. A server's own vouches for nobody else.
    if may_issue(&certificate) == Some(true) {
        let added = roots.add(certificate);
        added.map_err(|error| words(&error, TrustSource::Settings))?;
    } else if let Err(cause) = &own {
        return Err(cause.clone());
    }
    pinned.extend(own);
    Ok(())
}
