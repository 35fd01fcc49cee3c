//! Numbered pages: the page that is requested, and the envelope of its rows. Only the rows of that
//! page are read.

use model::refusal::Refusal;

use super::json::JsonValue;
use super::{answer, python};
use crate::gateway::api::RequestHead;

/// The rows found for a page, and how many all pages have together.
pub(super) struct FoundRows<T> {
    pub(super) count: u64,
    pub(super) rows: Vec<T>,
}

/// A page that exists.
pub(super) struct NumberedPage<T> {
    pub(super) rows: Vec<T>,
    count: u64,
    number: u64,
    last: u64,
}

/// The requested page. `find` gets the number of rows before it, and the most it has.
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
            // The count of the first page tells which page is the last.
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
    /// The response with these rows.
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
