//! An attempt as a command for a POSIX shell: the same bytes, whatever they are. Secrets are not
//! known here; three stars stand for each.

use std::fmt::Write;

use model::attempt::Attempt;

/// Header lines that curl makes itself, as the engine does.
const FRAMING: [&str; 4] = ["connection", "content-length", "host", "transfer-encoding"];

/// Header lines that curl adds, unless they are given or removed.
const HABITS: [&str; 3] = ["accept", "content-type", "user-agent"];

/// The command that sends `body` as this attempt did.
pub(super) fn command(attempt: &Attempt, body: &[u8]) -> String {
    // The user and password of a URL are masked before its host.
    let url = attempt.url.replacen("***@", "", 1);
    let mut lines = vec![format!(
        "curl --globoff --path-as-is {}",
        quoted(url.as_bytes())
    )];
    let mut given = Vec::new();
    for (name, value) in attempt.request_headers.iter() {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if FRAMING.contains(&name.as_str()) || !is_token(&name) {
            continue;
        }
        lines.push(format!("--header {}", header(&name, value)));
        given.push(name);
    }
    for habit in HABITS {
        if !given.iter().any(|name| name == habit) {
            lines.push(format!("--header '{habit}:'"));
        }
    }
    let mut command = String::new();
    if is_plain(body) {
        lines.push(format!("--data-raw {}", quoted(body)));
    } else {
        writeln!(command, "printf {} |", printed(body)).unwrap_or_default();
        lines.push("--data-binary @-".to_owned());
    }
    command.push_str(&lines.join(" \\\n  "));
    command
}

fn is_token(name: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(sound)
}

/// A header without a value is written with a semicolon, or curl would remove it.
fn header(name: &str, value: &[u8]) -> String {
    let mut line = name.as_bytes().to_vec();
    if value.is_empty() {
        line.push(b';');
    } else {
        line.extend_from_slice(b": ");
        line.extend_from_slice(value);
    }
    match is_plain(&line) {
        true => quoted(&line),
        false => format!("\"$(printf {})\"", printed(&line)),
    }
}

/// Whether these bytes survive being copied out of a page and into a shell.
fn is_plain(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| {
        let seen = |letter: char| letter == '\n' || !letter.is_control();
        let turned =
            |letter: char| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        text.chars().all(|letter| seen(letter) && !turned(letter))
    })
}

/// One word for the shell. In single quotes only the closing quote is special.
fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A format for `printf` (POSIX XCU, printf) that makes these bytes, as one word.
fn printed(bytes: &[u8]) -> String {
    let mut format = String::from("'");
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'\\' => format.push_str("\\\\"),
            b'%' => format.push_str("%%"),
            b'-' if index == 0 => format.push_str("\\055"),
            b'\'' => format.push_str("\\047"),
            b' '..=b'~' => format.push(char::from(*byte)),
            // Always three digits, so that a following digit stays one.
            other => write!(format, "\\{other:03o}").unwrap_or_default(),
        }
    }
    format.push('\'');
    format
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use model::attempt::{Failure, FailureKind, Outcome};
    use model::time::Timestamp;
    use model::webhook::Headers;

    use super::*;

    fn attempt(url: &str, headers: &[(&str, &[u8])]) -> Attempt {
        Attempt {
            began_at: Timestamp::EPOCH,
            duration_ms: 1,
            url: url.into(),
            request_headers: Headers::from_pairs(headers.iter().copied()),
            outcome: Outcome::Failed(Failure::new(FailureKind::Closed, "")),
        }
    }

    /// What a shell makes of `command` if curl only tells its arguments and what it is handed.
    fn run(command: &str) -> Vec<Vec<u8>> {
        let script = format!(
            "curl() {{ for word in \"$@\"; do printf '%s\\0' \"$word\"; \
             case $word in @-) cat; printf '\\0';; esac; done; }}\n{command}\n"
        );
        let ran = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(
            ran.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let words = ran.stdout.split(|byte| *byte == 0);
        words.map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn a_shell_gets_url_headers_and_body_as_they_were() {
        let headers: [(&str, &[u8]); 5] = [
            ("Content-Type", b"application/json"),
            ("Host", b"x"),
            ("X-Odd", b"it's `$(true)` \"!\" \\"),
            ("X-Bytes", &[0xff, b'\'', b'%', b'\\']),
            ("X-Empty", b""),
        ];
        let attempt = attempt("https://***@example.org/a[1]?b='c'&d=$HOME", &headers);
        let body = "{\"name\":\"O'Neill\",\n\"x\":\"$(rm) `ls` \\n\"}";
        let words = run(&command(&attempt, body.as_bytes()));
        let wanted: [&[u8]; 17] = [
            b"--globoff",
            b"--path-as-is",
            b"https://example.org/a[1]?b='c'&d=$HOME",
            b"--header",
            b"content-type: application/json",
            b"--header",
            b"x-odd: it's `$(true)` \"!\" \\",
            b"--header",
            b"x-bytes: \xff'%\\",
            b"--header",
            b"x-empty;",
            b"--header",
            b"accept:",
            b"--header",
            b"user-agent:",
            b"--data-raw",
            body.as_bytes(),
        ];
        assert_eq!(words.get(..17).unwrap(), wanted);
    }

    #[test]
    fn a_shell_gets_every_byte_there_is() {
        // Zero is what the words are told apart by here.
        let mut body: Vec<u8> = (1..=255).collect();
        body.splice(0..0, *b"-%s\\7@");
        let words = run(&command(&attempt("http://a", &[]), &body));
        assert_eq!(words.iter().rev().nth(1), Some(&body));
        assert!(command(&attempt("http://a", &[]), b"a\0").starts_with("printf 'a\\000' |"));
    }
}
