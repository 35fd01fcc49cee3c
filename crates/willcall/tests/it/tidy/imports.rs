//! Files import in one direction: no circle within a crate, and the parts of `web` only downwards.
//!
//! A file imports another if a `use` or a path in its code leads to something defined there.
//! Re-exports are followed to the definition. Not seen are methods called on a value whose type
//! is never named, and what a macro expands to: an `impl` block belongs into the file of its type
//! or into one that this file does not import.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{File, judge, rust_files};

/// A file below `src`, as the path of its module: empty for `lib.rs` and `main.rs`.
type Module = Vec<String>;

/// Files of each file's crate that it imports, each with the names it takes.
type Imports = BTreeMap<Module, BTreeMap<Module, BTreeSet<String>>>;

/// Parts of `web`, by the path that their modules begin with, and how high each stands. A part
/// imports parts that stand lower; those side by side do not know one another.
const WEB: &[(&str, usize)] = &[
    ("sync", 0),
    ("rng", 1),
    ("line_budget", 1),
    ("tasks", 1),
    ("transport", 2),
    ("gateway", 3),
    ("clock_notice", 3),
    ("dialect", 4),
    ("dialects::pretix", 5),
    ("dialects::openticket", 5),
    ("dialects::alerts", 5),
    ("admin", 5),
    ("dashboard", 5),
    ("key_sets", 5),
    ("openapi", 5),
    ("tools", 5),
    ("dialects", 6),
    ("watch", 6),
    ("site", 7),
    ("", 8),
];

#[test]
fn files_import_in_one_direction() {
    let mut found = BTreeMap::new();
    for (name, sources) in crates() {
        let imports = imports(&sources);
        for circle in circles(&imports) {
            let first = sources[&circle[0]].path.clone();
            let told = circle.iter().flat_map(|from| {
                let inside = imports[from].iter().filter(|(to, _)| circle.contains(to));
                inside.map(|(to, names)| format!("\n    {} -> {} ({names:?})", say(from), say(to)))
            });
            found.insert(first, format!("{name}{}", told.collect::<String>()));
        }
    }
    judge(
        &found,
        &[],
        "These files import one another in a circle, so none can be read alone. Move what is \
         shared into a file below them, or hand it in from above.",
    );
}

#[test]
fn web_parts_import_downwards() {
    let mut found = BTreeMap::new();
    for (_, sources) in crates().into_iter().filter(|(name, _)| name == "web") {
        for (from, targets) in imports(&sources) {
            let (own, height) = part(&from);
            for (to, names) in targets {
                let (other, depth) = part(&to);
                if own != other && depth >= height {
                    let path = sources[&from].path.clone();
                    found.insert(path, format!("imports {} ({names:?})", say(&to)));
                }
            }
        }
    }
    judge(
        &found,
        &[],
        "Let these files import parts that stand below their own only, see WEB in \
         tests/it/tidy/imports.rs.",
    );
}

/// The part of `web` that a module belongs to, and how high it stands.
fn part(module: &[String]) -> (&'static str, usize) {
    let path = module.join("::");
    let fits = |part: &str| {
        let rest = path.strip_prefix(part);
        rest.is_some_and(|rest| part.is_empty() || rest.is_empty() || rest.starts_with("::"))
    };
    *WEB.iter().find(|(part, _)| fits(part)).unwrap()
}

fn say(module: &[String]) -> String {
    match module.is_empty() {
        true => "the root".to_owned(),
        false => module.join("::"),
    }
}

/// What a file binds and names outside its tests.
struct Source {
    path: String,
    /// What its `use`s bind, and whether they hand it on.
    bound: BTreeMap<String, (Module, bool)>,
    /// Modules of which it uses everything.
    globs: Vec<Module>,
    /// What it defines.
    defined: BTreeSet<String>,
    /// Paths of two names and more in its code.
    paths: BTreeSet<Module>,
}

impl Source {
    fn read(file: &File) -> Self {
        let stream: TokenStream = file.text.parse().expect("rustc reads it, too");
        let mut words = Vec::new();
        flatten(stream, &mut words);
        let mut source = Self {
            path: file.path.clone(),
            bound: BTreeMap::new(),
            globs: Vec::new(),
            defined: BTreeSet::new(),
            paths: BTreeSet::new(),
        };
        let mut rest = words.as_slice();
        while let [word, after @ ..] = rest {
            rest = match word.as_str() {
                "use" if after.first().is_some_and(|word| word != "<") => {
                    let end = after.iter().position(|word| word == ";").unwrap();
                    let at = words.len() - rest.len();
                    let public = at > 0 && (words[at - 1] == "pub" || words[at - 1] == ")");
                    source.bind(&[], &after[..end], public);
                    &after[end..]
                }
                "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" => {
                    let name = after.iter().find(|word| *word != "mut");
                    source.defined.extend(name.cloned());
                    after
                }
                "macro_rules" => {
                    source.defined.extend(after.get(1).cloned());
                    after
                }
                _ => source.path_at(rest),
            };
        }
        source
    }

    /// Takes a path from the beginning of `words`, or one word, and gives what follows.
    fn path_at<'a>(&mut self, words: &'a [String]) -> &'a [String] {
        let mut path = vec![words[0].clone()];
        let mut rest = &words[1..];
        while is_name(&path[0])
            && let [separator, name, after @ ..] = rest
            && separator == "::"
            && is_name(name)
        {
            path.push(name.clone());
            rest = after;
        }
        if path.len() > 1 && path[0] != "Self" {
            self.paths.insert(path);
        }
        rest
    }

    /// Takes what `use` says between braces, commas and `::`, below the path `before`.
    fn bind(&mut self, before: &[String], words: &[String], public: bool) {
        for one in pieces(words) {
            let names = one.iter().filter(|word| is_name(word) || *word == "*");
            let brace = one.iter().position(|word| word == "{");
            if let Some(brace) = brace {
                let head = one[..brace].iter().filter(|word| is_name(word));
                let before: Module = before.iter().chain(head).cloned().collect();
                self.bind(&before, &one[brace + 1..one.len() - 1], public);
                continue;
            }
            let mut path: Module = before.iter().chain(names).cloned().collect();
            if path.last().is_some_and(|last| last == "*") {
                path.pop();
                self.globs.push(path);
                continue;
            }
            let renamed = one.len() > 2 && one[one.len() - 2] == "as";
            let name = path.last().cloned();
            if renamed {
                path.truncate(path.len() - 2);
            }
            if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
                path.pop();
            }
            let name = name
                .filter(|name| name != "self")
                .or_else(|| path.last().cloned());
            self.bound.extend(name.map(|name| (name, (path, public))));
        }
    }
}

/// Splits at the commas that are in no braces.
fn pieces(words: &[String]) -> Vec<&[String]> {
    let mut depth = 0_usize;
    let pieces = words.split(|word| {
        match word.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        depth == 0 && word == ","
    });
    pieces.filter(|piece| !piece.is_empty()).collect()
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The tokens one after the other, without what is for tests only. Literals are left out.
fn flatten(stream: TokenStream, words: &mut Vec<String>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < trees.len() {
        if is_test_mark(&trees[at..]) {
            at += test_item_length(&trees[at..]);
            continue;
        }
        match &trees[at] {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis | Delimiter::None => ("(", ")"),
                };
                words.push(open.to_owned());
                flatten(group.stream(), words);
                words.push(close.to_owned());
            }
            TokenTree::Punct(mark) => match (mark.as_char(), words.last_mut()) {
                (':', Some(last)) if last == ":" => last.push(':'),
                (mark, _) => words.push(mark.to_string()),
            },
            TokenTree::Ident(name) => words.push(name.to_string()),
            TokenTree::Literal(_) => words.push("0".to_owned()),
        }
        at += 1;
    }
}

/// `#[cfg(test)]`, or `#[cfg(all(test, …))]`.
fn is_test_mark(trees: &[TokenTree]) -> bool {
    let [TokenTree::Punct(mark), TokenTree::Group(attribute), ..] = trees else {
        return false;
    };
    let text: String = attribute.stream().to_string();
    let text = text.split_whitespace().collect::<String>();
    mark.as_char() == '#' && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

/// How many trees an item takes: up to its `;`, or to its braces if it imports nothing.
fn test_item_length(trees: &[TokenTree]) -> usize {
    let imports = |tree: &TokenTree| matches!(tree, TokenTree::Ident(name) if name == "use");
    let mut uses = false;
    for (at, tree) in trees.iter().enumerate().skip(2) {
        uses |= imports(tree);
        let ends = match tree {
            TokenTree::Punct(mark) => mark.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !uses,
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        };
        if ends {
            return at + 1;
        }
    }
    trees.len()
}

/// The sources of each crate, by its folder.
fn crates() -> BTreeMap<String, BTreeMap<Module, Source>> {
    let mut crates = BTreeMap::<String, BTreeMap<Module, Source>>::new();
    for file in rust_files() {
        let Some((name, path)) = file
            .path
            .strip_prefix("crates/")
            .and_then(|path| path.split_once("/src/"))
        else {
            continue;
        };
        if path.ends_with("tests.rs") || path.contains("tests/") {
            continue;
        }
        let mut module: Module = path
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        module.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
        let sources = crates.entry(name.to_owned()).or_default();
        sources.insert(module, Source::read(file));
    }
    crates
}

fn imports(sources: &BTreeMap<Module, Source>) -> Imports {
    let mut all = Imports::new();
    for (module, source) in sources {
        let own = source.bound.values().filter(|(_, public)| !public);
        let globs = source.globs.iter();
        let paths = own.map(|(path, _)| path).chain(globs).chain(&source.paths);
        let mut targets = BTreeMap::<Module, BTreeSet<String>>::new();
        for path in paths {
            let target = resolve(sources, module, path, 0);
            if let Some(target) = target.filter(|target| target != module) {
                let names = targets.entry(target).or_default();
                names.extend(path.last().cloned());
            }
        }
        all.insert(module.clone(), targets);
    }
    all
}

/// The file that defines what `path` names in `module`; `None` for another crate's, and for a
/// module as such.
fn resolve(
    sources: &BTreeMap<Module, Source>,
    module: &[String],
    path: &[String],
    depth: usize,
) -> Option<Module> {
    let (head, rest) = path.split_first()?;
    if depth > 40 {
        return None;
    }
    let child = |name: &String| [module, std::slice::from_ref(name)].concat();
    if head == "crate" {
        return walk(sources, Vec::new(), rest, depth);
    }
    if head == "self" {
        return walk(sources, module.to_vec(), rest, depth);
    }
    if head == "super" {
        let (_, parent) = module.split_last()?;
        return walk(sources, parent.to_vec(), rest, depth);
    }
    if sources.contains_key(&child(head)) {
        return walk(sources, child(head), rest, depth);
    }
    let (bound, _) = sources[module].bound.get(head)?;
    if bound == path {
        return None;
    }
    resolve(sources, module, &[bound, rest].concat(), depth + 1)
}

/// Goes on from a module of ours.
fn walk(
    sources: &BTreeMap<Module, Source>,
    mut module: Module,
    rest: &[String],
    depth: usize,
) -> Option<Module> {
    let (head, after) = rest.split_first()?;
    if head == "super" {
        module.pop()?;
        return walk(sources, module, after, depth);
    }
    let child = [module.as_slice(), std::slice::from_ref(head)].concat();
    if sources.contains_key(&child) {
        return walk(sources, child, after, depth);
    }
    let source = sources.get(&module)?;
    if source.defined.contains(head) {
        return Some(module);
    }
    if let Some((bound, _)) = source.bound.get(head) {
        return resolve(sources, &module, &[bound, after].concat(), depth + 1);
    }
    let through = source.globs.iter().find_map(|glob| {
        let path = [glob.as_slice(), rest].concat();
        resolve(sources, &module, &path, depth + 1)
    });
    through.or(Some(module))
}

/// Files of which each leads to each other, in sets of two and more.
fn circles(imports: &Imports) -> Vec<Vec<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = imports
        .keys()
        .map(|from| (from, reachable(imports, from)))
        .collect();
    let mut circles = Vec::new();
    let mut told = BTreeSet::new();
    for (from, targets) in &reached {
        if !targets.contains(from) || told.contains(from) {
            continue;
        }
        let back = targets.iter().filter(|to| reached[*to].contains(from));
        let circle: Vec<Module> = back.map(|to| (*to).clone()).collect();
        told.extend(targets.iter().filter(|to| circle.contains(to)).copied());
        circles.push(circle);
    }
    circles
}

/// All files that `from` leads to, itself only if it is in a circle.
fn reachable<'a>(imports: &'a Imports, from: &Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = imports[from].keys().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(imports[module].keys());
        }
    }
    reached
}

#[test]
fn imports_are_followed_through_reexports_and_past_tests() {
    let file = |name: &str, text: &str| {
        let path = format!("crates/x/src/{name}.rs");
        let module: Module = name.split("::").map(str::to_owned).collect();
        (module, Source::read(&File::new(path, text.to_owned())))
    };
    let sources = BTreeMap::from([
        file(
            "a",
            "use crate::b::{One as Two, c::{self, Three}}; fn f() { c::four(\"crate::d\") }",
        ),
        file(
            "b",
            "pub use crate::d::One; #[cfg(test)] mod tests { use crate::a::f; }",
        ),
        file(
            "b::c",
            "pub struct Three; pub fn four() { super::super::d::five!() }",
        ),
        file(
            "d",
            "pub struct One; #[cfg(test)] use crate::a::{f}; macro_rules! five { () => {} }",
        ),
    ]);
    let imports = imports(&sources);
    let told: Vec<String> = imports
        .iter()
        .flat_map(|(from, to)| to.keys().map(|to| format!("{} {}", say(from), say(to))))
        .collect();
    assert_eq!(told, ["a b::c", "a d", "b::c d"]);
    assert!(circles(&imports).is_empty());
    let module = |name: &str| vec![name.to_owned()];
    let names = BTreeSet::new;
    let round = Imports::from([
        (module("a"), BTreeMap::from([(module("b"), names())])),
        (module("b"), BTreeMap::from([(module("a"), names())])),
        (module("c"), BTreeMap::from([(module("a"), names())])),
    ]);
    assert_eq!(circles(&round), [[module("a"), module("b")]]);
}
