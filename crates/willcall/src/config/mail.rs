//! The mail server that alerts go to, from three settings. None of their errors quotes a password.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use engine::{MailSecurity, MailServer};
use model::mail::MailAddress;

use super::RawConfig;

const URL: &str = "smtp_url";
const PASSWORD_FILE: &str = "smtp_password_file";
const FROM: &str = "smtp_from";

/// Where a mail server takes mail (RFC 8314): with TLS from the beginning, and with `STARTTLS`.
const SUBMISSIONS_PORT: u16 = 465;
const SUBMISSION_PORT: u16 = 587;

impl RawConfig {
    pub(super) fn mail(&self) -> Result<Option<MailServer>> {
        let file = self.given(PASSWORD_FILE)?;
        let from = self.given(FROM)?;
        let Some(url) = self.given(URL)? else {
            let lonely = [(PASSWORD_FILE, &file), (FROM, &from)];
            if let Some((lonely, _)) = lonely.into_iter().find(|(_, given)| given.is_some()) {
                bail!(
                    "the setting {lonely} (from {}) is for mail, and there is no {URL}: add that, \
                     or take this out",
                    self.origin_of(lonely)
                );
            }
            return Ok(None);
        };
        let place = self.origin_of(URL);
        let wrong = |why: &str| {
            anyhow!(
                "the setting {URL} (from {place}) is wrong: {why}. Write it like \
                 smtps://user@mail.example.org, smtp://user@mail.example.org (with STARTTLS), or \
                 smtp+plain://localhost for a server on this machine"
            )
        };
        let read = read_url(url.text.trim()).map_err(wrong)?;
        let Some(from) = from else {
            bail!("the setting {FROM} is missing: the address that mails come from");
        };
        let from: MailAddress = from.text.trim().parse().map_err(|error| {
            anyhow!(
                "the setting {FROM} (from {}): {error}",
                self.origin_of(FROM)
            )
        })?;
        let password = match file {
            Some(path) => Some(password(path.text.trim())?),
            None => None,
        };
        let credentials = match (read.user, password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (Some(_), None) => bail!(
                "the setting {URL} (from {place}) names a user, and there is no {PASSWORD_FILE} \
                 with the password"
            ),
            (None, Some(_)) => bail!(
                "the setting {PASSWORD_FILE} (from {}) has a password, and {URL} names no user: \
                 write it before the host, as in smtps://user@mail.example.org",
                self.origin_of(PASSWORD_FILE)
            ),
        };
        Ok(Some(MailServer {
            host: read.host,
            port: read.port,
            security: read.security,
            credentials,
            from,
        }))
    }

    fn origin_of(&self, key: &str) -> &str {
        self.values.get(key).map_or("", |written| &written.place)
    }
}

struct MailUrl {
    host: String,
    port: u16,
    security: MailSecurity,
    user: Option<String>,
}

fn read_url(text: &str) -> Result<MailUrl, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("there is no scheme")?;
    let (security, usual) = match scheme {
        "smtps" => (MailSecurity::Tls, SUBMISSIONS_PORT),
        "smtp" => (MailSecurity::StartTls, SUBMISSION_PORT),
        "smtp+plain" => (MailSecurity::Plain, 25),
        _ => return Err("its scheme is none of smtps, smtp and smtp+plain"),
    };
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(
            "a password does not belong in it, but into a file that smtp_password_file names",
        );
    }
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains(['/', '?', '#']) {
        return Err("nothing stands behind host and port");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (
            host,
            port.parse()
                .map_err(|_| "its port is not a number up to 65535")?,
        ),
        Some(_) | None => (authority, usual),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_name = |host: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        !host.is_empty() && host.bytes().all(plain)
    };
    if host.parse::<IpAddr>().is_err() && !is_name(host) {
        return Err("it names no host");
    }
    let user = user.map(|user| percent_decoded(user).ok_or("its user has a wrong escape"));
    Ok(MailUrl {
        host: host.to_ascii_lowercase(),
        port,
        security,
        user: user.transpose()?,
    })
}

/// A user of a mail server is often an address, whose `@` may be written as `%40`.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded)
        .ok()
        .filter(|text| !text.is_empty())
}

fn password(path: &str) -> Result<String> {
    let read = std::fs::read_to_string(Path::new(path));
    let password = read.with_context(|| {
        format!("the setting {PASSWORD_FILE} names {path}, and that file cannot be read")
    })?;
    let password = password.trim_end_matches(['\r', '\n']);
    match password.is_empty() {
        true => bail!("the setting {PASSWORD_FILE} names {path}, and that file is empty"),
        false => Ok(password.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_says_how_the_way_is_secured_and_which_port_is_usual() {
        for (url, host, port, security, user) in [
            (
                "smtps://mail.example.org",
                "mail.example.org",
                465,
                MailSecurity::Tls,
                None,
            ),
            (
                "smtp://ops%40example.org@Mail.example.org",
                "mail.example.org",
                587,
                MailSecurity::StartTls,
                Some("ops@example.org"),
            ),
            (
                "smtp://ops@example.org@mail.example.org:2525/",
                "mail.example.org",
                2_525,
                MailSecurity::StartTls,
                Some("ops@example.org"),
            ),
            (
                "smtp+plain://[::1]:1025",
                "::1",
                1_025,
                MailSecurity::Plain,
                None,
            ),
            (
                "smtp+plain://localhost",
                "localhost",
                25,
                MailSecurity::Plain,
                None,
            ),
        ] {
            let read = read_url(url).unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port), "{url}");
            assert_eq!(
                (read.security, read.user.as_deref()),
                (security, user),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_mail_server_is_refused() {
        for url in [
            "mail.example.org",
            "http://mail.example.org",
            "smtps://",
            "smtps://user:secret@mail.example.org",
            "smtps://mail.example.org:70000",
            "smtps://mail.example.org/path",
            "smtps://mail.example.org?tls=none",
            "smtps://a b",
            "smtps://%zz@mail.example.org",
        ] {
            assert!(read_url(url).is_err(), "{url}");
        }
    }
}
