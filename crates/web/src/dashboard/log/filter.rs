//! The filter of a log: read from the query, shown in the form, kept in links.

use std::fmt::Write;

use model::delivery_filter::{DeliveryFilter, ResponseFilter};
use model::id::WebhookId;
use model::limits::{NAME_BYTES_MAX, PAGE_ROWS_MAX};
use model::query::{DeliveryStatus, LogCursor, LogQuery};
use model::time::Timestamp;

use crate::dashboard::view::encoded;
use crate::transport::query::Query;

/// The filter, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LogFilter {
    pub(super) status: String,
    pub(super) action_type: String,
    pub(super) show: String,
    pub(super) response: String,
    pub(super) since: String,
    pub(super) until: String,
    pub(super) text: String,
    pub(super) faults: Vec<FilterFault>,
    read: ParsedFilter,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ParsedFilter {
    status: Option<DeliveryStatus>,
    response: Option<ResponseFilter>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilterFault {
    pub(super) field: &'static str,
    pub(super) words: &'static str,
}

/// The parameters of the filter in links.
pub(super) const NAMES: [&str; 7] = [
    "status", "type", "show", "response", "since", "until", "text",
];

impl LogFilter {
    pub(super) fn of(query: &Query) -> Self {
        let field = |name: &str| query.get(name).unwrap_or_default().trim().to_owned();
        let mut filter = Self {
            status: field("status"),
            action_type: field("type"),
            show: field("show"),
            response: field("response"),
            since: field("since"),
            until: field("until"),
            // Spaces may be part of the search.
            text: query.get("text").unwrap_or_default().to_owned(),
            ..Self::default()
        };
        filter.judge();
        filter
    }

    fn judge(&mut self) {
        let mut fault = |field, words| self.faults.push(FilterFault { field, words });
        if !self.status.is_empty() {
            self.read.status = self.status.parse().ok();
            if self.read.status.is_none() {
                fault("status", "There is no such status.");
            }
        }
        if !self.response.is_empty() {
            self.read.response = self.response.parse().ok();
            if self.read.response.is_none() {
                fault("response", "This is not a status such as 503, 5xx or none.");
            }
        }
        for (field, text) in [
            ("type", &self.action_type),
            ("show", &self.show),
            ("text", &self.text),
        ] {
            if text.len() > NAME_BYTES_MAX {
                fault(field, "This is too long to search for.");
            }
        }
        for (field, text, moment) in [
            ("since", &self.since, &mut self.read.since),
            ("until", &self.until, &mut self.read.until),
        ] {
            if !text.is_empty() {
                *moment = moment_of(text);
                if moment.is_none() {
                    fault(field, "This is not a time such as 2026-11-20T18:30.");
                }
            }
        }
        if let (Some(since), Some(until)) = (self.read.since, self.read.until)
            && since >= until
        {
            fault("until", "This is not after the start time.");
        }
        if !self.faults.is_empty() {
            // What is shown again must fit on a page.
            for text in [
                &mut self.status,
                &mut self.action_type,
                &mut self.show,
                &mut self.response,
                &mut self.since,
                &mut self.until,
                &mut self.text,
            ] {
                if text.len() > NAME_BYTES_MAX {
                    *text = text.chars().take(NAME_BYTES_MAX).collect();
                }
            }
        }
    }

    fn values(&self) -> [&str; 7] {
        [
            &self.status,
            &self.action_type,
            &self.show,
            &self.response,
            &self.since,
            &self.until,
            &self.text,
        ]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values().iter().all(|value| value.is_empty())
    }

    /// Whether a line can begin to match long after it was added.
    pub(super) fn has_status(&self) -> bool {
        self.read.status.is_some() || self.read.response.is_some()
    }

    pub(super) fn is(&self, status: &DeliveryStatus) -> bool {
        self.read.status == Some(*status)
    }

    pub(super) fn fault(&self, field: &str) -> Option<&'static str> {
        let fault = self.faults.iter().find(|fault| fault.field == field);
        fault.map(|fault| fault.words)
    }

    /// The filter as the query of a link, each parameter followed by `&`.
    pub(super) fn link(&self) -> String {
        let mut link = String::new();
        for (name, value) in NAMES.iter().zip(self.values()) {
            if !value.is_empty() {
                // Writing to a string cannot fail.
                write!(link, "{name}={}&", encoded(value)).unwrap_or_default();
            }
        }
        link
    }

    /// The query for the store.
    pub(super) fn ask(&self, webhook: Option<WebhookId>, from: Option<LogCursor>) -> LogQuery {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        LogQuery {
            webhook,
            notification: None,
            status: self.read.status,
            action_type: given(&self.action_type),
            event: given(&self.show),
            since: self.read.since,
            until: self.read.until,
            response: self.read.response,
            text: self.text.clone(),
            from,
            limit: PAGE_ROWS_MAX,
        }
    }
}

impl LogFilter {
    /// What a replay of all that it shows is about: of its status, or of any that can be replayed.
    pub(super) fn replayed(&self) -> DeliveryFilter {
        let given = |text: &str| match text {
            "" => Vec::new(),
            text => vec![text.to_owned()],
        };
        DeliveryFilter {
            statuses: match self.read.status {
                Some(status) => vec![status],
                None => DeliveryFilter::REPLAYED.to_vec(),
            },
            action_types: given(&self.action_type),
            events: given(&self.show),
            responses: self.read.response.into_iter().collect(),
            since: self.read.since,
            until: self.read.until,
            text: self.text.clone(),
        }
    }

    /// The same filter for bodies that have this text.
    pub(super) fn with_text(self, text: String) -> Self {
        Self { text, ..self }
    }

    /// Its fields with their values, for a form that keeps them.
    pub(super) fn fields(&self) -> Vec<(&'static str, &str)> {
        let fields = NAMES.into_iter().zip(self.values());
        fields.filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// The format of a browser's date and time input, in UTC: `2026-11-20T18:30`, with seconds if need
/// be.
fn moment_of(text: &str) -> Option<Timestamp> {
    let colons = text.matches(':').count();
    let text = match (text.ends_with('Z'), colons) {
        (true, _) => text.to_owned(),
        (false, 1) => format!("{text}:00Z"),
        (false, _) => format!("{text}Z"),
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_survives_its_own_link() {
        let query = Query::read(
            "status=exhausted&type=a.b%26c&show=demo&since=2026-11-20T18:30\
             &until=2026-11-20T19:00:01&text=%22x%22%20&x=1&response=5xx",
        )
        .unwrap();
        let filter = LogFilter::of(&query);
        assert_eq!(filter.faults, []);
        assert_eq!(LogFilter::of(&Query::read(&filter.link()).unwrap()), filter);
        let ask = filter.ask(None, None);
        assert_eq!(ask.status, Some(DeliveryStatus::Failed));
        assert_eq!(ask.action_type.as_deref(), Some("a.b&c"));
        assert_eq!(ask.since, "2026-11-20T18:30:00Z".parse().ok());
        assert_eq!(ask.until, "2026-11-20T19:00:01Z".parse().ok());
        assert_eq!(ask.text, "\"x\" ");
        assert_eq!(ask.response, "5xx".parse().ok());
        let replayed = filter.replayed();
        assert_eq!(replayed.statuses, [DeliveryStatus::Failed]);
        assert_eq!(replayed.responses, Vec::from_iter(ask.response));
        assert_eq!((replayed.since, replayed.until), (ask.since, ask.until));
        assert_eq!(
            (replayed.action_types, replayed.text),
            (vec!["a.b&c".to_owned()], ask.text)
        );
    }

    #[test]
    fn what_cannot_be_looked_for_is_a_fault_at_its_field() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let filter = LogFilter::of(
            &Query::read(&format!(
                "status=odd&response=6xx&since=yesterday&until=2026-11-20&text={long}"
            ))
            .unwrap(),
        );
        let fields: Vec<&str> = filter.faults.iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["status", "response", "text", "since", "until"]);
        let filter =
            LogFilter::of(&Query::read("since=2026-11-20T18:30&until=2026-11-20T18:30").unwrap());
        assert!(filter.fault("until").is_some());
        assert!(LogFilter::of(&Query::default()).is_empty());
    }
}
