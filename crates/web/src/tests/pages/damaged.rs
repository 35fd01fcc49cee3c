//! A store in which what a dialect keeps for itself is damaged, as after an edit by hand: the
//! webhook is still shown, and can be mended.

use model::id::WebhookId;

use crate::tests::harness::{TestApp, WEBHOOKS, asking, bearing};

#[tokio::test]
async fn a_webhook_with_damaged_settings_is_shown_and_can_be_mended() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let guid = app.hook("order", "paid").await.guid;

    let tenants = [app.tenant("bigevents").await, app.company().await];
    for (tenant, id) in tenants.into_iter().zip([1, 2]) {
        let webhook = app.store.webhook(tenant, WebhookId(id)).await.unwrap();
        let mut webhook = webhook.unwrap();
        webhook.settings = r#"{"action_types": 7"#.to_owned();
        let saved = app
            .store
            .save_webhook(webhook, "hand".to_owned(), app.now());
        saved.await.unwrap();
    }
    let mut root = app.administrator().await;
    for (tenant, id) in tenants.into_iter().zip([1, 2]) {
        let path = format!("/t/{tenant}/webhooks/{id}");
        for path in [
            path.clone(),
            format!("{path}/edit"),
            format!("{path}/test"),
            format!("/t/{tenant}"),
        ] {
            assert_eq!(root.get(&path).await.status, 200, "{path}");
        }
    }
    for asking in [
        asking("GET", WEBHOOKS),
        asking("GET", &format!("{WEBHOOKS}1/")),
        bearing("GET", "/webhook"),
        bearing("GET", &format!("/webhook/{guid}")),
    ] {
        assert_eq!(app.ask(asking).await.status, 200);
    }
    let mend = asking("PATCH", &format!("{WEBHOOKS}1/"));
    let mended = app
        .ask(mend.json(r#"{"action_types":["pretix.event.order.paid"]}"#))
        .await;
    assert_eq!(mended.status, 200, "{}", mended.body);
}
