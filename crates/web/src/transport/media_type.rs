//! The media type of a body, and the parts of a multipart form.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyDataStream, Full};
use model::refusal::Refusal;
use multer::Multipart;

/// The longest boundary of a multipart body (RFC 2046, 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// A header as text; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn text_of(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        // The usual case, checked many bytes at once.
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(value.as_bytes()),
    }
}

/// A media type with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType<'a> {
    /// As it was sent.
    whole: Cow<'a, str>,
}

impl<'a> MediaType<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let header = headers.get(CONTENT_TYPE);
        let whole = header.map(text_of);
        Self {
            whole: whole.unwrap_or_default(),
        }
    }

    /// Without parameters, in lower case.
    pub(crate) fn kind(&self) -> Cow<'_, str> {
        let whole = self.whole.as_ref();
        let kind = whole.split_once(';').map_or(whole, |(kind, _)| kind).trim();
        if kind.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return kind.to_ascii_lowercase().into();
        }
        kind.into()
    }

    pub(crate) fn charset(&self) -> Option<&str> {
        self.parameter("charset")
    }

    /// The last of equal names counts.
    fn parameter(&self, wanted: &str) -> Option<&str> {
        let (_, parameters) = self.whole.split_once(';')?;
        let parts = parameters.split(';');
        let mut pairs = parts.filter_map(|part| part.split_once('='));
        let found = pairs.rfind(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// Whether this is JSON Lines. No name for it is registered; these are in use.
    pub(crate) fn is_json_lines(&self) -> bool {
        const NAMES: [&str; 6] = [
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/x-jsonl",
            "application/jsonlines",
            "application/x-jsonlines",
        ];
        NAMES.contains(&self.kind().as_ref())
    }

    pub(crate) fn unknown(&self) -> Refusal {
        Refusal::UnknownForm(self.whole.clone().into_owned())
    }

    /// The fields of a multipart form; files are ignored.
    pub(crate) async fn parts(&self, body: &Bytes) -> Result<Vec<(String, String)>, String> {
        let boundary = self.parameter("boundary");
        // Longer ones are invalid (RFC 2046, 5.1.1), and searching for them is slow.
        let boundary =
            boundary.filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()));
        let boundary = boundary.ok_or("Invalid boundary in multipart: None")?;
        let opening = format!("--{boundary}");
        if !body
            .windows(opening.len())
            .any(|window| window == opening.as_bytes())
        {
            // A body without parts is an empty form.
            return Ok(Vec::new());
        }
        let stream = BodyDataStream::new(Full::new(body.clone()));
        let mut multipart = Multipart::new(stream, boundary);
        let mut pairs = Vec::new();
        loop {
            let part = multipart.next_field().await;
            let Some(part) = part.map_err(|error| error.to_string())? else {
                return Ok(pairs);
            };
            let name = part.name().map(str::to_owned);
            let is_file = part.file_name().is_some();
            let value = part.bytes().await.map_err(|error| error.to_string())?;
            if let (Some(name), false) = (name, is_file) {
                pairs.push((name, String::from_utf8_lossy(&value).into_owned()));
            }
        }
    }
}
