//! The known name that an unknown one most likely means.

/// The most characters that are compared: action types are shorter, and the cost is quadratic.
const COMPARED_CHARS_MAX: usize = 64;

/// The most differences of a typing error: real action types are as near as that.
const DISTANCE_MAX: usize = 2;

/// The name of `all` that `written` most likely means: one that ends or begins with it, or the one
/// with the fewest differing characters, if those are few.
pub(crate) fn nearest<'a>(
    written: &str,
    all: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let small = written.trim().to_lowercase();
    if small.is_empty() {
        return None;
    }
    let part_of = |long: &str, short: &str| {
        let rest = long.strip_suffix(short).map(|rest| rest.ends_with('.'));
        let rest = rest.or_else(|| long.strip_prefix(short).map(|rest| rest.starts_with('.')));
        rest == Some(true)
    };
    let whole = all
        .clone()
        .filter(|own| *own == small || part_of(own, &small));
    // Of several the shortest.
    if let Some(found) = whole.min_by_key(|own| own.len()) {
        return Some(found);
    }
    let written: Vec<char> = small.chars().take(COMPARED_CHARS_MAX).collect();
    let most = DISTANCE_MAX;
    let near = all.filter_map(|own| {
        let own_chars: Vec<char> = own.chars().take(COMPARED_CHARS_MAX).collect();
        let apart = own_chars.len().abs_diff(written.len()) <= most;
        let distance = apart.then(|| distance(&written, &own_chars))?;
        (distance <= most).then_some((distance, own))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, own)| own)
}

/// The Levenshtein distance.
fn distance(one: &[char], other: &[char]) -> usize {
    // The distances between the part of `one` read so far and each prefix of `other`.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.iter().enumerate() {
        let mut left = index + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (pair, own) in row.windows(2).zip(other) {
            let [above_left, above] = pair else {
                continue;
            };
            let replaced = above_left + usize::from(own != letter);
            left = replaced.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_most_likely_meant_is_found() {
        let all = [
            "pretix.event.order.placed.require_approval",
            "pretix.event.order.placed",
            "pretix.event.order.paid",
            "pretix.event.order.canceled",
            "pretix.voucher.added",
        ];
        for (written, found) in [
            ("order.paid", Some("pretix.event.order.paid")),
            ("paid", Some("pretix.event.order.paid")),
            ("Pretix.Event.Order.Paid ", Some("pretix.event.order.paid")),
            ("pretix.event.order", Some("pretix.event.order.paid")),
            ("pretix.event.order.piad", Some("pretix.event.order.paid")),
            (
                "pretix.event.order.cancelled",
                Some("pretix.event.order.canceled"),
            ),
            ("pretix.vouchers.added", Some("pretix.voucher.added")),
            ("order_paid", None),
            ("pretix.event.order.comment", None),
            ("aid", None),
            ("my.plugin.badge.printed", None),
            ("", None),
            (&"x".repeat(10_000), None),
        ] {
            assert_eq!(nearest(written, all.into_iter()), found, "{written}");
        }
    }
}
