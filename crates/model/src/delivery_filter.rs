//! Which deliveries of a log are meant: by status, by their notification, and by what the receiver
//! answered.

use crate::query::DeliveryStatus;
pub use crate::response_filter::ResponseFilter;
use crate::time::Timestamp;

/// Values of one kind that a filter may name.
pub const FILTER_VALUES_MAX: usize = 50;

/// Deliveries that are meant. What names nothing leaves nothing out, but for the statuses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryFilter {
    /// Of one of these.
    pub statuses: Vec<DeliveryStatus>,
    pub action_types: Vec<String>,
    /// Slugs of shows.
    pub events: Vec<String>,
    /// What the latest attempt came to.
    pub responses: Vec<ResponseFilter>,
    /// Accepted at this moment or later.
    pub since: Option<Timestamp>,
    /// Accepted before this moment.
    pub until: Option<Timestamp>,
    /// Within the body that was sent, as it is; empty for any.
    pub text: String,
}

/// What a filter asks of a delivery, its status and its body aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFacts<'a> {
    pub action_type: &'a str,
    pub event: Option<&'a str>,
    pub accepted_at: Timestamp,
    /// Whether there was an attempt.
    pub attempted: bool,
    /// The status that the latest attempt was answered with.
    pub response: Option<u16>,
}

impl DeliveryFilter {
    /// Statuses that a replay can be about, in an order in which none that is replayed is met again
    /// under a later one. What is pending is on its way in any case.
    pub const REPLAYED: [DeliveryStatus; 4] = [
        DeliveryStatus::Retrying,
        DeliveryStatus::Failed,
        DeliveryStatus::Cancelled,
        DeliveryStatus::Delivered,
    ];

    /// Those of them that did not arrive.
    pub const UNDELIVERED: [DeliveryStatus; 3] = [
        DeliveryStatus::Retrying,
        DeliveryStatus::Failed,
        DeliveryStatus::Cancelled,
    ];

    /// Whether more has to be known of a delivery than its status and its place in the log.
    /// `falls`: the clock was set back, so that the place does not tell the time.
    pub fn asks_facts(&self, falls: bool) -> bool {
        let asks_time = self.since.is_some() || self.until.is_some();
        let names_nothing = self.action_types.is_empty()
            && self.events.is_empty()
            && self.responses.is_empty()
            && self.text.is_empty();
        !names_nothing || asks_time && falls
    }

    /// Whether a delivery with these facts is meant, by all that is not its status or its body.
    pub fn means(&self, facts: &DeliveryFacts<'_>) -> bool {
        let named = |among: &[String], one: Option<&str>| {
            among.is_empty() || among.iter().any(|name| Some(name.as_str()) == one)
        };
        let of_facts = |one: &ResponseFilter| one.is_of(facts.response, facts.attempted);
        named(&self.action_types, Some(facts.action_type))
            && named(&self.events, facts.event)
            && self.since.is_none_or(|since| facts.accepted_at >= since)
            && self.until.is_none_or(|until| facts.accepted_at < until)
            && (self.responses.is_empty() || self.responses.iter().any(of_facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> DeliveryFacts<'static> {
        DeliveryFacts {
            action_type: "order.paid",
            event: Some("demo"),
            accepted_at: Timestamp::from_millis(1_000),
            attempted: true,
            response: Some(503),
        }
    }

    #[test]
    fn a_filter_that_names_nothing_means_any() {
        let any = DeliveryFilter::default();
        assert!(any.means(&facts()));
        assert!(!any.asks_facts(true));
        let times = DeliveryFilter {
            since: Some(Timestamp::EPOCH),
            ..any
        };
        assert_eq!(
            (times.asks_facts(false), times.asks_facts(true)),
            (false, true)
        );
    }

    #[test]
    fn each_condition_leaves_out_what_is_not_named() {
        let meant = |change: fn(&mut DeliveryFilter)| {
            let mut filter = DeliveryFilter::default();
            change(&mut filter);
            filter.means(&facts())
        };
        let at = Timestamp::from_millis;
        assert!(meant(
            |f| f.action_types = vec!["x".into(), "order.paid".into()]
        ));
        assert!(!meant(|f| f.action_types = vec!["x".into()]));
        assert!(meant(|f| f.events = vec!["demo".into()]));
        assert!(!meant(|f| f.events = vec!["x".into()]));
        assert!(meant(
            |f| f.responses = vec![ResponseFilter::Class(4), ResponseFilter::Class(5)]
        ));
        assert!(meant(|f| f.responses = vec![ResponseFilter::Status(503)]));
        assert!(!meant(|f| f.responses = vec![ResponseFilter::Missing]));
        let filter = |since, until| DeliveryFilter {
            since: Some(at(since)),
            until: Some(at(until)),
            ..DeliveryFilter::default()
        };
        assert!(filter(1_000, 1_001).means(&facts()));
        assert!(!filter(1_001, 2_000).means(&facts()));
        assert!(!filter(0, 1_000).means(&facts()));
    }

    #[test]
    fn what_was_never_attempted_is_not_without_a_response() {
        let filter = DeliveryFilter {
            responses: vec![ResponseFilter::Missing],
            ..DeliveryFilter::default()
        };
        let unanswered = DeliveryFacts {
            response: None,
            ..facts()
        };
        assert!(filter.means(&unanswered));
        assert!(!filter.means(&DeliveryFacts {
            attempted: false,
            ..unanswered
        }));
    }
}
