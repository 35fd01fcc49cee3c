//! How a webhook fares, in words.

use model::board::Standing;
use model::webhook::{DisabledCause, Webhook};

use super::view::{Tone, When};

/// A state in words, and since when it lasts.
pub(super) struct State {
    pub(super) tone: Tone,
    pub(super) words: &'static str,
    pub(super) since: Option<When>,
    /// What it means, and what to do.
    pub(super) meaning: &'static str,
}

pub(super) fn state(webhook: &Webhook, standing: Option<&Standing>) -> State {
    let is = |tone, words, since, meaning| State {
        tone,
        words,
        since,
        meaning,
    };
    if let Some(disabled) = webhook.disabled {
        let since = Some(When(disabled.at));
        return match disabled.cause {
            DisabledCause::Gone => is(
                Tone::Bad,
                "Disabled by 410",
                since,
                "Its receiver answered 410 Gone: nothing is sent any more. Enable it once the \
                 receiver is back.",
            ),
            DisabledCause::Asked => is(
                Tone::Quiet,
                "Disabled",
                since,
                "Somebody switched it off: nothing is sent, and what happens is not kept for it.",
            ),
            DisabledCause::Deleted => is(Tone::Quiet, "Deleted", since, "It is kept for the log."),
        };
    }
    let Some(standing) = standing else {
        return never();
    };
    match (&standing.latest, standing.failing_since) {
        (Some(_), Some(since)) => is(
            Tone::Bad,
            "Failing",
            Some(When(since)),
            if standing.retrying {
                "The latest call failed; what failed is tried again."
            } else {
                "The latest call failed, and nothing waits to be tried again."
            },
        ),
        (Some(_), None) if standing.retrying => is(
            Tone::Waiting,
            "Retrying",
            None,
            "The latest call arrived; something that failed before waits to be tried again.",
        ),
        (Some(_), None) => is(Tone::Good, "Healthy", None, "The latest call arrived."),
        (None, _) => never(),
    }
}

fn never() -> State {
    State {
        tone: Tone::Quiet,
        words: "Not called yet",
        since: None,
        meaning: "Nothing that it asks for has happened since it is there. Send a test to see \
                  whether it is reached.",
    }
}
