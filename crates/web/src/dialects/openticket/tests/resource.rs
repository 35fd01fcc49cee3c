//! The REST resource of webhooks: the documented request and answer, and what is refused.

use serde_json::{Value, json};

use crate::dialects::{DialectOptions, Trigger};
use crate::tests::harness::{Arrived, Asking, COMPANY, TestApp, bearing};

const URL: &str = "https://example.com/webhook/receive";

/// The vendor's keys in the order of its sample.
const KEYS: [&str; 14] = [
    "guid",
    "created_at",
    "updated_at",
    "deleted_at",
    "company_id",
    "name",
    "url",
    "retries",
    "resource",
    "identifier",
    "nonce",
    "trigger",
    "triggered_by_child_resources",
    "invocations",
];

fn sample() -> Value {
    json!({
        "name": "My Example Webhook",
        "url": URL,
        "resource": "shop",
        "trigger": "create",
        "retries": 3,
    })
}

fn create(body: &Value) -> Asking {
    bearing("POST", "/webhook").json(body.to_string())
}

/// The sample with one field changed, or without it if that is null.
fn sample_with(field: &str, value: Value) -> Value {
    let mut body = sample();
    if value.is_null() {
        body.as_object_mut().unwrap().remove(field);
    } else {
        body[field] = value;
    }
    body
}

fn keys(object: &Value) -> Vec<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn errors(answer: &Arrived) -> Value {
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(answer.json()["message"], "The given data was invalid.");
    answer.json()["errors"].clone()
}

#[tokio::test]
async fn the_documented_request_sent_three_ways_gets_the_documented_answer() {
    let multipart = "--b\r\n\
        Content-Disposition: form-data; name=\"name\"\r\n\r\nMy Example Webhook\r\n--b\r\n\
        Content-Disposition: form-data; name=\"url\"\r\n\r\nhttps://example.com/webhook/receive\r\n\
        --b\r\nContent-Disposition: form-data; name=\"resource\"\r\n\r\nshop\r\n--b\r\n\
        Content-Disposition: form-data; name=\"trigger\"\r\n\r\ncreate\r\n--b\r\n\
        Content-Disposition: form-data; name=\"retries\"\r\n\r\n3\r\n--b--\r\n";
    let urlencoded = "name=My+Example+Webhook&url=https%3A%2F%2Fexample.com%2Fwebhook%2Freceive\
        &resource=shop&trigger=create&retries=3";
    let json = sample().to_string();
    let app = TestApp::new().await;
    for path in ["/webhook", "/"] {
        for (form, body) in [
            ("application/json", json.as_str()),
            ("multipart/form-data; boundary=b", multipart),
            ("application/x-www-form-urlencoded", urlencoded),
        ] {
            let asking = bearing("POST", path).with("Content-Type", form).body(body);
            let answer = app.ask(asking).await;
            assert_eq!(answer.status, 201, "{form}: {}", answer.body);
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let made = answer.json();
            assert_eq!(keys(&made), KEYS, "{form}");
            let nonce = made["nonce"].as_str().unwrap();
            assert_eq!(nonce.len(), 20);
            assert!(nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(super::super::guid::read(made["guid"].as_str().unwrap()).is_some());
            let expected = json!({
                "guid": made["guid"],
                "created_at": "2026-11-20T18:00:00Z",
                "updated_at": "2026-11-20T18:00:00Z",
                "deleted_at": null,
                "company_id": COMPANY,
                "name": "My Example Webhook",
                "url": URL,
                "retries": 3,
                "resource": "shop",
                "identifier": "",
                "nonce": made["nonce"],
                "trigger": "create",
                "triggered_by_child_resources": false,
                "invocations": null,
            });
            assert_eq!(made, expected, "{form}");
        }
    }
    let all = app.ask(bearing("GET", "/webhook")).await.json();
    let guids: std::collections::BTreeSet<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|webhook| webhook["guid"].as_str().unwrap())
        .collect();
    assert_eq!(guids.len(), 6);
}

#[tokio::test]
async fn forms_and_json_mean_the_same_by_their_values() {
    let app = TestApp::new().await;
    let fields = |retries: &str, flag: &str| {
        format!(
            "name=n&url={URL}&resource=event&trigger=paid&retries={retries}\
             &identifier={COMPANY}&triggered_by_child_resources={flag}"
        )
    };
    for (text, flag) in [
        ("1", true),
        ("true", true),
        ("on", true),
        ("TRUE", true),
        ("0", false),
        ("false", false),
        ("off", false),
        ("", false),
    ] {
        let form = "application/x-www-form-urlencoded";
        let asking = bearing("POST", "/webhook")
            .with("Content-Type", form)
            .body(fields("7", text));
        let made = app.ask(asking).await.json();
        assert_eq!(made["triggered_by_child_resources"], flag, "{text}");
        assert_eq!(
            (&made["retries"], &made["identifier"]),
            (&json!(7), &json!(COMPANY))
        );
        let mut body = sample_with("retries", json!("7"));
        body["triggered_by_child_resources"] = json!(text);
        let made = app.ask(create(&body)).await.json();
        assert_eq!(made["triggered_by_child_resources"], flag, "{text}");
        assert_eq!(made["retries"], 7);
    }
    let made = app
        .ask(create(&sample_with("retries", Value::Null)))
        .await
        .json();
    assert_eq!(made["retries"], 3);
}

#[tokio::test]
async fn what_is_wrong_is_said_field_by_field() {
    let app = TestApp::new().await;
    let answer = app.ask(create(&json!({}))).await;
    let required = |field: &str| json!([format!("The {field} field is required.")]);
    assert_eq!(
        errors(&answer),
        json!({
            "name": required("name"),
            "url": required("url"),
            "resource": required("resource"),
            "trigger": required("trigger"),
        })
    );
    let deep = "[".repeat(100) + &"]".repeat(100);
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("   ")),
        ("name", json!(5)),
        ("name", json!("x".repeat(256))),
        ("url", json!("https =>//example.com/webhook/receive")),
        ("url", json!("example.com/hook")),
        ("url", json!("//example.com/hook")),
        ("url", json!("ftp://example.com/hook")),
        ("url", json!("https://")),
        ("url", json!("https://example.com/a b")),
        ("url", json!("https://example.com/#there")),
        ("url", json!("https://example.com:99999/")),
        ("url", json!("https://example.com:0/")),
        (
            "url",
            json!(format!("https://example.com/{}", "x".repeat(2_048))),
        ),
        ("url", json!(["https://example.com/"])),
        ("resource", json!("order_ticket")),
        ("resource", json!({})),
        ("trigger", json!("explode")),
        ("trigger", json!(true)),
        ("retries", json!(26)),
        ("retries", json!(-1)),
        ("retries", json!(1.5)),
        ("retries", json!("three")),
        ("retries", json!(18_446_744_073_709_551_615_u64)),
        ("retries", serde_json::from_str(&deep).unwrap()),
        ("identifier", json!("not a guid")),
        ("identifier", json!(5)),
        ("triggered_by_child_resources", json!("maybe")),
        ("triggered_by_child_resources", json!(2)),
        ("company_id", json!("d0a3f370-cd43-11ed-9c9c-bbcffde24a49")),
        ("company_id", json!(5)),
    ] {
        let answer = app.ask(create(&sample_with(field, value.clone()))).await;
        let errors = errors(&answer);
        assert_eq!(keys(&errors), [field], "{value}: {}", answer.body);
    }
    // The typing error of the vendor's own sample is refused with a reason, not mended.
    let typo = sample_with("url", json!("https =>//example.com/webhook/receive"));
    let reason = &errors(&app.ask(create(&typo)).await)["url"][0];
    assert!(reason.as_str().unwrap().contains("absolute"), "{reason}");
}

#[tokio::test]
async fn a_reason_does_not_repeat_the_password_in_a_url() {
    let app = TestApp::new().await;
    for url in [
        "https://u:secret@example.com/#x",
        "ftp://u:secret@x",
        "https://u:secret@",
    ] {
        let answer = app.ask(create(&sample_with("url", json!(url)))).await;
        assert_eq!(answer.status, 422);
        assert!(!answer.body.contains("secret"), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_past_tense_is_refused_with_the_right_word() {
    let app = TestApp::new().await;
    for (field, given, right) in [
        ("trigger", "updated", "update"),
        ("trigger", "scanned", "scan"),
        ("trigger", "Created", "create"),
        ("trigger", "PAID", "paid"),
        ("resource", "Order", "order"),
    ] {
        let answer = app.ask(create(&sample_with(field, json!(given)))).await;
        let words = errors(&answer)[field][0].as_str().unwrap().to_owned();
        assert!(words.contains(&format!("write \"{right}\"")), "{words}");
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused_by_their_form() {
    let app = TestApp::new().await;
    for (form, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "", 400),
        ("application/json", "[]", 400),
        ("application/json", "{} {}", 400),
        ("application/json", "{\"name\": NaN}", 400),
        ("text/xml", "<a/>", 415),
        ("", "{}", 415),
        ("multipart/form-data; boundary=b", "--b\r\nnonsense", 400),
        ("multipart/form-data", "--b--", 400),
    ] {
        let asking = bearing("POST", "/webhook")
            .with("Content-Type", form)
            .body(body);
        let answer = app.ask(asking).await;
        assert_eq!(answer.status, status, "{form} {body}: {}", answer.body);
        assert!(answer.json()["message"].is_string());
    }
    let latin = bearing("POST", "/webhook").json(b"{\"name\": \"\xff\"}".as_slice());
    assert_eq!(app.ask(latin).await.status, 400);
    let long = bearing("POST", "/webhook").json(vec![b' '; 2 * 1024 * 1024]);
    assert_eq!(app.ask(long).await.status, 413);
}

#[tokio::test]
async fn a_pair_that_nothing_is_known_to_fire_is_doubted_on_request_and_refused_if_strict() {
    let cases = [
        ("order", "paid", false, None),
        ("ticket", "create", false, None),
        ("ticket", "paid", true, None),
        (
            "ticket",
            "paid",
            false,
            Some("switch triggered_by_child_resources on"),
        ),
        ("shop", "create", false, Some("Nothing is known to trigger")),
        (
            "metadata",
            "reorder",
            true,
            Some("Nothing is known to trigger"),
        ),
    ];
    let app = TestApp::new().await;
    let strict = TestApp::with(DialectOptions {
        strict_triggers: true,
        ..DialectOptions::default()
    })
    .await;
    for (resource, trigger, related, doubt) in cases {
        let mut body = sample();
        body["resource"] = json!(resource);
        body["trigger"] = json!(trigger);
        body["triggered_by_child_resources"] = json!(related);
        let plain = app.ask(create(&body)).await;
        assert_eq!(keys(&plain.json()), KEYS);
        let hinted = bearing("POST", "/webhook?hints=1").json(body.to_string());
        let hinted = app.ask(hinted).await.json();
        assert_eq!(keys(&hinted)[14..], ["warnings"]);
        let warnings = hinted["warnings"].as_array().unwrap();
        let answer = strict.ask(create(&body)).await;
        match doubt {
            None => {
                assert_eq!(warnings.len(), 0);
                assert_eq!(answer.status, 201);
            }
            Some(words) => {
                assert!(
                    warnings[0].as_str().unwrap().contains(words),
                    "{warnings:?}"
                );
                assert_eq!(errors(&answer)["trigger"][0], warnings[0]);
            }
        }
    }
}

#[tokio::test]
async fn what_the_operator_adds_can_be_asked_for() {
    let extra = |resource: &str, trigger: &str, reaches: Option<&str>| Trigger {
        resource: resource.to_owned(),
        trigger: trigger.to_owned(),
        name: None,
        reaches: reaches.map(str::to_owned),
    };
    let app = TestApp::with(DialectOptions {
        extra_triggers: vec![
            extra("order", "placed", Some("event")),
            extra("ticket_type", "update", None),
        ],
        strict_triggers: true,
        ..DialectOptions::default()
    })
    .await;
    for (resource, trigger, related, status) in [
        ("order", "placed", false, 201),
        ("event", "placed", true, 201),
        ("event", "placed", false, 422),
        ("ticket_type", "update", false, 201),
        ("eventdate", "update", false, 422),
    ] {
        let mut body = sample();
        body["resource"] = json!(resource);
        body["trigger"] = json!(trigger);
        body["triggered_by_child_resources"] = json!(related);
        let answer = app.ask(create(&body)).await;
        assert_eq!(
            answer.status, status,
            "{resource} {trigger}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_change_touches_what_it_names_and_never_guid_or_nonce() {
    let app = TestApp::new().await;
    let made = app.hook("order", "paid").await;
    let path = format!("/webhook/{}", made.guid);
    app.pass_ms(5_500);
    for method in ["PUT", "PATCH"] {
        let body = json!({
            "name": method,
            "retries": "9",
            "guid": COMPANY,
            "nonce": "x",
            "company_id": "x",
            "unknown": [],
        });
        let changed = app.ask(bearing(method, &path).json(body.to_string())).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        let changed = changed.json();
        assert_eq!(keys(&changed), KEYS);
        assert_eq!(changed["name"], method);
        assert_eq!(changed["retries"], 9);
        assert_eq!(changed["guid"], made.guid.as_str());
        assert_eq!(changed["nonce"], made.nonce.as_str());
        assert_eq!(changed["resource"], "order");
        assert_eq!(changed["updated_at"], "2026-11-20T18:00:05Z");
        assert_eq!(changed["created_at"], "2026-11-20T18:00:00Z");
    }
    let bad = bearing("PATCH", &path).json("{\"url\": null, \"retries\": 99}");
    let errors = errors(&app.ask(bad).await);
    assert_eq!(keys(&errors), ["url", "retries"]);
}

#[tokio::test]
async fn a_deleted_webhook_is_gone_for_good() {
    let app = TestApp::new().await;
    let made = app.hook("order", "paid").await;
    let path = format!("/webhook/{}", made.guid);
    let deleted = app.ask(bearing("DELETE", &path)).await;
    assert_eq!(deleted.told(), (204, ""));
    for (method, below) in [
        ("DELETE", ""),
        ("GET", ""),
        ("PATCH", ""),
        ("GET", "/invocations"),
        ("POST", "/invocations/retry"),
    ] {
        let answer = app
            .ask(bearing(method, &format!("{path}{below}")).json("{}"))
            .await;
        assert_eq!(
            answer.told(),
            (404, "{\"message\":\"Not found.\"}"),
            "{method}"
        );
    }
    assert_eq!(
        app.ask(bearing("GET", "/webhook")).await.told(),
        (200, "[]")
    );
}

#[tokio::test]
async fn the_list_is_newest_first_and_in_pages_that_name_the_next() {
    let app = TestApp::new().await;
    for number in 0..5 {
        let body = sample_with("name", json!(number.to_string()));
        assert_eq!(app.ask(create(&body)).await.status, 201);
    }
    let names = |answer: &Arrived| {
        let all = answer.json();
        let names = all.as_array().unwrap().iter();
        names
            .map(|webhook| webhook["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = app.ask(bearing("GET", "/webhook")).await;
    assert_eq!(names(&all), ["4", "3", "2", "1", "0"]);
    assert_eq!(all.header("link"), None);
    let page = app
        .ask(bearing("GET", "/webhook?per_page=2&page=2&hints=0"))
        .await;
    assert_eq!(names(&page), ["2", "1"]);
    let next = "<http://127.0.0.1:18544/webhook?per_page=2&hints=0&page=3>; rel=\"next\"";
    assert_eq!(page.header("link"), Some(next));
    let last = app.ask(bearing("GET", "/webhook?per_page=2&page=3")).await;
    assert_eq!(
        (names(&last), last.header("link")),
        (vec!["0".to_owned()], None)
    );
    let beyond = app
        .ask(bearing("GET", "/webhook?page=18446744073709551615"))
        .await;
    assert_eq!(beyond.told(), (200, "[]"));
    for query in [
        "page=0",
        "page=x",
        "per_page=0",
        "per_page=1001",
        "per_page=-1",
    ] {
        let answer = app.ask(bearing("GET", &format!("/webhook?{query}"))).await;
        assert_eq!(answer.status, 422, "{query}");
    }
}

#[tokio::test]
async fn secrets_are_shown_to_whoever_may_write_and_to_nobody_else() {
    let app = TestApp::new().await;
    let made = app.hook("order", "paid").await;
    let path = format!("/webhook/{}", made.guid);
    for path in [path.as_str(), "/webhook"] {
        let trusted = app.ask(bearing("GET", path)).await.body;
        assert!(trusted.contains(&made.nonce) && trusted.contains("user:pass@"));
        let reader = bearing("GET", path).with("Authorization", "Bearer tokenread");
        let reader = app.ask(reader).await;
        assert_eq!(reader.status, 200);
        assert!(!reader.body.contains(&made.nonce), "{}", reader.body);
        assert!(!reader.body.contains("pass"), "{}", reader.body);
        assert!(reader.body.contains("\"nonce\":\"***\""));
    }
    let audit = app.store.audit(app.company().await, 10).await.unwrap();
    for entry in audit {
        assert!(!entry.detail.contains(&made.nonce) && !entry.detail.contains("pass"));
    }
}

#[tokio::test]
async fn the_root_is_the_dashboard_for_whoever_looks_and_makes_webhooks_for_whoever_posts() {
    let app = TestApp::new().await;
    let browser = bearing("GET", "/")
        .without("Authorization")
        .with("Accept", "text/html");
    assert_eq!(
        app.ask(browser).await.header("location"),
        Some("/sign-in?next=%2F")
    );
    let body = sample().to_string();
    assert_eq!(app.ask(bearing("POST", "/").json(body)).await.status, 201);
    for (method, path) in [
        ("PUT", "/"),
        ("GET", "/trigger/x"),
        ("GET", "/webhook/"),
        ("GET", "/x"),
    ] {
        assert_eq!(
            app.ask(bearing(method, path)).await.status,
            404,
            "{method} {path}"
        );
    }
    let wrong = app.ask(bearing("DELETE", "/webhook")).await;
    assert_eq!(wrong.status, 405);
    assert_eq!(wrong.header("allow"), Some("GET, POST, HEAD, OPTIONS"));
    assert_eq!(
        wrong.json()["message"],
        "The DELETE method is not supported here."
    );
}

#[tokio::test]
async fn what_a_url_marks_is_shown_nowhere_and_its_stars_keep_it() {
    let app = TestApp::new().await;
    let hook = app.hook("order", "paid").await;
    let own = format!("/webhook/{}", hook.guid);
    let change = |url: &str| {
        let body = format!("{{\"url\":\"{url}\"}}");
        app.ask(bearing("PATCH", &own).json(body))
    };
    let shown = "https://example.org/in?key=***#secret:key";
    for url in ["https://example.org/in?key=abcdef#secret:key", shown] {
        let changed = change(url).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        assert_eq!(changed.json()["url"], shown);
    }
    for url in [
        "https://example.net/in?key=***#secret:key",
        "https://example.org/in?key=***",
        "https://example.org/in?key=b#secret:other",
        "https://example.org/in?key=b#other",
    ] {
        assert_eq!(change(url).await.status, 422, "{url}");
    }
    let renamed = bearing("PATCH", &own).json(r#"{"name":"another"}"#);
    let renamed = app.ask(renamed).await;
    assert_eq!(renamed.json()["url"], shown);
    let companies = vec![app.company().await];
    let found = app.store.webhook_by_key(companies, hook.guid.clone());
    let stored = found.await.unwrap().unwrap();
    assert_eq!(
        stored.target_url,
        "https://example.org/in?key=abcdef#secret:key"
    );
}

#[tokio::test]
async fn a_masked_url_is_no_target() {
    let app = TestApp::new().await;
    let hook = app.hook("order", "paid").await;
    let own = format!("/webhook/{}", hook.guid);
    for url in [
        "http://***@example.org/",
        "https://user:***@example.org/hook",
    ] {
        let body = format!(
            "{{\"name\":\"n\",\"url\":\"{url}\",\"resource\":\"order\",\"trigger\":\"paid\"}}"
        );
        for (method, path) in [("POST", "/webhook"), ("PUT", &own), ("PATCH", &own)] {
            let answer = app.ask(bearing(method, path).json(body.clone())).await;
            assert_eq!(answer.status, 422, "{method} {url}");
            let words = answer.json()["errors"]["url"][0].to_string();
            assert!(words.contains("take ***@ out"), "{words}");
        }
    }
    let shown = app.ask(bearing("GET", &own)).await.json();
    assert_eq!(shown["url"], "https://user:pass@example.org/hook");
}
