//! Paths of our own below `/.well-known/` (RFC 8615). There is no well-known name for the keys of
//! RFC 9421, and one set for the whole host would show each tenant what others have.

const BEGIN: &str = "/.well-known/willcall/";

const END: &str = "/jwks.json";

const NAME_BYTES_MAX: usize = 64;

/// Where a set of public keys is.
pub(crate) fn key_set(name: &str) -> String {
    format!("{BEGIN}{name}{END}")
}

/// The name of the set that is there.
pub(crate) fn key_set_at(path: &str) -> Option<&str> {
    let name = path.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let letters = name.bytes().all(|letter| letter.is_ascii_alphanumeric());
    (letters && (1..=NAME_BYTES_MAX).contains(&name.len())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_public_keys_is_at_one_path_only() {
        assert_eq!(key_set_at(&key_set("a1")), Some("a1"));
        for path in [
            "/.well-known/jwks.json",
            "/.well-known/willcall/jwks.json",
            "/.well-known/willcall//jwks.json",
            "/.well-known/willcall/a/b/jwks.json",
            "/.well-known/willcall/%61/jwks.json",
            "/.well-known/willcall/a/jwks.json/",
        ] {
            assert_eq!(key_set_at(path), None, "{path}");
        }
        let long = format!("/.well-known/willcall/{}/jwks.json", "a".repeat(65));
        assert_eq!(key_set_at(&long), None);
    }
}
