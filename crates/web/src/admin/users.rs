//! Users: people who sign in. An administrator is neither made nor changed here, but on the server
//! or by another administrator: a token that leaked makes nobody who outlives it.

use std::sync::Arc;

use http::StatusCode;
use model::contract::{Conflict, StoreError};
use model::id::UserId;
use model::limits::{LINK_MS, TOKEN_LETTERS};
use model::password;
use model::refusal::Refusal;
use model::tenant::TokenHash;
use model::users::{NewUser, PasswordHash, User, UserChange, judge_name};
use serde_json::{Value, json};

use super::context::{Admin, actor};
use super::{answer, page};
use crate::dialect::own_block::{self, Fields, refuse_key};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::refused;
use crate::tasks;

/// Characters of a salt: 124 bits.
const SALT_LETTERS: usize = 24;

/// Seconds after which a request that found no room for another password may be repeated.
const BUSY_AFTER_S: u32 = 1;

pub(super) async fn list_users(
    _: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let limit = page::limit(&request.head)?;
    let after = after(&request).await?;
    let rows = request
        .ask(|store| store.users_behind(None, after, limit + 1))
        .await?;
    let key = |user: &User| user.name.clone();
    Ok(page::answer(&request.head, rows, limit, shown, key))
}

/// The user that a page goes on behind.
pub(super) async fn after(request: &AdmittedRequest) -> Result<Option<UserId>, Refusal> {
    let Some(name) = page::after(&request.head) else {
        return Ok(None);
    };
    let found = named(request, name).await?.ok_or_else(page::unknown_row)?;
    Ok(Some(found.0.id))
}

pub(super) async fn show_user(
    _: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let user = found(&request).await?;
    Ok(answer::ok(&shown(&user)))
}

/// What a body says of a user.
struct UserFields {
    password: Option<String>,
    active: Option<bool>,
}

pub(super) async fn put_user(
    _: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    let name = request.head.param("user");
    let given = user_fields(&request, name)?;
    match named(&request, name).await? {
        Some((user, kept)) => change(&request, &user, &kept, given).await,
        None => create(&request, given).await,
    }
}

fn user_fields(request: &AdmittedRequest, name: &str) -> Result<UserFields, Refusal> {
    let mut fields = Fields::read(&request.body, &["password", "active"])?;
    let password = fields.text("password");
    if let Some(Err(fault)) = password.as_deref().map(|text| password::judge(text, name)) {
        fields.faults.push(fault);
    }
    let active = match fields.given.get("active") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(active)) => Some(*active),
        Some(_) => fields.fault("active", "It has to be true or false."),
    };
    fields.done(Some(UserFields { password, active }))
}

async fn create(request: &AdmittedRequest, given: UserFields) -> Result<ApiResponse, Refusal> {
    let name = request.head.param("user");
    let judged = judge_name(name).map_err(|fault| Refusal::Invalid(vec![fault]))?;
    if judged != name {
        let words = "The name in the path begins or ends with space.";
        return Err(Refusal::invalid("name", words));
    }
    let Some(password) = given.password else {
        let words = "There is no such user yet. Say which password a new one has.";
        return Err(Refusal::invalid("password", words));
    };
    let new = NewUser {
        name: judged,
        password: hashed(request, password).await?,
        administrator: false,
    };
    let now = request.context.clock.now();
    // Not repeated: after a lost answer the name would be found taken.
    let made = request.context.store.get().create_user(new, now).await;
    let mut user = match made {
        Ok(user) => user,
        Err(StoreError::Conflict(Conflict::UserName)) => {
            let words = "Somebody else made a user of this name at this moment. Ask again.";
            return Err(Refusal::Contradiction(words.to_owned()));
        }
        Err(error) => return Err(refused(&error)),
    };
    tracing::info!(user = user.name, by = actor(request), "a user is made");
    if given.active == Some(false) {
        let change = UserChange {
            active: Some(false),
            ..UserChange::default()
        };
        user = changed(request, user.id, change).await?;
    }
    Ok(answer::put(true, &shown(&user)))
}

async fn change(
    request: &AdmittedRequest,
    user: &User,
    kept: &PasswordHash,
    given: UserFields,
) -> Result<ApiResponse, Refusal> {
    refuse_administrator(user)?;
    let password = match given.password {
        // The one that they have already ends no session.
        Some(typed) if is_right(typed.clone(), kept.clone()).await? => None,
        Some(typed) => Some(hashed(request, typed).await?),
        None => None,
    };
    let change = UserChange {
        password,
        administrator: None,
        active: given.active.filter(|active| *active != user.active),
    };
    if change == UserChange::default() {
        return Ok(answer::ok(&shown(user)));
    }
    let user = changed(request, user.id, change).await?;
    tracing::info!(
        user = user.name,
        active = user.active,
        by = actor(request),
        "a user is changed"
    );
    Ok(answer::ok(&shown(&user)))
}

async fn changed(
    request: &AdmittedRequest,
    user: UserId,
    change: UserChange,
) -> Result<User, Refusal> {
    let now = request.context.clock.now();
    let changed = request.ask(|store| store.change_user(user, change.clone(), now));
    changed.await?.ok_or(Refusal::NoSuchObject)
}

/// A link that signs the user in once, as `willcall user link` makes one.
pub(super) async fn make_link(
    _: Arc<Admin>,
    request: AdmittedRequest,
) -> Result<ApiResponse, Refusal> {
    refuse_key(&request, "the answer has a secret, which is kept nowhere")?;
    Fields::read(&request.body, &[])?.done(Some(()))?;
    let user = found(&request).await?;
    refuse_administrator(&user)?;
    if !user.active {
        let words = "This user may not sign in. PUT the user with \"active\": true first.";
        return Err(Refusal::Contradiction(words.to_owned()));
    }
    let context = &request.context;
    let secret = context.rng.alphanumeric(TOKEN_LETTERS);
    let (link, until) = (TokenHash::of(&secret), context.clock.now().plus_ms(LINK_MS));
    let made = request.ask(|store| store.create_link(link, user.id, until));
    made.await?;
    tracing::info!(
        user = user.name,
        by = actor(&request),
        "a sign-in link is made"
    );
    let value = json!({
        "user": user.name,
        "url": format!("{}/link/{secret}", request.head.origin()),
        "expires_at": until.to_string(),
    });
    Ok(own_block::answer(StatusCode::CREATED, &value))
}

fn refuse_administrator(user: &User) -> Result<(), Refusal> {
    if !user.administrator {
        return Ok(());
    }
    let words = "This user is an administrator. `willcall user` on the server, or another \
                 administrator on the dashboard, can do that.";
    Err(Refusal::Contradiction(words.to_owned()))
}

/// The user that the path names.
pub(super) async fn found(request: &AdmittedRequest) -> Result<User, Refusal> {
    let found = named(request, request.head.param("user")).await?;
    found.map(|(user, _)| user).ok_or(Refusal::NoSuchObject)
}

async fn named(
    request: &AdmittedRequest,
    name: &str,
) -> Result<Option<(User, PasswordHash)>, Refusal> {
    request.ask(|store| store.user(name.to_owned())).await
}

async fn is_right(typed: String, kept: PasswordHash) -> Result<bool, Refusal> {
    let right = tasks::hash(move || password::is_right(&typed, &kept)).await;
    right.ok_or(Refusal::Busy(BUSY_AFTER_S))
}

async fn hashed(request: &AdmittedRequest, password: String) -> Result<PasswordHash, Refusal> {
    let salt = request.context.rng.alphanumeric(SALT_LETTERS);
    let hashed = tasks::hash(move || password::hash(&password, salt.as_bytes())).await;
    let hashed = hashed.ok_or(Refusal::Busy(BUSY_AFTER_S))?;
    hashed.map_err(|error| {
        tracing::error!(%error, "a password cannot be hashed");
        Refusal::Internal
    })
}

fn shown(user: &User) -> Value {
    json!({
        "name": user.name,
        "active": user.active,
        "administrator": user.administrator,
        "created_at": user.created_at.to_string(),
        "signed_in_at": user.signed_in_at.map(|at| at.to_string()),
    })
}
