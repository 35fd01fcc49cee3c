//! What a dialect brings to the dashboard: its words, its form, samples, and why a webhook got a
//! notification or not. Pages know dialects by these values only.
//!
//! Everything here is judged by the rules of the dialect's own resource, so that a form and a
//! program are told the same.

use std::sync::Arc;

use model::dashboard::WebhookSnapshot;
use model::notification::NewNotification;
use model::refusal::Refusal;
use model::target::{MASKED, masked};
use model::tenant::{Event, Tenant};
use model::time::Timestamp;
use model::webhook::{NewWebhook, Webhook};

use super::form::{FieldChoice, WebhookForm};
use crate::rng::SharedRng;
use crate::transport::query::Query;

/// A dialect's part of the dashboard.
pub(crate) struct DialectDashboard {
    /// The platform's name.
    pub(crate) platform: &'static str,
    /// What a tenant is called there.
    pub(crate) tenant_word: &'static str,
    pub(crate) describe: Box<dyn Fn(&Webhook) -> WebhookSummary + Send + Sync>,
    /// Whether webhooks can be deleted, and not only disabled.
    pub(crate) deletes: bool,
    pub(crate) forms: Arc<dyn WebhookForms>,
}

/// A webhook in a line or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookSummary {
    /// What people called it, if they did.
    pub(crate) name: Option<String>,
    /// What it is called for, in a few words.
    pub(crate) wants: String,
}

/// What a dialect knows about its webhooks and notifications.
pub(crate) trait WebhookForms: Send + Sync {
    /// The form of a new webhook, or of one there is. URLs are masked.
    fn form(
        &self,
        around: &FormContext<'_>,
        webhook: Option<&Webhook>,
    ) -> Result<WebhookForm, Refusal>;

    /// The new webhook that was typed.
    fn create(&self, around: &FormContext<'_>, typed: &Query) -> Result<NewWebhook, Refusal>;

    /// What was typed makes this of the webhook.
    fn change(
        &self,
        around: &FormContext<'_>,
        old: &Webhook,
        typed: &Query,
    ) -> Result<Webhook, Refusal>;

    /// All there is to know of a webhook beside its target and state. `trusted`: whoever looks
    /// may see its secrets.
    fn facts(&self, webhook: &Webhook, trusted: bool) -> Vec<WebhookFact>;

    /// Why it would not be called even while enabled, if that is so.
    fn doubt(&self, webhook: &Webhook) -> Option<String>;

    /// The action types that deliveries have as a rule, and what people call them.
    fn action_types(&self) -> Vec<(String, String)>;

    /// What to do about notifications of this action type, if no webhook can ask for them, or
    /// hardly one does.
    fn unheard(&self, action_type: &str) -> Option<String>;

    /// The kinds of notification that the webhook wants, for sending a sample.
    fn samples(&self, webhook: &Webhook) -> Vec<FieldChoice>;

    /// A notification such as an application would hand in, of one of these kinds, for this
    /// webhook only; `None`: it is not one of them.
    fn sample(
        &self,
        around: &FormContext<'_>,
        webhook: &Webhook,
        kind: &str,
    ) -> Result<Option<NewNotification>, Refusal>;

    /// Whether a webhook as it was wanted what happened, and the rule that decided. Says what
    /// `Filter::matches` says.
    fn explain(&self, happened: &NotificationFacts<'_>, then: &WebhookSnapshot) -> MatchVerdict;
}

/// What a form is made and judged by, beside the webhook itself.
pub(crate) struct FormContext<'a> {
    pub(crate) rng: &'a SharedRng,
    pub(crate) tenant: &'a Tenant,
    /// The shows of the tenant.
    pub(crate) events: &'a [Event],
    pub(crate) now: Timestamp,
}

/// Something about a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookFact {
    pub(crate) label: &'static str,
    pub(crate) values: Vec<String>,
    /// Shown as programs write it.
    pub(crate) code: bool,
    pub(crate) help: &'static str,
}

/// What is kept of a notification to say which match keys it stood for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotificationFacts<'a> {
    pub(crate) action_type: &'a str,
    pub(crate) event: Option<&'a str>,
    pub(crate) about: Option<&'a str>,
}

/// Whether a webhook wanted a notification, while enabled, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MatchVerdict {
    pub(crate) wanted: bool,
    /// A sentence.
    pub(crate) rule: String,
}

/// Of a list this many names stand in a sentence.
const NAMED_MAX: usize = 8;

impl MatchVerdict {
    pub(crate) fn new(wanted: bool, rule: impl Into<String>) -> Self {
        Self {
            wanted,
            rule: rule.into(),
        }
    }
}

impl WebhookFact {
    pub(crate) fn new(label: &'static str, value: impl Into<String>) -> Self {
        Self {
            label,
            values: vec![value.into()],
            code: false,
            help: "",
        }
    }

    pub(crate) fn code(label: &'static str, value: impl Into<String>) -> Self {
        Self {
            code: true,
            ..Self::new(label, value)
        }
    }
}

/// The URL that is meant by what was typed over the masked `old`. Credentials that are not shown
/// stay with their host; they are never sent to another.
pub(crate) fn unmasked(typed: &str, old: Option<&str>) -> Result<String, &'static str> {
    const STARS: &str = "***@";
    let old = old.unwrap_or_default();
    if typed == masked(old) {
        return Ok(old.to_owned());
    }
    let Some((scheme, rest)) = typed.split_once("://") else {
        return Ok(typed.to_owned());
    };
    let Some(rest) = rest.strip_prefix(STARS) else {
        let (credentials, _) = origin(rest).rsplit_once('@').unwrap_or_default();
        return match credentials.contains("***") {
            true => Err("*** stands for what is not shown. Type the user and the password."),
            false => Ok(typed.to_owned()),
        };
    };
    let shown = masked(old);
    let start = format!("{scheme}://{STARS}");
    let Some(shown) = shown.strip_prefix(&start).filter(|_| old != shown) else {
        return Err(MASKED);
    };
    if origin(rest) != origin(shown) {
        return Err("The host is another one: type its user and password, or take ***@ out.");
    }
    let credentials = old
        .strip_prefix(&format!("{scheme}://"))
        .and_then(|own| own.strip_suffix(shown));
    let credentials = credentials.unwrap_or_default();
    Ok(format!("{scheme}://{credentials}{rest}"))
}

/// Host and port of what follows the credentials.
fn origin(rest: &str) -> &str {
    rest.split(['/', '?', '#', '\\']).next().unwrap_or_default()
}

/// Names for a sentence; of many the first, and how many more there are.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "https://anna:secret@example.org:8443/in?x=1";

    #[test]
    fn credentials_that_are_not_shown_stay_where_they_belong() {
        let same = "https://***@example.org:8443/in?x=1";
        assert_eq!(unmasked(same, Some(OLD)).as_deref(), Ok(OLD));
        let moved = unmasked("https://***@example.org:8443/other", Some(OLD));
        assert_eq!(
            moved.as_deref(),
            Ok("https://anna:secret@example.org:8443/other")
        );
        let typed = "https://ben:other@example.net/";
        assert_eq!(unmasked(typed, Some(OLD)).as_deref(), Ok(typed));
        let none = "https://example.org:8443/in";
        assert_eq!(unmasked(none, Some(OLD)).as_deref(), Ok(none));
    }

    #[test]
    fn what_stands_for_something_hidden_is_never_taken_for_a_password() {
        for typed in ["bob:***@", "***:***@", "x***@", "***:secret@"] {
            let typed = format!("https://{typed}example.org:8443/in");
            assert!(unmasked(&typed, Some(OLD)).is_err(), "{typed}");
        }
        let path = "https://bob:secret@example.org/***@/in";
        assert_eq!(unmasked(path, Some(OLD)).as_deref(), Ok(path));
    }

    #[test]
    fn credentials_that_are_not_shown_go_to_no_other_host() {
        for typed in [
            "https://***@evil.example/in",
            "https://***@example.org/in",
            "https://***@example.org:8443@evil.example/in",
            "https://***@example.org:8443\\@evil.example/in",
            "http://***@example.org:8443/in",
        ] {
            let meant = unmasked(typed, Some(OLD));
            let kept = meant.as_deref().unwrap_or_default();
            let target = model::target::Target::parse(kept);
            assert!(
                meant.is_err() || target.is_ok_and(|target| target.host == "example.org"),
                "{typed}"
            );
        }
        assert!(unmasked("https://***@example.org/", Some("https://example.org/")).is_err());
        assert!(unmasked("https://***@example.org/", None).is_err());
    }
}
