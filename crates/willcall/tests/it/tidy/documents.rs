//! What the documents promise about the tree and the program is there.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

use super::lexer::{Kind, only};
use super::{File, file, git, judge, root, rust_files, tree};

#[test]
fn links_between_documents_lead_somewhere() {
    let mut found = BTreeMap::new();
    for document in documents() {
        for link in links(&prose(&document.text)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if path.is_empty() {
                document.path.clone()
            } else {
                resolved(&document.path, path)
            };
            let there = root().join(&target).exists();
            let heading = anchor.is_empty()
                || file(&target).is_some_and(|file| anchors(&file.text).contains(anchor));
            if !there || !heading {
                found.insert(
                    format!("{} -> {link}", document.path),
                    "nothing there".to_owned(),
                );
            }
        }
    }
    judge(&found, &[], "Point these links at what is there.");
}

/// A finding is a script that anybody can run, and the words that say what it shows.
#[test]
fn every_finding_has_a_script_that_runs_and_words() {
    let Some(list) = file("findings/README.md") else {
        assert!(tree().is_empty(), "findings/README.md is gone");
        return;
    };
    let headings = list
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("## "));
    let headings: BTreeSet<&str> = headings.collect();
    let scripts = tree().iter().filter_map(|file| {
        let name = file.path.strip_prefix("findings/")?;
        name.strip_suffix(".sh")
    });
    let scripts: BTreeSet<&str> = scripts.collect();
    assert_eq!(headings, scripts);
    for name in scripts {
        let path = root().join(format!("findings/{name}.sh"));
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "findings/{name}.sh is not executable");
    }
}

#[test]
fn the_architecture_names_files_that_exist() {
    let path = "ARCHITECTURE.md";
    let Some(document) = file(path) else {
        assert!(tree().is_empty(), "{path} is gone");
        return;
    };
    let lines = document.text.lines().count();
    assert!(
        lines <= 200,
        "{path} has {lines} lines; 200 is what is read"
    );
    let there = |name: &str| {
        let of_a_file = |file: &File| {
            let before = file.path.strip_suffix(name);
            before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        let folder = |above: &str| root().join(above).join(name).is_dir();
        tree().iter().any(of_a_file) || folder("") || folder("crates")
    };
    let names = document.text.split('`').skip(1).step_by(2).filter(|name| {
        let is_path = name.contains('/') && !name.starts_with('/');
        !name.contains([' ', '<', '*', '{', ':']) && (is_path || is_file(name))
    });
    let missing = names.filter(|name| !there(name));
    judge(
        &missing
            .map(|name| (name.to_owned(), "no such file".to_owned()))
            .collect(),
        &[],
        "Bring ARCHITECTURE.md up to date: it names files that are not there.",
    );
}

#[test]
fn every_setting_is_in_the_operators_guide() {
    let path = "crates/willcall/src/config/settings.rs";
    let (Some(settings), Some(guide)) = (file(path), file("docs/operating.md")) else {
        assert!(tree().is_empty(), "{path} or docs/operating.md is gone");
        return;
    };
    let keys: Vec<&str> = settings
        .product()
        .split("key: \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(!keys.is_empty(), "{path} has no line with `key: \"…\"`");
    let missing = keys
        .iter()
        .filter(|key| !guide.text.contains(&format!("`{key}`")));
    judge(
        &missing
            .map(|key| ((*key).to_owned(), "not described".to_owned()))
            .collect(),
        &[],
        "Describe these settings in docs/operating.md, each as `key`.",
    );
}

#[test]
fn the_changelog_has_room_for_what_is_next() {
    let Some(changelog) = file("CHANGELOG.md") else {
        assert!(tree().is_empty(), "CHANGELOG.md is gone");
        return;
    };
    let first = changelog.text.lines().find(|line| line.starts_with("## "));
    assert_eq!(
        first,
        Some("## Unreleased"),
        "CHANGELOG.md begins with what is not released, newest first"
    );
}

#[test]
fn the_log_lines_of_the_guide_are_in_the_code() {
    let path = "docs/operating.md";
    let Some(guide) = file(path) else {
        assert!(tree().is_empty(), "{path} is gone");
        return;
    };
    let (_, lines) = guide.text.split_once("### Log lines").expect("a heading");
    let lines = lines.split("\n## ").next().unwrap();
    let code: String = rust_files().map(|file| joined(file.product())).collect();
    let mut found = BTreeMap::new();
    for line in lines.lines().filter(|line| line.starts_with("- `")) {
        let quoted = line
            .split("`:")
            .next()
            .unwrap()
            .split('`')
            .skip(1)
            .step_by(2);
        for part in quoted.flat_map(|words| words.split('…')).map(str::trim) {
            if !code.contains(part) {
                found.insert(line.to_owned(), part.to_owned());
            }
        }
    }
    judge(
        &found,
        &[],
        "The operators' guide quotes log lines that the program does not write: mend the guide.",
    );
}

/// Literals that go on in the next line, in one.
fn joined(text: &str) -> String {
    let mut pieces = text.split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |joined, piece| joined + piece.trim_start())
}

#[test]
fn the_rules_name_every_check() {
    let Some(rules) = file("STYLE.md") else {
        assert!(tree().is_empty(), "STYLE.md is gone");
        return;
    };
    let checks: BTreeSet<String> = rust_files()
        .filter(|file| file.path.starts_with("crates/willcall/tests/it/tidy"))
        .flat_map(tests_in)
        .collect();
    let named: BTreeSet<String> = rules
        .text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|name| name.strip_prefix("tidy::").map(str::to_owned))
        .collect();
    let stale: Vec<_> = named.difference(&checks).collect();
    assert!(
        stale.is_empty(),
        "STYLE.md names checks that are not there: {stale:?}"
    );
    // The checks of the tools themselves are no rules.
    let own = [
        "a_license_is_weighed_as_a_whole",
        "code_comments_and_literals_are_told_apart",
        "imports_are_followed_through_reexports_and_past_tests",
        "items_for_tests_are_found_wherever_they_stand",
        "names_come_apart_into_words",
    ];
    let untold = checks
        .difference(&named)
        .filter(|name| !own.contains(&name.as_str()));
    let untold: Vec<_> = untold.collect();
    assert!(
        untold.is_empty(),
        "STYLE.md has no rule for these checks: {untold:?}"
    );
}

/// Commits up to this one are older than the check of their form.
const FORM_SINCE: &str = "1209ace";

#[test]
fn commits_have_a_short_title_and_a_body() {
    let log = git(&["log", "--topo-order", "--format=%H%x01%s%x01%b%x02"]).unwrap_or_default();
    let commits = log.split('\u{2}').map(str::trim);
    let mut found = BTreeMap::new();
    for commit in commits.take_while(|commit| !commit.starts_with(FORM_SINCE)) {
        let mut parts = commit.split('\u{1}');
        let (Some(id), Some(title), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let floor = title.split_once(": ").map(|(floor, _)| floor);
        let is_form = floor.is_some_and(|floor| {
            let is_letter = |c: char| c.is_ascii_lowercase() || c == ',' || c == ' ';
            !floor.is_empty() && floor.chars().all(is_letter)
        });
        if title.chars().count() > 72 || !is_form || body.trim().is_empty() {
            found.insert(id.to_owned(), title.to_owned());
        }
    }
    judge(
        &found,
        &[],
        "A commit is `floor: what changes` in at most 72 columns, and its body says why: mend it \
         with `git commit --amend` or `git rebase` before it is handed on.",
    );
}

#[test]
fn decisions_are_numbered_without_a_gap() {
    let folder = "docs/decisions/";
    let names = tree()
        .iter()
        .filter_map(|file| file.path.strip_prefix(folder));
    for (index, name) in names.enumerate() {
        let number = format!("{:04}-", index + 1);
        assert!(
            name.starts_with(&number) && name.ends_with(".md"),
            "{folder}{name} should begin with {number}: a decision has a number of its own"
        );
    }
}

fn documents() -> impl Iterator<Item = &'static File> {
    tree().iter().filter(|file| file.has_extension(&["md"]))
}

fn is_file(name: &str) -> bool {
    let known = [".rs", ".md", ".toml", ".sql", ".sh", ".py", ".mjs", ".lock"];
    known
        .iter()
        .any(|end| name.len() > end.len() && name.ends_with(end))
}

/// The document without blocks and pieces of code, in which brackets are no links.
fn prose(text: &str) -> String {
    let blocks = text.split("```").step_by(2).collect::<String>();
    blocks.split('`').step_by(2).collect()
}

fn links(prose: &str) -> Vec<String> {
    let targets = prose.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split([')', ' ']).next())
        .map(str::to_owned)
        .collect()
}

/// What a link in `document` to `path` leads to, from the root of the repository.
fn resolved(document: &str, path: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." | "" => {}
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The names under which a document's headings are linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let outside_code = text.split("```").step_by(2);
    let headings = outside_code
        .flat_map(str::lines)
        .filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
        words
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(anchor).collect()
}

fn tests_in(file: &File) -> Vec<String> {
    let code = only(Kind::Code, &file.text);
    let functions = code.split("#[test]").skip(1);
    let name = |rest: &str| {
        Some(
            rest.trim_start()
                .strip_prefix("fn ")?
                .split('(')
                .next()?
                .to_owned(),
        )
    };
    functions.filter_map(name).collect()
}
