//! Properties of the source tree, as tests over the files that git knows. `STYLE.md` has the rules.
//!
//! A rule that has exceptions names each one with its reason, and an exception that is no longer
//! needed fails too: the lists can only shrink.

mod code;
mod documents;
mod lexer;
mod packages;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A text file that git knows.
struct File {
    /// From the root of the repository, with `/` between.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.has_extension(&["rs"])
    }

    fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path).extension();
        extension.is_some_and(|own| extensions.iter().any(|one| own == *one))
    }

    /// Where the tests begin: at once, at an inner module of tests, or nowhere.
    fn tests_at(&self) -> usize {
        if self.path.contains("/tests/") || self.path.ends_with("/tests.rs") {
            return 0;
        }
        let inner = self.text.find("#[cfg(test)]\nmod ");
        inner.unwrap_or(self.text.len())
    }

    /// Its lines outside tests.
    fn product(&self) -> &str {
        &self.text[..self.tests_at()]
    }

    /// Its lines within tests.
    fn tests(&self) -> &str {
        &self.text[self.tests_at()..]
    }
}

/// All text files; none where there is no git, which is said once.
fn tree() -> &'static [File] {
    static TREE: OnceLock<Vec<File>> = OnceLock::new();
    TREE.get_or_init(|| match git(&["ls-files", "-z"]) {
        Some(list) => list.split('\0').filter_map(read).collect(),
        None => Vec::new(),
    })
}

fn rust_files() -> impl Iterator<Item = &'static File> {
    tree().iter().filter(|file| file.is_rust())
}

fn file(path: &str) -> Option<&'static File> {
    tree().iter().find(|file| file.path == path)
}

fn read(path: &str) -> Option<File> {
    let bytes = std::fs::read(root().join(path)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let path = path.to_owned();
    (!path.is_empty()).then_some(File { path, text })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What git says, or `None` outside a checkout. A checkout that git refuses is a failure.
fn git(arguments: &[&str]) -> Option<String> {
    if !root().join(".git").exists() {
        eprintln!("skipped: this is no git checkout, so there is no list of files to look at");
        return None;
    }
    let output = Command::new("git")
        .arg("-C")
        .arg(root())
        .args(arguments)
        .output()
        .expect("install git: tidy asks it which files belong to the project");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "git {arguments:?} failed, so nothing was checked: {told}"
    );
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Fails on what was found and is not excepted, and on exceptions for what was not found.
/// `found` has places and details, `exceptions` places and reasons.
fn judge(found: &BTreeMap<String, String>, exceptions: &[(&str, &str)], advice: &str) {
    let mut told = String::new();
    for (place, detail) in found {
        if !exceptions.iter().any(|(excepted, _)| excepted == place) {
            writeln!(told, "  {place}: {detail}").unwrap();
        }
    }
    assert!(told.is_empty(), "{advice}\n{told}");
    if tree().is_empty() {
        return;
    }
    for (place, _) in exceptions {
        assert!(
            found.contains_key(*place),
            "{place} is no exception any more: take it out of the list in tests/it/tidy"
        );
    }
}
