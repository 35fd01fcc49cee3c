//! Bodies of webhooks in any charset and any form.

use super::*;

#[test]
fn a_body_is_fields_or_is_refused_with_words() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    ::fuzz::run("pretix_body", 3_000, |bytes| {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (value, body) = bytes.split_at(end.unwrap_or(bytes.len()));
        let Ok(value) = http::HeaderValue::from_bytes(value) else {
            return;
        };
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, value)]);
        let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
        let read = |whole| runtime.block_on(read_fields(&headers, &body, whole));
        let (whole, part) = (read(true), read(false));
        assert_eq!(whole.is_ok(), part.is_ok());
        for refusal in whole.err().into_iter().chain(part.err()) {
            let of_the_body = matches!(
                refusal,
                Refusal::Unreadable(_)
                    | Refusal::BadRequest(_)
                    | Refusal::UnknownForm(_)
                    | Refusal::Invalid(_)
            );
            assert!(of_the_body, "{refusal:?}");
        }
    });
}
