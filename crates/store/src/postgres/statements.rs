//! Every statement of the store on PostgreSQL in one list, for tests.

use crate::postgres::{
    accept, clock, copy_mark, due, envelopes, fan_out, health_columns, leases, many, migrate,
    pending, prune, settle, settle_columns, statistics, store, subscriptions, unattempted, watch,
    worker,
};
use crate::sql::statement::to_postgres;
use crate::sql::{self, Statement, merge};

/// Every statement, as the database gets it.
pub(crate) fn statements() -> Vec<String> {
    let own = [
        accept::statements::STATEMENTS,
        clock::STATEMENTS,
        copy_mark::STATEMENTS,
        due::STATEMENTS,
        envelopes::STATEMENTS,
        fan_out::STATEMENTS,
        health_columns::STATEMENTS,
        leases::STATEMENTS,
        many::STATEMENTS,
        migrate::STATEMENTS,
        pending::STATEMENTS,
        prune::STATEMENTS,
        settle::STATEMENTS,
        settle_columns::STATEMENTS,
        statistics::STATEMENTS,
        subscriptions::STATEMENTS,
        unattempted::STATEMENTS,
    ];
    let short = [store::STATEMENTS, watch::STATEMENTS, worker::STATEMENTS];
    let short = short.into_iter().flatten().copied();
    let shared = sql::statements::statements().chain(short);
    let own = own.into_iter().flatten().map(|sql| (*sql).to_owned());
    let shared = shared.map(Statement::to_postgres);
    let heads = merge::LOG_PARTS.into_iter().flatten();
    let heads = heads.map(|part| to_postgres(part.heads));
    own.chain(shared).chain(heads).collect()
}
