//! Every statement of the store on SQLite in one list: prepared at start, and looked at by tests.

use crate::sql;
use crate::sqlite::{
    accept, clock, due, envelopes, fan_out, fan_out_cache, leftovers, pending, sequence, settle,
    unattempted, unattempted_rows, writer,
};

/// Every statement. All are prepared at start, so that a typo ends the start.
pub(crate) fn statements() -> Vec<&'static str> {
    let own = [
        accept::STATEMENTS,
        clock::STATEMENTS,
        due::STATEMENTS,
        envelopes::STATEMENTS,
        fan_out::STATEMENTS,
        fan_out_cache::STATEMENTS,
        leftovers::STATEMENTS,
        pending::STATEMENTS,
        sequence::STATEMENTS,
        settle::STATEMENTS,
        unattempted::STATEMENTS,
        unattempted_rows::STATEMENTS,
        writer::STATEMENTS,
    ];
    let shared = sql::statements::statements().map(|statement| statement.sqlite);
    own.into_iter().flatten().copied().chain(shared).collect()
}
