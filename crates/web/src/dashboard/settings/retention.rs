//! Retention of a tenant's log: a number of days of its own, or the server's default. A shorter
//! time deletes something for good, so it has to be confirmed.

use askama::Template;
use model::users::Role;

use super::show::{self, DAY_MS, SAID_KEPT, SettingsInput};
use crate::dashboard::faults::Faults;
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::page::{PageAccess, PageRoute, get, post};
use crate::dashboard::response::{PageError, PageResponse, go_to, page};
use crate::dashboard::view::DisplayDuration;
use crate::dashboard::visit::Visit;

/// The bound of the operator's setting.
const DAYS_MAX: i64 = 3_650;

#[derive(Template)]
#[template(path = "settings/retention.html")]
struct RetentionConfirmPage {
    shell: Shell,
    path: String,
    /// The value of the form; empty for the default.
    days: String,
    new: DisplayDuration,
    /// The retention in force.
    kept: DisplayDuration,
}

/// A choice of days; `None` is the default.
type Days = Option<i64>;

pub(super) fn routes() -> Vec<PageRoute> {
    let needs = PageAccess::Role(Role::Administer);
    let path = "/t/{tenant}/settings/retention";
    vec![
        get("retention", path, needs, confirm),
        post("retention_post", path, needs, save),
    ]
}

/// Asks before a shorter time is saved. Other times need no question.
async fn confirm(visit: Visit) -> Result<PageResponse, PageError> {
    let path = format!("{}/settings", path_of(visit.tenant()?));
    let Some(days) = read(visit.query.get("days").unwrap_or_default()) else {
        return Ok(go_to(&path));
    };
    let (new, kept) = (lasting(&visit, days)?, in_force(&visit).await?);
    if new >= kept {
        return Ok(go_to(&path));
    }
    page(&RetentionConfirmPage {
        shell: Shell::of(&visit, Tab::Settings, "Keep the log for a shorter time"),
        path,
        days: days.map(|days| days.to_string()).unwrap_or_default(),
        new: DisplayDuration(new),
        kept: DisplayDuration(kept),
    })
}

async fn save(visit: Visit) -> Result<PageResponse, PageError> {
    let typed = visit.form.get("days").unwrap_or_default().trim();
    let Some(days) = read(typed) else {
        let words = format!(
            "Enter a whole number of days from 1 to {DAYS_MAX}, or nothing for the default."
        );
        let typed = SettingsInput {
            days: Some(typed.chars().take(20).collect()),
            ..SettingsInput::default()
        };
        return show::again(&visit, typed, Faults::one("days", words)).await;
    };
    let tenant = visit.tenant()?.clone();
    let path = format!("{}/settings", path_of(&tenant));
    let is_sure = visit.form.get("sure") == Some("yes");
    if !is_sure && lasting(&visit, days)? < in_force(&visit).await? {
        let days = days.map(|days| days.to_string()).unwrap_or_default();
        return Ok(go_to(&format!("{path}/retention?days={days}")));
    }
    let (actor, now) = (visit.actor(), visit.now);
    let retention_ms = days.map(|days| days * DAY_MS);
    visit
        .ask(|store| store.set_retention(tenant.id, retention_ms, actor.clone(), now))
        .await?;
    Ok(go_to(&format!("{path}?said={SAID_KEPT}")))
}

/// The choice, if the input is one.
fn read(typed: &str) -> Option<Days> {
    match typed.trim() {
        "" => Some(None),
        digits => {
            let days = digits.parse().ok()?;
            (1..=DAYS_MAX).contains(&days).then_some(Some(days))
        }
    }
}

/// The retention of a choice.
fn lasting(visit: &Visit, days: Days) -> Result<i64, PageError> {
    match days {
        Some(days) => Ok(days * DAY_MS),
        None => Ok(visit.dialect()?.policy.retention_ms),
    }
}

/// The retention in force.
async fn in_force(visit: &Visit) -> Result<i64, PageError> {
    let id = visit.tenant()?.id;
    let settings = visit.ask(|store| store.tenant_settings(id)).await?;
    match settings.and_then(|settings| settings.retention_ms) {
        Some(own) => Ok(own),
        None => lasting(visit, None),
    }
}
