//! Every statement of the store in one list: prepared at start, and looked at by tests.

use crate::sqlite::{
    accept, apply, audit, backlog, bulk_jobs, cancel, catalog, clock, dashboard_queries,
    delivery_detail, delivery_scans, due, envelopes, expiry, fan_out, fan_out_cache, id_range,
    idempotency, log, merge, notification_rows, notifications, pending, prune, replay, sequence,
    sessions, settle, stored_responses, unattempted, unattempted_rows, users, webhook_health,
    webhook_history, webhook_rows, webhooks, writer,
};

/// Every statement. All are prepared at start, so that a typo ends the start.
pub(crate) fn statements() -> Vec<String> {
    let fixed = [
        accept::STATEMENTS,
        apply::STATEMENTS,
        audit::STATEMENTS,
        backlog::STATEMENTS,
        bulk_jobs::STATEMENTS,
        cancel::STATEMENTS,
        catalog::STATEMENTS,
        clock::STATEMENTS,
        dashboard_queries::STATEMENTS,
        delivery_detail::STATEMENTS,
        delivery_scans::STATEMENTS,
        due::STATEMENTS,
        envelopes::STATEMENTS,
        expiry::STATEMENTS,
        fan_out::STATEMENTS,
        fan_out_cache::STATEMENTS,
        id_range::STATEMENTS,
        idempotency::STATEMENTS,
        log::STATEMENTS,
        merge::STATEMENTS,
        notification_rows::STATEMENTS,
        notifications::STATEMENTS,
        pending::STATEMENTS,
        prune::STATEMENTS,
        replay::STATEMENTS,
        sequence::STATEMENTS,
        sessions::STATEMENTS,
        settle::STATEMENTS,
        stored_responses::STATEMENTS,
        unattempted::STATEMENTS,
        unattempted_rows::STATEMENTS,
        users::STATEMENTS,
        webhook_health::STATEMENTS,
        webhook_history::STATEMENTS,
        webhook_rows::STATEMENTS,
        webhooks::STATEMENTS,
        writer::STATEMENTS,
    ];
    let fixed = fixed.into_iter().flatten().map(|sql| (*sql).to_owned());
    fixed.chain(merge::log_statements()).collect()
}
