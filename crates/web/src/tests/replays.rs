//! Replays by filter: counted, begun, followed and stopped, over REST and on the dashboard.

use model::lease::Epoch;
use model::users::Role;
use serde_json::{Value, json};

use super::harness::{Asking, TestApp, asking, bearing};
use super::pages::past::{PAID, answered, refused};

const OWN: &str = "/api/v1/organizers/bigevents/willcall/replays/";

fn post(body: &Value) -> Asking {
    asking("POST", OWN).json(body.to_string())
}

/// A webhook with a delivery that was answered with 500, one that had no answer and one
/// that arrived.
async fn app() -> TestApp {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    for (code, outcome) in [
        ("A", answered(500, "")),
        ("B", refused()),
        ("C", answered(200, "")),
    ] {
        app.order(code, "democon").await;
        app.attempt(&outcome).await;
    }
    // What ends from now on is not what was counted.
    app.pass_ms(1_000);
    app
}

async fn step(app: &TestApp) {
    while app
        .store
        .step_bulk_job(Epoch::FIRST, app.now())
        .await
        .unwrap()
    {}
}

#[tokio::test]
async fn a_dry_run_says_how_many_and_changes_nothing() {
    let app = app().await;
    let counted = app.ask(post(&json!({ "dry_run": true }))).await;
    assert_eq!(counted.status, 200, "{}", counted.body);
    let none = json!({ "count": 0, "more": false });
    assert_eq!(
        counted.json(),
        json!({
            "dry_run": true,
            "count": 2,
            "more": false,
            "statuses": {
                "retrying": { "count": 2, "more": false },
                "exhausted": none,
                "cancelled": none,
            },
        })
    );
    let filter = json!({ "dry_run": true, "response": ["5xx"], "webhook": 1 });
    assert_eq!(app.ask(post(&filter)).await.json()["count"], 1);
    let filter = json!({ "dry_run": true, "response": "none", "status": "retrying" });
    assert_eq!(app.ask(post(&filter)).await.json()["count"], 1);
    let filter = json!({ "dry_run": true, "status": ["delivered"], "events": ["democon"] });
    assert_eq!(app.ask(post(&filter)).await.json()["count"], 1);
    assert_eq!(
        app.ask(asking("GET", OWN)).await.json(),
        json!({ "results": [] })
    );
    assert_eq!(app.due().await, []);
}

#[tokio::test]
async fn a_replay_is_begun_followed_and_listed_until_it_is_done() {
    let app = app().await;
    let filter = json!({ "webhook": 1, "response": [500, "none"], "action_types": PAID });
    let begun = app.ask(post(&filter)).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let begun = begun.json();
    assert_eq!(begun["state"], "running");
    assert_eq!((&begun["expected"], &begun["done"]), (&json!(2), &json!(0)));
    assert_eq!(begun["webhook"], 1);
    assert_eq!(
        begun["filter"],
        json!({
            "status": ["retrying", "exhausted", "cancelled"],
            "action_types": [PAID],
            "events": [],
            "response": ["500", "none"],
            "since": null,
            "until": null,
            "text": "",
        })
    );
    // Asked for twice, it is the same.
    assert_eq!(app.ask(post(&filter)).await.json(), begun);
    let one = format!("{OWN}{}/", begun["id"]);
    assert_eq!(app.ask(asking("GET", &one)).await.json(), begun);
    let listed = app.ask(asking("GET", OWN)).await.json();
    assert_eq!(listed, json!({ "results": [begun] }));
    step(&app).await;
    let done = app.ask(asking("GET", &one)).await.json();
    assert_eq!((&done["state"], &done["done"]), (&json!("done"), &json!(2)));
    assert_eq!(app.due().await.len(), 2);
    let listed = app.ask(asking("GET", OWN)).await.json();
    assert_eq!(listed, json!({ "results": [] }));
}

#[tokio::test]
async fn a_replay_that_is_stopped_stays_stopped() {
    let app = app().await;
    let begun = app.ask(post(&json!({}))).await.json();
    assert_eq!(begun["webhook"], Value::Null);
    let one = format!("{OWN}{}/", begun["id"]);
    let stopped = app.ask(asking("DELETE", &one)).await;
    assert_eq!(stopped.status, 200, "{}", stopped.body);
    let stopped = stopped.json();
    assert_eq!(stopped["state"], "stopped");
    let reason = stopped["reason"].as_str().unwrap();
    assert!(reason.ends_with(" stopped it."), "{reason}");
    assert_eq!(app.ask(asking("DELETE", &one)).await.json(), stopped);
    step(&app).await;
    assert_eq!(app.due().await, []);
}

#[tokio::test]
async fn every_wrong_field_of_a_filter_is_refused_by_name() {
    let app = app().await;
    let long = vec!["x"; 51];
    for (field, value) in [
        ("webhook", json!(99)),
        ("webhook", json!("1")),
        ("status", json!("pending")),
        ("status", json!(["exhausted", "odd"])),
        ("status", json!([])),
        ("action_types", json!(long)),
        ("action_types", json!([1])),
        ("events", json!({})),
        ("response", json!("6xx")),
        ("response", json!(true)),
        ("since", json!("yesterday")),
        ("until", json!(5)),
        ("text", json!("x".repeat(10_000))),
        ("dry_run", json!("yes")),
        ("actiontype", json!("x")),
    ] {
        let answer = app.ask(post(&json!({ field: value }))).await;
        assert_eq!(answer.status, 400, "{field}: {}", answer.body);
        assert!(answer.json().get(field).is_some(), "{}", answer.body);
    }
    let times = json!({ "since": "2026-01-02T00:00:00Z", "until": "2026-01-02T00:00:00Z" });
    assert!(app.ask(post(&times)).await.json().get("until").is_some());
    assert_eq!(
        app.ask(asking("GET", OWN)).await.json(),
        json!({ "results": [] })
    );
    for path in [format!("{OWN}99/"), format!("{OWN}x/")] {
        assert_eq!(app.ask(asking("GET", &path)).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn nothing_is_replayed_to_a_webhook_that_is_disabled() {
    let app = app().await;
    app.ask(asking("DELETE", "/api/v1/organizers/bigevents/webhooks/1/"))
        .await;
    for filter in [json!({ "webhook": 1 }), json!({})] {
        let refused = app.ask(post(&filter)).await;
        assert_eq!(refused.status, 409, "{}", refused.body);
        assert!(
            refused.body.contains("nothing can be sent"),
            "{}",
            refused.body
        );
    }
    let counted = app.ask(post(&json!({ "dry_run": true }))).await.json();
    assert_eq!(counted["count"], 0);
}

#[tokio::test]
async fn the_other_dialect_has_the_same_under_its_own_path_and_names() {
    let app = TestApp::new().await;
    let hook = app.hook("order", "paid").await;
    let own = "/webhook/willcall/replays";
    let body = json!({ "webhook": hook.guid, "status": "exhausted" });
    let begun = app.ask(bearing("POST", own).json(body.to_string())).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let begun = begun.json();
    assert_eq!(begun["webhook"], json!(hook.guid));
    let one = format!("{own}/{}", begun["id"]);
    assert_eq!(app.ask(bearing("GET", &one)).await.json(), begun);
    let listed = app.ask(bearing("GET", own)).await.json();
    assert_eq!(listed["results"], json!([begun]));
    let stopped = app.ask(bearing("DELETE", &one)).await.json();
    assert_eq!(stopped["state"], "stopped");
    let wrong = bearing("POST", own).json(r#"{"webhook":1}"#);
    assert_eq!(app.ask(wrong).await.status, 422);
}

#[tokio::test]
async fn all_that_a_filter_of_the_log_shows_is_replayed_after_saying_how_many() {
    let app = app().await;
    let path = format!("/t/{}", app.tenant("bigevents").await);
    let mut browser = app.browser_with(Role::Edit).await;
    let log = browser.get(&format!("{path}/log?response=5xx")).await;
    let link = format!("{path}/replay?response=5xx");
    assert!(log.body.contains(&link), "{}", log.body);
    let page = browser.get(&link).await;
    assert!(page.says("Retrying: 1"), "{}", page.words());
    assert!(!page.says("Delivered:"), "{}", page.words());
    let none = browser
        .post(&format!("{path}/replay"), &[("response", "5xx")])
        .await;
    assert_eq!(none.status, 422);
    assert!(none.says("Choose at least one status."));
    let fields = [("response", "5xx"), ("take_retrying", "on")];
    let begun = browser.post(&format!("{path}/replay"), &fields).await;
    let place = begun.header("location").unwrap().to_owned();
    let progress = browser.get(&place).await;
    assert!(progress.says("Under way: 0 deliveries replayed, of about 1."));
    assert!(progress.says("5xx"), "{}", progress.words());
    let log = browser.get(&format!("{path}/log")).await;
    assert!(log.says("Replay what a filter shows: under way"));
    step(&app).await;
    assert!(browser.get(&place).await.says("Done: 1 delivery replayed."));
    assert_eq!(app.due().await.len(), 1);
}

#[tokio::test]
async fn what_arrived_is_offered_and_taken_only_if_chosen() {
    let app = app().await;
    let path = format!("/t/{}/webhooks/1", app.tenant("bigevents").await);
    let mut browser = app.browser_with(Role::Edit).await;
    let page = browser.get(&format!("{path}/replay?")).await;
    assert!(page.says("Retrying: 2") && page.says("Delivered: 1"));
    assert!(page.body.contains("name=\"take_retrying\" checked"));
    assert!(page.body.contains("name=\"take_delivered\">"));
    let page = browser
        .get(&format!("{path}/replay?status=delivered"))
        .await;
    assert!(page.body.contains("name=\"take_delivered\" checked"));
    let pending = browser.get(&format!("{path}/replay?status=pending")).await;
    assert!(pending.says("is sent in any case"), "{}", pending.words());
    let wrong = browser.get(&format!("{path}/replay?response=x")).await;
    assert_eq!(wrong.status, 303, "the log says what is wrong");
    let odd = browser.get(&format!("{path}/replay?page=2")).await;
    assert_eq!(odd.status, 400);
    let begun = browser
        .post(&format!("{path}/replay"), &[("take_retrying", "on")])
        .await;
    let place = begun.header("location").unwrap().to_owned();
    let stopped = browser.post(&format!("{place}/stop"), &[]).await;
    assert_eq!(stopped.header("location"), Some(place.as_str()));
    assert!(browser.get(&place).await.says("Ended before its time"));
}

#[tokio::test]
async fn replays_are_begun_and_stopped_by_whoever_may_edit_and_seen_by_nobody_elsewhere() {
    let app = app().await;
    let begun = app.ask(post(&json!({}))).await.json();
    let (own, other) = (app.tenant("bigevents").await, app.tenant("othercorp").await);
    let mut looks = app.browser_with(Role::Look).await;
    assert_eq!(looks.get(&format!("/t/{own}/replay")).await.status, 403);
    let stop = format!("/t/{own}/errands/{}/stop", begun["id"]);
    assert_eq!(looks.post(&stop, &[]).await.status, 403);
    let log = looks.get(&format!("/t/{own}/log")).await;
    assert!(!log.body.contains("/replay?"));
    let user = app.user("stranger", false).await;
    app.role(user.id, other, Some(Role::Administer)).await;
    let mut stranger = app.browser_of(user.id).await;
    let stop = format!("/t/{other}/errands/{}/stop", begun["id"]);
    assert_eq!(stranger.post(&stop, &[]).await.status, 404);
    let one = format!("{OWN}{}/", begun["id"]);
    assert_eq!(app.ask(asking("GET", &one)).await.json(), begun);
}
