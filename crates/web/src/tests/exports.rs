//! The log as a file, over REST and from the dashboard; and finding what is about a code.

use std::collections::BTreeMap;

use http_body_util::BodyExt;
use model::limits::EXPORTS_TENANT_MAX;
use model::query::LogQuery;
use model::users::Role;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::harness::{Arrived, TestApp, asking, bearing};
use super::pages::past::{PAID, answered};

const ALL: &str = "/api/v1/organizers/bigevents/deliveries/";
const EXPORT: &str = "/api/v1/organizers/bigevents/deliveries/export/";

/// Two webhooks with `count` deliveries each, on a server that runs.
async fn app(count: usize) -> TestApp {
    let app = TestApp::new().await;
    app.stopping.send_replace(false);
    app.webhook(&[PAID]).await;
    app.webhook(&[PAID]).await;
    for number in 0..count {
        app.order(&format!("C{number}"), "democon").await;
    }
    app
}

fn objects(file: &Arrived) -> Vec<Value> {
    let lines = file.body.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_export_has_what_all_pages_of_the_list_have_in_their_order() {
    let app = app(60).await;
    let began = Instant::now();
    let file = app.ask(asking("GET", EXPORT)).await;
    // It let others ask twice, once after each page but the last.
    assert_eq!(began.elapsed().as_millis(), 20);
    assert_eq!(file.status, 200, "{}", file.body);
    assert_eq!(file.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(
        file.header("content-disposition"),
        Some("attachment; filename=\"deliveries-2026-11-20T180000.ndjson\"")
    );
    let rows = objects(&file);
    let mut listed: Vec<Value> = Vec::new();
    let mut next = Some(ALL.to_owned());
    while let Some(path) = next {
        let page = app.ask(asking("GET", &path)).await.json();
        listed.extend(page["results"].as_array().unwrap().clone());
        let link = page["next"].as_str();
        next = link.map(|link| link.replace("http://127.0.0.1:18544", ""));
    }
    assert_eq!(listed.len(), 120);
    assert_eq!(ids(&rows), ids(&listed));
    assert_eq!(rows[0]["status"], listed[0]["status"]);
    // In a list numbers are numbers; in a file every key is a text.
    assert_eq!(
        rows[0]["notification_id"],
        listed[0]["notification_id"].to_string()
    );
}

#[tokio::test(start_paused = true)]
async fn a_csv_file_has_a_line_for_each_and_ends_them_as_rfc_4180_says() {
    let app = app(1).await;
    app.attempt(&answered(500, "no")).await;
    let by_query = app
        .ask(asking("GET", &format!("{EXPORT}?format=csv")))
        .await;
    let by_accept = app
        .ask(asking("GET", EXPORT).with("Accept", "text/csv"))
        .await;
    assert_eq!(by_query.body, by_accept.body);
    let kind = "text/csv; charset=utf-8; header=present";
    assert_eq!(by_accept.header("content-type"), Some(kind));
    let lines: Vec<&str> = by_query.body.split("\r\n").collect();
    let [head, second, first, end] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(
        *head,
        "id,webhook,target_url,notification_id,action_type,event,test,status,reason,\
         attempt_count,accepted_at,latest_attempt_at,next_attempt_at,ended_at,response_status,\
         outcome"
    );
    assert!(second.starts_with("dlv_1_2,2,") && first.starts_with("dlv_1_1,1,"));
    assert!(
        first.contains(",democon,false,retrying,,1,2026-11-20T18:00:00.000Z,"),
        "{first}"
    );
    assert!(!by_query.body.contains('\u{feff}') && end.is_empty());
}

#[tokio::test]
async fn a_form_that_cannot_be_made_is_refused_by_its_name() {
    let app = app(1).await;
    let odd = app
        .ask(asking("GET", &format!("{EXPORT}?format=xlsx")))
        .await;
    assert_eq!(
        odd.told(),
        (400, r#"{"format":["Must be one of csv, ndjson."]}"#)
    );
    let odd = app
        .ask(asking("GET", EXPORT).with("Accept", "image/png"))
        .await;
    assert_eq!(odd.status, 406);
}

#[tokio::test]
async fn each_filter_leaves_out_what_it_does_not_name() {
    let app = app(3).await;
    let list = async |query: &str| {
        let page = app.ask(asking("GET", &format!("{ALL}?{query}"))).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let rows = page.json()["results"].as_array().unwrap().clone();
        let file = app.ask(asking("GET", &format!("{EXPORT}?{query}"))).await;
        assert_eq!(ids(&objects(&file)), ids(&rows), "{query}");
        ids(&rows).join(" ")
    };
    assert_eq!(list("code=C1").await, "dlv_2_2 dlv_2_1");
    // All of a code, and as it is written.
    assert_eq!(list("code=C").await, "");
    assert_eq!(list("code=c1").await, "");
    assert_eq!(list("text=C2").await, "dlv_3_2 dlv_3_1");
    assert_eq!(list("event=secondcon").await, "");
    assert_eq!(list("status=delivered").await, "");
    assert_eq!(list("response=5xx").await, "");
    let key = app.ask(asking("GET", ALL)).await.json()["results"][0]["notification_id"].to_string();
    assert_eq!(
        list(&format!("notification_id={key}")).await,
        "dlv_3_2 dlv_3_1"
    );
    assert_eq!(list(&format!("notification_id={key}&code=C1")).await, "");
    assert_eq!(list("notification_id=unknown").await, "");
    let both = app
        .ask(asking("GET", &format!("{ALL}?code=A&text=B")))
        .await;
    assert_eq!(
        both.told(),
        (400, r#"{"code":["Give either a code or a text."]}"#)
    );
}

#[tokio::test]
async fn a_webhook_exports_its_own_and_no_other_tenant_any() {
    let app = app(1).await;
    let own = "/api/v1/organizers/bigevents/webhooks/2/deliveries/export/";
    let file = app.ask(asking("GET", own)).await;
    assert_eq!(ids(&objects(&file)), ["dlv_1_2"]);
    assert_eq!(
        app.ask(asking("GET", own).by("tokenother")).await.status,
        403
    );
    let other = EXPORT.replace("bigevents", "othercorp");
    let none = app.ask(asking("GET", &other).by("tokenother")).await;
    assert_eq!((none.status.as_u16(), &*none.body), (200, ""));
}

#[tokio::test]
async fn a_company_exports_under_its_own_names() {
    let app = TestApp::new().await;
    app.stopping.send_replace(false);
    let hook = app.hook("order", "paid").await;
    let body = json!({
        "resource": "order",
        "trigger": "paid",
        "guid": "0d5b4a6c-7f0e-4c1a-9a59-0f4f5d8c1e11",
        "data": { "number": "N-1" },
    });
    let told = app
        .ask(bearing("POST", "/trigger").json(body.to_string()))
        .await;
    assert!(told.status.is_success(), "{}", told.body);
    let file = app
        .ask(bearing("GET", "/webhook/willcall/export?code=N-1"))
        .await;
    let rows = objects(&file);
    assert_eq!(rows.len(), 1, "{}", file.body);
    assert_eq!(rows[0]["webhook"], hook.guid);
    let guid = rows[0]["id"].as_str().unwrap();
    let one = format!("/webhook/{}/invocations/{guid}", hook.guid);
    assert_eq!(app.ask(bearing("GET", &one)).await.status, 200);
    let own = format!("/webhook/{}/willcall/export?code=N-2", hook.guid);
    assert_eq!(app.ask(bearing("GET", &own)).await.body, "");
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_all_exports_from_the_others_and_one_that_is_left_is_free_again() {
    let app = app(60).await;
    let open = async || {
        app.site
            .clone()
            .answer(asking("GET", EXPORT).request().unwrap())
            .await
    };
    let mut held = Vec::new();
    for _ in 0..EXPORTS_TENANT_MAX {
        let mut response = open().await;
        assert_eq!(response.status(), 200);
        drop(response.frame().await.unwrap().unwrap());
        held.push(response);
    }
    assert_eq!(open().await.status(), 409);
    held.pop();
    assert_eq!(open().await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_export_that_the_server_cannot_end_breaks_off() {
    let app = app(60).await;
    let mut response = app
        .site
        .clone()
        .answer(asking("GET", EXPORT).request().unwrap())
        .await;
    assert!(response.frame().await.unwrap().is_ok());
    app.stopping.send_replace(true);
    let rest = response.frame().await.unwrap();
    assert!(rest.unwrap_err().to_string().contains("the server stops"));
    assert!(response.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn people_download_what_their_filter_shows_with_a_mark_for_spreadsheets() {
    let app = app(60).await;
    let log = format!("/t/{}/log", app.tenant("bigevents").await);
    let mut look = app.browser_with(Role::Look).await;
    let page = look.get(&format!("{log}?show=democon")).await;
    assert!(
        page.says("Everything that this filter shows, as a file: CSV , NDJSON"),
        "{}",
        page.words()
    );
    let file = look
        .get(&format!("{log}/export?show=democon&format=csv"))
        .await;
    assert_eq!(file.status, 200);
    assert!(file.body.starts_with("\u{feff}id,webhook,"));
    assert_eq!(file.body.lines().count(), 121);
    let of_one = format!(
        "{}/export?format=ndjson",
        log.replace("/log", "/webhooks/2/log")
    );
    let file = look.get(&of_one).await;
    assert_eq!(objects(&file).len(), 60);
    let odd = look
        .get(&format!("{log}/export?format=csv&status=odd"))
        .await;
    assert_eq!(odd.status, 404);
}

#[tokio::test(start_paused = true)]
async fn an_export_ends_with_the_rights_of_whoever_asked() {
    let app = app(120).await;
    let tenant = app.tenant("bigevents").await;
    let user = app.user("anna", false).await;
    app.role(user.id, tenant, Some(Role::Look)).await;
    let mut anna = app.browser_of(user.id).await;
    let export = format!("/t/{tenant}/log/export?format=csv");
    let mut file = anna.open(asking("GET", &export)).await;
    assert!(file.frame().await.unwrap().is_ok());
    app.role(user.id, tenant, None).await;
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    let rest = file.frame().await.unwrap();
    assert!(
        rest.unwrap_err()
            .to_string()
            .contains("may not read it any more")
    );
}

#[tokio::test]
async fn one_field_finds_a_delivery_a_notification_and_what_is_about_a_code() {
    let app = app(2).await;
    let tenant = app.tenant("bigevents").await;
    let rows = app.store.log(
        tenant,
        LogQuery {
            limit: 1,
            ..LogQuery::default()
        },
    );
    let key = rows.await.unwrap().rows[0].row.key.clone();
    let log = format!("/t/{tenant}/log");
    let mut look = app.browser_with(Role::Look).await;
    let found = BTreeMap::from([
        ("dlv_1_2", format!("/t/{tenant}/deliveries/dlv_1_2")),
        (" dlv_1_2 ", format!("/t/{tenant}/deliveries/dlv_1_2")),
        (key.as_str(), format!("/t/{tenant}/notifications/2")),
        ("C1", format!("{log}?text=%22code%22%3A%20%22C1%22&")),
        // Not there, so it is looked for in bodies.
        (
            "dlv_9_9",
            format!("{log}?text=%22code%22%3A%20%22dlv%5F9%5F9%22&"),
        ),
    ]);
    for (wanted, place) in found {
        let answer = look
            .get(&format!("{log}?find={}", wanted.replace(' ', "+")))
            .await;
        assert_eq!(answer.leads_to(), (303, place.as_str()), "{wanted}");
    }
    let page = look.get(&format!("{log}?status=pending&find=C1")).await;
    let (_, place) = page.leads_to();
    let place = place.to_owned();
    assert!(place.contains("status=pending&"));
    let page = look.get(&place).await;
    assert!(page.body.contains("dlv_2_1") && !page.body.contains("dlv_1_1"));
}
