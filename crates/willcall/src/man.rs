//! `willcall man`: the manual page, in the language of `man`. It comes from the same tables as the
//! command line and the settings, so it cannot name what is not there.

use clap::{Arg, Command};

use crate::config::{SETTINGS, variable};

const DESCRIPTION: &str = "\
Willcall gives a ticketing platform its webhook system. An application hands in what happened, and \
Willcall calls every URL that subscribed to it, again if need be, until it is answered. What it has \
accepted is delivered or shown as failed, even if it crashes. It keeps everything in one file, or in \
a PostgreSQL database.\n\n\
Begin with \"willcall demo\". To run it: declare tenants in a file, give it to \"willcall apply\", see \
whether \"willcall doctor\" is content, and start \"willcall serve\".";

const SETTINGS_WORDS: &str = "\
Each setting is a flag, a variable of the environment, and a key of the TOML file that --config or \
WILLCALL_CONFIG names. A flag wins over a variable, a variable over the file. A wrong or unknown \
setting stops the start with a sentence that names it.";

/// Name and meaning.
const FILES: [(&str, &str); 2] = [
    (
        "/etc/willcall/willcall.toml",
        "The settings of the service, as the Debian package installs it.",
    ),
    (
        "/var/lib/willcall",
        "The data of that service. Make copies with \"willcall backup\".",
    ),
];

const STATUS: [(&str, &str); 3] = [
    ("0", "It did what was asked."),
    ("1", "It did not; standard error has the reason."),
    ("2", "The command line is wrong."),
];

pub(crate) fn command() -> Command {
    Command::new("man")
        .about("Print the manual page")
        .long_about("Print the manual page. To read it: willcall man | man -l -")
}

pub(crate) fn run(command: Command) {
    say!("{}", page(command).trim_end());
}

fn page(mut command: Command) -> String {
    command.build();
    let mut page = Page(String::new());
    let version = env!("CARGO_PKG_VERSION");
    page.line(&format!(
        ".TH WILLCALL 1 \"\" \"willcall {version}\" \"User Commands\""
    ));
    let about = command
        .get_about()
        .map_or_else(String::new, ToString::to_string);
    page.section("NAME");
    page.text(&format!("willcall - {about}"));
    page.section("SYNOPSIS");
    let mut leaves = Vec::new();
    gather(&command, &mut leaves);
    for leaf in &leaves {
        page.text(&usage(leaf));
        page.line(".br");
    }
    page.item("willcall --version [--verbose]", "");
    page.section("DESCRIPTION");
    page.text(DESCRIPTION);
    page.section("COMMANDS");
    for leaf in &leaves {
        page.command(leaf);
    }
    page.section("SETTINGS");
    page.text(SETTINGS_WORDS);
    for setting in SETTINGS {
        let flag = format!("--{} {}", setting.key.replace('_', "-"), setting.value);
        let default = match setting.default {
            "" => String::new(),
            default => format!(" Default: {default}."),
        };
        let variable = variable(setting.key);
        let meaning = format!("{}.{default} Variable: {variable}.", setting.meaning);
        page.item(&flag, &meaning);
    }
    page.section("FILES");
    for (name, meaning) in FILES {
        page.item(name, meaning);
    }
    page.section("EXIT STATUS");
    for (status, meaning) in STATUS {
        page.item(status, meaning);
    }
    page.0
}

/// All commands that do something, in order.
fn gather<'a>(command: &'a Command, leaves: &mut Vec<&'a Command>) {
    let below = command.get_subcommands();
    for command in below.filter(|command| command.get_name() != "help") {
        match command.has_subcommands() {
            true => gather(command, leaves),
            false => leaves.push(command),
        }
    }
}

/// How it is called, in one line.
fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

/// What is written so far.
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, name: &str) {
        self.line(&format!(".SH \"{name}\""));
    }

    /// Paragraphs, with an empty line between two.
    fn text(&mut self, text: &str) {
        for (n, paragraph) in text.split("\n\n").enumerate() {
            if n > 0 {
                self.line(".PP");
            }
            for line in paragraph.lines() {
                self.line(&escaped(line.trim()));
            }
        }
    }

    /// A term and what it means.
    fn item(&mut self, term: &str, meaning: &str) {
        self.line(".TP");
        self.line(&format!("\\fB{}\\fR", escaped(term)));
        if !meaning.is_empty() {
            self.text(meaning);
        }
    }

    fn command(&mut self, command: &Command) {
        self.line(&format!(".SS \"{}\"", escaped(&usage(command))));
        let about = command.get_long_about().or_else(|| command.get_about());
        if let Some(about) = about {
            self.text(&about.to_string());
        }
        let is_setting = |arg: &&Arg| SETTINGS.iter().any(|setting| arg.get_id() == setting.key);
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let (settings, own): (Vec<&Arg>, Vec<&Arg>) = shown.partition(is_setting);
        for arg in own.iter().filter(|arg| arg.get_id() != "help") {
            let help = arg.get_long_help().or_else(|| arg.get_help());
            let help = help.map_or_else(String::new, ToString::to_string);
            self.item(&term(arg), &help);
        }
        if settings.is_empty() {
            return;
        }
        let names: Vec<String> = settings.iter().map(|arg| term(arg)).collect();
        let names = match settings.len() == SETTINGS.len() {
            true => "all".to_owned(),
            false => names.join(", "),
        };
        self.line(".PP");
        self.text(&format!("Settings, explained below: {names}."));
    }
}

/// An argument as it is written.
fn term(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let takes = arg.get_action().takes_values();
    let long = arg.get_long().map(|long| format!("--{long}"));
    let values = names.iter().filter(|_| takes).map(ToString::to_string);
    long.into_iter().chain(values).collect::<Vec<_>>().join(" ")
}

/// A line of text that `man` takes as nothing but text.
fn escaped(line: &str) -> String {
    let line = line
        .replace('…', "...")
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('"', "\\(dq");
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line,
    }
}
