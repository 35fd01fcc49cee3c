//! A delivery as a line of the log, for the page and for the stream that follows it.

use askama::Template;
use model::board::LogRow;
use model::delivery::State;
use model::id::DeliveryId;
use model::query::Status;
use model::refusal::Refusal;
use model::time::Timestamp;

use crate::pages::text::Piece;
use crate::pages::view::{Part, Tone, When, status_words};

/// What surrounds a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Around {
    /// What the paths of the tenant begin with.
    pub(super) path: String,
    /// Whether lines can be chosen.
    pub(super) may_edit: bool,
    /// Whether it is said which webhook it goes to.
    pub(super) names_webhook: bool,
    pub(super) now: Timestamp,
}

#[derive(Template)]
#[template(path = "log/row.html")]
struct Row<'a> {
    around: &'a Around,
    id: DeliveryId,
    /// What was seen when it was chosen: something else may have come in between.
    seen: String,
    accepted_at: When,
    action_type: String,
    show: Option<String>,
    is_test: bool,
    webhook: String,
    status: &'static str,
    tone: Tone,
    words: String,
    attempts: u32,
    next: Option<When>,
    is_due: bool,
}

/// Room for each of the texts of a line, in bytes of the page: fifty lines weigh less than a page.
const NAME_ROOM: usize = 120;
const SHOW_ROOM: usize = 80;
const URL_ROOM: usize = 160;
const WORDS_ROOM: usize = 240;

pub(super) fn part(row: &LogRow, around: &Around) -> Result<Part, Refusal> {
    let own = &row.row;
    let status = own.status();
    Part::of(&Row {
        around,
        id: own.id,
        seen: seen(status, own.attempts),
        accepted_at: When(own.accepted_at),
        action_type: Piece::line(&own.action_type, NAME_ROOM),
        show: own.event.as_ref().map(|slug| Piece::line(slug, SHOW_ROOM)),
        is_test: row.is_test,
        webhook: Piece::line(&row.target_url, URL_ROOM),
        status: status_words(status),
        tone: Tone::of(status),
        words: Piece::line(&words(row), WORDS_ROOM),
        attempts: own.attempts,
        next: own.due_at.map(When),
        is_due: own.due_at.is_some_and(|at| at <= around.now),
    })
}

/// Stands for what somebody saw of a delivery when deciding about it.
pub(super) fn seen(status: Status, attempts: u32) -> String {
    format!("{}.{attempts}", status.as_str())
}

/// What became of it, in a sentence.
fn words(row: &LogRow) -> String {
    let latest = row.row.latest.as_ref();
    match row.row.state {
        State::Cancelled(cause) => cause.words().to_owned(),
        State::Pending | State::Delivered | State::Exhausted => latest.map_or_else(
            || "Not tried yet.".to_owned(),
            model::attempt::Outcome::words,
        ),
    }
}
