//! Dedupe key: what tells a receiver that two calls are the same delivery.
//!
//! It follows from the names of webhook and notification alone, so every attempt and every later
//! round has the same one, and two webhooks with one receiver never swallow each other's.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// 32 hex digits: the first half of SHA-256 of both names with a zero byte between.
pub fn key(webhook: &str, notification: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(webhook.as_bytes());
    hasher.update([0]);
    hasher.update(notification.as_bytes());
    let mut text = String::with_capacity(32);
    for byte in hasher.finalize().iter().take(16) {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_first_half_of_the_hash_of_both_names() {
        // printf 'w\0n' | sha256sum
        assert_eq!(key("w", "n"), "a5cd36712b34facbb4171853ef608dc0");
    }

    #[test]
    fn where_one_name_ends_and_the_other_begins_matters() {
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_ne!(key("a", "b"), key("b", "a"));
    }
}
