//! How values look on pages: times, durations, sizes, states. Nothing here asks the store.

use std::fmt;

use model::query::DeliveryStatus;
use model::refusal::Refusal;
use model::time::Timestamp;

/// A time. Shown in UTC; the script of the page turns it into the reader's zone and keeps the exact
/// time as a tooltip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DisplayTime(pub(crate) Timestamp);

/// The colour of a status, always beside words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    /// In progress: neither good nor bad yet.
    Waiting,
    Bad,
    Quiet,
}

/// A number of bytes in a readable unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DisplaySize(pub(crate) usize);

/// A duration in a readable unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DisplayDuration(pub(crate) i64);

impl fmt::Display for DisplayTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.to_string();
        let (date, rest) = exact.split_once('T').unwrap_or((exact.as_str(), ""));
        let second = rest.split_once('.').map_or(rest, |(second, _)| second);
        write!(
            f,
            "<time datetime=\"{exact}\" title=\"{date} {} UTC\">{date} {second} UTC</time>",
            rest.trim_end_matches('Z'),
        )
    }
}

// Digits and our own markup only.
impl askama::filters::HtmlSafe for DisplayTime {}

/// A part of a page that a template has made: markup of our own, with everything else escaped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HtmlFragment(String);

impl HtmlFragment {
    /// # Errors
    /// If the template fails, which only a value that cannot be printed does.
    pub(crate) fn of(template: &impl askama::Template) -> Result<Self, Refusal> {
        template.render().map(Self).map_err(|error| {
            tracing::error!(%error, "a part of a page cannot be rendered");
            Refusal::Internal
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn plain(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for HtmlFragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Only a template makes one.
impl askama::filters::HtmlSafe for HtmlFragment {}

impl Tone {
    pub(crate) fn of(status: DeliveryStatus) -> Self {
        match status {
            DeliveryStatus::Delivered => Self::Good,
            DeliveryStatus::Pending | DeliveryStatus::Retrying => Self::Waiting,
            DeliveryStatus::Failed => Self::Bad,
            DeliveryStatus::Cancelled => Self::Quiet,
        }
    }

    /// The CSS class.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Waiting => "waiting",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class())
    }
}

/// The name of a status on pages.
pub(crate) fn status_words(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Pending => "Waiting",
        DeliveryStatus::Retrying => "Retrying",
        DeliveryStatus::Delivered => "Delivered",
        DeliveryStatus::Failed => "Failed",
        DeliveryStatus::Cancelled => "Cancelled",
    }
}

impl fmt::Display for DisplaySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: usize = 1_024;
        match self.0 {
            1 => f.write_str("1 byte"),
            bytes if bytes < KIB => write!(f, "{bytes} bytes"),
            bytes => write!(f, "{}.{} KiB", bytes / KIB, bytes % KIB * 10 / KIB),
        }
    }
}

impl fmt::Display for DisplayDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.max(0);
        let (seconds, minutes, hours, days) =
            (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
        match () {
            () if ms < 1_000 => write!(f, "{ms} ms"),
            () if seconds < 10 => write!(f, "{seconds}.{} s", ms % 1_000 / 100),
            () if minutes < 2 => write!(f, "{seconds} s"),
            () if hours < 2 => write!(f, "{minutes} min"),
            () if days < 2 => write!(f, "{hours} h"),
            () => write!(f, "{days} days"),
        }
    }
}

/// The first characters of a text, with an ellipsis if there are more.
pub(crate) fn short(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}\u{2026}", text.get(..end).unwrap_or_default().trim_end()),
        None => text.to_owned(),
    }
}

/// A search term, cut to the longest text that could be found.
pub(crate) fn search_text(typed: Option<&str>) -> String {
    let typed = typed.unwrap_or_default().trim();
    typed.chars().take(model::limits::NAME_BYTES_MAX).collect()
}

/// A text, percent-encoded for a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_shows_the_second_and_keeps_the_millisecond() {
        let at = Timestamp::from_millis(1_795_212_301_123);
        let shown = DisplayTime(at).to_string();
        assert!(shown.starts_with("<time datetime=\"2026-11-20T"), "{shown}");
        assert!(shown.contains(".123 UTC\">2026-11-20 "), "{shown}");
    }

    #[test]
    fn durations_and_sizes_have_the_unit_that_suits_them() {
        let lasting = [0, 999, 1_250, 12_000, 150_000, 9_000_000, 300_000_000].map(DisplayDuration);
        let shown = lasting.map(|lasting| lasting.to_string());
        assert_eq!(
            shown,
            ["0 ms", "999 ms", "1.2 s", "12 s", "2 min", "2 h", "3 days"]
        );
        let sizes = [1, 1_023, 1_536].map(|size| DisplaySize(size).to_string());
        assert_eq!(sizes, ["1 byte", "1023 bytes", "1.5 KiB"]);
    }
}
