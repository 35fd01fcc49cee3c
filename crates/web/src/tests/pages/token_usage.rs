//! Tokens are noted as used.

use crate::tests::harness::{TestApp, WEBHOOKS, asking};

#[tokio::test(start_paused = true)]
async fn a_token_that_lets_in_is_noted_as_used_and_one_that_does_not_is_not() {
    let app = TestApp::new().await;
    let tenant = app.tenant("bigevents").await;
    for token in ["tokenread", "tokenread", "tokenoff", "nope"] {
        app.ask(asking("GET", WEBHOOKS).by(token)).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let used = async || {
        let tokens = app.store.tokens(Some(tenant)).await.unwrap();
        let used = tokens
            .into_iter()
            .filter_map(|token| Some((token.name, token.used_at?)));
        used.collect::<Vec<_>>()
    };
    let first = app.now();
    assert_eq!(used().await, [("read".to_owned(), first)]);
    app.pass_ms(59_000);
    app.ask(asking("GET", WEBHOOKS).by("tokenread")).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(used().await, [("read".to_owned(), first)]);
    app.pass_ms(1_000);
    app.ask(asking("GET", WEBHOOKS).by("tokenread")).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(used().await, [("read".to_owned(), app.now())]);
}
