//! The tenants somebody may see, and a tenant's webhooks at a glance.

use model::attempt::{Attempt, BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::contract::Settlement;
use model::delivery::{DeliveryState, NextState};
use model::lease::Epoch;
use model::users::Role;
use model::webhook::Headers;

use crate::tests::harness::{INTAKE, TestApp, WEBHOOKS, asking};

#[tokio::test]
async fn whoever_has_one_tenant_goes_straight_there_and_nobody_sees_anothers() {
    let app = TestApp::new().await;
    let own = app.tenant("bigevents").await;
    let user = app.user("anna", false).await;
    let mut anna = app.browser_of(user.id).await;
    let nowhere = anna.get("/").await;
    assert!(nowhere.says("You have no access to anything yet"));
    app.role(user.id, own, Some(Role::Look)).await;
    assert_eq!(
        anna.get("/").await.leads_to(),
        (303, format!("/t/{own}").as_str())
    );
    let company = app.company().await;
    app.role(user.id, company, Some(Role::Edit)).await;
    let two = anna.get("/").await;
    assert!(
        two.says("Big Events bigevents Organizer, pretix none fails look"),
        "{}",
        two.words()
    );
    assert!(two.says("Company, OpenTicket none fails edit"));
    assert!(!two.body.contains("othercorp"));
    let found = anna.get("/?q=GRAND").await;
    assert!(found.says("Grand Hall") && !found.says("Big Events"));
    assert!(!anna.get("/?q=othercorp").await.body.contains("/t/2\""));
}

#[tokio::test]
async fn an_administrator_sees_every_tenant() {
    let app = TestApp::new().await;
    let mut root = app.administrator().await;
    let all = root.get("/").await;
    for name in ["Big Events", "othercorp", "Grand Hall", "Small Hall"] {
        assert!(all.says(name), "{name}");
    }
}

#[tokio::test]
async fn the_first_visit_of_a_tenant_explains_the_first_step() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    let path = format!("/t/{tenant}");
    let mut edit = app.browser_with(Role::Edit).await;
    let empty = edit.get(&path).await;
    assert!(empty.says("No webhook yet") && empty.says("Create the first webhook"));
    assert!(
        empty
            .body
            .contains(&format!("href=\"{path}/webhooks/new\""))
    );
    let mut look = app.browser_with(Role::Look).await;
    let empty = look.get(&path).await;
    assert!(empty.says("Somebody with the role “edit” creates the first one."));
    assert!(!empty.body.contains("/webhooks/new"));
}

/// Ends an attempt at what is due first.
pub(super) async fn settle(app: &TestApp, outcome: Outcome, state: DeliveryState) {
    app.pass_ms(1_000);
    let due = app.due().await;
    let delivery = due.first().unwrap().delivery.clone();
    let at = app.now();
    let settled = Settlement {
        stale: None,
        handshake: None,
        id: delivery.id,
        round: delivery.round,
        attempts: delivery.attempts,
        webhook_version: 1,
        ended_at: at,
        attempt: Attempt {
            began_at: at,
            duration_ms: 0,
            url: "https://example.org/hook".into(),
            request_headers: Headers::default(),
            outcome,
        },
        next: NextState {
            state,
            due_at: (state == DeliveryState::Pending).then_some(at),
            began_at: at,
            round_began_at: at,
            disables_webhook: false,
            pauses_until: None,
            early: false,
        },
    };
    let settled = app.store.settle(Epoch::FIRST, [settled].into());
    settled.await.unwrap();
}

#[tokio::test]
async fn what_fails_is_listed_over_all_tenants_for_whom_they_are_until_it_succeeds() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    let webhook = app.webhook(&["pretix.event.order.paid"]).await;
    let mut root = app.administrator().await;
    let mut look = app.browser_with(Role::Look).await;
    let stranger = app.user("stranger", false).await;
    let mut stranger = app.browser_of(stranger.id).await;
    assert!(root.get("/failing").await.says("Nothing fails"));
    let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
    app.ask(asking("POST", INTAKE).json(body)).await;
    settle(&app, no_connection(), DeliveryState::Pending).await;
    for browser in [&mut root, &mut look] {
        let page = browser.get("/failing").await;
        assert!(page.says("1 delivery waits"), "{}", page.words());
        let link = format!("href=\"/t/{tenant}/webhooks/{webhook}\"");
        assert!(page.body.contains(&link));
        let only = browser.get(&format!("/failing?tenant={tenant}")).await;
        assert!(only.says("Only of Big Events"), "{}", only.words());
        assert!(only.body.contains(&link));
    }
    assert!(root.get("/failing?tenant=2").await.says("Nothing fails"));
    // No page of the list, and whoever may see nothing sees nothing.
    assert_eq!(root.get("/failing?after=x.y&tenant=z").await.status, 200);
    for path in ["/failing", &format!("/failing?tenant={tenant}")] {
        assert!(stranger.get(path).await.says("Nothing fails"), "{path}");
    }
    let all = root.get("/").await;
    assert!(all.says("1 failing since"), "{}", all.words());
    assert!(all.body.contains(&format!("/failing?tenant={tenant}\"")));
    settle(&app, answered(), DeliveryState::Delivered).await;
    assert!(root.get("/failing").await.says("Nothing fails"));
    assert!(!root.get("/").await.says("1 failing"));
}

#[tokio::test]
async fn a_webhook_is_shown_with_how_it_is_doing() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    let path = format!("/t/{tenant}");
    let webhook = app.webhook(&["pretix.event.order.paid"]).await;
    let mut look = app.browser_with(Role::Look).await;
    let page = look.get(&path).await;
    assert!(page.says("Nothing sent yet"), "{}", page.words());
    let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
    app.ask(asking("POST", INTAKE).json(body)).await;
    for (outcome, state, words) in [
        (no_connection(), DeliveryState::Pending, "Failing since"),
        (answered(), DeliveryState::Delivered, "Healthy"),
    ] {
        settle(&app, outcome, state).await;
        let page = look.get(&path).await;
        assert!(page.says(words), "{}", page.words());
        let detail = format!("href=\"{path}/deliveries/dlv_1_{webhook}\"");
        assert!(page.body.contains(&detail));
    }
    let page = look.get(&path).await;
    assert!(
        page.says("1 delivered, 1 failed attempt tried again"),
        "{}",
        page.words()
    );
    assert!(page.says("Answered 200, delivered."), "{}", page.words());
}

#[tokio::test]
async fn webhooks_are_searched_and_paged_from_the_newest_on() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    let path = format!("/t/{tenant}");
    for _ in 0..30 {
        app.webhook(&["pretix.event.order.paid"]).await;
    }
    let wanted = r#"{"target_url":"https://u:topsecret@crm.example.org/x","all_events":true,
        "limit_events":[],"action_types":["pretix.event.order.paid"],"comment":"The <b>CRM</b>"}"#;
    app.ask(asking("POST", WEBHOOKS).json(wanted)).await;
    let mut look = app.browser_with(Role::Look).await;
    let first = look.get(&path).await;
    assert!(first.body.contains("id=\"webhook-31\"") && first.body.contains("id=\"webhook-7\""));
    assert!(!first.body.contains("id=\"webhook-6\""));
    assert!(first.body.len() < 100 * 1_024);
    let older = look.get(&format!("{path}?q=&before=7")).await;
    assert!(
        first
            .body
            .contains(&format!("href=\"{path}?q=&#38;before=7\""))
    );
    assert!(older.body.contains("id=\"webhook-6\"") && older.body.contains("id=\"webhook-1\""));
    assert!(!older.body.contains(">Older<"));
    let found = look.get(&format!("{path}?q=crm.EXAMPLE")).await;
    assert!(found.body.contains("id=\"webhook-31\"") && !found.body.contains("id=\"webhook-30\""));
    assert!(
        found.body.contains("The &#60;b&#62;CRM&#60;/b&#62;"),
        "{}",
        found.body
    );
    for page in [&first, &found] {
        assert!(!page.body.contains("topsecret"));
    }
    assert!(
        look.get(&format!("{path}?q=topsecret"))
            .await
            .says("No webhook matches.")
    );
}

#[tokio::test]
async fn a_switched_off_webhook_says_so() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    let id = app.webhook(&["pretix.event.order.paid"]).await;
    let off = asking("PATCH", &format!("{WEBHOOKS}{id}/")).json(r#"{"enabled":false}"#);
    app.ask(off).await;
    let mut look = app.browser_with(Role::Look).await;
    assert!(
        look.get(&format!("/t/{tenant}"))
            .await
            .says("Disabled since 2026-11-20 18:00:00 UTC")
    );
}

pub(super) fn no_connection() -> Outcome {
    Outcome::Failed(Failure {
        kind: FailureKind::Connect,
        detail: "refused".to_owned(),
    })
}

pub(super) fn answered() -> Outcome {
    Outcome::Answered(HttpResponse {
        status: 200,
        headers: Headers::default(),
        body: bytes::Bytes::new(),
        body_end: BodyEnd::Whole,
        note: None,
    })
}
