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
    let compared = |text: &str| -> String { text.chars().take(COMPARED_CHARS_MAX).collect() };
    let small = compared(&small);
    let length = small.chars().count();
    let near = all.filter_map(|own| {
        let part = compared(own);
        let is_near = part.chars().count().abs_diff(length) <= DISTANCE_MAX;
        let distance = is_near.then(|| strsim::levenshtein(&small, &part))?;
        (distance <= DISTANCE_MAX).then_some((distance, own))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, own)| own)
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
