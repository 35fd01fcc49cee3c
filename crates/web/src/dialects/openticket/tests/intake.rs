//! How triggers are reported, and that what is reported is what is sent.

use model::delivery::DueDelivery;
use serde_json::{Value, json};

use crate::dialects::DialectOptions;
use crate::tests::harness::{Arrived, COMPANY, TestApp, bearing};

const GUID: &str = "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10";
const EVENT: &str = "5f0f6b1e-2c1d-4d0e-9a51-7a8c0e6f1b20";

async fn report(app: &TestApp, body: impl Into<Vec<u8>>) -> Arrived {
    app.ask(bearing("POST", "/trigger").json(body)).await
}

fn paid(extra: &str) -> String {
    format!("{{\"resource\":\"order\",\"trigger\":\"paid\",\"guid\":\"{GUID}\"{extra}}}")
}

fn bodies(due: &[DueDelivery]) -> Vec<&[u8]> {
    due.iter().map(|due| &due.body[..]).collect()
}

#[tokio::test]
async fn the_data_goes_out_byte_for_byte_and_the_header_says_what_happened() {
    let app = TestApp::new().await;
    app.hook("order", "paid").await;
    let data = "{ \"a\" : 1.50e+3,\t\"\\u00e4\":\"\\ud83d\\ude00 ä\", \"a\":[ ] ,\r\n\"z\":-0 }";
    let answer = report(&app, paid(&format!(",\"data\" :  {data} ,\"id\":\"one\""))).await;
    assert_eq!(answer.told(), (201, "{\"id\":\"one\",\"invocations\":1}"));
    let due = app.due().await;
    assert_eq!(bodies(&due), [data.as_bytes()]);
    assert_eq!(
        due[0].headers.get("OpenTicket-Trigger"),
        Some(b"order.paid".as_slice())
    );
    assert_eq!(&*due[0].key, "one");
    let named = paid(",\"data\":{},\"name\":\"order.ticket.upgraded\"");
    report(&app, named).await;
    let due = app.due().await;
    let name = due[1].headers.get("OpenTicket-Trigger");
    assert_eq!(name, Some(b"order.ticket.upgraded".as_slice()));
}

#[tokio::test]
async fn the_same_id_is_the_same_trigger_and_other_content_contradicts() {
    let app = TestApp::new().await;
    app.hook("order", "paid").await;
    let related = format!(",\"related\":[{{\"resource\":\"event\",\"guid\":\"{EVENT}\"}}]");
    let one = paid(&format!(",\"id\":\"one\",\"data\":{{\"a\":1}}{related}"));
    assert_eq!(report(&app, one.clone()).await.status, 201);
    let again = report(&app, one.clone()).await;
    assert_eq!(again.told(), (200, "{\"id\":\"one\",\"invocations\":1}"));
    // Nothing of it is told by case, order or spaces around.
    let again = one.replace(GUID, &GUID.to_uppercase()).replace(':', " : ");
    let again = again.replace("\"a\" : 1", "\"a\":1");
    assert_eq!(report(&app, again).await.status, 200);
    for other in [
        one.replace("\"a\":1", "\"a\":2"),
        one.replace("\"a\":1", "\"a\": 1"),
        one.replace(GUID, EVENT),
        one.replace(&related, ""),
        one.replace("\"event\"", "\"ticket\""),
        one.replace("\"paid\"", "\"update\""),
        one.replace("\"data\"", "\"name\":\"x.y\",\"data\""),
    ] {
        let answer = report(&app, other.clone()).await;
        assert_eq!(answer.status, 409, "{other}");
        let words = "Trigger one was reported before with other content: it first came at \
                     2026-11-20T18:00:00.000Z.";
        assert_eq!(answer.json()["message"], words);
    }
    assert_eq!(app.due().await.len(), 1);
    // Another company's is another one.
    let small = bearing("POST", "/trigger").with("Authorization", "Bearer tokensmall");
    let answer = app.ask(small.json(one)).await;
    assert_eq!(answer.told(), (201, "{\"id\":\"one\",\"invocations\":0}"));
}

#[tokio::test]
async fn one_webhook_gets_one_invocation_however_it_is_reached() {
    let app = TestApp::new().await;
    let body = json!({
        "name": "n", "url": "https://example.com/", "resource": "event", "trigger": "paid",
        "triggered_by_child_resources": true,
    });
    app.ask(bearing("POST", "/webhook").json(body.to_string()))
        .await;
    app.hook("order", "paid").await;
    let event = |guid: &str| json!({"resource": "event", "guid": guid});
    let body = json!({
        "resource": "order", "trigger": "paid", "guid": GUID, "data": {},
        "related": [event(EVENT), event(GUID), event(EVENT), event(&EVENT.to_uppercase())],
    });
    let answer = report(&app, body.to_string()).await;
    assert_eq!(answer.json()["invocations"], 2);
    assert_eq!(app.due().await.len(), 2);
}

#[tokio::test]
async fn several_come_as_an_array_or_one_a_line_and_a_bad_one_harms_no_other() {
    let app = TestApp::new().await;
    app.hook("order", "paid").await;
    let sound = |id: &str| paid(&format!(",\"id\":\"{id}\",\"data\":{{}}"));
    let array = format!("[{},5,{{}},{}]", sound("a"), sound("b"));
    let lines = format!("{}\n\n{{\r\n{}\n", sound("c"), sound("a"));
    let answer = report(&app, array).await;
    assert_eq!(answer.status, 201);
    let entries = answer.json();
    assert_eq!(
        entries[0],
        json!({"status": 201, "id": "a", "invocations": 1})
    );
    assert_eq!(
        entries[1]["errors"][""][0],
        "A trigger must be a JSON object."
    );
    let required = |field: &str| json!([format!("The {field} field is required.")]);
    let expected = json!({
        "status": 422,
        "message": "The given data was invalid.",
        "errors": {
            "resource": required("resource"),
            "guid": required("guid"),
            "trigger": required("trigger"),
            "data": required("data"),
        },
    });
    assert_eq!(entries[2], expected);
    assert_eq!(entries[3]["status"], 201);
    for form in ["application/x-ndjson", "application/jsonl"] {
        let asking = bearing("POST", "/trigger").with("Content-Type", form);
        let answer = app.ask(asking.body(lines.clone())).await;
        let statuses: Vec<Value> = answer
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["status"].clone())
            .collect();
        let first = if form.contains("nd") { 201 } else { 200 };
        assert_eq!(statuses, [json!(first), json!(400), json!(200)], "{form}");
    }
    assert_eq!(app.due().await.len(), 3);
    assert_eq!(report(&app, "[]").await.told(), (200, "[]"));
}

#[tokio::test]
async fn what_is_wrong_with_a_trigger_is_said_field_by_field() {
    let app = TestApp::new().await;
    let many = vec![json!({"resource": "event", "guid": EVENT}); 501];
    for (field, value) in [
        ("resource", json!("orders")),
        ("resource", json!(1)),
        ("trigger", json!("paids")),
        ("trigger", json!(null)),
        ("guid", json!("7c0e")),
        ("id", json!("")),
        ("id", json!("x".repeat(191))),
        ("id", json!(1.5)),
        ("id", json!([])),
        ("name", json!("")),
        ("name", json!("a b")),
        ("name", json!("a\r\nX: y")),
        ("name", json!(5)),
        ("related", json!({})),
        ("related", json!(many)),
        (
            "related.0.guid",
            json!([{"resource": "event", "guid": "x"}]),
        ),
        (
            "related.0.resource",
            json!([{"resource": "x", "guid": EVENT}]),
        ),
        (
            "related.1.guid",
            json!([{"resource": "event", "guid": EVENT}, {"resource": "event"}]),
        ),
        ("data", json!([])),
        ("data", json!("{}")),
        ("data", json!(null)),
    ] {
        let mut body = json!({"resource": "order", "trigger": "paid", "guid": GUID, "data": {}});
        let key = field.split('.').next().unwrap();
        body[key] = value.clone();
        let answer = report(&app, body.to_string()).await;
        assert_eq!(answer.status, 422, "{field} {value}: {}", answer.body);
        let errors = answer.json()["errors"].clone();
        assert!(errors[field][0].is_string(), "{field} {value}: {errors}");
    }
    let twice = report(&app, paid(",\"data\":{},\"data\":{}")).await;
    assert_eq!(
        twice.json()["errors"]["data"][0],
        "The data field is given twice."
    );
    let numbered = report(&app, paid(",\"data\":{},\"id\":17,\"more\":true")).await;
    assert_eq!(numbered.json()["id"], "17");
}

#[tokio::test]
async fn what_is_too_much_or_no_json_is_refused() {
    let app = TestApp::new().await;
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("[1", 400),
        ("nul", 400),
        ("{\"data\":{\"a\":}}", 400),
        ("\u{feff}5", 422),
    ] {
        assert_eq!(report(&app, body).await.status, status, "{body}");
    }
    let large = format!(",\"data\":{{\"a\":\"{}\"}}", "x".repeat(256 * 1024));
    assert_eq!(report(&app, paid(&large)).await.status, 413);
    let many = format!("[{}]", vec!["{}"; 1_001].join(","));
    assert_eq!(report(&app, many).await.status, 400);
    let deep = format!(
        ",\"data\":{{\"a\":{}{}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    assert_eq!(report(&app, paid(&deep)).await.status, 201);
    let deep = format!(",\"related\":{}", "[".repeat(50_000));
    assert_eq!(report(&app, paid(&deep)).await.status, 400);
    let form = bearing("POST", "/trigger").with("Content-Type", "multipart/form-data; boundary=b");
    assert_eq!(app.ask(form.body("--b--")).await.status, 415);
}

#[tokio::test]
async fn an_id_is_made_where_none_is_given() {
    let app = TestApp::new().await;
    let (one, two) = (
        report(&app, paid(",\"data\":{}")).await,
        report(&app, paid(",\"data\":{}")).await,
    );
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (201, 201));
    let id = |answer: &Arrived| answer.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(id(&one), id(&two));
    assert!(super::super::guid::read(&id(&one)).is_some());
    assert_ne!(id(&one), COMPANY);
}

#[tokio::test]
async fn a_trigger_that_is_not_known_to_fire_is_taken_with_a_warning() {
    let app = TestApp::new().await;
    let scan = |id: &str| {
        format!(
            "{{\"id\":\"{id}\",\"resource\":\"shop\",\"trigger\":\"scan\",\"guid\":\"{GUID}\",\
             \"data\":{{}}}}"
        )
    };
    let words = "\"scan\" on \"shop\" is not known to fire, so hardly a webhook asks for it. Of \
                 \"shop\" there are update, paid. The setting \"triggers\" adds others.";
    let answer = report(&app, scan("a")).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["warning"], words);
    let batch = report(&app, format!("[{},{}]", scan("a"), scan("b")))
        .await
        .json();
    assert_eq!(
        (&batch[0]["status"], &batch[0]["warning"]),
        (&200.into(), &words.into())
    );
    assert_eq!(
        (&batch[1]["status"], &batch[1]["warning"]),
        (&201.into(), &words.into())
    );
    // Once somebody hears of it there is nothing to say.
    app.hook("shop", "scan").await;
    let heard = report(&app, scan("c")).await;
    assert_eq!(heard.told(), (201, "{\"id\":\"c\",\"invocations\":1}"));
    let strict = TestApp::with(DialectOptions {
        strict_action_types: true,
        ..DialectOptions::default()
    });
    let strict = strict.await;
    let refused = report(&strict, scan("a")).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["errors"]["trigger"][0], words);
    let refused = report(&strict, format!("[{}]", scan("a"))).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()[0]["status"]),
        (200, &422.into())
    );
}
