//! Passwords: which are good enough, and how they are hashed.
//!
//! The hash is argon2id with 19 MiB, 2 passes, 1 lane (OWASP Password Storage Cheat Sheet). Both
//! functions take some ten milliseconds and 19 MiB: callers bound how many run at once.

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::limits::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};
use crate::refusal::Fault;
use crate::users::PasswordHash;

const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Something is wrong with the hash that was kept, or there was no memory to compare with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("passwords cannot be hashed")]
pub struct PasswordHashError;

/// Whether a password may be chosen; `name` is that of the user whose it is to be.
///
/// # Errors
/// A fault of the field `password`.
pub fn judge(password: &str, name: &str) -> Result<(), Fault> {
    let chars = password.chars().count();
    let wrong = |reason: String| Err(Fault::new("password", reason));
    if chars < PASSWORD_CHARS_MIN {
        return wrong(format!(
            "Choose a password of at least {PASSWORD_CHARS_MIN} characters; a few words are \
             easy to remember and hard to guess."
        ));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return wrong(format!(
            "The password may have at most {PASSWORD_BYTES_MAX} bytes."
        ));
    }
    let (small, name) = (password.to_lowercase(), name.to_lowercase());
    let mut letters = small.chars();
    let first = letters.next();
    if letters.all(|letter| Some(letter) == first) {
        return wrong("The password is one character repeated.".to_owned());
    }
    if !name.is_empty() && small.replace(&name, "").chars().count() * 2 < chars {
        return wrong("The password is mostly your name.".to_owned());
    }
    Ok(())
}

/// The hash of a password, with a salt of at least 16 bytes that was drawn for it.
///
/// # Errors
/// If the salt is too short, or there is no memory.
pub fn hash(password: &str, salt: &[u8]) -> Result<PasswordHash, PasswordHashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| PasswordHashError)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hashed: phc::PasswordHash = argon2
        .hash_password_with_salt(password.as_bytes(), salt)
        .map_err(|_| PasswordHashError)?;
    Ok(PasswordHash(hashed.to_string()))
}

/// Whether this is the password that was hashed. Takes as long whether it is or not.
pub fn is_right(password: &str, kept: &PasswordHash) -> bool {
    phc::PasswordHash::new(&kept.0).is_ok_and(|kept| {
        Argon2::default()
            .verify_password(password.as_bytes(), &kept)
            .is_ok()
    })
}

/// A hash that belongs to nobody: comparing with it takes as long as comparing with a real one,
/// so that the time of an answer does not tell whether there is such a user.
pub fn nobodys() -> PasswordHash {
    let salt = "d2lsbGNhbGxub2JvZHlz";
    let hash = "7fGzWJbCkU0m7Qn7YyA0Yl3n5bZk1mC0m3p5oQmYx1E";
    PasswordHash(format!(
        "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &[u8] = b"0123456789abcdef";

    #[test]
    fn a_password_is_right_for_its_own_hash_only() {
        let kept = hash("correct horse battery", SALT).unwrap();
        assert!(kept.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(is_right("correct horse battery", &kept));
        assert!(!is_right("correct horse battery ", &kept));
        assert!(!is_right("", &kept));
        let spoilt = PasswordHash("$argon2id$".to_owned());
        assert!(!is_right("correct horse battery", &spoilt));
    }

    #[test]
    fn nobodys_hash_is_sound_and_costs_what_a_real_one_costs() {
        let nobodys = nobodys();
        let kept = phc::PasswordHash::new(&nobodys.0).unwrap();
        let params = Params::try_from(&kept).unwrap();
        assert_eq!((params.m_cost(), params.t_cost()), (MEMORY_KIB, PASSES));
        assert!(!is_right("", &nobodys));
    }

    #[test]
    fn passwords_that_are_easily_guessed_are_refused() {
        assert_eq!(judge("correct horse battery", "anna"), Ok(()));
        for bad in ["", "elevenchars", "aaaaaaaaaaaaaaaa", "annaannaanna1"] {
            assert!(judge(bad, "anna").is_err(), "{bad}");
        }
        assert!(judge(&"xy".repeat(600), "anna").is_err());
    }
}
