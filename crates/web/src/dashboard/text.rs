//! Bytes from outside as text on a page: never as markup, and never more than fits. Sizes are in
//! bytes of the page, where `<` takes five.

use serde_json::value::RawValue;

/// A text, cut to fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TextExcerpt {
    pub(super) text: String,
    /// There is more.
    pub(super) cut: bool,
}

/// A body as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct BodyText {
    pub(super) bytes: usize,
    /// Pretty-printed, if it is JSON.
    pub(super) pretty: Option<TextExcerpt>,
    pub(super) raw: TextExcerpt,
    /// Some of it is not text, and shown as symbols.
    pub(super) is_garbled: bool,
}

impl TextExcerpt {
    /// As much of `text` as fits into `room` bytes of a page.
    pub(super) fn of(text: &str, room: usize) -> Self {
        let mut piece = Self::default();
        let mut left = room;
        for letter in text.chars().map(visible) {
            if !piece.push(letter, &mut left) {
                break;
            }
        }
        piece
    }

    /// As `of`, for a single line: breaks become spaces, and an ellipsis marks a cut.
    pub(super) fn line(text: &str, room: usize) -> String {
        let mut piece = Self::of(&text.replace(['\n', '\t'], " "), room);
        if piece.cut {
            piece.text.push('…');
        }
        piece.text
    }

    /// Whether it fitted.
    fn push(&mut self, letter: char, left: &mut usize) -> bool {
        match left.checked_sub(weight(letter)) {
            Some(rest) => {
                *left = rest;
                self.text.push(letter);
            }
            None => self.cut = true,
        }
        !self.cut
    }
}

impl BodyText {
    /// Shows `bytes`, each form in `room` bytes.
    pub(super) fn of(bytes: &[u8], room: usize) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let is_garbled = std::str::from_utf8(bytes).is_err() || text.contains(is_unseen);
        Self {
            bytes: bytes.len(),
            pretty: pretty(&text, room),
            raw: TextExcerpt::of(&text, room),
            is_garbled,
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.raw.cut || self.pretty.as_ref().is_some_and(|pretty| pretty.cut)
    }
}

fn is_unseen(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\r' | '\t')
}

/// Control characters become visible: U+2400 stands for U+0000, and so on.
fn visible(letter: char) -> char {
    match u32::from(letter) {
        0x09 | 0x0a => letter,
        code @ 0..=0x1f => char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER),
        0x7f => '\u{2421}',
        0x80..=0x9f => char::REPLACEMENT_CHARACTER,
        // Marks that change the direction of text, by which one text can look like another.
        0x202a..=0x202e | 0x2066..=0x2069 => char::REPLACEMENT_CHARACTER,
        _ => letter,
    }
}

/// The bytes that a character takes in a page.
fn weight(letter: char) -> usize {
    match letter {
        '<' | '>' | '&' | '"' | '\'' => 5,
        other => other.len_utf8(),
    }
}

/// Pretty-printed JSON, with every number, string and escape as it was written.
fn pretty(text: &str, room: usize) -> Option<TextExcerpt> {
    let compound = text.trim_start().starts_with(['{', '[']);
    // A parser judges it and bounds the nesting; the layout is made by hand, which changes nothing.
    if !compound || serde_json::from_str::<&RawValue>(text).is_err() {
        return None;
    }
    let mut layout = JsonLayout {
        piece: TextExcerpt::default(),
        left: room,
        depth: 0,
    };
    let (mut in_string, mut is_escaped) = (false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if layout.piece.cut {
            break;
        }
        if in_string {
            layout.push(visible(letter));
            in_string = is_escaped || letter != '"';
            is_escaped = !is_escaped && letter == '\\';
            continue;
        }
        match letter {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                layout.push(letter);
                while letters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                match letters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => layout.push(end),
                    None => layout.line(1),
                }
            }
            '}' | ']' => {
                layout.line(-1);
                layout.push(letter);
            }
            ',' => {
                layout.push(letter);
                layout.line(0);
            }
            ':' => {
                layout.push(letter);
                layout.push(' ');
            }
            other => {
                in_string = other == '"';
                layout.push(other);
            }
        }
    }
    Some(layout.piece)
}

struct JsonLayout {
    piece: TextExcerpt,
    left: usize,
    depth: i32,
}

impl JsonLayout {
    fn push(&mut self, letter: char) {
        if !self.piece.cut {
            self.piece.push(letter, &mut self.left);
        }
    }

    /// Begins a line, indented further by `deeper`.
    fn line(&mut self, deeper: i32) {
        self.depth = self.depth.saturating_add(deeper);
        self.push('\n');
        for _ in 0..self.depth {
            self.push(' ');
            self.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_set_apart_and_nothing_in_it_changes() {
        let text = r#"{"a":[1.10,{}, [ ],"x\"},\\"],"b":1E400 ,"ü":"\u00fc"}"#;
        let body = BodyText::of(text.as_bytes(), 1_000);
        let pretty = body.pretty.unwrap().text;
        let lines = [
            "{",
            "  \"a\": [",
            "    1.10,",
            "    {},",
            "    [],",
            "    \"x\\\"},\\\\\"",
            "  ],",
            "  \"b\": 1E400,",
            "  \"ü\": \"\\u00fc\"",
            "}",
        ];
        assert_eq!(pretty, lines.join("\n"));
        assert_eq!(body.raw.text, text);
    }

    #[test]
    fn what_is_not_a_json_object_or_list_has_one_form() {
        for text in ["", "ok", "1", "\"x\"", "{", "{}}", &"[".repeat(60_000)] {
            assert_eq!(
                BodyText::of(text.as_bytes(), 1_000).pretty,
                None,
                "{text:.9}"
            );
        }
    }

    #[test]
    fn no_more_is_taken_than_there_is_room_for_in_the_page() {
        let piece = TextExcerpt::of(&"<é".repeat(50), 21);
        assert_eq!(piece.text, "<é<é<é");
        assert!(piece.cut);
        assert!(!TextExcerpt::of("<<", 10).cut);
        let list = format!("[{}1]", "1,".repeat(30_000));
        let body = BodyText::of(list.as_bytes(), 100);
        assert!(body.is_cut());
        assert!(body.pretty.unwrap().text.len() <= 100);
    }

    #[test]
    fn what_is_no_text_gets_stand_ins() {
        let body = BodyText::of(b"a\0\x1b[31m\xff\r\n\x7f", 100);
        assert_eq!(
            body.raw.text,
            "a\u{2400}\u{241b}[31m\u{fffd}\u{240d}\n\u{2421}"
        );
        assert!(body.is_garbled);
        assert!(!BodyText::of("Grüße\r\n".as_bytes(), 100).is_garbled);
        assert_eq!(TextExcerpt::of("a\u{202e}b", 10).text, "a\u{fffd}b");
    }

    #[test]
    fn a_line_says_when_there_is_more() {
        assert_eq!(TextExcerpt::line("one\ntwo", 100), "one two");
        assert_eq!(TextExcerpt::line("12345", 3), "123…");
    }
}
