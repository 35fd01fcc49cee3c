//! What every source file keeps to: its head, its size, its waits, its effects, its SQL.

use std::collections::BTreeMap;

use super::lexer::{Kind, identifiers, only};
use super::{File, file, judge, rust_files, tree};

const LINES_MAX: usize = 800;
const COLUMNS_MAX: usize = 100;

/// The only files that may do what `clippy.toml` bans. What each ban is for stands there.
const EFFECTS: &[(&str, &str)] = &[
    (
        "crates/bench/src/tasks.rs",
        "spawns and listens, for measuring only",
    ),
    ("crates/engine/src/dial.rs", "looks names up and connects"),
    (
        "crates/fuzz/src/settings.rs",
        "how long tests run, and from which seed",
    ),
    ("crates/engine/src/tasks.rs", "spawns, and notices a panic"),
    (
        "crates/sim/src/tasks.rs",
        "spawns clients, and nodes of a cluster",
    ),
    ("crates/web/src/tasks.rs", "spawns, so that a request ends"),
    ("crates/willcall/src/assemble.rs", "makes the clock"),
    ("crates/willcall/src/listen.rs", "listens"),
    ("crates/willcall/src/tasks.rs", "spawns"),
];

/// Tests that wait for real time.
const WAITING: &[(&str, &str)] = &[];

#[test]
fn every_file_says_what_it_is_for() {
    let silent = rust_files().filter(|file| !file.text.starts_with("//! "));
    judge(
        &silent.map(|file| place(file, "")).collect(),
        &[],
        "Begin these files with `//!`: what lives here, what does not, the invariant.",
    );
}

#[test]
fn files_and_lines_are_short() {
    let long = rust_files().filter_map(|file| {
        let lines = file.product_lines();
        (lines > LINES_MAX).then(|| place(file, &format!("{lines} lines")))
    });
    judge(
        &long.collect(),
        &[],
        "Split these files where a reader would: 800 lines is the end, 400 the aim.",
    );
    let sources = ["rs", "sql", "sh", "py", "mjs", "css", "js"];
    let wide = tree().iter().filter(|file| file.has_extension(&sources));
    let wide = wide.filter_map(|file| {
        let index = widths(file).position(|columns| columns > COLUMNS_MAX)?;
        Some(place(file, &format!("line {}", index + 1)))
    });
    judge(
        &wide.collect(),
        &[],
        "Break these lines: 100 columns is the end.",
    );
}

#[test]
fn tables_of_contents_hold_no_logic() {
    let mut found = BTreeMap::new();
    for file in rust_files().filter(|file| file.path.ends_with("/mod.rs")) {
        let code = only(Kind::Code, file.product());
        let functions = identifiers(&code).filter(|(_, word)| *word == "fn").count();
        // One that puts a table together is no logic.
        if functions > 1 {
            found.extend([place(file, &format!("{functions} functions"))]);
        }
    }
    judge(
        &found,
        &[],
        "Move what these files do into files named for it: `mod.rs` has declarations and at most \
         one table.",
    );
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut found = BTreeMap::new();
    let sources = ["rs", "sql", "sh", "toml", "py", "mjs", "css", "js", "html"];
    for file in tree().iter().filter(|file| file.has_extension(&sources)) {
        for (line, word) in identifiers(&file.text) {
            if marks.contains(&word) {
                found.extend([place(file, &format!("line {line}, {word}"))]);
            }
        }
    }
    for file in rust_files() {
        let code = only(Kind::Code, &file.text);
        for (line, text) in code.lines().enumerate() {
            for attribute in ["#[ignore", "#[should_panic"] {
                if text.contains(attribute) {
                    found.extend([place(file, &format!("line {}, {attribute}]", line + 1))]);
                }
            }
        }
    }
    judge(
        &found,
        &[],
        "Finish these, or write an issue. A test that is skipped or hopes for a panic proves little.",
    );
}

#[test]
fn tests_wait_for_no_real_time() {
    let codes: Vec<(&File, String)> = rust_files()
        .map(|file| (file, only(Kind::Code, &file.tests())))
        .collect();
    let paused = |code: &str| code.contains("start_paused = true") || code.contains("time::pause(");
    let mut found = BTreeMap::new();
    for (file, code) in codes.iter().filter(|(_, code)| code.contains("sleep(")) {
        let real = code
            .lines()
            .any(|line| line.contains("#[tokio::test") && !paused(line));
        // A file without tests of its own helps those beside it.
        let folder = file.path.find("/tests").map(|at| &file.path[..at]);
        let mut beside = codes
            .iter()
            .filter(|(other, _)| folder.is_some_and(|folder| other.path.starts_with(folder)));
        if real || !(paused(code) || beside.any(|(_, code)| paused(code))) {
            found.extend([place(file, "sleep(")]);
        }
    }
    judge(
        &found,
        WAITING,
        "Wait for what you wait for, or pause the time: #[tokio::test(start_paused = true)].",
    );
}

#[test]
fn every_select_is_biased() {
    let mut found = BTreeMap::new();
    for file in rust_files() {
        let code = only(Kind::Code, &file.text);
        for (at, _) in code.match_indices("select!") {
            let body = code[at..].trim_start_matches("select!").trim_start();
            let body = body.trim_start_matches(['{', '(']).trim_start();
            if !body.starts_with("biased;") {
                let line = code[..at].lines().count();
                found.extend([place(file, &format!("line {line}"))]);
            }
        }
    }
    judge(
        &found,
        &[],
        "Begin these select! with `biased;` and order the arms: the stop signal first.",
    );
}

#[test]
fn sql_asks_for_neither_time_nor_chance() {
    let banned = [
        "now",
        "random",
        "randomblob",
        "gen_random_uuid",
        "datetime",
        "strftime",
        "julianday",
        "unixepoch",
        "current_timestamp",
        "current_date",
        "current_time",
    ];
    let mut found = BTreeMap::new();
    for file in tree() {
        let sql = if file.has_extension(&["sql"]) {
            file.text.clone()
        } else if file.is_rust() && file.path.starts_with("crates/store/src/") {
            only(Kind::Literal, file.product())
        } else {
            continue;
        };
        let sql = sql.to_ascii_lowercase();
        for name in banned {
            let called = [format!("{name}("), format!("{name} (")];
            let bare = name.starts_with("current_").then(|| name.to_owned());
            for needle in called.into_iter().chain(bare) {
                if sql
                    .match_indices(&needle)
                    .any(|(at, _)| !within_word(&sql, at))
                {
                    found.extend([place(file, name)]);
                }
            }
        }
    }
    judge(
        &found,
        &[],
        "Hand the time or the number to these statements as a parameter.",
    );
}

#[test]
fn effects_stay_in_their_files() {
    let mut found = BTreeMap::new();
    for file in rust_files() {
        let code = only(Kind::Code, file.product());
        if code.contains("clippy::disallowed") {
            found.extend([place(file, "#[expect(clippy::disallowed…)]")]);
        }
    }
    judge(
        &found,
        EFFECTS,
        "Use what the reason in clippy.toml names. A new place for an effect needs a decision.",
    );
}

#[test]
fn every_limit_is_used() {
    let path = "crates/model/src/limits.rs";
    let Some(limits) = file(path) else {
        assert!(tree().is_empty(), "{path} is gone, and with it all limits");
        return;
    };
    let code = only(Kind::Code, &limits.text);
    let names = code.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("pub const ")?.split_once(':')?;
        Some(name)
    });
    let others: Vec<String> = rust_files()
        .filter(|file| file.path != path)
        .map(|file| only(Kind::Code, file.product()))
        .collect();
    let unused = names.filter(|name| {
        let uses = |code: &String| identifiers(code).any(|(_, word)| word == *name);
        !others.iter().any(uses)
    });
    judge(
        &unused
            .map(|name| (name.to_owned(), "unused".to_owned()))
            .collect(),
        &[],
        "A limit that nobody uses promises what is not kept: use it or remove it.",
    );
}

fn place(file: &File, detail: &str) -> (String, String) {
    (file.path.clone(), detail.to_owned())
}

/// The columns of each line. Literals in Rust count nothing: rustfmt leaves them whole, and a
/// sentence reads better in one piece.
fn widths(file: &File) -> impl Iterator<Item = usize> {
    let literals = match file.is_rust() {
        true => only(Kind::Literal, &file.text),
        false => String::new(),
    };
    let mut literals = literals.lines().map(drawn).collect::<Vec<_>>().into_iter();
    let lines = file.text.lines();
    lines.map(move |line| line.chars().count() - literals.next().unwrap_or(0))
}

/// How many characters of a line are not blank.
fn drawn(line: &str) -> usize {
    line.chars().filter(|c| *c != ' ').count()
}

fn within_word(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    before.is_some_and(|c| c.is_alphanumeric() || c == '_')
}
