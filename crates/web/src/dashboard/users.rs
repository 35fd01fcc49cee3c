//! The users of this server, for administrators: list, create, change. Nobody can remove their own
//! administration or their own user, so that there is always one left.

use askama::Template;
use http::StatusCode;
use model::contract::{Conflict, StoreError};
use model::dashboard::TenantQuery;
use model::id::UserId;
use model::limits::PAGE_ROWS_MAX;
use model::users::{NewUser, Role, User, UserChange, judge_name};

use super::faults::Faults;
use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get, post};
use super::paged::page_of;
use super::profile;
use super::response::{PageError, PageResponse, go_to, page, page_with};
use super::view::{self, DisplayTime};
use super::visit::Visit;
use crate::gateway::store::refused;

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    shell: Shell,
    rows: Vec<UserLine>,
    text: String,
    more: Option<String>,
}

struct UserLine {
    id: i64,
    name: String,
    administrator: bool,
    active: bool,
    tenants: usize,
    signed_in: Option<DisplayTime>,
}

#[derive(Template)]
#[template(path = "user_new.html")]
struct UserForm {
    shell: Shell,
    faults: Faults,
    name: String,
    administrator: bool,
    password_chars_min: usize,
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    shell: Shell,
    faults: Faults,
    row: UserLine,
    created: DisplayTime,
    is_me: bool,
    roles: Vec<TenantRole>,
    more_roles: usize,
    password_chars_min: usize,
}

struct TenantRole {
    path: String,
    tenant: String,
    role: Role,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let needs = PageAccess::Administrator;
    vec![
        get("users", "/users", needs, list),
        get("user_new", "/users/new", needs, ask),
        post("user_make", "/users/new", needs, make),
        get("user", "/users/{user}", needs, show),
        post("user_post", "/users/{user}", needs, change),
        post(
            "user_password",
            "/users/{user}/password",
            needs,
            set_password,
        ),
    ]
}

async fn list(visit: Visit) -> Result<PageResponse, PageError> {
    let text = view::search_text(visit.query.get("q"));
    let wanted = text.to_lowercase();
    let mut users = visit.ask(|store| store.users(None)).await?;
    users.retain(|user| user.name.to_lowercase().contains(&wanted));
    let (users, more) = page_of(users, visit.query.get("after"), |user| user.id.0);
    let shown = UsersPage {
        shell: Shell::of(&visit, Tab::People, "Users"),
        rows: users.iter().map(UserLine::of).collect(),
        more: more.map(|id| format!("/users?q={}&after={id}", view::encoded(&text))),
        text,
    };
    page(&shown)
}

async fn ask(visit: Visit) -> Result<PageResponse, PageError> {
    form(&visit, String::new(), false, Faults::default())
}

fn form(
    visit: &Visit,
    name: String,
    administrator: bool,
    faults: Faults,
) -> Result<PageResponse, PageError> {
    let status = status(&faults);
    let form = UserForm {
        shell: Shell::of(visit, Tab::People, "New user"),
        faults,
        name,
        administrator,
        password_chars_min: model::limits::PASSWORD_CHARS_MIN,
    };
    page_with(status, &form)
}

fn status(faults: &Faults) -> StatusCode {
    match faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

async fn make(visit: Visit) -> Result<PageResponse, PageError> {
    let typed = visit.form.get("name").unwrap_or_default();
    let typed: String = typed.chars().take(200).collect();
    let administrator = visit.form.get("administrator") == Some("yes");
    let mut faults = Faults::default();
    let name = judge_name(&typed).map_err(|fault| faults.add_fault(&fault));
    let password = profile::new_password(&visit, &typed, &mut faults);
    let (Ok(name), Some(password)) = (name, password) else {
        return form(&visit, typed, administrator, faults);
    };
    let new = NewUser {
        name,
        password: profile::hashed(&visit, password).await?,
        administrator,
    };
    let now = visit.now;
    // Not repeated: after a lost answer the name would be found taken.
    match visit
        .context
        .store
        .get()
        .create_user(new.clone(), now)
        .await
    {
        Ok(user) => {
            tracing::info!(user = user.name, by = visit.actor(), "a user is made");
            Ok(go_to(&format!("/users/{}?said=user-created", user.id)))
        }
        Err(StoreError::Conflict(Conflict::UserName)) => {
            let fault = Faults::one("name", "There is a user of this name already.");
            form(&visit, typed, administrator, fault)
        }
        Err(error) => Err(refused(&error).into()),
    }
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let user = user(&visit).await?;
    one(&visit, &user, Faults::default()).await
}

async fn one(visit: &Visit, user: &User, faults: Faults) -> Result<PageResponse, PageError> {
    let query = TenantQuery {
        among: Some(user.roles.keys().copied().collect()),
        but_dialect: None,
        text: String::new(),
        after: None,
        limit: PAGE_ROWS_MAX,
    };
    let tenants = visit.ask(|store| store.find_tenants(query.clone())).await?;
    let roles = tenants.iter().filter_map(|tenant| {
        let role = user.roles.get(&tenant.id).copied()?;
        Some(TenantRole {
            path: path_of(tenant),
            tenant: tenant.name.clone(),
            role,
        })
    });
    let roles: Vec<TenantRole> = roles.collect();
    let status = status(&faults);
    let shown = UserPage {
        shell: Shell::of(visit, Tab::People, user.name.clone()),
        faults,
        row: UserLine::of(user),
        created: DisplayTime(user.created_at),
        is_me: visit.user()?.id == user.id,
        more_roles: user.roles.len().saturating_sub(roles.len()),
        roles,
        password_chars_min: model::limits::PASSWORD_CHARS_MIN,
    };
    page_with(status, &shown)
}

async fn change(visit: Visit) -> Result<PageResponse, PageError> {
    let user = user(&visit).await?;
    let is_on = |name: &str| visit.form.get(name) == Some("yes");
    let (administrator, active) = (is_on("administrator"), is_on("active"));
    if user.id == visit.user()?.id && !(administrator && active) {
        let words = "You would lock yourself out. Have another administrator do it.";
        let field = if administrator {
            "active"
        } else {
            "administrator"
        };
        return one(&visit, &user, Faults::one(field, words)).await;
    }
    let change = UserChange {
        password: None,
        administrator: (administrator != user.administrator).then_some(administrator),
        active: (active != user.active).then_some(active),
    };
    if change == UserChange::default() {
        return Ok(go_to(&format!("/users/{}?said=unchanged", user.id)));
    }
    apply(&visit, user.id, change).await?;
    tracing::info!(
        user = user.name,
        administrator,
        active,
        by = visit.actor(),
        "a user is changed"
    );
    Ok(go_to(&format!("/users/{}?said=user-saved", user.id)))
}

async fn set_password(visit: Visit) -> Result<PageResponse, PageError> {
    let user = user(&visit).await?;
    if user.id == visit.user()?.id {
        // Their own password takes the present one.
        return Ok(go_to("/account"));
    }
    let mut faults = Faults::default();
    let Some(password) = profile::new_password(&visit, &user.name, &mut faults) else {
        return one(&visit, &user, faults).await;
    };
    let change = UserChange {
        password: Some(profile::hashed(&visit, password).await?),
        ..UserChange::default()
    };
    apply(&visit, user.id, change).await?;
    tracing::info!(user = user.name, by = visit.actor(), "a password is set");
    Ok(go_to(&format!("/users/{}?said=user-saved", user.id)))
}

async fn apply(visit: &Visit, user: UserId, change: UserChange) -> Result<(), PageError> {
    let now = visit.now;
    let changed = visit.ask(|store| store.change_user(user, change.clone(), now));
    changed.await?.map(|_| ()).ok_or(PageError::NotFound)
}

/// The user that the path names.
async fn user(visit: &Visit) -> Result<User, PageError> {
    let id = UserId(visit.id("user")?);
    let users = visit.ask(|store| store.users(None)).await?;
    let found = users.into_iter().find(|user| user.id == id);
    found.ok_or(PageError::NotFound)
}

impl UserLine {
    fn of(user: &User) -> Self {
        Self {
            id: user.id.0,
            name: user.name.clone(),
            administrator: user.administrator,
            active: user.active,
            tenants: user.roles.len(),
            signed_in: user.signed_in_at.map(DisplayTime),
        }
    }
}
