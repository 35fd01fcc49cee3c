//! Whether the mail server that alerts go to is there and knows us. No mail is sent.

use engine::Deadline;

use super::finding::{Finding, Verdict};
use crate::assemble;
use crate::config::Config;

const ABOUT: &str = "mail";

const TRY_LIMIT_MS: u32 = 15_000;

/// Nothing if no mail server is set.
pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let client = match assemble::mail(config) {
        Ok(None) => return Vec::new(),
        Ok(Some(client)) => client,
        Err(error) => return vec![Finding::new(ABOUT, Verdict::Wrong, format!("{error:#}"))],
    };
    let server = config.mail.as_ref();
    let name = server.map_or_else(String::new, |own| format!("{}:{}", own.host, own.port));
    let tried = client.try_out(Deadline::from_here(TRY_LIMIT_MS)).await;
    vec![match tried {
        Ok(()) => Finding::new(ABOUT, Verdict::Good, format!("{name} takes mail from us")),
        Err(words) => Finding::new(ABOUT, Verdict::Wrong, format!("{name}: {words}")),
    }]
}
