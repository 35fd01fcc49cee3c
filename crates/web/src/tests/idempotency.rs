//! Requests with an idempotency key whose server dies between what they do and what they answer:
//! the repetition does nothing again and gets the answer that nobody heard.

use std::sync::Arc;

use model::contract::StoreError;

use super::faulty_store::{FaultyStore, InjectedFault};
use super::harness::{Arrived, Asking, COMPANY, INTAKE, TestApp, WEBHOOKS, asking, bearing};
use crate::dialects::DialectOptions;

const HOOK: &str = r#"{"target_url":"https://example.org/","limit_events":[],"action_types":["pretix.event.order.paid"]}"#;
const PAID: &str = r#"{"event":"democon","code":"A","action":"pretix.event.order.paid"}"#;

struct Given {
    app: TestApp,
    store: Arc<FaultyStore>,
}

impl Given {
    async fn new() -> Self {
        let store = Arc::new(FaultyStore::new());
        let app = TestApp::over(store.clone(), &DialectOptions::default()).await;
        Self { app, store }
    }

    /// Asks with a key; then the process dies before an answer is kept.
    async fn die_after(&self, asking: Asking) -> Arrived {
        self.die_under("k", asking).await
    }

    async fn die_under(&self, key: &str, asking: Asking) -> Arrived {
        // From the last to the first.
        self.store.next(InjectedFault::Refuse(StoreError::Stale));
        self.store.next(InjectedFault::Nothing);
        self.app.ask(asking.with("X-Idempotency-Key", key)).await
    }

    async fn again(&self, asking: Asking) -> Arrived {
        self.app.ask(asking.with("X-Idempotency-Key", "k")).await
    }
}

#[tokio::test]
async fn a_webhook_whose_answer_was_lost_is_made_once() {
    let given = Given::new().await;
    let create = || asking("POST", WEBHOOKS).json(HOOK);
    let first = given.die_after(create()).await;
    assert_eq!(first.status, 201);
    assert_eq!(given.again(create()).await, first);
    // Now the answer is kept.
    assert_eq!(given.again(create()).await, first);
    let list = given.app.ask(asking("GET", WEBHOOKS)).await.json();
    assert_eq!(list["count"], 1);
    let other = create().json(HOOK.replace("example.org", "example.com"));
    assert_eq!(given.again(other).await.status, 422);
}

#[tokio::test]
async fn another_request_cannot_use_a_key_whose_answer_was_lost() {
    let given = Given::new().await;
    given.die_after(asking("POST", WEBHOOKS).json(HOOK)).await;
    let other = asking("POST", INTAKE).json(PAID);
    assert_eq!(given.again(other).await.status, 422);
    assert_eq!(given.app.due().await.len(), 0);
}

#[tokio::test]
async fn notifications_without_an_id_get_one_once() {
    for (body, count) in [(PAID.to_owned(), 1), (format!("[{PAID},{{}},{PAID}]"), 2)] {
        let given = Given::new().await;
        given.app.webhook(&["pretix.event.order.paid"]).await;
        let hand_in = || asking("POST", INTAKE).json(body.clone());
        let first = given.die_after(hand_in()).await;
        assert_eq!(first.status, 201, "{first:?}");
        assert_eq!(given.app.due().await.len(), count);
        given.app.pass_ms(1_000);
        assert_eq!(given.again(hand_in()).await, first);
        assert_eq!(given.app.due().await.len(), count);
    }
}

#[tokio::test]
async fn triggers_without_an_id_get_one_once() {
    let given = Given::new().await;
    given.app.hook("order", "paid").await;
    let body = r#"{"resource":"order","trigger":"paid","guid":"d0a3f370-cd43-11ed-9c9c-bbcffde24a48","data":{}}"#;
    let report = || bearing("POST", "/trigger").json(body);
    let first = given.die_after(report()).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(given.again(report()).await, first);
    assert_eq!(given.app.due().await.len(), 1);
}

/// Settings may be others when the repetition comes, and another number of its entries sound.
#[tokio::test]
async fn a_repetition_that_stands_for_other_entries_is_refused_in_words() {
    let unknown = PAID.replace("pretix.event", "unheard.of");
    let hand_in = || asking("POST", INTAKE).json(format!("[{unknown},{PAID}]"));
    let report = || {
        let one = |resource, trigger| {
            format!(
                r#"{{"resource":"{resource}","trigger":"{trigger}","guid":"{COMPANY}","data":{{}}}}"#
            )
        };
        let body = format!("[{},{}]", one("shop", "scan"), one("order", "paid"));
        bearing("POST", "/trigger").json(body)
    };
    let requests: [&dyn Fn() -> Asking; 2] = [&hand_in, &report];
    for request in requests {
        let given = Given::new().await;
        let first = given.die_after(request()).await;
        assert_eq!(first.status, 201, "{first:?}");
        let strict = DialectOptions {
            strict_action_types: true,
            ..DialectOptions::default()
        };
        let app = TestApp::over(given.store.clone(), &strict).await;
        let again = app.ask(request().with("X-Idempotency-Key", "k")).await;
        assert_eq!(again.status, 422, "{again:?}");
        assert!(again.body.contains("idempotency key"), "{again:?}");
    }
}

#[tokio::test]
async fn a_webhook_of_a_company_is_made_and_deleted_once() {
    let given = Given::new().await;
    let create = || {
        let body =
            r#"{"name":"CRM","url":"https://example.org/","resource":"order","trigger":"paid"}"#;
        bearing("POST", "/webhook")
            .with("Company", COMPANY)
            .json(body)
    };
    let first = given.die_after(create()).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(given.again(create()).await, first);
    let guid = first.json()["guid"].as_str().unwrap().to_owned();
    let delete = || bearing("DELETE", &format!("/webhook/{guid}"));
    let deleted = given.die_under("d", delete()).await;
    assert!(deleted.status.is_success(), "{deleted:?}");
    let again = given.app.ask(delete().with("X-Idempotency-Key", "d")).await;
    assert_eq!(again, deleted);
}

#[tokio::test]
async fn a_change_that_was_made_undoes_no_later_one() {
    let given = Given::new().await;
    let id = given.app.webhook(&["pretix.event.order.paid"]).await;
    let path = format!("{WEBHOOKS}{}/", id.0);
    let change = || asking("PATCH", &path).json(r#"{"comment":"ours"}"#);
    assert_eq!(given.die_after(change()).await.json()["comment"], "ours");
    let later = asking("PATCH", &path).json(r#"{"comment":"theirs"}"#);
    assert_eq!(given.app.ask(later).await.status, 200);
    assert_eq!(given.again(change()).await.json()["comment"], "theirs");
}

#[tokio::test]
async fn a_delivery_is_replayed_once() {
    let given = Given::new().await;
    let id = given.app.webhook(&["pretix.event.order.paid"]).await;
    let hand_in = asking("POST", INTAKE).json(PAID);
    assert_eq!(given.app.ask(hand_in).await.status, 201);
    let log = format!("{WEBHOOKS}{}/deliveries/", id.0);
    let found = given.app.ask(asking("GET", &log)).await.json();
    let delivery = found["results"][0]["id"].as_str().unwrap().to_owned();
    // Cancelled, so that sending it again begins a round.
    let tenant = given.app.tenant("bigevents").await;
    let stop = |at| {
        let delivery = delivery.parse().unwrap();
        given
            .app
            .store
            .cancel_deliveries(tenant, vec![delivery], "x".to_owned(), at)
    };
    assert_eq!(stop(given.app.now()).await.unwrap(), 1);
    let retry = || asking("POST", &format!("{log}{delivery}/retry/"));
    assert_eq!(given.die_after(retry()).await.status, 202);
    assert_eq!(stop(given.app.now()).await.unwrap(), 1);
    assert_eq!(given.again(retry()).await.status, 202);
    // It was not sent a second time: nothing is owed.
    assert_eq!(stop(given.app.now()).await.unwrap(), 0);
}

#[tokio::test]
async fn an_answer_of_the_store_that_was_lost_is_asked_for_again() {
    let given = Given::new().await;
    given.store.next(InjectedFault::LoseAnswer);
    let create = asking("POST", WEBHOOKS).json(HOOK);
    assert_eq!(given.again(create).await.status, 201);
    let list = given.app.ask(asking("GET", WEBHOOKS)).await.json();
    assert_eq!(list["count"], 1);
}
