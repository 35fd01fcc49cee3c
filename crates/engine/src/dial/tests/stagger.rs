//! Several addresses of one name: which is tried when, on paused time.

use super::*;

/// What the n-th address does: refuses, never answers, or answers after so many milliseconds.
enum Address {
    Refuses,
    IsSilent,
    AnswersAfter(u64),
}

/// The port of the address that was connected to, counted from 0, and after how long.
async fn connected(addresses: &'static [Address]) -> (Result<u16, Failure>, u128) {
    let began = Instant::now();
    let count = u16::try_from(addresses.len()).unwrap();
    let all = (0..count).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let stream = connect(all.collect(), Deadline::from_here(LIMIT_MS), |address| {
        Box::pin(async move {
            let port = address.port();
            let answer = match addresses[usize::from(port)] {
                Address::Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                Address::IsSilent => std::future::pending().await,
                Address::AnswersAfter(millis) => {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    Ok(port)
                }
            };
            (address, answer)
        })
    });
    (stream.await, began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_tried_when_one_refuses_or_is_silent() {
    use Address::{AnswersAfter, IsSilent, Refuses};
    assert_eq!(connected(&[Refuses, AnswersAfter(5)]).await, (Ok(1), 5));
    assert_eq!(connected(&[IsSilent, AnswersAfter(5)]).await, (Ok(1), 305));
    assert_eq!(
        connected(&[IsSilent, Refuses, AnswersAfter(5)]).await,
        (Ok(2), 305)
    );
    // One that is slow still counts when it comes first.
    assert_eq!(
        connected(&[AnswersAfter(400), AnswersAfter(500)]).await,
        (Ok(0), 400)
    );
    let (silent, millis) = connected(&[IsSilent, IsSilent, Refuses]).await;
    assert_eq!(silent.unwrap_err().kind, FailureKind::TimeLimit);
    assert_eq!(millis, u128::from(LIMIT_MS));
    let (refused, millis) = connected(&[Refuses, Refuses]).await;
    let words = "connection refused (127.0.0.1:0); connection refused (127.0.0.1:1)";
    assert_eq!(
        refused.unwrap_err(),
        Failure::new(FailureKind::Connect, words)
    );
    assert_eq!(millis, 0);
}
