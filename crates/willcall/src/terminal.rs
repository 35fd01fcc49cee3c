//! Asks for a password on the terminal with echo off, or reads it from standard input.
//!
//! Keys are read one by one, so that Ctrl-C ends the command with the terminal restored.

use std::io::{IsTerminal, Read, Write};

use anyhow::{Context, Result, bail};
use model::limits::PASSWORD_BYTES_MAX;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A new password: from standard input if `from_stdin`, else typed twice.
pub(crate) fn new_password(from_stdin: bool) -> Result<String> {
    if from_stdin {
        return line_of(std::io::stdin().lock());
    }
    if !std::io::stdin().is_terminal() {
        bail!(
            "there is no terminal to ask for a password; give it on standard input with --password-stdin"
        );
    }
    let password = ask("New password: ")?;
    if ask("Repeat the password: ")? != password {
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(password)
}

/// The first line. No more is read than a password may have.
fn line_of(input: impl Read) -> Result<String> {
    let most = u64::try_from(PASSWORD_BYTES_MAX + 2)?;
    let mut bytes = Vec::new();
    input
        .take(most)
        .read_to_end(&mut bytes)
        .context("standard input cannot be read")?;
    let text = String::from_utf8(bytes).context("the password is not UTF-8")?;
    let line = text.split('\n').next().unwrap_or_default();
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn ask(question: &str) -> Result<String> {
    let mut out = std::io::stderr();
    write!(out, "{question}")?;
    out.flush()?;
    let hidden = HiddenInput::begin()?;
    let typed = typed(std::io::stdin().lock());
    drop(hidden);
    writeln!(out)?;
    typed
}

/// Reads keys until Enter.
fn typed(mut keys: impl Read) -> Result<String> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const CLEAR: u8 = 21;
    const ERASE: [u8; 2] = [8, 127];
    let mut bytes: Vec<u8> = Vec::new();
    let mut key = [0];
    loop {
        let count = keys.read(&mut key).context("the terminal cannot be read")?;
        let [byte] = key;
        match byte {
            _ if count == 0 => break,
            b'\n' | b'\r' | END => break,
            INTERRUPT => bail!("stopped; nothing was changed"),
            CLEAR => bytes.clear(),
            byte if ERASE.contains(&byte) => {
                // Removes a whole character, which may have several bytes.
                while bytes.pop().is_some_and(|last| last & 0xc0 == 0x80) {}
            }
            byte if bytes.len() <= PASSWORD_BYTES_MAX => bytes.push(byte),
            _ => {}
        }
    }
    String::from_utf8(bytes).context("the password is not UTF-8")
}

/// Turns echo off; turns it on again when it is dropped.
struct HiddenInput(Termios);

impl HiddenInput {
    fn begin() -> Result<Self> {
        let before =
            tcgetattr(std::io::stdin()).context("the state of the terminal cannot be read")?;
        let mut hidden = before.clone();
        hidden
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &hidden)
            .context("the terminal cannot hide what is typed")?;
        Ok(Self(before))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // If the terminal is gone there is nothing to restore.
        tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_password_and_mend_it() {
        for (keys, password) in [
            ("secret\n", "secret"),
            ("secret\r", "secret"),
            ("secret", "secret"),
            ("secreu\u{7f}t\n", "secret"),
            ("aä\u{8}b\n", "ab"),
            ("\u{7f}\u{7f}a\n", "a"),
            ("wrong\u{15}right\n", "right"),
            ("a\u{4}b\n", "a"),
        ] {
            assert_eq!(typed(keys.as_bytes()).unwrap(), password, "{keys:?}");
        }
        assert!(typed("abc\u{3}\n".as_bytes()).is_err());
        assert!(typed([0xff, b'\n'].as_slice()).is_err());
        let long = "x".repeat(1_000_000);
        assert_eq!(
            typed(long.as_bytes()).unwrap().len(),
            PASSWORD_BYTES_MAX + 1
        );
    }

    #[test]
    fn a_password_on_standard_input_is_its_first_line() {
        for (text, password) in [("a b\n", "a b"), ("a\r\nb", "a"), ("a", "a"), ("", "")] {
            assert_eq!(line_of(text.as_bytes()).unwrap(), password);
        }
        assert!(line_of([0xff].as_slice()).is_err());
        assert!(line_of(std::io::repeat(b'x')).unwrap().len() > PASSWORD_BYTES_MAX);
    }
}
