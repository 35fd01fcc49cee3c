//! GUIDs: making them, reading them in any case, and the GUID of an invocation.

use model::id::{DeliveryId, NotificationId, WebhookId};

const LENGTH: usize = 36;

/// The number of an invocation's notification has this many bits, its webhook's the rest of 122.
const NOTIFICATION_BITS: u32 = 60;
const WEBHOOK_BITS: u32 = 62;

/// A GUID in small letters, if `text` is one of any version.
pub(super) fn read(text: &str) -> Option<String> {
    let sound = text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    (sound && text.len() == LENGTH).then(|| text.to_ascii_lowercase())
}

/// A new one, of version 4 (RFC 9562).
pub(super) fn fresh(mut draw: impl FnMut(u64) -> u64) -> String {
    let half = |draw: &mut dyn FnMut(u64) -> u64| (draw(1 << 32) << 32) | draw(1 << 32);
    let (high, low) = (half(&mut draw), half(&mut draw));
    printed(4, u128::from(high) << 64 | u128::from(low))
}

/// The name of an invocation: a GUID of version 8 that says which delivery it is.
pub(super) fn of_invocation(id: DeliveryId) -> String {
    let notification = u128::from(id.notification.0.cast_unsigned());
    let webhook = u128::from(id.webhook.0.cast_unsigned());
    let high = notification & ((1 << NOTIFICATION_BITS) - 1);
    let low = webhook & ((1 << WEBHOOK_BITS) - 1);
    let (first, second) = (high >> 12, high & 0xfff);
    printed(8, first << 80 | second << 64 | low)
}

/// The delivery that such a GUID names.
pub(super) fn to_invocation(text: &str) -> Option<DeliveryId> {
    let digits = read(text)?.replace('-', "");
    let all = u128::from_str_radix(&digits, 16).ok()?;
    let high = (all >> 80) << 12 | (all >> 64) & 0xfff;
    let low = all & ((1 << WEBHOOK_BITS) - 1);
    let id = DeliveryId {
        notification: NotificationId(i64::try_from(high).ok()?),
        webhook: WebhookId(i64::try_from(low).ok()?),
    };
    (of_invocation(id) == text.to_ascii_lowercase()).then_some(id)
}

/// 128 bits with those of version and variant set.
fn printed(version: u128, bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | version << 76 | 0x2 << 62;
    let digits = format!("{bits:032x}");
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

/// A nonce as the vendor's sample has it: 20 letters of both cases and digits, 119 bits.
pub(super) fn nonce(mut draw: impl FnMut(u64) -> u64) -> String {
    const LENGTH: usize = 20;
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |_| {
        let index = usize::try_from(draw(LETTERS.len() as u64)).unwrap_or(0);
        LETTERS.get(index).copied().map(char::from)
    };
    (0..LENGTH).filter_map(letter).collect()
}

#[cfg(test)]
mod tests {
    use model::rng::SeededRng;

    use super::*;

    #[test]
    fn a_fresh_one_is_a_guid_of_version_4_and_no_other_is_like_it() {
        let mut rng = SeededRng::from_seed([1; 32]);
        let (one, two) = (
            fresh(|end| rng.below(end)),
            fresh(|end| SeededRng::from_seed([2; 32]).below(end)),
        );
        for guid in [&one, &two] {
            assert_eq!(read(guid).as_ref(), Some(guid));
            assert_eq!(guid.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&guid.as_bytes()[19]));
        }
        assert_ne!(one, two);
    }

    #[test]
    fn guids_are_read_in_any_case_and_version() {
        let vendors = "d0a3f370-cd43-11ed-9c9c-bbcffde24a48";
        assert_eq!(read(vendors).as_deref(), Some(vendors));
        assert_eq!(read(&vendors.to_uppercase()).as_deref(), Some(vendors));
        for text in [
            "",
            "d0a3f370cd4311ed9c9cbbcffde24a48",
            "{d0a3f370-cd43-11ed-9c9c-bbcffde24a48}",
            "d0a3f370-cd43-11ed-9c9c-bbcffde24a4g",
            "d0a3f370-cd43-11ed-9c9c-bbcffde24a4",
            "d0a3f370-cd43-11ed-9c9c-bbcffde24aää",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_name_of_an_invocation_says_which_it_is() {
        for (notification, webhook) in [(1, 1), (0, 0), (4_095, 7), (4_096, 1 << 40), (1 << 59, 2)]
        {
            let id = DeliveryId {
                notification: NotificationId(notification),
                webhook: WebhookId(webhook),
            };
            let name = of_invocation(id);
            assert_eq!(read(&name).as_ref(), Some(&name));
            assert_eq!(to_invocation(&name), Some(id), "{name}");
            assert_eq!(to_invocation(&name.to_uppercase()), Some(id));
        }
        assert_eq!(to_invocation("d0a3f370-cd43-11ed-9c9c-bbcffde24a48"), None);
        assert_eq!(to_invocation("dlv_1_1"), None);
    }

    #[test]
    fn a_nonce_has_twenty_letters_and_digits() {
        let mut rng = SeededRng::from_seed([1; 32]);
        let nonce = nonce(|end| rng.below(end));
        assert_eq!(nonce.len(), 20);
        assert!(nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }

    mod fuzz;
}
