//! `statements!`: SQL as constants, and the list of them that is prepared at start.

/// A statement in the words of each engine.
///
/// Both number values as `?1`. An index that SQLite is told to use by `indexed by` is nothing to
/// PostgreSQL, which has no such words. What stands in `/*postgres … */` is a comment to SQLite and
/// is said to PostgreSQL: mostly the tenant, with which its keys begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl Statement {
    /// The same for both engines.
    pub(crate) const fn of_both(sql: &'static str) -> Self {
        Self {
            sqlite: sql,
            postgres: sql,
        }
    }

    pub(crate) const fn of_each(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }

    /// As PostgreSQL takes it: `$1` for `?1`, no `indexed by`, what only it is told, and ids as
    /// numbers of 64 bits.
    pub(crate) fn to_postgres(self) -> String {
        to_postgres(self.postgres)
    }
}

/// The same for a statement that is put together.
pub(crate) fn to_postgres(sql: &str) -> String {
    let mut written = String::with_capacity(sql.len());
    let mut parts = sql.split(" indexed by ");
    written.extend(parts.next());
    for part in parts {
        let name_end = part.find(|next: char| !next.is_alphanumeric() && next != '_');
        let (_, rest) = part.split_at(name_end.unwrap_or(part.len()));
        written.push_str(rest);
    }
    let written = written
        .replace("/*postgres ", "")
        .replace(" */", "")
        .replace('?', "$");
    IDS.iter().fold(written, |sql, id| wide(&sql, id))
}

/// What a value is compared with that may be any number, of columns that may hold less.
const IDS: [&str; 2] = ["tenant_id = $", "webhook_id = $"];

/// Has the values that are compared by `id` taken as numbers of 64 bits.
fn wide(sql: &str, id: &str) -> String {
    let mut parts = sql.split(id);
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|next: char| !next.is_ascii_digit());
        let (number, rest) = part.split_at(end.unwrap_or(part.len()));
        for text in [id, number, "::bigint", rest] {
            written.push_str(text);
        }
    }
    written
}

/// Makes a `Statement` constant of each `NAME = "…";`, and of each `NAME = "…" | "…";` where SQLite
/// and PostgreSQL need different words; and `STATEMENTS`, all of them in order.
macro_rules! shared_statements {
    ($($vis:vis $name:ident = $sqlite:literal $(| $postgres:literal)?;)+) => {
        $($vis const $name: crate::sql::Statement =
            shared_statements!(@of $sqlite $(, $postgres)?);)+

        pub(crate) const STATEMENTS: &[crate::sql::Statement] = &[$($name),+];
    };
    (@of $both:literal) => { crate::sql::Statement::of_both($both) };
    (@of $sqlite:literal, $postgres:literal) => {
        crate::sql::Statement::of_each($sqlite, $postgres)
    };
}

/// Makes a `&str` constant of each `NAME = "…";`, for one engine, and `STATEMENTS`, all of them in
/// order.
macro_rules! statements {
    ($($vis:vis $name:ident = $sql:literal;)+) => {
        $($vis const $name: &str = $sql;)+

        pub(crate) const STATEMENTS: &[&str] = &[$($name),+];
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgresql_gets_its_own_numbers_and_words_and_no_index_to_use() {
        let statement = Statement::of_both(
            "select a from t indexed by t_a where /*postgres d = ?2 and */ a = ?1 and b in (
               select b from u indexed by u_b
               where c < ?12)",
        );
        let wanted = "select a from t where d = $2 and a = $1 and b in (
               select b from u
               where c < $12)";
        assert_eq!(statement.to_postgres(), wanted);
        assert_eq!(
            to_postgres("select ?1 where d.webhook_id = ?12 and tenant_id = ?1"),
            "select $1 where d.webhook_id = $12::bigint and tenant_id = $1::bigint"
        );
        assert_eq!(
            to_postgres("select a from t indexed by t_a"),
            "select a from t"
        );
    }
}
