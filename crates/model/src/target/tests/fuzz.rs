//! Target URLs as nobody would type them.

use super::*;

/// Whether a path has segments that another reading takes away.
fn has_dots(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.split('/')
        .any(|segment| [".", ".."].contains(&segment))
}

fn sound(text: &str, target: &Target) {
    let Target {
        host,
        authority,
        path_and_query,
        ..
    } = target;
    assert!(path_and_query.starts_with('/'), "{path_and_query}");
    // No blank, no line end, no fragment: it goes into the first line of a request.
    assert!(
        path_and_query
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    );
    assert!(path_and_query.len() <= 3 * text.len() + 1);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    assert!(
        !host.is_empty() && authority.bytes().all(plain),
        "{authority}"
    );
    assert!(target.port != 0);
    let sent = target.authorization.as_deref();
    assert!(sent.is_none_or(|sent| sent.bytes().all(|b| (b' '..=b'~').contains(&b))));
}

#[test]
fn what_is_called_means_the_same_when_it_is_read_again() {
    ::fuzz::run("target_url", 6_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let shown = masked(&text);
        assert_eq!(masked(&shown), shown);
        assert_eq!(is_masked(&shown), shown != text || is_masked(&text));
        assert!(["", "***"].contains(&user(&shown)) || shown == text);
        for secret in secrets(&text) {
            assert!(secret.len() >= SECRET_BYTES_MIN);
        }
        let Ok(target) = Target::parse(&text) else {
            assert_eq!(called(&text), shown);
            return;
        };
        sound(&text, &target);
        let printed = called(&text);
        let again = Target::parse(&printed).unwrap_or_else(|why| panic!("{printed}: {why}"));
        assert_eq!(
            (
                again.tls,
                &again.host,
                again.port,
                &again.authority,
                &again.authorization
            ),
            (
                target.tls,
                &target.host,
                target.port,
                &target.authority,
                &None
            )
        );
        if !has_dots(&target.path_and_query) {
            assert_eq!(again.path_and_query, target.path_and_query);
        }
    });
}
