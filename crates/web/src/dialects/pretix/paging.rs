//! Lists in numbered pages: which page is asked for, what its rows are put into.
//!
//! Only the rows of the page that is asked for are looked up.

use model::refusal::Refusal;

use super::json::JsonValue;
use super::{answer, python};
use crate::gateway::api::RequestHead;

/// What was found of a page, and how many rows all pages have together.
pub(super) struct FoundRows<T> {
    pub(super) count: u64,
    pub(super) rows: Vec<T>,
}

/// A page that is there.
pub(super) struct NumberedPage<T> {
    pub(super) rows: Vec<T>,
    count: u64,
    number: u64,
    last: u64,
}

/// The page that is asked for. `find` is given how many rows come before it, and how many it has
/// at most.
pub(super) async fn page<T, R>(
    head: &RequestHead,
    find: impl Fn(u64, usize) -> R,
) -> Result<NumberedPage<T>, Refusal>
where
    R: Future<Output = Result<FoundRows<T>, Refusal>>,
{
    let limit = answer::page_size(head);
    let rows = u64::try_from(limit).unwrap_or(1);
    let wanted = match head.query.get("page").unwrap_or_default() {
        "" => Some(1),
        "last" => None,
        number => Some(page_number(number)?),
    };
    let find = |number: u64| find((number - 1).saturating_mul(rows), limit);
    let (number, found) = match wanted {
        Some(number) => (number, find(number).await?),
        None => {
            // What the last page is, the count of the first one tells.
            let last = find(1).await?.count.div_ceil(rows).max(1);
            (last, find(last).await?)
        }
    };
    let last = found.count.div_ceil(rows).max(1);
    if number > last {
        return Err(Refusal::NoSuchPage);
    }
    Ok(NumberedPage {
        rows: found.rows,
        count: found.count,
        number,
        last,
    })
}

impl<T> NumberedPage<T> {
    /// The answer, with its rows as they are shown.
    pub(super) fn with<'a>(&self, head: &RequestHead, shown: Vec<JsonValue<'a>>) -> JsonValue<'a> {
        let to = |number: u64| match number {
            1 => answer::link(head, "page", None),
            number => answer::link(head, "page", Some(&number.to_string())),
        };
        let next = (self.number < self.last).then(|| to(self.number + 1));
        let previous = (self.number > 1).then(|| to(self.number - 1));
        JsonValue::object([
            ("count", JsonValue::int(self.count)),
            ("next", next.unwrap_or(JsonValue::Null)),
            ("previous", previous.unwrap_or(JsonValue::Null)),
            ("results", JsonValue::List(shown)),
        ])
    }
}

fn page_number(text: &str) -> Result<u64, Refusal> {
    let number = python::int(text).ok_or(Refusal::NoSuchPage)?;
    match u64::try_from(number) {
        Ok(number @ 1..) => Ok(number),
        Ok(0) | Err(_) => Err(Refusal::NoSuchPage),
    }
}
