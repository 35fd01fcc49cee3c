//! `statements!`: SQL as constants, and the list of them that `statements.rs` prepares.

/// Makes a `&str` constant of each `NAME = "…";`, and `STATEMENTS`, all of them in order.
macro_rules! statements {
    ($($vis:vis $name:ident = $sql:literal;)+) => {
        $($vis const $name: &str = $sql;)+

        pub(crate) const STATEMENTS: &[&str] = &[$($name),+];
    };
}
