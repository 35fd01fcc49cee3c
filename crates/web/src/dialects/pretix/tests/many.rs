//! Webhooks that name very many shows: how many may be named, wherever a webhook is written, and
//! what becomes of one that has more already.

use std::collections::BTreeSet;

use model::id::WebhookId;
use model::limits::SHOWS_NAMED_MAX;
use model::query::Declaration;
use model::rng::SeededRng;
use model::tenant::{DialectName, Event};
use model::users::Role;
use model::webhook::Webhook;
use serde_json::{Value, json};

use super::super::action_types::ActionTypes;
use crate::dialects::{DialectOptions, KnownEvents, all};
use crate::tests::harness::{TestApp, WEBHOOKS, asking};

const PAID: &str = "pretix.event.order.paid";

fn slugs(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s{n}")).collect()
}

/// An app whose organizer has so many shows more.
async fn house_of(count: usize) -> TestApp {
    let app = TestApp::new().await;
    let event = |slug: String| Event {
        name: slug.clone(),
        slug,
        date_from: None,
    };
    let declaration = Declaration {
        dialect: DialectName::new("pretix"),
        key: "bigevents".to_owned(),
        name: Some("Big Events".to_owned()),
        events: slugs(count).into_iter().map(event).collect(),
        tokens: Vec::new(),
        webhooks: Vec::new(),
    };
    let applied = app
        .store
        .apply(vec![declaration], "test".to_owned(), app.now());
    applied.await.unwrap();
    app
}

fn limited_to(slugs: &[String]) -> String {
    json!({"target_url": "https://example.org/", "limit_events": slugs, "action_types": [PAID]})
        .to_string()
}

async fn stored(app: &TestApp) -> Webhook {
    let tenant = app.tenant("bigevents").await;
    let found = app.store.webhook(tenant, WebhookId(1)).await;
    found.unwrap().unwrap()
}

/// Gives the first webhook these shows as if they had always been allowed.
async fn leave_with(app: &TestApp, slugs: &[String]) {
    let mut settings: Value = serde_json::from_str(&stored(app).await.settings).unwrap();
    settings["all_events"] = json!(false);
    settings["limit_events"] = json!(slugs);
    let odd = Webhook {
        settings: settings.to_string(),
        ..stored(app).await
    };
    let saved = app.store.save_webhook(odd, "test".to_owned(), app.now());
    saved.await.unwrap();
}

#[tokio::test]
async fn a_webhook_names_as_many_shows_as_there_may_be_and_not_one_more() {
    let app = house_of(SHOWS_NAMED_MAX + 1).await;
    let mut named = slugs(SHOWS_NAMED_MAX);
    // Naming one again makes it no more.
    named.push("s0".to_owned());
    let create = asking("POST", WEBHOOKS).json(limited_to(&named));
    assert_eq!(app.ask(create).await.status, 201);
    let one = format!("{WEBHOOKS}1/");
    let more = limited_to(&slugs(SHOWS_NAMED_MAX + 1));
    let words = r#"{"limit_events":["Ensure this field has no more than 2000 elements."]}"#;
    for (method, path) in [("POST", WEBHOOKS), ("PUT", &one), ("PATCH", &one)] {
        let refused = app.ask(asking(method, path).json(&*more)).await;
        assert_eq!(refused.told(), (400, words), "{method}");
    }
    let shown = app.ask(asking("GET", &one)).await.json();
    let shown = shown["limit_events"].as_array().unwrap().len();
    assert_eq!(shown, SHOWS_NAMED_MAX);
}

#[tokio::test]
async fn shows_times_action_types_have_a_bound_and_a_webhook_beyond_it_may_stay_but_not_grow() {
    let app = house_of(1_001).await;
    let action_types = ActionTypes::with(&[]);
    let types: Vec<&str> = action_types
        .iter()
        .map(|kind| &*kind.key)
        .take(10)
        .collect();
    let body = |shows: usize| {
        let slugs = slugs(shows);
        json!({"target_url": "https://example.org/", "limit_events": slugs, "action_types": types})
    };
    let create = asking("POST", WEBHOOKS).json(body(1_000).to_string());
    assert_eq!(app.ask(create).await.status, 201);
    let one = format!("{WEBHOOKS}1/");
    let words = "{\"limit_events\":[\"At most 1000 shows can be named together with 10 action \
                 types: name fewer of either, or all shows.\"]}";
    let more = body(1_001).to_string();
    for (method, path) in [("POST", WEBHOOKS), ("PUT", &one), ("PATCH", &one)] {
        let refused = app.ask(asking(method, path).json(&*more)).await;
        assert_eq!(refused.told(), (400, words), "{method}");
    }
    leave_with(&app, &slugs(1_001)).await;
    let patch = |body: Value| asking("PATCH", &one).json(body.to_string());
    let named = app
        .ask(patch(json!({"comment": "x", "enabled": false})))
        .await;
    assert_eq!(
        named.json()["limit_events"].as_array().unwrap().len(),
        1_001
    );
    let types = action_types.iter().map(|kind| &*kind.key);
    let types: Vec<&str> = types.take(11).collect();
    let grown = app.ask(patch(json!({"action_types": types}))).await;
    let words = "At most 910 shows can be named together with 11 action types";
    assert!(
        grown.status == 400 && grown.body.contains(words),
        "{}",
        grown.body
    );
}

#[tokio::test]
async fn a_webhook_that_names_more_already_is_read_and_changed_in_everything_else() {
    let app = house_of(SHOWS_NAMED_MAX + 1).await;
    app.webhook(&[PAID]).await;
    let named = slugs(SHOWS_NAMED_MAX + 1);
    leave_with(&app, &named).await;
    let one = format!("{WEBHOOKS}1/");
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    let keeps = |shown: &Value| {
        let shown = shown["limit_events"].as_array().unwrap().iter();
        assert_eq!(
            shown.filter_map(Value::as_str).collect::<BTreeSet<_>>(),
            named
        );
    };
    keeps(&app.ask(asking("GET", &one)).await.json());
    let patch = asking("PATCH", &one).json(r#"{"comment":"x"}"#);
    let patched = app.ask(patch).await.json();
    assert_eq!(patched["comment"], "x");
    keeps(&patched);
}

#[tokio::test]
async fn the_form_takes_as_many_shows_as_the_resource_and_leaves_a_webhook_what_it_has() {
    let app = house_of(SHOWS_NAMED_MAX + 2).await;
    app.webhook(&[PAID]).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = format!("/t/{}/webhooks", app.tenant("bigevents").await);
    let mut send = async |count: usize, path: &str| {
        let more = slugs(count).join("\n");
        let version = stored(&app).await.version.to_string();
        let fields = [
            ("target_url", "https://example.org/"),
            ("action_types", PAID),
            ("all_events", "some"),
            ("more_events", &*more),
            ("version", &*version),
        ];
        edit.post(path, &fields).await
    };
    let new = format!("{below}/new");
    let refused = send(SHOWS_NAMED_MAX + 1, &new).await;
    assert!(refused.says("Choose 2000 shows at most, or all shows."));
    assert_eq!(send(SHOWS_NAMED_MAX, &new).await.leads_to().0, 303);
    leave_with(&app, &slugs(SHOWS_NAMED_MAX + 1)).await;
    let path = format!("{below}/1/edit");
    let saved = send(SHOWS_NAMED_MAX + 1, &path).await;
    assert_eq!(saved.leads_to(), (303, &*format!("{below}/1?said=saved")));
    let refused = send(SHOWS_NAMED_MAX + 2, &path).await;
    assert!(refused.says("Choose 2001 shows at most, or all shows."));
}

#[test]
fn an_operators_file_names_no_more_shows_than_the_resource_takes() {
    let key = (DialectName::new("pretix"), "bigevents".to_owned());
    let stored = slugs(SHOWS_NAMED_MAX + 1).into_iter().collect();
    let known = KnownEvents::from([(key, stored)]);
    let declare = |count: usize| {
        let named = json!(slugs(count));
        let text = format!(
            "[[organizer]]\nslug = \"bigevents\"\n[[organizer.webhook]]\n\
             target_url = \"https://example.org/\"\nlimit_events = {named}\naction_types = []\n"
        );
        let mut rng = SeededRng::from_seed([3; 32]);
        let declared = all(&DialectOptions::default()).declare(&text, &known, &mut rng);
        declared
            .map(drop)
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    };
    assert_eq!(declare(SHOWS_NAMED_MAX), Ok(()));
    let mistake = "line 5, organizer.webhook.limit_events: Ensure this field has no more than \
                   2000 elements.";
    assert_eq!(declare(SHOWS_NAMED_MAX + 1), Err(vec![mistake.to_owned()]));
}
