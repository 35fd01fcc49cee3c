//! What comes with a request: its query, its media type, its host, addresses that proxies name.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use model::address::Networks;
use model::limits::PARAMETERS_MAX;

use crate::tests::never_500::encoded;
use crate::transport::query::Query;
use crate::transport::{client, host, media_type};

/// Headers of which one has this value; nothing if no header may have it.
fn with(name: &'static str, value: &[u8]) -> Option<HeaderMap> {
    let value = HeaderValue::from_bytes(value).ok()?;
    Some(HeaderMap::from_iter([(
        HeaderName::from_static(name),
        value,
    )]))
}

#[test]
fn a_query_that_is_written_again_is_read_as_the_same() {
    ::fuzz::run("query", 3_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(query) = Query::read(&text) else {
            assert!(text.split('&').count() > PARAMETERS_MAX);
            return;
        };
        assert!(query.iter().count() <= PARAMETERS_MAX);
        let pair = |(name, value)| format!("{}={}", encoded(name), encoded(value));
        let written: Vec<String> = query.iter().map(pair).collect();
        assert_eq!(Query::read(&written.join("&")), Ok(query.clone()));
        let names: Vec<&str> = query.iter().map(|(name, _)| name).collect();
        for name in &names {
            assert_eq!(query.get(name), query.all(name).last());
            assert_eq!(query.without(name).get(name), None);
        }
        let twice = (1..names.len()).any(|at| names[..at].contains(&names[at]));
        assert_eq!(query.only(&names).is_err(), twice);
    });
}

#[test]
fn a_media_type_has_one_kind_and_its_body_is_parts_or_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    ::fuzz::run("media_type", 3_000, |bytes| {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (value, body) = bytes.split_at(end.unwrap_or(bytes.len()));
        let Some(headers) = with("content-type", value) else {
            return;
        };
        let form = media_type::MediaType::of(&headers);
        let kind = form.kind();
        assert!(!kind.contains(';') && !kind.bytes().any(|byte| byte.is_ascii_uppercase()));
        assert_eq!(kind.trim(), kind);
        assert!(form.charset().is_none_or(|charset| !charset.contains(';')));
        let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
        match runtime.block_on(form.parts(&body)) {
            Ok(parts) => {
                let length = |(name, value): &(String, String)| name.len() + value.len();
                let all: usize = parts.iter().map(length).sum();
                // A byte that is no text becomes a character of three.
                assert!(all <= 3 * body.len());
            }
            Err(words) => assert!(!words.is_empty()),
        }
    });
}

#[test]
fn a_host_that_is_answered_cannot_lead_elsewhere() {
    let listed = ["hooks.example.org".to_owned()];
    ::fuzz::run("host", 3_000, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        if host::vet_host(Some(text), &listed).is_err() {
            return;
        }
        // It goes into links, so it is a host and a port and nothing else.
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
        assert!(!text.is_empty() && text.bytes().all(sound));
        let link = url::Url::parse(&format!("http://{text}/a"));
        if let Ok(link) = link {
            assert_eq!(
                (link.path(), link.username(), link.query()),
                ("/a", "", None)
            );
            let name = link.host_str().unwrap_or_default();
            let bare = name.trim_matches(['[', ']']);
            let known = bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case(&listed[0]);
            assert!(known || !name.contains('.'), "{name}");
        }
    });
}

#[test]
fn only_what_a_known_proxy_says_changes_the_client() {
    let proxies: Networks = "10.0.0.0/8, ::1".parse().unwrap();
    let stranger: IpAddr = "192.0.2.1".parse().unwrap();
    let proxy: IpAddr = "10.0.0.1".parse().unwrap();
    ::fuzz::run("forwarded_for", 2_000, |bytes| {
        let Some(headers) = with("x-forwarded-for", bytes) else {
            return;
        };
        let seen = |peer| client::network(Some(peer), &headers, &proxies).unwrap();
        assert_eq!(seen(stranger), stranger);
        // The last entry that is no proxy is the client; an entry before it counts for nothing.
        let before = [b"203.0.113.9, ", bytes].concat();
        if let Some(longer) = with("x-forwarded-for", &before)
            // The network of ::1, which is a proxy.
            && seen(proxy) != IpAddr::from([0; 16])
            && !proxies.contains(seen(proxy))
        {
            assert_eq!(
                client::network(Some(proxy), &longer, &proxies),
                Some(seen(proxy))
            );
        }
        assert_eq!(client::network(None, &headers, &proxies), None);
    });
}
