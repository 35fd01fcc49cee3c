//! The user's own page. Changing the password takes the present one and ends every other session.
//! Forms elsewhere that set a password use the same checks.

use askama::Template;
use http::StatusCode;
use http::header::SET_COOKIE;
use model::limits::PASSWORD_BYTES_MAX;
use model::password;
use model::refusal::Refusal;
use model::users::{PasswordHash, UserChange, name_hash};

use super::faults::Faults;
use super::layout::{Shell, Tab};
use super::page::{PageAccess, PageRoute, get, post};
use super::response::{PageError, PageResponse, go_to, page_with};
use super::sign_in;
use super::visit::Visit;
use crate::tasks;

/// Letters of a salt: 24 of them are 142 bits, unlike any other.
const SALT_LETTERS: usize = 24;

#[derive(Template)]
#[template(path = "profile.html")]
struct ProfilePage {
    shell: Shell,
    faults: Faults,
    name: String,
    administrator: bool,
    tenants: usize,
    password_chars_min: usize,
}

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        get("account", "/account", PageAccess::Profile, show),
        post(
            "account_password",
            "/account/password",
            PageAccess::Profile,
            change,
        ),
    ]
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    again(&visit, StatusCode::OK, Faults::default())
}

fn again(visit: &Visit, status: StatusCode, faults: Faults) -> Result<PageResponse, PageError> {
    let user = visit.user()?;
    let shown = ProfilePage {
        shell: Shell::of(visit, Tab::None, "Your account"),
        faults,
        name: user.name.clone(),
        administrator: user.administrator,
        tenants: user.roles.len(),
        password_chars_min: model::limits::PASSWORD_CHARS_MIN,
    };
    page_with(status, &shown)
}

async fn change(visit: Visit) -> Result<PageResponse, PageError> {
    let user = visit.user()?.clone();
    let mut faults = Faults::default();
    let present = visit.form.get("present").unwrap_or_default().to_owned();
    if present.is_empty() || present.len() > PASSWORD_BYTES_MAX {
        faults.add("present", "Enter your current password.");
    }
    let Some(new) = new_password(&visit, &user.name, &mut faults).filter(|_| faults.is_empty())
    else {
        return again(&visit, StatusCode::UNPROCESSABLE_ENTITY, faults);
    };
    // Somebody at a browser left open is slowed down like anybody else who guesses.
    let tried = name_hash(&user.name, "their own account");
    let now = visit.context.clock.certain();
    let early = visit.ask(|store| store.try_sign_in(tried, now));
    if early.await?.is_some() {
        let words = "That failed too often. Wait a minute, and try again.";
        let faults = Faults::one("present", words);
        return again(&visit, StatusCode::TOO_MANY_REQUESTS, faults);
    }
    let name = user.name.clone();
    let kept = visit.ask(|store| store.user(name.clone())).await?;
    let (_, kept) = kept.ok_or(PageError::SignIn)?;
    let right = tasks::hash(move || password::is_right(&present, &kept)).await;
    if !right.ok_or(PageError::Refused(Refusal::Busy(1)))? {
        let faults = Faults::one("present", "This is not your current password.");
        return again(&visit, StatusCode::UNPROCESSABLE_ENTITY, faults);
    }
    let change = UserChange {
        password: Some(hashed(&visit, new).await?),
        ..UserChange::default()
    };
    let changed = visit.ask(|store| store.change_user(user.id, change.clone(), now));
    changed.await?.ok_or(PageError::SignIn)?;
    tracing::info!(user = user.name, "changed their password");
    // Every session has ended, this one as well: the user gets a new one.
    let cookie = sign_in::begin_session(&visit, &user, None, Some(tried)).await?;
    let cookie = cookie.ok_or(PageError::SignIn)?;
    let mut shown = go_to("/account?said=password");
    shown.headers_mut().append(SET_COOKIE, cookie);
    if let Some(kept) = sign_in::kept_of(&visit, &user).await? {
        let device = sign_in::device(&visit, &user, &kept);
        shown.headers_mut().append(SET_COOKIE, device);
    }
    Ok(shown)
}

/// The new password if both inputs are equal and it is good enough for the user `name`.
pub(super) fn new_password(visit: &Visit, name: &str, faults: &mut Faults) -> Option<String> {
    let field = |name: &str| visit.form.get(name).unwrap_or_default();
    let (password, repeated) = (field("password"), field("repeated"));
    if let Err(fault) = password::judge(password, name) {
        faults.add_fault(&fault);
        return None;
    }
    if password != repeated {
        faults.add("repeated", "The two passwords differ.");
        return None;
    }
    Some(password.to_owned())
}

/// The hash of a new password.
pub(super) async fn hashed(visit: &Visit, password: String) -> Result<PasswordHash, PageError> {
    let salt = visit.context.rng.alphanumeric(SALT_LETTERS);
    let hashed = tasks::hash(move || password::hash(&password, salt.as_bytes())).await;
    let hashed = hashed.ok_or(PageError::Refused(Refusal::Busy(1)))?;
    hashed.map_err(|error| {
        tracing::error!(%error, "a password cannot be hashed");
        PageError::Refused(Refusal::Internal)
    })
}
