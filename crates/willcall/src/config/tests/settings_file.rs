//! The settings file of the Debian package: every setting, commented out with its default.

use std::fmt::Write as _;

use super::*;

const FILE: &str = include_str!("../../../../../packaging/debian/willcall.toml");

const HEAD: &str = "\
# The settings of Willcall, as the service reads them. What is commented out has its default.
# Where that is \"\" nothing is set: fill it in when you take the # off.
# After a change: willcall doctor --config /etc/willcall/willcall.toml; systemctl restart willcall

# The folder for all data. The service may write here and nowhere else.
data_dir = \"/var/lib/willcall\"
";

/// These words as comments of at most 100 columns.
fn comment(words: &str) -> String {
    let (mut text, mut line) = (String::new(), "#".to_owned());
    for word in words.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > 100 {
            writeln!(text, "{line}").unwrap();
            "#".clone_into(&mut line);
        }
        write!(line, " {word}").unwrap();
    }
    text + &line
}

fn expected() -> String {
    let mut text = HEAD.to_owned();
    for setting in SETTINGS.iter().filter(|setting| setting.key != "data_dir") {
        let meaning = format!("{}: {}.", setting.value, setting.meaning);
        // A new version must not change a file that an operator may have changed.
        let default = setting
            .default
            .replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let is_bare = default.parse::<u64>().is_ok() || setting.value == FLAG;
        let quote = if is_bare { "" } else { "\"" };
        let line = format!("#{} = {quote}{default}{quote}", setting.key);
        write!(text, "\n{}\n{line}\n", comment(&meaning)).unwrap();
    }
    text
}

#[test]
fn the_settings_file_of_the_package_has_every_setting_with_its_default() {
    let expected = expected();
    assert!(
        FILE == expected,
        "packaging/debian/willcall.toml is to be:\n{expected}"
    );
}

#[test]
fn its_lines_are_good_settings_once_the_comments_are_taken_off() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("willcall.toml");
    let is_comment = |line: &str| line.starts_with("# ") || line.ends_with("= \"\"");
    let is_setting = |line: &str| line.starts_with('#') && !is_comment(line);
    let lines = FILE.lines().map(|line| match is_setting(line) {
        true => line.trim_start_matches('#'),
        false => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    std::fs::write(&file, text).unwrap();
    let flags = ["--config", file.to_str().unwrap()];
    let (own, default) = (load(&flags, &[]).unwrap(), load(&[], &[]).unwrap());
    assert_eq!(own.data_folder.path(), Path::new("/var/lib/willcall"));
    assert_eq!(own.listen, default.listen);
    assert_eq!(own.max_in_flight, default.max_in_flight);
    assert_eq!(own.retention, default.retention);
    assert_eq!(own.warnings, Vec::<String>::new());
}
