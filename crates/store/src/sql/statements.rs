//! Every statement that both engines run, in one list.

use crate::sql::{Statement, merge};
use crate::sql::{
    apply, audit, backlog, bulk_filter, bulk_jobs, call_limits, cancel, catalog, cloud_events,
    dashboard_queries, delivery_detail, delivery_scans, expiry, failing, fan_out, handshake,
    heartbeat, holds, id_range, idempotency, incidents, log, notification_rows, notifications,
    owed, own_headers, portal, prune, read_horizon, replay, sessions, signatures, statistics,
    stored_responses, users, webhook_health, webhook_history, webhook_rows, webhook_tls, webhooks,
};

/// Every statement that both engines run.
pub(crate) fn statements() -> impl Iterator<Item = Statement> {
    let fixed = [
        apply::STATEMENTS,
        audit::STATEMENTS,
        backlog::STATEMENTS,
        bulk_filter::STATEMENTS,
        bulk_jobs::STATEMENTS,
        cancel::STATEMENTS,
        catalog::STATEMENTS,
        call_limits::STATEMENTS,
        cloud_events::STATEMENTS,
        handshake::STATEMENTS,
        dashboard_queries::STATEMENTS,
        delivery_detail::STATEMENTS,
        delivery_scans::STATEMENTS,
        expiry::STATEMENTS,
        failing::STATEMENTS,
        fan_out::STATEMENTS,
        heartbeat::STATEMENTS,
        holds::STATEMENTS,
        id_range::STATEMENTS,
        idempotency::STATEMENTS,
        incidents::STATEMENTS,
        log::STATEMENTS,
        merge::STATEMENTS,
        notification_rows::STATEMENTS,
        notifications::STATEMENTS,
        owed::STATEMENTS,
        own_headers::STATEMENTS,
        portal::STATEMENTS,
        prune::STATEMENTS,
        read_horizon::STATEMENTS,
        replay::STATEMENTS,
        sessions::STATEMENTS,
        signatures::STATEMENTS,
        statistics::STATEMENTS,
        stored_responses::STATEMENTS,
        users::STATEMENTS,
        webhook_health::STATEMENTS,
        webhook_history::STATEMENTS,
        webhook_rows::STATEMENTS,
        webhook_tls::STATEMENTS,
        webhooks::STATEMENTS,
    ];
    let log = merge::LOG_PARTS.into_iter().flatten().map(|part| part.sql);
    fixed.into_iter().flatten().copied().chain(log)
}
