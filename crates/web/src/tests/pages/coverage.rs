//! Every page of the table asks who comes, what they may, and whether a form is ours. Nothing
//! here names a page: what is added to the table is covered.

use std::sync::Arc;

use http::Method;
use model::users::Role;

use super::browser::Browser;
use crate::dashboard::{PageAccess, PageRoute, Pages};
use crate::tests::harness::{Arrived, TestApp, asking};

fn every() -> Vec<Arc<PageRoute>> {
    Pages::all().iter().cloned().collect()
}

/// A path that leads to the page, for this tenant.
fn path_of(page: &PageRoute, tenant: i64) -> String {
    let fill = |segment: &str| match segment {
        "{tenant}" => tenant.to_string(),
        "{delivery}" => "dlv_1_1".to_owned(),
        "{name}" => "app.css".to_owned(),
        "{profile}" => "standard".to_owned(),
        "{secret}" => "abc".to_owned(),
        other if other.starts_with('{') => "1".to_owned(),
        other => other.to_owned(),
    };
    let segments: Vec<String> = page.path.split('/').map(fill).collect();
    segments.join("/")
}

async fn ask(browser: &mut Browser<'_>, page: &PageRoute, path: &str) -> Arrived {
    match page.method == Method::POST {
        true => browser.post(path, &[]).await,
        false => browser.get(path).await,
    }
}

#[tokio::test]
async fn nobody_sees_a_page_before_signing_in() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await.0;
    let stale = "a1".repeat(31);
    for page in every() {
        let path = path_of(&page, tenant);
        for session in [None, Some(stale.clone())] {
            let mut nobody = app.browser();
            nobody
                .cookies
                .extend(session.map(|session| ("willcall_session".to_owned(), session)));
            let answer = ask(&mut nobody, &page, &path).await;
            let (status, place) = answer.leads_to();
            let sent_away = status == 303 && place.starts_with("/sign-in?next=%2F");
            assert_eq!(
                sent_away,
                page.needs != PageAccess::Nothing,
                "{path}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_tenant_or_an_administrators_page_from_nothing() {
    let app = TestApp::new().await;
    let user = app.user("stranger", false).await;
    let other = app.tenant("othercorp").await;
    app.role(user.id, other, Some(Role::Administer)).await;
    let tenant = app.tenant("bigevents").await.0;
    let mut stranger = app.browser_of(user.id).await;
    let nothing = stranger.get("/t/999999").await;
    assert_eq!(nothing.status, 404);
    for page in every() {
        if matches!(
            page.needs,
            PageAccess::Nothing | PageAccess::User | PageAccess::Profile
        ) {
            continue;
        }
        let path = path_of(&page, tenant);
        let answer = ask(&mut stranger, &page, &path).await;
        assert_eq!(answer.status, 404, "{} {path}", page.method);
        assert_eq!(answer.words(), nothing.words(), "{path}");
    }
}

#[tokio::test]
async fn a_role_that_is_too_small_is_turned_away_and_told_which_it_takes() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await.0;
    let mut look = app.browser_with(Role::Look).await;
    let mut edit = app.browser_with(Role::Edit).await;
    for page in every() {
        let path = path_of(&page, tenant);
        let lacking: &mut [&mut Browser<'_>] = match page.needs {
            PageAccess::Role(Role::Edit) => &mut [&mut look],
            PageAccess::Role(Role::Administer) => &mut [&mut look, &mut edit],
            PageAccess::Nothing
            | PageAccess::User
            | PageAccess::Profile
            | PageAccess::Administrator
            | PageAccess::Role(Role::Look) => {
                continue;
            }
        };
        for browser in lacking {
            let answer = ask(browser, &page, &path).await;
            assert_eq!(answer.status, 403, "{} {path}", page.method);
            assert!(answer.says("That takes the role"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_form_that_is_not_ours_does_nothing() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await.0;
    let mut root = app.administrator().await;
    let posts = every().into_iter();
    for page in posts.filter(|page| page.method == Method::POST) {
        let path = path_of(&page, tenant);
        for fields in [&[][..], &[("csrf_token", "x")], &[("csrf_token", "")]] {
            let answer = root.post_as_is(&path, fields).await;
            assert_eq!(answer.status, 403, "{path}");
            assert!(answer.says("This form is out of date"), "{path}");
        }
        let body = format!("csrf_token={}", root.csrf_token());
        for (name, value) in [
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
        ] {
            let asking = asking("POST", &path)
                .with("Content-Type", "application/x-www-form-urlencoded")
                .with(name, value)
                .body(body.as_str());
            assert_eq!(root.send(asking).await.status, 403, "{path} {value}");
        }
    }
    // None of them has signed the administrator out.
    assert_eq!(root.get("/account").await.status, 200);
}

#[tokio::test]
async fn whoever_may_see_a_page_sees_it_and_no_page_can_be_used_by_another_site() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let tenant = app.tenant("bigevents").await.0;
    let mut root = app.administrator().await;
    for page in every() {
        let path = path_of(&page, tenant);
        let answer = match page.method == Method::POST {
            true => root.post_as_is(&path, &[]).await,
            false => root.get(&path).await,
        };
        assert!(answer.status.as_u16() < 500, "{path}: {answer:?}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let is_asset = page.path.starts_with("/assets/");
        assert_eq!(
            answer.header("cache-control") == Some("no-store"),
            !is_asset
        );
        for bad in [" style=\"", " onclick=", "<script>", "javascript:"] {
            assert!(is_asset || !answer.body.contains(bad), "{path}: {bad}");
        }
    }
}

#[tokio::test]
async fn a_path_that_knows_another_method_says_which() {
    let app = TestApp::new().await;
    let mut root = app.administrator().await;
    let answer = root.send(asking("DELETE", "/users/new")).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("GET, POST"));
    assert_eq!(root.get("/users/new/").await.status, 404);
    let head = root.send(asking("HEAD", "/users")).await;
    assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
}
