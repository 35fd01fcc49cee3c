//! The table of places of this dialect. They stand at the root, as the vendor's do, so that a
//! client has to change nothing but the host.

use std::sync::{Arc, OnceLock};

use http::Method;
use model::limits::{INTAKE_BODY_BYTES_MAX, REQUEST_BODY_BYTES_MAX};
use model::refusal::Refusal;
use model::tenant::Permission;

use super::super::replay;
use super::{OpenTicket, intake, log, webhooks};
use crate::auth::{Need, Scheme};
use crate::route::{Admitted, Answer, Handler, Place, Takes, Whose};

/// The first segments of all of them.
pub(super) const ROOTS: &[&str] = &["", "webhook", "trigger"];

/// Whether to tell what is doubtful about a webhook.
const HINTS: Takes = Takes::Only {
    read: &["hints"],
    write: &["hints"],
};

pub(super) fn all(open: &Arc<OpenTicket>) -> Vec<Place> {
    let create = handler(open, webhooks::create_webhook);
    let change = handler(open, webhooks::change_webhook);
    vec![
        // The vendor's prose names the bare host, its sample a path. Whoever looks at the root
        // finds the dashboard, not this.
        Place {
            only: Some(Method::POST),
            takes: HINTS,
            verbs: vec![(Method::POST, Arc::clone(&create))],
            ..place("root", "/")
        },
        Place {
            takes: Takes::Only {
                read: &["page", "per_page", "hints"],
                write: &["hints"],
            },
            verbs: vec![
                (Method::GET, handler(open, webhooks::list_webhooks)),
                (Method::POST, create),
            ],
            ..place("openticket_webhooks", "/webhook")
        },
        Place {
            takes: HINTS,
            verbs: vec![
                (Method::GET, handler(open, webhooks::show_webhook)),
                (Method::PUT, Arc::clone(&change)),
                (Method::PATCH, change),
                (Method::DELETE, handler(open, webhooks::delete_webhook)),
            ],
            ..place("openticket_webhook", "/webhook/{guid}")
        },
        Place {
            takes: Takes::Only {
                read: &["status", "per_page", "before"],
                write: &[],
            },
            verbs: vec![(Method::GET, handler(open, log::list_invocations))],
            ..place("invocations", "/webhook/{guid}/invocations")
        },
        Place {
            takes: Takes::Only {
                read: &[],
                write: &replay::NAMES,
            },
            verbs: vec![(Method::POST, handler(open, log::retry_failed))],
            ..place("retry_failed", "/webhook/{guid}/invocations/retry")
        },
        Place {
            verbs: vec![(Method::GET, handler(open, log::show_invocation))],
            ..place("invocation", "/webhook/{guid}/invocations/{invocation}")
        },
        Place {
            verbs: vec![(Method::POST, handler(open, log::retry_invocation))],
            ..place(
                "retry_invocation",
                "/webhook/{guid}/invocations/{invocation}/retry",
            )
        },
        Place {
            read: Need::Right(Permission::NotificationsWrite),
            write: Need::Right(Permission::NotificationsWrite),
            body_bytes_max: INTAKE_BODY_BYTES_MAX,
            verbs: vec![(Method::POST, handler(open, intake::report_triggers))],
            ..place("trigger", "/trigger")
        },
    ]
}

fn place(name: &'static str, path: &'static str) -> Place {
    Place {
        name,
        title: "",
        object: "webhook",
        path,
        whose: Whose::Listed(webhooks::narrow),
        suffixed: false,
        only: None,
        schemes: &[Scheme::Bearer],
        read: Need::Right(Permission::WebhooksRead),
        write: Need::Right(Permission::WebhooksWrite),
        takes: Takes::Only {
            read: &[],
            write: &[],
        },
        body_bytes_max: REQUEST_BODY_BYTES_MAX,
        verbs: Vec::new(),
        made: OnceLock::new(),
    }
}

fn handler<F, A>(open: &Arc<OpenTicket>, handle: F) -> Handler
where
    F: Fn(Arc<OpenTicket>, Admitted) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Answer, Refusal>> + Send + 'static,
{
    let open = Arc::clone(open);
    Arc::new(move |request| Box::pin(handle(Arc::clone(&open), request)))
}
