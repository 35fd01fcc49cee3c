//! The notifications of a tenant, newest first, and which of them no webhook got.

use std::collections::BTreeSet;

use askama::Template;
use model::dashboard::{NotificationQuery, NotificationRow};
use model::id::NotificationId;
use model::limits::{NOTIFICATION_KEY_BYTES_MAX, PAGE_ROWS_MAX};
use model::users::Role;

use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get};
use super::response::{PageError, PageResponse, go_to, page};
use super::view::{DisplayTime, short};
use super::visit::Visit;

/// The most characters of a name in the list; its own page has all.
const SHOWN_CHARS_MAX: usize = 120;

/// A sentence or two about an action type.
const UNHEARD_CHARS_MAX: usize = 600;

#[derive(Template)]
#[template(path = "notifications.html")]
struct NotificationsPage {
    shell: Shell,
    path: String,
    rows: Vec<NotificationLine>,
    unwanted: bool,
    /// Advice on the action types of this page that no webhook can subscribe to, once for each
    /// type.
    unheard: BTreeSet<String>,
    /// The search found nothing.
    missed: Option<String>,
    is_first: bool,
    older: Option<String>,
}

struct NotificationLine {
    id: NotificationId,
    at: DisplayTime,
    action_type: String,
    event: Option<String>,
    key: String,
    delivery_count: u32,
    is_test: bool,
}

pub(super) fn routes() -> Vec<PageRoute> {
    vec![get(
        "notifications",
        "/t/{tenant}/notifications",
        PageAccess::Role(Role::Look),
        list,
    )]
}

async fn list(visit: Visit) -> Result<PageResponse, PageError> {
    let tenant = visit.tenant()?;
    let (id, path) = (tenant.id, format!("{}/notifications", path_of(tenant)));
    let key = visit.query.get("key").unwrap_or_default().trim().to_owned();
    let missed = match key.as_str() {
        "" => None,
        key if key.len() > NOTIFICATION_KEY_BYTES_MAX => Some(short(key, SHOWN_CHARS_MAX)),
        key => {
            let found = visit
                .ask(|store| store.notification_by_key(id, key.to_owned()))
                .await?;
            if let Some(detail) = found {
                return Ok(go_to(&format!("{path}/{}", detail.id)));
            }
            Some(short(key, SHOWN_CHARS_MAX))
        }
    };
    let unwanted = visit.query.get("unwanted").is_some();
    let before = visit.query.get("before").and_then(|text| text.parse().ok());
    let query = NotificationQuery {
        unwanted,
        older_than: before.map(NotificationId),
        limit: PAGE_ROWS_MAX,
    };
    let found = visit
        .ask(|store| store.notifications(id, query.clone()))
        .await?;
    let last = found.last().filter(|_| found.len() >= PAGE_ROWS_MAX);
    let filter = if unwanted { "&unwanted=1" } else { "" };
    let dialect = visit.context.dialects.named(&tenant.dialect);
    let types = found
        .iter()
        .filter(|row| !row.is_test && row.delivery_count == 0);
    let unheard = types.filter_map(|row| {
        let unheard = dialect
            .as_ref()?
            .dashboard
            .forms
            .unheard(&row.action_type)?;
        Some(short(&unheard, UNHEARD_CHARS_MAX))
    });
    let unheard = unheard.collect();
    page(&NotificationsPage {
        shell: Shell::of(&visit, Tab::Notifications, "Notifications"),
        older: last.map(|row| format!("{path}?before={}{filter}", row.id)),
        path,
        rows: found.into_iter().map(row).collect(),
        unwanted,
        unheard,
        missed,
        is_first: before.is_none(),
    })
}

fn row(row: NotificationRow) -> NotificationLine {
    NotificationLine {
        id: row.id,
        at: DisplayTime(row.accepted_at),
        action_type: short(&row.action_type, SHOWN_CHARS_MAX),
        event: row.event.map(|slug| short(&slug, SHOWN_CHARS_MAX)),
        key: short(&row.key, SHOWN_CHARS_MAX),
        delivery_count: row.delivery_count,
        is_test: row.is_test,
    }
}
