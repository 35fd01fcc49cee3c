//! Ids of deliveries as they were never printed.

use super::*;

#[test]
fn a_text_is_a_delivery_id_only_if_it_prints_as_that_text() {
    ::fuzz::run("delivery_id", 3_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(id) = text.parse::<DeliveryId>() {
            assert_eq!(id.to_string(), text);
            assert!(id.notification.0 > 0 && id.webhook.0 > 0);
        }
    });
}
