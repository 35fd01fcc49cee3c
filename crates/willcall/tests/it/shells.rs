//! What a terminal gets besides the commands: completions in real shells, the manual page in a real
//! `man`, and the version.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Server, willcall};

fn printed(arguments: &[&str]) -> String {
    let output = willcall(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a program prints that reads this.
fn fed(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}, which test.sh installs: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    crate::harness::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), complaint.as_str()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands of the first level, as the help has them.
fn commands() -> BTreeSet<String> {
    let help = printed(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let names = list.lines().filter_map(|line| {
        let line = line.strip_prefix("  ")?;
        let is_name = !line.starts_with(' ');
        is_name.then(|| line.split(' ').next().unwrap().to_owned())
    });
    names.filter(|name| name != "help").collect()
}

/// What bash offers for the last of these words.
fn bash(words: &[&str]) -> BTreeSet<String> {
    let script = printed(&["completions", "bash"]);
    let last = words.len() - 1;
    let words = words.join("' '");
    let asked = format!(
        "{script}\nCOMP_WORDS=('{words}')\nCOMP_CWORD={last}\n\
         _willcall willcall \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last} - 1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let offered = fed("bash", &["--norc"], &asked);
    offered.lines().map(str::to_owned).collect()
}

/// What fish offers for this line.
fn fish(line: &str) -> BTreeSet<String> {
    let script = printed(&["completions", "fish"]);
    let asked = format!("{script}\ncomplete --do-complete '{line}'\n");
    let offered = fed("fish", &["--no-config"], &asked);
    let word = |line: &str| line.split('\t').next().unwrap().to_owned();
    offered.lines().map(word).collect()
}

#[test]
fn every_command_and_setting_is_completed_by_bash_and_by_fish() {
    let commands = commands();
    assert!(commands.contains("serve") && commands.contains("completions"));
    let of_bash = bash(&["willcall", ""]);
    assert!(of_bash.is_superset(&commands), "{of_bash:?}");
    let of_fish = fish("willcall ");
    assert!(of_fish.is_superset(&commands), "{of_fish:?}");
    for offered in [
        bash(&["willcall", "serve", "--"]),
        fish("willcall serve --"),
    ] {
        assert!(offered.contains("--max-in-flight"), "{offered:?}");
        assert!(
            !offered.contains("--flights-max"),
            "a former name: {offered:?}"
        );
    }
    let levels = ["debug", "error", "info", "warn"].map(str::to_owned);
    let offered = bash(&["willcall", "serve", "--log-level", ""]);
    assert_eq!(offered, BTreeSet::from(levels.clone()));
    let offered = fish("willcall serve --log-level ");
    assert_eq!(offered, BTreeSet::from(levels));
    assert_eq!(
        bash(&["willcall", "token", "rev"]),
        BTreeSet::from(["revoke".to_owned()])
    );
}

#[test]
fn zsh_reads_its_completions() {
    let script = printed(&["completions", "zsh"]);
    assert!(script.starts_with("#compdef willcall\n"), "{script}");
    assert!(script.contains("--max-in-flight="), "{script}");
    assert!(!script.contains("flights-max"), "{script}");
    // Reads it and carries out nothing.
    fed("zsh", &["-f", "-n"], &script);
    let unknown = willcall(&["completions", "tcsh"]);
    assert_eq!(unknown.status.code(), Some(2));
    let words = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        words.contains("[possible values: bash, zsh, fish]"),
        "{words}"
    );
}

#[test]
fn the_manual_page_has_every_command_and_setting_and_no_mistake() {
    let page = printed(&["man"]);
    // With all warnings, of which `fed` bears none.
    let shown = fed(
        "groff",
        &["-man", "-ww", "-Tascii", "-P-bcu", "-Kutf8", "-rLL=100n"],
        &page,
    );
    for command in commands() {
        let words = format!("willcall {command}");
        assert!(shown.contains(&words), "{words}: {shown}");
    }
    let guide = include_str!("../../../../docs/operating.md");
    let (_, settings) = guide.split_once("| key | default | meaning |").unwrap();
    let (settings, _) = settings.split_once("\n\n").unwrap();
    let rows = settings.lines().filter_map(|row| row.strip_prefix("| `"));
    let mut count = 0;
    for row in rows {
        let (key, _) = row.split_once('`').unwrap();
        let flag = format!("--{} ", key.replace('_', "-"));
        assert!(shown.contains(&flag), "{flag}: {shown}");
        count += 1;
    }
    assert!(count > 20, "{count} settings");
    assert!(!shown.contains("flights-max"), "a former name: {shown}");
}

#[test]
fn the_version_is_short_and_with_verbose_everything_that_a_report_should_say() {
    let short = format!("willcall {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed(&["--version"]), short);
    assert_eq!(printed(&["-V"]), short);
    let long = printed(&["--version", "--verbose"]);
    assert!(long.starts_with(&short), "{long}");
    let file_schema = format!("schema of a file: {}\n", store::probe::SCHEMA_VERSION);
    for words in ["commit: ", "build: debug, ", "SQLite: 3.", &file_schema] {
        assert!(long.contains(words), "{words}: {long}");
    }
    assert!(
        long.contains("dialects: pretix, openticket, alerts\n"),
        "{long}"
    );
    let alone = willcall(&["--verbose"]);
    assert_eq!(alone.status.code(), Some(2), "{alone:?}");
}

#[test]
fn a_health_check_asks_the_running_server_and_says_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let listen = server.address.to_string();
    assert!(printed(&["ready", "--listen", &listen]).starts_with("ok"));
    server.kill();
    let gone = willcall(&["ready", "--listen", &listen]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    let words = String::from_utf8(gone.stderr).unwrap();
    assert!(
        words.contains(&format!("no server answers at {listen}: ")),
        "{words}"
    );
}
