//! Values that a statement is given, and cells that a row has, whichever engine it is.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use rusqlite::types::{ToSqlOutput, ValueRef};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::postgres::text;
use crate::sql::job_error::{CorruptRow, JobError};

/// A value for a statement. Neither engine is told its type: SQLite needs none, and PostgreSQL says
/// which it expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Boolean(bool),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// What is in a column of a row. SQLite has integers for booleans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    Null,
    Integer(i64),
    Boolean(bool),
    Text(&'a str),
    /// A text of PostgreSQL with characters that stand for others (`postgres/text.rs`).
    EncodedText(&'a str),
    Blob(&'a [u8]),
}

/// What can be a value.
pub(crate) trait ToValue {
    fn to_value(&self) -> Value<'_>;
}

/// What can be read from a cell.
pub(crate) trait Column: Sized {
    fn of_cell(cell: Cell<'_>) -> Result<Self, JobError>;
}

/// The values of a statement, each by reference.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$(crate::sql::value::ToValue::to_value(&$value)),*]
    };
}

macro_rules! values_of_integers {
    ($($kind:ty),+) => {$(
        impl ToValue for $kind {
            fn to_value(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        }

        impl Column for $kind {
            fn of_cell(cell: Cell<'_>) -> Result<Self, JobError> {
                match cell {
                    Cell::Integer(number) => {
                        Self::try_from(number).map_err(|_| CorruptRow("number").into())
                    }
                    Cell::Null
                    | Cell::Boolean(_)
                    | Cell::Text(_)
                    | Cell::EncodedText(_)
                    | Cell::Blob(_) => Err(CorruptRow("number").into()),
                }
            }
        }
    )+};
}

values_of_integers!(i64, u32, u16);

impl ToValue for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Boolean(*self)
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl ToValue for [u8; 32] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value<'_> {
        T::to_value(self)
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
}

impl Column for bool {
    fn of_cell(cell: Cell<'_>) -> Result<Self, JobError> {
        match cell {
            Cell::Boolean(is) => Ok(is),
            Cell::Integer(number) => Ok(number != 0),
            Cell::Null | Cell::Text(_) | Cell::EncodedText(_) | Cell::Blob(_) => {
                Err(CorruptRow("yes or no").into())
            }
        }
    }
}

impl Column for String {
    fn of_cell(cell: Cell<'_>) -> Result<Self, JobError> {
        cell.text().map(Cow::into_owned)
    }
}

impl Column for Arc<str> {
    fn of_cell(cell: Cell<'_>) -> Result<Self, JobError> {
        cell.text().map(Self::from)
    }
}

impl Column for [u8; 32] {
    fn of_cell(cell: Cell<'_>) -> Result<Self, JobError> {
        let hash = cell.blob()?.try_into();
        hash.map_err(|_| CorruptRow("hash").into())
    }
}

/// Null is an empty one.
impl Column for Bytes {
    fn of_cell(cell: Cell<'_>) -> Result<Self, JobError> {
        if cell == Cell::Null {
            return Ok(Self::new());
        }
        cell.blob().map(Self::copy_from_slice)
    }
}

impl<T: Column> Column for Option<T> {
    fn of_cell(cell: Cell<'_>) -> Result<Self, JobError> {
        if cell == Cell::Null {
            return Ok(None);
        }
        T::of_cell(cell).map(Some)
    }
}

impl<'a> Cell<'a> {
    pub(crate) fn text(self) -> Result<Cow<'a, str>, JobError> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            Self::EncodedText(text) => Ok(Cow::Owned(text::decoded(text))),
            Self::Null | Self::Integer(_) | Self::Boolean(_) | Self::Blob(_) => {
                Err(CorruptRow("text").into())
            }
        }
    }

    pub(crate) fn blob(self) -> Result<&'a [u8], JobError> {
        match self {
            Self::Blob(blob) => Ok(blob),
            Self::Null
            | Self::Integer(_)
            | Self::Boolean(_)
            | Self::Text(_)
            | Self::EncodedText(_) => Err(CorruptRow("blob").into()),
        }
    }

    /// A cell of SQLite.
    pub(crate) fn of_sqlite(value: ValueRef<'a>) -> Result<Self, JobError> {
        match value {
            ValueRef::Null => Ok(Self::Null),
            ValueRef::Integer(number) => Ok(Self::Integer(number)),
            ValueRef::Text(text) => {
                let text = str::from_utf8(text);
                Ok(Self::Text(text.map_err(|_| CorruptRow("text"))?))
            }
            ValueRef::Blob(blob) => Ok(Self::Blob(blob)),
            ValueRef::Real(_) => Err(CorruptRow("number").into()),
        }
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Boolean(is) => ValueRef::Integer(i64::from(*is)),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}

/// PostgreSQL names a type for each value, which has to be one that the value fits in.
#[derive(Debug, thiserror::Error)]
#[error("a value {0} where PostgreSQL expects {1}")]
struct WrongType(&'static str, Type);

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, kind) {
            (Value::Null, _) => return Ok(IsNull::Yes),
            (Value::Integer(number), &Type::INT8) => out.put_i64(*number),
            (Value::Integer(number), &Type::INT4) => out.put_i32(i32::try_from(*number)?),
            (Value::Integer(number), &Type::INT2) => out.put_i16(i16::try_from(*number)?),
            (Value::Boolean(is), &Type::BOOL) => out.put_u8(u8::from(*is)),
            (Value::Text(text), &Type::TEXT | &Type::VARCHAR) => {
                out.put_slice(text::encoded(text).as_bytes());
            }
            (Value::Blob(blob), &Type::BYTEA) => out.put_slice(blob),
            (Value::Integer(_), other) => return Err(WrongType("number", other.clone()).into()),
            (Value::Boolean(_), other) => return Err(WrongType("yes or no", other.clone()).into()),
            (Value::Text(_), other) => return Err(WrongType("text", other.clone()).into()),
            (Value::Blob(_), other) => return Err(WrongType("blob", other.clone()).into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Cell::Integer(i64::from_sql(kind, raw)?),
            Type::INT4 => Cell::Integer(i64::from(i32::from_sql(kind, raw)?)),
            Type::INT2 => Cell::Integer(i64::from(i16::from_sql(kind, raw)?)),
            Type::BOOL => Cell::Boolean(bool::from_sql(kind, raw)?),
            Type::BYTEA => Cell::Blob(raw),
            _ => match <&str>::from_sql(kind, raw)? {
                text if text::is_encoded(text) => Cell::EncodedText(text),
                text => Cell::Text(text),
            },
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Cell::Null)
    }

    fn accepts(kind: &Type) -> bool {
        [
            Type::INT8,
            Type::INT4,
            Type::INT2,
            Type::BOOL,
            Type::BYTEA,
            Type::TEXT,
            Type::VARCHAR,
        ]
        .contains(kind)
    }
}
