//! Organizers and their events: the shapes that clients know, and who sees which.

use model::query::Declaration;
use model::tenant::{DialectName, Event, NewToken, Permission, TokenHash, TokenKind};

use crate::tests::harness::{Arrived, INTAKE, TestApp, asking};

const ORGANIZERS: &str = "/api/v1/organizers/";
const EVENTS: &str = "/api/v1/organizers/bigevents/events/";
const DEMOCON: &str = "/api/v1/organizers/bigevents/events/democon/";
const NO_PERMISSION: &str = r#"{"detail":"You do not have permission to perform this action."}"#;
const NO_PAGE: (u16, &str) = (404, r#"{"detail":"Invalid page."}"#);

const BIGEVENTS: &str = "{\"name\":\"Big Events\",\"slug\":\"bigevents\",\
    \"public_url\":\"http://127.0.0.1:18544/bigevents/\",\"plugins\":[]}";
const OTHERCORP: &str = "{\"name\":\"othercorp\",\"slug\":\"othercorp\",\
    \"public_url\":\"http://127.0.0.1:18544/othercorp/\",\"plugins\":[]}";

async fn get(app: &TestApp, path: &str, token: &str) -> Arrived {
    app.ask(asking("GET", path).by(token)).await
}

fn only_page(count: usize, rows: &[&str]) -> String {
    let rows = rows.join(",");
    format!("{{\"count\":{count},\"next\":null,\"previous\":null,\"results\":[{rows}]}}")
}

/// A token that is listed for these tenants; for every one if none is named.
async fn list(app: &TestApp, token: &str, slugs: &[&str]) {
    let mut tenants = Vec::new();
    for slug in slugs {
        tenants.push(Some(app.tenant(slug).await));
    }
    if slugs.is_empty() {
        tenants.push(None);
    }
    for tenant in tenants {
        let new = NewToken {
            tenant,
            name: token.to_owned(),
            hash: TokenHash::of(token),
            kind: TokenKind::Program,
            permissions: [Permission::WebhooksRead].into_iter().collect(),
            active: true,
            default: false,
        };
        let created = app.store.create_token(new, "test".to_owned(), app.now());
        created.await.unwrap();
    }
}

async fn declare(app: &TestApp, events: Vec<Event>) {
    let declaration = Declaration {
        dialect: DialectName::new("pretix"),
        key: "bigevents".to_owned(),
        name: Some("Big Events".to_owned()),
        events,
        tokens: Vec::new(),
        webhooks: Vec::new(),
    };
    let at = app.now();
    let applied = app.store.apply(vec![declaration], "test".to_owned(), at);
    applied.await.unwrap();
}

fn event(slug: &str, date_from: Option<&str>) -> Event {
    Event {
        slug: slug.to_owned(),
        name: slug.to_uppercase(),
        date_from: date_from.map(|at| at.parse().unwrap()),
    }
}

/// An event as pretix shows it, with what its detail has beside.
fn shown(name: &str, slug: &str, date_from: &str, more: &str) -> String {
    format!(
        "{{\"name\":{{\"en\":\"{name}\"}},\"slug\":\"{slug}\",\"live\":false,\"testmode\":false,\
         \"currency\":null,\"date_from\":{date_from},\"date_to\":null,\"date_admission\":null,\
         \"is_public\":false,\"presale_start\":null,\"presale_end\":null,\"location\":null,\
         \"geo_lat\":null,\"geo_lon\":null,\"has_subevents\":false,\"meta_data\":{{}},\
         \"seating_plan\":null,\"plugins\":[],\"seat_category_mapping\":{{}},\
         \"timezone\":\"UTC\",\"item_meta_properties\":{{}},{more}\"all_sales_channels\":false,\
         \"limit_sales_channels\":[],\
         \"public_url\":\"http://127.0.0.1:18544/bigevents/{slug}/\",\"sales_channels\":[]}}"
    )
}

#[tokio::test]
async fn a_token_sees_the_organizers_that_it_is_listed_for_by_slug() {
    let app = TestApp::new().await;
    list(&app, "tokeneverywhere", &[]).await;
    list(&app, "tokentwo", &["othercorp", "bigevents"]).await;
    let none: &[&str] = &[];
    for (token, rows) in [
        ("tokenall", [BIGEVENTS].as_slice()),
        // Whatever it may do there.
        ("tokennone", &[BIGEVENTS]),
        ("tokenother", &[OTHERCORP]),
        ("tokentwo", &[BIGEVENTS, OTHERCORP]),
        ("tokeneverywhere", &[BIGEVENTS, OTHERCORP]),
        // A company's.
        ("tokensmall", none),
    ] {
        let answer = get(&app, ORGANIZERS, token).await;
        let body = only_page(rows.len(), rows);
        assert_eq!(answer.told(), (200, body.as_str()), "{token}");
    }
    let one = get(&app, "/api/v1/organizers/bigevents/", "tokennone").await;
    assert_eq!(one.told(), (200, BIGEVENTS));
}

#[tokio::test]
async fn pages_of_organizers_are_those_of_every_list() {
    let app = TestApp::new().await;
    list(&app, "tokentwo", &["othercorp", "bigevents"]).await;
    let page = |query: &str| {
        let path = format!("{ORGANIZERS}?page_size=1{query}");
        let app = &app;
        async move { get(app, &path, "tokentwo").await }
    };
    let link = |query: &str| format!("\"http://127.0.0.1:18544{ORGANIZERS}?{query}\"");
    let first = format!(
        "{{\"count\":2,\"next\":{},\"previous\":null,\"results\":[{BIGEVENTS}]}}",
        link("page=2&page_size=1")
    );
    assert_eq!(page("").await.told(), (200, first.as_str()));
    let second = format!(
        "{{\"count\":2,\"next\":null,\"previous\":{},\"results\":[{OTHERCORP}]}}",
        link("page_size=1")
    );
    assert_eq!(page("&page=2").await.told(), (200, second.as_str()));
    assert_eq!(page("&page=last").await.told(), (200, second.as_str()));
    for wrong in ["3", "0", "-1", "x", "18446744073709551615"] {
        let answer = page(&format!("&page={wrong}")).await;
        assert_eq!(answer.told(), NO_PAGE, "{wrong}");
    }
    // The first page of nothing is there.
    let beyond = format!("{ORGANIZERS}?page=2");
    assert_eq!(get(&app, &beyond, "tokensmall").await.told(), NO_PAGE);
}

#[tokio::test]
async fn events_are_shown_with_every_field_that_clients_know_in_its_order() {
    let app = TestApp::new().await;
    let date = "\"2027-01-19T00:00:00Z\"";
    let all = [
        ("Demo Con", "democon"),
        ("Second Con", "secondcon"),
        ("Series Con", "seriescon"),
    ];
    let rows = all.map(|(name, slug)| shown(name, slug, date, ""));
    let body = only_page(3, &rows.each_ref().map(String::as_str));
    for token in ["tokenall", "tokennone", "tokenintake"] {
        let listed = get(&app, EVENTS, token).await;
        assert_eq!(listed.told(), (200, body.as_str()), "{token}");
        let one = get(&app, DEMOCON, token).await;
        let with_keys = shown("Demo Con", "democon", date, "\"valid_keys\":{},");
        assert_eq!(one.told(), (200, with_keys.as_str()), "{token}");
    }
}

#[tokio::test]
async fn events_come_by_slug_with_the_date_that_is_known() {
    let app = TestApp::new().await;
    let new = vec![
        event("z", Some("2026-12-01T10:00:00.250+02:00")),
        event("a", None),
    ];
    declare(&app, new).await;
    let dates = |answer: Arrived| {
        let rows = answer.json()["results"].as_array().unwrap().clone();
        let pair = |row: serde_json::Value| (row["slug"].clone(), row["date_from"].clone());
        serde_json::json!(rows.into_iter().map(pair).collect::<Vec<_>>())
    };
    let first = get(&app, &format!("{EVENTS}?page_size=1"), "tokenall").await;
    assert_eq!(dates(first), serde_json::json!([["a", null]]));
    let path = format!("{EVENTS}?page_size=4&page=last");
    let last = get(&app, &path, "tokenall").await;
    assert_eq!(
        dates(last),
        serde_json::json!([["z", "2026-12-01T08:00:00.250000Z"]])
    );
}

#[tokio::test]
async fn pages_of_events_hang_together_from_end_to_end() {
    let app = TestApp::new().await;
    let new = (0..60).map(|n| event(&format!("x{n:02}"), None)).collect();
    declare(&app, new).await;
    for (query, pages) in [("", 2), ("?page_size=7&z=1", 9)] {
        let (mut seen, mut count) = (Vec::new(), 0);
        let mut next = Some(format!("{EVENTS}{query}"));
        while let Some(path) = next {
            let page = get(&app, &path, "tokenall").await.json();
            assert_eq!(page["count"], 63);
            let rows = page["results"].as_array().unwrap().iter();
            seen.extend(rows.map(|event| event["slug"].as_str().unwrap().to_owned()));
            count += 1;
            let link = page["next"].as_str();
            next = link.map(|link| {
                link.strip_prefix("http://127.0.0.1:18544")
                    .unwrap()
                    .to_owned()
            });
        }
        assert_eq!((count, seen.len()), (pages, 63), "{query}");
        assert!(seen.is_sorted(), "{seen:?}");
        let beyond = format!(
            "{EVENTS}?{}&page={}",
            query.trim_start_matches('?'),
            pages + 1
        );
        assert_eq!(get(&app, &beyond, "tokenall").await.told(), NO_PAGE);
    }
}

#[tokio::test]
async fn what_is_not_there_is_as_closed_as_what_is_somebody_elses() {
    let app = TestApp::new().await;
    for (token, path) in [
        ("tokenall", "othercorp/"),
        ("tokenall", "nosuchorg/"),
        ("tokenall", "othercorp/events/"),
        ("tokenall", "nosuchorg/events/"),
        ("tokenall", "othercorp/events/othercon/"),
        ("tokenall", "nosuchorg/events/democon/"),
        ("tokenall", "bigevents/events/othercon/"),
        ("tokenall", "bigevents/events/DemoCon/"),
        ("tokenall", "bigevents/events/%00/"),
        ("tokenother", "bigevents/events/democon/"),
        ("tokensmall", "bigevents/events/"),
    ] {
        let answer = get(&app, &format!("{ORGANIZERS}{path}"), token).await;
        assert_eq!(answer.told(), (403, NO_PERMISSION), "{path} by {token}");
    }
}

#[tokio::test]
async fn organizers_and_events_are_looked_at_and_not_changed() {
    let app = TestApp::new().await;
    for (path, title) in [
        (ORGANIZERS, "Organizer List"),
        (EVENTS, "Event List"),
        (DEMOCON, "Event Instance"),
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let answer = app.ask(asking(method, path).json("{}")).await;
            let words = format!("{{\"detail\":\"Method \\\"{method}\\\" not allowed.\"}}");
            assert_eq!(answer.told(), (405, words.as_str()), "{path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"), "{path}");
        }
        let described = app.ask(asking("OPTIONS", path)).await;
        assert_eq!(described.json()["name"], title);
        assert_eq!(described.json().get("actions"), None);
    }
}

#[tokio::test]
async fn lists_take_the_name_of_a_form_and_slugs_may_have_dots() {
    let app = TestApp::new().await;
    declare(&app, vec![event("v1.0", None)]).await;
    for path in [
        "/api/v1/organizers.json",
        "/api/v1/organizers/bigevents/events.json",
    ] {
        assert_eq!(get(&app, path, "tokenall").await.status, 200, "{path}");
    }
    let dotted = get(&app, &format!("{EVENTS}v1.0/"), "tokenall").await;
    assert_eq!(dotted.json()["slug"], "v1.0");
    let no_slash = get(&app, &format!("{EVENTS}v1.0"), "tokenall").await;
    assert_eq!(no_slash.status, 301);
}

#[tokio::test]
async fn an_event_that_was_named_by_a_notification_is_there() {
    let app = TestApp::new().await;
    let body = serde_json::json!({
        "event": "süd/1 ?", "action": "pretix.event.order.paid", "code": "ABC",
    });
    let taken = app.ask(asking("POST", INTAKE).json(body.to_string())).await;
    assert_eq!(taken.status, 201, "{}", taken.body);
    let path = format!("{EVENTS}s%C3%BCd%2F1%20%3F/");
    let found = get(&app, &path, "tokenall").await;
    assert_eq!(found.status, 200, "{}", found.body);
    let found = found.json();
    assert_eq!(found["name"]["en"], "süd/1 ?");
    let url = "http://127.0.0.1:18544/bigevents/s%C3%BCd%2F1%20%3F/";
    assert_eq!(found["public_url"], url);
}
