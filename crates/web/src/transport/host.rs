//! The host that a request is for, and whether this server answers to it: with a host of somebody
//! else's choice, links would lead elsewhere.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Uri};
use model::refusal::Refusal;

/// Whether the client's connection is encrypted, as the proxy before us says.
pub(crate) fn is_secure(headers: &HeaderMap) -> bool {
    let forwarded = headers.get("x-forwarded-proto");
    // Of several proxies the first is the one that the browser spoke to.
    let first = |list: &HeaderValue| {
        let mut entries = list.as_bytes().split(|byte| *byte == b',');
        entries
            .next()
            .unwrap_or_default()
            .trim_ascii()
            .to_ascii_lowercase()
    };
    forwarded.is_some_and(|list| first(list) == b"https")
}

/// The host of a request: an absolute target wins over the header (RFC 9112, 3.2.2).
pub(crate) fn host_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let named = uri.authority().map(|authority| authority.as_str());
    named.or_else(|| headers.get(HOST)?.to_str().ok())
}

/// Checks the host, and headers that may occur once only. Of several nobody can tell which is
/// meant, and a proxy may have chosen another one (RFC 9112, 3.2).
pub(crate) fn vet_headers(
    headers: &HeaderMap,
    uri: &Uri,
    listed: &[String],
) -> Result<(), Refusal> {
    for (line, name) in [(HOST, "Host"), (AUTHORIZATION, "Authorization")] {
        if headers.get_all(line).iter().nth(1).is_some() {
            return Err(Refusal::BadRequest(format!(
                "There are several {name} headers. Send one."
            )));
        }
    }
    vet_host(host_of(headers, uri), listed)
}

/// A host that nobody else can point here: an address, a name without a dot, or a name that the
/// operator listed, as such or by a wildcard. Links are made of it, and a browser sends it.
pub(crate) fn vet_host(host: Option<&str>, listed: &[String]) -> Result<(), Refusal> {
    let Some(host) = host else {
        return Err(Refusal::bad_request("The Host header is missing."));
    };
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':').unwrap_or(port)),
        None => host.rsplit_once(':').unwrap_or((host, "")),
    };
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let single = !name.is_empty() && name.bytes().all(sound);
    let known = single
        || name.parse::<IpAddr>().is_ok()
        || listed.iter().any(|own| is_meant(own, name, port));
    if known && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(Refusal::BadRequest(format!(
        "This server does not answer to the host \"{host}\". If it should, its operator adds that \
         name to the setting \"allowed_hosts\"."
    )))
}

/// Whether an entry of the setting means this name and port. `*.` stands for one label or more, and
/// a port for itself: browsers leave out the usual ones.
fn is_meant(entry: &str, name: &str, port: &str) -> bool {
    let (own, only) = match entry.rsplit_once(':') {
        Some((own, only)) => (own, Some(only)),
        None => (entry, None),
    };
    let is_port = |only: &str| only == port || port.is_empty() && ["80", "443"].contains(&only);
    let is_name = match own.strip_prefix('*') {
        // It begins with a dot. What stands before it has to be labels.
        Some(end) => name
            .len()
            .checked_sub(end.len())
            .and_then(|at| name.split_at_checked(at))
            .is_some_and(|(below, rest)| rest.eq_ignore_ascii_case(end) && are_labels(below)),
        None => own.eq_ignore_ascii_case(name),
    };
    is_name && only.is_none_or(is_port)
}

fn are_labels(text: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let label = |label: &str| !label.is_empty() && label.bytes().all(sound);
    text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_proxy_says_whether_a_connection_is_encrypted() {
        for (list, secure) in [
            ("https", true),
            ("HTTPS", true),
            ("https, http", true),
            (" https ,http", true),
            ("http, https", false),
            ("http", false),
            ("httpsx", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(list);
            let headers = HeaderMap::from_iter([("x-forwarded-proto".parse().unwrap(), value)]);
            assert_eq!(is_secure(&headers), secure, "{list}");
        }
        assert!(!is_secure(&HeaderMap::new()));
    }

    #[test]
    fn a_target_that_names_its_host_wins_over_the_header() {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("evil.example"))]);
        let absolute: Uri = "http://localhost:80/webhook".parse().unwrap();
        assert_eq!(host_of(&headers, &absolute), Some("localhost:80"));
        assert_eq!(vet_headers(&headers, &absolute, &[]), Ok(()));
        let relative: Uri = "/webhook".parse().unwrap();
        assert_eq!(host_of(&headers, &relative), Some("evil.example"));
        assert!(vet_headers(&headers, &relative, &[]).is_err());
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        let evil: Uri = "http://evil.example/webhook".parse().unwrap();
        assert!(vet_headers(&headers, &evil, &[]).is_err());
    }

    #[test]
    fn lines_that_a_request_has_once_are_refused_by_name_if_there_are_several() {
        for (line, name) in [(HOST, "Host"), (AUTHORIZATION, "Authorization")] {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
            headers.append(&line, HeaderValue::from_static("localhost"));
            headers.append(&line, HeaderValue::from_static("localhost"));
            let uri = Uri::from_static("http://localhost/");
            let words = format!("There are several {name} headers. Send one.");
            let refused = vet_headers(&headers, &uri, &[]);
            assert_eq!(refused, Err(Refusal::BadRequest(words)));
        }
    }

    #[test]
    fn addresses_single_names_and_listed_names_are_answered() {
        let listed = ["hooks.example.org".to_owned()];
        for host in [
            "127.0.0.1",
            "127.0.0.1:18544",
            "[::1]:8080",
            "[::1]",
            "localhost:80",
            "will_call-1",
            "hooks.example.org",
            "HOOKS.example.org:443",
        ] {
            assert_eq!(vet_host(Some(host), &listed), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label_or_more_and_not_for_none() {
        let listed = ["*.example.org".to_owned(), "*.test:8443".to_owned()];
        for (host, is_answered) in [
            ("a.example.org", true),
            ("A.B-c_1.Example.ORG:8080", true),
            ("example.org", false),
            (".example.org", false),
            ("a..example.org", false),
            ("evil.example/.example.org", false),
            ("evil@a.example.org", false),
            ("é.example.org", false),
            ("aexample.org", false),
            ("a.example.org.evil.example", false),
            ("a.example.org.", false),
            ("a.b.test:8443", true),
            ("a.test:443", false),
            ("a.test", false),
        ] {
            assert_eq!(vet_host(Some(host), &listed).is_ok(), is_answered, "{host}");
        }
    }

    #[test]
    fn an_entry_with_a_port_is_for_that_port_only_and_browsers_leave_out_the_usual_ones() {
        let listed = ["a.example:8443", "b.example:443", "c.example:80"].map(str::to_owned);
        for (host, is_answered) in [
            ("a.example:8443", true),
            ("A.EXAMPLE:8443", true),
            ("a.example", false),
            ("a.example:443", false),
            ("a.example:08443", false),
            ("b.example", true),
            ("b.example:443", true),
            ("b.example:80", false),
            ("c.example", true),
            ("c.example:8080", false),
        ] {
            assert_eq!(vet_host(Some(host), &listed).is_ok(), is_answered, "{host}");
        }
    }

    #[test]
    fn other_hosts_are_not() {
        let listed = ["hooks.example.org".to_owned()];
        for host in [
            "",
            ":80",
            "evil.example",
            "evil.hooks.example.org",
            "127.0.0.1.evil.example",
            "localhost.",
            "localhost:80x",
            "localhost:123456",
            "[::1",
            "[::1]evil.example",
            "a/b",
            "user@localhost",
        ] {
            assert!(vet_host(Some(host), &listed).is_err(), "{host}");
        }
        assert!(vet_host(None, &listed).is_err());
    }
}
