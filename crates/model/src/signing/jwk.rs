//! Keys as JSON Web Keys (RFC 7517, 8037), and their thumbprints (RFC 7638). A key is written
//! in the one form that its thumbprint is made of: required members, in order, without blanks.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

pub(super) fn ed25519(public: &[u8]) -> String {
    let x = BASE64_URL_SAFE_NO_PAD.encode(public);
    format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
}

/// From an uncompressed point.
pub(super) fn p256(public: &[u8]) -> Option<String> {
    let (x, y) = public.strip_prefix(&[4])?.split_at_checked(32)?;
    let [x, y] = [x, y].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    Some(format!(
        r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#
    ))
}

/// The key of an HMAC: a secret.
pub(super) fn symmetric(key: &[u8]) -> String {
    let k = BASE64_URL_SAFE_NO_PAD.encode(key);
    format!(r#"{{"k":"{k}","kty":"oct"}}"#)
}

pub(super) fn thumbprint(jwk: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_of_an_ed25519_key_is_the_one_of_rfc_8037() {
        // RFC 8037, A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = ed25519(&BASE64_URL_SAFE_NO_PAD.decode(x).unwrap());
        assert_eq!(
            thumbprint(&key),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn the_thumbprint_of_a_p256_key_is_what_other_programs_make_of_it() {
        // RFC 7517, A.1; the thumbprint by Python's hashlib.
        let x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
        let y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
        let [x, y] = [x, y].map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap());
        let key = p256(&[&[4][..], &x, &y].concat()).unwrap();
        assert_eq!(
            thumbprint(&key),
            "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"
        );
        assert_eq!(p256(&x), None);
    }
}
