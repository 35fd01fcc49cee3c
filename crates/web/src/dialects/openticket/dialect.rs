//! The OpenTicket dialect as a value: its name, its policy, its table of routes, and what it brings
//! to each part.

use std::sync::Arc;

use model::limits::{RETRIES_MAX, RETRY_AFTER_MAX_MS};
use model::policy::{EventNaming, NameOf, Policy};
use model::schedule::Schedule;
use model::tenant::DialectName;

use super::context::OpenTicket;
use super::triggers::TriggerTable;
use super::{answer, declare, demo, example, export, form, refuse, routes, stored, wire};
use crate::dialect::options::DialectOptions;
use crate::dialect::value::Dialect;
use crate::gateway::api::Api;

const NAME: &str = "openticket";

/// The dialect as a value.
pub(in super::super) fn dialect(options: &DialectOptions) -> Dialect {
    let name = DialectName::new(NAME);
    let open = Arc::new(OpenTicket {
        triggers: TriggerTable::with(&options.extra_triggers),
        strict: options.strict_triggers,
        strict_reports: options.strict_action_types,
    });
    let routes = routes::all(&open).into_iter().map(Arc::new).collect();
    let own = name.clone();
    let dashboard = form::dashboard(&open);
    Dialect {
        name: name.clone(),
        api: Some(Arc::new(Api {
            name,
            roots: routes::ROOTS,
            routes,
            openapi: include_str!("openapi.json"),
            headers: &wire::HEADERS,
            admit: answer::admit,
            describe: answer::describe,
            refuse: refuse::refuse,
        })),
        policy: policy(options),
        section: "company",
        key_field: "guid",
        permission_name: declare::permission_name,
        declare: Box::new(move |companies, _, rng, declared| {
            declare::declare(&own, &open, companies, rng, declared);
        }),
        log_names: export::NAMES,
        dashboard,
        example: Some(example::example),
        demo: Some(demo::demo),
        load: None,
        alerts: None,
    }
}

/// A minute, doubled after each retry as the vendor's page says, but never more than six hours;
/// each webhook says how many of these it wants.
fn policy(options: &DialectOptions) -> Policy {
    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let doubled = |retry: u32| MINUTE.saturating_mul(1_i64.checked_shl(retry).unwrap_or(i64::MAX));
    Policy {
        schedule: Schedule {
            delays_ms: (0..RETRIES_MAX)
                .map(|retry| doubled(retry).min(6 * HOUR))
                .collect(),
            jitter_from_ms: 0,
            jitter_percent: 10,
            final_attempt_after_ms: None,
        },
        exchange_limit_ms: 30_000,
        gone_disables: false,
        retry_after_max_ms: Some(RETRY_AFTER_MAX_MS),
        dedupe_header: Some(wire::DEDUPE_HEADER.to_owned()),
        user_agent: "OpenTicket/Webhook".to_owned(),
        content_type: "application/json".to_owned(),
        event_naming: EventNaming {
            source_prefix: "/companies/".to_owned(),
            type_prefix: "openticket.".to_owned(),
        },
        // The vendor keeps its log for up to a week.
        retention_ms: options.retention.for_dialect(NAME, 7 * DAY),
        bounds: Arc::default(),
        name_of: NameOf(stored::name_of),
    }
}
