//! Marks: which parts of a URL are secret, said in its fragment, which no call ever carries.
//!
//! `https://example.org/hooks/abc?key=def#secret:/2,key` marks the second segment of the path and
//! the value of `key`. Shown, it is `https://example.org/hooks/***?key=***#secret:/2,key`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::limits::URL_MARKS_MAX;

/// What a fragment that marks begins with.
const MARKS: &str = "secret:";

const STARS: &str = "***";

/// What ends the part of a URL that names user, host and port.
pub(crate) const AUTHORITY_ENDS: [char; 4] = ['/', '?', '#', '\\'];

/// One part that is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark<'a> {
    /// A segment of the path, counted from 1.
    Segment(usize),
    /// The values of a parameter of the query.
    Parameter(Cow<'a, str>),
    /// All that stands behind the question mark.
    Query,
}

/// Why a fragment marks nothing. Says nothing of the secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    #[error(
        "behind #secret: stand names of parameters, numbers of path segments such as /2, or ? for \
         the whole query, with commas between"
    )]
    Unreadable,
    #[error("#secret: names more than 8 parts; ? stands for the whole query")]
    TooMany,
    #[error("#secret: names the path segment /{0}, and the path has none there")]
    NoSegment(usize),
    #[error("#secret: names the parameter {0}, and the query has none of that name with a value")]
    NoParameter(String),
    #[error("#secret: names the query, and there is none")]
    NoQuery,
}

/// A URL in the pieces that are shown or not.
struct Pieces<'a> {
    /// Up to the path.
    before: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    /// With its `#`.
    fragment: &'a str,
    marks: Vec<Mark<'a>>,
}

/// Judges the marks of a URL: each is there, and readable.
pub fn check(url: &str) -> Result<(), MarkError> {
    let Some(pieces) = Pieces::of(url) else {
        return Ok(());
    };
    let Some(texts) = pieces.texts() else {
        return Ok(());
    };
    let count = texts.split(',').count();
    if count > URL_MARKS_MAX {
        return Err(MarkError::TooMany);
    }
    if pieces.marks.len() != count {
        return Err(MarkError::Unreadable);
    }
    let mut marks = pieces.marks.iter();
    marks.try_for_each(|mark| match (mark, pieces.values(mark).is_empty()) {
        (_, false) => Ok(()),
        (Mark::Segment(number), true) => Err(MarkError::NoSegment(*number)),
        (Mark::Parameter(name), true) => Err(MarkError::NoParameter(name.clone().into_owned())),
        (Mark::Query, true) => Err(MarkError::NoQuery),
    })
}

/// The URL without its marks.
pub fn unmarked(url: &str) -> &str {
    match Pieces::of(url) {
        Some(pieces) if pieces.texts().is_some() => {
            let end = url.len() - pieces.fragment.len();
            url.get(..end).unwrap_or(url)
        }
        Some(_) | None => url,
    }
}

/// The URL with three stars for each part that is marked.
pub fn masked(url: &str) -> String {
    replaced(url, |_, _| Some(STARS.to_owned())).unwrap_or_else(|| url.to_owned())
}

/// Whether stars stand where a part of a URL was hidden, marked or not. A part that really is
/// stars can be written as `%2A`.
pub fn is_masked(url: &str) -> bool {
    let Some(pieces) = Pieces::of(url) else {
        return false;
    };
    let stars = |text: &str| text.len() >= 3 && text.bytes().all(|byte| byte == b'*');
    let query = pieces.query.unwrap_or_default();
    pieces.path.split('/').any(stars)
        || query
            .split('&')
            .any(|pair| stars(pair) || pair.split_once('=').is_some_and(|(_, value)| stars(value)))
}

/// What is marked, as it is written and as it is meant.
pub fn secrets(url: &str) -> Vec<String> {
    let Some(pieces) = Pieces::of(url) else {
        return Vec::new();
    };
    let values = pieces.marks.iter().flat_map(|mark| pieces.values(mark));
    values
        .flat_map(|value| {
            let meant = percent_decode_str(value).decode_utf8_lossy().into_owned();
            [value.to_owned(), meant]
        })
        .collect()
}

/// The URL meant by `typed` over the masked `old`: stars keep the part that they stand for. `None`
/// unless that is marked in both, and host and scheme are the same.
pub fn filled(typed: &str, old: Option<&str>) -> Option<String> {
    if !is_masked(typed) || Some(typed) == old {
        return Some(typed.to_owned());
    }
    let old = Pieces::of(old?)?;
    if Pieces::of(typed)?.origin() != old.origin() {
        return None;
    }
    let meant = replaced(typed, |mark, value| {
        if value != STARS {
            return Some(value.to_owned());
        }
        let known = old.marks.contains(mark);
        let values = old.values(mark).into_iter().filter(|_| known);
        match values.collect::<Vec<_>>()[..] {
            [only] => Some(only.to_owned()),
            _ => None,
        }
    });
    meant.filter(|meant| !is_masked(meant))
}

/// The URL with something else for each part that is marked, in one pass. `None` if there is
/// nothing for one.
fn replaced(url: &str, with: impl Fn(&Mark<'_>, &str) -> Option<String>) -> Option<String> {
    let Some(pieces) = Pieces::of(url).filter(|pieces| !pieces.marks.is_empty()) else {
        return Some(url.to_owned());
    };
    let mut out = pieces.before.to_owned();
    for (number, segment) in pieces.path.split('/').enumerate() {
        if number > 0 {
            out.push('/');
        }
        let mark = pieces.find(|mark| *mark == Mark::Segment(number));
        match mark.filter(|_| !segment.is_empty()) {
            Some(mark) => out.push_str(&with(mark, segment)?),
            None => out.push_str(segment),
        }
    }
    if let Some(query) = pieces.query {
        out.push('?');
        let mark = pieces.find(|mark| *mark == Mark::Query);
        match mark.filter(|_| !query.is_empty()) {
            Some(mark) => out.push_str(&with(mark, query)?),
            None => pieces.put_query(query, &mut out, with)?,
        }
    }
    out.push_str(pieces.fragment);
    Some(out)
}

impl<'a> Pieces<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let authority = url.find("://")? + 3;
        let end = url.get(authority..)?.find(AUTHORITY_ENDS);
        let (before, rest) = url.split_at_checked(end.map_or(url.len(), |end| authority + end))?;
        let (rest, fragment) = rest.split_at_checked(rest.find('#').unwrap_or(rest.len()))?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut pieces = Self {
            before,
            path,
            query,
            fragment,
            marks: Vec::new(),
        };
        let texts = pieces.texts().unwrap_or_default();
        let marks = texts.split(',').take(URL_MARKS_MAX);
        pieces.marks = marks.filter_map(mark).collect();
        Some(pieces)
    }

    fn find(&self, is_it: impl Fn(&Mark<'_>) -> bool) -> Option<&Mark<'a>> {
        self.marks.iter().find(|mark| is_it(mark))
    }

    fn put_query(
        &self,
        query: &str,
        out: &mut String,
        with: impl Fn(&Mark<'_>, &str) -> Option<String>,
    ) -> Option<()> {
        for (place, pair) in query.split('&').enumerate() {
            if place > 0 {
                out.push('&');
            }
            let Some((own, value)) = pair.split_once('=').filter(|(_, value)| !value.is_empty())
            else {
                out.push_str(pair);
                continue;
            };
            out.push_str(own);
            out.push('=');
            let name = percent_decode_str(own).decode_utf8_lossy();
            let is_it = |mark: &Mark<'_>| matches!(mark, Mark::Parameter(own) if *own == name);
            match self.find(is_it) {
                Some(mark) => out.push_str(&with(mark, value)?),
                None => out.push_str(value),
            }
        }
        Some(())
    }

    /// What is marked, as it is written.
    fn texts(&self) -> Option<&'a str> {
        self.fragment.strip_prefix('#')?.strip_prefix(MARKS)
    }

    /// What a mark stands for; nothing that is empty.
    fn values(&self, mark: &Mark<'_>) -> Vec<&'a str> {
        let query = self.query.unwrap_or_default();
        let all: Vec<&str> = match mark {
            Mark::Segment(number) => self.path.split('/').skip(*number).take(1).collect(),
            Mark::Parameter(name) => {
                let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                let named = pairs.filter(|(own, _)| is_named(own, name));
                named.map(|(_, value)| value).collect()
            }
            Mark::Query => vec![query],
        };
        all.into_iter().filter(|value| !value.is_empty()).collect()
    }

    /// Scheme, host and port.
    fn origin(&self) -> (&'a str, &'a str) {
        let (scheme, authority) = self.before.split_once("://").unwrap_or_default();
        (
            scheme,
            authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host),
        )
    }
}

fn mark(text: &str) -> Option<Mark<'_>> {
    match text {
        "" => None,
        "?" => Some(Mark::Query),
        text => match text.strip_prefix('/') {
            Some(number) => {
                let number = number.parse().ok().filter(|number| *number > 0);
                number.map(Mark::Segment)
            }
            None => Some(Mark::Parameter(
                percent_decode_str(text).decode_utf8_lossy(),
            )),
        },
    }
}

fn is_named(written: &str, name: &str) -> bool {
    percent_decode_str(written).decode_utf8_lossy() == name
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://u:p@example.org/hooks/abc?a=1&key=d%65f#secret:/2,key";

    #[test]
    fn marked_parts_are_masked_and_nothing_else() {
        for (url, shown) in [
            (
                URL,
                "https://u:p@example.org/hooks/***?a=1&key=***#secret:/2,key",
            ),
            (
                "https://a.test/x?key=b#secret:k%65y",
                "https://a.test/x?key=***#secret:k%65y",
            ),
            (
                "https://a.test?sig=b&c#secret:?",
                "https://a.test?***#secret:?",
            ),
            (
                "https://a.test/x?k=1&k=2#secret:k",
                "https://a.test/x?k=***&k=***#secret:k",
            ),
            // Without marks, or with one that finds nothing.
            ("https://a.test/x?key=b#key", "https://a.test/x?key=b#key"),
            (
                "https://a.test/x?key=b#secret:other",
                "https://a.test/x?key=b#secret:other",
            ),
            (
                "https://a.test/x#secret:/9,?",
                "https://a.test/x#secret:/9,?",
            ),
            ("not a url#secret:/1", "not a url#secret:/1"),
        ] {
            assert_eq!(masked(url), shown);
            assert_eq!(masked(shown), shown);
            assert_eq!(is_masked(shown), shown != url, "{url}");
        }
    }

    #[test]
    fn a_mark_that_marks_nothing_is_refused_and_named() {
        assert_eq!(check(URL), Ok(()));
        assert_eq!(check("https://a.test/#other"), Ok(()));
        for (marks, error) in [
            ("/9", MarkError::NoSegment(9)),
            ("/3", MarkError::NoSegment(3)),
            ("other", MarkError::NoParameter("other".to_owned())),
            ("empty", MarkError::NoParameter("empty".to_owned())),
            ("", MarkError::Unreadable),
            ("key,", MarkError::Unreadable),
            ("/0", MarkError::Unreadable),
            ("/x", MarkError::Unreadable),
        ] {
            let url = format!("https://a.test/x/y/?key=b&empty=#secret:{marks}");
            assert_eq!(check(&url), Err(error), "{marks}");
        }
        let many = ["key"; URL_MARKS_MAX + 1].join(",");
        let many = check(&format!("https://a.test/?key=b#secret:{many}"));
        assert_eq!(many, Err(MarkError::TooMany));
        assert!(
            MarkError::TooMany
                .to_string()
                .contains(&format!(" {URL_MARKS_MAX} parts"))
        );
        let none = check("https://a.test/#secret:?");
        assert_eq!(none, Err(MarkError::NoQuery));
    }

    #[test]
    fn secrets_are_the_marked_parts_as_written_and_as_meant() {
        assert_eq!(secrets(URL), ["abc", "abc", "d%65f", "def"]);
        assert!(secrets("https://a.test/abc?key=def").is_empty());
        assert_eq!(
            unmarked(URL),
            "https://u:p@example.org/hooks/abc?a=1&key=d%65f"
        );
        assert_eq!(unmarked("https://a.test/#b"), "https://a.test/#b");
    }

    #[test]
    fn stars_keep_the_part_they_stand_for_with_the_same_host_and_mark_only() {
        let fill = |typed: &str| filled(typed, Some(URL));
        assert_eq!(fill(&masked(URL)).as_deref(), Some(URL));
        for (typed, meant) in [
            (
                "https://example.org/other/***?key=new#secret:/2,key",
                Some("https://example.org/other/abc?key=new#secret:/2,key"),
            ),
            (
                "https://example.org/x?key=***#secret:key",
                Some("https://example.org/x?key=d%65f#secret:key"),
            ),
            (
                "https://example.org/plain",
                Some("https://example.org/plain"),
            ),
            // Another host, another scheme, a mark taken away or made anew.
            ("https://example.net/x?key=***#secret:key", None),
            ("http://example.org/x?key=***#secret:key", None),
            ("https://example.org:8443/x?key=***#secret:key", None),
            ("https://example.org/x?key=***", None),
            ("https://example.org/x?a=***#secret:a", None),
            ("https://example.org/***#secret:/1", None),
            ("https://example.org/x?***#secret:?", None),
        ] {
            assert_eq!(fill(typed).as_deref(), meant, "{typed}");
        }
        assert_eq!(filled("https://example.org/***/x", None), None);
    }
}
