//! Pages that are followed live, with time that passes only when nobody has anything to do.

use crate::transport::body::Body;
use http::Response;
use http_body_util::BodyExt;
use model::delivery::DispatchState;
use model::lease::Epoch;
use model::limits::LIVE_STREAMS_SESSION_MAX;
use model::tenant::TokenHash;
use model::users::Role;
use tokio::time::{Duration, Instant, timeout};

use super::browser::Browser;
use super::past::{PAID, answered, refused};
use crate::tests::harness::{TestApp, asking};

/// An app in which pages can be followed.
async fn app() -> TestApp {
    let app = TestApp::new().await;
    app.stopping.send_replace(false);
    app.webhook(&[PAID]).await;
    app
}

/// What the page at `path` says to follow it by.
async fn live_of(browser: &mut Browser<'_>, path: &str) -> String {
    let page = browser.get(path).await;
    let (_, rest) = page.body.split_once("data-live=\"").unwrap();
    let place = rest.split('"').next().unwrap();
    place.replace("&#38;", "&")
}

async fn open(browser: &mut Browser<'_>, path: &str) -> Response<Body> {
    let stream = browser.open(asking("GET", path)).await;
    assert_eq!(stream.status(), 200);
    let kind = stream.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "text/event-stream; charset=utf-8");
    assert_eq!(stream.headers()["cache-control"], "no-store");
    stream
}

/// The next piece, if one comes within this time.
async fn next(stream: &mut Response<Body>, within_ms: u64) -> Option<String> {
    let frame = timeout(Duration::from_millis(within_ms), stream.frame()).await;
    let frame = frame.ok()??.unwrap();
    let data = frame.into_data().unwrap();
    Some(String::from_utf8(data.to_vec()).unwrap())
}

/// What comes first says when to come back, and what is new already.
async fn first(stream: &mut Response<Body>) -> String {
    let piece = next(stream, 10).await.unwrap();
    piece.strip_prefix("retry: 2000\n\n").unwrap().to_owned()
}

/// Whether the stream has ended, and not only nothing to say.
async fn has_ended(stream: &mut Response<Body>) -> bool {
    let frame = timeout(Duration::from_secs(20), async {
        while let Some(frame) = stream.frame().await {
            drop(frame);
        }
    });
    frame.await.is_ok()
}

fn ids(piece: &str) -> Vec<&str> {
    let rows = piece.split("<tr id=\"row-").skip(1);
    rows.map(|row| row.split('"').next().unwrap()).collect()
}

fn mark(piece: &str) -> String {
    let (_, rest) = piece.rsplit_once("id: ").unwrap();
    rest.lines().next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn new_lines_come_within_a_second_and_then_what_becomes_of_them() {
    let app = app().await;
    app.order("A", "democon").await;
    let mut edit = app.browser_with(Role::Edit).await;
    let log = format!("/t/{}/log", app.tenant("bigevents").await);
    let live = live_of(&mut edit, &log).await;
    let mut stream = open(&mut edit, &live).await;
    // What waits may have changed since the page was made, so it comes once more.
    assert_eq!(ids(&first(&mut stream).await), ["dlv_1_1"]);
    assert_eq!(next(&mut stream, 5_000).await, None);
    app.order("B", "democon").await;
    app.order("C", "secondcon").await;
    let piece = next(&mut stream, 1_001).await.unwrap();
    assert_eq!(ids(&piece), ["dlv_2_1", "dlv_3_1"]);
    assert!(piece.starts_with("event: put\ndata: <tr id="));
    assert!(piece.contains("value=\"dlv_2_1:pending.0\""));
    assert!(piece.contains(">Webhook 1</a>"), "{piece}");
    app.attempt(&answered(200, "ok")).await;
    let piece = next(&mut stream, 1_001).await.unwrap();
    assert_eq!(ids(&piece), ["dlv_1_1", "dlv_2_1", "dlv_3_1"]);
    assert!(piece.contains("Delivered"));
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_goes_on_without_a_gap() {
    let app = app().await;
    for code in ["A", "B"] {
        app.order(code, "democon").await;
    }
    app.attempt(&answered(200, "ok")).await;
    app.pass_ms(3_600_000);
    app.order("C", "democon").await;
    let mut look = app.browser_with(Role::Look).await;
    let log = format!("/t/{}/log", app.tenant("bigevents").await);
    let live = live_of(&mut look, &log).await;
    let mut stream = open(&mut look, &live).await;
    let heard = mark(&first(&mut stream).await);
    drop(stream);
    app.pass_ms(60_000);
    app.attempt(&refused()).await;
    app.order("D", "democon").await;
    let back = asking("GET", &live).with("Last-Event-ID", &heard);
    let mut stream = look.open(back).await;
    // C has changed, D is new, and A and B ended long before.
    assert_eq!(ids(&first(&mut stream).await), ["dlv_3_1", "dlv_4_1"]);
    let odd = asking("GET", &live).with("Last-Event-ID", "<nonsense>");
    let mut stream = look.open(odd).await;
    assert_eq!(ids(&first(&mut stream).await).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn only_what_matches_comes_and_only_of_the_tenant_and_webhook() {
    let app = app().await;
    let other = app.webhook(&["pretix.event.order.placed"]).await;
    let tenant = app.tenant("bigevents").await;
    let mut look = app.browser_with(Role::Look).await;
    let mut streams = Vec::new();
    for path in [
        format!("/t/{tenant}/log?show=secondcon"),
        format!("/t/{tenant}/log?text=%22B%22"),
        format!("/t/{tenant}/webhooks/{other}/log"),
    ] {
        // Shown although it is empty: the webhook exists.
        let live = live_of(&mut look, &path).await;
        let mut stream = open(&mut look, &live).await;
        assert_eq!(ids(&first(&mut stream).await), Vec::<&str>::new());
        streams.push(stream);
    }
    app.order("A", "secondcon").await;
    app.order("B", "democon").await;
    let mut came = Vec::new();
    for stream in &mut streams {
        let piece = next(stream, 2_000).await.unwrap_or_default();
        came.push(ids(&piece).join(" "));
    }
    assert_eq!(came, ["dlv_1_1", "dlv_2_1", ""]);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_looked_for_is_found_when_it_comes_about() {
    let app = app().await;
    app.order("A", "democon").await;
    let mut look = app.browser_with(Role::Look).await;
    let log = format!("/t/{}/log?status=retrying", app.tenant("bigevents").await);
    let live = live_of(&mut look, &log).await;
    let mut stream = open(&mut look, &live).await;
    assert_eq!(ids(&first(&mut stream).await), Vec::<&str>::new());
    app.attempt(&refused()).await;
    // Looked for by the clock of the app, which stands still here.
    assert_eq!(next(&mut stream, 1_500).await, None);
    app.pass_ms(3_000);
    let piece = next(&mut stream, 1_001).await.unwrap();
    assert_eq!(ids(&piece), ["dlv_1_1"]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_told_as_one() {
    let app = app().await;
    app.order("A", "democon").await;
    let mut look = app.browser_with(Role::Look).await;
    let log = format!("/t/{}/log", app.tenant("bigevents").await);
    let live = live_of(&mut look, &log).await;
    let mut stream = open(&mut look, &live).await;
    first(&mut stream).await;
    for number in 0..200 {
        app.order(&format!("N{number}"), "democon").await;
    }
    let piece = next(&mut stream, 1_001).await.unwrap();
    assert!(piece.contains("event: too-many\n"), "{piece}");
    assert_eq!(ids(&piece), Vec::<&str>::new());
    app.order("B", "democon").await;
    assert_eq!(next(&mut stream, 3_000).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_shows_that_it_lives_and_ends_after_some_minutes() {
    let app = app().await;
    let mut look = app.browser_with(Role::Look).await;
    let log = format!("/t/{}/log", app.tenant("bigevents").await);
    let live = live_of(&mut look, &log).await;
    let began_at = Instant::now();
    let mut stream = open(&mut look, &live).await;
    first(&mut stream).await;
    let mut signs = 0;
    while let Some(piece) = next(&mut stream, 600_000).await {
        assert_eq!(piece, ":\n\n");
        signs += 1;
    }
    assert!((18..=20).contains(&signs), "{signs}");
    assert_eq!(began_at.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_session_with_the_role_and_when_the_house_stops() {
    let app = app().await;
    let tenant = app.tenant("bigevents").await;
    let user = app.user("anna", false).await;
    app.role(user.id, tenant, Some(Role::Look)).await;
    let log = format!("/t/{tenant}/log");

    let mut anna = app.browser_of(user.id).await;
    let live = live_of(&mut anna, &log).await;
    let mut stream = open(&mut anna, &live).await;
    first(&mut stream).await;
    app.role(user.id, tenant, None).await;
    assert!(has_ended(&mut stream).await);

    app.role(user.id, tenant, Some(Role::Look)).await;
    let mut stream = open(&mut anna, &live).await;
    let session = TokenHash::of(&anna.cookies["willcall_session"]);
    app.store.end_session(session).await.unwrap();
    assert!(has_ended(&mut stream).await);

    let mut root = app.administrator().await;
    let mut stream = open(&mut root, &live).await;
    first(&mut stream).await;
    let began_at = Instant::now();
    app.stopping.send_replace(true);
    assert!(has_ended(&mut stream).await);
    assert_eq!(began_at.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_follows_so_many_pages_at_once_and_no_more() {
    let app = app().await;
    let mut look = app.browser_with(Role::Look).await;
    let log = format!("/t/{}/log", app.tenant("bigevents").await);
    let live = live_of(&mut look, &log).await;
    let mut streams = Vec::new();
    for _ in 0..LIVE_STREAMS_SESSION_MAX {
        streams.push(open(&mut look, &live).await);
    }
    // Tells a browser not to come back by itself.
    assert_eq!(look.open(asking("GET", &live)).await.status(), 204);
    drop(streams.pop());
    open(&mut look, &live).await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_goes_on_while_it_is_read() {
    let app = app().await;
    app.order("A", "democon").await;
    let mut edit = app.browser_with(Role::Edit).await;
    let path = format!("/t/{}/deliveries/dlv_1_1", app.tenant("bigevents").await);
    let live = live_of(&mut edit, &path).await;
    let mut stream = open(&mut edit, &live).await;
    assert_eq!(first(&mut stream).await, "");
    app.attempt(&answered(500, "</li><script>")).await;
    let piece = next(&mut stream, 1_001).await.unwrap();
    assert!(
        piece.contains("<li id=\"attempt-1\" data-in=\"attempts\""),
        "{piece}"
    );
    assert!(piece.contains("Retry 1 of"));
    assert!(!piece.contains("<script>"));
    let csrf_token = edit.csrf_token();
    assert!(piece.contains(&format!("name=\"csrf_token\" value=\"{csrf_token}\"")));
    app.order("B", "democon").await;
    assert_eq!(next(&mut stream, 3_000).await, None);
    let heard = mark(&piece);
    drop(stream);
    app.pass_ms(6_000);
    app.attempt(&answered(200, "ok")).await;
    let back = asking("GET", &live).with("Last-Event-ID", &heard);
    let piece = first(&mut edit.open(back).await).await;
    assert!(piece.contains("id=\"attempt-2\"") && !piece.contains("id=\"attempt-1\""));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_read_says_when_the_call_is_sent_though_nothing_is_written() {
    let app = app().await;
    app.order("A", "democon").await;
    let mut edit = app.browser_with(Role::Edit).await;
    let path = format!("/t/{}/deliveries/dlv_1_1", app.tenant("bigevents").await);
    let live = live_of(&mut edit, &path).await;
    let at = |at| *app.dispatch_state.lock().unwrap() = Some(at);
    at(DispatchState::InFlightLimited);
    let mut stream = open(&mut edit, &live).await;
    assert!(first(&mut stream).await.contains("Not sent yet, because"));
    assert_eq!(next(&mut stream, 3_000).await, None);
    at(DispatchState::InFlight);
    let piece = next(&mut stream, 1_001).await.unwrap();
    assert!(
        piece.contains("It is sent, and there is no answer yet"),
        "{piece}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bulk_job_is_followed_to_its_end() {
    let app = app().await;
    app.order("A", "democon").await;
    app.attempt(&refused()).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let tenant = app.tenant("bigevents").await;
    let begun = edit
        .post(&format!("/t/{tenant}/webhooks/1/retry"), &[])
        .await;
    let place = begun.header("location").unwrap().to_owned();
    let live = live_of(&mut edit, &place).await;
    let mut stream = open(&mut edit, &live).await;
    assert_eq!(first(&mut stream).await, "");
    while app
        .store
        .step_bulk_job(Epoch::FIRST, app.now())
        .await
        .unwrap()
    {}
    let piece = next(&mut stream, 1_001).await.unwrap();
    assert!(
        piece.contains("id=\"progress\"") && piece.contains("Done"),
        "{piece}"
    );
    assert!(piece.ends_with("event: over\ndata\n\n"));
    assert!(has_ended(&mut stream).await);
}
