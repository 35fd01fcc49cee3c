//! How long a tenant's log is kept: days of its own, or what the server does by default.

use model::people::Role;

use super::show::{self, DAY_MS, Typed};
use crate::pages::faults::Faults;
use crate::pages::layout::path_of;
use crate::pages::page::{Needs, Page, post};
use crate::pages::shown::{Shown, Trouble, go_to};
use crate::pages::visit::Visit;

/// As long as the operator may choose for everybody.
const DAYS_MAX: i64 = 3_650;

pub(super) fn places() -> Vec<Page> {
    let needs = Needs::Role(Role::Administer);
    let path = "/t/{tenant}/settings/retention";
    vec![post("retention_post", path, needs, save)]
}

async fn save(visit: Visit) -> Result<Shown, Trouble> {
    let typed = visit.form.get("days").unwrap_or_default().trim().to_owned();
    let days = match typed.as_str() {
        "" => None,
        digits => match digits.parse::<i64>() {
            Ok(days) if (1..=DAYS_MAX).contains(&days) => Some(days),
            Ok(_) | Err(_) => {
                let words = format!(
                    "Type a whole number of days from 1 to {DAYS_MAX}, or nothing for the default."
                );
                let typed = Typed {
                    days: Some(typed.chars().take(20).collect()),
                    ..Typed::default()
                };
                return show::again(&visit, typed, Faults::one("days", words)).await;
            }
        },
    };
    let (tenant, actor, now) = (visit.tenant()?.clone(), visit.actor(), visit.now);
    let kept_ms = days.map(|days| days * DAY_MS);
    visit
        .shared
        .ask(|store| store.set_kept(tenant.id, kept_ms, actor.clone(), now))
        .await?;
    Ok(go_to(&format!("{}/settings?said=kept", path_of(&tenant))))
}
