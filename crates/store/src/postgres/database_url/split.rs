//! A database URL taken apart into libpq's words, as libpq does it. Nothing that may be part of a
//! password is in an error.

use crate::postgres::settings::DatabaseUrlError;

/// A word of libpq and its value, in the order of the URL. Hosts and ports are lists with commas.
pub(super) type Words = Vec<(String, String)>;

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// What is wrong where a password may have come apart.
const ESCAPES: &str = "the database URL cannot be read: in a user name or password, write : as \
                       %3A, / as %2F, ? as %3F, # as %23, @ as %40, & as %26 and % as %25";

pub(super) fn split(url: &str) -> Result<Words, DatabaseUrlError> {
    let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or_else(|| {
        says(
            "the database URL must begin with postgres:// or postgresql://, such as \
              postgres://willcall@db.example.com/willcall?sslmode=verify-full&sslrootcert=system",
        )
    })?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !authority.contains('@') && rest.contains('@') || authority.matches('@').count() > 1 {
        return Err(says(ESCAPES));
    }
    let mut words = Words::new();
    let hosts = match authority.split_once('@') {
        None => authority,
        Some((user, hosts)) => {
            push_user(&mut words, user)?;
            hosts
        }
    };
    push_hosts(&mut words, hosts)?;
    let (path, query) = match rest.split_once('?') {
        None => (rest, None),
        Some((path, query)) => (path, Some(query)),
    };
    let name = path.strip_prefix('/').unwrap_or(path);
    if !name.is_empty() {
        words.push(("dbname".to_owned(), decoded(name)?));
    }
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        // An & at the end or two in a row say nothing.
        if pair.is_empty() {
            continue;
        }
        let (word, value) = pair.split_once('=').ok_or_else(|| says(PAIRS))?;
        if value.contains('=') {
            return Err(says(PAIRS));
        }
        words.push((decoded(word)?, decoded(value)?));
    }
    Ok(words)
}

const PAIRS: &str = "the database URL cannot be read: what follows the ? must be words with \
                     values, such as sslmode=require&connect_timeout=5, with = in a value as %3D";

fn push_user(words: &mut Words, user: &str) -> Result<(), DatabaseUrlError> {
    let (user, password) = match user.split_once(':') {
        None => (user, None),
        Some((user, password)) => (user, Some(password)),
    };
    if !user.is_empty() {
        words.push(("user".to_owned(), decoded(user)?));
    }
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        words.push(("password".to_owned(), decoded(password)?));
    }
    Ok(())
}

/// `host:port,[::1]:port,host`. A port that is missing is an empty one.
fn push_hosts(words: &mut Words, hosts: &str) -> Result<(), DatabaseUrlError> {
    if hosts.is_empty() {
        return Ok(());
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, rest) = match host.strip_prefix('[') {
            Some(inner) => {
                let end = "the database URL has a [ without its ]: write an IPv6 address as [::1]";
                inner.split_once(']').ok_or_else(|| says(end))?
            }
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port,
            None if rest.is_empty() => "",
            None => return Err(says(ESCAPES)),
        };
        names.push(decoded(name)?);
        ports.push(decoded(port)?);
    }
    words.push(("host".to_owned(), names.join(",")));
    if ports.iter().any(|port| !port.is_empty()) {
        words.push(("port".to_owned(), ports.join(",")));
    }
    Ok(())
}

fn decoded(text: &str) -> Result<String, DatabaseUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.split_at_checked(2);
        let byte = digits.and_then(|(digits, behind)| {
            rest = behind;
            let digits = std::str::from_utf8(digits).ok()?;
            let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            u8::from_str_radix(digits, 16)
                .ok()
                .filter(|byte| plain && *byte != 0)
        });
        bytes.push(byte.ok_or_else(|| says(PERCENT))?);
    }
    String::from_utf8(bytes).map_err(|_| says(PERCENT))
}

const PERCENT: &str = "the database URL cannot be read: a % must be followed by the two \
                       hexadecimal digits of a byte other than 00, all of them together must be \
                       UTF-8, and the sign itself is %25";

fn says(sentence: &str) -> DatabaseUrlError {
    DatabaseUrlError(sentence.to_owned())
}
