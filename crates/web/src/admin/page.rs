//! A page of a list: how many, behind what, and the link to the next one.

use model::limits::PAGE_ROWS_MAX;
use model::refusal::{Fault, Refusal};
use serde_json::{Value, json};

use super::answer;
use crate::gateway::api::{ApiResponse, RequestHead};

/// The parameters of a list.
pub(super) const AFTER: &str = "after";
pub(super) const LIMIT: &str = "limit";

/// How many rows a request wants.
pub(super) fn limit(head: &RequestHead) -> Result<usize, Refusal> {
    let Some(text) = head.query.get(LIMIT) else {
        return Ok(PAGE_ROWS_MAX);
    };
    let number = text.parse().ok();
    let number = number.filter(|number| (1..=PAGE_ROWS_MAX).contains(number));
    number.ok_or_else(|| wrong(LIMIT, format!("It has to be 1 to {PAGE_ROWS_MAX}.")))
}

pub(super) fn after(head: &RequestHead) -> Option<&str> {
    head.query.get(AFTER)
}

/// Refuses `after`: there is no such row to go on behind.
pub(super) fn unknown_row() -> Refusal {
    wrong(AFTER, "There is none of that name.".to_owned())
}

fn wrong(name: &str, words: String) -> Refusal {
    Refusal::Parameters(vec![Fault::new(name, words)])
}

/// The answer for `rows`, of which there is one more than `limit` if there is a next page. `key`
/// says what a page behind a row is asked for with.
pub(super) fn answer<T>(
    head: &RequestHead,
    mut rows: Vec<T>,
    limit: usize,
    shown: impl Fn(&T) -> Value,
    key: impl Fn(&T) -> String,
) -> ApiResponse {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| has_more);
    let next = last.map(|row| next(head, &key(row)));
    let shown: Vec<Value> = rows.iter().map(shown).collect();
    answer::ok(&json!({ "results": shown, "next": next }))
}

/// The same list behind this row.
fn next(head: &RequestHead, after: &str) -> String {
    let others = head.query.iter().filter(|(name, _)| *name != AFTER);
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let query = query.extend_pairs(others.chain([(AFTER, after)])).finish();
    format!("{}{}?{query}", head.origin(), head.path())
}
