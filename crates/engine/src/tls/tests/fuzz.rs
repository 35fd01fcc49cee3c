//! What is read of certificates: by files of our own, and by the library beside them.

use rustls::pki_types::CertificateDer;

use super::super::der::{DerFields, value};
use super::super::issuing::may_issue;
use super::super::validity::Validity;

#[test]
fn certificates_that_the_library_takes_are_read_here_too() {
    ::fuzz::run("certificate", 6_000, |bytes| {
        if let Some((_, content, rest)) = value(bytes) {
            assert!(content.len() + rest.len() + 2 <= bytes.len());
            assert!(bytes.ends_with(rest));
        }
        let fields = DerFields::of(bytes);
        if let Some(fields) = fields {
            assert!(fields.issuer.len() + fields.rest.len() < bytes.len());
        } else {
            assert_eq!((may_issue(bytes), Validity::of(bytes)), (None, None));
        }
        let certificate = CertificateDer::from_slice(bytes);
        if webpki::anchor_from_trusted_cert(&certificate).is_ok() {
            assert!(fields.is_some());
        }
    });
}
