//! The pretix dialect as a value: its name, its policy, its table of routes, and what it brings to
//! each part.

use std::sync::Arc;

use model::policy::{EventNaming, NameOf, Policy};
use model::schedule::Schedule;
use model::tenant::{DialectName, Permission};

use super::action_types::ActionTypes;
use super::context::Pretix;
use super::ids::NotificationIds;
use super::{answer, declare, demo, describe, example, export, form, load, refuse, routes, stored};
use crate::dialect::options::DialectOptions;
use crate::dialect::value::Dialect;
use crate::gateway::api::Api;

const NAME: &str = "pretix";

/// The dialect as a value.
pub(in super::super) fn dialect(options: &DialectOptions) -> Dialect {
    let name = DialectName::new(NAME);
    let pretix = Arc::new(Pretix {
        action_types: ActionTypes::with(&options.extra_action_types),
        ids: NotificationIds::default(),
        strict: options.strict_action_types,
    });
    let routes = routes::all(&pretix).into_iter().map(Arc::new).collect();
    let own = name.clone();
    let dashboard = form::dashboard(&pretix);
    Dialect {
        name: name.clone(),
        api: Some(Arc::new(Api {
            name,
            roots: &["api"],
            routes,
            openapi: include_str!("openapi.json"),
            headers: &[],
            admit: answer::admit,
            describe: describe::describe,
            refuse: refuse::refuse,
        })),
        policy: policy(options),
        section: "organizer",
        key_field: "slug",
        permission_name: Permission::as_str,
        declare: Box::new(move |organizers, known, rng, declared| {
            declare::declare(&own, &pretix.action_types, organizers, known, rng, declared);
        }),
        log_names: export::NAMES,
        dashboard,
        example: Some(example::example),
        demo: Some(demo::demo),
        load: Some(load::load),
        alerts: None,
    }
}

/// How pretix delivers (`docs/pretix.md`), with an end after exactly three days.
fn policy(options: &DialectOptions) -> Policy {
    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    Policy {
        schedule: Schedule {
            delays_ms: vec![
                5 * SECOND,
                30 * SECOND,
                MINUTE,
                5 * MINUTE,
                20 * MINUTE,
                HOUR,
                4 * HOUR,
                6 * HOUR,
                12 * HOUR,
                12 * HOUR,
                24 * HOUR,
            ],
            jitter_from_ms: 5 * MINUTE,
            jitter_percent: 10,
            final_attempt_after_ms: Some(72 * HOUR),
        },
        exchange_limit_ms: 30_000,
        gone_disables: true,
        retry_after_max_ms: None,
        dedupe_header: None,
        user_agent: options.user_agent.clone(),
        content_type: "application/json".to_owned(),
        event_naming: EventNaming {
            source_prefix: "/organizers/".to_owned(),
            // Action types begin with the platform's name.
            type_prefix: String::new(),
        },
        retention_ms: options.retention.for_dialect(NAME, 30 * 24 * HOUR),
        bounds: Arc::default(),
        name_of: NameOf(stored::name_of),
    }
}
