//! Portal links: a customer comes to the pages of their own tenant, and to nothing else.

use model::limits::{PORTAL_LINK_MS_DEFAULT, SESSION_MS};
use model::users::Role;
use serde_json::{Value, json};

use super::browser::Browser;
use crate::dashboard::{PageAccess, Pages};
use crate::tests::harness::{Arrived, TestApp, asking};

const LINKS: &str = "/willcall/v1/tenants/pretix/bigevents/portal_links";

const GONE: &str = "This link was used already, is too old, or is not whole.";

async fn ask(app: &TestApp, method: &str, body: &Value) -> Arrived {
    let asking = asking(method, LINKS).by("tokenadmin");
    app.ask(asking.json(body.to_string())).await
}

/// The path of a new link.
async fn link(app: &TestApp, body: &Value) -> String {
    let made = ask(app, "POST", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let made = made.json();
    let path = made["path"].as_str().unwrap();
    assert_eq!(made["url"], format!("http://127.0.0.1:18544{path}"));
    path.to_owned()
}

/// A browser that followed a link of this role, for Anna.
async fn visitor(app: &TestApp, role: Role) -> Browser<'_> {
    let path = link(app, &json!({ "role": role.as_str(), "name": "Anna" })).await;
    let mut browser = app.browser();
    let tenant = app.tenant("bigevents").await;
    let came = browser.get(&path).await;
    assert_eq!(came.leads_to(), (303, format!("/t/{tenant}").as_str()));
    browser
}

#[tokio::test]
async fn a_portal_link_leads_to_its_tenants_pages_and_to_nothing_else() {
    let app = TestApp::new().await;
    let (own, other) = (app.tenant("bigevents").await, app.tenant("othercorp").await);
    let mut anna = visitor(&app, Role::Edit).await;
    let page = anna.get(&format!("/t/{own}")).await;
    assert_eq!(page.status, 200);
    assert!(page.says("Anna (portal link)"), "{}", page.words());
    assert!(!page.body.contains("href=\"/account\""));
    assert!(!page.body.contains("href=\"/users\""));
    let home = anna.get("/").await;
    assert_eq!(home.leads_to(), (303, format!("/t/{own}").as_str()));
    let nothing = anna.get(&format!("/t/{}", 999_999)).await;
    let theirs = anna.get(&format!("/t/{other}")).await;
    assert_eq!(
        (theirs.status.as_u16(), theirs.words()),
        (404, nothing.words())
    );
    for page in Pages::all().iter() {
        if matches!(page.needs, PageAccess::Profile | PageAccess::Administrator) {
            let path = page.path.replace("{user}", "1");
            let answer = match page.method == http::Method::POST {
                true => anna.post(&path, &[]).await,
                false => anna.get(&path).await,
            };
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    for path in ["/?q=corp", "/failing"] {
        let list = anna.get(path).await;
        assert!(!list.body.contains("othercorp"), "{path}");
    }
}

#[tokio::test]
async fn a_portal_session_may_what_its_role_says_and_the_audit_log_says_who_it_was() {
    let app = TestApp::new().await;
    let own = app.tenant("bigevents").await;
    let (webhooks, settings) = (
        format!("/t/{own}/webhooks/new"),
        format!("/t/{own}/settings"),
    );
    let fields = [
        ("target_url", "https://a.example/"),
        ("events", "all"),
        ("action_types", "pretix.event.order.paid"),
    ];
    let mut looks = visitor(&app, Role::Look).await;
    looks.get(&settings).await;
    assert_eq!(looks.post(&webhooks, &fields).await.status, 403);
    let mut edits = visitor(&app, Role::Edit).await;
    edits.get(&settings).await;
    assert_eq!(
        edits.get(&format!("{settings}/tokens/new")).await.status,
        403
    );
    let mut administers = visitor(&app, Role::Administer).await;
    let new = format!("{settings}/tokens");
    administers.get(&format!("{new}/new")).await;
    let token = [("name", "till"), ("permission", "notifications:write")];
    let made = administers.post(&new, &token).await;
    assert_eq!(made.status, 200, "{}", made.words());
    let entries = app.store.audit(own, 50).await.unwrap();
    let line = |entry: &model::query::AuditEntry| (entry.actor.clone(), entry.action.clone());
    let lines: Vec<_> = entries.iter().map(line).collect();
    let by = |actor: &str, action: &str| (actor.to_owned(), action.to_owned());
    assert_eq!(lines[0], by("Anna (portal link)", "token.created"));
    assert_eq!(lines[1], by("Anna (portal link)", "portal.signed_in"));
    assert_eq!(lines[2], by("admin", "portal_link.created"));
    let told = administers.get(&format!("{settings}/audit")).await;
    assert!(told.says("made a portal link for Anna"), "{}", told.words());
    assert!(told.says("came in with the role administer"));
}

#[tokio::test]
async fn a_link_that_was_used_is_too_old_or_is_no_link_says_so() {
    let app = TestApp::new().await;
    let body = json!({ "role": "look" });
    let used = link(&app, &body).await;
    let head = app.browser().send(asking("HEAD", &used)).await;
    assert_eq!(head.status, 200, "a look at it does not use it up");
    assert_eq!(app.browser().get(&used).await.status, 303);
    let old = link(&app, &body).await;
    app.pass_ms(PORTAL_LINK_MS_DEFAULT);
    let late = json!({ "role": "look", "lifetime_seconds": 900 });
    let longer = link(&app, &late).await;
    app.pass_ms(899_000);
    assert_eq!(app.browser().get(&longer).await.status, 303);
    for path in [used.as_str(), &old, "/link/abc"] {
        let mut browser = app.browser();
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.says(GONE), "{}", answer.words());
        assert!(!browser.cookies.contains_key("willcall_session"));
    }
}

#[tokio::test]
async fn a_portal_session_ends_after_twelve_hours_by_signing_out_and_when_all_are_ended() {
    let app = TestApp::new().await;
    let own = format!("/t/{}", app.tenant("bigevents").await);
    let mut late = visitor(&app, Role::Look).await;
    app.pass_ms(SESSION_MS - 1);
    assert_eq!(late.get(&own).await.status, 200);
    app.pass_ms(1);
    assert_eq!(late.get(&own).await.status, 303);
    let mut leaves = visitor(&app, Role::Look).await;
    let cookies = leaves.cookies.clone();
    leaves.get(&own).await;
    leaves.post("/sign-out", &[]).await;
    leaves.cookies = cookies;
    assert_eq!(leaves.get(&own).await.status, 303);
    let mut ended = visitor(&app, Role::Look).await;
    let waiting = link(&app, &json!({ "role": "look" })).await;
    assert_eq!(ask(&app, "DELETE", &json!({})).await.status, 204);
    assert_eq!(ended.get(&own).await.status, 303);
    assert_eq!(app.browser().get(&waiting).await.status, 403);
}

#[tokio::test]
async fn visitors_of_one_portal_follow_their_logs_live_each_for_themselves() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let own = app.tenant("bigevents").await;
    let mut streams = Vec::new();
    for _ in 0..model::limits::LIVE_STREAMS_USER_MAX + 1 {
        let mut anna = visitor(&app, Role::Look).await;
        let stream = anna
            .open(asking("GET", &format!("/t/{own}/log/live")))
            .await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_link_that_is_asked_for_is_named() {
    let app = TestApp::new().await;
    for (body, field) in [
        (json!({}), "role"),
        (json!({ "role": "root" }), "role"),
        (json!({ "role": "look", "name": "" }), "name"),
        (json!({ "role": "look", "name": "x (portal link)" }), "name"),
        (json!({ "role": "look", "name": 1 }), "name"),
        (
            json!({ "role": "look", "lifetime_seconds": 9 }),
            "lifetime_seconds",
        ),
        (
            json!({ "role": "look", "lifetime_seconds": 901 }),
            "lifetime_seconds",
        ),
        (
            json!({ "role": "look", "lifetime_seconds": 1.5 }),
            "lifetime_seconds",
        ),
        (json!({ "role": "look", "user": "anna" }), "user"),
    ] {
        let answer = ask(&app, "POST", &body).await;
        assert_eq!(answer.status, 400, "{body}");
        let errors = answer.json()["errors"].as_object().unwrap().clone();
        let fields: Vec<&String> = errors.keys().collect();
        assert_eq!(fields, [field], "{body}");
    }
}

/// The cookies of sessions that an answer sets.
fn sessions(answer: &Arrived) -> Vec<String> {
    let all = answer.headers.get_all("set-cookie").iter();
    let all = all.map(|cookie| cookie.to_str().unwrap());
    let own = all.filter_map(|cookie| cookie.strip_prefix("willcall_session="));
    own.map(|cookie| cookie.split_once("; ").unwrap().1.to_owned())
        .collect()
}

const FRAMED: &str = "SameSite=None; Secure; Partitioned";

#[tokio::test]
async fn only_a_portal_session_over_https_has_a_cookie_for_frames_and_only_if_they_are_set() {
    let lax = "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax".to_owned();
    let secure = format!("{lax}; Secure");
    let framed = format!("Path=/; Max-Age=43200; HttpOnly; {FRAMED}");
    let origin = "https://tickets.example.org";
    for (app, https, expected) in [
        (TestApp::new().await, false, lax.clone()),
        (TestApp::new().await, true, secure.clone()),
        (TestApp::framed_by(origin).await, false, lax.clone()),
        (TestApp::framed_by(origin).await, true, framed),
    ] {
        let scheme = if https { "https" } else { "http" };
        let is_framed = expected.contains(FRAMED);
        let path = link(&app, &json!({ "role": "look" })).await;
        let follow = |path: &str| asking("GET", path).with("X-Forwarded-Proto", scheme);
        let mut browser = app.browser();
        let came = browser.send(follow(&path)).await;
        let cookies = sessions(&came);
        assert_eq!(cookies.last(), Some(&expected));
        // The other one ends: of two, a browser would send both.
        assert_eq!(cookies.len(), if is_framed { 3 } else { 1 }, "{cookies:?}");
        let page = browser.get("/").await;
        let policy = page.header("content-security-policy").unwrap();
        let denied = policy.ends_with("frame-ancestors 'none'");
        assert_eq!(denied, page.header("x-frame-options") == Some("DENY"));
        assert!(
            denied || policy.ends_with(&format!("frame-ancestors {origin}")),
            "{policy}"
        );
        // A user's own session is for no frame.
        let user = app.user("anna", false).await;
        let until = app.now().plus_ms(1_000);
        let hash = model::tenant::TokenHash::of("own");
        app.store.create_link(hash, user.id, until).await.unwrap();
        let own = app.browser().send(follow("/link/own")).await;
        let last = sessions(&own).pop().unwrap();
        assert_eq!(last, if https { secure.clone() } else { lax.clone() });
    }
}
