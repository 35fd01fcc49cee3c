//! A page of the dashboard: its method, path, required access and handler; and matching of paths.

use std::pin::Pin;

use http::Method;
use model::limits::SMALL_BODY_BYTES_MAX;
use model::users::Role;
use percent_encoding::percent_decode_str;

use super::response::{PageError, PageResponse};
use super::visit::{Params, Visit};

/// The most bytes of a form. A form with faults is shown again, and a page is below
/// `limits::PAGE_BYTES_MAX`. Two thousand shows fit.
const FORM_BYTES_MAX: usize = 48 * 1024;
const _: () = assert!(FORM_BYTES_MAX <= SMALL_BODY_BYTES_MAX);

pub(crate) type PageFuture = Pin<Box<dyn Future<Output = Result<PageResponse, PageError>> + Send>>;

/// A page, as it is registered.
pub(crate) struct PageRoute {
    /// For metrics and tests.
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    /// A segment in braces stands for any one segment.
    pub(crate) path: &'static str,
    pub(crate) needs: PageAccess,
    pub(crate) body_bytes_max: usize,
    pub(crate) show: Box<dyn Fn(Visit) -> PageFuture + Send + Sync>,
}

/// The access that a page requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageAccess {
    Nothing,
    /// Signed in.
    User,
    /// Signed in as a user, not by a portal link: these pages are about the user.
    Profile,
    /// Signed in, for every tenant.
    Administrator,
    /// Signed in, with this role or a greater one at the tenant that `{tenant}` stands for.
    Role(Role),
}

/// A page for GET.
pub(super) fn get<A>(
    name: &'static str,
    path: &'static str,
    needs: PageAccess,
    show: fn(Visit) -> A,
) -> PageRoute
where
    A: Future<Output = Result<PageResponse, PageError>> + Send + 'static,
{
    page(name, Method::GET, path, needs, show)
}

/// A handler for POST. It runs only if the form carries our CSRF token.
pub(super) fn post<A>(
    name: &'static str,
    path: &'static str,
    needs: PageAccess,
    show: fn(Visit) -> A,
) -> PageRoute
where
    A: Future<Output = Result<PageResponse, PageError>> + Send + 'static,
{
    page(name, Method::POST, path, needs, show)
}

fn page<A>(
    name: &'static str,
    method: Method,
    path: &'static str,
    needs: PageAccess,
    show: fn(Visit) -> A,
) -> PageRoute
where
    A: Future<Output = Result<PageResponse, PageError>> + Send + 'static,
{
    PageRoute {
        name,
        method,
        path,
        needs,
        body_bytes_max: FORM_BYTES_MAX,
        show: Box::new(move |visit| Box::pin(show(visit))),
    }
}

impl PageRoute {
    /// The parameters in `path`, if it matches this page.
    pub(super) fn params_of(&self, path: &str) -> Option<Params> {
        let (mut wanted, mut found) = (self.path.split('/'), path.split('/'));
        let mut params = Vec::new();
        loop {
            let (wanted, segment) = match (wanted.next(), found.next()) {
                (None, None) => return Some(params),
                (Some(wanted), Some(segment)) => (wanted, segment),
                (Some(_), None) | (None, Some(_)) => return None,
            };
            match wanted.strip_prefix('{').and_then(|w| w.strip_suffix('}')) {
                Some(param) if !segment.is_empty() => {
                    let value = percent_decode_str(segment).decode_utf8_lossy();
                    params.push((param, value.into_owned()));
                }
                None if wanted == segment => {}
                Some(_) | None => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn nothing(_: Visit) -> Result<PageResponse, PageError> {
        Err(PageError::NotFound)
    }

    #[test]
    fn a_path_leads_to_a_page_of_the_same_shape() {
        let page = get("log", "/t/{tenant}/log", PageAccess::User, nothing);
        let way = page.params_of("/t/a%20b/log").unwrap();
        assert_eq!(way, [("tenant", "a b".to_owned())]);
        for other in ["/t/1", "/t//log", "/t/1/log/", "/x/1/log", "t/1/log"] {
            assert_eq!(page.params_of(other), None, "{other}");
        }
        assert!(
            get("home", "/", PageAccess::User, nothing)
                .params_of("/")
                .is_some()
        );
    }
}
