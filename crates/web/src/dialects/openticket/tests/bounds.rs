//! How much a request may hold, and that what is sound at the bound is taken.

use serde_json::{Value, json};

use super::super::members::{Items, Members, shallow};
use crate::tests::harness::{Arrived, TestApp, bearing};

const GUID: &str = "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10";

/// A trigger with these fields more than the four it must have.
fn paid(more: &[String]) -> String {
    let own =
        format!("\"resource\":\"order\",\"trigger\":\"paid\",\"guid\":\"{GUID}\",\"data\":{{}}");
    let all: Vec<&str> = [own.as_str()]
        .into_iter()
        .chain(more.iter().map(String::as_str))
        .collect();
    format!("{{{}}}", all.join(","))
}

/// Fields that nobody knows.
fn unknown(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("\"x{at}\":[{at}]")).collect()
}

async fn report(app: &TestApp, body: String) -> Arrived {
    app.ask(bearing("POST", "/trigger").json(body)).await
}

/// A list of so many lists, each with one item.
fn lists(count: usize) -> String {
    format!("[{}]", vec!["[1]"; count].join(","))
}

#[test]
fn what_is_in_a_list_or_an_object_is_not_kept() {
    assert_eq!(shallow(&lists(9)).unwrap(), json!([]));
    assert_eq!(shallow("{\"a\":{\"b\":1}}").unwrap(), json!({}));
    assert_eq!(shallow("\"[\"").unwrap(), json!("["));
    let fields = Members::read("{\"a\":[1,2],\"b\":{\"c\":1},\"a\":[3],\"d\":null}");
    let fields = fields.unwrap().unwrap().fields().unwrap();
    let expected = json!({"a": [], "b": {}, "d": null});
    assert_eq!(Value::Object(fields), expected);
}

#[test]
fn what_is_beyond_the_bound_is_counted_and_not_kept() {
    let text = lists(100_000);
    let items = Items::<3>::read(&text).unwrap();
    assert_eq!((items.kept.len(), items.count), (3, 100_000));
    let text = format!("{{{}}}", unknown(1_000).join(","));
    let members = Members::read(&text).unwrap().unwrap();
    assert_eq!(members.count(), 1_000);
    assert_eq!(
        (members.get("x99"), members.get("x100")),
        (Some("[99]"), None)
    );
}

#[tokio::test]
async fn a_trigger_has_at_most_a_hundred_fields_and_is_refused_alone() {
    let app = TestApp::new().await;
    let (most, over) = (paid(&unknown(96)), paid(&unknown(97)));
    assert_eq!(report(&app, most.clone()).await.status, 201);
    let words = "A trigger may have at most 100 fields, not 101.";
    let answer = report(&app, over.clone()).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json(), json!({"message": words}));
    let entries = report(&app, format!("[{over},{most}]")).await.json();
    assert_eq!(entries[0], json!({"status": 400, "message": words}));
    assert_eq!(entries[1]["status"], 201);
    let many = vec!["\"\":1".to_owned(); 100_000];
    let words = "A trigger may have at most 100 fields, not 100004.";
    assert_eq!(report(&app, paid(&many)).await.json()["message"], words);
}

#[tokio::test]
async fn a_batch_of_very_many_values_is_refused_with_their_number() {
    let app = TestApp::new().await;
    let ones = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let answer = report(&app, ones(200_000)).await;
    assert_eq!(answer.status, 400);
    let words = "A batch may have at most 1000 triggers, not 200000.";
    assert_eq!(answer.json()["message"], words);
    let entries = report(&app, ones(1_000)).await.json();
    assert_eq!(entries.as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn a_field_of_very_many_values_is_refused_in_the_words_for_its_type() {
    let app = TestApp::new().await;
    let many = lists(100_000);
    let object = format!("{{\"a\":{many}}}");
    for (field, value, words) in [
        ("id", &many, "The id must be a string of 1 to 190 bytes."),
        ("resource", &many, "The resource must be a string."),
        ("guid", &object, "The guid must be a string."),
        ("trigger", &object, "The trigger must be a string."),
        ("related", &object, "The related must be an array."),
        (
            "related",
            &many,
            "The related may not have more than 500 items.",
        ),
    ] {
        let text = paid(&[]).replace(&format!("\"{field}\":"), "\"x\":");
        let body = text.replacen('{', &format!("{{\"{field}\":{value},"), 1);
        let answer = report(&app, body).await;
        assert_eq!(answer.status, 422, "{field}");
        assert_eq!(answer.json()["errors"], json!({ field: [words] }));
    }
}

#[tokio::test]
async fn data_of_very_many_values_goes_out_as_it_is() {
    let app = TestApp::new().await;
    app.hook("order", "paid").await;
    let data = format!("{{\"a\":{}}}", lists(60_000));
    let one = paid(&[]).replace("{}", &data);
    assert_eq!(report(&app, one.clone()).await.status, 201);
    let batch = format!("[{}]", vec![one; 3].join(","));
    assert_eq!(report(&app, batch).await.status, 201);
    let due = app.due().await;
    assert_eq!(due.len(), 4);
    assert!(due.iter().all(|due| due.body[..] == *data.as_bytes()));
}

#[tokio::test]
async fn of_many_wrong_related_resources_the_first_are_named() {
    let app = TestApp::new().await;
    let related = |item: &str, count| {
        let items = vec![item; count].join(",");
        paid(&[format!("\"related\":[{items}]")])
    };
    let more = unknown(98).join(",");
    let sound = format!("{{\"resource\":\"event\",\"guid\":\"{GUID}\",{more}}}");
    assert_eq!(report(&app, related(&sound, 500)).await.status, 201);
    let answer = report(&app, related("1", 500)).await;
    assert_eq!(answer.status, 422);
    let errors = answer.json()["errors"].clone();
    assert_eq!(errors.as_object().unwrap().len(), 20);
    let words = "The related.9.guid field is required.";
    assert_eq!(errors["related.9.guid"], json!([words]));
    let over = sound.replacen('{', "{\"x\":1,", 1);
    let errors = report(&app, related(&over, 1)).await.json()["errors"].clone();
    let words = "The related.0 may have at most 100 fields, not 101.";
    assert_eq!(errors, json!({"related.0": [words]}));
    let null = related("{\"resource\":\"event\",\"guid\":null}", 1);
    let errors = report(&app, null).await.json()["errors"].clone();
    let words = "The related.0.guid must be a string.";
    assert_eq!(errors, json!({"related.0.guid": [words]}));
}

#[tokio::test]
async fn a_webhook_has_at_most_a_hundred_fields_in_any_form() {
    const URLENCODED: &str = "application/x-www-form-urlencoded";
    const MULTIPART: &str = "multipart/form-data; boundary=b";
    let app = TestApp::new().await;
    let own = [
        ("name", "n"),
        ("url", "https://example.com/"),
        ("resource", "order"),
        ("trigger", "paid"),
    ];
    for (more, status) in [(96, 201), (97, 400)] {
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let more = (0..more).map(|at| (format!("x{at}"), "1"));
        let all: Vec<_> = own.into_iter().chain(more).collect();
        let join = |field: &dyn Fn(&str, &str) -> String, between: &str| {
            let fields = all.iter().map(|(name, value)| field(name, value));
            fields.collect::<Vec<_>>().join(between)
        };
        let json = join(&|name, value| format!("\"{name}\":\"{value}\""), ",");
        let urlencoded = join(&|name, value| format!("{name}={value}"), "&&");
        let part = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let multipart = join(&part, "") + "--b--\r\n";
        for (form, body) in [
            ("application/json", format!("{{{json}}}")),
            (URLENCODED, urlencoded),
            (MULTIPART, multipart),
        ] {
            let asking = bearing("POST", "/webhook").with("Content-Type", form);
            let answer = app.ask(asking.body(body)).await;
            assert_eq!(answer.status, status, "{form}: {}", answer.body);
            if status == 400 {
                let words = "A webhook may have at most 100 fields, not 101.";
                assert_eq!(answer.json(), json!({"message": words}), "{form}");
            }
        }
    }
}

#[tokio::test]
async fn a_webhook_field_that_cannot_be_read_is_named() {
    let app = TestApp::new().await;
    for (value, words) in [
        ("1e999", "number out of range at line 1 column 5."),
        (
            "\"\\ud800\"",
            "unexpected end of hex escape at line 1 column 8.",
        ),
    ] {
        let body = format!("{{\"retries\":{value}}}");
        let answer = app.ask(bearing("POST", "/webhook").json(body)).await;
        assert_eq!(answer.status, 400, "{value}");
        let words = format!("The retries is not valid JSON: {words}");
        assert_eq!(answer.json()["message"], words);
    }
}
