//! One value of a row on its way, the bytes that stand for it in checksums and in the mark of how
//! far a copy has come, and the checksum itself.
//!
//! The database computes the same checksum of what it stores (`table.rs`), so both have to write a
//! value in the same bytes: a tag, a length where there may be several, and the value.

use std::borrow::Cow;

use rusqlite::types::ValueRef;
use sha2::{Digest, Sha256};

use crate::postgres::text;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::value::{Cell, Value};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Datum {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

pub(crate) const NULL: u8 = 0;
pub(crate) const INTEGER: u8 = 1;
pub(crate) const TEXT: u8 = 2;
pub(crate) const BLOB: u8 = 3;

impl Datum {
    pub(crate) fn of_sqlite(value: ValueRef<'_>) -> Result<Self, JobError> {
        Self::of_cell(Cell::of_sqlite(value)?)
    }

    pub(crate) fn of_cell(cell: Cell<'_>) -> Result<Self, JobError> {
        Ok(match cell {
            Cell::Null => Self::Null,
            Cell::Integer(number) => Self::Integer(number),
            Cell::Boolean(is) => Self::Integer(i64::from(is)),
            Cell::Text(_) | Cell::EncodedText(_) => Self::Text(cell.text()?.into_owned()),
            Cell::Blob(blob) => Self::Blob(blob.to_vec()),
        })
    }

    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Text(text) => Value::Text(text),
            Self::Blob(blob) => Value::Blob(blob),
        }
    }

    /// The same for a column that holds yes or no.
    pub(crate) fn yes_or_no(&self) -> Value<'_> {
        match self {
            Self::Integer(number) => Value::Boolean(*number != 0),
            Self::Null | Self::Text(_) | Self::Blob(_) => self.value(),
        }
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let more = match self {
            Self::Null | Self::Integer(_) => 0,
            Self::Text(text) => text.len(),
            Self::Blob(blob) => blob.len(),
        };
        more.saturating_add(size_of::<Self>())
    }

    fn write(&self, into: &mut Vec<u8>) {
        let (tag, bytes) = match self {
            Self::Null => return into.push(NULL),
            Self::Integer(number) => {
                into.push(INTEGER);
                return into.extend(number.to_be_bytes());
            }
            Self::Text(text) => match text::encoded(text) {
                Cow::Borrowed(text) => (TEXT, Cow::Borrowed(text.as_bytes())),
                Cow::Owned(text) => (TEXT, Cow::Owned(text.into_bytes())),
            },
            Self::Blob(blob) => (BLOB, Cow::Borrowed(blob.as_slice())),
        };
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        into.push(tag);
        into.extend(length.to_be_bytes());
        into.extend(bytes.iter());
    }

    /// The first value of these bytes, and the rest of them.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (tag, rest) = bytes.split_first()?;
        if *tag == NULL {
            return Some((Self::Null, rest));
        }
        if *tag == INTEGER {
            let (number, rest) = rest.split_first_chunk()?;
            return Some((Self::Integer(i64::from_be_bytes(*number)), rest));
        }
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (held, rest) = rest.split_at_checked(length)?;
        match *tag {
            TEXT => Some((Self::Text(text::decoded(str::from_utf8(held).ok()?)), rest)),
            BLOB => Some((Self::Blob(held.to_vec()), rest)),
            _ => None,
        }
    }
}

/// Values one behind another.
pub(crate) fn to_bytes<'a>(all: impl IntoIterator<Item = &'a Datum>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in all {
        one.write(&mut bytes);
    }
    bytes
}

/// The reverse of `to_bytes`.
pub(crate) fn of_bytes(mut bytes: &[u8]) -> Result<Vec<Datum>, CorruptRow> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (one, rest) = Datum::read(bytes).ok_or(CorruptRow("mark of a copy"))?;
        all.push(one);
        bytes = rest;
    }
    Ok(all)
}

/// Of rows, whatever their order: how many, and the sum of the first 8 bytes of each one's SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checksum {
    pub(crate) rows: i64,
    pub(crate) sum: i128,
}

impl Checksum {
    pub(crate) fn add(&mut self, row: &[Datum]) {
        let hash = Sha256::digest(to_bytes(row));
        let first = hash.first_chunk().map(|first| i64::from_be_bytes(*first));
        self.add_hash(first.unwrap_or(0));
    }

    pub(crate) fn add_hash(&mut self, hash: i64) {
        self.rows = self.rows.saturating_add(1);
        self.sum = self.sum.wrapping_add(i128::from(hash));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datum() -> impl Strategy<Value = Datum> {
        prop_oneof![
            Just(Datum::Null),
            any::<i64>().prop_map(Datum::Integer),
            "[\0-\u{3}a-z]{0,4}".prop_map(Datum::Text),
            proptest::collection::vec(any::<u8>(), 0..4).prop_map(Datum::Blob),
        ]
    }

    proptest! {
        #[test]
        fn any_values_come_back_from_their_bytes(all in proptest::collection::vec(datum(), 0..5)) {
            prop_assert_eq!(of_bytes(&to_bytes(&all)).unwrap(), all);
        }

        #[test]
        fn a_checksum_tells_different_rows_and_no_orders(
            one in proptest::collection::vec(datum(), 3),
            other in proptest::collection::vec(datum(), 3),
        ) {
            let of = |rows: &[&Vec<Datum>]| {
                let mut sum = Checksum::default();
                rows.iter().for_each(|row| sum.add(row));
                sum
            };
            prop_assert_eq!(of(&[&one, &other]), of(&[&other, &one]));
            prop_assert_eq!(of(&[&one, &one]) == of(&[&one, &other]), one == other);
        }
    }
}
