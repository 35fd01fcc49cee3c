//! The page of a delivery: what it says, what is done from it, and that nothing a receiver or an
//! application sends is ever more than text, or more than a page.

use model::attempt::{BodyEnd, HttpResponse, Outcome};
use model::delivery::DispatchState;
use model::id::WebhookId;
use model::limits::{NOTIFICATION_BODY_BYTES_MAX, PAGE_BYTES_MAX, RESPONSE_BODY_BYTES_MAX};
use model::users::Role;
use model::webhook::Headers;

use super::past::{PAID, answered, answered_with, refused};
use crate::tests::harness::TestApp;

/// Only the organizer's first delivery.
async fn here(app: &TestApp) -> String {
    format!("/t/{}/deliveries/dlv_1_1", app.tenant("bigevents").await)
}

#[tokio::test]
async fn of_a_receiver_that_is_probed_it_says_since_when_how_often_and_until_when() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.order("ABC", "democon").await;
    app.attempt(&refused()).await;
    app.pass_ms(300_000);
    app.attempt(&refused()).await;
    app.pass_ms(31_000);
    let mut look = app.browser_with(Role::Look).await;
    let path = here(&app).await;
    let words = "Next attempt Not sent yet: Retry 2 of 12. Its receiver has failed since \
                 2026-11-20 18:00:00 UTC ; one call every 10 s finds out whether it is back, then \
                 everything comes. From about 2026-11-20 19:05:30 UTC on it is tried in any case";
    for at in [Some(DispatchState::CircuitOpen), None] {
        *app.dispatch_state.lock().unwrap() = at;
        let page = look.get(&path).await;
        assert!(page.says(words), "{at:?}: {}", page.words());
    }
    // What else keeps it goes first.
    *app.dispatch_state.lock().unwrap() = Some(DispatchState::Held);
    let page = look.get(&path).await;
    assert!(
        page.says("because somebody paused its webhook"),
        "{}",
        page.words()
    );
    let hook = path.replace("deliveries/dlv_1_1", "webhooks/1");
    let page = look.get(&hook).await;
    let words =
        "Its receiver has failed for long: one call every 10 s finds out whether it is back";
    assert!(page.says(words), "{}", page.words());
    let page = look.get(&path.replace("deliveries/dlv_1_1", "log")).await;
    assert!(!page.says("Due since") && page.says("Now, or as soon as there is room"));
    app.pass_ms(60_000);
    let page = look.get(&path.replace("deliveries/dlv_1_1", "log")).await;
    assert!(
        page.says("Due since 2026-11-20 18:05:30 UTC"),
        "{}",
        page.words()
    );
}

#[tokio::test]
async fn it_says_what_happened_what_comes_next_and_why_then() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.order("ABC", "democon").await;
    let mut look = app.browser_with(Role::Look).await;
    let path = here(&app).await;
    let page = look.get(&path).await;
    for words in [
        "It was not tried yet.",
        "Next attempt Now, or as soon as there is room: First attempt.",
        "None yet.",
    ] {
        assert!(page.says(words), "{words}: {}", page.words());
    }
    for (at, words) in [
        (
            DispatchState::InFlight,
            "Next attempt It is sent, and there is no answer yet: First attempt.",
        ),
        (
            DispatchState::InFlightLimited,
            "Next attempt Not sent yet, because as many calls are running as may: First attempt.",
        ),
    ] {
        *app.dispatch_state.lock().unwrap() = Some(at);
        let page = look.get(&path).await;
        assert!(page.says(words), "{words}: {}", page.words());
    }
    *app.dispatch_state.lock().unwrap() = None;
    app.attempt(&refused()).await;
    app.pass_ms(6_000);
    app.attempt(&answered(503, "{\"busy\":[1,2]}")).await;
    let page = look.get(&path).await;
    for words in [
        "State Retrying",
        "Answered 503, failed: only 200 to 299 count as received.",
        "Retry 2 of ",
        "The wait before retry 2 is 30 s.",
        "After a failure it waits 5 s, 30 s, 1 min, 5 min, 20 min",
        "Gives up By 2026-11-23 18:00:00 UTC",
        "Attempt 2 503",
        "Attempt 1 No answer No connection to the receiver came about: connection refused.",
        "took 250 ms",
        "{ \"busy\": [ 1, 2 ] }",
        "Authorization: Basic ***",
        "POST https://***@example.org/hook",
        "curl --globoff --path-as-is",
        "Values shown as *** are secret: put your own in their place. Copy",
    ] {
        let said = page.words().replace("&#34;", "\"").replace("&#39;", "'");
        assert!(said.contains(words), "{words}: {said}");
    }
    // Newest first.
    let (second, first) = (
        page.body.find("id=\"attempt-2\""),
        page.body.find("id=\"attempt-1\""),
    );
    assert!(second < first);
    assert!(
        !page.body.contains("id=\"again\""),
        "who may look sends nothing"
    );
}

#[tokio::test]
async fn what_was_wrong_with_an_answer_is_said_beside_its_status() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.order("ABC", "democon").await;
    let Outcome::Answered(answer) = answered(204, "") else {
        unreachable!()
    };
    let note = "line 3 of its head has no colon (“<b>PHP Warning</b>”)";
    let outcome = Outcome::Answered(HttpResponse {
        body_end: BodyEnd::Broken,
        note: Some(note.into()),
        ..answer
    });
    app.attempt(&outcome).await;
    let mut look = app.browser_with(Role::Look).await;
    let page = look.get(&here(&app).await).await;
    for words in [
        "State Delivered",
        "Answered 204, delivered; line 3 of its head has no colon",
        "It was not read to its end.",
    ] {
        assert!(page.says(words), "{words}: {}", page.words());
    }
    assert!(!page.body.contains("<b>PHP"));
}

#[tokio::test]
async fn the_ends_say_why_they_are_ends() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.order("ABC", "democon").await;
    let path = here(&app).await;
    let mut tried = 0;
    while !app.attempt(&answered(500, "")).await.is_empty() {
        tried += 1;
        app.pass_ms(13 * 3_600_000);
    }
    let mut look = app.browser_with(Role::Look).await;
    let page = look.get(&path).await;
    assert!(page.says("All attempts of the schedule failed. The last time: Answered 500"));
    assert!(page.says(&format!("Attempts {tried}")), "{}", page.words());
    assert!(!page.says("Gives up"));
}

#[tokio::test]
async fn one_is_replayed_or_stopped_and_a_form_sent_twice_does_nothing_more() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.order("ABC", "democon").await;
    app.attempt(&answered(200, "ok")).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let path = here(&app).await;
    let page = edit.get(&path).await;
    assert!(page.body.contains("name=\"seen\" value=\"delivered.1\""));
    let seen = [("seen", "delivered.1")];
    let answer = edit.post(&format!("{path}/again"), &seen).await;
    assert_eq!(
        answer.leads_to(),
        (303, format!("{path}?said=retried").as_str())
    );
    let page = edit.get(&path).await;
    assert!(
        page.says("First attempt of another round"),
        "{}",
        page.words()
    );
    assert!(!page.says("counts as the next retry"));
    app.attempt(&answered(500, "")).await;
    let twice = edit.post(&format!("{path}/again"), &seen).await;
    assert_eq!(
        twice.leads_to(),
        (303, format!("{path}?said=moved").as_str())
    );
    assert_eq!(app.due().await.len(), 0);
    let page = edit.get(&path).await;
    assert!(page.says("Retry 1 of"), "{}", page.words());
    assert!(page.says("it counts as the next retry."));
    let now = edit
        .post(&format!("{path}/again"), &[("seen", "retrying.2")])
        .await;
    assert_eq!(
        now.leads_to(),
        (303, format!("{path}?said=retried").as_str())
    );
    assert!(edit.get(&path).await.says("Somebody replayed it."));
    let stop = edit
        .post(&format!("{path}/stop"), &[("seen", "retrying.2")])
        .await;
    assert_eq!(
        stop.leads_to(),
        (303, format!("{path}?said=stopped").as_str())
    );
    let page = edit.get(&path).await;
    assert!(
        page.says("Cancelled Somebody asked that it be sent no more."),
        "{}",
        page.words()
    );
    assert_eq!(app.due().await.len(), 0);
}

#[tokio::test]
async fn what_comes_from_outside_is_text_and_never_markup() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    let evil = "</pre><script>alert(1)</script><img src=x onerror='a'>\"";
    app.order(evil, "democon").await;
    let header: [(&str, &[u8]); 2] = [
        ("X-Evil", b"<script>alert(2)</script>"),
        ("X-Bytes", &[0xff, 0xfe, b'<', 0x1b]),
    ];
    let body = [
        evil.as_bytes(),
        &[0xff, 0x00, 0xc3, 0x28],
        b"\r\n\r\nHTTP/1.1",
    ]
    .concat();
    app.attempt(&answered_with(500, &header, body.clone()))
        .await;
    let mut look = app.browser_with(Role::Look).await;
    let path = here(&app).await;
    for path in [path.clone(), path.replace("deliveries/dlv_1_1", "log")] {
        let page = look.get(&path).await;
        for bad in ["<script>", "<img", "onerror='"] {
            assert!(!page.body.contains(bad), "{bad}");
        }
    }
    let page = look.get(&path).await;
    assert!(
        page.body.contains("&#60;script&#62;alert(1)"),
        "{}",
        page.body
    );
    assert!(page.says("Some of it is not text"));
    let whole = format!("{path}/attempts/1/answer");
    let request = crate::tests::harness::asking("GET", &whole);
    // As bytes: what a receiver sent need not be UTF-8.
    let got = look.raw(request).await;
    assert!(got.1.ends_with(&body));
    let header = |name: &str| got.0.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(
        header("content-disposition"),
        "attachment; filename=\"dlv_1_1.1.answer.txt\""
    );
    assert_eq!(header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn the_heaviest_delivery_weighs_less_than_a_page_may_and_leads_to_all_of_it() {
    let app = TestApp::new().await;
    let webhook = app.webhook(&[PAID]).await;
    let tenant = app.tenant("bigevents").await;
    let body = format!("[\"{}\"]", "<'".repeat(NOTIFICATION_BODY_BYTES_MAX / 2 - 8));
    let new = model::notification::NewNotification {
        tenant,
        key: "\"".repeat(190),
        action_type: "&".repeat(255),
        match_keys: Vec::new(),
        event: Some("'".repeat(255)),
        headers: Headers::default(),
        body: body.clone().into(),
        digest: None,
        match_context: None,
        only_webhook: Some(webhook),
        at: app.now(),
    };
    app.store.accept(vec![new]).await.unwrap();
    let value = "<".repeat(600);
    let headers: Vec<(&str, &[u8])> = vec![("X-Long", value.as_bytes()); 100];
    let list = format!("[{}1]", "\"&\",".repeat(RESPONSE_BODY_BYTES_MAX / 4 - 1));
    assert!(list.len() <= RESPONSE_BODY_BYTES_MAX);
    let heavy = answered_with(500, &headers, list.clone());
    let path = here(&app).await;
    try_again_and_again(&app, webhook, &heavy).await;
    let detail = app.store.delivery(tenant, "dlv_1_1".parse().unwrap()).await;
    let count = detail.unwrap().unwrap().row.attempts;
    assert!(count > 25, "{count}");
    let mut edit = app.browser_with(Role::Edit).await;
    let mut path = path;
    let mut seen = 0;
    loop {
        let page = edit.get(&path).await;
        assert_eq!(page.status, 200);
        assert!(
            page.body.len() < PAGE_BYTES_MAX,
            "{} bytes",
            page.body.len()
        );
        // The details of the one that was asked for are there, of others a link.
        assert!(page.body.contains("<details open"), "{path}");
        assert!(page.says("Not all of it is shown."));
        seen += page.body.matches("<li id=\"attempt-").count();
        let Some((before, _)) = page.body.split_once("\">Earlier attempts") else {
            break;
        };
        path = before.rsplit_once("href=\"").unwrap().1.to_owned();
    }
    assert_eq!(seen, usize::try_from(count).unwrap().min(100));
    let whole = edit.get(&format!("{}/body", here(&app).await)).await;
    assert_eq!(whole.body, body);
    let whole = edit
        .get(&format!("{}/attempts/{count}/answer", here(&app).await))
        .await;
    assert!(whole.body.ends_with(&list));
    assert!(whole.body.starts_with("HTTP/1.1 500\r\nX-Long: <"));
}

/// Makes so many attempts that they do not fit on a page, in several rounds.
async fn try_again_and_again(app: &TestApp, webhook: WebhookId, outcome: &Outcome) {
    let tenant = app.tenant("bigevents").await;
    for round in 0..120 {
        let tried = app.attempt(outcome).await;
        if tried.is_empty() {
            app.pass_ms(13 * 3_600_000);
        }
        if round % 30 == 29 {
            // Another round, as somebody may ask for after each.
            let id = "dlv_1_1".parse().unwrap();
            let ask = model::contract::ReplayRequest {
                tenant,
                webhook,
                which: model::contract::ReplayScope::One(id),
                actor: "test".to_owned(),
            };
            app.store.replay(ask, app.now()).await.unwrap();
        }
    }
}
