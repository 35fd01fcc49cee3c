//! Properties of the source tree, as tests over the files that git knows. `STYLE.md` has the rules.
//!
//! A rule that has exceptions names each one with its reason, and an exception that is no longer
//! needed fails too: the lists can only shrink.

mod code;
mod documents;
mod imports;
mod lexer;
mod packages;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A text file that git knows.
struct File {
    /// From the root of the repository, with `/` between.
    path: String,
    text: String,
    /// Its text outside tests, once it was asked for.
    product: OnceLock<String>,
}

impl File {
    fn new(path: String, text: String) -> Self {
        let product = OnceLock::new();
        Self {
            path,
            text,
            product,
        }
    }

    fn is_rust(&self) -> bool {
        self.has_extension(&["rs"])
    }

    fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path).extension();
        extension.is_some_and(|own| extensions.iter().any(|one| own == *one))
    }

    /// What is for tests only: the whole file, or its items behind `#[cfg(test)]`.
    fn test_items(&self) -> Vec<Range<usize>> {
        if self.path.contains("/tests/") || self.path.ends_with("/tests.rs") {
            return std::iter::once(0..self.text.len()).collect();
        }
        match self.is_rust() {
            true => lexer::test_items(&self.text),
            false => Vec::new(),
        }
    }

    /// Its text outside tests. Lines stay where they are.
    fn product(&self) -> &str {
        self.product.get_or_init(|| {
            let mut text = self.text.clone();
            for item in self.test_items() {
                text.replace_range(item.clone(), &lexer::blank(&self.text[item]));
            }
            text
        })
    }

    /// How many lines are outside tests.
    fn product_lines(&self) -> usize {
        let lines = |text: &str| text.lines().count();
        let items = self.test_items().into_iter();
        lines(&self.text) - items.map(|item| lines(&self.text[item])).sum::<usize>()
    }

    /// Its text within tests.
    fn tests(&self) -> String {
        let items = self.test_items().into_iter();
        items.map(|item| &self.text[item]).collect()
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
    (!path.is_empty()).then(|| File::new(path.to_owned(), text))
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
