//! The table of routes of this dialect, and the handlers that are a line or two.

use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode};
use model::limits::{INTAKE_BODY_BYTES_MAX, REQUEST_BODY_BYTES_MAX};
use model::refusal::{AuthFailure, Refusal};
use model::tenant::Permission;

use super::answer::EXPORT;
use super::context::Pretix;
use super::json::JsonValue;
use super::{
    answer, cloud_events, export, intake, limits, log, organizers, own_headers, pause, refuse,
    replays, signatures, statistics, webhook_tls, webhooks,
};
use crate::dialect::statistics::PERIOD;
use crate::gateway::api::{
    AdmittedRequest, ApiResponse, Handler, QueryRule, Route, TenantScope, handler,
};
use crate::gateway::auth::{AuthScheme, RequiredAccess};

const TOKENS: &[AuthScheme] = &[AuthScheme::Token, AuthScheme::Bearer, AuthScheme::Device];

/// A webhook of pretix that points here can send a password, but no token.
const TOKENS_AND_PASSWORDS: &[AuthScheme] = &[
    AuthScheme::Token,
    AuthScheme::Bearer,
    AuthScheme::Device,
    AuthScheme::Basic,
];

/// The form of the answer, for which every route can be asked.
const FORMAT: &str = "format";

pub(super) fn all(pretix: &Arc<Pretix>) -> Vec<Route> {
    let mut routes = of_webhooks(pretix);
    routes.extend(of_deliveries(pretix));
    routes.extend(of_own_paths(pretix));
    routes.extend(of_own_headers(pretix));
    routes.extend(of_tls(pretix));
    routes.push(of_limits(pretix));
    routes.extend(of_statistics(pretix));
    routes.extend(of_replays(pretix));
    routes.push(of_pause(pretix));
    routes.push(of_tests(pretix));
    routes.extend(of_organizers(pretix));
    routes.extend(of_the_rest(pretix));
    routes
}

fn of_webhooks(pretix: &Arc<Pretix>) -> Vec<Route> {
    let list = Route {
        takes: QueryRule::Lenient,
        title: "Web Hook List",
        suffixed: true,
        verbs: vec![
            (Method::GET, handler(pretix, webhooks::list_webhooks)),
            (Method::POST, handler(pretix, webhooks::create_webhook)),
        ],
        ..route(
            "webhooks",
            "/api/v1/organizers/{organizer}/webhooks/",
            "WebHook",
        )
    };
    let detail = Route {
        takes: QueryRule::Lenient,
        title: "Web Hook Instance",
        suffixed: true,
        verbs: vec![
            (Method::GET, handler(pretix, webhooks::show_webhook)),
            (Method::PUT, handler(pretix, webhooks::replace_webhook)),
            (Method::PATCH, handler(pretix, webhooks::change_webhook)),
            (Method::DELETE, handler(pretix, webhooks::disable_webhook)),
        ],
        ..route(
            "webhook",
            "/api/v1/organizers/{organizer}/webhooks/{id}/",
            "WebHook",
        )
    };
    // As printed in pretix's documents.
    let singular = Route {
        path: "/api/v1/organizers/{organizer}/webhook/{id}/",
        only: Some(Method::DELETE),
        ..detail.clone()
    };
    vec![list, detail, singular]
}

/// What lists of deliveries take.
const LISTED: QueryRule = QueryRule::Only {
    read: &[
        "page_size",
        "cursor",
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
    write: &[FORMAT],
};

/// What exports of them take: all of them, so there are no pages.
const EXPORTED: QueryRule = QueryRule::Only {
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
    write: &[FORMAT],
};

fn of_deliveries(pretix: &Arc<Pretix>) -> Vec<Route> {
    let get = |handle: Handler| vec![(Method::GET, handle)];
    let post = |handle: Handler| vec![(Method::POST, handle)];
    let list = Route {
        takes: LISTED,
        title: "Delivery List",
        verbs: get(handler(pretix, log::list_deliveries)),
        ..route(
            "deliveries",
            "/api/v1/organizers/{organizer}/webhooks/{id}/deliveries/",
            "WebHook",
        )
    };
    let all = Route {
        takes: QueryRule::Only {
            read: &[FORMAT],
            write: &["since", "until", "action_type", "status", FORMAT],
        },
        title: "Retry Failed",
        verbs: post(handler(pretix, log::retry_failed)),
        ..route(
            "retry_failed",
            "/api/v1/organizers/{organizer}/webhooks/{id}/retry_failed/",
            "WebHook",
        )
    };
    let detail = Route {
        title: "Delivery Instance",
        verbs: get(handler(pretix, log::show_delivery)),
        ..route(
            "delivery",
            "/api/v1/organizers/{organizer}/deliveries/{delivery}/",
            "Delivery",
        )
    };
    let retry = Route {
        title: "Delivery Retry",
        verbs: post(handler(pretix, log::retry_delivery)),
        ..route(
            "retry",
            "/api/v1/organizers/{organizer}/deliveries/{delivery}/retry/",
            "Delivery",
        )
    };
    // The same under their webhook.
    let own_detail = Route {
        path: "/api/v1/organizers/{organizer}/webhooks/{id}/deliveries/{delivery}/",
        ..detail.clone()
    };
    let own_retry = Route {
        path: "/api/v1/organizers/{organizer}/webhooks/{id}/deliveries/{delivery}/retry/",
        ..retry.clone()
    };
    let all_of_tenant = Route {
        verbs: get(handler(pretix, log::list_all_deliveries)),
        name: "all_deliveries",
        path: "/api/v1/organizers/{organizer}/deliveries/",
        ..list.clone()
    };
    let mut routes = of_exports(pretix);
    routes.extend([
        list,
        all_of_tenant,
        all,
        detail,
        retry,
        own_detail,
        own_retry,
    ]);
    routes
}

/// They stand before the deliveries, of which none has that name.
fn of_exports(pretix: &Arc<Pretix>) -> Vec<Route> {
    let export = |name, path, handle: Handler| Route {
        takes: EXPORTED,
        title: "Delivery Export",
        verbs: vec![(Method::GET, handle)],
        ..route(name, path, EXPORT)
    };
    vec![
        export(
            "export",
            "/api/v1/organizers/{organizer}/webhooks/{id}/deliveries/export/",
            handler(pretix, export::export_deliveries),
        ),
        export(
            "all_export",
            "/api/v1/organizers/{organizer}/deliveries/export/",
            handler(pretix, export::export_all_deliveries),
        ),
    ]
}

/// Not pretix's: under a path of our own.
fn of_tests(pretix: &Arc<Pretix>) -> Route {
    Route {
        title: "Test",
        verbs: vec![
            (Method::GET, handler(pretix, log::list_tests)),
            (Method::POST, handler(pretix, log::start_test)),
        ],
        ..route(
            "test",
            "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/test/",
            "Test",
        )
    }
}

/// Not pretix's: under a path of our own.
fn of_limits(pretix: &Arc<Pretix>) -> Route {
    Route {
        title: "Limits",
        verbs: vec![
            (Method::GET, handler(pretix, limits::show_limits)),
            (Method::PUT, handler(pretix, limits::set_limits)),
            (Method::DELETE, handler(pretix, limits::clear_limits)),
        ],
        ..route(
            "limits",
            "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/limits/",
            "Limits",
        )
    }
}

/// Not pretix's: under a path of our own.
fn of_statistics(pretix: &Arc<Pretix>) -> Vec<Route> {
    let own = |name, path, handle| Route {
        title: "Statistics",
        takes: QueryRule::Only {
            read: &[PERIOD, FORMAT],
            write: &[FORMAT],
        },
        verbs: vec![(Method::GET, handle)],
        ..route(name, path, "Statistics")
    };
    vec![
        own(
            "statistics",
            "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/statistics/",
            handler(pretix, statistics::show_statistics),
        ),
        own(
            "all_statistics",
            "/api/v1/organizers/{organizer}/willcall/statistics/",
            handler(pretix, statistics::show_all_statistics),
        ),
    ]
}

/// Not pretix's: under a path of our own.
fn of_pause(pretix: &Arc<Pretix>) -> Route {
    Route {
        title: "Pause",
        verbs: vec![
            (Method::GET, handler(pretix, pause::show_pause)),
            (Method::PUT, handler(pretix, pause::set_pause)),
        ],
        ..route(
            "pause",
            "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/pause/",
            "Pause",
        )
    }
}

/// Not pretix's: under a path of our own.
fn of_replays(pretix: &Arc<Pretix>) -> Vec<Route> {
    let all = vec![
        (Method::GET, handler(pretix, replays::list_replays)),
        (Method::POST, handler(pretix, replays::start_replay)),
    ];
    let one = vec![
        (Method::GET, handler(pretix, replays::show_replay)),
        (Method::DELETE, handler(pretix, replays::stop_replay)),
    ];
    vec![
        Route {
            title: "Replay List",
            verbs: all,
            ..route(
                "replays",
                "/api/v1/organizers/{organizer}/willcall/replays/",
                "Replay",
            )
        },
        Route {
            title: "Replay Instance",
            verbs: one,
            ..route(
                "replay",
                "/api/v1/organizers/{organizer}/willcall/replays/{replay}/",
                "Replay",
            )
        },
    ]
}

/// Not pretix's: under a path of our own.
fn of_own_paths(pretix: &Arc<Pretix>) -> Vec<Route> {
    let own = |name, path, title, verbs| Route {
        title,
        verbs,
        ..route(name, path, "Signature")
    };
    let all = vec![
        (Method::GET, handler(pretix, signatures::list_signatures)),
        (Method::POST, handler(pretix, signatures::add_signature)),
    ];
    let one = vec![
        (Method::GET, handler(pretix, signatures::show_signature)),
        (
            Method::DELETE,
            handler(pretix, signatures::remove_signature),
        ),
    ];
    let rotate = vec![(Method::POST, handler(pretix, signatures::rotate_key))];
    let end = vec![(Method::POST, handler(pretix, signatures::end_former_key))];
    let events = vec![
        (
            Method::GET,
            handler(pretix, cloud_events::show_cloud_events),
        ),
        (
            Method::PUT,
            handler(pretix, cloud_events::choose_cloud_events),
        ),
        (
            Method::DELETE,
            handler(pretix, cloud_events::leave_cloud_events),
        ),
    ];
    vec![
        own(
            "cloud_events",
            "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/cloudevents/",
            "Cloud Events",
            events,
        ),
        own(
            "signatures",
            "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/signatures/",
            "Signature List",
            all,
        ),
        own(
            "signature",
            "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/signatures/{profile}/",
            "Signature Instance",
            one,
        ),
        own(
            "rotate_key",
            "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/signatures/{profile}/rotate/",
            "Key Rotation",
            rotate,
        ),
        own(
            "end_former_key",
            "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/signatures/{profile}/end_former/",
            "Former Key",
            end,
        ),
    ]
}

/// Not pretix's either.
fn of_own_headers(pretix: &Arc<Pretix>) -> Vec<Route> {
    let all = vec![
        (Method::GET, handler(pretix, own_headers::list_headers)),
        (Method::POST, handler(pretix, own_headers::add_header)),
    ];
    let one = vec![
        (Method::GET, handler(pretix, own_headers::show_header)),
        (Method::PUT, handler(pretix, own_headers::replace_header)),
        (Method::DELETE, handler(pretix, own_headers::remove_header)),
    ];
    vec![
        Route {
            title: "Own Header List",
            verbs: all,
            ..route(
                "own_headers",
                "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/headers/",
                "Own Header",
            )
        },
        Route {
            title: "Own Header Instance",
            verbs: one,
            ..route(
                "own_header",
                "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/headers/{name}/",
                "Own Header",
            )
        },
    ]
}

fn of_organizers(pretix: &Arc<Pretix>) -> Vec<Route> {
    let get = |handle: Handler| vec![(Method::GET, handle)];
    let organizers = Route {
        takes: QueryRule::Lenient,
        title: "Organizer List",
        whose: TenantScope::Listed(organizers::by_slug),
        suffixed: true,
        read: RequiredAccess::Known,
        write: RequiredAccess::Known,
        verbs: get(handler(pretix, organizers::list_organizers)),
        ..route("organizers", "/api/v1/organizers/", "Organizer")
    };
    let organizer = Route {
        takes: QueryRule::Lenient,
        title: "Organizer Instance",
        read: RequiredAccess::Listed,
        write: RequiredAccess::Listed,
        verbs: vec![
            (Method::GET, handler(pretix, organizers::show_organizer)),
            (Method::PUT, handler(pretix, organizers::keep_organizer)),
            (Method::PATCH, handler(pretix, organizers::keep_organizer)),
        ],
        ..route("organizer", "/api/v1/organizers/{organizer}/", "Organizer")
    };
    let events = Route {
        title: "Event List",
        suffixed: true,
        verbs: get(handler(pretix, organizers::list_events)),
        name: "events",
        path: "/api/v1/organizers/{organizer}/events/",
        object: "Event",
        ..organizer.clone()
    };
    // A slug may have dots, so there is no suffix.
    let event = Route {
        title: "Event Instance",
        suffixed: false,
        verbs: get(handler(pretix, organizers::show_event)),
        name: "event",
        path: "/api/v1/organizers/{organizer}/events/{event}/",
        ..events.clone()
    };
    vec![organizers, organizer, events, event]
}

fn of_the_rest(pretix: &Arc<Pretix>) -> Vec<Route> {
    let notifications = Route {
        title: "Notification List",
        schemes: TOKENS_AND_PASSWORDS,
        read: RequiredAccess::Right(Permission::NotificationsWrite),
        write: RequiredAccess::Right(Permission::NotificationsWrite),
        body_bytes_max: INTAKE_BODY_BYTES_MAX,
        verbs: vec![(Method::POST, handler(pretix, intake::take_notifications))],
        ..route(
            "notifications",
            "/api/v1/organizers/{organizer}/notifications/",
            "Notification",
        )
    };
    let audit = Route {
        title: "Audit List",
        verbs: vec![(Method::GET, handler(pretix, log::list_audit))],
        ..route("audit", "/api/v1/organizers/{organizer}/audit/", "Entry")
    };
    let action_types = Route {
        title: "Action Type List",
        verbs: vec![(Method::GET, handler(pretix, log::list_kinds))],
        ..route(
            "action_types",
            "/api/v1/organizers/{organizer}/action_types/",
            "Action Type",
        )
    };
    let version = Route {
        takes: QueryRule::Lenient,
        title: "Version",
        whose: TenantScope::Nobodys,
        read: RequiredAccess::Known,
        write: RequiredAccess::Known,
        verbs: vec![(Method::GET, handler(pretix, show_version))],
        ..route("version", "/api/v1/version", "Version")
    };
    let me = Route {
        title: "Me",
        path: "/api/v1/me",
        name: "me",
        verbs: vec![(Method::GET, handler(pretix, show_me))],
        ..version.clone()
    };
    vec![notifications, audit, action_types, version, me]
}

/// A route of an organizer for which rights on webhooks are needed. It is our own: those that are
/// pretix's take anything.
fn route(name: &'static str, path: &'static str, object: &'static str) -> Route {
    Route {
        name,
        title: "",
        object,
        path,
        whose: if path.contains("{organizer}") {
            TenantScope::Named("organizer")
        } else {
            TenantScope::Nobodys
        },
        suffixed: false,
        only: None,
        schemes: TOKENS,
        read: RequiredAccess::Right(Permission::WebhooksRead),
        write: RequiredAccess::Right(Permission::WebhooksWrite),
        takes: QueryRule::Only {
            read: &[FORMAT],
            write: &[FORMAT],
        },
        body_bytes_max: REQUEST_BODY_BYTES_MAX,
        verbs: Vec::new(),
        compiled: OnceLock::new(),
    }
}

/// The release of pretix whose behaviour this is.
async fn show_version(_: Arc<Pretix>, request: AdmittedRequest) -> Result<ApiResponse, Refusal> {
    let body = JsonValue::object([
        ("pretix", JsonValue::text("2026.8.0")),
        ("pretix_numeric", JsonValue::int(20_260_080_005_000_i64)),
    ]);
    Ok(answer::ok(&request, &body))
}

/// Tokens are not users, so pretix knows nobody here.
async fn show_me(_: Arc<Pretix>, request: AdmittedRequest) -> Result<ApiResponse, Refusal> {
    let nobody = Refusal::Unauthenticated(AuthFailure::Missing);
    let words = refuse::words(&nobody, "");
    let body = JsonValue::object([("detail", JsonValue::text(words))]);
    Ok(answer::json(&request.head, StatusCode::FORBIDDEN, &body))
}

/// Nor these.
fn of_tls(pretix: &Arc<Pretix>) -> Vec<Route> {
    let client = vec![
        (
            Method::GET,
            handler(pretix, webhook_tls::show_client_certificate),
        ),
        (
            Method::PUT,
            handler(pretix, webhook_tls::set_client_certificate),
        ),
        (
            Method::DELETE,
            handler(pretix, webhook_tls::remove_client_certificate),
        ),
    ];
    let ca = vec![
        (
            Method::GET,
            handler(pretix, webhook_tls::show_ca_certificates),
        ),
        (
            Method::PUT,
            handler(pretix, webhook_tls::set_ca_certificates),
        ),
        (
            Method::DELETE,
            handler(pretix, webhook_tls::remove_ca_certificates),
        ),
    ];
    vec![
        Route {
            verbs: client,
            ..route(
                "client_certificate",
                "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/client_certificate/",
                "Client Certificate",
            )
        },
        Route {
            verbs: ca,
            ..route(
                "ca_certificates",
                "/api/v1/organizers/{organizer}/webhooks/{id}/willcall/ca_certificates/",
                "CA Certificates",
            )
        },
    ]
}
