//! Tokens are noted as used.

use crate::tests::harness::{House, WEBHOOKS, asking};

#[tokio::test(start_paused = true)]
async fn a_token_that_lets_in_is_noted_as_used_and_one_that_does_not_is_not() {
    let house = House::new().await;
    let tenant = house.tenant("bigevents").await;
    for token in ["tokenread", "tokenread", "tokenoff", "nope"] {
        house.ask(asking("GET", WEBHOOKS).by(token)).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let used = async || {
        let tokens = house.store.tokens(Some(tenant)).await.unwrap();
        let used = tokens
            .into_iter()
            .filter_map(|token| Some((token.name, token.used_at?)));
        used.collect::<Vec<_>>()
    };
    let first = house.now();
    assert_eq!(used().await, [("read".to_owned(), first)]);
    house.pass_ms(59_000);
    house.ask(asking("GET", WEBHOOKS).by("tokenread")).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(used().await, [("read".to_owned(), first)]);
    house.pass_ms(1_000);
    house.ask(asking("GET", WEBHOOKS).by("tokenread")).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(used().await, [("read".to_owned(), house.now())]);
}
