//! The table of routes of this dialect. They are at the root, as the vendor's are, so that a client
//! has to change only the host.

use std::sync::{Arc, OnceLock};

use http::Method;
use model::limits::{INTAKE_BODY_BYTES_MAX, REQUEST_BODY_BYTES_MAX};
use model::tenant::Permission;

use super::context::OpenTicket;
use super::{
    cloud_events, export, intake, limits, log, own_headers, pause, replays, signatures, statistics,
    webhook_tls, webhooks,
};
use crate::dialect::export::FORMAT;
use crate::dialect::replay;
use crate::dialect::statistics::PERIOD;
use crate::gateway::api::{QueryRule, Route, TenantScope, handler};
use crate::gateway::auth::{AuthScheme, RequiredAccess};

/// The first segments of all of them.
pub(super) const ROOTS: &[&str] = &["", "webhook", "trigger"];

/// Whether to tell what is doubtful about a webhook.
const HINTS: QueryRule = QueryRule::Only {
    read: &["hints"],
    write: &["hints"],
};

pub(super) fn all(open: &Arc<OpenTicket>) -> Vec<Route> {
    let mut routes = of_vendor(open);
    routes.extend(of_own_paths(open));
    routes.extend(of_own_headers(open));
    routes.extend(of_tls(open));
    routes.extend(of_replays(open));
    routes.extend(of_exports(open));
    routes
}

/// Not the vendor's: under a path of our own.
fn of_own_paths(open: &Arc<OpenTicket>) -> Vec<Route> {
    let own = |name, path, verbs| Route {
        verbs,
        ..route(name, path)
    };
    let all = vec![
        (Method::GET, handler(open, signatures::list_signatures)),
        (Method::POST, handler(open, signatures::add_signature)),
    ];
    let one = vec![
        (Method::GET, handler(open, signatures::show_signature)),
        (Method::DELETE, handler(open, signatures::remove_signature)),
    ];
    let rotate = vec![(Method::POST, handler(open, signatures::rotate_key))];
    let end = vec![(Method::POST, handler(open, signatures::end_former_key))];
    let events = vec![
        (Method::GET, handler(open, cloud_events::show_cloud_events)),
        (
            Method::PUT,
            handler(open, cloud_events::choose_cloud_events),
        ),
        (
            Method::DELETE,
            handler(open, cloud_events::leave_cloud_events),
        ),
    ];
    let shown = Route {
        takes: QueryRule::Only {
            read: &[PERIOD],
            write: &[],
        },
        verbs: vec![(Method::GET, handler(open, statistics::show_statistics))],
        ..route("statistics", "/webhook/{guid}/willcall/statistics")
    };
    let own_pause = vec![
        (Method::GET, handler(open, pause::show_pause)),
        (Method::PUT, handler(open, pause::set_pause)),
    ];
    let own_limits = vec![
        (Method::GET, handler(open, limits::show_limits)),
        (Method::PUT, handler(open, limits::set_limits)),
        (Method::DELETE, handler(open, limits::clear_limits)),
    ];
    vec![
        shown,
        own("limits", "/webhook/{guid}/willcall/limits", own_limits),
        own("pause", "/webhook/{guid}/willcall/pause", own_pause),
        own(
            "cloud_events",
            "/webhook/{guid}/willcall/cloudevents",
            events,
        ),
        own("signatures", "/webhook/{guid}/willcall/signatures", all),
        own(
            "signature",
            "/webhook/{guid}/willcall/signatures/{profile}",
            one,
        ),
        own(
            "rotate_key",
            "/webhook/{guid}/willcall/signatures/{profile}/rotate",
            rotate,
        ),
        own(
            "end_former_key",
            "/webhook/{guid}/willcall/signatures/{profile}/end_former",
            end,
        ),
    ]
}

/// Not the vendor's either.
fn of_own_headers(open: &Arc<OpenTicket>) -> Vec<Route> {
    let all = vec![
        (Method::GET, handler(open, own_headers::list_headers)),
        (Method::POST, handler(open, own_headers::add_header)),
    ];
    let one = vec![
        (Method::GET, handler(open, own_headers::show_header)),
        (Method::PUT, handler(open, own_headers::replace_header)),
        (Method::DELETE, handler(open, own_headers::remove_header)),
    ];
    vec![
        Route {
            verbs: all,
            ..route("own_headers", "/webhook/{guid}/willcall/headers")
        },
        Route {
            verbs: one,
            ..route("own_header", "/webhook/{guid}/willcall/headers/{name}")
        },
    ]
}

/// Nor these.
fn of_replays(open: &Arc<OpenTicket>) -> Vec<Route> {
    let all = vec![
        (Method::GET, handler(open, replays::list_replays)),
        (Method::POST, handler(open, replays::start_replay)),
    ];
    let one = vec![
        (Method::GET, handler(open, replays::show_replay)),
        (Method::DELETE, handler(open, replays::stop_replay)),
    ];
    vec![
        Route {
            verbs: all,
            ..route("replays", "/webhook/willcall/replays")
        },
        Route {
            verbs: one,
            ..route("replay", "/webhook/willcall/replays/{replay}")
        },
    ]
}

/// Nor these.
fn of_tls(open: &Arc<OpenTicket>) -> Vec<Route> {
    let client = vec![
        (
            Method::GET,
            handler(open, webhook_tls::show_client_certificate),
        ),
        (
            Method::PUT,
            handler(open, webhook_tls::set_client_certificate),
        ),
        (
            Method::DELETE,
            handler(open, webhook_tls::remove_client_certificate),
        ),
    ];
    let ca = vec![
        (
            Method::GET,
            handler(open, webhook_tls::show_ca_certificates),
        ),
        (Method::PUT, handler(open, webhook_tls::set_ca_certificates)),
        (
            Method::DELETE,
            handler(open, webhook_tls::remove_ca_certificates),
        ),
    ];
    vec![
        Route {
            verbs: client,
            ..route(
                "client_certificate",
                "/webhook/{guid}/willcall/client_certificate",
            )
        },
        Route {
            verbs: ca,
            ..route(
                "ca_certificates",
                "/webhook/{guid}/willcall/ca_certificates",
            )
        },
    ]
}

/// Nor these.
fn of_exports(open: &Arc<OpenTicket>) -> Vec<Route> {
    let export = |name, path, handle| Route {
        takes: QueryRule::Only {
            read: &[
                "status",
                "action_type",
                "event",
                "response",
                "since",
                "until",
                "text",
                "code",
                "notification_id",
                FORMAT,
            ],
            write: &[],
        },
        verbs: vec![(Method::GET, handle)],
        ..route(name, path)
    };
    vec![
        export(
            "all_export",
            "/webhook/willcall/export",
            handler(open, export::export_all_invocations),
        ),
        export(
            "export",
            "/webhook/{guid}/willcall/export",
            handler(open, export::export_invocations),
        ),
        Route {
            verbs: vec![
                (Method::GET, handler(open, log::list_tests)),
                (Method::POST, handler(open, log::start_test)),
            ],
            ..route("test", "/webhook/{guid}/willcall/test")
        },
    ]
}

fn of_vendor(open: &Arc<OpenTicket>) -> Vec<Route> {
    let create = handler(open, webhooks::create_webhook);
    let change = handler(open, webhooks::change_webhook);
    vec![
        // The vendor's prose names the bare host, its sample a path. Whoever looks at the root
        // finds the dashboard, not this.
        Route {
            only: Some(Method::POST),
            takes: HINTS,
            verbs: vec![(Method::POST, Arc::clone(&create))],
            ..route("root", "/")
        },
        Route {
            takes: QueryRule::Only {
                read: &["page", "per_page", "hints"],
                write: &["hints"],
            },
            verbs: vec![
                (Method::GET, handler(open, webhooks::list_webhooks)),
                (Method::POST, create),
            ],
            ..route("openticket_webhooks", "/webhook")
        },
        Route {
            takes: HINTS,
            verbs: vec![
                (Method::GET, handler(open, webhooks::show_webhook)),
                (Method::PUT, Arc::clone(&change)),
                (Method::PATCH, change),
                (Method::DELETE, handler(open, webhooks::delete_webhook)),
            ],
            ..route("openticket_webhook", "/webhook/{guid}")
        },
        Route {
            takes: QueryRule::Only {
                read: &["status", "per_page", "before"],
                write: &[],
            },
            verbs: vec![(Method::GET, handler(open, log::list_invocations))],
            ..route("invocations", "/webhook/{guid}/invocations")
        },
        Route {
            takes: QueryRule::Only {
                read: &[],
                write: &replay::NAMES,
            },
            verbs: vec![(Method::POST, handler(open, log::retry_failed))],
            ..route("retry_failed", "/webhook/{guid}/invocations/retry")
        },
        Route {
            verbs: vec![(Method::GET, handler(open, log::show_invocation))],
            ..route("invocation", "/webhook/{guid}/invocations/{invocation}")
        },
        Route {
            verbs: vec![(Method::POST, handler(open, log::retry_invocation))],
            ..route(
                "retry_invocation",
                "/webhook/{guid}/invocations/{invocation}/retry",
            )
        },
        Route {
            read: RequiredAccess::Right(Permission::NotificationsWrite),
            write: RequiredAccess::Right(Permission::NotificationsWrite),
            body_bytes_max: INTAKE_BODY_BYTES_MAX,
            verbs: vec![(Method::POST, handler(open, intake::report_triggers))],
            ..route("trigger", "/trigger")
        },
    ]
}

fn route(name: &'static str, path: &'static str) -> Route {
    Route {
        name,
        title: "",
        object: "webhook",
        path,
        whose: TenantScope::Listed(webhooks::narrow),
        suffixed: false,
        only: None,
        schemes: &[AuthScheme::Bearer],
        read: RequiredAccess::Right(Permission::WebhooksRead),
        write: RequiredAccess::Right(Permission::WebhooksWrite),
        takes: QueryRule::Only {
            read: &[],
            write: &[],
        },
        body_bytes_max: REQUEST_BODY_BYTES_MAX,
        verbs: Vec::new(),
        compiled: OnceLock::new(),
    }
}
