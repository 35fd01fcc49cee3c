//! A platform's own look: name, color and logo on every page, and what an image may not do.

use crate::WebSettings;
use crate::dashboard::brand::{self, Brand};
use crate::tests::harness::TestApp;

/// The value of an attribute that begins so.
fn path<'a>(page: &'a str, start: &str) -> &'a str {
    let from = page.find(start).unwrap();
    page[from..].split('"').next().unwrap()
}

#[tokio::test]
async fn pages_have_the_platforms_name_color_and_logo() {
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let app = TestApp::with_settings(WebSettings {
        brand: Brand {
            name: brand::name("Box <Office>").unwrap(),
            style: brand::style("#ffee00").unwrap(),
            logo: Some(brand::logo(svg.to_vec()).unwrap()),
        },
        ..WebSettings::default()
    })
    .await;
    let mut browser = app.browser();
    let page = browser.get("/sign-in").await;
    assert!(
        page.body.contains("\u{b7} Box &#60;Office&#62;</title>"),
        "{}",
        page.body
    );
    let sheet = browser.get(path(&page.body, "/assets/brand.css?")).await;
    assert_eq!(
        sheet.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert!(
        !sheet
            .body
            .contains("--accent: #ffee00; --accent-ink: #ffffff")
    );
    let logo = browser.get(path(&page.body, "/assets/logo?")).await;
    assert_eq!(logo.header("content-type"), Some("image/svg+xml"));
    assert_eq!(logo.body.as_bytes(), svg);
    let policy = logo.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.ends_with("sandbox"));
    assert_eq!(logo.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn without_a_brand_pages_are_willcalls() {
    let app = TestApp::new().await;
    let mut browser = app.browser();
    let page = browser.get("/sign-in").await;
    assert!(page.body.contains("\u{b7} Willcall</title>"));
    assert!(!page.body.contains("/assets/brand.css") && !page.body.contains("/assets/logo"));
    for name in ["brand.css", "logo"] {
        assert_eq!(browser.get(&format!("/assets/{name}")).await.status, 404);
    }
}
