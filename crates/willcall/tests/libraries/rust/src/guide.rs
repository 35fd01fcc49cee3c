//! The code of docs/receiving.md for Rust, letter for letter.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// `header` answers the value of a header; `secret` with whsec_; `now` in seconds since 1970.
/// `None` if a header is missing or cannot be read: a no, too.
pub fn is_signed<'a>(
    header: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
    secret: &str,
    now: i64,
) -> Option<bool> {
    let key = BASE64_STANDARD
        .decode(secret.strip_prefix("whsec_")?)
        .ok()?;
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    if timestamp.parse::<i64>().ok()?.abs_diff(now) > 300 {
        return Some(false);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let mut given = header("webhook-signature")?
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1,"));
    // `verify_slice` compares in constant time.
    Some(given.any(|one| {
        BASE64_STANDARD
            .decode(one)
            .is_ok_and(|one| mac.clone().verify_slice(&one).is_ok())
    }))
}
