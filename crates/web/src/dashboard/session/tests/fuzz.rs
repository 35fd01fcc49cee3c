//! `Cookie` headers of any bytes.

use super::*;

#[test]
fn only_cookies_that_we_could_have_set_are_kept_and_they_are_read_again() {
    ::fuzz::run("cookie", 3_000, |bytes| {
        let Ok(value) = HeaderValue::from_bytes(bytes) else {
            return;
        };
        let found = Cookies::of(&HeaderMap::from_iter([(COOKIE, value)]));
        let ours = [
            (SESSION, &found.session, SECRET_LETTERS),
            (VISITOR, &found.visitor, SECRET_LETTERS),
            (DEVICE, &found.device, DEVICE_LETTERS),
        ];
        let mut written = Vec::new();
        for (name, value, length) in ours {
            let Some(value) = value else { continue };
            assert_eq!(value.len(), length);
            assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            written.push(format!("{name}={value}"));
        }
        let again = headers(&[("cookie", &written.join("; "))]);
        assert_eq!(Cookies::of(&again), found);
        // A form is ours only if its origin ends in our own host, whatever stands before.
        let origin = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_bytes(bytes).unwrap())]);
        let ends = ["://h", "://h:80", "://h:443"].map(str::as_bytes);
        let is_ours = form_origin(&origin, "h") == FormOrigin::Ours;
        assert!(
            !is_ours
                || ends
                    .iter()
                    .any(|end| bytes.to_ascii_lowercase().ends_with(end))
        );
    });
}
