//! The dialect of alerts as a value. It has no API: alerts are made by Willcall itself, and who is
//! told is said on the dashboard and in an operator's file.

use std::sync::Arc;

use model::limits::RETRY_AFTER_MAX_MS;
use model::policy::{EventNaming, NameOf, Policy};
use model::schedule::Schedule;
use model::tenant::{DialectName, Permission};
use serde_json::{Value, json};

use super::context::{Alerts, NAME, about, key};
use super::{declare, fields, form, render};
use crate::dialect::alerts::AlertDialect;
use crate::dialect::log_names::LogNames;
use crate::dialect::options::DialectOptions;
use crate::dialect::value::Dialect;

const NAMES: LogNames = LogNames {
    delivery: |id| id.to_string(),
    read: |text| text.parse().ok(),
    webhook: |id, _| json!(id.0),
    // An alert is about no order.
    code_text: |code| Value::from(code).to_string(),
};

/// The dialect as a value.
pub(in super::super) fn dialect(options: &DialectOptions) -> Dialect {
    let name = DialectName::new(NAME);
    let own = name.clone();
    let alerts = Arc::new(Alerts { mail: options.mail });
    let rules = Arc::clone(&alerts);
    Dialect {
        name,
        api: None,
        policy: policy(options),
        section: "alerts",
        declare: Box::new(move |tables, _, _, declared| {
            declare::declare(&own, &rules, tables, declared);
        }),
        key_field: "tenant",
        permission_name: Permission::as_str,
        log_names: NAMES,
        dashboard: form::dashboard(&alerts),
        example: None,
        demo: None,
        load: None,
        alerts: Some(AlertDialect {
            key,
            about,
            kinds: fields::kinds,
            render: render::render,
        }),
    }
}

/// A day of retries, the first ones soon: who is woken at night needs it now.
fn policy(options: &DialectOptions) -> Policy {
    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    Policy {
        schedule: Schedule {
            delays_ms: vec![
                5 * SECOND,
                30 * SECOND,
                2 * MINUTE,
                10 * MINUTE,
                30 * MINUTE,
                HOUR,
                2 * HOUR,
                4 * HOUR,
                8 * HOUR,
                8 * HOUR,
            ],
            jitter_from_ms: 5 * MINUTE,
            jitter_percent: 10,
            final_attempt_after_ms: None,
        },
        exchange_limit_ms: 30_000,
        // Nobody would be told that nobody is told.
        gone_disables: false,
        retry_after_max_ms: Some(RETRY_AFTER_MAX_MS),
        dedupe_header: Some("Willcall-Dedupe-Key".to_owned()),
        user_agent: match options.user_agent.as_str() {
            "" => "willcall-alerts".to_owned(),
            own => own.to_owned(),
        },
        content_type: "application/json".to_owned(),
        event_naming: EventNaming {
            source_prefix: "/alerts/".to_owned(),
            type_prefix: String::new(),
        },
        retention_ms: options.retention.for_dialect(NAME, 30 * 24 * HOUR),
        bounds: Arc::default(),
        name_of: NameOf::default(),
    }
}
