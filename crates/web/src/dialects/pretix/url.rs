//! Which target URLs a webhook may have: the rule of pretix's framework, without ftp and without
//! ports that cannot be called (`docs/pretix.md`).
//!
//! It judges the text as typed and changes nothing; what a URL means on the wire is
//! `model::target`'s business.

use std::net::Ipv6Addr;

use super::python::is_space;

const URL_CHARS_MAX: usize = 2_048;
const HOST_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

pub(super) fn is_target(text: &str) -> bool {
    if text.chars().count() > URL_CHARS_MAX || text.contains(['\t', '\r', '\n']) {
        return false;
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return false;
    }
    let shaped = is_host_and_tail(rest) || without_user(rest).is_some_and(is_host_and_tail);
    shaped && has_sound_authority(rest)
}

/// What follows `user@` or `user:password@`.
fn without_user(rest: &str) -> Option<&str> {
    let (user_info, after) = rest.split_once('@')?;
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    // Brackets: Python's URL parser takes them for an address and gives up.
    let sound = |part: &str| !part.contains([':', '/', '[', ']']) && !part.contains(is_space);
    (!user.is_empty() && sound(user) && sound(password)).then_some(after)
}

fn is_host_and_tail(rest: &str) -> bool {
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if tail.contains(is_space) {
        return false;
    }
    let (host, port) = match authority
        .strip_prefix('[')
        .and_then(|v6| v6.split_once(']'))
    {
        Some((address, port)) => {
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    port.is_none_or(is_port) && (is_ipv4(host) || is_name(host))
}

fn is_port(port: &str) -> bool {
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    digits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Four numbers up to 255 without leading zeros.
fn is_ipv4(host: &str) -> bool {
    host.parse::<std::net::Ipv4Addr>().is_ok()
}

fn is_name(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let Some((names, top)) = host.rsplit_once('.') else {
        return false;
    };
    names.split('.').all(is_label) && is_top(top)
}

fn is_letter(character: char) -> bool {
    character.is_ascii_alphabetic() || ('\u{a1}'..='\u{ffff}').contains(&character)
}

fn is_label(label: &str) -> bool {
    let all = label
        .chars()
        .all(|character| is_letter(character) || character.is_ascii_digit() || character == '-');
    all && (1..=LABEL_CHARS_MAX).contains(&label.chars().count()) && !has_edge_hyphen(label)
}

fn is_top(label: &str) -> bool {
    let letters = label
        .chars()
        .all(|character| is_letter(character) || character == '-');
    let length = label.chars().count();
    let alphabetic = letters && (2..=LABEL_CHARS_MAX).contains(&length);
    let encoded = label
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
        && (5..=LABEL_CHARS_MAX).contains(&length)
        && label
            .bytes()
            .skip(4)
            .all(|byte| byte.is_ascii_alphanumeric());
    (alphabetic || encoded) && !has_edge_hyphen(label)
}

fn has_edge_hyphen(label: &str) -> bool {
    label.starts_with('-') || label.ends_with('-')
}

/// What Python's `urlsplit` adds: everything up to the path has a host that is not too long, and
/// no character that would become a separator when it is normalised.
fn has_sound_authority(rest: &str) -> bool {
    const TRAPS: [char; 19] = [
        '\u{2047}', '\u{2048}', '\u{2049}', '\u{2100}', '\u{2101}', '\u{2105}', '\u{2106}',
        '\u{2a74}', '\u{fe13}', '\u{fe16}', '\u{fe55}', '\u{fe56}', '\u{fe5f}', '\u{fe6b}',
        '\u{ff03}', '\u{ff0f}', '\u{ff1a}', '\u{ff1f}', '\u{ff20}',
    ];
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    !authority.contains(TRAPS) && (1..=HOST_CHARS_MAX).contains(&host.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_be_called_are_targets() {
        let label = "a".repeat(63);
        for text in [
            "http://example.org",
            "HTTPS://EXAMPLE.ORG/Path",
            "https://example.org:8080?x=1",
            "https://example.org#frag",
            "https://example.org./",
            "https://user:pa%40ss@example.org/p?q=1#frag",
            "https://tok@example.org/",
            "https://user:@example.org/",
            "https://us?er@example.org/",
            "http://localhost:8000/x",
            "http://LOCALHOST",
            "http://10.0.0.1/x",
            "http://[::1]:80/x",
            "http://[::ffff:1.2.3.4]",
            "https://münchen.example/ä",
            "https://example.xn--p1ai/",
            "https://example.рф/",
            "https://1.example/",
            "https://a--b.example/\u{0}",
            &format!("https://{label}.example/"),
            "https://example.org:00080/",
        ] {
            assert!(is_target(text), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not() {
        let long_label = "a".repeat(64);
        let long_host = "a.".repeat(126) + "example";
        let long = format!("https://example.org/{}", "a".repeat(2_048));
        for text in [
            "",
            "x",
            "foo.bar",
            "ftp://example.org/x",
            "ftps://example.org/x",
            "file:///etc/passwd",
            "http://",
            "https:///x",
            "https://?x",
            "http://intranet/",
            "http://localhost./",
            "https://my_host.example.org/",
            "https://-a.example.org/",
            "https://a-.example.org/",
            "https://example.123/",
            "https://example.o/",
            "https://example.-org/",
            "https://example..org/",
            "https://example.org../",
            "https://.example.org/",
            "https://😀.example/",
            "https://example.org\\x",
            "https://example.org/a b",
            "https://example.org/a\u{a0}b",
            "https://exam ple.org/",
            "https://example.org/\n",
            "http://300.1.1.1/",
            "http://01.1.1.1/",
            "http://127.1/",
            "http://[zz]/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[fe80::1%25eth0]/",
            "https://:password@example.org/",
            "https://a:b:c@example.org/",
            "https://a@b@example.org/",
            "https://example.org:/",
            "https://example.org:0/",
            "https://example.org:65536/",
            "https://example.org:123456/",
            "https://example.org:8a/",
            "https://ex\u{2100}ample.org/",
            &format!("https://{long_label}.example/"),
            &format!("https://{long_host}/"),
            &long,
        ] {
            assert!(!is_target(text), "{text}");
        }
    }
}
