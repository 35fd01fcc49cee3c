//! The people of a tenant: giving a user access, changing the role, taking access away. Users who
//! lower their own role are asked first, and told what they lose.

use askama::Template;
use model::id::UserId;
use model::users::{Role, User};

use super::show::{self, SettingsInput};
use crate::dashboard::faults::Faults;
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::page::{PageAccess, PageRoute, get, post};
use crate::dashboard::response::{PageError, PageResponse, go_to, page};
use crate::dashboard::visit::Visit;

#[derive(Template)]
#[template(path = "settings/access.html")]
struct AccessConfirmPage {
    shell: Shell,
    path: String,
    id: i64,
    name: String,
    is_me: bool,
    /// Still has access as an administrator.
    is_administrator: bool,
    /// `None` takes the access away.
    role: Option<Role>,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let needs = PageAccess::Role(Role::Administer);
    let one = "/t/{tenant}/settings/people/{user}";
    vec![
        post("people_add", "/t/{tenant}/settings/people", needs, add),
        get("person", one, needs, confirm),
        post("person_post", one, needs, change),
    ]
}

async fn add(visit: Visit) -> Result<PageResponse, PageError> {
    visit.not_of_alerts()?;
    let field = |name: &str| visit.form.get(name).unwrap_or_default().trim().to_owned();
    let typed = SettingsInput {
        person: field("person").chars().take(200).collect(),
        role: field("role"),
        days: None,
    };
    let tenant = visit.tenant()?.clone();
    let mut faults = Faults::default();
    let role = typed.role.parse::<Role>();
    if role.is_err() {
        faults.add("role", "Choose what they may do.");
    }
    let name = typed.person.clone();
    let found = match name.is_empty() {
        true => None,
        false => visit.ask(|store| store.user(name.clone())).await?,
    };
    match &found {
        None => faults.add(
            "person",
            "There is no user of this name. An administrator of this server creates users.",
        ),
        Some((user, _)) if user.administrator => faults.add(
            "person",
            "This user is an administrator of this server and may do everything here already.",
        ),
        Some((user, _)) if user.roles.contains_key(&tenant.id) => faults.add(
            "person",
            "This user has a role here already: change it in the list above.",
        ),
        Some(_) => {}
    }
    match (found, role, faults.is_empty()) {
        (Some((user, _)), Ok(role), true) => {
            give(&visit, user.id, Some(role)).await?;
            Ok(go_to(&format!(
                "{}/settings?said=role#people",
                path_of(&tenant)
            )))
        }
        _ => show::again(&visit, typed, faults).await,
    }
}

/// Asks before access is taken away, or users lower their own role.
async fn confirm(visit: Visit) -> Result<PageResponse, PageError> {
    let (user, _) = person(&visit).await?;
    let role = wanted(visit.query.get("role"))?;
    let me = visit.user()?;
    let shown = AccessConfirmPage {
        shell: Shell::of(&visit, Tab::Settings, "Change access"),
        path: format!("{}/settings", path_of(visit.tenant()?)),
        id: user.id.0,
        is_me: user.id == me.id,
        is_administrator: user.administrator,
        name: user.name,
        role,
    };
    page(&shown)
}

async fn change(visit: Visit) -> Result<PageResponse, PageError> {
    let (user, present) = person(&visit).await?;
    let role = wanted(visit.form.get("role"))?;
    let path = format!("{}/settings", path_of(visit.tenant()?));
    let me = visit.user()?;
    let is_own_loss = user.id == me.id && !me.administrator && role < Some(present);
    let is_sure = visit.form.get("sure") == Some("yes");
    if (is_own_loss || role.is_none()) && !is_sure {
        let role = role.map_or("none", Role::as_str);
        return Ok(go_to(&format!("{path}/people/{}?role={role}", user.id)));
    }
    give(&visit, user.id, role).await?;
    Ok(match (role, is_own_loss) {
        // They may not see this tenant any more.
        (None, true) => go_to("/?said=removed"),
        (None, false) => go_to(&format!("{path}?said=removed#people")),
        (Some(_), _) => go_to(&format!("{path}?said=role#people")),
    })
}

/// The user that the path names, with their role here.
async fn person(visit: &Visit) -> Result<(User, Role), PageError> {
    visit.not_of_alerts()?;
    let (tenant, id) = (visit.tenant()?.id, UserId(visit.id("user")?));
    let people = visit.ask(|store| store.users(Some(tenant))).await?;
    let found = people.into_iter().find(|user| user.id == id);
    let user = found.ok_or(PageError::NotFound)?;
    let role = user
        .roles
        .get(&tenant)
        .copied()
        .ok_or(PageError::NotFound)?;
    Ok((user, role))
}

fn wanted(text: Option<&str>) -> Result<Option<Role>, PageError> {
    match text.unwrap_or_default() {
        "none" => Ok(None),
        role => role.parse().map(Some).map_err(|()| PageError::NotFound),
    }
}

async fn give(visit: &Visit, user: UserId, role: Option<Role>) -> Result<(), PageError> {
    let (tenant, actor, now) = (visit.tenant()?.id, visit.actor(), visit.now);
    let known = visit.ask(|store| store.set_role(tenant, user, role, actor.clone(), now));
    match known.await? {
        true => Ok(()),
        false => Err(PageError::NotFound),
    }
}
