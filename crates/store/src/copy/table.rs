//! A table that is copied, and the SQL for it in the words of both engines, made from its columns.
//!
//! Rows are read in the order of a key, a batch at a time, so that a copy can go on behind any row.

use crate::copy::datum::{BLOB, INTEGER, NULL, TEXT};

/// The type of a column as PostgreSQL has it. SQLite has numbers for whatever is no text and no
/// blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bigint,
    Integer,
    Smallint,
    Boolean,
    Text,
    Bytea,
}

pub(crate) type Column = (&'static str, Kind);

#[derive(Debug, Clone, Copy)]
pub(crate) struct CopiedTable {
    pub(crate) name: &'static str,
    /// As the database has them, in any order.
    pub(crate) columns: &'static [Column],
    /// Where SQLite has these columns: the table of the same name, unless it is said.
    pub(crate) from: Option<&'static str>,
    /// In whose order rows are read from SQLite, and from the database.
    pub(crate) key: &'static [&'static str],
    pub(crate) target_key: &'static [&'static str],
    /// Whether PostgreSQL counts its ids.
    pub(crate) counts_ids: bool,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bigint => "bigint",
            Self::Integer => "integer",
            Self::Smallint => "smallint",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::Bytea => "bytea",
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn list<T>(all: impl IntoIterator<Item = T>, word: impl Fn(usize, T) -> String) -> String {
    let words = all.into_iter().enumerate();
    let words: Vec<String> = words.map(|(at, one)| word(at + 1, one)).collect();
    words.join(", ")
}

impl CopiedTable {
    /// The places of the columns of the key of the source.
    pub(crate) fn key_places(&self) -> Vec<usize> {
        let place = |name: &&str| self.columns.iter().position(|(own, _)| own == name);
        self.key.iter().filter_map(place).collect()
    }

    fn kind(&self, column: &str) -> Kind {
        let found = self.columns.iter().find(|(own, _)| *own == column);
        found.map_or(Kind::Bigint, |(_, kind)| *kind)
    }

    /// For SQLite: the columns of the next rows, behind a key if there is one. The last value is
    /// how many.
    pub(crate) fn read(&self, is_first: bool) -> String {
        let columns = list(self.columns, |_, (name, _)| quoted(name));
        let from = self.from.map_or_else(|| quoted(self.name), str::to_owned);
        let key = list(self.key, |_, name| quoted(name));
        let values = list(self.key, |at, _| format!("?{at}"));
        let behind = match is_first {
            true => String::new(),
            false => format!("where ({key}) > ({values})"),
        };
        let limit = match is_first {
            true => 1,
            false => self.key.len() + 1,
        };
        format!("select {columns} from {from} {behind} order by {key} limit ?{limit}")
    }

    /// For PostgreSQL: rows of one array for each column.
    pub(crate) fn insert(&self) -> String {
        let table = quoted(self.name);
        let columns = list(self.columns, |_, (name, _)| quoted(name));
        let arrays = list(self.columns, |at, (_, kind)| {
            format!("${at}::{}[]", kind.name())
        });
        format!("insert into {table} ({columns}) select * from unnest({arrays})")
    }

    /// For PostgreSQL: of the next rows the key and, first, what goes into the checksum.
    pub(crate) fn hashes(&self, is_first: bool) -> String {
        let table = quoted(self.name);
        let bytes: Vec<String> = self.columns.iter().map(bytes_of).collect();
        let bytes = bytes.join(" || ");
        let key = list(self.target_key, |_, name| quoted(name));
        let values = list(self.target_key, |at, name| {
            format!("${at}::{}", self.kind(name).name())
        });
        let behind = match is_first {
            true => String::new(),
            false => format!("where ({key}) > ({values})"),
        };
        format!(
            "select ('x' || encode(substring(sha256({bytes}) from 1 for 8), 'hex'))::bit(64)::bigint, \
             {key} from {table} {behind} order by {key} limit {}",
            Self::HASHES_AT_ONCE
        )
    }

    /// Enough that a round trip does not count, and few enough for a statement's time.
    pub(crate) const HASHES_AT_ONCE: usize = 5_000;

    /// For PostgreSQL: whether there is a row.
    pub(crate) fn has_rows(&self) -> String {
        format!("select 1 from {} limit 1", quoted(self.name))
    }

    /// For PostgreSQL: the next id is above this one.
    pub(crate) fn count_from(&self) -> String {
        format!(
            "select setval(pg_get_serial_sequence('{}', 'id')::regclass, $1::bigint)",
            quoted(self.name)
        )
    }

    pub(crate) fn quoted(&self) -> String {
        quoted(self.name)
    }
}

/// The bytes of a value as `datum.rs` writes them.
fn bytes_of((name, kind): &Column) -> String {
    let name = quoted(name);
    let long = |tag: u8, bytes: &str| {
        format!(
            "coalesce('\\x{tag:02x}'::bytea || int4send(octet_length({name})) || {bytes}, \
             '\\x{NULL:02x}'::bytea)"
        )
    };
    match kind {
        Kind::Bigint | Kind::Integer | Kind::Smallint => format!(
            "coalesce('\\x{INTEGER:02x}'::bytea || int8send({name}::bigint), \
             '\\x{NULL:02x}'::bytea)"
        ),
        Kind::Boolean => format!(
            "coalesce('\\x{INTEGER:02x}'::bytea || int8send({name}::integer::bigint), \
             '\\x{NULL:02x}'::bytea)"
        ),
        Kind::Text => long(TEXT, &format!("convert_to({name}, 'UTF8')")),
        Kind::Bytea => long(BLOB, &name),
    }
}
