//! Writes the head of a response (RFC 9112, section 4) and its `Date`.

use std::time::{Duration, UNIX_EPOCH};

use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use model::time::{Clock, Timestamp};

/// The value of the `Date` header, formatted once a second.
pub(crate) struct DateHeader {
    clock: Clock,
    second: i64,
    words: String,
}

impl DateHeader {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            second: i64::MIN,
            words: String::new(),
        }
    }

    fn now(&mut self) -> &str {
        let now = self.clock.now();
        let second = now.as_millis().div_euclid(1000);
        if second != self.second {
            self.second = second;
            self.words = words(now);
        }
        &self.words
    }
}

/// The format of RFC 9110, section 5.6.7.
fn words(now: Timestamp) -> String {
    let since = u64::try_from(now.as_millis()).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(since))
}

/// Whether a response of this status has neither body nor length (RFC 9110, section 8.6).
pub(super) fn is_bare(status: StatusCode) -> bool {
    status.is_informational()
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}

/// Appends the head of `answer` to `out`. The last response on a connection says so.
pub(crate) fn put_head<B>(
    out: &mut Vec<u8>,
    answer: &Response<B>,
    date: &mut DateHeader,
    is_last: bool,
) {
    let status = answer.status();
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    let reason = status.canonical_reason().unwrap_or_default();
    put(&[
        b"HTTP/1.1 ",
        status.as_str().as_bytes(),
        b" ",
        reason.as_bytes(),
        b"\r\n",
    ]);
    for (name, value) in answer.headers() {
        if name == CONTENT_LENGTH && is_bare(status) {
            continue;
        }
        put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    if is_last {
        put(&[b"connection: close\r\n"]);
    }
    put(&[b"date: ", date.now().as_bytes(), b"\r\n\r\n"]);
}
