//! Every route of every dialect authenticates its caller, checks their rights, and keeps to their
//! tenants.

use http::Method;

use super::harness::{Asking, COMPANY, TestApp, asking, every_route, token_for};
use crate::gateway::api::{Route, TenantScope};
use crate::gateway::auth::{AuthScheme, RequiredAccess};

/// A path that leads to the route, for this tenant.
pub(super) fn path_of(route: &Route, tenant: &str) -> String {
    let fill = |segment: &'static str| match segment {
        "{organizer}" => tenant.to_owned(),
        "{event}" => "democon".to_owned(),
        "{id}" | "{replay}" => "1".to_owned(),
        "{delivery}" => "dlv_1_1".to_owned(),
        "{profile}" => "standard".to_owned(),
        "{name}" => "X-Key".to_owned(),
        "{guid}" | "{invocation}" => COMPANY.to_owned(),
        "{dialect}" => "pretix".to_owned(),
        "{tenant}" => tenant.to_owned(),
        "{slug}" => "democon".to_owned(),
        "{token}" => "rw".to_owned(),
        "{user}" => "anna".to_owned(),
        other => {
            assert!(!other.starts_with('{'), "what stands for {other}?");
            other.to_owned()
        }
    };
    let segments: Vec<String> = route.path.split('/').map(fill).collect();
    segments.join("/")
}

/// A request with a token shown in the way that every route understands.
fn bearing(method: &Method, path: &str, token: &str) -> Asking {
    asking(method.as_str(), path).with("Authorization", &format!("Bearer {token}"))
}

fn methods_of(route: &Route) -> Vec<Method> {
    let mut methods: Vec<Method> = match &route.only {
        Some(only) => vec![only.clone()],
        None => route
            .verbs
            .iter()
            .map(|(method, _)| method.clone())
            .collect(),
    };
    if route.only.is_none() {
        methods.extend([Method::OPTIONS, Method::TRACE, Method::HEAD]);
    }
    methods
}

/// Every route with every method it has, and some that it may not have.
fn every() -> Vec<(Route, Method)> {
    let each = |route: std::sync::Arc<Route>| {
        let route = Route::clone(&route);
        let methods = methods_of(&route);
        methods
            .into_iter()
            .map(move |method| (route.clone(), method))
    };
    every_route().into_iter().flat_map(each).collect()
}

#[tokio::test]
async fn nobody_gets_past_a_place_without_a_token() {
    let app = TestApp::new().await;
    for (route, method) in every() {
        let path = path_of(&route, "bigevents");
        for token in [
            None,
            Some("Token unknown"),
            Some("Token tokenoff"),
            Some("Basic eDp4"),
        ] {
            let asking = asking(method.as_str(), &path).without("Authorization");
            let asking = match token {
                Some(token) => asking.with("Authorization", token),
                None => asking,
            };
            assert_eq!(app.ask(asking).await.status, 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_device_gets_past_none() {
    let app = TestApp::new().await;
    for (route, method) in every() {
        let path = path_of(&route, "bigevents");
        let asking = asking(method.as_str(), &path).with("Authorization", "Device tokendevice");
        let status = match route.schemes.contains(&AuthScheme::Device) {
            true => 403,
            false => 401,
        };
        assert_eq!(app.ask(asking).await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_without_the_right_is_turned_away() {
    let app = TestApp::new().await;
    for (route, method) in every() {
        let path = path_of(&route, "bigevents");
        let need = if method.is_safe() {
            route.read
        } else {
            route.write
        };
        let lacking: &[&str] = match need {
            RequiredAccess::Known => &[],
            RequiredAccess::Listed => &["tokennoorg"],
            RequiredAccess::Right(right) => match right.as_str() {
                "webhooks:read" => &["tokennone", "tokenintake", "tokennoorg"],
                "webhooks:write" => &["tokennone", "tokenread", "tokenintake", "tokennoorg"],
                _ => &["tokennone", "tokenread", "tokenrw", "tokennoorg"],
            },
            RequiredAccess::Everywhere(right) => match right.as_str() {
                "tenants:read" => &["tokenall", "tokenrw", "tokenother", "tokenadminold"],
                _ => &["tokenall", "tokenother", "tokenadminold", "tokenadminread"],
            },
        };
        for token in lacking {
            let answer = app.ask(bearing(&method, &path, token)).await;
            assert_eq!(answer.status, 403, "{method} {path} by {token}");
        }
    }
}

#[tokio::test]
async fn another_tenants_place_is_as_closed_as_none() {
    let app = TestApp::new().await;
    for (route, method) in every() {
        if !matches!(route.whose, TenantScope::Named(_)) {
            continue;
        }
        for tenant in [
            "othercorp",
            "nosuchorg",
            "BigEvents",
            "bigevents%00",
            "%20bigevents",
        ] {
            let path = path_of(&route, tenant);
            let answer = app.ask(asking(method.as_str(), &path)).await;
            assert_eq!(answer.status, 403, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn whoever_may_gets_through_and_hears_which_methods_there_are() {
    let app = TestApp::new().await;
    for (route, method) in every() {
        let path = path_of(&route, "bigevents");
        let answer = app.ask(bearing(&method, &path, token_for(&route))).await;
        assert_ne!(answer.status, 401, "{method} {path}");
        let closed = ["organizer", "me"].contains(&route.name);
        assert!(closed || answer.status != 403, "{method} {path}");
        assert_eq!(
            answer.header("allow"),
            Some(route.allow().as_str()),
            "{method} {path}"
        );
        let known = route
            .allow()
            .split(", ")
            .any(|allowed| allowed == method.as_str());
        assert_eq!(answer.status == 405, !known, "{method} {path}");
    }
}
