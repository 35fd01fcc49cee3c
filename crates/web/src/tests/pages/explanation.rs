//! Why (not)? The list of notifications, and of each of them every webhook with the rule that
//! decided, as it stood then.

use model::users::Role;
use serde_json::json;

use super::browser::Browser;
use crate::tests::harness::{Arrived, INTAKE, TestApp, WEBHOOKS, asking, bearing};

async fn hand_in(app: &TestApp, id: i64, event: &str, action: &str) {
    let body =
        format!(r#"{{"notification_id":{id},"event":"{event}","action":"{action}","code":"A"}}"#);
    let answer = app.ask(asking("POST", INTAKE).json(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

async fn create(app: &TestApp, fields: serde_json::Value) {
    let answer = app
        .ask(asking("POST", WEBHOOKS).json(fields.to_string()))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

/// What the table says of each webhook, in their order.
fn told(page: &Arrived) -> Vec<String> {
    let (_, table) = page.body.split_once("<table").unwrap();
    let (table, _) = table.split_once("</table>").unwrap();
    let rows = table.split("<tr>").skip(2);
    let row = |row: &str| {
        let row = Arrived {
            body: row.to_owned(),
            ..page.clone()
        };
        row.words()
    };
    rows.map(row).collect()
}

async fn look<'h>(app: &'h TestApp) -> (Browser<'h>, String) {
    let path = format!("/t/{}/notifications", app.tenant("bigevents").await);
    (app.browser_with(Role::Look).await, path)
}

#[tokio::test]
async fn every_webhook_is_listed_with_the_rule_that_decided() {
    let app = TestApp::new().await;
    let paid = json!(["pretix.event.order.paid"]);
    let webhook = |types: &serde_json::Value, shows: serde_json::Value, comment: &str| {
        json!({"target_url": "https://u:secret@example.org/", "action_types": types,
            "limit_events": shows, "comment": comment})
    };
    create(&app, webhook(&paid, json!([]), "Got it")).await;
    create(
        &app,
        webhook(&json!(["pretix.event.checkin"]), json!([]), "Other type"),
    )
    .await;
    create(&app, webhook(&paid, json!(["secondcon"]), "Other show")).await;
    let mut off = webhook(&paid, json!([]), "Off");
    off["enabled"] = json!(false);
    create(&app, off).await;
    create(&app, webhook(&paid, json!(["democon"]), "Changed later")).await;
    app.pass_ms(1_000);
    hand_in(&app, 77, "democon", "pretix.event.order.paid").await;
    app.pass_ms(1_000);
    create(&app, webhook(&paid, json!([]), "Made later")).await;
    let change = json!({"action_types": ["pretix.event.checkin"]});
    let change = asking("PATCH", &format!("{WEBHOOKS}5/")).json(change.to_string());
    assert_eq!(app.ask(change).await.status, 200);
    let (mut look, path) = look(&app).await;
    let page = look.get(&format!("{path}/1")).await;
    let rows = told(&page);
    assert_eq!(rows.len(), 6, "{rows:?}");
    for (row, words) in rows.iter().zip([
        "Got it https://***@example.org/ Yes. Waiting It asks for pretix.event.order.paid, for \
         all shows.",
        "Other type https://***@example.org/ No Other action type: pretix.event.order.paid is \
         not among those it asks for.",
        "Other show https://***@example.org/ No Other show: this is about democon, and the \
         webhook is limited to secondcon.",
        "Off https://***@example.org/ No Disabled: somebody had disabled it 2026-11-20 \
         18:00:00 UTC . Had it been enabled: It asks for pretix.event.order.paid, for all shows.",
        "Changed later https://***@example.org/ Yes. Waiting It asks for \
         pretix.event.order.paid, for the show democon. It was changed since then.",
        "Made later https://***@example.org/ No Made later: it was created 2026-11-20 18:00:02 \
         UTC .",
    ]) {
        assert_eq!(row, words);
    }
    assert!(!page.body.contains("secret"));
    assert!(page.says("2 webhooks") && page.says("&#34;code&#34;: &#34;A&#34;"));
}

#[tokio::test]
async fn a_test_says_that_it_was_for_another() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let tenant = app.tenant("bigevents").await;
    let mut root = app.administrator().await;
    let kind = [("kind", "pretix.event.order.paid")];
    root.post(&format!("/t/{tenant}/webhooks/1/test"), &kind)
        .await;
    let rows = told(&root.get(&format!("/t/{tenant}/notifications/1")).await);
    assert!(rows[0].ends_with("Yes. Waiting A test of this webhook: it went to this one only."));
    assert!(rows[1].ends_with("No A test of another webhook: it went to that one only."));
    let list = root.get(&format!("/t/{tenant}/notifications")).await;
    assert!(list.says("pretix.event.order.paid Test"));
}

#[tokio::test]
async fn a_companys_rules_are_named_too() {
    let app = TestApp::new().await;
    let (event, other) = (
        "3f6b8f8e-0d7c-4e62-9d5b-7f1d8a6e5c13",
        "5f0f6b1e-2c1d-4d0e-9a51-7a8c0e6f1b20",
    );
    for (trigger, identifier, related) in [
        ("paid", "", true),
        ("paid", "", false),
        ("paid", other, true),
        ("create", "", true),
    ] {
        let body = json!({
            "name": format!("{trigger} {related}"), "url": "https://example.org/",
            "resource": "event", "trigger": trigger, "identifier": identifier,
            "triggered_by_child_resources": related,
        });
        let made = app
            .ask(bearing("POST", "/webhook").json(body.to_string()))
            .await;
        assert_eq!(made.status, 201);
    }
    let report = json!({
        "id": "mine-1", "resource": "order", "trigger": "paid",
        "guid": "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10",
        "related": [{"resource": "event", "guid": event}], "data": {"price": 1.50},
    });
    let taken = app
        .ask(bearing("POST", "/trigger").json(report.to_string()))
        .await;
    assert_eq!(taken.json()["invocations"], 1);
    let mut root = app.administrator().await;
    let below = format!("/t/{}/notifications", app.company().await);
    let found = root.get(&format!("{below}?key=mine-1")).await;
    assert_eq!(found.leads_to(), (303, &*format!("{below}/1")));
    let rows = told(&root.get(&format!("{below}/1")).await);
    for (row, words) in rows.iter().zip([
        "It is triggered by related resources: an order is paid",
        "No child switch: an order is paid",
        "Other identifier: it is limited to 5f0f6b1e",
        "Other trigger: it waits for &#34;create&#34;",
    ]) {
        assert!(row.contains(words), "{row}");
    }
    assert_eq!(rows.len(), 4);
}

#[tokio::test]
async fn notifications_are_listed_newest_first_and_those_nobody_got_are_found() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    for id in 1..=60 {
        let action = if id % 2 == 0 {
            "order.paid"
        } else {
            "order.expired"
        };
        hand_in(&app, id, "democon", &format!("pretix.event.{action}")).await;
    }
    let (mut look, path) = look(&app).await;
    let page = look.get(&path).await;
    assert!(page.body.len() < 100 * 1_024);
    assert_eq!(page.body.matches("<tr>").count(), 51);
    let first = told(&page);
    assert!(
        first[0].contains("order.paid democon 60 1 webhook"),
        "{first:?}"
    );
    assert!(
        first[1].contains("order.expired democon 59 No webhook"),
        "{first:?}"
    );
    let older = look.get(&format!("{path}?before=11")).await;
    assert_eq!(told(&older).len(), 10);
    assert!(page.body.contains(&format!("href=\"{path}?before=11\"")));
    let unwanted = look.get(&format!("{path}?unwanted=1")).await;
    let rows = told(&unwanted);
    assert_eq!(rows.len(), 30);
    assert!(rows.iter().all(|row| row.ends_with("No webhook")));
    let missed = look.get(&format!("{path}?key=%3Cb%3E")).await;
    assert!(missed.says("There is no notification with the key &#60;b&#62;"));
    assert_eq!(
        look.get(&format!("{path}?key={}", "9".repeat(5_000)))
            .await
            .status,
        200
    );
    assert_eq!(look.get(&format!("{path}?before=x")).await.status, 200);
}

#[tokio::test]
async fn anothers_notification_is_as_good_as_none() {
    let app = TestApp::new().await;
    hand_in(&app, 5, "democon", "pretix.event.order.paid").await;
    let mut root = app.administrator().await;
    let own = app.tenant("bigevents").await;
    for other in [app.tenant("othercorp").await, app.company().await] {
        for path in ["1", "1/body", "2", "x", "-1", "99999999999999999999"] {
            let answer = root.get(&format!("/t/{other}/notifications/{path}")).await;
            assert_eq!(answer.status, 404, "{path}");
        }
        let list = root.get(&format!("/t/{other}/notifications?key=5")).await;
        assert!(list.says("There is no notification with the key 5"));
    }
    let body = root.get(&format!("/t/{own}/notifications/1/body")).await;
    assert_eq!(
        body.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(
        body.header("content-disposition")
            .unwrap()
            .starts_with("attachment")
    );
    assert!(body.body.starts_with("{\"notification_id\": 5"));
}

#[tokio::test]
async fn a_page_of_very_many_webhooks_and_a_large_body_stays_small() {
    let app = TestApp::new().await;
    let comment = "é<".repeat(120);
    for _ in 0..60 {
        let long = format!("https://example.org/{}", "a".repeat(900));
        let fields = json!({"target_url": long, "limit_events": [], "comment": comment,
            "action_types": ["pretix.event.checkin"]});
        create(&app, fields).await;
    }
    let body = format!(
        r#"{{"event":"democon","action":"pretix.event.order.paid","code":"A","more":[{}1]}}"#,
        "1,".repeat(60_000)
    );
    assert_eq!(app.ask(asking("POST", INTAKE).json(body)).await.status, 201);
    let (mut look, path) = look(&app).await;
    let page = look.get(&format!("{path}/1")).await;
    assert!(page.body.len() < 100 * 1_024, "{} bytes", page.body.len());
    assert_eq!(told(&page).len(), 50);
    assert!(page.body.contains(&format!("href=\"{path}/1?after=50\"")));
    assert_eq!(
        told(&look.get(&format!("{path}/1?after=50")).await).len(),
        10
    );
}

#[tokio::test]
async fn the_list_says_what_to_do_about_types_that_no_webhook_can_ask_for() {
    let app = TestApp::new().await;
    hand_in(&app, 1, "democon", "pretix.event.order.paid").await;
    let (mut browser, path) = look(&app).await;
    assert!(!browser.get(&path).await.says("No webhook can ask for some"));
    for id in 2..=4 {
        hand_in(&app, id, "democon", "order.paid").await;
    }
    let page = browser.get(&path).await;
    assert!(
        page.says("No webhook can ask for some of these"),
        "{}",
        page.words()
    );
    assert_eq!(
        page.body
            .matches("<li>No webhook can ask for the action")
            .count(),
        1
    );
    assert!(page.says("have the operator of this server register the type"));
}
