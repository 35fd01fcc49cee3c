//! Alerts: who is told of what, and the pages of those who are.

use model::attempt::{BodyEnd, HttpResponse, Outcome};
use model::dashboard::NotificationQuery;
use model::delivery::DeliveryState;
use model::id::TenantId;
use model::notification::Notification;
use model::rng::SeededRng;
use model::users::Role;
use model::webhook::Headers;
use serde_json::Value;

use super::browser::Browser;
use super::overview::{answered, no_connection, settle};
use crate::dialects::{DialectOptions, KnownEvents, all};
use crate::tests::harness::{INTAKE, TestApp, asking};

const MINUTE: i64 = 60_000;

fn with_mail() -> DialectOptions {
    DialectOptions {
        mail: true,
        ..DialectOptions::default()
    }
}

/// The path of the pages of those who are told of the tenant.
async fn audience(browser: &mut Browser<'_>, tenant: TenantId) -> String {
    let made = browser
        .post(&format!("/t/{tenant}/settings/alerts"), &[])
        .await;
    let (status, path) = made.leads_to();
    assert_eq!(status, 303);
    path.to_owned()
}

fn id_in(path: &str) -> TenantId {
    TenantId(path.trim_start_matches("/t/").parse().unwrap())
}

async fn add(browser: &mut Browser<'_>, path: &str, format: &str, to: &str, alerts: &[&str]) {
    let mut fields = vec![("name", "Night shift"), ("format", format), ("to", to)];
    fields.extend(alerts.iter().map(|alert| ("alerts", *alert)));
    let made = browser.post(&format!("{path}/webhooks/new"), &fields).await;
    assert_eq!(made.leads_to().0, 303, "{}", made.words());
}

/// What was handed in for an audience, the newest first.
async fn told(app: &TestApp, audience: TenantId) -> Vec<Notification> {
    let query = NotificationQuery {
        unwanted: false,
        older_than: None,
        limit: 20,
    };
    let rows = app.store.notifications(audience, query).await.unwrap();
    let mut found = Vec::new();
    for row in rows {
        let own = app
            .store
            .notification(audience, row.id)
            .await
            .unwrap()
            .unwrap();
        assert!(row.delivery_count > 0, "{}", row.key);
        found.push(Notification {
            id: own.id,
            key: own.key,
            action_type: own.action_type,
            event: own.event,
            accepted_at: own.accepted_at,
            headers: own.headers,
            body: own.body,
        });
    }
    found
}

const KINDS: [&str; 3] = [
    "willcall.webhook.failing",
    "willcall.webhook.recovered",
    "willcall.webhook.disabled",
];

#[tokio::test]
async fn an_outage_is_told_to_those_of_the_tenant_and_of_the_server_in_the_form_that_they_want() {
    let app = TestApp::with(with_mail()).await;
    let tenant = app.tenant("bigevents").await;
    let webhook = app.webhook(&["pretix.event.order.paid"]).await;
    let mut root = app.administrator().await;
    let own = audience(&mut root, tenant).await;
    add(&mut root, &own, "mail", "ops@example.org", &KINDS).await;
    add(
        &mut root,
        &own,
        "chat",
        "https://chat.example.org/in",
        &KINDS,
    )
    .await;
    let made = root.post("/failing/alerts", &[]).await;
    let server = made.leads_to().1.to_owned();
    add(
        &mut root,
        &server,
        "json",
        "https://example.org/alerts",
        &KINDS,
    )
    .await;
    let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
    app.ask(asking("POST", INTAKE).json(body)).await;
    settle(&app, no_connection(), DeliveryState::Pending).await;
    assert_eq!(app.site.look().await, 0, "it may be over in a moment");
    app.pass_ms(6 * MINUTE);
    assert_eq!(app.site.look().await, 3);
    assert_eq!(app.site.look().await, 0, "nobody is told twice");

    let mut mail = told(&app, id_in(&own)).await;
    assert_eq!(mail.len(), 2);
    let chat = mail.iter().position(|own| own.headers.is_empty()).unwrap();
    let chat: Value = serde_json::from_slice(&mail.remove(chat).body).unwrap();
    let text = chat["text"].as_str().unwrap();
    let subject = mail[0].headers.get("Subject").unwrap();
    let subject = String::from_utf8(subject.to_vec()).unwrap();
    let name = format!("\u{201c}Webhook {webhook}\u{201d}");
    assert_eq!(subject, format!("{name} began failing (Big Events)"));
    assert_eq!(mail[0].body, text.as_bytes());
    for part in [
        "Every call has failed since 2026-11-20 18:00 UTC.",
        "Last call: No connection to the receiver came about: refused.",
        "Waiting: 1, the oldest from 2026-11-20 18:00 UTC.",
        "The oldest is given up at about 2026-11-23 18:00 UTC.",
        &format!("https://hooks.example.org/t/{tenant}/webhooks/{webhook}"),
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json: Value = serde_json::from_slice(&told(&app, id_in(&server)).await[0].body).unwrap();
    assert_eq!(json["type"], "willcall.webhook.failing");
    assert_eq!(json["webhooks"][0]["id"], webhook.0);
    assert_eq!(json["webhooks"][0]["tenant"]["key"], "bigevents");

    settle_first_of(&app, tenant).await;
    assert_eq!(app.site.look().await, 0, "it may fail again in a moment");
    app.pass_ms(11 * MINUTE);
    assert_eq!(app.site.look().await, 3);
    let last = told(&app, id_in(&server)).await.remove(0);
    assert_eq!(last.action_type, "willcall.webhook.recovered");
}

/// The tenant's delivery succeeds; those of alerts wait.
async fn settle_first_of(app: &TestApp, tenant: TenantId) {
    app.pass_ms(1_000);
    let due = app.due().await;
    let webhooks = app.store.find_webhooks(
        tenant,
        model::dashboard::WebhookSearch {
            text: String::new(),
            older_than: None,
            limit: 9,
        },
    );
    let own = webhooks.await.unwrap().webhooks[0].id;
    assert_eq!(due[0].delivery.id.webhook, own, "it is the oldest");
    settle(app, answered(), DeliveryState::Delivered).await;
}

#[tokio::test]
async fn an_alert_has_what_the_receiver_said_on_one_line() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let mut root = app.administrator().await;
    let own = audience(&mut root, tenant).await;
    add(&mut root, &own, "json", "https://example.org/", &KINDS).await;
    let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
    app.ask(asking("POST", INTAKE).json(body)).await;
    let answer = HttpResponse {
        status: 302,
        headers: Headers::from_pairs([("location", b"https://new.example.org/".as_slice())]),
        body: format!("moved\r\n{}", "x".repeat(500)).into(),
        body_end: BodyEnd::Whole,
        note: None,
    };
    settle(&app, Outcome::Answered(answer), DeliveryState::Pending).await;
    app.pass_ms(6 * MINUTE);
    assert_eq!(app.site.look().await, 1);
    let json: Value = serde_json::from_slice(&told(&app, id_in(&own)).await[0].body).unwrap();
    let said = json["webhooks"][0]["last_answer"].as_str().unwrap();
    let begins = "Location: https://new.example.org/  moved  xxx";
    assert!(
        said.starts_with(begins) && said.ends_with('\u{2026}'),
        "{said}"
    );
    assert_eq!(said.chars().count(), 161);
}

#[tokio::test]
async fn those_of_a_tenant_see_who_is_told_by_their_roles_there_and_nobody_else_does() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    let mut root = app.administrator().await;
    let mut look = app.browser_with(Role::Look).await;
    let settings = look.get(&format!("/t/{tenant}/settings")).await;
    assert!(settings.says("Nobody yet. Who administers this can change that."));
    let refused = look
        .post(&format!("/t/{tenant}/settings/alerts"), &[])
        .await;
    assert_eq!(refused.status, 403);
    let path = audience(&mut root, tenant).await;
    assert_eq!(audience(&mut root, tenant).await, path, "there is one");
    let user = app.user("admin of another", false).await;
    let other = app.tenant("othercorp").await;
    app.role(user.id, other, Some(Role::Administer)).await;
    let mut stranger = app.browser_of(user.id).await;
    for below in ["", "/log", "/settings", "/webhooks/new"] {
        assert_eq!(stranger.get(&format!("{path}{below}")).await.status, 404);
    }
    let page = look.get(&path).await;
    assert_eq!(page.status, 200);
    assert!(page.says("Big Events"), "{}", page.words());
    assert_eq!(look.get(&format!("{path}/webhooks/new")).await.status, 403);
    let settings = root.get(&format!("{path}/settings")).await;
    assert!(!settings.says("Tokens") && !settings.says("People"));
    for below in ["/settings/tokens/new", "/settings/people/1"] {
        assert_eq!(root.get(&format!("{path}{below}")).await.status, 404);
    }
    let fields = [("person", "stranger"), ("role", "edit")];
    let given = root.post(&format!("{path}/settings/people"), &fields).await;
    assert_eq!(given.status, 404);
    // Nor is it a tenant among others, nor one with alerts of its own.
    assert!(!root.get("/").await.says("Alerts of Big Events"));
    let nested = root.post(&format!("{path}/settings/alerts"), &[]).await;
    assert_eq!(nested.status, 404);
    // What the server's are told is for administrators only.
    let made = root.post("/failing/alerts", &[]).await;
    let server = made.leads_to().1.to_owned();
    assert_eq!(root.get(&server).await.status, 200);
    assert_eq!(look.get(&server).await.status, 404);
    assert_eq!(look.post("/failing/alerts", &[]).await.status, 404);
}

#[tokio::test]
async fn what_is_wrong_with_who_is_told_stands_at_its_field() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    let mut root = app.administrator().await;
    let path = audience(&mut root, tenant).await;
    let form = format!("{path}/webhooks/new");
    for (fields, words) in [
        (vec![("format", "json")], "Say who is told, for people."),
        (
            vec![("name", "a"), ("format", "fax")],
            "Choose mail, chat or json.",
        ),
        (vec![("name", "a"), ("format", "json")], "Write a URL."),
        (
            vec![("name", "a"), ("format", "mail"), ("to", "a@example.org")],
            "This server sends no mail yet",
        ),
        (
            vec![("name", "a"), ("format", "chat"), ("to", "ops@example.org")],
            "Write a URL such as https://example.org/alerts",
        ),
        (
            vec![
                ("name", "a"),
                ("format", "chat"),
                ("to", "https://a b.example/"),
            ],
            "no",
        ),
        (
            vec![
                ("name", "a"),
                ("format", "json"),
                ("to", "https://example.org/#x"),
            ],
            "The URL may not have a fragment",
        ),
        (
            vec![
                ("name", "a"),
                ("format", "json"),
                ("to", "https://example.org/"),
            ],
            "Choose at least one.",
        ),
        (
            vec![
                ("name", "a"),
                ("format", "json"),
                ("to", "https://example.org/"),
                ("alerts", "willcall.server.disk"),
            ],
            "There is no alert",
        ),
    ] {
        let page = root.post(&form, &fields).await;
        assert_eq!(page.status, 422, "{fields:?}");
        assert!(page.says(words), "{words}: {}", page.words());
    }
}

#[tokio::test]
async fn a_mail_goes_to_one_address() {
    let app = TestApp::with(with_mail()).await;
    let tenant = app.tenant("bigevents").await;
    let mut root = app.administrator().await;
    let form = format!("{}/webhooks/new", audience(&mut root, tenant).await);
    for to in [
        "ops",
        "a@b@c",
        "a b@example.org",
        "ops@example.org,b@example.org",
    ] {
        let fields = [("name", "a"), ("format", "mail"), ("to", to)];
        let page = root.post(&form, &fields).await;
        assert!(
            page.says("Write one mail address"),
            "{to}: {}",
            page.words()
        );
    }
}

#[tokio::test]
async fn a_test_is_sent_in_the_form_of_the_webhook_and_is_explained() {
    let app = TestApp::with(with_mail()).await;
    let tenant = app.tenant("bigevents").await;
    let mut root = app.administrator().await;
    let path = audience(&mut root, tenant).await;
    for (format, to) in [
        ("mail", "ops@example.org"),
        ("chat", "https://example.org/"),
        ("json", "https://example.org/"),
    ] {
        add(&mut root, &path, format, to, &KINDS).await;
    }
    let first = app.store.find_webhooks(
        id_in(&path),
        model::dashboard::WebhookSearch {
            text: String::new(),
            older_than: None,
            limit: 9,
        },
    );
    for webhook in first.await.unwrap().webhooks {
        for kind in KINDS {
            let test = format!("{path}/webhooks/{}/test", webhook.id);
            let sent = root.post(&test, &[("kind", kind)]).await;
            assert_eq!(sent.leads_to().0, 303, "{}", sent.words());
        }
        let shown = root.get(&format!("{path}/webhooks/{}", webhook.id)).await;
        assert!(shown.says("A webhook began failing"), "{}", shown.words());
    }
    let all = told(&app, id_in(&path)).await;
    assert_eq!(all.len(), 9);
    let page = root
        .get(&format!("{path}/notifications/{}", all[0].id))
        .await;
    assert_eq!(page.status, 200);
    assert!(page.says("A test of another webhook"), "{}", page.words());
}

#[test]
fn an_operators_file_says_who_is_told() {
    let declare = |text: &str, options: DialectOptions| {
        let mut rng = SeededRng::from_seed([3; 32]);
        let read = all(&options).declare(text, &KnownEvents::new(), &mut rng);
        read.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let text = "[[alerts]]\ntenant = \"pretix/bigevents\"\n[[alerts.webhook]]\nkey = \"ops\"\n\
                format = \"mail\"\nto = \"ops@example.org\"\n";
    let file = declare(text, with_mail()).unwrap();
    let declared = &file.declarations[0];
    assert_eq!(declared.key, "pretix/bigevents");
    assert_eq!(declared.webhooks[0].target_url, "mailto:ops@example.org");
    // Of a tenant all that there is about webhooks, and nothing about the server.
    assert_eq!(declared.webhooks[0].filter.subscriptions().len(), 5);
    let server = declare(
        &text.replace("tenant = \"pretix/bigevents\"\n", ""),
        with_mail(),
    );
    assert_eq!(
        server.unwrap().declarations[0].webhooks[0]
            .filter
            .subscriptions()
            .len(),
        10
    );
    for (from, to, words) in [
        (
            "",
            "",
            "line 5, alerts.webhook.format: This server sends no mail yet",
        ),
        (
            "mail",
            "fax",
            "line 5, alerts.webhook.format: Choose mail, chat or json.",
        ),
        (
            "pretix/bigevents",
            "bigevents",
            "line 2, alerts.tenant: must be the dialect",
        ),
        (
            "key = \"ops\"\n",
            "",
            "line 3, alerts.webhook.key: is missing",
        ),
        (
            "key = \"ops\"",
            "keys = \"ops\"",
            "line 4, alerts.webhook.keys: is not known here",
        ),
    ] {
        let errors = declare(&text.replace(from, to), DialectOptions::default()).unwrap_err();
        assert!(
            errors.iter().any(|error| error.starts_with(words)),
            "{errors:?}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_server_is_told_to_those_who_run_it() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    let mut root = app.administrator().await;
    let made = root.post("/failing/alerts", &[]).await;
    let server = made.leads_to().1.to_owned();
    let kinds = ["willcall.server.deliveries", "willcall.server.recovered"];
    add(&mut root, &server, "chat", "https://example.org/", &kinds).await;
    let own = audience(&mut root, tenant).await;
    add(&mut root, &own, "chat", "https://example.org/", &KINDS).await;
    *app.health.lock().unwrap() = Err("the delivery loop has been stuck for 60 s".to_owned());
    assert_eq!(app.site.look().await, 0);
    app.pass_ms(MINUTE);
    assert_eq!(app.site.look().await, 1);
    let body = told(&app, id_in(&server)).await.remove(0).body;
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        body.contains("the delivery loop has been stuck for 60 s"),
        "{body}"
    );
    *app.health.lock().unwrap() = Ok(Vec::new());
    assert_eq!(app.site.look().await, 0);
    app.pass_ms(11 * MINUTE);
    assert_eq!(app.site.look().await, 1);
    assert!(told(&app, id_in(&own)).await.is_empty());
}
