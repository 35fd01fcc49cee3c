//! The table of routes for administrators.

use std::sync::{Arc, OnceLock};

use http::Method;
use model::limits::REQUEST_BODY_BYTES_MAX;
use model::tenant::Permission;

use super::context::Admin;
use super::page::{AFTER, LIMIT};
use super::{events, portal_links, roles, tenants, tokens, users};
use crate::gateway::api::{Handler, QueryRule, Route, TenantScope, handler};
use crate::gateway::auth::{AuthScheme, RequiredAccess};

const TOKENS: &[AuthScheme] = &[AuthScheme::Token, AuthScheme::Bearer];

const OF_LISTS: QueryRule = QueryRule::Only {
    read: &[AFTER, LIMIT],
    write: &[],
};

pub(super) fn all(admin: &Arc<Admin>) -> Vec<Route> {
    let mut routes = of_tenants(admin);
    routes.extend(of_events(admin));
    routes.extend(of_tokens(admin));
    routes.extend(of_people(admin));
    routes.extend(of_users(admin));
    routes
}

fn of_tenants(admin: &Arc<Admin>) -> Vec<Route> {
    let list = Route {
        takes: QueryRule::Only {
            read: &[AFTER, LIMIT, tenants::TEXT],
            write: &[],
        },
        ..route(
            "tenants",
            "/willcall/v1/tenants",
            "tenant",
            vec![(Method::GET, handler(admin, tenants::list_tenants))],
        )
    };
    let one = route(
        "tenant",
        "/willcall/v1/tenants/{dialect}/{tenant}",
        "tenant",
        vec![
            (Method::GET, handler(admin, tenants::show_tenant)),
            (Method::PUT, handler(admin, tenants::put_tenant)),
        ],
    );
    vec![list, one]
}

fn of_events(admin: &Arc<Admin>) -> Vec<Route> {
    let list = Route {
        takes: OF_LISTS,
        ..route(
            "tenant_events",
            "/willcall/v1/tenants/{dialect}/{tenant}/events",
            "show",
            vec![(Method::GET, handler(admin, events::list_events))],
        )
    };
    let one = route(
        "tenant_event",
        "/willcall/v1/tenants/{dialect}/{tenant}/events/{slug}",
        "show",
        vec![
            (Method::GET, handler(admin, events::show_event)),
            (Method::PUT, handler(admin, events::put_event)),
        ],
    );
    vec![list, one]
}

fn of_tokens(admin: &Arc<Admin>) -> Vec<Route> {
    let list = |name, path| Route {
        takes: OF_LISTS,
        ..route(
            name,
            path,
            "token",
            vec![(Method::GET, handler(admin, tokens::list_tokens))],
        )
    };
    let show = || (Method::GET, handler(admin, tokens::show_token));
    let revoke = || (Method::DELETE, handler(admin, tokens::revoke_token));
    let put = (Method::PUT, handler(admin, tokens::put_token));
    vec![
        list(
            "tenant_tokens",
            "/willcall/v1/tenants/{dialect}/{tenant}/tokens",
        ),
        route(
            "tenant_token",
            "/willcall/v1/tenants/{dialect}/{tenant}/tokens/{token}",
            "token",
            vec![show(), put, revoke()],
        ),
        list("administrators_tokens", "/willcall/v1/tokens"),
        route(
            "administrators_token",
            "/willcall/v1/tokens/{token}",
            "token",
            vec![show(), revoke()],
        ),
    ]
}

fn of_people(admin: &Arc<Admin>) -> Vec<Route> {
    let list = Route {
        takes: OF_LISTS,
        ..route(
            "roles",
            "/willcall/v1/tenants/{dialect}/{tenant}/roles",
            "role",
            vec![(Method::GET, handler(admin, roles::list_roles))],
        )
    };
    let one = route(
        "role",
        "/willcall/v1/tenants/{dialect}/{tenant}/roles/{user}",
        "user with a role",
        vec![
            (Method::GET, handler(admin, roles::show_role)),
            (Method::PUT, handler(admin, roles::put_role)),
            (Method::DELETE, handler(admin, roles::remove_role)),
        ],
    );
    let portal = route(
        "portal_links",
        "/willcall/v1/tenants/{dialect}/{tenant}/portal_links",
        "portal link",
        vec![
            (Method::POST, handler(admin, portal_links::make_portal_link)),
            (Method::DELETE, handler(admin, portal_links::end_portal)),
        ],
    );
    vec![list, one, portal]
}

fn of_users(admin: &Arc<Admin>) -> Vec<Route> {
    let list = Route {
        takes: OF_LISTS,
        ..route(
            "users_list",
            "/willcall/v1/users",
            "user",
            vec![(Method::GET, handler(admin, users::list_users))],
        )
    };
    let one = route(
        "users_user",
        "/willcall/v1/users/{user}",
        "user",
        vec![
            (Method::GET, handler(admin, users::show_user)),
            (Method::PUT, handler(admin, users::put_user)),
        ],
    );
    let links = route(
        "sign_in_links",
        "/willcall/v1/users/{user}/sign_in_links",
        "user",
        vec![(Method::POST, handler(admin, users::make_link))],
    );
    vec![list, one, links]
}

/// A route for administrators' tokens.
fn route(
    name: &'static str,
    path: &'static str,
    object: &'static str,
    verbs: Vec<(Method, Handler)>,
) -> Route {
    Route {
        name,
        title: "",
        object,
        path,
        // A tenant is named by its dialect and key together, so handlers look it up.
        whose: TenantScope::Nobodys,
        suffixed: false,
        only: None,
        schemes: TOKENS,
        read: RequiredAccess::Everywhere(Permission::TenantsRead),
        write: RequiredAccess::Everywhere(Permission::TenantsWrite),
        takes: QueryRule::Only {
            read: &[],
            write: &[],
        },
        body_bytes_max: REQUEST_BODY_BYTES_MAX,
        verbs,
        compiled: OnceLock::new(),
    }
}
