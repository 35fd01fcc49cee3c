//! Takes Rust text apart into code, comments and literals, so that a rule about one is not
//! fooled by another. Knows no grammar beyond that.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    Comment,
    Literal,
}

/// The text with everything but `kind` blanked out. Lines stay where they are.
pub(super) fn only(kind: Kind, text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (found, length) = first_piece(rest);
        let (piece, after) = rest.split_at(length);
        if found == kind {
            kept.push_str(piece);
        } else {
            kept.push_str(&blank(piece));
        }
        rest = after;
    }
    kept
}

/// As many bytes, all of them spaces but for the ends of lines.
pub(super) fn blank(text: &str) -> String {
    let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
    text.bytes().map(blank).collect()
}

/// Where the items behind `#[cfg(test)]` are, each with its attributes, in order.
pub(super) fn test_items(text: &str) -> Vec<Range<usize>> {
    let code = only(Kind::Code, text);
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(at) = find_test_mark(&code[from..]) {
        let begin = from + at;
        let length = item_length(&code[begin..]);
        items.push(begin..begin + length);
        from = begin + length;
    }
    items
}

fn find_test_mark(code: &str) -> Option<usize> {
    let marks = ["#[cfg(test)]", "#[cfg(all(test,"];
    marks.iter().filter_map(|mark| code.find(mark)).min()
}

/// Up to its `;`, or to the end of its braces; the braces of a `use` do not end it.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    let mut imports = false;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            'u' => imports |= depth == 0 && code[at..].starts_with("use "),
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}' && !imports) {
            return at + 1;
        }
    }
    code.len()
}

/// Identifiers and key words with their line numbers.
pub(super) fn identifiers(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(index, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(move |word| (index + 1, word))
    })
}

fn first_piece(rest: &str) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment_length(rest));
    }
    if let Some(length) = literal_length(rest) {
        return (Kind::Literal, length);
    }
    // A word is taken whole, so that its last letters are not taken for a prefix of a literal.
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    let length = match word.unwrap_or(rest.len()) {
        0 => rest.chars().next().map_or(0, char::len_utf8),
        length => length,
    };
    (Kind::Code, length)
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn literal_length(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix))?;
    let body = &rest[prefix.len()..];
    let hashes = body.len() - body.trim_start_matches('#').len();
    if prefix.ends_with('r') && body[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let from = prefix.len() + hashes + 1;
        let length = rest[from..].find(&end).map(|at| from + at + end.len());
        return Some(length.unwrap_or(rest.len()));
    }
    if body.starts_with('"') {
        return Some(prefix.len() + quoted_length(body, '"'));
    }
    // 'a' and '\n' are literals, 'a in a type is a lifetime.
    let mut chars = body.chars().skip(1);
    let is_char =
        body.starts_with('\'') && (chars.next() == Some('\\') || chars.next() == Some('\''));
    is_char.then(|| prefix.len() + quoted_length(body, '\''))
}

fn quoted_length(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    body.len()
}

#[test]
fn code_comments_and_literals_are_told_apart() {
    let text = r##"let a = "x // \" y"; // b "c"
fn f<'a>(c: char) { c == '"' || c == '\''; r#"d"e"# /* g /* h */ i */ bar }"##;
    assert_eq!(
        only(Kind::Code, text)
            .split_whitespace()
            .collect::<String>(),
        "leta=;fnf<'a>(c:char){c==||c==;bar}"
    );
    assert_eq!(
        only(Kind::Comment, text)
            .split_whitespace()
            .collect::<String>(),
        "//b\"c\"/*g/*h*/i*/"
    );
    assert_eq!(
        only(Kind::Literal, text)
            .split_whitespace()
            .collect::<String>(),
        "\"x//\\\"y\"'\"''\\''r#\"d\"e\"#"
    );
}

#[test]
fn items_for_tests_are_found_wherever_they_stand() {
    let text = "#[cfg(test)]\nuse a::{b};\nfn c() {}\n#[cfg(test)]\nfn d<'a>() { '}' }\nfn e() {}";
    let found = test_items(text).into_iter().map(|item| &text[item]);
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            "#[cfg(test)]\nuse a::{b};",
            "#[cfg(test)]\nfn d<'a>() { '}' }"
        ]
    );
}
