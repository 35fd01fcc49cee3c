//! The API for administrators: what `willcall apply`, `user` and `token` do, over REST.

use std::sync::Arc;

use model::tenant::{DialectName, TokenHash};
use model::users::{NewUser, PasswordHash, Role};
use serde_json::{Value, json};

use super::harness::{Arrived, Asking, COMPANY, TestApp, asking};
use crate::dialects::DialectOptions;

const TENANTS: &str = "/willcall/v1/tenants";
const BIGEVENTS: &str = "/willcall/v1/tenants/pretix/bigevents";

fn request(method: &str, path: &str) -> Asking {
    asking(method, path).by("tokenadmin")
}

async fn get(app: &TestApp, path: &str) -> Arrived {
    app.ask(request("GET", path)).await
}

async fn put(app: &TestApp, path: &str, body: &Value) -> Arrived {
    app.ask(request("PUT", path).json(body.to_string())).await
}

async fn post(app: &TestApp, path: &str, body: &Value) -> Arrived {
    app.ask(request("POST", path).json(body.to_string())).await
}

/// The status, and the fields at fault with what is wrong.
fn faults(answer: &Arrived) -> (u16, Vec<(String, String)>) {
    let body = answer.json();
    let errors = body["errors"].as_object().cloned().unwrap_or_default();
    let line = |(field, reasons): (String, Value)| {
        let first = reasons[0].as_str().unwrap_or_default().to_owned();
        (field, first)
    };
    (
        answer.status.as_u16(),
        errors.into_iter().map(line).collect(),
    )
}

fn fields(answer: &Arrived) -> (u16, Vec<String>) {
    let (status, faults) = faults(answer);
    let mut fields: Vec<String> = faults.into_iter().map(|(field, _)| field).collect();
    fields.sort();
    (status, fields)
}

async fn audit(app: &TestApp, key: &str) -> Vec<(String, String)> {
    let tenant = app.tenant(key).await;
    let entries = app.store.audit(tenant, 50).await.unwrap();
    let line = |entry: model::query::AuditEntry| (entry.actor, entry.action);
    entries.into_iter().rev().map(line).collect()
}

async fn list_all(app: &TestApp, path: &str, name: &str) -> (Vec<String>, usize) {
    let (mut names, mut pages) = (Vec::new(), 0);
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let page = get(app, &path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let page = page.json();
        let rows = page["results"].as_array().unwrap();
        names.extend(
            rows.iter()
                .map(|row| row[name].as_str().unwrap().to_owned()),
        );
        next = page["next"].as_str().map(|url| {
            let path = url.strip_prefix("http://127.0.0.1:18544");
            path.unwrap().to_owned()
        });
        pages += 1;
    }
    (names, pages)
}

#[tokio::test]
async fn a_tenant_is_created_with_all_it_has_and_the_same_again_changes_nothing() {
    let app = TestApp::new().await;
    let path = format!("{TENANTS}/pretix/newcorp");
    let body = json!({
        "name": "New Corp",
        "event": [{ "slug": "con", "date_from": "2027-01-19T00:00:00Z" }],
        "token": [
            { "name": "made here", "permissions": ["notifications:write"] },
            { "name": "brought", "token": "brought-token", "permissions": ["webhooks:read"] },
        ],
        "webhook": [{
            "target_url": "https://u:p@a.example/",
            "all_events": false,
            "limit_events": ["con"],
            "action_types": ["pretix.event.order.paid"],
            "signature": [{ "profile": "stripe", "secret": "a-secret-of-stripe" }],
        }],
    });
    assert_eq!(get(&app, &path).await.status, 404);
    let made = put(&app, &path, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let made = made.json();
    assert_eq!(made["name"], "New Corp");
    let changes = made["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 5, "{changes:?}");
    assert!(changes.iter().all(|change| change["change"] == "created"));
    let token = changes[2]["token"].as_str().unwrap();
    assert_eq!(changes[3].get("token"), None, "whoever brought it knows it");
    assert_eq!(changes[4]["target_url"], "https://***@a.example/");
    for (token, status) in [(token, 403), ("brought-token", 200)] {
        let webhooks = asking("GET", "/api/v1/organizers/newcorp/webhooks/").by(token);
        assert_eq!(app.ask(webhooks).await.status, status);
    }
    let again = put(&app, &path, &body).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(again.json()["changes"], json!([]));
    let renamed = put(&app, &path, &json!({ "name": "Newer" })).await.json();
    let change = json!([{ "item": "tenant", "change": "changed" }]);
    assert_eq!(
        (&renamed["name"], &renamed["changes"]),
        (&json!("Newer"), &change)
    );
    // What is not named stays.
    let kept = put(&app, &path, &json!({})).await.json();
    assert_eq!(
        (&kept["name"], &kept["changes"]),
        (&json!("Newer"), &json!([]))
    );
    let audit = audit(&app, "newcorp").await;
    assert!(audit.iter().all(|(actor, _)| actor == "admin"), "{audit:?}");
    let actions: Vec<&str> = audit.iter().map(|(_, action)| action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "tenant.created",
            "event.created",
            "token.created",
            "token.created",
            "webhook.created",
            "signature.added",
            "tenant.changed"
        ]
    );
}

#[tokio::test]
async fn a_tenant_of_another_dialect_has_its_key_and_its_permissions() {
    let app = TestApp::new().await;
    let guid = "11111111-cd43-11ed-9c9c-bbcffde24a48";
    let path = format!("{TENANTS}/openticket/{guid}");
    let body = json!({
        "guid": guid,
        "name": "Hall",
        "token": [{ "name": "till", "permissions": ["triggers:write"] }],
    });
    let made = put(&app, &path, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let token = get(&app, &format!("{path}/tokens/till")).await.json();
    assert_eq!(token["permissions"], json!(["triggers:write"]));
    // It knows no shows, and says so by name.
    let show = put(&app, &format!("{path}/events/a"), &json!({})).await;
    assert_eq!(fields(&show).0, 400, "{}", show.body);
    assert!(show.body.contains("is not known here"), "{}", show.body);
    let wrong = put(&app, &format!("{TENANTS}/openticket/hall"), &json!({})).await;
    assert_eq!(fields(&wrong), (400, vec!["guid".to_owned()]));
    assert_eq!(
        put(&app, &format!("{TENANTS}/nobody/a"), &json!({}))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_tenant_is_named_by_its_field_and_nothing_is_changed() {
    let app = TestApp::new().await;
    let path = format!("{TENANTS}/pretix/wrong");
    for (body, wanted) in [
        (json!({ "colour": 1 }), "colour"),
        (json!({ "slug": "other" }), "slug"),
        (json!({ "name": null }), "name"),
        (json!({ "name": 7 }), "name"),
        (json!({ "name": u64::MAX }), "name"),
        (json!({ "event": [{ "slug": "a b" }] }), "event.slug"),
        (
            json!({ "event": [{ "slug": "a", "date_from": "soon" }] }),
            "event.date_from",
        ),
        (
            json!({ "token": [{ "name": "a", "permissions": ["all"] }] }),
            "token.permissions",
        ),
        (
            json!({ "token": [{ "name": "a", "permissions": ["tenants:write"] }] }),
            "token.permissions",
        ),
        (
            json!({ "webhook": [{ "target_url": "https://a.example/", "x": 1 }] }),
            "webhook.x",
        ),
        (
            json!({ "webhook": [{
                "target_url": "https://a.example/", "all_events": true, "action_types": [],
                "signature": [{ "profile": "stripe", "secret_file": "/etc/passwd" }],
            }] }),
            "webhook.signature.secret_file",
        ),
    ] {
        let answer = put(&app, &path, &body).await;
        let (status, named) = fields(&answer);
        assert_eq!(status, 400, "{body} {}", answer.body);
        assert!(
            named.iter().any(|field| field == wanted),
            "{body} {named:?}"
        );
    }
    for body in ["[]", "1", "{", "\u{feff}{}"] {
        let answer = app.ask(request("PUT", &path).json(body)).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    let deep = format!("{{\"name\":{}{}}}", "[".repeat(100), "]".repeat(100));
    assert_eq!(app.ask(request("PUT", &path).json(deep)).await.status, 400);
    let many: serde_json::Map<String, Value> =
        (0..50_000).map(|n| (format!("x{n}"), json!(1))).collect();
    let many = put(&app, &path, &Value::Object(many)).await;
    assert!(many.body.len() < 100_000, "{} bytes", many.body.len());
    assert_eq!(
        put(&app, &format!("{TENANTS}/pretix/a%20b"), &json!({}))
            .await
            .status,
        400
    );
    assert_eq!(get(&app, &path).await.status, 404);
}

#[tokio::test]
async fn secrets_of_webhooks_take_a_master_key() {
    let app = TestApp::without_master_key().await;
    let body = json!({ "webhook": [{
        "target_url": "https://a.example/", "all_events": true,
        "action_types": ["pretix.event.order.paid"],
        "header": [{ "name": "X-Key", "value": "v" }],
    }] });
    let answer = put(&app, BIGEVENTS, &body).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("no master key is set"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_secret_that_opens_no_more_and_a_token_of_another_name_are_contradictions_in_words() {
    let store = store::open_inline().unwrap();
    let body = json!({ "webhook": [{
        "key": "k", "target_url": "https://a.example/", "all_events": true,
        "action_types": ["pretix.event.order.paid"],
        "header": [{ "name": "X-Key", "value": "v" }],
    }] });
    let app = TestApp::over(Arc::clone(&store), &DialectOptions::default()).await;
    assert_eq!(put(&app, BIGEVENTS, &body).await.status, 200);
    let token = json!({ "token": "tokenall", "permissions": [] });
    let taken = put(&app, &format!("{BIGEVENTS}/tokens/x"), &token).await;
    assert_eq!(taken.status, 409, "{}", taken.body);
    assert!(
        taken.body.contains("this token is already used"),
        "{}",
        taken.body
    );
    let other = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let app = TestApp::with_master_key(store, other).await;
    let lost = put(&app, BIGEVENTS, &body).await;
    assert_eq!(lost.status, 409, "{}", lost.body);
    assert!(lost.body.contains("header X-Key"), "{}", lost.body);
}

#[tokio::test]
async fn tenants_are_listed_by_name_page_by_page_and_found_by_a_part_of_it() {
    let app = TestApp::new().await;
    let names = ["Big Events", "Grand Hall", "othercorp", "Small Hall"];
    for limit in [1, 2, 50] {
        let path = format!("{TENANTS}?limit={limit}");
        let (found, pages) = list_all(&app, &path, "name").await;
        assert_eq!(
            (found, pages),
            (names.map(str::to_owned).into(), 4_usize.div_ceil(limit))
        );
    }
    let (found, _) = list_all(&app, &format!("{TENANTS}?q=hall&limit=1"), "name").await;
    assert_eq!(found, ["Grand Hall", "Small Hall"]);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=51", "limit"),
        ("limit=x", "limit"),
        ("after=nobody", "after"),
        ("after=pretix/nobody", "after"),
        ("dialect=pretix", "dialect"),
    ] {
        let answer = get(&app, &format!("{TENANTS}?{query}")).await;
        assert_eq!(fields(&answer), (400, vec![field.to_owned()]), "{query}");
    }
    let one = get(&app, BIGEVENTS).await.json();
    let expected = json!({ "dialect": "pretix", "key": "bigevents", "name": "Big Events" });
    assert_eq!(one, expected);
}

#[tokio::test]
async fn shows_are_put_by_their_slug_and_listed() {
    let app = TestApp::new().await;
    let path = format!("{BIGEVENTS}/events/newcon");
    let body = json!({ "name": "New Con", "date_from": "2027-03-01T10:00:00+01:00" });
    let made = put(&app, &path, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let shown = json!({
        "slug": "newcon", "name": "New Con", "date_from": "2027-03-01T09:00:00.000Z",
    });
    assert_eq!(made.json(), shown);
    assert_eq!(put(&app, &path, &body).await.status, 200);
    assert_eq!(get(&app, &path).await.json(), shown);
    let (slugs, pages) = list_all(&app, &format!("{BIGEVENTS}/events?limit=2"), "slug").await;
    assert_eq!(slugs, ["democon", "newcon", "secondcon", "seriescon"]);
    assert_eq!(pages, 2);
    assert_eq!(
        get(&app, &format!("{BIGEVENTS}/events/none")).await.status,
        404
    );
    let wrong = put(
        &app,
        &path,
        &json!({ "date_from": "soon", "x": 1, "slug": "newcon" }),
    )
    .await;
    assert_eq!(
        fields(&wrong),
        (400, vec!["date_from".to_owned(), "x".to_owned()])
    );
    let other = put(&app, &path, &json!({ "slug": "other" })).await;
    assert_eq!(fields(&other), (400, vec!["slug".to_owned()]));
    let nowhere = put(&app, &format!("{TENANTS}/pretix/none/events/a"), &json!({})).await;
    assert_eq!(nowhere.status, 404, "a show makes no tenant");
    // The tenant's name stays.
    assert_eq!(get(&app, BIGEVENTS).await.json()["name"], "Big Events");
}

#[tokio::test]
async fn a_repeated_put_under_an_idempotency_key_gets_the_first_answer() {
    let app = TestApp::new().await;
    let path = format!("{BIGEVENTS}/events/once");
    let ask = |body: &str| {
        let asking = request("PUT", &path).with("X-Idempotency-Key", "k");
        app.ask(asking.json(body))
    };
    let first = ask("{}").await;
    assert_eq!(first.status, 201);
    assert_eq!(ask("{}").await.told(), first.told());
    assert_eq!(ask("{\"name\":\"x\"}").await.status, 422);
    for (method, path) in [
        ("PUT", BIGEVENTS.to_owned()),
        ("PUT", format!("{BIGEVENTS}/tokens/rw")),
        ("POST", format!("{BIGEVENTS}/portal_links")),
        ("POST", "/willcall/v1/users/anna/sign_in_links".to_owned()),
    ] {
        let asking = request(method, &path).with("X-Idempotency-Key", &path);
        let refused = app.ask(asking.json("{}")).await;
        assert_eq!(refused.status, 400, "{path}");
        assert!(
            refused.body.contains("is not taken here"),
            "{}",
            refused.body
        );
    }
}

#[tokio::test]
async fn a_token_is_made_shown_once_changed_and_revoked() {
    let app = TestApp::new().await;
    let path = format!("{BIGEVENTS}/tokens/relay%20from%20pretix");
    let body = json!({ "permissions": ["notifications:write"] });
    let made = put(&app, &path, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let webhooks = |token: &str| asking("GET", super::harness::WEBHOOKS).by(token);
    assert_eq!(app.ask(webhooks(&token)).await.status, 403);
    let again = put(&app, &path, &body).await;
    assert_eq!(
        (again.status.as_u16(), again.json().get("token")),
        (200, None)
    );
    let more = json!({ "permissions": ["notifications:write", "webhooks:read"] });
    assert_eq!(put(&app, &path, &more).await.status, 200);
    assert_eq!(app.ask(webhooks(&token)).await.status, 200);
    let shown = get(&app, &path).await;
    assert_eq!(shown.json()["name"], "relay from pretix");
    assert!(!shown.body.contains(&token));
    assert_eq!(app.ask(request("DELETE", &path)).await.status, 204);
    assert_eq!(app.ask(webhooks(&token)).await.status, 401);
    assert_eq!(app.ask(request("DELETE", &path)).await.status, 204);
    // As with a file, it lets in again only who is named so.
    assert_eq!(put(&app, &path, &more).await.json()["active"], false);
    let none = app
        .ask(request("DELETE", &format!("{BIGEVENTS}/tokens/nosuch")))
        .await;
    assert_eq!(none.status, 404);
    let wrong = put(
        &app,
        &path,
        &json!({ "permissions": ["tenants:read"], "x": 1 }),
    )
    .await;
    assert_eq!(
        fields(&wrong),
        (400, vec!["permissions".to_owned(), "x".to_owned()])
    );
    let (names, pages) = list_all(&app, &format!("{BIGEVENTS}/tokens?limit=4"), "name").await;
    assert_eq!((names.len(), pages), (9, 3));
    assert!(names.is_sorted());
}

#[tokio::test]
async fn administrators_tokens_are_listed_and_revoked_and_none_is_made() {
    let app = TestApp::new().await;
    let (names, _) = list_all(&app, "/willcall/v1/tokens", "name").await;
    assert_eq!(names, ["admin", "adminold", "adminread"]);
    let path = "/willcall/v1/tokens/adminread";
    assert_eq!(
        put(&app, path, &json!({ "permissions": [] })).await.status,
        405
    );
    let read = || asking("GET", TENANTS).by("tokenadminread");
    assert_eq!(app.ask(read()).await.status, 200);
    assert_eq!(app.ask(request("DELETE", path)).await.status, 204);
    assert_eq!(app.ask(read()).await.status, 401);
    assert_eq!(get(&app, path).await.json()["active"], false);
}

#[tokio::test]
async fn whoever_may_not_hears_which_token_it_takes() {
    let app = TestApp::new().await;
    for (method, wanted) in [("GET", "tenants:read"), ("PUT", "tenants:write")] {
        let answer = app
            .ask(asking(method, BIGEVENTS).by("tokenadminold").json("{}"))
            .await;
        assert_eq!(answer.status, 403);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains(wanted) && detail.contains("willcall token create"),
            "{detail}"
        );
    }
    let nothing = app
        .ask(asking("GET", "/willcall/v1/nothing").by("tokenadmin"))
        .await;
    assert_eq!(nothing.status, 404);
}

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn a_user_is_made_changed_disabled_and_signed_in_by_a_link() {
    let app = TestApp::new().await;
    let path = "/willcall/v1/users/anna";
    let without = put(&app, path, &json!({})).await;
    assert_eq!(fields(&without), (400, vec!["password".to_owned()]));
    let made = put(&app, path, &json!({ "password": PASSWORD })).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(!made.body.contains(PASSWORD));
    assert_eq!(made.json()["active"], true);
    let kept = || async { app.store.user("anna".to_owned()).await.unwrap().unwrap().1 };
    let before = kept().await;
    // The same password again ends no session.
    let same = put(
        &app,
        "/willcall/v1/users/ANNA",
        &json!({ "password": PASSWORD }),
    )
    .await;
    assert_eq!(
        (same.status.as_u16(), &same.json()["name"]),
        (200, &json!("anna"))
    );
    assert!(kept().await == before);
    let other = json!({ "password": "another horse battery", "active": false });
    assert_eq!(put(&app, path, &other).await.json()["active"], false);
    assert!(kept().await != before);
    let link = format!("{path}/sign_in_links");
    assert_eq!(post(&app, &link, &json!({})).await.status, 409);
    put(&app, path, &json!({ "active": true })).await;
    let made = post(&app, &link, &json!({})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let url = made.json()["url"].as_str().unwrap().to_owned();
    let url = url.strip_prefix("http://127.0.0.1:18544").unwrap();
    assert_eq!(app.ask(asking("GET", url)).await.status, 303);
    for (body, field) in [
        (json!({ "password": "short" }), "password"),
        (json!({ "active": 1 }), "active"),
        (json!({ "administrator": true }), "administrator"),
    ] {
        assert_eq!(
            fields(&put(&app, path, &body).await),
            (400, vec![field.to_owned()])
        );
    }
    let odd = "/willcall/v1/users/ben%20(portal%20link)";
    let odd = put(&app, odd, &json!({ "password": PASSWORD })).await;
    assert_eq!(fields(&odd), (400, vec!["name".to_owned()]));
    let (names, _) = list_all(&app, "/willcall/v1/users?limit=1", "name").await;
    assert_eq!(names, ["anna"]);
    assert_eq!(app.ask(request("DELETE", path)).await.status, 405);
}

#[tokio::test]
async fn an_administrator_is_neither_made_nor_changed_by_a_token() {
    let app = TestApp::new().await;
    let root = NewUser {
        name: "root".to_owned(),
        password: PasswordHash("$none".to_owned()),
        administrator: true,
    };
    app.store.create_user(root, app.now()).await.unwrap();
    let path = "/willcall/v1/users/root";
    assert_eq!(get(&app, path).await.json()["administrator"], true);
    for body in [json!({ "active": false }), json!({ "password": PASSWORD })] {
        assert_eq!(put(&app, path, &body).await.status, 409);
    }
    assert_eq!(
        post(&app, &format!("{path}/sign_in_links"), &json!({}))
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn roles_are_given_changed_listed_and_taken() {
    let app = TestApp::new().await;
    for name in ["anna", "ben"] {
        let path = format!("/willcall/v1/users/{name}");
        put(&app, &path, &json!({ "password": PASSWORD })).await;
    }
    let path = format!("{BIGEVENTS}/roles/anna");
    assert_eq!(get(&app, &path).await.status, 404);
    let given = put(&app, &path, &json!({ "role": "look" })).await;
    assert_eq!(given.told(), (201, "{\"user\":\"anna\",\"role\":\"look\"}"));
    assert_eq!(
        put(&app, &path, &json!({ "role": "edit" })).await.status,
        200
    );
    put(
        &app,
        &format!("{BIGEVENTS}/roles/ben"),
        &json!({ "role": "look" }),
    )
    .await;
    let roles = format!("{BIGEVENTS}/roles?limit=1");
    assert_eq!(
        list_all(&app, &roles, "user").await,
        (vec!["anna".into(), "ben".into()], 2)
    );
    let other = format!("{TENANTS}/pretix/othercorp/roles");
    assert_eq!(list_all(&app, &other, "user").await, (Vec::new(), 1));
    for body in [json!({}), json!({ "role": "all" }), json!({ "role": 1 })] {
        let wrong = put(&app, &path, &body).await;
        assert_eq!(fields(&wrong), (400, vec!["role".to_owned()]), "{body}");
    }
    assert_eq!(app.ask(request("DELETE", &path)).await.status, 204);
    assert_eq!(app.ask(request("DELETE", &path)).await.status, 404);
    let nobody = put(
        &app,
        &format!("{BIGEVENTS}/roles/nobody"),
        &json!({ "role": "look" }),
    )
    .await;
    assert_eq!(nobody.status, 404);
    let audit = audit(&app, "bigevents").await;
    let of_roles = audit
        .iter()
        .filter(|(_, action)| action.starts_with("role."));
    let of_roles: Vec<_> = of_roles
        .map(|(actor, action)| (actor.as_str(), action.as_str()))
        .collect();
    assert_eq!(
        of_roles,
        [
            ("admin", "role.given"),
            ("admin", "role.changed"),
            ("admin", "role.given"),
            ("admin", "role.taken")
        ]
    );
}

#[tokio::test]
async fn what_a_token_may_is_changed_for_its_own_tenant_only() {
    let app = TestApp::new().await;
    let before = get(&app, &format!("{TENANTS}/openticket/{COMPANY}/tokens/rw")).await;
    let path = format!("{BIGEVENTS}/tokens/rw");
    put(
        &app,
        &path,
        &json!({ "permissions": [], "token": "tokenrw" }),
    )
    .await;
    let after = get(&app, &format!("{TENANTS}/openticket/{COMPANY}/tokens/rw")).await;
    assert_eq!(before.told(), after.told());
    let grants = app.store.grants(TokenHash::of("tokenrw")).await.unwrap();
    let dialect = DialectName::new("pretix");
    let own = grants.iter().find(|grant| {
        grant
            .tenant
            .as_ref()
            .is_some_and(|own| own.dialect == dialect)
    });
    assert_eq!(own.unwrap().permissions.to_string(), "");
}

#[tokio::test]
async fn whoever_has_more_than_a_page_of_tenants_tokens_shows_or_people_gets_to_all_of_them() {
    let app = TestApp::new().await;
    let names: Vec<String> = (0..60).map(|n| format!("t{n:02}")).collect();
    for name in &names {
        let path = format!("{TENANTS}/pretix/{name}");
        assert_eq!(put(&app, &path, &json!({ "name": name })).await.status, 201);
    }
    let list = |field: &str| {
        let one = |name: &String| json!({ field: name, "permissions": [] });
        let all = names.iter().map(one);
        all.collect::<Vec<_>>()
    };
    let mut events = list("slug");
    for event in &mut events {
        event.as_object_mut().unwrap().remove("permissions");
    }
    let all = json!({ "event": events, "token": list("name") });
    let made = put(&app, &format!("{TENANTS}/pretix/t00"), &all).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let tenant = app.tenant("t00").await;
    for name in &names {
        let user = app.user(name, false).await;
        app.role(user.id, tenant, Some(Role::Look)).await;
    }
    for (path, field) in [
        ("/tenants?q=t0".to_owned(), "name"),
        ("/tenants?q=t".to_owned(), "name"),
        ("/users".to_owned(), "name"),
        ("/tenants/pretix/t00/events".to_owned(), "slug"),
        ("/tenants/pretix/t00/tokens".to_owned(), "name"),
        ("/tenants/pretix/t00/roles".to_owned(), "user"),
    ] {
        let (mut found, pages) = list_all(&app, &format!("/willcall/v1{path}"), field).await;
        found.retain(|name| name.starts_with('t'));
        let wanted: Vec<String> = match path.ends_with("t0") {
            true => names[..10].to_vec(),
            false => names.clone(),
        };
        assert_eq!(
            (found, pages),
            (wanted, if path.ends_with("t0") { 1 } else { 2 }),
            "{path}"
        );
    }
    // As do administrators on the dashboard.
    let mut root = app.administrator().await;
    let first = root.get("/?q=t").await;
    let next = first.body.split_once("after=").map(|(_, rest)| rest);
    let next = next.and_then(|rest| rest.split_once('"')).unwrap().0;
    let second = root.get(&format!("/?q=t&after={next}")).await;
    assert!(
        second.says("t59") && !second.says("t00"),
        "{}",
        second.words()
    );
}
