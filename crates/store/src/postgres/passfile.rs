//! A passfile: a line with host, port, database, user and password for each database, as libpq
//! reads its `.pgpass`.

use crate::postgres::settings::{DatabaseHost, HostAddress, Secret};

/// Where libpq looks for a socket if nothing is named; a line for `localhost` is for these, too.
const DEFAULT_FOLDERS: [&str; 3] = ["/run/postgresql", "/var/run/postgresql", "/tmp"];

/// The password of the first line that matches. `*` matches anything, a backslash takes the next
/// character as it is, and lines with # are remarks.
pub(crate) fn find(text: &str, host: &DatabaseHost, dbname: &str, user: &str) -> Option<Secret> {
    let name = match &host.address {
        HostAddress::Name(name, _) => name.clone(),
        HostAddress::Socket(folder) => {
            let folder = folder.display().to_string();
            match DEFAULT_FOLDERS.contains(&folder.as_str()) {
                true => "localhost".to_owned(),
                false => folder,
            }
        }
    };
    let port = host.port.to_string();
    let wanted = [name.as_str(), &port, dbname, user];
    text.lines().find_map(|line| password(line, wanted))
}

fn password(line: &str, wanted: [&str; 4]) -> Option<Secret> {
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    if rest.starts_with('#') {
        return None;
    }
    for field in wanted {
        let (raw, behind) = field_of(rest)?;
        rest = behind;
        if raw != "*" && unescaped(raw) != field {
            return None;
        }
    }
    // libpq ends the password at a colon, too.
    let password = field_of(rest).map_or(rest, |(password, _)| password);
    Some(Secret(unescaped(password)))
}

/// What comes before the next colon, and what behind it.
fn field_of(line: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    let end = line.find(|letter| {
        let ends = letter == ':' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends
    })?;
    let (field, behind) = line.split_at_checked(end)?;
    Some((field, behind.strip_prefix(':')?))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.extend(letters.next()),
            letter => plain.push(letter),
        }
    }
    plain
}
