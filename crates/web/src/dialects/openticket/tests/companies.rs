//! Whose webhooks a token reaches, and which company new ones belong to.

use crate::tests::harness::{Arrived, Asking, COMPANY, SMALL, TestApp, bearing};

const HOOK: &str =
    r#"{"name":"n","url":"https://example.com/","resource":"order","trigger":"paid"}"#;
const TRIGGER: &str = r#"{"resource":"order","trigger":"paid",
    "guid":"d0a3f370-cd43-11ed-9c9c-bbcffde24a48","data":{}}"#;

fn by(token: &str, method: &str, path: &str) -> Asking {
    bearing(method, path).with("Authorization", &format!("Bearer {token}"))
}

fn owner(answer: &Arrived) -> String {
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["company_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_of_one_company_needs_no_header() {
    let app = TestApp::new().await;
    let made = app
        .ask(by("tokensmall", "POST", "/webhook").json(HOOK))
        .await;
    assert_eq!(owner(&made), SMALL);
    // Others do not see it.
    let guid = made.json()["guid"].as_str().unwrap().to_owned();
    let path = format!("/webhook/{guid}");
    assert_eq!(app.ask(by("tokenall", "GET", &path)).await.status, 404);
    assert_eq!(app.ask(by("tokenall", "DELETE", &path)).await.status, 404);
    assert_eq!(app.ask(by("tokensmall", "GET", &path)).await.status, 200);
    assert_eq!(app.ask(by("tokenboth", "GET", &path)).await.status, 200);
}

#[tokio::test]
async fn of_several_companies_the_header_names_one_or_the_tokens_default_is_meant() {
    let app = TestApp::new().await;
    let create = |token: &str| by(token, "POST", "/webhook").json(HOOK);
    assert_eq!(owner(&app.ask(create("tokenboth")).await), COMPANY);
    let named = |token: &str, header: &str| create(token).with("Company", header);
    for header in [
        SMALL.to_owned(),
        SMALL.to_uppercase(),
        format!(" ,{SMALL}, "),
    ] {
        let made = app.ask(named("tokenseveral", &header)).await;
        assert_eq!(owner(&made), SMALL, "{header}");
    }
    let both = format!("{COMPANY},{SMALL}");
    assert_eq!(owner(&app.ask(named("tokenboth", &both)).await), COMPANY);
    for asking in [create("tokenseveral"), named("tokenseveral", &both)] {
        let answer = app.ask(asking).await;
        assert_eq!(answer.status, 422);
        let words = &answer.json()["errors"]["company_id"][0];
        assert!(
            words.as_str().unwrap().contains("Company header"),
            "{words}"
        );
    }
    let chosen = HOOK.replace("\"name\"", &format!("\"company_id\":\"{SMALL}\",\"name\""));
    let made = app
        .ask(by("tokenseveral", "POST", "/webhook").json(chosen))
        .await;
    assert_eq!(owner(&made), SMALL);
    // One that the token is not for, or that cannot be one, narrows to nothing.
    for header in ["d0a3f370-cd43-11ed-9c9c-bbcffde24a49", "x", "", ","] {
        let answer = app.ask(named("tokenboth", header)).await;
        assert_eq!(answer.status, 403, "{header}");
        assert_eq!(answer.json()["message"], "This action is unauthorized.");
    }
}

#[tokio::test]
async fn the_header_may_be_given_several_times() {
    let app = TestApp::new().await;
    for header in [COMPANY, SMALL] {
        let asking = by("tokenboth", "POST", "/webhook").json(HOOK);
        app.ask(asking.with("Company", header)).await;
    }
    let count = |answer: Arrived| answer.json().as_array().unwrap().len();
    let list = || by("tokenboth", "GET", "/webhook");
    assert_eq!(count(app.ask(list()).await), 2);
    assert_eq!(count(app.ask(list().with("Company", SMALL)).await), 1);
    let mut request = list().request().unwrap();
    for header in [COMPANY, SMALL] {
        request
            .headers_mut()
            .append("Company", header.parse().unwrap());
    }
    assert_eq!(count(app.send(request).await), 2);
}

#[tokio::test]
async fn a_right_counts_only_at_the_companies_where_it_is_given() {
    let app = TestApp::new().await;
    // This one may report triggers at one of its two companies only.
    let report = |header: Option<&str>| {
        let asking = by("tokenseveral", "POST", "/trigger").json(TRIGGER);
        match header {
            Some(header) => asking.with("Company", header),
            None => asking,
        }
    };
    assert_eq!(app.ask(report(None)).await.status, 201);
    assert_eq!(app.ask(report(Some(COMPANY))).await.status, 201);
    assert_eq!(app.ask(report(Some(SMALL))).await.status, 403);
}

/// The trigger with a member of its own before the others.
fn naming(company: &str) -> String {
    TRIGGER.replacen('{', &format!("{{\"company_id\":{company},"), 1)
}

#[tokio::test]
async fn a_trigger_that_names_another_company_is_not_taken_for_ones_own() {
    let app = TestApp::new().await;
    let words = "The selected company_id is invalid.";
    for company in [
        format!("\"{SMALL}\""),
        "\"d0a3f370-cd43-11ed-9c9c-bbcffde24a49\"".to_owned(),
        "\"Grand Hall\"".to_owned(),
        "7".to_owned(),
        "[]".to_owned(),
    ] {
        let report = by("tokenall", "POST", "/trigger").json(naming(&company));
        let answer = app.ask(report).await;
        assert_eq!(answer.status, 422, "{company}");
        assert_eq!(answer.json()["errors"]["company_id"][0], words, "{company}");
    }
    for company in [
        format!("\"{COMPANY}\""),
        "null".to_owned(),
        "\"\"".to_owned(),
    ] {
        let report = by("tokenall", "POST", "/trigger").json(naming(&company));
        assert_eq!(app.ask(report).await.status, 201, "{company}");
    }
}

#[tokio::test]
async fn each_trigger_of_a_batch_goes_to_the_company_that_it_names() {
    let app = TestApp::new().await;
    let create = |company: &str| {
        by("tokenboth", "POST", "/webhook")
            .json(HOOK)
            .with("Company", company)
    };
    assert_eq!(app.ask(create(SMALL)).await.status, 201);
    let other = "\"d0a3f370-cd43-11ed-9c9c-bbcffde24a49\"";
    let small = format!("\"{SMALL}\"");
    let batch = format!("[{},{},{TRIGGER}]", naming(&small), naming(other));
    let answer = app
        .ask(by("tokenboth", "POST", "/trigger").json(batch))
        .await;
    let told = answer.json();
    assert_eq!(
        (&told[0]["status"], &told[0]["invocations"]),
        (&201.into(), &1.into())
    );
    assert_eq!(told[1]["status"], 422);
    assert!(told[1]["errors"]["company_id"].is_array());
    assert_eq!(
        (&told[2]["status"], &told[2]["invocations"]),
        (&201.into(), &0.into())
    );
}

#[tokio::test]
async fn whoever_is_unknown_is_told_so_in_the_vendors_words() {
    let app = TestApp::new().await;
    for header in [
        "",
        "Bearer",
        "Bearer nope",
        "Token tokenall",
        "Bearer tokenoff",
        "Basic eDp4",
    ] {
        let answer = app
            .ask(bearing("GET", "/webhook").with("Authorization", header))
            .await;
        assert_eq!(
            answer.told(),
            (401, "{\"message\":\"Unauthenticated.\"}"),
            "{header}"
        );
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
}
