//! Serving a page: host, page, user, rights, the form and its CSRF token, then the page itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::transport::body::Body;
use http::header::ALLOW;
use http::{HeaderValue, Method, Request, StatusCode, request};
use model::id::TenantId;
use model::refusal::Refusal;
use model::tenant::Tenant;
use model::time::Timestamp;
use model::users::{Role, User};
use tokio::time::Instant;

use super::page::{PageAccess, PageRoute};
use super::page_context::PageContext;
use super::response::{PageError, PageResponse, finished};
use super::session::{self, Cookies, FormOrigin};
use super::visit::{Params, Visit};
use super::{error_page, routes};
use crate::dialect::alerts::AlertsAbout;
use crate::tasks;
use crate::transport::body;
use crate::transport::host::{host_of, is_secure, vet_headers};
use crate::transport::query::Query;

/// The first segments of the paths of pages.
const ROOTS: [&str; 9] = [
    "", "account", "assets", "failing", "link", "sign-in", "sign-out", "t", "users",
];

/// The dashboard: its pages, and what they are given.
pub(crate) struct Dashboard {
    pages: Pages,
    context: Arc<PageContext>,
}

/// All pages there are.
pub(crate) struct Pages(Vec<Arc<PageRoute>>);

/// Whether a request is for the dashboard and not for an API.
pub(crate) fn is_for_pages(method: &Method, path: &str) -> bool {
    let root = path
        .strip_prefix('/')
        .and_then(|path| path.split('/').next());
    root.is_some_and(|root| ROOTS.contains(&root)) && (path != "/" || method.is_safe())
}

pub(crate) async fn serve(
    dashboard: Arc<Dashboard>,
    peer: Option<IpAddr>,
    request: Request<Body>,
) -> PageResponse {
    let began = Instant::now();
    let (head, body) = request.into_parts();
    let method = head.method.clone();
    let path = head.uri.path().to_owned();
    let (name, response) = answer(&dashboard, peer, head, body).await;
    let response = finished(response, &dashboard.context.frames);
    let (status, took) = (response.status(), began.elapsed());
    dashboard.context.metrics.request(name, status, took);
    // The rest is a secret that may not have been used yet.
    let path = if path.starts_with("/link/") {
        "/link/***"
    } else {
        &path
    };
    tracing::debug!(%method, path, status = status.as_u16(), ?took, "answered");
    response
}

async fn answer(
    dashboard: &Dashboard,
    peer: Option<IpAddr>,
    head: request::Parts,
    body: Body,
) -> (&'static str, PageResponse) {
    let context = Arc::clone(&dashboard.context);
    let (query, readable) = Query::of(&head.uri);
    let vetted = vet_headers(&head.headers, &head.uri, &context.hosts).and(readable);
    let (page, params, allowed) = match dashboard.pages.find(&head.method, head.uri.path()) {
        Ok((page, params)) => (Some(page), params, None),
        Err(allowed) => (None, Params::new(), allowed.header()),
    };
    let name = page.as_ref().map_or("none", |page| page.name);
    let mut visit = visit(context, head, query, params);
    visit.peer = peer;
    // For the error page, whatever becomes of the visit.
    let anonymous = visit.without_user();
    if let Err(refusal) = vetted {
        return (
            name,
            error_page::show(&anonymous, &PageError::Refused(refusal)),
        );
    }
    let work = async move {
        match page {
            Some(page) => admit(visit, &page, body).await,
            None => not_found(visit, allowed).await,
        }
    };
    let response = tasks::finish(work, || true).await;
    let response = response
        .unwrap_or_else(|| error_page::show(&anonymous, &PageError::Refused(Refusal::Internal)));
    (name, response)
}

/// The response if there is no such page, or not for this method.
async fn not_found(mut visit: Visit, allowed: Option<HeaderValue>) -> PageResponse {
    if let Err(error) = identify(&mut visit).await {
        return error_page::show(&visit, &error);
    }
    let mut response = error_page::show(&visit, &PageError::NotFound);
    if let Some(allow) = allowed {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// Checks access, then runs the page.
async fn admit(mut visit: Visit, page: &PageRoute, body: Body) -> PageResponse {
    if let Err(error) = authorize(&mut visit, page, body).await {
        return error_page::show(&visit, &error);
    }
    let without_form = visit.without_form();
    match (page.show)(visit).await {
        Ok(response) => response,
        Err(error) => error_page::show(&without_form, &error),
    }
}

/// Reads the session's user.
async fn identify(visit: &mut Visit) -> Result<(), PageError> {
    if let Some(hash) = visit.session() {
        let now = visit.context.clock.certain();
        visit.user = visit.context.signed_in(hash, now).await?;
        if visit.user.is_none() {
            visit.cookies.session = None;
        }
    }
    Ok(())
}

async fn authorize(visit: &mut Visit, page: &PageRoute, body: Body) -> Result<(), PageError> {
    identify(visit).await?;
    check_access(visit, page.needs).await?;
    if page.method != Method::POST {
        return Ok(());
    }
    // The path and the form say what to do; a filter in the query would be ignored.
    visit.query.only(&[])?;
    // Before the body is read: that of a stranger, or without a cookie, need not be.
    let csrf_token = visit.cookies.csrf_token().ok_or(PageError::NotOurs)?;
    match session::form_origin(&visit.headers, &visit.host) {
        FormOrigin::Ours => {}
        FormOrigin::Foreign => return Err(PageError::NotOurs),
        FormOrigin::Elsewhere { origin, host } => {
            tell_elsewhere(visit.now, &origin, &host);
            return Err(PageError::Elsewhere { origin, host });
        }
    }
    let body = body::read_small(&visit.headers, body, page.body_bytes_max).await?;
    visit.form = Query::read(&String::from_utf8_lossy(&body))?;
    match session::csrf_token_matches(visit.submitted_csrf_token(), &csrf_token) {
        true => Ok(()),
        false => Err(PageError::NotOurs),
    }
}

/// Logs, at most once a minute, that forms come from another host than they are sent to, which an
/// operator can mend.
fn tell_elsewhere(now: Timestamp, origin: &str, host: &str) {
    const EVERY_MS: i64 = 60_000;
    static TOLD_AT: AtomicI64 = AtomicI64::new(i64::MIN);
    let (now, told) = (now.as_millis(), TOLD_AT.load(Ordering::Relaxed));
    if told <= now && now < told.saturating_add(EVERY_MS) {
        return;
    }
    TOLD_AT.store(now, Ordering::Relaxed);
    tracing::warn!(
        origin,
        host,
        "forms of the dashboard are refused: browsers send them from another host than arrives \
         here. A proxy has to pass the host on, as with `proxy_set_header Host $http_host;`"
    );
}

async fn check_access(visit: &mut Visit, needs: PageAccess) -> Result<(), PageError> {
    if needs == PageAccess::Nothing {
        return Ok(());
    }
    let user = visit.user.clone().ok_or(PageError::SignIn)?;
    match needs {
        PageAccess::Nothing | PageAccess::User => Ok(()),
        PageAccess::Profile if !user.has_portal_session() => Ok(()),
        PageAccess::Profile => Err(PageError::NotFound),
        // A user without access need not know that it exists.
        PageAccess::Administrator if user.administrator => Ok(()),
        PageAccess::Administrator => Err(PageError::NotFound),
        PageAccess::Role(wanted) => {
            let (tenant, watched, role) = tenant_role(visit, &user).await?;
            visit.tenant_role = Some((tenant, role));
            visit.watched = watched;
            match role >= wanted {
                true => Ok(()),
                false => Err(PageError::NeedsRole(wanted)),
            }
        }
    }
}

/// The tenant that the path names. One that does not exist and one that the user may not see look
/// the same.
async fn tenant_role(
    visit: &Visit,
    user: &User,
) -> Result<(Tenant, Option<Tenant>, Role), PageError> {
    let id = TenantId(visit.id("tenant")?);
    let found = visit.ask(|store| store.tenant_settings(id)).await?;
    let tenant = found.ok_or(PageError::NotFound)?.tenant;
    let dialect = visit.context.dialects.named(&tenant.dialect);
    let Some(alerts) = dialect.and_then(|dialect| dialect.alerts) else {
        let role = user.role_at(id).ok_or(PageError::NotFound)?;
        return Ok((tenant, None, role));
    };
    let watched = match (alerts.about)(&tenant.key).ok_or(PageError::NotFound)? {
        AlertsAbout::Server => None,
        AlertsAbout::Tenant(dialect, key) => {
            let found = visit.ask(|store| store.tenant(dialect.clone(), key.clone()));
            Some(found.await?.ok_or(PageError::NotFound)?)
        }
    };
    let role = user.role_over(watched.as_ref().map(|watched| watched.id));
    Ok((tenant, watched, role.ok_or(PageError::NotFound)?))
}

fn visit(context: Arc<PageContext>, head: request::Parts, query: Query, params: Params) -> Visit {
    let now = context.clock.now();
    Visit {
        context,
        now,
        method: head.method,
        path: head.uri.path().to_owned(),
        host: host_of(&head.headers, &head.uri)
            .unwrap_or_default()
            .to_owned(),
        query,
        form: Query::default(),
        secure: is_secure(&head.headers),
        cookies: Cookies::of(&head.headers),
        headers: head.headers,
        params,
        peer: None,
        user: None,
        tenant_role: None,
        watched: None,
    }
}

/// The methods of a path, if not the one that was used.
struct AllowedMethods(Vec<Method>);

impl AllowedMethods {
    fn header(self) -> Option<HeaderValue> {
        let names: Vec<&str> = self.0.iter().map(Method::as_str).collect();
        let header = (!names.is_empty()).then(|| HeaderValue::try_from(names.join(", ")).ok());
        header.flatten()
    }
}

impl Dashboard {
    pub(crate) fn new(context: PageContext) -> Self {
        Self {
            pages: Pages::all(),
            context: Arc::new(context),
        }
    }
}

impl Pages {
    pub(crate) fn all() -> Self {
        Self(routes().into_iter().map(Arc::new).collect())
    }

    fn find(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<(Arc<PageRoute>, Params), AllowedMethods> {
        let method = match method {
            &Method::HEAD => &Method::GET,
            method => method,
        };
        let mut allowed = Vec::new();
        for page in &self.0 {
            if let Some(params) = page.params_of(path) {
                if page.method == *method {
                    return Ok((Arc::clone(page), params));
                }
                // Two pages may have this path.
                if !allowed.contains(&page.method) {
                    allowed.push(page.method.clone());
                }
            }
        }
        Err(AllowedMethods(allowed))
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<PageRoute>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_where_pages_are_looked_for() {
        for page in Pages::all().iter() {
            assert!(is_for_pages(&page.method, page.path), "{}", page.path);
        }
    }
}
