//! `Authorization` headers of any bytes.

use super::*;

#[test]
fn a_token_is_shown_without_blanks_or_it_is_said_what_is_wrong() {
    ::fuzz::run("authorization", 3_000, |bytes| {
        let Ok(value) = http::HeaderValue::from_bytes(bytes) else {
            return;
        };
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let shown = credentials(&headers, &ALL);
        if let Ok((scheme, token)) = &shown {
            assert!(!token.is_empty());
            if *scheme != AuthScheme::Basic {
                assert!(!token.contains([' ', '\t']));
                let name = scheme.name();
                let again = format!("{name} {token}");
                assert_eq!(
                    read(again.as_bytes(), &ALL),
                    Ok((*scheme, token.to_string()))
                );
            }
            // Where it is the only one that is understood it is the same, elsewhere none.
            assert_eq!(credentials(&headers, &[*scheme]), shown);
        }
        let others: Vec<AuthScheme> = ALL
            .into_iter()
            .filter(|scheme| !shown.as_ref().is_ok_and(|(own, _)| own == scheme))
            .collect();
        assert!(credentials(&headers, &others).is_err());
    });
}
