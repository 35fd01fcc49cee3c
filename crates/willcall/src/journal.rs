//! Log lines for journald: a priority, then text without a time, and one line for each event.
//! sd-daemon(3) has the priorities.

use std::fmt::{self, Write as _};
use std::io;

use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::named_variable;

/// Names device and inode of the stream that leads to the journal (systemd.exec(5)).
const STREAM: &str = "JOURNAL_STREAM";

pub(crate) struct JournalFormat;

impl<S, N> FormatEvent<S, N> for JournalFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        writer.write_str(&line(*event.metadata().level(), &text))
    }
}

/// The line for this text. Line breaks in it would begin other entries of the journal.
pub(crate) fn line(level: Level, text: &str) -> String {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    let mut line = format!("<{priority}>");
    for letter in text.chars() {
        match letter.is_control() {
            true => line.extend(letter.escape_default()),
            false => line.push(letter),
        }
    }
    line.push('\n');
    line
}

/// Whether standard error leads to the journal. The variable alone does not say so: it is handed
/// down to programs whose standard error leads elsewhere.
pub(crate) fn is_journal() -> bool {
    let Some(named) = named_variable(STREAM) else {
        return false;
    };
    let found = fstat(io::stderr()).ok();
    found.is_some_and(|found| {
        let mut own = String::new();
        write!(own, "{}:{}", found.st_dev, found.st_ino).is_ok() && named == *own
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_with_its_priority() {
        for (level, text, wanted) in [
            (Level::ERROR, "it ends", "<3>it ends\n"),
            (Level::WARN, "look", "<4>look\n"),
            (Level::INFO, "a\nb\r\n<3>c\td", "<6>a\\nb\\r\\n<3>c\\td\n"),
            (Level::DEBUG, "żółw \u{1b}[0m", "<7>żółw \\u{1b}[0m\n"),
            (Level::TRACE, "", "<7>\n"),
        ] {
            assert_eq!(line(level, text), wanted);
        }
    }
}
