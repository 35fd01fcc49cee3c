//! The result of one check of the doctor.

pub(super) enum Verdict {
    Good,
    /// Worth knowing, and possibly intended.
    Odd,
    Wrong,
}

pub(super) struct Finding {
    pub(super) about: &'static str,
    pub(super) verdict: Verdict,
    pub(super) words: String,
}

impl Finding {
    pub(super) fn new(about: &'static str, verdict: Verdict, words: impl Into<String>) -> Self {
        Self {
            about,
            verdict,
            words: words.into(),
        }
    }
}
