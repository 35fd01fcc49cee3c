//! The query of a request, and forms in the same encoding: decoded, bounded, and checked for
//! unknown names.

use std::sync::Arc;

use http::Uri;
use model::limits::PARAMETERS_MAX;
use model::refusal::{Fault, Refusal};
use percent_encoding::percent_decode_str;

/// The most wrong parameters that are named, and characters of each name.
const FAULTS_MAX: usize = 10;
const FAULT_CHARS_MAX: usize = 100;

/// The query of a request, decoded, in order. The last of equal names counts. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Query(Arc<[(String, String)]>);

impl Query {
    /// Refused if it has more than `limits::PARAMETERS_MAX` pairs.
    pub(crate) fn read(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (form_decoded(name), form_decoded(value))
        };
        let parts = text.split('&').filter(|part| !part.is_empty());
        let few = parts.clone().nth(PARAMETERS_MAX).is_none();
        match few {
            true => Ok(Self(parts.map(pair).collect())),
            false => Err(Refusal::bad_request(format!(
                "A request may have at most {PARAMETERS_MAX} parameters in its query, and as many \
                 in a form."
            ))),
        }
    }

    /// The query of a URI; if it is refused an empty one, and the refusal.
    pub(crate) fn of(uri: &Uri) -> (Self, Result<(), Refusal>) {
        match Self::read(uri.query().unwrap_or_default()) {
            Ok(query) => (query, Ok(())),
            Err(refusal) => (Self::default(), Err(refusal)),
        }
    }

    /// The same query without this name.
    pub(crate) fn without(&self, name: &str) -> Self {
        let others = self.0.iter().filter(|(own, _)| own != name);
        Self(others.cloned().collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let last = self.0.iter().rev().find(|(own, _)| own == name);
        last.map(|(_, value)| value.as_str())
    }

    /// Every value of this name, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses unknown names, and names given twice: what they mean is unclear, and ignoring them
    /// may do more than was asked for.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut seen = Vec::with_capacity(known.len());
        for (name, _) in self.iter() {
            let reason = if !known.contains(&name) {
                unknown_of(known)
            } else if seen.contains(&name) {
                "This parameter is given twice.".to_owned()
            } else {
                seen.push(name);
                continue;
            };
            let name: String = name.chars().take(FAULT_CHARS_MAX).collect();
            if faults.iter().all(|fault| fault.field != name) {
                faults.push(Fault::new(&name, reason));
            }
            if faults.len() >= FAULTS_MAX {
                break;
            }
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Parameters(faults)),
        }
    }
}

fn unknown_of(known: &[&str]) -> String {
    match known {
        [] => "There is no such parameter: none is taken here.".to_owned(),
        known => format!("There is no such parameter: here are {}.", known.join(", ")),
    }
}

/// Decodes `application/x-www-form-urlencoded`; bytes that are not UTF-8 become U+FFFD.
fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_the_last_of_a_name_counts() {
        let query = Query::read("a=1&b=x%20y+z&a=%C3%A4&c&=&%ff=1").unwrap();
        assert_eq!(query.get("a"), Some("ä"));
        assert_eq!(query.get("b"), Some("x y z"));
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.get("d"), None);
        assert_eq!(query.iter().count(), 6);
        assert_eq!(query.get("\u{fffd}"), Some("1"));
    }

    #[test]
    fn a_query_of_very_many_parameters_is_refused() {
        let text = "a&".repeat(PARAMETERS_MAX);
        assert_eq!(Query::read(&text).unwrap().iter().count(), PARAMETERS_MAX);
        let refused = Query::read(&format!("{text}&b")).unwrap_err();
        assert!(matches!(refused, Refusal::BadRequest(words) if words.contains("4096")));
    }

    #[test]
    fn what_is_not_known_or_given_twice_is_refused_by_its_name() {
        let faults = |text: &str, known: &[&str]| match Query::read(text).unwrap().only(known) {
            Ok(()) => Vec::new(),
            Err(Refusal::Parameters(faults)) => faults,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(faults("", &[]), []);
        assert_eq!(faults("a=1&b=&", &["a", "b", "c"]), []);
        let twice = Fault::new("a", "This parameter is given twice.");
        assert_eq!(faults("a=1&a=1&a=2", &["a"]), [twice]);
        let unknown = Fault::new("x y", "There is no such parameter: here are a, b.");
        assert_eq!(faults("a=1&x+y=2&x%20y", &["a", "b"]), [unknown]);
        let none = Fault::new("", "There is no such parameter: none is taken here.");
        assert_eq!(faults("=1", &[]), [none]);
        let many: Vec<String> = (0..100)
            .map(|n| format!("{n}{}", "ä".repeat(200)))
            .collect();
        let faults = faults(&many.join("&"), &[]);
        assert_eq!(faults.len(), FAULTS_MAX);
        assert!(
            faults
                .iter()
                .all(|fault| fault.field.chars().count() == FAULT_CHARS_MAX)
        );
    }
}
