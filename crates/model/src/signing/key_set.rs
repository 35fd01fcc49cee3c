//! The public keys of one signature as a set of JSON Web Keys (RFC 7517, 5), as it is published.

use crate::limits::FORMER_KEY_PUBLISHED_MS;
use crate::rng::SeededRng;
use crate::signing::jwk;
use crate::signing::profile::{Profile, SealedKey, Signature};
use crate::signing::secret::standard_public;
use crate::time::Timestamp;

/// Of the name of a set: 134 bits.
const NAME_LENGTH: usize = 26;

/// The name under which the public keys of a new signature are published, if it has some.
pub fn key_set_name(profile: Profile, rng: &mut SeededRng) -> Option<String> {
    profile
        .has_key_pair()
        .then(|| rng.alphanumeric(NAME_LENGTH))
}

/// The set of the public keys that this signature signs with: now, from the end of the
/// former key on, or a short time ago.
pub fn key_set(signature: &Signature, now: Timestamp) -> String {
    let former = signature.former.as_ref();
    let former = former.filter(|former| now < former.until.plus_ms(FORMER_KEY_PUBLISHED_MS));
    let keys = [Some(&signature.key), former.map(|former| &former.key)];
    let keys = keys.into_iter().flatten();
    let keys: Vec<String> = keys
        .filter_map(|key| published(signature.profile, key))
        .collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn published(profile: Profile, key: &SealedKey) -> Option<String> {
    let public = key.public.as_deref()?;
    let key = match profile.is_standard() {
        true => jwk::ed25519(&standard_public(public)?),
        false => public.to_owned(),
    };
    let id = jwk::thumbprint(&key);
    let members = key.strip_suffix('}')?;
    Some(format!(r#"{members},"kid":"{id}","use":"sig"}}"#))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::signing::FormerKey;
    use crate::signing::jwk::{ed25519, thumbprint};

    fn key(public: Option<&str>) -> SealedKey {
        SealedKey {
            sealed: Bytes::new(),
            public: public.map(str::to_owned),
            made_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn a_set_has_the_key_that_signs_and_the_former_one_until_calls_of_it_have_come_in() {
        let until = Timestamp::from_millis(1_000);
        let signature = Signature {
            profile: Profile::Rfc9421Ed25519,
            header: None,
            svix: false,
            key_set: Some("name".to_owned()),
            key: key(Some(&ed25519(b"new"))),
            former: Some(FormerKey {
                key: key(Some(&ed25519(b"old"))),
                until,
                used_at: None,
            }),
        };
        let ends = until.plus_ms(FORMER_KEY_PUBLISHED_MS);
        let set = |now| key_set(&signature, now);
        for now in [Timestamp::EPOCH, until, ends.plus_ms(-1)] {
            assert_eq!(set(now).matches("kid").count(), 2);
        }
        let alone = set(ends);
        let (key, id) = (ed25519(b"new"), thumbprint(&ed25519(b"new")));
        let members = key.trim_end_matches('}');
        let wanted = format!(r#"{{"keys":[{members},"kid":"{id}","use":"sig"}}]}}"#);
        assert_eq!(alone, wanted);
    }

    #[test]
    fn a_key_of_standard_webhooks_is_published_as_a_jwk_and_a_secret_never_is() {
        let signature = |profile, public| Signature {
            profile,
            header: None,
            svix: false,
            key_set: None,
            key: key(public),
            former: None,
        };
        let standard = signature(Profile::StandardEd25519, Some("whpk_b2xk"));
        let id = thumbprint(&ed25519(b"old"));
        assert!(key_set(&standard, Timestamp::EPOCH).contains(&id));
        let hmac = signature(Profile::Rfc9421HmacSha256, None);
        assert_eq!(key_set(&hmac, Timestamp::EPOCH), r#"{"keys":[]}"#);
    }
}
