//! Tokens of a tenant: creating one, which is shown once, and revoking one.

use askama::Template;
use http::StatusCode;
use http::header::HOST;
use model::contract::{Conflict, StoreError};
use model::dashboard::TokenRow;
use model::limits::{NAME_BYTES_MAX, TOKEN_LETTERS};
use model::tenant::{NewToken, Permission, Permissions, Tenant, TokenHash, TokenKind};
use model::users::Role;

use super::show::{TokenView, permission_words};
use crate::dashboard::faults::Faults;
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::page::{PageAccess, PageRoute, get, post};
use crate::dashboard::response::{PageError, PageResponse, go_to, page, page_with};
use crate::dashboard::visit::Visit;
use crate::dialect::demo::DemoCall;
use crate::gateway::store::refused;

#[derive(Template)]
#[template(path = "settings/token_new.html")]
struct TokenForm {
    shell: Shell,
    path: String,
    faults: Faults,
    name: String,
    permissions: Vec<PermissionChoice>,
}

struct PermissionChoice {
    code: &'static str,
    words: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "settings/token_made.html")]
struct TokenMadePage {
    shell: Shell,
    path: String,
    name: String,
    token: String,
    example: String,
}

#[derive(Template)]
#[template(path = "settings/token_revoke.html")]
struct TokenRevokePage {
    shell: Shell,
    path: String,
    token: TokenView,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let needs = PageAccess::Role(Role::Administer);
    let revoke = "/t/{tenant}/settings/tokens/{token}/revoke";
    vec![
        get("token_new", "/t/{tenant}/settings/tokens/new", needs, ask),
        post("token_make", "/t/{tenant}/settings/tokens", needs, make),
        get("token_revoke", revoke, needs, confirm),
        post("token_revoke_post", revoke, needs, switch_off),
    ]
}

async fn ask(visit: Visit) -> Result<PageResponse, PageError> {
    visit.not_of_alerts()?;
    form(&visit, String::new(), &[], Faults::default())
}

fn form(
    visit: &Visit,
    name: String,
    chosen: &[Permission],
    faults: Faults,
) -> Result<PageResponse, PageError> {
    let choice = |permission: Permission| PermissionChoice {
        code: permission.as_str(),
        words: permission_words(permission),
        chosen: chosen.contains(&permission),
    };
    let status = match faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let form = TokenForm {
        shell: Shell::of(visit, Tab::Settings, "New token"),
        path: format!("{}/settings", path_of(visit.tenant()?)),
        faults,
        name,
        permissions: Permission::OF_TENANTS.map(choice).into(),
    };
    page_with(status, &form)
}

async fn make(visit: Visit) -> Result<PageResponse, PageError> {
    visit.not_of_alerts()?;
    let name = visit.form.get("name").unwrap_or_default().trim().to_owned();
    let chosen: Vec<Permission> = visit
        .form
        .all("permission")
        .filter_map(|code| code.parse().ok())
        .filter(|permission| Permission::OF_TENANTS.contains(permission))
        .collect();
    let mut faults = Faults::default();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let words = format!("Give it a name of 1 to {NAME_BYTES_MAX} characters on one line.");
        faults.add("name", words);
    }
    if chosen.is_empty() {
        faults.add("permission", "Choose at least one thing that it may do.");
    }
    if !faults.is_empty() {
        let name = name.chars().take(NAME_BYTES_MAX).collect();
        return form(&visit, name, &chosen, faults);
    }
    // Everything that can fail comes before the token exists: it is shown only once.
    let (tenant, dialect) = (visit.tenant()?.clone(), visit.dialect()?);
    let example = dialect.example.ok_or(PageError::NotFound)?;
    let token = visit.context.rng.alphanumeric(TOKEN_LETTERS);
    let new = NewToken {
        tenant: Some(tenant.id),
        name: name.clone(),
        hash: TokenHash::of(&token),
        kind: TokenKind::Program,
        permissions: chosen.iter().copied().collect(),
        active: true,
        default: false,
    };
    if !write_down(&visit, &new).await? {
        let fault = Faults::one("name", "There is a token of this name already.");
        return form(&visit, name, &chosen, fault);
    }
    let example = example(&tenant, tried(&new.permissions));
    let made = TokenMadePage {
        shell: Shell::of(&visit, Tab::Settings, "The new token"),
        path: format!("{}/settings", path_of(&tenant)),
        name,
        example: curl(&origin(&visit), &example, &token),
        token,
    };
    page(&made)
}

/// Whether it was created: `false` if its name is taken.
async fn write_down(visit: &Visit, new: &NewToken) -> Result<bool, PageError> {
    let (actor, now) = (visit.actor(), visit.now);
    let made = visit.try_ask(|store| store.create_token(new.clone(), actor.clone(), now));
    match made.await {
        Ok(()) => Ok(true),
        // The question may have been repeated, so the token in the way may be our own.
        Err(StoreError::Conflict(Conflict::TokenName | Conflict::TokenHash)) => {
            let hash = new.hash;
            let grants = visit.ask(|store| store.grants(hash)).await?;
            Ok(!grants.is_empty())
        }
        Err(error) => Err(refused(&error).into()),
    }
}

/// The permission that the example uses: the one most tokens are made for, if this one has it.
fn tried(permissions: &Permissions) -> Permission {
    match permissions.allow(Permission::NotificationsWrite) {
        true => Permission::NotificationsWrite,
        false => Permission::WebhooksRead,
    }
}

/// The origin of links to this server.
fn origin(visit: &Visit) -> String {
    let host = visit.headers.get(HOST).and_then(|host| host.to_str().ok());
    let scheme = if visit.secure { "https" } else { "http" };
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

/// A call as a command for a shell.
fn curl(origin: &str, call: &DemoCall, token: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let mut words = vec![
        "curl".to_owned(),
        quoted(&format!("{origin}{}", call.path)),
        format!(
            "-H {}",
            quoted(&format!("Authorization: {} {token}", call.scheme))
        ),
    ];
    if !call.body.is_empty() {
        words.push("-H 'Content-Type: application/json'".to_owned());
        words.push(format!("-d {}", quoted(&call.body)));
    }
    words.join(" \\\n  ").replacen(" \\\n ", "", 1)
}

async fn confirm(visit: Visit) -> Result<PageResponse, PageError> {
    let token = token(&visit).await?;
    let shown = TokenRevokePage {
        shell: Shell::of(&visit, Tab::Settings, "Revoke a token"),
        path: format!("{}/settings", path_of(visit.tenant()?)),
        token: TokenView::of(&token),
    };
    page(&shown)
}

async fn switch_off(visit: Visit) -> Result<PageResponse, PageError> {
    let id = token(&visit).await?.id;
    let tenant: Tenant = visit.tenant()?.clone();
    let (actor, now) = (visit.actor(), visit.now);
    let revoked = visit.ask(|store| store.revoke_token(Some(tenant.id), id, actor.clone(), now));
    match revoked.await? {
        true => Ok(go_to(&format!(
            "{}/settings?said=revoked",
            path_of(&tenant)
        ))),
        false => Err(PageError::NotFound),
    }
}

/// The token that the path names, if it is the tenant's.
async fn token(visit: &Visit) -> Result<TokenRow, PageError> {
    let (tenant, id) = (visit.tenant()?.id, visit.id("token")?);
    let tokens = visit.ask(|store| store.tokens(Some(tenant))).await?;
    let found = tokens.into_iter().find(|token| token.id.0 == id);
    found.ok_or(PageError::NotFound)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn an_example_can_be_pasted_into_a_shell_whatever_it_holds() {
        let call = DemoCall {
            method: Method::POST,
            path: "/a/o'brien/".to_owned(),
            scheme: "Token",
            body: r#"{"a": "it's"}"#.to_owned(),
        };
        assert_eq!(
            curl("http://localhost", &call, "abc"),
            "curl 'http://localhost/a/o'\\''brien/' \\\n  -H 'Authorization: Token abc' \\\n  \
             -H 'Content-Type: application/json' \\\n  -d '{\"a\": \"it'\\''s\"}'"
        );
    }
}
