//! Every statement of the store in one list, to be prepared at start and looked at by tests.

use crate::sqlite::{
    accept, apply, audit, bulk_jobs, cancel, catalog, clock, dashboard_queries, delivery_detail,
    delivery_scans, due, envelopes, expiry, fan_out, fan_out_cache, id_range, idempotency, log,
    merge, notification_rows, notifications, prune, replay, sequence, sessions, settle,
    stored_responses, unattempted, unattempted_rows, users, webhook_health, webhook_history,
    webhook_rows, webhooks, writer,
};

/// Every statement there is: all are prepared at start, so that a typo ends the start.
pub(crate) fn statements() -> Vec<String> {
    let fixed = [
        accept::STATEMENTS,
        apply::STATEMENTS,
        audit::STATEMENTS,
        dashboard_queries::STATEMENTS,
        catalog::STATEMENTS,
        stored_responses::STATEMENTS,
        clock::STATEMENTS,
        due::STATEMENTS,
        envelopes::STATEMENTS,
        bulk_jobs::STATEMENTS,
        unattempted::STATEMENTS,
        unattempted_rows::STATEMENTS,
        id_range::STATEMENTS,
        log::STATEMENTS,
        merge::STATEMENTS,
        notifications::STATEMENTS,
        notification_rows::STATEMENTS,
        idempotency::STATEMENTS,
        webhook_history::STATEMENTS,
        users::STATEMENTS,
        prune::STATEMENTS,
        sequence::STATEMENTS,
        sessions::STATEMENTS,
        settle::STATEMENTS,
        webhook_health::STATEMENTS,
        cancel::STATEMENTS,
        delivery_detail::STATEMENTS,
        delivery_scans::STATEMENTS,
        replay::STATEMENTS,
        expiry::STATEMENTS,
        webhooks::STATEMENTS,
        webhook_rows::STATEMENTS,
        fan_out::STATEMENTS,
        fan_out_cache::STATEMENTS,
        writer::STATEMENTS,
    ];
    let fixed = fixed.into_iter().flatten().map(|sql| (*sql).to_owned());
    fixed.chain(merge::log_statements()).collect()
}
