//! The header lines of a request, in the order in which they go over the wire.
//!
//! Lines of one name stand together, where the first of them stands. Whatever is in here may be
//! sent: `http` has judged each name and value.

use http::header::{HeaderName, HeaderValue};
use model::own_header::title_cased;

#[derive(Debug, Clone, Default)]
pub(crate) struct RequestHeaders(Vec<(HeaderName, HeaderValue)>);

impl RequestHeaders {
    /// The only line of this name: in the place of the first one there was, or the last.
    pub(crate) fn put(&mut self, name: HeaderName, value: HeaderValue) {
        let mut value = Some(value);
        self.0.retain_mut(|(known, old)| {
            if *known != name {
                return true;
            }
            match value.take() {
                Some(value) => *old = value,
                None => return false,
            }
            true
        });
        if let Some(value) = value {
            self.0.push((name, value));
        }
    }

    /// One more line of this name.
    pub(crate) fn append(&mut self, name: HeaderName, value: HeaderValue) {
        let last = self.0.iter().rposition(|(known, _)| *known == name);
        let endpoint = last.map_or(self.0.len(), |last| last + 1);
        self.0.insert(endpoint, (name, value));
    }

    /// Leaves out the lines of these names.
    pub(crate) fn remove(&mut self, is_out: impl Fn(&HeaderName) -> bool) {
        self.0.retain(|(name, _)| !is_out(name));
    }

    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            write(bytes, name, value);
        }
    }

    /// The bytes of what stands before and behind the line of this name.
    pub(crate) fn around(&self, name: &HeaderName) -> (Vec<u8>, Vec<u8>) {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        let mut passed = false;
        for (other, value) in &self.0 {
            if other == name {
                passed = true;
            } else {
                let bytes = if passed { &mut behind } else { &mut before };
                write(bytes, other, value);
            }
        }
        (before, behind)
    }
}

fn write(bytes: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    bytes.extend(title_cased(name.as_str()));
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value.as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

/// A name as it goes over the wire.
pub(crate) fn title_case(name: &str) -> String {
    title_cased(name).map(char::from).collect()
}
