//! Settings of a tenant: tokens, people, how long the log is kept, the audit log.

use model::users::Role;

use super::browser::Browser;
use crate::tests::harness::{INTAKE, TestApp, WEBHOOKS, asking};

async fn settings(app: &TestApp) -> String {
    format!("/t/{}/settings", app.tenant("bigevents").await)
}

#[tokio::test]
async fn a_token_is_shown_once_works_and_can_be_revoked() {
    let app = TestApp::new().await;
    let path = settings(&app).await;
    let mut admin = app.browser_with(Role::Administer).await;
    let fields = [("name", "till"), ("permission", "notifications:write")];
    let made = admin.post(&format!("{path}/tokens"), &fields).await;
    assert_eq!(made.status, 200);
    let (_, rest) = made.body.split_once("<pre id=\"token\"").unwrap();
    let (_, rest) = rest.split_once('>').unwrap();
    let token = rest.split('<').next().unwrap().to_owned();
    assert_eq!(token.len(), 64);
    let call = format!("curl &#39;http://127.0.0.1:18544{INTAKE}&#39;");
    assert!(made.body.contains(&call), "{}", made.body);
    assert!(made.says(&format!("Authorization: Token {token}")));
    let body = r#"{"action":"pretix.customer.created","customer":"BU548VN"}"#;
    let hand_in = || asking("POST", INTAKE).by(&token).json(body);
    assert_eq!(app.ask(hand_in()).await.status, 201);
    assert_eq!(
        app.ask(asking("GET", WEBHOOKS).by(&token)).await.status,
        403
    );
    let listed = admin.get(&path).await;
    assert!(
        listed.says("till hand in notifications"),
        "{}",
        listed.words()
    );
    assert!(!listed.body.contains(&token));
    let tenant = app.tenant("bigevents").await;
    let tokens = app.store.tokens(Some(tenant)).await.unwrap();
    let id = tokens.iter().find(|token| token.name == "till").unwrap().id;
    let revoke = format!("{path}/tokens/{id}/revoke");
    assert!(admin.get(&revoke).await.says("Revoke the token “till”?"));
    assert_eq!(app.ask(hand_in()).await.status, 201);
    let done = admin.post(&revoke, &[]).await;
    assert_eq!(
        done.leads_to(),
        (303, format!("{path}?said=revoked").as_str())
    );
    assert_eq!(app.ask(hand_in()).await.status, 401);
    let after = admin.get(&format!("{path}?said=revoked")).await;
    assert!(
        after.says("administer revoked the token “till”"),
        "{}",
        after.words()
    );
    assert!(after.says("administer created the token “till”"));
    assert!(!after.body.contains(&revoke));
}

#[tokio::test]
async fn what_is_wrong_with_a_new_token_stands_at_its_field_and_nothing_typed_is_lost() {
    let app = TestApp::new().await;
    let path = format!("{}/tokens", settings(&app).await);
    let mut admin = app.browser_with(Role::Administer).await;
    let form = admin.get(&format!("{path}/new")).await;
    assert_eq!(form.body.matches("type=\"checkbox\"").count(), 3);
    assert!(!form.body.contains(" checked"), "{}", form.body);
    for (name, permission, words) in [
        ("", "webhooks:read", "Give it a name of 1 to 255"),
        ("a\nb", "webhooks:read", "Give it a name of 1 to 255"),
        ("till", "nonsense", "Choose at least one thing"),
        (
            "all",
            "webhooks:read",
            "There is a token of this name already.",
        ),
    ] {
        let fields = [("name", name), ("permission", permission)];
        let answer = admin.post(&path, &fields).await;
        assert_eq!(answer.status, 422, "{name:?}");
        assert!(answer.says(words), "{}", answer.words());
        assert!(answer.body.contains("aria-invalid=\"true\"") || permission == "nonsense");
        let kept = format!("value=\"{name}\"");
        assert!(answer.body.contains(&kept), "{name:?}");
    }
}

#[tokio::test]
async fn another_tenants_token_is_no_token_here() {
    let app = TestApp::new().await;
    let path = settings(&app).await;
    let other = app.tenant("othercorp").await;
    let tokens = app.store.tokens(Some(other)).await.unwrap();
    let id = tokens.first().unwrap().id;
    let mut admin = app.browser_with(Role::Administer).await;
    let revoke = format!("{path}/tokens/{id}/revoke");
    assert_eq!(admin.get(&revoke).await.status, 404);
    assert_eq!(admin.post(&revoke, &[]).await.status, 404);
    let tokens = app.store.tokens(Some(other)).await.unwrap();
    assert!(tokens.iter().all(|token| token.active));
}

#[tokio::test]
async fn whoever_may_only_look_sees_settings_and_no_way_to_change_them() {
    let app = TestApp::new().await;
    let path = settings(&app).await;
    let mut look = app.browser_with(Role::Look).await;
    let page = look.get(&path).await;
    assert!(page.says("rw look at webhooks and their log, change webhooks, replay"));
    for part in ["/tokens/new", "Give access", "name=\"days\"", "/revoke"] {
        assert!(!page.body.contains(part), "{part}");
    }
}

#[tokio::test]
async fn people_are_let_in_get_another_role_and_are_removed() {
    let app = TestApp::new().await;
    let path = settings(&app).await;
    let mut admin = app.browser_with(Role::Administer).await;
    let ben = app.user("Ben", false).await;
    let mut browser = app.browser_of(ben.id).await;
    assert_eq!(browser.get(&path).await.status, 404);
    let fields = [("person", " ben "), ("role", "look")];
    let added = admin.post(&format!("{path}/people"), &fields).await;
    assert_eq!(
        added.leads_to(),
        (303, format!("{path}?said=role#people").as_str())
    );
    assert_eq!(browser.get(&path).await.status, 200);
    let one = format!("{path}/people/{}", ben.id);
    assert_eq!(
        admin.post(&one, &[("role", "administer")]).await.status,
        303
    );
    assert_eq!(browser.get(&format!("{path}/tokens/new")).await.status, 200);
    // Removing asks first.
    let asked = admin.post(&one, &[("role", "none")]).await;
    assert_eq!(asked.leads_to(), (303, format!("{one}?role=none").as_str()));
    assert!(
        admin
            .get(&format!("{one}?role=none"))
            .await
            .says("Take Ben’s access away?")
    );
    assert_eq!(browser.get(&path).await.status, 200);
    let removed = admin.post(&one, &[("role", "none"), ("sure", "yes")]).await;
    assert_eq!(
        removed.leads_to(),
        (303, format!("{path}?said=removed#people").as_str())
    );
    assert_eq!(browser.get(&path).await.status, 404);
    let log = admin.get(&format!("{path}/audit")).await;
    for words in [
        "administer gave Ben the role look",
        "administer changed the role of Ben to administer",
        "administer took Ben’s access away",
    ] {
        assert!(log.says(words), "{}", log.words());
    }
}

#[tokio::test]
async fn whom_to_let_in_has_to_be_somebody_new() {
    let app = TestApp::new().await;
    let path = settings(&app).await;
    let mut admin = app.browser_with(Role::Administer).await;
    app.user("root", true).await;
    app.user("ben", false).await;
    for (person, role, words) in [
        ("nobody", "look", "There is no user of this name."),
        ("", "look", "There is no user of this name."),
        ("root", "look", "is an administrator of this server"),
        ("administer", "look", "has a role here already"),
        ("ben", "king", "Choose what they may do."),
    ] {
        let fields = [("person", person), ("role", role)];
        let answer = admin.post(&format!("{path}/people"), &fields).await;
        assert_eq!(answer.status, 422, "{person}");
        assert!(answer.says(words), "{person}: {}", answer.words());
        assert!(answer.body.contains(&format!("value=\"{person}\"")));
    }
}

#[tokio::test]
async fn nobody_lessens_their_own_role_without_being_told() {
    let app = TestApp::new().await;
    let path = settings(&app).await;
    let mut admin = app.browser_with(Role::Administer).await;
    let me = app
        .store
        .user("administer".to_owned())
        .await
        .unwrap()
        .unwrap()
        .0;
    let one = format!("{path}/people/{}", me.id);
    let asked = admin.post(&one, &[("role", "look")]).await;
    assert_eq!(asked.leads_to(), (303, format!("{one}?role=look").as_str()));
    let page = admin.get(&format!("{one}?role=look")).await;
    assert!(
        page.says("This is you. You cannot undo it yourself"),
        "{}",
        page.words()
    );
    let done = admin.post(&one, &[("role", "none"), ("sure", "yes")]).await;
    assert_eq!(done.leads_to(), (303, "/?said=removed"));
    assert_eq!(admin.get(&path).await.status, 404);
}

#[tokio::test]
async fn how_long_the_log_is_kept_is_days_or_the_default() {
    let app = TestApp::new().await;
    let path = settings(&app).await;
    let tenant = app.tenant("bigevents").await;
    let mut admin = app.browser_with(Role::Administer).await;
    let words = "for 30 days after they were accepted. That is the default, as is usual for this \
                 platform.";
    assert!(admin.get(&path).await.says(words));
    let log = admin.get(&format!("/t/{tenant}/log")).await;
    assert!(log.says("stay in the log for 30 days after they were accepted."));
    let save = async |admin: &mut Browser<'_>, days: &str| {
        admin
            .post(&format!("{path}/retention"), &[("days", days)])
            .await
    };
    let kept = async || {
        let settings = app.store.tenant_settings(tenant).await.unwrap().unwrap();
        settings.retention_ms
    };
    let saved = format!("{path}?said=kept");
    let longer = save(&mut admin, " 40 ").await;
    assert_eq!(longer.leads_to(), (303, saved.as_str()));
    assert_eq!(kept().await, Some(40 * 24 * 3_600_000));
    let page = admin.get(&saved).await;
    assert!(
        page.says("The log is kept for 40 days."),
        "{}",
        page.words()
    );
    assert!(page.says("for 40 days after they were accepted. That is set here."));
    assert!(
        page.body
            .contains("name=\"days\" inputmode=\"numeric\" autocomplete=\"off\" value=\"40\"")
    );
    for bad in ["0", "-1", "3651", "1.5", "x", "99999999999999999999"] {
        let answer = save(&mut admin, bad).await;
        assert_eq!(answer.status, 422, "{bad}");
        assert!(answer.body.contains(&format!("value=\"{bad}\"")), "{bad}");
        assert!(answer.says("Enter a whole number of days from 1 to 3650"));
    }
    assert_eq!(kept().await, Some(40 * 24 * 3_600_000));
    let sure = [("days", ""), ("sure", "yes")];
    let done = admin.post(&format!("{path}/retention"), &sure).await;
    assert_eq!(done.leads_to(), (303, saved.as_str()));
    assert_eq!(kept().await, None);
    let words = "Kept before: 40 days after: as this server does by default";
    assert!(
        admin.get(&path).await.says(words),
        "{}",
        admin.get(&path).await.words()
    );
}

#[tokio::test]
async fn a_shorter_time_for_the_log_is_asked_about_first() {
    let app = TestApp::new().await;
    let path = settings(&app).await;
    let tenant = app.tenant("bigevents").await;
    let kept = async || {
        let settings = app.store.tenant_settings(tenant).await.unwrap().unwrap();
        settings.retention_ms
    };
    let mut admin = app.browser_with(Role::Administer).await;
    let place = format!("{path}/retention");
    let asked = admin.post(&place, &[("days", "5")]).await;
    let question = format!("{place}?days=5");
    assert_eq!(asked.leads_to(), (303, question.as_str()));
    assert_eq!(kept().await, None);
    let page = admin.get(&question).await;
    for words in [
        "5 days instead of 30 days: deliveries that were accepted more than 5 days ago and have \
         ended are removed for good.",
        "Remove them",
        "Leave it as it is",
    ] {
        assert!(page.says(words), "{words}: {}", page.words());
    }
    assert_eq!(kept().await, None);
    for nothing_to_ask in ["30", "31", "0", "x"] {
        let answer = admin.get(&format!("{place}?days={nothing_to_ask}")).await;
        assert_eq!(answer.leads_to(), (303, path.as_str()), "{nothing_to_ask}");
    }
    let mut editor = app.browser_with(Role::Edit).await;
    assert_eq!(editor.get(&question).await.status, 403);
    let sure = [("days", "5"), ("sure", "yes")];
    assert_eq!(editor.post(&place, &sure).await.status, 403);
    assert_eq!(kept().await, None);
    let done = admin.post(&place, &sure).await;
    let saved = format!("{path}?said=kept");
    assert_eq!(done.leads_to(), (303, saved.as_str()));
    assert_eq!(kept().await, Some(5 * 24 * 3_600_000));
    assert!(admin.get(&saved).await.says("The log is kept for 5 days."));
    assert_eq!(admin.post(&place, &[("days", "4")]).await.status, 303);
    assert_eq!(admin.post(&place, &[("days", "")]).await.status, 303);
    assert_eq!(kept().await, None);
    assert!(admin.get(&saved).await.says("The log is kept for 30 days."));
}

#[tokio::test]
async fn the_audit_log_is_paged_and_can_be_of_one_webhook() {
    let app = TestApp::new().await;
    let path = settings(&app).await;
    let first = app.webhook(&["pretix.event.order.paid"]).await;
    for _ in 0..25 {
        app.webhook(&["pretix.event.order.paid"]).await;
    }
    let change = r#"{"target_url":"https://u:topsecret@b.example.org/"}"#;
    app.ask(asking("PATCH", &format!("{WEBHOOKS}{first}/")).json(change))
        .await;
    let mut look = app.browser_with(Role::Look).await;
    let newest = look.get(&format!("{path}/audit")).await;
    assert!(
        newest.says("all changed the webhook (webhook 1)"),
        "{}",
        newest.words()
    );
    let words = "URL before: https://example.org/hook after: https://***@b.example.org/";
    assert!(newest.says(words), "{}", newest.words());
    assert!(!newest.body.contains("topsecret"));
    let (_, rest) = newest
        .body
        .split_once("audit?webhook=&#38;before=")
        .unwrap();
    let before = rest.split('"').next().unwrap();
    let older = look
        .get(&format!("{path}/audit?webhook=&before={before}"))
        .await;
    assert!(
        older.says("created the webhook (webhook 1)"),
        "{}",
        older.words()
    );
    assert!(!older.body.contains(">Older<"));
    let change = r#"{"comment":"Till <sync>"}"#;
    app.ask(asking("PATCH", &format!("{WEBHOOKS}{first}/")).json(change))
        .await;
    let of_one = look.get(&format!("{path}/audit?webhook={first}")).await;
    let named = "changed the webhook \u{201c}Till &#60;sync&#62;\u{201d} (webhook 1)";
    assert!(of_one.says(named), "{}", of_one.words());
    assert!(of_one.says(named));
    assert!(of_one.says("(webhook 1)"));
    assert!(!of_one.says("(webhook 2)"));
    let other = app.tenant("othercorp").await;
    let user = app.user("other", false).await;
    app.role(user.id, other, Some(Role::Look)).await;
    let mut stranger = app.browser_of(user.id).await;
    let theirs = stranger
        .get(&format!("/t/{other}/settings/audit?webhook={first}"))
        .await;
    assert!(!theirs.says("(webhook 1)"));
}
