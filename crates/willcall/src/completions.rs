//! `willcall completions SHELL`: a script by which a shell completes this command line. It comes
//! from the same table as the command line itself.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, ValueHint};
use clap_complete::Shell;

use crate::arguments::text;

const SHELLS: [(&str, Shell); 3] = [
    ("bash", Shell::Bash),
    ("zsh", Shell::Zsh),
    ("fish", Shell::Fish),
];

pub(crate) fn command() -> Command {
    Command::new("completions")
        .about("Print the script by which a shell completes this command line")
        .long_about(
            "Print the script by which a shell completes this command line.\n\n\
             bash: write it to /usr/share/bash-completion/completions/willcall. zsh: to _willcall in \
             a folder of $fpath. fish: to ~/.config/fish/completions/willcall.fish. The Debian \
             package has done this.",
        )
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(PossibleValuesParser::new(SHELLS.map(|(name, _)| name)))
                .help("The shell"),
        )
}

pub(crate) fn run(command: &Command, matches: &ArgMatches) {
    let wanted = text(matches, "shell");
    let shell = SHELLS.iter().find(|(name, _)| *name == wanted);
    let (_, shell) = shell.expect("clap takes no other value");
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut hinted(command), "willcall", &mut script);
    say!("{}", String::from_utf8_lossy(&script).trim_end());
}

/// The command line as a shell needs it: with what kind of value each argument takes, and without
/// former names.
fn hinted(command: &Command) -> Command {
    let own = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let own: Vec<Arg> = own.cloned().map(hinted_arg).collect();
    let below: Vec<Command> = command.get_subcommands().map(hinted).collect();
    Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .disable_version_flag(true)
        .args(own)
        .subcommands(below)
}

fn hinted_arg(arg: Arg) -> Arg {
    let name = arg.get_value_names().and_then(|names| names.first());
    let name = name.map_or_else(String::new, ToString::to_string);
    match name.as_str() {
        "FILE" | "FILE,…" => arg.value_hint(ValueHint::FilePath),
        "FOLDER" => arg.value_hint(ValueHint::DirPath),
        _ if is_choice(&name) => {
            let values: Vec<String> = name.split('|').map(str::to_owned).collect();
            arg.value_parser(PossibleValuesParser::new(values))
        }
        _ => arg,
    }
}

/// Whether the name of a value is the list of all of them, such as `true|false`.
fn is_choice(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    name.contains('|') && name.split('|').all(is_word)
}
