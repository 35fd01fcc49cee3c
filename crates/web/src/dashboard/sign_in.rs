//! Signing in and out. A wrong name and a wrong password get the same answer, take the same time,
//! and make the next attempt from there wait longer. Attempts are counted by name and network, so
//! that nobody can lock others out; a browser in which the user was signed in before is counted on
//! its own.

use askama::Template;
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use model::limits::{PASSWORD_BYTES_MAX, SESSION_MS, USER_NAME_CHARS_MAX};
use model::log_line::shown;
use model::password;
use model::refusal::Refusal;
use model::tenant::TokenHash;
use model::users::{PasswordHash, User};

use super::layout::{Shell, Tab};
use super::page::{PageAccess, PageRoute, get, post};
use super::response::{PageError, PageResponse, go_to, page_with};
use super::session::{self, SECRET_LETTERS};
use super::visit::Visit;
use crate::line_budget::SharedLineBudget;
use crate::tasks;

/// Failed sign-ins that are logged: so many at once, then one each ten seconds, with how many were
/// left out.
static FAILED_LINES: SharedLineBudget = SharedLineBudget::new(20, 10_000);

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    shell: Shell,
    name: String,
    /// Where to go afterwards.
    next: String,
    fault: Option<String>,
    /// Nobody can sign in yet.
    is_first: bool,
}

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        get("sign_in", "/sign-in", PageAccess::Nothing, ask),
        post("sign_in_post", "/sign-in", PageAccess::Nothing, sign_in),
        post("sign_out", "/sign-out", PageAccess::Nothing, sign_out),
        get("link", "/link/{secret}", PageAccess::Nothing, use_link),
    ]
}

async fn ask(visit: Visit) -> Result<PageResponse, PageError> {
    if visit.user.is_some() {
        return Ok(go_to(&next(&visit)));
    }
    form(visit, StatusCode::OK, "", None).await
}

/// The form, with the cookie for its CSRF token.
async fn form(
    mut visit: Visit,
    status: StatusCode,
    name: &str,
    fault: Option<String>,
) -> Result<PageResponse, PageError> {
    let is_first = !visit.ask(|store| store.has_users()).await?;
    let secret = match visit.cookies.visitor.clone() {
        Some(secret) => secret,
        None => visit.context.rng.alphanumeric(SECRET_LETTERS),
    };
    visit.cookies.visitor = Some(secret.clone());
    let page = SignIn {
        shell: Shell::of(&visit, Tab::None, "Sign in"),
        name: name.to_owned(),
        next: next(&visit),
        fault,
        is_first,
    };
    let mut response = page_with(status, &page)?;
    let cookie = session::visitor_cookie(&secret, visit.secure);
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

async fn sign_in(visit: Visit) -> Result<PageResponse, PageError> {
    let field = |name: &str| visit.form.get(name).unwrap_or_default().to_owned();
    let (name, password) = (field("name").trim().to_owned(), field("password"));
    if name.chars().count() > USER_NAME_CHARS_MAX || password.len() > PASSWORD_BYTES_MAX {
        tell_failed(&visit, &name, "too long");
        return refuse(visit, "").await;
    }
    let found = visit.ask(|store| store.user(name.clone())).await?;
    let (user, kept) = match found {
        Some((user, kept)) => (Some(user), kept),
        None => (None, password::nobodys()),
    };
    let tried = visit.counted_as(&name, &kept);
    let at = visit.context.clock.certain();
    let early = visit.ask(|store| store.try_sign_in(tried, at));
    if let Some(failures) = early.await? {
        tell_failed(&visit, &name, "too often");
        let wait_s = failures.open_at().ms_since(at).max(0) / 1_000 + 1;
        let words = format!(
            "Signing in as this user failed too often. Try again in {wait_s} {}.",
            if wait_s == 1 { "second" } else { "seconds" }
        );
        let mut response = form(visit, StatusCode::TOO_MANY_REQUESTS, &name, Some(words)).await?;
        response.headers_mut().insert(RETRY_AFTER, wait_s.into());
        return Ok(response);
    }
    let typed = kept.clone();
    let right = tasks::hash(move || password::is_right(&password, &kept)).await;
    let right = right.ok_or(PageError::Refused(Refusal::Busy(1)))?;
    let begun = match user.filter(|user| right && user.active) {
        Some(user) => begin(&visit, &user, Some((typed, tried))).await?,
        None => None,
    };
    match begun {
        Some(response) => Ok(response),
        None => {
            tell_failed(&visit, &name, "wrong name or password, or disabled");
            refuse(visit, &name).await
        }
    }
}

/// Logs a sign-in that failed, unless many did lately. What was typed as the name may be anything.
fn tell_failed(visit: &Visit, name: &str, reason: &'static str) {
    if let Some(others) = FAILED_LINES.take() {
        let user = shown(name, USER_NAME_CHARS_MAX);
        let from = visit.address().map(tracing::field::display);
        tracing::warn!(user, from, reason, others, "a sign-in failed");
    }
}

async fn refuse(visit: Visit, name: &str) -> Result<PageResponse, PageError> {
    let words = "The name or the password is wrong, or this user may not sign in.";
    form(visit, StatusCode::FORBIDDEN, name, Some(words.to_owned())).await
}

/// `None` if this user may not sign in, or the password has changed since. `typed` is the hash of
/// the password that was verified; the attempt was counted under `counted`.
async fn begin(
    visit: &Visit,
    user: &User,
    typed: Option<(PasswordHash, TokenHash)>,
) -> Result<Option<PageResponse>, PageError> {
    let (typed, counted) = typed.unzip();
    let cookie = begin_session(visit, user, typed.clone(), counted).await?;
    let Some(cookie) = cookie else {
        return Ok(None);
    };
    tracing::info!(user = user.name, "signed in");
    let mut response = go_to(&next(visit));
    if is_framed(visit) {
        end_cookies(&mut response, visit);
    }
    response.headers_mut().append(SET_COOKIE, cookie);
    let kept = match typed {
        Some(kept) => Some(kept),
        None => kept_of(visit, user).await?,
    };
    if let Some(kept) = kept {
        response
            .headers_mut()
            .append(SET_COOKIE, device(visit, user, &kept));
    }
    Ok(Some(response))
}

/// The stored hash of a user's password.
pub(super) async fn kept_of(visit: &Visit, user: &User) -> Result<Option<PasswordHash>, PageError> {
    let found = visit.ask(|store| store.user(user.name.clone()));
    Ok(found.await?.map(|(_, kept)| kept))
}

/// The device cookie for this browser and user.
pub(super) fn device(visit: &Visit, user: &User, kept: &PasswordHash) -> HeaderValue {
    let chance = visit.context.rng.alphanumeric(SECRET_LETTERS);
    session::device_cookie(&chance, &user.name, kept, visit.secure)
}

/// Begins a session with a new secret, whatever the browser sent, and returns its cookie. `typed`
/// is the hash of the password that was verified; what was counted under `counted` is forgotten.
pub(super) async fn begin_session(
    visit: &Visit,
    user: &User,
    typed: Option<PasswordHash>,
    counted: Option<TokenHash>,
) -> Result<Option<HeaderValue>, PageError> {
    let secret = visit.context.rng.alphanumeric(SECRET_LETTERS);
    let (hash, id, now) = (TokenHash::of(&secret), user.id, visit.now);
    let until = visit.context.clock.certain().plus_ms(SESSION_MS);
    let begun =
        visit.ask(|store| store.begin_session(hash, id, typed.clone(), counted, until, now));
    let begun = begun.await?;
    Ok(begun.then(|| session::session_cookie(&secret, visit.secure)))
}

async fn use_link(visit: Visit) -> Result<PageResponse, PageError> {
    if visit.method == Method::HEAD {
        // A HEAD request does not use the link up.
        return form(visit, StatusCode::OK, "", None).await;
    }
    let (link, now) = (
        TokenHash::of(visit.param("secret")),
        visit.context.clock.certain(),
    );
    let begun = match visit.ask(|store| store.use_link(link, now)).await? {
        Some(user) => begin(&visit, &user, None).await?,
        None => use_portal_link(&visit, link).await?,
    };
    match begun {
        Some(response) => Ok(response),
        None => {
            tell_failed(&visit, "", "link used already, or too old");
            let words = "This link was used already, is too old, or is not whole. If it was on a \
                         page of your ticketing platform, go back there for a new one. Else sign \
                         in with your password, or ask for another link.";
            form(visit, StatusCode::FORBIDDEN, "", Some(words.to_owned())).await
        }
    }
}

/// Begins a session at the tenant of a portal link; `None` if there is no such link any more.
async fn use_portal_link(
    visit: &Visit,
    link: TokenHash,
) -> Result<Option<PageResponse>, PageError> {
    let secret = visit.context.rng.alphanumeric(SECRET_LETTERS);
    let (session, now) = (TokenHash::of(&secret), visit.context.clock.certain());
    let until = now.plus_ms(SESSION_MS);
    let used = visit.ask(|store| store.use_portal_link(link, session, until, now));
    let Some(visitor) = used.await? else {
        return Ok(None);
    };
    tracing::info!(
        visitor = visitor.actor(),
        tenant = visitor.tenant.0,
        role = visitor.role.as_str(),
        "signed in by a portal link"
    );
    let mut response = go_to(&format!("/t/{}", visitor.tenant));
    let framed = is_framed(visit);
    if framed {
        end_cookies(&mut response, visit);
    }
    let cookie = match framed {
        true => session::framed_session_cookie(&secret),
        false => session::session_cookie(&secret, visit.secure),
    };
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(Some(response))
}

/// Whether cookies may be those of a frame.
fn is_framed(visit: &Visit) -> bool {
    visit.secure && visit.context.frames.is_any()
}

/// Deletes the cookies of sessions: of two, a browser would send both.
fn end_cookies(response: &mut PageResponse, visit: &Visit) {
    for cookie in session::no_session_cookies(visit.secure, is_framed(visit)) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

async fn sign_out(visit: Visit) -> Result<PageResponse, PageError> {
    if let Some(session) = visit.session() {
        visit.ask(|store| store.end_session(session)).await?;
    }
    let mut response = go_to("/sign-in?said=signed-out");
    end_cookies(&mut response, &visit);
    Ok(response)
}

/// The path to go to after signing in: our own, never another site's (`//evil`, `/\evil`).
fn next(visit: &Visit) -> String {
    let given = visit.form.get("next").or_else(|| visit.query.get("next"));
    let given = given.unwrap_or_default();
    let mut letters = given.chars();
    let own = letters.next() == Some('/')
        && !matches!(letters.next(), Some('/' | '\\'))
        && given.chars().all(|letter| letter.is_ascii_graphic())
        && !given.starts_with("/sign-")
        && !given.starts_with("/link/");
    if own {
        given.to_owned()
    } else {
        "/".to_owned()
    }
}
