//! Untrusted JSON, parsed one level at a time: the members of an object, the items of a list, each
//! as it was written. No tree of values is built, which can take a hundred times the size of its
//! text. What exceeds a bound is counted and not kept.

use std::collections::BTreeSet;
use std::fmt;

use model::refusal::{Fault, Refusal};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Fields of one object: the largest that is documented has 14, and who sends more of their own
/// has some dozens.
const MEMBERS_MAX: usize = 100;

/// The members of an object, the first of them kept.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    kept: Vec<(String, &'a RawValue)>,
    count: usize,
}

/// The items of a list, the first `MOST` of them kept.
#[derive(Debug)]
pub(super) struct Items<'a, const MOST: usize> {
    pub(super) kept: Vec<&'a RawValue>,
    pub(super) count: usize,
}

impl<'a> Members<'a> {
    /// Those of the object that `text` is; nothing if it is something else.
    pub(super) fn read(text: &'a str) -> Result<Option<Self>, Refusal> {
        match serde_json::from_str(text) {
            Ok(members) => Ok(Some(members)),
            Err(error) if error.is_data() => Ok(None),
            Err(error) => Err(unreadable("body", &error)),
        }
    }

    /// How many there are, kept or not.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The text of a member, of equal names the last.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.kept.iter().rfind(|(own, _)| own == name);
        found.map(|(_, value)| value.get())
    }

    /// Members that are given more than once: nobody could tell which is meant.
    pub(super) fn twice(&self) -> Vec<Fault> {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<&str> = self
            .kept
            .iter()
            .filter(|(name, _)| !seen.insert(name))
            .map(|(name, _)| name.as_str())
            .collect();
        let fault = |name| Fault::new(name, format!("The {name} field is given twice."));
        twice.into_iter().map(fault).collect()
    }

    /// All by their names, of equal names the last.
    pub(super) fn fields(self) -> Result<Map<String, Value>, Refusal> {
        let members = self.kept.into_iter();
        let field = |(name, value): (String, &RawValue)| match shallow(value.get()) {
            Ok(value) => Ok((name, value)),
            Err(error) => Err(unreadable(&name, &error)),
        };
        members.map(field).collect()
    }
}

impl<'a, const MOST: usize> Items<'a, MOST> {
    pub(super) fn read(text: &'a str) -> Result<Self, Refusal> {
        serde_json::from_str(text).map_err(|error| unreadable("body", &error))
    }
}

/// Why `what` may not have so many fields, if it may not.
pub(super) fn bounded(what: &str, count: usize) -> Result<(), String> {
    if count <= MEMBERS_MAX {
        return Ok(());
    }
    Err(format!(
        "{what} may have at most {MEMBERS_MAX} fields, not {count}."
    ))
}

/// The value that `text` is. A list or an object is empty, whatever is in it.
pub(super) fn shallow(text: &str) -> serde_json::Result<Value> {
    match text.as_bytes().first() {
        Some(b'[') => Ok(Value::Array(Vec::new())),
        Some(b'{') => Ok(Value::Object(Map::new())),
        Some(_) | None => serde_json::from_str(text),
    }
}

fn unreadable(what: &str, error: &serde_json::Error) -> Refusal {
    Refusal::Unreadable(format!("The {what} is not valid JSON: {error}."))
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key()? {
                    members.count += 1;
                    if members.count <= MEMBERS_MAX {
                        members.kept.push((name, map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl<'de: 'a, 'a, const MOST: usize> Deserialize<'de> for Items<'a, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<const MOST: usize>;
        impl<'de, const MOST: usize> Visitor<'de> for Reader<MOST> {
            type Value = Items<'de, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let (mut kept, mut count) = (Vec::new(), 0);
                while let Some(item) = seq.next_element()? {
                    count += 1;
                    if count <= MOST {
                        kept.push(item);
                    }
                }
                Ok(Items { kept, count })
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}
