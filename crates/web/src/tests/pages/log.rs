//! The log: what is listed, what is looked for, how it is paged, and what is done to what was
//! chosen, to one and to all.

use model::lease::Epoch;
use model::limits::PAGE_BYTES_MAX;
use model::users::Role;

use super::browser::Browser;
use super::past::{PAID, answered, refused};
use crate::tests::harness::{Arrived, TestApp};

/// The ids of the lines of a page, in their order.
fn lines(page: &Arrived) -> Vec<String> {
    let rows = page.body.split("<tr id=\"row-").skip(1);
    let id = |row: &str| row.split('"').next().unwrap_or_default().to_owned();
    rows.map(id).collect()
}

/// Where the link with this id leads, as a browser reads it.
fn link(page: &Arrived, id: &str) -> Option<String> {
    let (before, _) = page.body.split_once(&format!("id=\"{id}\""))?;
    let (_, href) = before.rsplit_once("href=\"")?;
    let href = href.split('"').next()?;
    Some(href.replace("&#38;", "&").replace("&amp;", "&"))
}

/// The values by which the lines of a page are chosen.
fn choices(page: &Arrived) -> Vec<String> {
    let boxes = page.body.split("name=\"delivery\" value=\"").skip(1);
    boxes
        .map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
        .collect()
}

async fn chosen<'h>(
    browser: &mut Browser<'h>,
    path: &str,
    what: &str,
    which: &[String],
) -> Arrived {
    let mut fields = vec![("do", what), ("back", path)];
    fields.extend(which.iter().map(|value| ("delivery", value.as_str())));
    let tenant = path.split("/log").next().unwrap();
    let tenant = tenant.split("/webhooks").next().unwrap();
    browser.post(&format!("{tenant}/deliveries"), &fields).await
}

async fn log_path(app: &TestApp) -> String {
    format!("/t/{}/log", app.tenant("bigevents").await)
}

#[tokio::test]
async fn the_log_says_of_each_delivery_what_became_of_it() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.order("ABC1", "democon").await;
    app.attempt(&answered(200, "ok")).await;
    app.order("ABC2", "secondcon").await;
    app.attempt(&answered(500, "oops")).await;
    app.order("ABC3", "democon").await;
    let mut look = app.browser_with(Role::Look).await;
    let page = look.get(&log_path(&app).await).await;
    assert_eq!(page.status, 200);
    assert_eq!(lines(&page), ["dlv_3_1", "dlv_2_1", "dlv_1_1"]);
    for words in [
        "Waiting Not tried yet.",
        "Retrying Answered 500, failed: only 200 to 299 count as received.",
        "Delivered Answered 200, delivered.",
        "pretix.event.order.paid secondcon",
        "Webhook 1 https://example.org/hook",
        "Next attempt",
        "Now, or as soon as there is room",
    ] {
        assert!(page.says(words), "{words}: {}", page.words());
    }
    assert!(page.body.contains("title=\"https://example.org/hook\""));
    // Who may only look has nothing to choose.
    assert_eq!(choices(&page), Vec::<String>::new());
}

#[tokio::test]
async fn a_webhook_is_called_by_its_name_until_it_is_deleted() {
    let app = TestApp::new().await;
    app.hook("order", "paid").await;
    let mut root = app.administrator().await;
    let tenant = format!("/t/{}", app.company().await);
    let test = format!("{tenant}/webhooks/1/test");
    let form = root.get(&test).await;
    let (_, kind) = form.body.split_once("<option value=\"").unwrap();
    let kind = kind.split('"').next().unwrap();
    let sent = root.post(&test, &[("kind", kind)]).await;
    assert_eq!(sent.status, 303, "{}", sent.words());
    let log = format!("{tenant}/log");
    let page = root.get(&log).await;
    assert!(
        page.says("A hook https://***@example.org/hook"),
        "{}",
        page.words()
    );
    assert!(page.body.contains(", to A hook, Waiting\""));
    let deleted = root.post(&format!("{tenant}/webhooks/1/delete"), &[]).await;
    assert_eq!(deleted.status, 303);
    let page = root.get(&log).await;
    assert!(
        page.says("Webhook 1 https://***@example.org/hook"),
        "{}",
        page.words()
    );
}

#[tokio::test]
async fn pages_stay_put_while_new_lines_arrive_and_filters_survive_them() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    for number in 0..120 {
        app.order(&format!("N{number}"), "democon").await;
    }
    let mut look = app.browser_with(Role::Look).await;
    let path = format!("{}?status=pending&show=democon", log_path(&app).await);
    let first = look.get(&path).await;
    assert_eq!(lines(&first).len(), 50);
    assert_eq!(lines(&first)[0], "dlv_120_1");
    let older = link(&first, "older").unwrap();
    assert!(
        older.contains("status=pending&show=democon&older="),
        "{older}"
    );
    app.order("late", "democon").await;
    let second = look.get(&older).await;
    assert_eq!(lines(&second)[0], "dlv_70_1");
    let third = look.get(&link(&second, "older").unwrap()).await;
    assert_eq!(lines(&third).last().unwrap(), "dlv_1_1");
    assert_eq!(lines(&third).len(), 20);
    assert_eq!(link(&third, "older"), None);
    let back = look.get(&link(&third, "newer").unwrap()).await;
    assert_eq!(lines(&back), lines(&second));
    let up = look.get(&link(&back, "newer").unwrap()).await;
    assert_eq!(lines(&up)[0], "dlv_120_1");
    // What is left above is less than a page: the way up ends at the first.
    let (status, place) = {
        let top = look.get(&link(&up, "newer").unwrap()).await;
        (top.status, top.header("location").unwrap().to_owned())
    };
    assert_eq!(status, 303);
    assert_eq!(lines(&look.get(&place).await)[0], "dlv_121_1");
}

#[tokio::test]
async fn each_filter_finds_its_own() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.order("AAA", "democon").await;
    app.attempt(&answered(200, "ok")).await;
    app.pass_ms(3_600_000);
    app.order("BBB", "secondcon").await;
    app.attempt(&refused()).await;
    let mut look = app.browser_with(Role::Look).await;
    let path = log_path(&app).await;
    for (query, found) in [
        ("status=delivered", &["dlv_1_1"][..]),
        ("status=retrying", &["dlv_2_1"]),
        ("status=exhausted", &[]),
        ("type=pretix.event.order.paid", &["dlv_2_1", "dlv_1_1"]),
        ("type=pretix.event.order", &[]),
        ("show=secondcon", &["dlv_2_1"]),
        ("since=2026-11-20T18:30", &["dlv_2_1"]),
        ("until=2026-11-20T18:30:00", &["dlv_1_1"]),
        ("text=AAA", &["dlv_1_1"]),
        ("text=%22code%22&status=retrying", &["dlv_2_1"]),
        ("text=nothing", &[]),
    ] {
        let page = look.get(&format!("{path}?{query}")).await;
        assert_eq!(lines(&page), found, "{query}");
        assert_eq!(page.says("Nothing matches"), found.is_empty(), "{query}");
    }
    let page = look.get(&format!("{path}?since=yesterday&text=AAA")).await;
    assert_eq!(page.status, 422);
    assert!(page.body.contains("id=\"e-since\""));
    assert!(page.body.contains("value=\"yesterday\""));
}

#[tokio::test]
async fn an_empty_log_says_what_will_be_in_it() {
    let app = TestApp::new().await;
    let mut look = app.browser_with(Role::Look).await;
    let page = look.get(&log_path(&app).await).await;
    assert!(page.says("Nothing was sent yet"), "{}", page.words());
    let webhook = app.webhook(&[PAID]).await;
    let tenant = app.tenant("bigevents").await;
    let page = look
        .get(&format!("/t/{tenant}/webhooks/{webhook}/log"))
        .await;
    assert!(page.says("Nothing was sent here yet"));
}

#[tokio::test]
async fn another_tenants_deliveries_are_nowhere() {
    let app = TestApp::new().await;
    let webhook = app.webhook(&[PAID]).await;
    app.order("SECRET", "democon").await;
    let user = app.user("other", false).await;
    let other = app.tenant("othercorp").await;
    app.role(user.id, other, Some(Role::Administer)).await;
    let mut stranger = app.browser_of(user.id).await;
    let page = stranger.get(&format!("/t/{other}/log")).await;
    assert_eq!(lines(&page), Vec::<String>::new());
    for path in [
        format!("webhooks/{webhook}/log"),
        format!("webhooks/{webhook}/retry"),
        "deliveries/dlv_1_1".to_owned(),
        "deliveries/dlv_1_1/body".to_owned(),
        "deliveries/dlv_1_1/attempts/1/answer".to_owned(),
        "deliveries/dlv_x".to_owned(),
        "errands/1".to_owned(),
    ] {
        let answer = stranger.get(&format!("/t/{other}/{path}")).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let again = format!("/t/{other}/deliveries/dlv_1_1/again");
    let answer = stranger.post(&again, &[("seen", "pending.0")]).await;
    assert_eq!(answer.status, 404);
    let which = ["dlv_1_1:pending.0".to_owned()];
    let answer = chosen(&mut stranger, &format!("/t/{other}/log"), "stop", &which).await;
    assert!(
        answer
            .header("location")
            .unwrap()
            .ends_with("said=all-moved")
    );
    assert_eq!(app.due().await.len(), 1);
}

#[tokio::test]
async fn what_was_chosen_is_replayed_once_however_often_the_form_is_sent() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    for code in ["A", "B", "C"] {
        app.order(code, "democon").await;
    }
    app.attempt(&answered(200, "ok")).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let path = log_path(&app).await;
    let page = edit.get(&path).await;
    let label = "aria-label=\"Choose pretix.event.order.paid, to Webhook 1, Delivered\"";
    assert_eq!(page.body.matches(label).count(), 3);
    let which = choices(&page);
    assert_eq!(which.len(), 3);
    let place = format!("{path}?status=delivered&");
    let answer = chosen(&mut edit, &place, "again", &which[..2]).await;
    let back = format!("{place}said=retried-some");
    assert_eq!(answer.leads_to(), (303, back.as_str()));
    assert!(edit.get(&back).await.says("They are replayed."));
    assert_eq!(app.attempt(&answered(200, "ok")).await.len(), 2);
    let twice = chosen(&mut edit, &path, "again", &which[..2]).await;
    assert_eq!(
        twice.leads_to(),
        (303, format!("{path}?said=all-moved").as_str())
    );
    let part = chosen(&mut edit, &path, "again", &which).await;
    assert_eq!(
        part.leads_to(),
        (303, format!("{path}?said=retried-part").as_str())
    );
    assert_eq!(app.due().await.len(), 1);
}

#[tokio::test]
async fn what_was_chosen_is_stopped_and_nothing_leads_to_another_site() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.order("A", "democon").await;
    app.order("B", "democon").await;
    let mut edit = app.browser_with(Role::Edit).await;
    let path = log_path(&app).await;
    let which = choices(&edit.get(&path).await);
    let answer = chosen(&mut edit, &path, "stop", &which[..1]).await;
    assert_eq!(
        answer.leads_to(),
        (303, format!("{path}?said=stopped-some").as_str())
    );
    assert_eq!(app.due().await.len(), 1);
    let page = edit.get(&path).await;
    assert!(page.says("Cancelled Somebody asked that it be sent no more."));
    let tenant = path.strip_suffix("/log").unwrap();
    for evil in [
        "https://evil.example/",
        "//evil.example",
        "/t/999/log",
        "/sign-out",
        "",
    ] {
        let fields = [("do", "stop"), ("back", evil)];
        let answer = edit.post(&format!("{tenant}/deliveries"), &fields).await;
        assert_eq!(
            answer.leads_to(),
            (303, format!("{path}?said=none-chosen").as_str())
        );
    }
    let odd = edit
        .post(&format!("{tenant}/deliveries"), &[("do", "drop")])
        .await;
    assert_eq!(odd.status, 400);
}

#[tokio::test]
async fn what_seems_to_narrow_sending_all_again_is_refused() {
    let app = TestApp::new().await;
    let webhook = app.webhook(&[PAID]).await;
    app.order("A", "democon").await;
    app.attempt(&refused()).await;
    let tenant = app.tenant("bigevents").await;
    let mut edit = app.browser_with(Role::Edit).await;
    for what in ["retry", "stop"] {
        let path = format!("/t/{tenant}/webhooks/{webhook}/{what}");
        let filtered = format!("{path}?since=2030-01-01T00:00:00Z");
        for answer in [
            edit.get(&filtered).await,
            edit.post(&filtered, &[]).await,
            edit.post(&path, &[("since", "2030-01-01T00:00:00Z")]).await,
            edit.post(&path, &[("csrf_token", "x")]).await,
        ] {
            assert_eq!(answer.status, 400, "{path}");
            let named = [
                "since: There is no such parameter",
                "csrf_token: This parameter is given",
            ];
            assert!(
                named.iter().any(|words| answer.says(words)),
                "{}",
                answer.words()
            );
        }
    }
    let log = edit
        .get(&format!("/t/{tenant}/webhooks/{webhook}/log"))
        .await;
    assert!(!log.says("under way"));
    assert_eq!(app.due().await, []);
}

#[tokio::test]
async fn all_that_failed_is_replayed_after_saying_how_many() {
    let app = TestApp::new().await;
    let webhook = app.webhook(&[PAID]).await;
    for code in ["A", "B", "C"] {
        app.order(code, "democon").await;
    }
    app.attempt(&refused()).await;
    let tenant = app.tenant("bigevents").await;
    let retry = format!("/t/{tenant}/webhooks/{webhook}/retry");
    let mut edit = app.browser_with(Role::Edit).await;
    let page = edit.get(&retry).await;
    assert!(
        page.says("3 deliveries of this webhook"),
        "{}",
        page.words()
    );
    assert!(page.says("They ended undelivered, were stopped or cancelled, or wait"));
    assert_eq!(app.due().await.len(), 0);
    let begun = edit.post(&retry, &[]).await;
    let place = begun.header("location").unwrap().to_owned();
    assert!(
        place.starts_with(&format!("/t/{tenant}/errands/")),
        "{place}"
    );
    // Sent twice, it is the same bulk job.
    let twice = edit.post(&retry, &[]).await;
    assert_eq!(twice.header("location"), Some(place.as_str()));
    let page = edit.get(&place).await;
    assert!(
        page.says("Under way: 0 deliveries replayed, of about 3."),
        "{}",
        page.words()
    );
    assert!(page.body.contains("<noscript><meta http-equiv=\"refresh\""));
    let log = edit
        .get(&format!("/t/{tenant}/webhooks/{webhook}/log"))
        .await;
    assert!(log.says("Replay all undelivered: under way"));
    while app
        .store
        .step_bulk_job(Epoch::FIRST, app.now())
        .await
        .unwrap()
    {}
    let page = edit.get(&place).await;
    assert!(
        page.says("Done: 3 deliveries replayed."),
        "{}",
        page.words()
    );
    assert!(!page.body.contains("http-equiv"));
    assert_eq!(app.due().await.len(), 3);
}

#[tokio::test]
async fn all_that_waits_is_stopped_and_nothing_is_left_to_stop() {
    let app = TestApp::new().await;
    let webhook = app.webhook(&[PAID]).await;
    app.order("A", "democon").await;
    let tenant = app.tenant("bigevents").await;
    let stop = format!("/t/{tenant}/webhooks/{webhook}/stop");
    let mut edit = app.browser_with(Role::Edit).await;
    assert!(edit.get(&stop).await.says("1 delivery of this webhook"));
    assert_eq!(edit.post(&stop, &[]).await.status, 303);
    while app
        .store
        .step_bulk_job(Epoch::FIRST, app.now())
        .await
        .unwrap()
    {}
    assert_eq!(app.due().await.len(), 0);
    assert!(edit.get(&stop).await.says("Nothing is waiting"));
    let none = edit.post(&stop, &[]).await;
    assert!(none.header("location").unwrap().ends_with("said=nothing"));
}

#[tokio::test]
async fn a_disabled_webhook_explains_itself_wherever_something_could_be_sent() {
    let app = TestApp::new().await;
    let webhook = app.webhook(&[PAID]).await;
    app.order("A", "democon").await;
    app.attempt(&answered(410, "")).await;
    let tenant = app.tenant("bigevents").await;
    let mut edit = app.browser_with(Role::Edit).await;
    let hook = format!("/t/{tenant}/webhooks/{webhook}");
    for path in [
        format!("{hook}/log"),
        format!("{hook}/retry"),
        format!("/t/{tenant}/deliveries/dlv_1_1"),
    ] {
        let page = edit.get(&path).await;
        assert!(page.says("410 Gone"), "{path}: {}", page.words());
        assert!(!page.body.contains("id=\"again\""), "{path}");
        assert!(!page.body.contains("id=\"begin\""), "{path}");
    }
    let again = format!("/t/{tenant}/deliveries/dlv_1_1/again");
    let answer = edit.post(&again, &[("seen", "cancelled.1")]).await;
    assert!(answer.header("location").unwrap().ends_with("?said=off"));
    let answer = edit.post(&format!("{hook}/retry"), &[]).await;
    assert!(answer.header("location").unwrap().ends_with("?said=off"));
}

#[tokio::test]
async fn a_deleted_webhook_keeps_its_log_and_nothing_else() {
    let app = TestApp::new().await;
    let webhook = app.webhook(&[PAID]).await;
    app.order("A", "democon").await;
    app.attempt(&answered(200, "ok")).await;
    let tenant = app.tenant("bigevents").await;
    let kept = app.store.webhook(tenant, webhook).await.unwrap().unwrap();
    let deleted = model::webhook::Webhook {
        disabled: Some(model::webhook::Disablement {
            at: app.now(),
            cause: model::webhook::DisableCause::Deleted,
        }),
        ..kept
    };
    let saved = app
        .store
        .save_webhook(deleted, "test".to_owned(), app.now());
    saved.await.unwrap();
    let mut edit = app.browser_with(Role::Edit).await;
    let log = format!("/t/{tenant}/webhooks/{webhook}/log");
    let page = edit.get(&log).await;
    assert!(page.says("This webhook was deleted."), "{}", page.words());
    assert_eq!(lines(&page), ["dlv_1_1"]);
    assert!(!page.body.contains("id=\"retry-all\""));
    // Also when nothing matches.
    let page = edit.get(&format!("{log}?status=pending")).await;
    assert!(page.says("Nothing matches"), "{}", page.words());
    let detail = edit.get(&format!("/t/{tenant}/deliveries/dlv_1_1")).await;
    assert!(detail.says("Its webhook was deleted, so nothing can be replayed."));
    assert!(!detail.body.contains("id=\"again\""));
    let retry = edit
        .get(&format!("/t/{tenant}/webhooks/{webhook}/retry"))
        .await;
    assert_eq!(retry.status, 404);
}

#[tokio::test]
async fn a_log_full_of_the_longest_lines_weighs_less_than_a_page_may() {
    let app = TestApp::new().await;
    let url = format!("https://example.org/{}", "&'".repeat(500));
    let name = "<'\"&>".repeat(51);
    let tenant = app.tenant("bigevents").await;
    let webhook = app.webhook(&[PAID]).await;
    let kept = app.store.webhook(tenant, webhook).await.unwrap().unwrap();
    let changed = model::webhook::Webhook {
        target_url: url,
        ..kept
    };
    app.store
        .save_webhook(changed, "test".to_owned(), app.now())
        .await
        .unwrap();
    for number in 0..60 {
        let new = model::notification::NewNotification {
            tenant,
            key: number.to_string(),
            action_type: name.clone(),
            match_keys: Vec::new(),
            event: Some(name.clone()),
            headers: model::webhook::Headers::default(),
            body: "{}".into(),
            digest: None,
            match_context: None,
            only_webhook: Some(webhook),
            at: app.now(),
        };
        app.store.accept(vec![new]).await.unwrap();
    }
    let long = model::attempt::Failure::new(model::attempt::FailureKind::Tls, "<b>".repeat(2_000));
    app.attempt(&model::attempt::Outcome::Failed(long)).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let query = format!("type={0}&show={0}&text={0}", "%3C".repeat(255));
    for path in [
        format!("/t/{tenant}/log"),
        format!("/t/{tenant}/log?{query}"),
    ] {
        let page = edit.get(&path).await;
        assert_eq!(page.status, 200);
        assert!(
            page.body.len() < PAGE_BYTES_MAX,
            "{} bytes",
            page.body.len()
        );
        assert!(!page.body.contains("<b>"));
    }
    assert_eq!(
        lines(&edit.get(&format!("/t/{tenant}/log")).await).len(),
        50
    );
}
