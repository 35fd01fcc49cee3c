//! Attempts and response times, over REST and drawn on the dashboard.

use bytes::Bytes;
use model::attempt::{BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::id::WebhookId;
use model::statistics::{AttemptTally, PERIOD_MS, StatisticsPeriod, TallyOwner, TallyRow};
use model::users::Role;
use model::webhook::Headers;
use serde_json::{Value, json};

use super::harness::{TestApp, asking, bearing};

const OWN: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/statistics/";
const ALL: &str = "/api/v1/organizers/bigevents/willcall/statistics/";

fn answered(status: u16) -> Outcome {
    Outcome::Answered(HttpResponse {
        status,
        headers: Headers::default(),
        body: Bytes::new(),
        body_end: BodyEnd::Whole,
        note: None,
    })
}

fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed(Failure::new(kind, ""))
}

/// So many of each class; those that were answered took this long.
fn tally(counts: [usize; 4], ms: u32) -> AttemptTally {
    let outcomes = [
        answered(204),
        answered(503),
        failed(FailureKind::TimeLimit),
        failed(FailureKind::Unsigned),
    ];
    let mut tally = AttemptTally::default();
    for (count, outcome) in counts.into_iter().zip(outcomes) {
        for _ in 0..count {
            tally.add(&outcome, ms);
        }
    }
    tally
}

/// An app with a webhook.
async fn app() -> (TestApp, WebhookId) {
    let app = TestApp::new().await;
    let webhook = app.webhook(&["pretix.event.order.paid"]).await;
    (app, webhook)
}

/// Writes down what was counted so many periods ago, of the webhook and its tenant.
async fn counted(app: &TestApp, webhook: WebhookId, ago: i64, tally: AttemptTally) {
    let tenant = app.tenant("bigevents").await;
    let owners = [TallyOwner::Webhook(webhook), TallyOwner::Tenant(tenant)];
    let rows = owners.map(|owner| TallyRow {
        owner,
        starts_at: app.now().plus_ms(-ago * PERIOD_MS),
        part: webhook.0,
        tally: tally.clone(),
    });
    app.store.record_tallies(rows.to_vec()).await.unwrap();
}

async fn shown(app: &TestApp, path: &str) -> Value {
    let answer = app.ask(asking("GET", path)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()
}

#[tokio::test]
async fn attempts_and_response_times_are_shown_by_steps_and_for_the_whole_period() {
    let (app, webhook) = app().await;
    counted(&app, webhook, 2, tally([3, 1, 2, 1], 20)).await;
    counted(&app, webhook, 1, tally([100, 0, 0, 0], 1_000)).await;
    let hour = shown(&app, &format!("{OWN}?period=1h")).await;
    assert_eq!(hour["period"], "1h");
    assert_eq!(hour["from"], "2026-11-20T17:00:00.000Z");
    assert_eq!(hour["to"], "2026-11-20T18:00:00.000Z");
    assert_eq!(hour["step_seconds"], 300);
    let counts = json!({ "delivered": 103, "rejected": 1, "no_answer": 2, "not_sent": 1 });
    assert_eq!(hour["attempts"], counts);
    // 1 s, in the middle of its range.
    let times = json!({ "p50": 1008, "p95": 1008, "p99": 1008 });
    assert_eq!(hour["response_ms"], times);
    let steps = hour["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 12);
    let step = json!({
        "from": "2026-11-20T17:50:00.000Z",
        "attempts": { "delivered": 3, "rejected": 1, "no_answer": 2, "not_sent": 1 },
        "response_ms": { "p50": 20, "p95": 20, "p99": 20 },
    });
    assert_eq!(steps[10], step);
    let none = json!({ "delivered": 0, "rejected": 0, "no_answer": 0, "not_sent": 0 });
    let no_times = json!({ "p50": null, "p95": null, "p99": null });
    assert_eq!(
        (&steps[0]["attempts"], &steps[0]["response_ms"]),
        (&none, &no_times)
    );
}

#[tokio::test]
async fn every_period_can_be_asked_for_and_a_day_is_the_usual_one() {
    let (app, webhook) = app().await;
    counted(&app, webhook, 4, tally([7, 0, 0, 0], 20)).await;
    for (period, steps, seconds) in [
        ("1h", 12, 300),
        ("24h", 48, 1_800),
        ("7d", 56, 10_800),
        ("30d", 60, 43_200),
    ] {
        let all = shown(&app, &format!("{OWN}?period={period}&format=json")).await;
        assert_eq!(all["steps"].as_array().unwrap().len(), steps);
        assert_eq!(all["step_seconds"], seconds);
        assert_eq!(all["attempts"]["delivered"], 7, "{period}");
    }
    let usual = shown(&app, OWN).await;
    assert_eq!(usual["period"], "24h");
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused_by_its_name() {
    let (app, _) = app().await;
    let hook = app.hook("shop", "create").await;
    let of_company = format!("/webhook/{}/willcall/statistics", hook.guid);
    for (query, field) in [
        ("period=2h", "period"),
        ("period=", "period"),
        ("period=1h&period=1h", "period"),
        ("since=1", "since"),
    ] {
        for path in [OWN, ALL] {
            let refused = app.ask(asking("GET", &format!("{path}?{query}"))).await;
            assert_eq!(refused.status, 400, "{query}");
            assert!(refused.json()[field].is_array(), "{}", refused.body);
        }
        let refused = app
            .ask(bearing("GET", &format!("{of_company}?{query}")))
            .await;
        assert!([400, 422].contains(&refused.status.as_u16()), "{query}");
        assert!(refused.body.contains(field), "{}", refused.body);
    }
    let wrong = app.ask(asking("GET", &format!("{OWN}?period=2h"))).await;
    let words = "It has to be one of 1h, 24h, 7d, 30d.";
    assert_eq!(wrong.json(), json!({ "period": [words] }));
}

#[tokio::test]
async fn an_organizer_has_the_sum_of_its_webhooks_and_nobody_elses() {
    let (app, one) = app().await;
    let two = app.webhook(&["pretix.event.order.placed"]).await;
    counted(&app, one, 1, tally([1, 0, 0, 0], 20)).await;
    counted(&app, two, 1, tally([0, 4, 0, 0], 20)).await;
    let all = shown(&app, ALL).await;
    assert_eq!(
        (&all["attempts"]["delivered"], &all["attempts"]["rejected"]),
        (&json!(1), &json!(4))
    );
    let other = ALL.replace("bigevents", "othercorp");
    let of_other = app.ask(asking("GET", &other)).await;
    assert!(
        of_other.status != 200 || of_other.json()["attempts"]["delivered"] == 0,
        "{}",
        of_other.body
    );
    let unknown = OWN.replace("webhooks/1", "webhooks/99");
    assert_eq!(app.ask(asking("GET", &unknown)).await.status, 404);
}

#[tokio::test]
async fn webhooks_of_the_other_dialect_have_statistics_too() {
    let (app, _) = app().await;
    let hook = app.hook("shop", "create").await;
    let path = format!("/webhook/{}/willcall/statistics?period=7d", hook.guid);
    let all = app.ask(bearing("GET", &path)).await;
    assert_eq!(all.status, 200, "{}", all.body);
    assert_eq!(all.json()["period"], "7d");
    assert_eq!(all.json()["attempts"]["delivered"], 0);
}

#[tokio::test]
async fn the_page_of_a_webhook_draws_its_attempts_and_has_them_as_a_table() {
    let (app, webhook) = app().await;
    let mut anna = app.browser_with(Role::Look).await;
    let tenant = app.tenant("bigevents").await;
    let path = format!("/t/{tenant}/webhooks/{webhook}");
    let nothing = anna.get(&path).await;
    assert!(nothing.says("Nothing was attempted in this time."));
    assert!(!nothing.body.contains("data-chart"));
    counted(&app, webhook, 3, tally([12, 3, 1, 0], 20)).await;
    let page = anna.get(&path).await;
    assert!(
        page.says("12 delivered 3 rejected 1 not answered 0 not sent"),
        "{}",
        page.words()
    );
    assert!(page.says("p50 20 ms, p95 20 ms, p99 20 ms over the whole time"));
    let at = "<title>11-20 17:30 UTC: 12 delivered, 3 rejected, 1 not answered</title>";
    assert!(page.body.contains(at), "{}", page.body);
    assert!(
        page.body
            .contains("<title>11-20 17:30 UTC: p50 20 ms, p95 20 ms, p99 20 ms</title>")
    );
    assert!(
        page.body
            .contains("<title>11-20 17:00 UTC: no attempt</title>")
    );
    assert!(page.says("Each line is half an hour."));
    assert!(page.body.contains("datetime=\"2026-11-20T17:30:00.000Z\""));
    // Only what is not answered has no response time.
    counted(&app, webhook, 30, tally([0, 0, 2, 0], 20)).await;
    assert!(anna.get(&path).await.says("no answer"));
}

#[tokio::test]
async fn a_period_is_chosen_by_a_link_that_says_which_one_is_shown() {
    let (app, webhook) = app().await;
    let mut anna = app.browser_with(Role::Look).await;
    let tenant = app.tenant("bigevents").await;
    counted(&app, webhook, 13, tally([5, 0, 0, 0], 20)).await;
    let pages = [
        format!("/t/{tenant}/webhooks/{webhook}"),
        format!("/t/{tenant}/statistics"),
    ];
    for path in pages {
        for (period, words) in [("1h", "1 hour"), ("24h", "24 hours"), ("30d", "30 days")] {
            let page = anna.get(&format!("{path}?period={period}")).await;
            let link = format!("{path}?period={period}#attempts\" aria-current=\"true\">{words}<");
            assert!(page.body.contains(&link), "{}", page.body);
            assert_eq!(page.body.matches("aria-current=\"true\"").count(), 1);
            assert_eq!(page.says("5 delivered"), period != "1h");
        }
        let usual = anna.get(&format!("{path}?period=%22%3E")).await;
        assert!(usual.body.contains("aria-current=\"true\">24 hours<"));
    }
}

#[tokio::test]
async fn charts_with_all_that_can_be_in_them_leave_room_on_their_page() {
    let (app, webhook) = app().await;
    let mut anna = app.browser_with(Role::Edit).await;
    let tenant = app.tenant("bigevents").await;
    for step in 1..=StatisticsPeriod::Month.steps() {
        let mut all = tally([1, 1, 1, 1], 987_654);
        // As many as would be counted in years.
        for _ in 0..30 {
            all.merge(&all.clone());
        }
        counted(&app, webhook, i64::from(step) * 144, all).await;
    }
    for path in [
        format!("/t/{tenant}/webhooks/{webhook}?period=30d"),
        format!("/t/{tenant}/statistics?period=30d"),
    ] {
        let page = anna.get(&path).await;
        assert_eq!(page.status, 200);
        assert!(page.body.matches("data-label=\"p99\"").count() >= 59);
        assert!(page.body.len() < 64 * 1024, "{}", page.body.len());
        assert!(!page.body.contains("style=\""));
    }
}
