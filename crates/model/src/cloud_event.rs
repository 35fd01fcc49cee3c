//! CloudEvents 1.0 as a form of a call: what stands in its `ce-` headers (binary mode), or around
//! the body (structured mode).
//!
//! What receivers' libraries take decides the values. They are visible ASCII without `"`, `%` and
//! `\`, so nothing has to be escaped in either mode; what is not known is left out; a time says its
//! offset.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::delivery::DueDelivery;
use crate::handshake::Handshake;
use crate::named::named;
use crate::policy::EventNaming;
use crate::webhook::Headers;

/// Exactly this: a library compares it letter by letter.
pub const STRUCTURED_CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What the names of headers with attributes begin with, in lower case.
pub const HEADER_PREFIX: &str = "ce-";

const VERSION: &str = "1.0";

/// Bytes of a hash that stand for an id that cannot be written.
const HASH_BYTES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloudEventMode {
    /// Attributes in headers; the body is as it would be.
    Binary,
    /// Attributes in the body, and in it the body as it would be.
    Structured,
}

named!(
    CloudEventMode {
        Binary = "binary",
        Structured = "structured",
    }
);

/// How calls of a webhook are CloudEvents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvents {
    pub mode: CloudEventMode,
    /// Its receiver is asked before the first call.
    pub handshake: Option<Handshake>,
}

/// The same as somebody chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloudEventChoice {
    pub mode: CloudEventMode,
    pub handshake: bool,
}

/// What the events of one webhook have in common.
#[derive(Debug, Clone)]
pub struct CloudEventForm {
    mode: CloudEventMode,
    source: String,
    type_prefix: String,
    content_type: String,
}

impl CloudEvents {
    pub fn choice(&self) -> CloudEventChoice {
        CloudEventChoice {
            mode: self.mode,
            handshake: self.handshake.is_some(),
        }
    }
}

impl CloudEventForm {
    /// `content_type` is what bodies are without this form.
    pub fn new(
        mode: CloudEventMode,
        naming: &EventNaming,
        tenant_key: &str,
        content_type: &str,
    ) -> Self {
        Self {
            mode,
            source: plain(&format!("{}{tenant_key}", naming.source_prefix)),
            type_prefix: naming.type_prefix.clone(),
            content_type: plain(content_type),
        }
    }

    /// The header lines that are the same in each call.
    pub fn constant_headers(&self) -> Headers {
        match self.mode {
            CloudEventMode::Structured => {
                Headers::from_pairs([("Content-Type", STRUCTURED_CONTENT_TYPE.as_bytes())])
            }
            CloudEventMode::Binary => Headers::from_pairs([
                ("Ce-Specversion", VERSION.as_bytes()),
                ("Ce-Source", self.source.as_bytes()),
            ]),
        }
    }

    /// The other header lines of a call for this delivery.
    pub fn headers(&self, due: &DueDelivery) -> Headers {
        match self.mode {
            CloudEventMode::Structured => Headers::default(),
            CloudEventMode::Binary => {
                let lines = [
                    ("Ce-Id", id(&due.key)),
                    ("Ce-Type", self.event_type(due)),
                    ("Ce-Time", due.accepted_at.to_string()),
                ];
                Headers::from_pairs(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
            }
        }
    }

    /// The body of a call for this delivery.
    pub fn body(&self, due: &DueDelivery) -> Bytes {
        match self.mode {
            CloudEventMode::Binary => due.body.clone(),
            CloudEventMode::Structured => {
                let attributes = [
                    ("specversion", VERSION.to_owned()),
                    ("id", id(&due.key)),
                    ("source", self.source.clone()),
                    ("type", self.event_type(due)),
                    ("time", due.accepted_at.to_string()),
                    ("datacontenttype", self.content_type.clone()),
                ];
                let attributes = attributes.map(|(name, value)| format!("\"{name}\":\"{value}\","));
                let before = format!("{{{}\"data\":", attributes.concat());
                [before.as_bytes(), &due.body, b"}"].concat().into()
            }
        }
    }

    fn event_type(&self, due: &DueDelivery) -> String {
        plain(&format!("{}{}", self.type_prefix, due.action_type))
    }
}

/// The application's own id, by which receivers know repetitions; or a hash of it if it cannot be
/// written.
fn id(key: &str) -> String {
    match key.chars().all(is_plain) {
        true => key.to_owned(),
        false => {
            let hash: [u8; 32] = Sha256::digest(key).into();
            let bytes = hash.iter().take(HASH_BYTES);
            bytes.map(|byte| format!("{byte:02x}")).collect()
        }
    }
}

fn plain(text: &str) -> String {
    let plain = |letter| if is_plain(letter) { letter } else { '_' };
    text.chars().map(plain).collect()
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_graphic() && !['"', '%', '\\'].contains(&letter)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::Delivery;
    use crate::id::{DeliveryId, NotificationId, WebhookId};
    use crate::time::Timestamp;

    fn form(mode: CloudEventMode) -> CloudEventForm {
        let naming = EventNaming {
            source_prefix: "/companies/".to_owned(),
            type_prefix: "shop.".to_owned(),
        };
        CloudEventForm::new(mode, &naming, "big%events", "application/json")
    }

    fn due(key: &str, action_type: &str) -> DueDelivery {
        DueDelivery {
            delivery: Delivery {
                id: DeliveryId {
                    notification: NotificationId(1),
                    webhook: WebhookId(1),
                },
                round: 1,
                attempts: 0,
                round_attempts: 0,
                round_began_at: None,
                due_at: Timestamp::EPOCH,
            },
            key: Arc::from(key),
            action_type: Arc::from(action_type),
            accepted_at: Timestamp::from_millis(1_700_000_000_001),
            headers: Headers::default(),
            body: Bytes::from_static(br#"{"a": 1}"#),
        }
    }

    fn value(headers: &Headers, name: &str) -> String {
        let value = headers.get(name).unwrap();
        String::from_utf8(value.to_vec()).unwrap()
    }

    #[test]
    fn in_binary_mode_the_attributes_are_headers_and_the_body_stays() {
        let (form, due) = (form(CloudEventMode::Binary), due("7301", "order.paid"));
        let constant = form.constant_headers();
        assert_eq!(value(&constant, "ce-specversion"), "1.0");
        assert_eq!(value(&constant, "ce-source"), "/companies/big_events");
        let headers = form.headers(&due);
        assert_eq!(value(&headers, "ce-id"), "7301");
        assert_eq!(value(&headers, "ce-type"), "shop.order.paid");
        assert_eq!(value(&headers, "ce-time"), "2023-11-14T22:13:20.001Z");
        assert_eq!(form.body(&due), due.body);
    }

    #[test]
    fn in_structured_mode_the_body_stands_within_the_attributes_byte_for_byte() {
        let (form, due) = (form(CloudEventMode::Structured), due("7301", "order.paid"));
        assert!(form.headers(&due).is_empty());
        assert_eq!(form.constant_headers().iter().count(), 1);
        let wanted = concat!(
            r#"{"specversion":"1.0","id":"7301","source":"/companies/big_events","#,
            r#""type":"shop.order.paid","time":"2023-11-14T22:13:20.001Z","#,
            r#""datacontenttype":"application/json","data":{"a": 1}}"#
        );
        assert_eq!(str::from_utf8(&form.body(&due)), Ok(wanted));
    }

    #[test]
    fn no_attribute_has_to_be_escaped() {
        let form = form(CloudEventMode::Binary);
        let headers = form.headers(&due("bestätigt \"1\"", "a b\\c%d\u{e9}\r\n"));
        assert_eq!(value(&headers, "ce-type"), "shop.a_b_c_d___");
        // By Python's hashlib.
        assert_eq!(value(&headers, "ce-id"), "366ee29dd49a987db4471522ab58daa5");
    }
}
