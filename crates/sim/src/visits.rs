//! The dashboard, as the browser of somebody has it who is signed in: cookies, forms, and what
//! stands on pages.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderMap, Method, Request};
use model::contract::Store;
use model::tenant::{DialectName, TokenHash};
use model::time::Timestamp;
use model::users::{NewUser, PasswordHash};

use crate::history::{Line, Names};
use crate::world::SharedWorld;

/// How long a session lasts. Each visit has one of its own.
const SESSION_MS: i64 = 3_600_000;

/// Makes a user who may do everything, and learns by what the dashboard names tenants.
pub(crate) async fn sign_up(world: &SharedWorld, store: &dyn Store, at: Timestamp) -> Result<()> {
    let user = NewUser {
        name: "sim".to_owned(),
        password: PasswordHash(String::new()),
        administrator: true,
    };
    let user = store.create_user(user, at).await?;
    world.lock().history.people.user = Some(user.id);
    let tenants: Vec<(DialectName, String)> = {
        let world = world.lock();
        let tenants = world.scenario.tenants.iter();
        tenants
            .map(|one| (DialectName::new(one.dialect.name()), one.key.clone()))
            .collect()
    };
    for (dialect, key) in tenants {
        let tenant = store.tenant(dialect, key).await?;
        let id = tenant.context("a tenant is gone")?.id;
        let tokens = store.tokens(Some(id)).await?;
        let spare = tokens.iter().find(|token| token.name == "spare");
        let spare = spare.context("a token is gone")?.id;
        world.lock().history.people.names.push(Names {
            tenant: id.0,
            spare: spare.0,
        });
    }
    Ok(())
}

/// Begins the session of a request, if it is one of a browser.
pub(crate) async fn sign_in(
    world: &SharedWorld,
    store: &dyn Store,
    head: &HeaderMap,
    at: Timestamp,
) {
    let cookie = head.get(COOKIE).and_then(|value| value.to_str().ok());
    let secret = cookie.and_then(|cookie| cookie.strip_prefix("willcall_session="));
    let user = world.lock().history.people.user;
    if let (Some(secret), Some(user)) = (secret, user) {
        let session = TokenHash::of(secret);
        let begun = store.begin_session(session, user, None, None, at.plus_ms(SESSION_MS), at);
        // If that fails, whoever asks is sent to sign in, and asks again.
        begun.await.ok();
    }
}

/// Whether an answer sends whoever asked to sign in.
pub(crate) fn asks_to_sign_in(body: &[u8]) -> bool {
    body.starts_with(b"/sign-in")
}

/// Whether an answer leads to a bulk job that was begun.
pub(crate) fn is_bulk_job(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("/errands/")
}

/// A request for a page, on visit `number`.
pub(crate) fn page(number: u64, path: &str) -> Option<Request<Bytes>> {
    request(Method::GET, &secret(number), path, Bytes::new())
}

/// A form, filled in, on visit `number`.
pub(crate) fn form(number: u64, path: &str, fields: &[(&str, &str)]) -> Option<Request<Bytes>> {
    let secret = secret(number);
    let hash = TokenHash::of_parts(&[b"form", secret.as_bytes()]);
    let mut body = format!("csrf_token={}", BASE64_URL_SAFE_NO_PAD.encode(hash.0));
    for (name, value) in fields {
        write!(body, "&{name}={value}").ok()?;
    }
    request(Method::POST, &secret, path, body.into())
}

/// The secret of a session.
fn secret(number: u64) -> String {
    format!("{number:062}")
}

fn request(method: Method, secret: &str, path: &str, body: Bytes) -> Option<Request<Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "127.0.0.1")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header(COOKIE, format!("willcall_session={secret}"));
    request.body(body).ok()
}

/// The deliveries on a page of the log that are of the webhook of this number in its URL.
pub(crate) fn lines(page: &[u8], number: usize) -> Vec<Line> {
    let page = String::from_utf8_lossy(page);
    let rows = page.split("<tr ").skip(1);
    let own = format!("/w{number}/");
    let own = rows.filter(|row| row.contains(&own));
    let line = |row: &str| {
        let (_, value) = row.split_once("name=\"delivery\" value=\"")?;
        let (id, seen) = value.split('"').next()?.split_once(':')?;
        let (_, webhook) = id.rsplit_once('_')?;
        Some(Line {
            id: id.to_owned(),
            webhook: webhook.to_owned(),
            seen: seen.to_owned(),
        })
    };
    own.filter_map(line).collect()
}
