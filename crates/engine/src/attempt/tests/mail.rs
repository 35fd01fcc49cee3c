//! An attempt at a delivery whose target is a mail address.

use super::*;

#[tokio::test(start_paused = true)]
async fn without_a_mail_server_a_mail_fails_and_says_which_setting_is_missing() {
    let given = given(vec![says(b"HTTP/1.1 204 No Content\r\n\r\n")]);
    let target = prepared("mailto:ops@example.org");
    let made = given.caller.attempt(&target, &due(), false).await;
    let failure = failed(&made.attempt.outcome);
    assert_eq!(failure.kind, FailureKind::BadTarget);
    assert!(failure.detail.contains("smtp_url"), "{}", failure.detail);
    assert_eq!(given.dialled(), 0);
    assert_eq!(&*made.attempt.url, "mailto:ops@example.org");
    assert!(made.attempt.request_headers.get("to").is_some());
}
