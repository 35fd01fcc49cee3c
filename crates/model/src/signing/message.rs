//! HTTP Message Signatures (RFC 9421) with a digest of the body (RFC 9530): which parts of a
//! request are covered, and how.
//!
//! What receivers' libraries take decides the form. Components that all derive alike, so no
//! `@target-uri`; one signature; `created` in the past, because some allow for no difference
//! between clocks; no parameter that a verifier would have to know of.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::time::Timestamp;

/// How far back `created` lies: receivers whose clocks are behind by less than this take it.
const CREATED_BACK_MS: i64 = 5_000;

const COVERED: &str = r#"("@method" "@authority" "@path" "@query" "content-digest")"#;

/// The label of the signature in both of its headers.
const LABEL: &str = "sig1";

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub struct RequestTarget<'a> {
    pub method: &'a str,
    /// What `Host` says: in lower case, without a port that is the scheme's own (RFC 9421, 2.2.3).
    pub authority: &'a str,
    pub path_and_query: &'a str,
}

/// The part of the signature base that is the same in each call of a webhook.
#[derive(Debug)]
pub(super) struct SignatureBase {
    target: String,
}

/// What is signed, and what goes into headers beside the signature.
pub(super) struct MessageToSign {
    pub(super) base: String,
    pub(super) content_digest: String,
    pub(super) signature_input: String,
}

impl SignatureBase {
    pub(super) fn new(target: RequestTarget<'_>) -> Self {
        let (path, query) = match target.path_and_query.split_once('?') {
            Some((path, query)) => (path, query),
            None => (target.path_and_query, ""),
        };
        let (method, authority) = (target.method, target.authority);
        // An absent query is a question mark alone (2.2.7).
        let target = [
            format!("\"@method\": {method}\n"),
            format!("\"@authority\": {authority}\n"),
            format!("\"@path\": {path}\n"),
            format!("\"@query\": ?{query}\n"),
        ];
        let target = target.concat();
        Self { target }
    }

    pub(super) fn message(&self, key_id: &str, now: Timestamp, body: &[u8]) -> MessageToSign {
        let content_digest = format!(
            "sha-256=:{}:",
            BASE64_STANDARD.encode(digest(&SHA256, body))
        );
        let created = (now.plus_ms(-CREATED_BACK_MS).as_millis() / 1_000).max(0);
        let parameters = format!(r#"{COVERED};created={created};keyid="{key_id}""#);
        MessageToSign {
            base: [
                &*self.target,
                &format!("\"content-digest\": {content_digest}\n"),
                &format!("\"@signature-params\": {parameters}"),
            ]
            .concat(),
            content_digest,
            signature_input: format!("{LABEL}={parameters}"),
        }
    }
}

/// The value of `Signature`.
pub(super) fn signature(bytes: &[u8]) -> String {
    format!("{LABEL}=:{}:", BASE64_STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(authority: &'static str, path_and_query: &'static str) -> RequestTarget<'static> {
        RequestTarget {
            method: "POST",
            authority,
            path_and_query,
        }
    }

    #[test]
    fn the_base_has_each_component_once_and_ends_with_the_parameters() {
        let base = SignatureBase::new(target("example.com", "/foo?param=Value&Pet=dog"));
        let now = Timestamp::from_millis(1_618_884_478_999);
        let message = base.message("a-key", now, br#"{"hello": "world"}"#);
        // The digest is the one of RFC 9530, B.
        let parameters = "(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\")\
                          ;created=1618884473;keyid=\"a-key\"";
        let wanted = [
            "\"@method\": POST",
            "\"@authority\": example.com",
            "\"@path\": /foo",
            "\"@query\": ?param=Value&Pet=dog",
            "\"content-digest\": sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            &format!("\"@signature-params\": {parameters}"),
        ];
        assert_eq!(message.base, wanted.join("\n"));
        assert_eq!(message.signature_input, format!("sig1={parameters}"));
    }

    #[test]
    fn a_query_that_is_not_there_is_a_question_mark() {
        let base = SignatureBase::new(target("[::1]:8080", "/"));
        let message = base.message("a", Timestamp::EPOCH, b"");
        let lines = "\"@authority\": [::1]:8080\n\"@path\": /\n\"@query\": ?\n";
        assert!(message.base.contains(lines), "{}", message.base);
        assert!(message.signature_input.contains(";created=0;"));
    }
}
