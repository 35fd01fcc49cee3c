//! Verifies a call with the crate `standardwebhooks`, and with the code of the guide: JSON in, one
//! line out.

mod guide;

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

fn main() {
    let given: Value = serde_json::from_reader(std::io::stdin()).expect("JSON");
    let headers = given["headers"].as_object().expect("headers");
    let secret = given["secrets"]["standard"].as_str().expect("secret");
    let body = given["body"].as_str().expect("body");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let now = i64::try_from(now.as_secs()).expect("a clock");
    let verified = |body: &str| {
        let header = |name: &str| headers.get(name).and_then(Value::as_str);
        let by_guide = guide::is_signed(header, body.as_bytes(), secret, now);
        json!({
            "guide": by_guide == Some(true),
            "standardwebhooks": by_crate(headers, body, secret),
        })
    };
    println!("{}", json!([verified(body), verified(&format!("{body} "))]));
}

fn by_crate(headers: &serde_json::Map<String, Value>, body: &str, secret: &str) -> bool {
    let lines = headers.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().expect("a name");
        let value = HeaderValue::from_str(value.as_str().expect("a text")).expect("a value");
        (name, value)
    });
    let lines: HeaderMap = lines.collect();
    let webhook = standardwebhooks::Webhook::new(secret).expect("a secret");
    webhook.verify(body.as_bytes(), &lines).is_ok()
}
