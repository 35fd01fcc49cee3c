//! Cursors of the log: those that were given out are read back, and others never do harm.

use super::super::*;

#[test]
fn a_cursor_is_read_back_and_any_other_text_is_none_or_a_place() {
    ::fuzz::run("cursor", 3_000, |bytes| {
        let webhook = Some(WebhookId(7));
        let text = String::from_utf8_lossy(bytes);
        if let Some(place) = read_cursor(&text, webhook) {
            let printed = cursor(place, webhook);
            assert_eq!(read_cursor(&printed, webhook), Some(place));
        }
        // Any number may stand in a cursor that was given out.
        let mut number = [0; 8];
        number
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        let id = |webhook: i64| DeliveryId {
            notification: NotificationId(i64::from_le_bytes(number)),
            webhook: WebhookId(webhook),
        };
        for (given, read) in [
            (
                LogCursor::OlderThan(id(7)),
                Some(LogCursor::OlderThan(id(7))),
            ),
            (
                LogCursor::NewerThan(id(7)),
                Some(LogCursor::NewerThan(id(7))),
            ),
        ] {
            assert_eq!(read_cursor(&cursor(given, webhook), webhook), read);
        }
        for given in [LogCursor::OlderThan(id(8)), LogCursor::NewerThan(id(6))] {
            assert!(read_cursor(&cursor(given, webhook), webhook).is_some());
        }
    });
}
