//! The resource of webhooks beyond what was recorded: fields at their edges, defaults, pages,
//! who did what.

use model::id::WebhookId;

use crate::tests::harness::{Arrived, TestApp, WEBHOOKS, asking};

/// What is said of one field, beside two that are sound.
async fn told(app: &TestApp, field: &str, value: &str) -> Arrived {
    let mut fields = vec![
        ("target_url", "\"https://example.org/\""),
        ("limit_events", "[]"),
        ("action_types", "[]"),
    ];
    fields.retain(|(name, _)| *name != field);
    fields.push((field, value));
    let pairs = fields
        .into_iter()
        .map(|(name, value)| format!("\"{name}\":{value}"));
    let body = format!("{{{}}}", pairs.collect::<Vec<_>>().join(","));
    app.ask(asking("POST", WEBHOOKS).json(body)).await
}

/// Fields with a value each, and the reasons for which it is refused; none if it is not.
async fn judge(rows: &[(&str, &str, &str)]) {
    let app = TestApp::new().await;
    for (field, value, reasons) in rows {
        let answer = told(&app, field, value).await;
        if reasons.is_empty() {
            assert_eq!(answer.status, 201, "{field} {value}: {}", answer.body);
        } else {
            let body = format!("{{\"{field}\":[{reasons}]}}");
            assert_eq!(answer.told(), (400, body.as_str()), "{field} {value}");
        }
    }
}

const NO_NUL: &str = r#""Null characters are not allowed.""#;

#[tokio::test]
async fn flags_and_texts_at_their_edges_are_named_with_every_reason() {
    let long = format!("\"x{}\"", "\\u0000".repeat(1_024));
    let not_a_url = r#""Enter a valid URL.""#;
    let too_long = "\"Ensure this field has no more than 1024 characters.\"";
    let all = format!("{too_long},{NO_NUL},{not_a_url}");
    judge(&[
        ("enabled", "NaN", r#""Must be a valid boolean.""#),
        ("enabled", "\"tRuE \"", r#""Must be a valid boolean.""#),
        ("all_events", "1e0", ""),
        ("all_events", "-0.0", ""),
        ("enabled", "\"yEs\"", ""),
        (
            "target_url",
            "\"\\u2028 \"",
            r#""This field may not be blank.""#,
        ),
        ("target_url", "\"https://example.org/\\u0000\"", NO_NUL),
        (
            "target_url",
            "\"https://example.org/\\udfff\"",
            r#""Surrogate characters are not allowed: U+DFFF.""#,
        ),
        ("target_url", &long, &all),
        ("comment", "\"\\ud83d\\ude00\\u0000\"", NO_NUL),
        ("comment", "{}", r#""Not a valid string.""#),
        ("comment", "12345678901234567890123", ""),
    ])
    .await;
}

#[tokio::test]
async fn members_of_lists_are_shown_as_python_shows_them() {
    judge(&[
        ("limit_events", "null", r#""This field may not be null.""#),
        (
            "limit_events",
            "5",
            r#""Expected a list of items but got type \"int\".""#,
        ),
        (
            "limit_events",
            "1.5",
            r#""Expected a list of items but got type \"float\".""#,
        ),
        (
            "limit_events",
            "true",
            r#""Expected a list of items but got type \"bool\".""#,
        ),
        (
            "limit_events",
            "[null]",
            r#""Object with slug=None does not exist.""#,
        ),
        (
            "limit_events",
            "[true]",
            r#""Object with slug=True does not exist.""#,
        ),
        (
            "limit_events",
            "[1.0]",
            r#""Object with slug=1.0 does not exist.""#,
        ),
        (
            "limit_events",
            r#"[{"a": [1, "b'"]}]"#,
            r#""Object with slug={'a': [1, \"b'\"]} does not exist.""#,
        ),
        (
            "limit_events",
            r#"["DemoCon"]"#,
            r#""Object with slug=DemoCon does not exist.""#,
        ),
        (
            "limit_events",
            r#"["\ud800"]"#,
            r#""Object with slug=\ufffd does not exist.""#,
        ),
        ("action_types", "null", r#""This field may not be null.""#),
        (
            "action_types",
            "true",
            r#""Expected a list of items but got type \"bool\".""#,
        ),
        ("action_types", "[[]]", r#""Invalid action type \"[]\".""#),
        (
            "action_types",
            r#"["pretix.event.order.changed.item"]"#,
            r#""Invalid action type \"pretix.event.order.changed.item\".""#,
        ),
    ])
    .await;
}

#[tokio::test]
async fn bodies_that_are_no_dictionary_are_named_by_their_type() {
    let app = TestApp::new().await;
    app.webhook(&[]).await;
    for (body, name) in [
        ("5", "int"),
        ("5.5", "float"),
        ("true", "bool"),
        ("[]", "list"),
    ] {
        for (method, path) in [
            ("POST", WEBHOOKS.to_owned()),
            ("PATCH", format!("{WEBHOOKS}1/")),
        ] {
            let words = format!(
                r#"{{"non_field_errors":["Invalid data. Expected a dictionary, but got {name}."]}}"#
            );
            let answer = app.ask(asking(method, &path).json(body)).await;
            assert_eq!(answer.told(), (400, words.as_str()));
        }
    }
}

#[tokio::test]
async fn the_contradiction_of_all_and_some_events_can_never_be_stored() {
    let app = TestApp::new().await;
    let words = r#"{"non_field_errors":["You can set either limit_events or all_events."]}"#;
    let some = r#""limit_events":["democon"]"#;
    let rest = r#""target_url":"https://example.org/","action_types":[]"#;
    let create = |more: &str| asking("POST", WEBHOOKS).json(format!("{{{rest},{more}}}"));
    let both = app
        .ask(create(&format!("{some},\"all_events\":true")))
        .await;
    assert_eq!(both.told(), (400, words));
    let limited = app.ask(create(some)).await.json();
    assert_eq!(
        (limited["id"].clone(), limited["all_events"].clone()),
        (1.into(), false.into())
    );
    let patch = |body: &str| asking("PATCH", &format!("{WEBHOOKS}1/")).json(body);
    assert_eq!(
        app.ask(patch(r#"{"all_events":"on"}"#)).await.told(),
        (400, words)
    );
    let all = patch(r#"{"all_events":true,"limit_events":[]}"#);
    assert_eq!(app.ask(all).await.status, 200);
    assert_eq!(
        app.ask(patch(&format!("{{{some}}}"))).await.told(),
        (400, words)
    );
}

#[tokio::test]
async fn put_resets_what_it_does_not_name() {
    let app = TestApp::new().await;
    let body = r#"{"target_url":"https://example.org/","limit_events":["democon"],"action_types":[],
        "enabled":false,"comment":"x"}"#;
    assert_eq!(
        app.ask(asking("POST", WEBHOOKS).json(body)).await.status,
        201
    );
    let put = r#"{"target_url":"https://example.org/","limit_events":[],"action_types":[]}"#;
    let put = app
        .ask(asking("PUT", &format!("{WEBHOOKS}1/")).json(put))
        .await;
    let told = concat!(
        r#"{"id":1,"enabled":true,"target_url":"https://example.org/","#,
        r#""all_events":true,"limit_events":[],"action_types":[],"comment":null}"#,
    );
    assert_eq!(put.told(), (200, told));
}

#[tokio::test]
async fn forms_change_fields_and_leave_what_they_do_not_name() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let patch = asking("PATCH", &format!("{WEBHOOKS}1/"))
        .with("Content-Type", "application/x-www-form-urlencoded")
        .body("comment=a+b&all_events=off&limit_events=secondcon&limit_events=democon");
    let changed = app.ask(patch).await.json();
    assert_eq!(changed["comment"], "a b");
    assert_eq!(
        changed["limit_events"],
        serde_json::json!(["democon", "secondcon"])
    );
    assert_eq!(
        changed["action_types"],
        serde_json::json!(["pretix.event.order.paid"])
    );
    let patch = asking("PATCH", &format!("{WEBHOOKS}1/"))
        .with("Content-Type", "multipart/form-data; boundary=b")
        .body("--b\r\nContent-Disposition: form-data; name=\"comment\"\r\n\r\nc\r\n--b--\r\n");
    let changed = app.ask(patch).await.json();
    assert_eq!(changed["comment"], "c");
    assert_eq!(
        changed["limit_events"],
        serde_json::json!(["democon", "secondcon"])
    );
}

#[tokio::test]
async fn limit_events_stand_in_the_order_of_the_shows() {
    let app = TestApp::new().await;
    let text = r#"
        [[organizer]]
        slug = "bigevents"
        event = [
            { slug = "undated" },
            { slug = "early", name = "Z", date_from = 2026-01-01T00:00:00Z },
        ]
    "#;
    let dialects = crate::dialects::all(&crate::dialects::DialectOptions::default());
    let mut rng = model::rng::SeededRng::from_seed([8; 32]);
    let declared = dialects.declare(text, &crate::dialects::KnownEvents::new(), &mut rng);
    let declarations = declared.unwrap().declarations;
    app.store
        .apply(declarations, "test".to_owned(), app.now())
        .await
        .unwrap();
    let limit = r#"["undated","secondcon","early","democon"]"#;
    let created = told(&app, "limit_events", limit).await.json();
    let sorted = serde_json::json!(["early", "democon", "secondcon", "undated"]);
    assert_eq!(created["limit_events"], sorted);
}

#[tokio::test]
async fn ids_are_found_as_python_reads_them_and_only_within_their_organizer() {
    let app = TestApp::new().await;
    app.webhook(&[]).await;
    let other = asking("POST", "/api/v1/organizers/othercorp/webhooks/")
        .by("tokenother")
        .json(r#"{"target_url":"https://example.org/","limit_events":[],"action_types":[]}"#);
    assert_eq!(app.ask(other).await.json()["id"], 2);
    let none = r#"{"detail":"No WebHook matches the given query."}"#;
    let not_found = r#"{"detail":"Not found."}"#;
    for (id, status, body) in [
        ("1", 200, ""),
        ("01", 200, ""),
        ("%2B1", 200, ""),
        ("%201%0A", 200, ""),
        ("0_1", 200, ""),
        ("2", 404, none),
        ("0", 404, none),
        ("-1", 404, none),
        ("9223372036854775808", 404, none),
        ("1.0", 404, not_found),
        ("abc", 404, not_found),
        ("%00", 404, not_found),
        ("1_", 404, not_found),
        ("+1", 200, ""),
    ] {
        let answer = app.ask(asking("GET", &format!("{WEBHOOKS}{id}/"))).await;
        assert_eq!(answer.status, status, "{id}");
        assert!(
            body.is_empty() || answer.body == body,
            "{id}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn pages_hang_together_from_end_to_end() {
    let app = TestApp::new().await;
    for _ in 0..7 {
        app.webhook(&[]).await;
    }
    let mut seen = Vec::new();
    let mut next = Some(format!("{WEBHOOKS}?page_size=3&z=%C3%A4+&page=1&a="));
    while let Some(path) = next {
        let page = app.ask(asking("GET", &path)).await.json();
        assert_eq!(page["count"], 7);
        let ids = page["results"].as_array().unwrap().iter();
        seen.extend(ids.map(|webhook| webhook["id"].as_i64().unwrap()));
        next = page["next"].as_str().map(|link| {
            let path = link.strip_prefix("http://127.0.0.1:18544").unwrap();
            assert!(path.ends_with("&page_size=3&z=%C3%A4+"), "{path}");
            path.to_owned()
        });
    }
    assert_eq!(seen, (1..=7).collect::<Vec<_>>());
    for page in [
        "4",
        "0",
        "-1",
        "x",
        "1.0",
        "99999999999999999999999999",
        "18446744073709551615",
    ] {
        let answer = app
            .ask(asking(
                "GET",
                &format!("{WEBHOOKS}?page_size=3&page={page}"),
            ))
            .await;
        assert_eq!(
            answer.told(),
            (404, r#"{"detail":"Invalid page."}"#),
            "{page}"
        );
    }
}

#[tokio::test]
async fn options_tell_of_fields_only_to_whoever_may_write_them() {
    let app = TestApp::new().await;
    app.webhook(&[]).await;
    let options = |path: &str| asking("OPTIONS", path);
    let list = app.ask(options(WEBHOOKS)).await.json();
    assert_eq!(list["name"], "Web Hook List");
    assert_eq!(list["actions"]["POST"]["target_url"]["max_length"], 1_024);
    let detail = app.ask(options(&format!("{WEBHOOKS}1/"))).await.json();
    assert!(detail["actions"]["PUT"].is_object());
    for asking in [
        options(WEBHOOKS).by("tokenread"),
        options(&format!("{WEBHOOKS}99/")),
        options(&format!("{WEBHOOKS}abc/")),
        options("/api/v1/version"),
    ] {
        let told = app.ask(asking).await;
        assert_eq!(
            (told.status.as_u16(), told.json().get("actions")),
            (200, None)
        );
    }
}

#[tokio::test]
async fn what_changes_a_webhook_is_written_down_without_credentials() {
    let app = TestApp::new().await;
    told(&app, "target_url", "\"https://user:secret@example.org/\"").await;
    let hook = format!("{WEBHOOKS}1/");
    app.ask(
        asking("PATCH", &hook)
            .by("tokenrw")
            .json(r#"{"comment":"x"}"#),
    )
    .await;
    app.ask(asking("PATCH", &hook).json(r#"{"comment":"x"}"#))
        .await;
    app.ask(asking("DELETE", &hook)).await;
    app.ask(asking("DELETE", &hook)).await;
    let audit = app
        .ask(asking("GET", "/api/v1/organizers/bigevents/audit/"))
        .await;
    assert!(!audit.body.contains("secret"), "{}", audit.body);
    let entries = audit.json();
    let entries = entries["results"].as_array().unwrap().iter();
    let of_webhook: Vec<_> = entries
        .filter(|entry| entry["webhook"] == 1)
        .map(|entry| {
            (
                entry["actor"].as_str().unwrap(),
                entry["action"].as_str().unwrap(),
            )
        })
        .collect();
    // Newest first; what changes nothing is not written down.
    assert_eq!(
        of_webhook,
        [
            ("all", "webhook.changed"),
            ("rw", "webhook.changed"),
            ("all", "webhook.created")
        ]
    );
}

#[tokio::test]
async fn the_action_types_are_listed_with_their_names() {
    let app = TestApp::new().await;
    let listed = app
        .ask(asking("GET", "/api/v1/organizers/bigevents/action_types/"))
        .await;
    let listed = listed.json();
    let listed = listed["results"].as_array().unwrap();
    assert_eq!(listed.len(), 47);
    assert_eq!(listed[0]["action_type"], "pretix.event.order.placed");
    assert_eq!(listed[0]["label"], "New order placed");
}

#[tokio::test]
async fn organizers_can_be_looked_at_and_not_changed() {
    let app = TestApp::new().await;
    let path = "/api/v1/organizers/bigevents/";
    let told = concat!(
        r#"{"name":"Big Events","slug":"bigevents","#,
        r#""public_url":"http://127.0.0.1:18544/bigevents/","plugins":[]}"#,
    );
    assert_eq!(
        app.ask(asking("GET", path).by("tokennone")).await.told(),
        (200, told)
    );
    for method in ["PUT", "PATCH"] {
        assert_eq!(app.ask(asking(method, path).json("{}")).await.status, 403);
    }
    assert_eq!(app.ask(asking("DELETE", path)).await.status, 405);
}

#[tokio::test]
async fn what_a_url_marks_is_shown_nowhere_and_its_stars_keep_it() {
    const URL: &str = "https://user:pass@example.org/in/abcdef?key=ghijkl#secret:/2,key";
    let shown = "https://user:pass@example.org/in/***?key=***#secret:/2,key";
    let app = TestApp::new().await;
    let body =
        |url: &str| format!("{{\"target_url\":\"{url}\",\"limit_events\":[],\"action_types\":[]}}");
    let created = app.ask(asking("POST", WEBHOOKS).json(body(URL))).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.json()["target_url"], shown);
    let one = format!("{WEBHOOKS}1/");
    for method in ["PUT", "PATCH"] {
        let kept = app.ask(asking(method, &one).json(body(shown))).await;
        assert_eq!(kept.told().0, 200, "{}", kept.body);
        let tenant = app.tenant("bigevents").await;
        let stored = app.store.webhook(tenant, WebhookId(1)).await.unwrap();
        assert_eq!(stored.unwrap().target_url, URL, "{method}");
    }
    for url in [
        "https://user:pass@example.net/in/***?key=***#secret:/2,key",
        "https://user:pass@example.org/in/***?key=***",
        "https://user:pass@example.org/in?key=new#secret:/2,key",
    ] {
        for method in ["PUT", "PATCH"] {
            let refused = app.ask(asking(method, &one).json(body(url))).await;
            assert_eq!(refused.status, 400, "{url}");
            assert!(refused.json()["target_url"].is_array(), "{}", refused.body);
        }
    }
    let refused = app.ask(asking("POST", WEBHOOKS).json(body(shown))).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    let audit = "/api/v1/organizers/bigevents/audit/";
    let audit = app.ask(asking("GET", audit)).await.body;
    assert!(audit.contains("https://***@example.org/in/***?key=***#secret:/2,key"));
    assert!(
        !audit.contains("abcdef") && !audit.contains("ghijkl"),
        "{audit}"
    );
}

#[tokio::test]
async fn a_masked_url_is_no_target() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let words = "{\"target_url\":[\"*** stands for a user and password that are not shown. Write \
                 them, or take ***@ out.\"]}";
    for url in [
        "http://***@example.org/",
        "https://user:***@example.org/hook",
    ] {
        let body = format!("{{\"target_url\":\"{url}\",\"limit_events\":[],\"action_types\":[]}}");
        for (method, path) in [
            ("POST", WEBHOOKS.to_owned()),
            ("PUT", format!("{WEBHOOKS}1/")),
            ("PATCH", format!("{WEBHOOKS}1/")),
        ] {
            let answer = app.ask(asking(method, &path).json(body.clone())).await;
            assert_eq!(answer.told(), (400, words), "{method} {url}");
        }
    }
    let all = app.ask(asking("GET", WEBHOOKS)).await.json();
    assert_eq!(all["count"], 1);
    assert_eq!(all["results"][0]["target_url"], "https://example.org/hook");
}
