//! An attempt that asks its receiver first, over connections of every kind.

use super::*;

const AGREES: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nWebHook-Allowed-Origin: *\r\n\r\nok";
const TAKES: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

fn asking(url: &str) -> PreparedTarget {
    let handshake = Handshake {
        since: Timestamp::from_millis(1),
        answer: None,
    };
    prepared_with(url, Some(handshake), Some("tickets.example.org"))
}

/// Says each of these to one request, and closes.
fn says_each(answers: &'static [&'static [u8]]) -> Script {
    script(move |mut stream| async move {
        for answer in answers {
            if hear(&mut stream).await.is_empty() {
                return;
            }
            stream.write_all(answer).await.ok();
        }
    })
}

async fn attempt(given: &Given, target: &PreparedTarget) -> AttemptResult {
    given.caller.attempt(target, &due(), true).await
}

#[tokio::test(start_paused = true)]
async fn the_call_follows_on_the_connection_of_the_question_or_on_a_new_one() {
    const CLOSES: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\
        WebHook-Allowed-Origin: *\r\n\r\n";
    for (scripts, dialled) in [
        (vec![says_each(&[AGREES, TAKES])], 1),
        (vec![says_each(&[CLOSES]), says_each(&[TAKES])], 2),
        // It says that it keeps the connection, and closes it.
        (vec![says_each(&[AGREES]), says_each(&[TAKES])], 2),
    ] {
        let given = given(scripts);
        let made = attempt(&given, &asking("http://receiver.test/hook")).await;
        assert_eq!(made.attempt.outcome.status(), Some(204));
        assert_eq!(given.dialled(), dialled);
        let answer = made.handshake.unwrap();
        assert!(answer.verdict.is_granted());
        // The log has the call, whose lines are its own.
        assert!(made.attempt.request_headers.get("content-type").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_has_ended_costs_a_question_nothing() {
    let given = given(vec![
        says_each(&[TAKES]),
        says_each(&[AGREES]),
        says_each(&[TAKES]),
    ]);
    let target = asking("http://receiver.test/hook");
    given.caller.attempt(&target, &due(), false).await;
    let made = attempt(&given, &target).await;
    assert_eq!(made.attempt.outcome.status(), Some(204));
    assert!(made.stale.is_none());
    // Of a receiver that was seen to close at once no connection is kept.
    assert_eq!(given.dialled(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_no_agreement_and_what_was_never_asked_is_neither() {
    for (script, part) in [
        (says(b""), "closed the connection"),
        (says(b"SSH-2.0\r\n\r\n"), "not valid HTTP"),
    ] {
        let given = given(vec![script]);
        let made = attempt(&given, &asking("http://receiver.test/hook")).await;
        let Outcome::Failed(failure) = &made.attempt.outcome else {
            panic!("{part}");
        };
        assert_eq!(failure.kind, FailureKind::Handshake);
        assert!(failure.detail.contains(part), "{}", failure.detail);
        assert!(!made.handshake.unwrap().verdict.is_granted());
    }
    let given = given(vec![says(AGREES)]);
    given.dial.short.store(1, Ordering::Relaxed);
    let made = attempt(&given, &asking("http://receiver.test/hook")).await;
    assert!(shortage_of(&made.attempt.outcome).is_some());
    assert!(made.handshake.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_repeated_in_an_answer_is_masked() {
    let given = given(vec![says(
        b"HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: for user:s3cret-pw\r\nContent-Length: 0\r\n\r\n",
    )]);
    let target = asking("http://user:s3cret-pw@receiver.test/hook");
    let made = attempt(&given, &target).await;
    let words = made.attempt.outcome.words();
    let stored = format!("{:?}", made.handshake.unwrap().verdict);
    for text in [&words, &stored] {
        assert!(
            text.contains("for ***") && !text.contains("s3cret"),
            "{text}"
        );
    }
    let sent = made.attempt.request_headers.get("authorization");
    assert_eq!(sent, Some(&b"Basic ***"[..]));
}
