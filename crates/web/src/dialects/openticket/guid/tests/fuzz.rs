//! GUIDs and names of invocations, of any text.

use super::*;

#[test]
fn a_text_names_an_invocation_only_if_that_is_its_name() {
    ::fuzz::run("guid", 3_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let small = read(&text);
        assert_eq!(small.as_ref().and_then(|guid| read(guid)), small);
        let mut numbers = [0; 16];
        numbers
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        let bits = u128::from_le_bytes(numbers);
        let id = DeliveryId {
            notification: NotificationId(i64::try_from(bits >> 68).unwrap()),
            webhook: WebhookId(i64::try_from(bits & ((1 << WEBHOOK_BITS) - 1)).unwrap()),
        };
        assert_eq!(to_invocation(&of_invocation(id)), Some(id));
        if let Some(id) = to_invocation(&text) {
            assert_eq!(of_invocation(id), text.to_ascii_lowercase());
            assert!(id.notification.0 >= 0 && id.webhook.0 >= 0);
            assert_eq!(small, Some(text.to_ascii_lowercase()));
        }
    });
}
