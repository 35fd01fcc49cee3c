//! Journeys: what somebody does from signing in to a delivery that went wrong and was mended.

use super::driver::{Browser, ENTER, SPACE, Wants};
use super::{House, NAME, PAID, PASSWORD};
use crate::administrators::administrator;

/// Signs in (wrongly first), makes a webhook of each platform, sees what they are called for.
fn make_both_kinds(app: &House, browser: &Browser, scripts: bool) {
    browser.go(&app.url("/"));
    browser.fill("#name", NAME);
    browser.fill("#password", "not the password");
    browser.click("main form button");
    browser.find_text("The name or the password is wrong");
    browser.fill("#password", PASSWORD);
    browser.click("main form button");
    browser.click_on(&browser.find_text("Big Events"));

    browser.click("main a[href$='/webhooks/new']");
    browser.fill("#target_url", "example");
    browser.click(&type_box());
    browser.click("#webhook-form button.primary");
    // Said at the field and in a summary, and what was chosen is still there.
    browser.find("#faults a[href='#target_url']");
    browser.find("#target_url[aria-invalid=true]");
    browser.find(&format!("{}:checked", type_box()));
    browser.fill("#target_url", &app.receiver.url("/orders"));
    browser.click("#webhook-form button.primary");
    browser.find_text("The webhook is created.");

    browser.go(&app.url("/"));
    browser.click_on(&browser.find_text("Grand Hall"));
    browser.click("main a[href$='/webhooks/new']");
    browser.fill("#name", "Paid orders");
    browser.fill("#url", &app.receiver.url("/hall"));
    if scripts {
        browser.choose("#trigger-first", "order");
        browser.choose("#trigger-second", "paid");
        browser.find_text("Fires when an order is paid.");
    } else {
        browser.choose("#trigger", "order: paid");
    }
    browser.click("#webhook-form button.primary");
    browser.find_text("The webhook is created.");
}

fn type_box() -> String {
    format!("input[name=action_types][value='{PAID}']")
}

/// From a delivery that arrives to one that fails, is sent again, and a receiver that is gone.
fn follow_deliveries(app: &House, browser: &Browser, scripts: bool) {
    browser.go(&app.url("/t/1/log"));
    app.hand_in(1);
    assert!(app.receiver.next().body.contains("A1"));
    if !scripts {
        browser.go(&app.url("/t/1/log"));
    }
    browser.find("tr[id^=row-] .badge.good");
    browser.click("tr[id^=row-] th a");
    browser.find("#state-title");
    browser.find_text("Answered 200, delivered.");

    app.report();
    assert_eq!(app.receiver.next().path, "/hall");

    app.answer(500);
    app.hand_in(2);
    app.receiver.next();
    browser.go(&app.url("/t/1/log?status=retrying"));
    until(browser, "tr[id^=row-] .badge.waiting");
    browser.click("tr[id^=row-] th a");
    browser.find_text("Answered 500");
    browser.find_text("Retry 1 of 12");

    // One is sent again by hand.
    app.answer(200);
    browser.click("#state button.primary");
    app.receiver.next();
    until(browser, "#state .badge.good");

    // All that failed are sent again at once.
    app.answer(500);
    app.hand_in(3);
    app.hand_in(4);
    app.receiver.next();
    app.receiver.next();
    browser.go(&app.url("/t/1/webhooks/1/log?status=retrying"));
    until(browser, "tr[id^=row-] ~ tr[id^=row-] .badge.waiting");
    app.answer(200);
    browser.click("#retry-all");
    assert_eq!(browser.text("#count"), "2 deliveries");
    browser.click("#begin");
    browser.find("progress");
    app.receiver.next();
    app.receiver.next();
    until(browser, "#progress .actions a");
    assert!(browser.text("#progress").contains('2'));

    // A receiver that says it is gone.
    app.answer(410);
    app.hand_in(5);
    app.receiver.next();
    browser.go(&app.url("/t/1"));
    until_text(browser, "because its receiver answered 410 Gone");
}

/// Waits for what matches; where scripts do not run, the page is asked for again.
fn until(browser: &Browser, css: &str) {
    while browser.is_without_scripts() && browser.count(css) == 0 {
        browser.reload();
    }
    browser.find(css);
}

fn until_text(browser: &Browser, text: &str) {
    while browser.is_without_scripts() && !browser.text("body").contains(text) {
        browser.reload();
    }
    browser.find_text(text);
}

#[test]
fn with_scripts_webhooks_are_made_and_deliveries_followed_live() {
    let (app, browser) = (House::new(), Browser::open(Wants::default()));
    make_both_kinds(&app, &browser, true);
    follow_deliveries(&app, &browser, true);
}

#[test]
fn without_scripts_all_of_it_works_too() {
    let (app, browser) = (House::new(), Browser::open(Wants { no_scripts: true }));
    make_both_kinds(&app, &browser, false);
    follow_deliveries(&app, &browser, false);
}

#[test]
fn a_test_shows_what_the_receiver_answers_at_once() {
    let (app, browser) = (House::new(), Browser::open(Wants::default()));
    app.server
        .client()
        .webhook(&app.receiver.url("/orders"), &[PAID]);
    app.sign_in(&browser);
    browser.go(&app.url("/t/1/webhooks/1"));
    browser.click("#send-test");
    browser.click("#send");
    browser.find("#outcome .badge.good");
    assert!(app.receiver.next().body.contains(PAID));
}

#[test]
fn a_wrong_address_is_explained_where_the_delivery_stands() {
    let (app, browser) = (House::new(), Browser::open(Wants::default()));
    // Nobody listens there: the receiver's port was given back.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", nobody.local_addr().unwrap());
    drop(nobody);
    app.server.client().webhook(&url, &[PAID]);
    app.hand_in(1);
    app.sign_in(&browser);
    browser.go(&app.url("/t/1/log"));
    browser.click("tr[id^=row-] th a");
    browser.find_text("No connection to the receiver came about");
    browser.go(&app.url("/t/1"));
    browser.find_text("Failing");
}

#[test]
fn the_keyboard_alone_is_enough() {
    let (app, browser) = (House::new(), Browser::open(Wants::default()));
    browser.go(&app.url("/t/1"));
    browser.find("#name");
    browser.tab_to("#name");
    browser.press(NAME);
    browser.tab_to("#password");
    browser.press(&format!("{PASSWORD}{ENTER}"));
    browser.find(".who");
    // Where somebody wanted to go is where they are after signing in.
    assert!(browser.url().ends_with("/t/1"), "{}", browser.url());
    browser.tab_to("a[href='/t/1/webhooks/new']");
    browser.press(&ENTER.to_string());
    browser.find("#webhook-form");
    browser.tab_to("#target_url");
    browser.press(&app.receiver.url("/keys"));
    browser.tab_to(&type_box());
    browser.press(&SPACE.to_string());
    browser.tab_to("#webhook-form button.primary");
    browser.press(&ENTER.to_string());
    browser.find_text("The webhook is created.");
    app.hand_in(1);
    assert_eq!(app.receiver.next().path, "/keys");
    browser.tab_to("#log");
    browser.press(&ENTER.to_string());
    browser.find("tr[id^=row-] .badge.good");
    browser.tab_to("tr[id^=row-] th a");
    browser.press(&ENTER.to_string());
    browser.find("#state");
    browser.tab_to("#state button.primary");
    browser.press(&ENTER.to_string());
    assert_eq!(app.receiver.next().path, "/keys");
}

#[test]
fn without_scripts_calls_are_signed_and_carry_a_header_of_their_own() {
    let (app, browser) = (House::new(), Browser::open(Wants { no_scripts: true }));
    app.sign_in(&browser);
    let webhook = app.server.client().webhook(&app.receiver.url("/"), &[PAID]);
    browser.go(&app.url(&format!("/t/1/webhooks/{webhook}")));
    browser.click("#secrets");
    browser.click("#profile-github");
    browser.click("#add-signature");
    let secret = browser.text("#secret");
    assert!(secret.starts_with("whsec_"), "{secret}");
    browser.click("main a.button");
    browser.find("#signature-github");
    browser.fill("#name", "Authorization");
    browser.fill("#value", "Bearer secret");
    browser.click("#add-header");
    browser.find_text("The header goes with every call from now on.");
    app.hand_in(1);
    let call = app.receiver.next();
    assert_eq!(call.headers["authorization"], "Bearer secret");
    assert!(call.headers["x-hub-signature-256"].starts_with("sha256="));
}

#[test]
fn a_customer_comes_in_by_a_portal_link_and_sees_their_own_pages_only() {
    let (app, browser) = (House::new(), Browser::open(Wants::default()));
    let shop = administrator(&app.server, app.folder.path(), "shop");
    let link = || {
        let links = "/willcall/v1/tenants/pretix/bigevents/portal_links";
        let (status, made) = shop.post(links, r#"{"role":"edit","name":"Ben"}"#);
        assert_eq!(status, 201, "{made}");
        made["url"].as_str().unwrap().to_owned()
    };
    let first = link();
    browser.go(&first);
    browser.find_text("Ben (portal link)");
    assert!(browser.url().ends_with("/t/1"), "{}", browser.url());
    assert_eq!(browser.count("a[href='/account']"), 0);
    browser.click("main a[href$='/webhooks/new']");
    browser.fill("#target_url", &app.receiver.url("/portal"));
    browser.click(&type_box());
    browser.click("#webhook-form button.primary");
    browser.find_text("The webhook is created.");
    app.hand_in(1);
    assert_eq!(app.receiver.next().path, "/portal");
    // The log is followed live in this session, too.
    browser.go(&app.url("/t/1/log"));
    app.hand_in(2);
    app.receiver.next();
    browser.find("tr[id^=row-] ~ tr[id^=row-] .badge.good");
    browser.click(".brand");
    browser.find_text("Ben (portal link)");
    assert!(browser.url().ends_with("/t/1"), "{}", browser.url());
    for path in ["/t/2", "/account", "/users"] {
        browser.go(&app.url(path));
        browser.find_text("There is no such page, or it is not for you.");
    }
    browser.click(".who button");
    browser.find_text("Sign in");
    browser.go(&first);
    browser.find_text("This link was used already");
    browser.go(&link());
    browser.find_text("Ben (portal link)");
}
