//! Paging of lists that the store returns whole because they are short: tokens, people.

use model::limits::PAGE_ROWS_MAX;

/// The rows after the one with the id `after`, or the first ones, and the id of the last if there
/// are more.
pub(crate) fn page_of<T>(
    all: Vec<T>,
    after: Option<&str>,
    id: impl Fn(&T) -> i64,
) -> (Vec<T>, Option<i64>) {
    let after: Option<i64> = after.and_then(|id| id.parse().ok());
    let found = all.iter().position(|row| Some(id(row)) == after);
    let start = found.map_or(0, |place| place + 1);
    let has_more = all.len() - start > PAGE_ROWS_MAX;
    let rows: Vec<T> = all.into_iter().skip(start).take(PAGE_ROWS_MAX).collect();
    let last = rows.last().map(id).filter(|_| has_more);
    (rows, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_together_are_the_list() {
        let all: Vec<i64> = (1..=120).collect();
        let page = |after: Option<&str>| page_of(all.clone(), after, |row| *row);
        assert_eq!(page(None), ((1..=50).collect(), Some(50)));
        assert_eq!(page(Some("50")), ((51..=100).collect(), Some(100)));
        assert_eq!(page(Some("100")), ((101..=120).collect(), None));
        assert_eq!(page(Some("120")), (Vec::new(), None));
        assert_eq!(page(Some("nonsense")).0.first(), Some(&1));
        assert_eq!(page_of(Vec::<i64>::new(), None, |row| *row), (vec![], None));
    }
}
