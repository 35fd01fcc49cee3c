//! Every route of every dialect says which parameters it takes, and takes no other.

use http::Method;

use super::coverage::path_of;
use super::harness::{Arrived, Asking, TestApp, asking, every_route, token_for};
use crate::gateway::api::{QueryRule, Route};

/// Places where clients are used to it that what is not known is ignored: pretix's own.
const TAKING_ANYTHING: [&str; 8] = [
    "webhooks",
    "webhook",
    "organizers",
    "organizer",
    "events",
    "event",
    "version",
    "me",
];

fn ask(method: &Method, route: &Route, query: &str) -> Asking {
    let path = format!("{}?{query}", path_of(route, "bigevents"));
    asking(method.as_str(), &path).with("Authorization", &format!("Bearer {}", token_for(route)))
}

/// One that is judged before all others must be sound.
fn value(name: &str) -> &'static str {
    match name {
        "format" => "json",
        _ => "x",
    }
}

/// The names that a refusal of parameters has, in either dialect.
fn refused(answer: &Arrived) -> Vec<String> {
    if answer.status != 400 {
        return Vec::new();
    }
    let told = answer.json();
    let faults = told.get("errors").unwrap_or(&told).as_object().cloned();
    let ours = |reasons: &serde_json::Value| {
        let words = reasons[0].as_str().unwrap_or_default();
        words.contains("no such parameter") || words.contains("given twice")
    };
    let faults = faults.unwrap_or_default().into_iter();
    faults
        .filter(|(_, reasons)| ours(reasons))
        .map(|(name, _)| name)
        .collect()
}

#[tokio::test]
async fn what_a_place_does_not_know_is_refused_by_its_name() {
    let app = TestApp::new().await;
    for route in every_route() {
        for (method, _) in &route.verbs {
            let words = format!("{method} {}", route.path);
            let answer = app.ask(ask(method, &route, "pgae=2")).await;
            match route.takes {
                QueryRule::Lenient => {
                    assert!(TAKING_ANYTHING.contains(&route.name), "{words}");
                    assert_eq!(refused(&answer), [""; 0], "{words}");
                }
                QueryRule::Only { .. } => {
                    assert_eq!(refused(&answer), ["pgae"], "{words}: {}", answer.body);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_place_knows_is_taken_once() {
    let app = TestApp::new().await;
    for route in every_route() {
        let QueryRule::Only { read, write } = route.takes else {
            continue;
        };
        for (method, _) in &route.verbs {
            let known = if method.is_safe() { read } else { write };
            for name in known {
                let words = format!("{name}: {method} {}", route.path);
                let once = app
                    .ask(ask(method, &route, &format!("{name}={}", value(name))))
                    .await;
                assert_eq!(refused(&once), [""; 0], "{words}");
                let twice = format!("{name}={0}&{name}={0}", value(name));
                let twice = app.ask(ask(method, &route, &twice)).await;
                assert_eq!(refused(&twice), [*name], "{words}: {}", twice.body);
            }
        }
    }
}

#[tokio::test]
async fn nobody_hears_of_parameters_who_may_not_ask() {
    let app = TestApp::new().await;
    for route in every_route() {
        if matches!(route.takes, QueryRule::Lenient) {
            continue;
        }
        let (method, _) = route.verbs.first().unwrap();
        let asking = ask(method, &route, "pgae=2").with("Authorization", "Bearer tokennone");
        assert_eq!(app.ask(asking).await.status, 403, "{}", route.path);
    }
}
