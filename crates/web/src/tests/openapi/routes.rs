//! The document and the tables of routes say the same, in both directions; and how it is served.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::answers::document;
use super::schema::resolved;
use crate::gateway::api::{QueryRule, Route};
use crate::gateway::auth::AuthScheme;
use crate::tests::harness::WEBHOOKS;
use crate::tests::harness::{Asking, TestApp, asking, bearing, every_route, token_for};

/// What is asked for without a token.
const OPEN: [&str; 5] = [
    "/.well-known/willcall/{key_set}/jwks.json",
    "/livez",
    "/metrics",
    "/openapi.json",
    "/readyz",
];

/// It is said of a whole API at once.
const FORMAT: &str = "format";

fn methods(route: &Route) -> Vec<Method> {
    let all = route.verbs.iter().map(|(method, _)| method.clone());
    let only = |method: &Method| route.only.as_ref().is_none_or(|only| only == method);
    all.filter(only).collect()
}

/// Every operation of the document, with its path and method.
fn operations() -> Vec<(&'static str, &'static str, &'static Value)> {
    let paths = document()["paths"].as_object().unwrap().iter();
    let each = paths.flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        let own = item.filter(|(key, _)| *key != "parameters");
        own.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    });
    each.collect()
}

fn operation(route: &Route, method: &Method) -> &'static Value {
    &document()["paths"][route.path][method.as_str().to_ascii_lowercase()]
}

/// The names of the parameters in this place.
fn parameters(operation: &Value, place: &str) -> BTreeSet<String> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let all = all.map(|parameter| resolved(document(), parameter));
    let own = all.filter(|parameter| parameter["in"] == place);
    own.map(|parameter| parameter["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_document_has_every_route_with_its_methods_and_nothing_else() {
    let mut there: Vec<String> = OPEN.map(|path| format!("get {path}")).into();
    for route in every_route() {
        let methods = methods(&route).into_iter();
        let words = |method: Method| format!("{} {}", method.as_str().to_lowercase(), route.path);
        there.extend(methods.map(words));
    }
    there.sort();
    let said = operations();
    let said = said
        .iter()
        .map(|(path, method, _)| format!("{method} {path}"));
    let mut said: Vec<String> = said.collect();
    said.sort();
    assert_eq!(said, there);
}

#[test]
fn the_document_has_the_parameters_that_a_route_takes_and_no_others() {
    for route in every_route() {
        for method in methods(&route) {
            let QueryRule::Only { read, write } = route.takes else {
                continue;
            };
            let taken = if method.is_safe() { read } else { write };
            // Everywhere else it says what is the case without it.
            let is_file = route.path.contains("/export");
            let taken = taken.iter().filter(|name| is_file || **name != FORMAT);
            let taken: BTreeSet<String> = taken.map(|name| (*name).to_owned()).collect();
            let said = parameters(operation(&route, &method), "query");
            assert_eq!(said, taken, "{method} {}", route.path);
        }
    }
}

#[test]
fn the_document_has_the_ways_in_which_a_token_is_taken() {
    for route in every_route() {
        let scheme = |scheme: &AuthScheme| match scheme {
            AuthScheme::Token => Some("token"),
            AuthScheme::Bearer => Some("bearer"),
            AuthScheme::Basic => Some("basic"),
            // It gets past no route.
            AuthScheme::Device => None,
        };
        let taken: BTreeSet<&str> = route.schemes.iter().filter_map(scheme).collect();
        for method in methods(&route) {
            let all = operation(&route, &method)["security"].as_array().unwrap();
            let names = all.iter().flat_map(|one| one.as_object().unwrap().keys());
            let said: BTreeSet<&str> = names.map(String::as_str).collect();
            assert_eq!(said, taken, "{method} {}", route.path);
        }
    }
}

#[test]
fn operations_have_names_of_their_own_and_every_component_is_used() {
    let names = operations()
        .into_iter()
        .map(|(_, _, operation)| &operation["operationId"]);
    let names: Vec<&str> = names.map(|name| name.as_str().unwrap()).collect();
    let different: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), different.len());
    let text = document().to_string();
    for kind in ["headers", "parameters", "responses", "schemas"] {
        for name in document()["components"][kind].as_object().unwrap().keys() {
            let pointer = format!("#/components/{kind}/{name}");
            resolved(document(), &json!({ "$ref": pointer }));
            assert!(
                text.contains(&format!("\"{pointer}\"")),
                "nobody uses {pointer}"
            );
        }
    }
}

/// A path to something that is there, on an app that `furnished` made.
fn real_path(route: &Route, guid: &str, dialect: &str, tenant: &str) -> String {
    let places = [
        ("{organizer}", "bigevents"),
        ("{event}", "democon"),
        ("{id}", "1"),
        ("{replay}", "1"),
        ("{delivery}", "dlv_1_1"),
        ("{profile}", "standard"),
        ("{name}", "X-Key"),
        ("{guid}", guid),
        ("{dialect}", dialect),
        ("{tenant}", tenant),
        ("{slug}", "democon"),
        ("{token}", "rw"),
        ("{user}", "anna"),
    ];
    let fill = |path: String, (name, value): (&str, &str)| path.replace(name, value);
    places.into_iter().fold(route.path.to_owned(), fill)
}

fn ask(route: &Route, method: &Method, path: &str) -> Asking {
    bearing(method.as_str(), path).with("Authorization", &format!("Bearer {}", token_for(route)))
}

/// An app with one of each: a webhook of either platform with a signature and a header, and a user.
async fn furnished() -> (TestApp, String) {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let guid = app.hook("order", "paid").await.guid;
    let own = [
        format!("{WEBHOOKS}1/willcall/{{}}/"),
        format!("/webhook/{guid}/willcall/{{}}"),
    ];
    for path in own {
        for (what, body) in [
            ("signatures", r#"{"profile":"standard"}"#),
            ("headers", r#"{"name":"X-Key","value":"k"}"#),
        ] {
            let add = bearing("POST", &path.replace("{}", what)).json(body);
            assert_eq!(app.ask(add).await.status, 201, "{path}");
        }
    }
    let anna = bearing("PUT", "/willcall/v1/users/anna").by("tokenadmin");
    let anna = app
        .ask(anna.json(r#"{"password":"a long enough one"}"#))
        .await;
    assert_eq!(anna.status, 201, "{}", anna.body);
    (app, guid)
}

/// The fields that a refusal says there are.
fn named_fields(answer: &Value) -> BTreeSet<String> {
    let faults = answer.get("errors").unwrap_or(answer);
    let words = faults["no_such_field"][0].as_str().unwrap_or_default();
    let (_, names) = words
        .split_once("there are")
        .unwrap_or_else(|| panic!("{answer}"));
    let names = names.trim_matches([':', ' ', '.']).split(", ");
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn the_document_has_every_field_of_a_body_that_knows_its_fields() {
    let (app, guid) = furnished().await;
    let mut count = 0;
    for route in every_route() {
        for method in methods(&route) {
            let body = &operation(&route, &method)["requestBody"];
            let schema = &body["content"]["application/json"]["schema"];
            let schema = resolved(document(), schema);
            if schema["additionalProperties"] != false {
                continue;
            }
            let mut taken = BTreeSet::new();
            for (dialect, tenant) in [
                ("pretix", "bigevents"),
                ("openticket", crate::tests::harness::COMPANY),
            ] {
                let path = real_path(&route, &guid, dialect, tenant);
                if path.contains("/events/") && dialect != "pretix" {
                    continue;
                }
                let asking = ask(&route, &method, &path).json(r#"{"no_such_field":1}"#);
                taken.extend(named_fields(&app.ask(asking).await.json()));
            }
            let said = schema["properties"].as_object().unwrap().keys();
            let said: BTreeSet<String> = said.cloned().collect();
            assert_eq!(said, taken, "{method} {}", route.path);
            count += 1;
        }
    }
    assert_eq!(count, 28);
}

#[tokio::test]
async fn the_document_says_where_an_idempotency_key_is_taken() {
    let (app, guid) = furnished().await;
    let all = every_route().into_iter().flat_map(|route| {
        let methods = methods(&route).into_iter();
        methods.map(move |method| (Arc::clone(&route), method))
    });
    let all = all.filter(|(_, method)| !method.is_safe());
    // What something is below of is deleted after it.
    let (mut gone, all): (Vec<_>, Vec<_>) = all.partition(|(_, method)| method == Method::DELETE);
    gone.reverse();
    for (index, (route, method)) in all.into_iter().chain(gone).enumerate() {
        let path = real_path(&route, &guid, "pretix", "bigevents");
        let asking = ask(&route, &method, &path).json(r#"{"no_such_field":1}"#);
        let asking = asking.with("X-Idempotency-Key", &index.to_string());
        let answer = app.ask(asking).await;
        let is_refused = answer.body.contains("X-Idempotency-Key is not taken here");
        let said = parameters(operation(&route, &method), "header");
        let is_said = said.contains("X-Idempotency-Key");
        let words = format!("{method} {}: {}", route.path, answer.body);
        assert_eq!(is_said, !is_refused, "{words}");
    }
}

#[tokio::test]
async fn the_document_is_served_without_a_token_and_may_be_kept() {
    let app = TestApp::new().await;
    let open = |method: &str| asking(method, "/openapi.json").without("Authorization");
    let got = app.ask(open("GET")).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.json(), *document());
    assert_eq!(got.json()["servers"][0]["url"], "/");
    assert_eq!(got.json()["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert_eq!(got.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(got.header("allow"), Some("GET,HEAD"));
    let tag = got.header("etag").unwrap();
    for known in [tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
        let kept = app.ask(open("GET").with("If-None-Match", known)).await;
        assert_eq!(kept.told(), (304, ""));
        assert_eq!(kept.header("etag"), Some(tag));
    }
    let other = app.ask(open("GET").with("If-None-Match", "\"x\"")).await;
    assert_eq!(other.status, 200);
    let head = app.ask(open("HEAD")).await;
    assert_eq!(head.told(), (200, ""));
    assert_eq!(
        head.header("content-length"),
        Some(got.body.len().to_string().as_str())
    );
    let posted = app.ask(open("POST")).await;
    assert_eq!(posted.status, 405);
    assert_eq!(posted.header("allow"), Some("GET,HEAD"));
    assert_eq!(posted.header("cache-control"), Some("no-store"));
    let elsewhere = app.ask(open("GET").with("Host", "evil.example.com")).await;
    assert_eq!(elsewhere.status, 400, "{}", elsewhere.body);
}
