//! Whether a certificate may issue others (RFC 5280, 4.2.1.3 and 4.2.1.9). The library takes any
//! that it is given as an authority.

use super::der::{DerFields, sequence, value};

const EXTENSIONS: u8 = 0xa3;
const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;

/// Object identifiers 2.5.29.15 and 2.5.29.19.
const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 15];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 19];

/// The bit of a key's usage that lets it sign certificates.
const SIGNS_CERTIFICATES: u8 = 0x80 >> 5;

/// One of version 1 cannot say so; it may if it has issued itself, as old authorities have. Nothing
/// if it cannot be read.
pub fn may_issue(certificate: &[u8]) -> Option<bool> {
    let fields = DerFields::of(certificate)?;
    let (_, subject, rest) = value(value(fields.rest)?.2)?;
    if !fields.has_version {
        return Some(subject == fields.issuer);
    }
    // The public key, and what is seldom there.
    let mut rest = value(rest)?.2;
    while rest.first().is_some_and(|tag| *tag != EXTENSIONS) {
        rest = value(rest)?.2;
    }
    if rest.is_empty() {
        return Some(false);
    }
    let mut extensions = sequence(value(rest)?.1)?;
    let (mut is_authority, mut may_sign) = (false, true);
    while !extensions.is_empty() {
        let extension = sequence(extensions)?;
        extensions = value(extensions)?.2;
        let (_, id, mut content) = value(extension)?;
        if content.first() == Some(&BOOLEAN) {
            content = value(content)?.2;
        }
        let (tag, content, _) = value(content)?;
        if tag != OCTET_STRING {
            return None;
        }
        if id == BASIC_CONSTRAINTS {
            is_authority = is_true(sequence(content)?);
        } else if id == KEY_USAGE {
            let (tag, bits, _) = value(content)?;
            let usage = bits.get(1).copied().unwrap_or(0);
            may_sign = tag == BIT_STRING && usage & SIGNS_CERTIFICATES != 0;
        }
    }
    Some(is_authority && may_sign)
}

/// Whether the first of these values is one that says yes.
fn is_true(values: &[u8]) -> bool {
    value(values).is_some_and(|(tag, content, _)| tag == BOOLEAN && content != [0])
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn made(is_ca: IsCa, usages: &[KeyUsagePurpose]) -> Option<bool> {
        let mut params = CertificateParams::new(vec!["hook.test".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.key_usages = usages.to_vec();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        may_issue(certificate.der())
    }

    #[test]
    fn only_what_says_that_it_is_a_cas_may_issue() {
        let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
        let sign = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let serve = [KeyUsagePurpose::DigitalSignature];
        assert_eq!(made(ca(), &[]), Some(true));
        assert_eq!(made(ca(), &sign), Some(true));
        assert_eq!(made(ca(), &serve), Some(false));
        assert_eq!(made(IsCa::NoCa, &[]), Some(false));
        assert_eq!(made(IsCa::NoCa, &sign), Some(false));
        assert_eq!(made(IsCa::ExplicitNoCa, &[]), Some(false));
    }

    /// What OpenSSL makes of version 1, by itself.
    const OLD: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBGTCBvwIUdcOyjcJtGGukNvS6MEZJRTnz9Y4wCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDb2xkMCAXDTI2MTEyOTEzMTcyMVoYDzIxMjYxMTA1MTMxNzIxWjAOMQww
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQwnXlCAgSmQedp
3GO9e5sHDRvhpiZs3dthfHQywblMDisln0HprOJJWMKwr1wtc8w8GyoTEjdwoUs2
vnJXROaqMAoGCCqGSM49BAMCA0kAMEYCIQCaE8N9cp53lHPghiR7f94xLD2og95d
NNk7zkBmEyD6IwIhANuUAWiJon2VfbX4PHpOPXrUENQnx04RY/42JKE5W3C7
-----END CERTIFICATE-----
";

    #[test]
    fn one_of_version_1_may_issue_if_it_has_issued_itself() {
        let old = CertificateDer::from_pem_slice(OLD).unwrap();
        assert_eq!(may_issue(&old), Some(true));
        let mut other = old.to_vec();
        // Its subject, which comes after its issuer, is another.
        let at = other.windows(3).rposition(|name| name == b"old").unwrap();
        other[at] = b'c';
        assert_eq!(may_issue(&other), Some(false));
    }

    #[test]
    fn what_is_cut_anywhere_cannot_be_read_and_does_no_harm() {
        let old = CertificateDer::from_pem_slice(OLD).unwrap();
        for end in 0..old.len() {
            assert_eq!(may_issue(&old[..end]), None, "{end}");
        }
    }
}
