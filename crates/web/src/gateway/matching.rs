//! Matching: whether a path has the shape of a route's, and what stands for its segments in
//! braces. It knows texts only.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The shape of a route's path.
#[derive(Clone)]
pub(super) struct Pattern {
    segments: Vec<PathSegment>,
    ends_in_slash: bool,
    /// Whether the last segment may carry the name of a form, such as `.json`.
    suffixed: bool,
}

#[derive(Clone, Copy)]
enum PathSegment {
    Word(&'static str),
    /// Any one segment.
    Param(&'static str),
}

/// A path matched by a route.
#[derive(Default)]
pub(super) struct RouteMatch {
    pub(super) params: Vec<(&'static str, String)>,
    pub(super) suffix: Option<String>,
    pub(super) lacks_slash: bool,
}

/// The most segments of a route.
const SEGMENTS_MAX: usize = 12;

/// Splits a path and passes on its segments, decoded, and whether it ends in a slash; `None` if it
/// has more segments than any route.
pub(super) fn with_segments<T>(
    path: &str,
    take: impl FnOnce(&[&str], bool) -> Option<T>,
) -> Option<T> {
    let path = path.strip_prefix('/')?;
    let (path, ends_in_slash) = match path.strip_suffix('/') {
        Some(path) => (path, true),
        None => (path, false),
    };
    // Escapes are rare, and a path without them is compared in place.
    let decoded: Vec<Cow<'_, str>> = match path.contains('%') {
        true => {
            let decoded = |raw| percent_decode_str(raw).decode_utf8_lossy();
            path.split('/').map(decoded).collect()
        }
        false => Vec::new(),
    };
    let mut room = [""; SEGMENTS_MAX];
    let length = match decoded.is_empty() {
        true => split(path, &mut room)?,
        false => {
            for (index, segment) in decoded.iter().enumerate() {
                *room.get_mut(index)? = segment;
            }
            decoded.len()
        }
    };
    let segments = room.get(..length)?;
    take(segments, ends_in_slash)
}

/// Splits a path into `room` and returns the number of segments; `None` if there are more than any
/// route has. Segments are short, and the standard search is made for long texts.
fn split<'a>(mut path: &'a str, room: &mut [&'a str; SEGMENTS_MAX]) -> Option<usize> {
    if path.is_empty() {
        return Some(0);
    }
    for (index, segment) in room.iter_mut().enumerate() {
        let Some(end) = path.bytes().position(|byte| byte == b'/') else {
            *segment = path;
            return Some(index + 1);
        };
        (*segment, path) = (path.get(..end)?, path.get(end + 1..)?);
    }
    None
}

impl Pattern {
    pub(super) fn of(path: &'static str, suffixed: bool) -> Self {
        let (path, ends_in_slash) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let segment = |text: &'static str| {
            let param = text
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            param.map_or(PathSegment::Word(text), PathSegment::Param)
        };
        let segments: Vec<PathSegment> = path.split('/').skip(1).map(segment).collect();
        assert!(segments.len() <= SEGMENTS_MAX, "{path} is found");
        Self {
            segments,
            ends_in_slash,
            suffixed,
        }
    }

    /// Matches `segments` against this pattern.
    pub(super) fn lead(&self, segments: &[&str], ends_in_slash: bool) -> Option<RouteMatch> {
        let wants_slash = self.ends_in_slash;
        if self.segments.len() != segments.len() || (ends_in_slash && !wants_slash) {
            return None;
        }
        let Some((last, before)) = segments.split_last() else {
            // The root is nothing but its slash.
            return Some(RouteMatch::default());
        };
        let dot = self.suffixed.then(|| last.rsplit_once('.')).flatten();
        let (stem, suffix) = match dot {
            Some((stem, form)) => (stem, Some(is_form(form).then_some(form)?)),
            None => (*last, None),
        };
        // Most routes do not match, and most of those differ at their end.
        let texts = || before.iter().copied().chain([stem]);
        let (last_segment, own) = self.segments.split_last()?;
        if !last_segment.fits(stem) || !own.iter().zip(before).all(|(own, text)| own.fits(text)) {
            return None;
        }
        let param = |(part, text): (&PathSegment, &str)| match part {
            PathSegment::Word(_) => None,
            PathSegment::Param(name) => Some((*name, text.to_owned())),
        };
        Some(RouteMatch {
            params: self
                .segments
                .iter()
                .zip(texts())
                .filter_map(param)
                .collect(),
            suffix: suffix.map(str::to_owned),
            lacks_slash: wants_slash && !ends_in_slash && suffix.is_none(),
        })
    }
}

impl PathSegment {
    fn fits(self, text: &str) -> bool {
        match self {
            Self::Word(word) => text == word,
            Self::Param(_) => !text.is_empty(),
        }
    }
}

fn is_form(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty() && text.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_they_are_everywhere() {
        for path in [
            "",
            "a",
            "a/b",
            "/",
            "//a/",
            "ä/ö",
            "1/2/3/4/5/6/7/8/9/10/11/12",
        ] {
            let mut room = [""; SEGMENTS_MAX];
            let length = split(path, &mut room).unwrap();
            let all: Vec<&str> = path.split('/').filter(|_| !path.is_empty()).collect();
            assert_eq!(room[..length], all, "{path}");
        }
        let mut room = [""; SEGMENTS_MAX];
        assert_eq!(split("1/2/3/4/5/6/7/8/9/10/11/12/", &mut room), None);
    }
}
