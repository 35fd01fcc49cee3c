//! What a dialect brings to the dashboard: its words, its form, samples, and match explanations.
//! Pages know dialects by these values only.
//!
//! The rules are those of the dialect's REST resource, so that a form and a program get the same
//! answer.

use std::sync::Arc;

use model::dashboard::WebhookSnapshot;
use model::notification::NewNotification;
use model::refusal::Refusal;
use model::target::{MASKED, PART_MASKED, masked};
use model::tenant::{Event, Tenant};
use model::time::Timestamp;
use model::url_marks;
use model::webhook::{NewWebhook, Webhook};

use super::form::{FieldChoice, WebhookForm};
use crate::rng::SharedRng;
use crate::transport::query::Query;

/// A dialect's part of the dashboard.
pub(crate) struct DialectDashboard {
    /// The platform's name.
    pub(crate) platform: &'static str,
    /// The platform's word for a tenant.
    pub(crate) tenant_word: &'static str,
    pub(crate) describe: Box<dyn Fn(&Webhook) -> WebhookSummary + Send + Sync>,
    /// Whether webhooks can be deleted, and not only disabled.
    pub(crate) deletes: bool,
    pub(crate) forms: Arc<dyn WebhookForms>,
}

/// A webhook in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookSummary {
    /// Its name, if it has one.
    pub(crate) name: Option<String>,
    /// Its subscriptions, in a few words.
    pub(crate) wants: String,
}

/// What a dialect knows about its webhooks and notifications.
pub(crate) trait WebhookForms: Send + Sync {
    /// The form of a new webhook, or of one there is. URLs are masked.
    fn form(
        &self,
        context: &FormContext<'_>,
        webhook: Option<&Webhook>,
    ) -> Result<WebhookForm, Refusal>;

    /// The new webhook that the form makes.
    fn create(&self, context: &FormContext<'_>, typed: &Query) -> Result<NewWebhook, Refusal>;

    /// The webhook with the form's changes.
    fn change(
        &self,
        context: &FormContext<'_>,
        old: &Webhook,
        typed: &Query,
    ) -> Result<Webhook, Refusal>;

    /// Everything about a webhook beside its target and state. `trusted`: the viewer may see its
    /// secrets.
    fn facts(&self, webhook: &Webhook, trusted: bool) -> Vec<WebhookFact>;

    /// Why it would never be called even while enabled, if that is so.
    fn doubt(&self, webhook: &Webhook) -> Option<String>;

    /// The usual action types of deliveries, with their labels.
    fn action_types(&self) -> Vec<(String, String)>;

    /// Advice for notifications of this action type, if no webhook can subscribe to it, or hardly
    /// one does.
    fn unheard(&self, action_type: &str) -> Option<String>;

    /// The kinds of notification that the webhook wants, for a test.
    fn samples(&self, webhook: &Webhook) -> Vec<FieldChoice>;

    /// A sample notification of one of these kinds, for this webhook only; `None` if it does not
    /// want that kind.
    fn sample(
        &self,
        context: &FormContext<'_>,
        webhook: &Webhook,
        kind: &str,
    ) -> Result<Option<NewNotification>, Refusal>;

    /// Whether the webhook wanted this notification, and the rule that decided. Agrees with
    /// `Filter::matches`.
    fn explain(&self, happened: &NotificationFacts<'_>, then: &WebhookSnapshot) -> MatchVerdict;
}

/// What making and judging a form needs beside the webhook.
pub(crate) struct FormContext<'a> {
    pub(crate) rng: &'a SharedRng,
    pub(crate) tenant: &'a Tenant,
    /// The shows of the tenant.
    pub(crate) events: &'a [Event],
    pub(crate) now: Timestamp,
}

/// A fact about a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookFact {
    pub(crate) label: &'static str,
    pub(crate) values: Vec<String>,
    /// Shown in code style.
    pub(crate) code: bool,
    pub(crate) help: &'static str,
}

/// The stored facts of a notification that its match keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotificationFacts<'a> {
    pub(crate) action_type: &'a str,
    pub(crate) event: Option<&'a str>,
    pub(crate) about: Option<&'a str>,
}

/// Whether a webhook, while enabled, wanted a notification, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MatchVerdict {
    pub(crate) wanted: bool,
    /// A sentence.
    pub(crate) rule: String,
}

/// The most names of a list in a sentence.
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

/// The URL meant by input over the masked `old`. What is hidden stays with its host; it is never
/// sent to another.
pub(crate) fn unmasked(typed: &str, old: Option<&str>) -> Result<String, &'static str> {
    let meant = with_credentials(typed, old)?;
    url_marks::filled(&meant, old).ok_or(PART_MASKED)
}

fn with_credentials(typed: &str, old: Option<&str>) -> Result<String, &'static str> {
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
    // Both have the same parts behind the credentials, hidden or not.
    let old = url_marks::masked(old);
    let credentials = old
        .strip_prefix(&format!("{scheme}://"))
        .and_then(|own| own.strip_suffix(shown));
    let credentials = credentials.unwrap_or_default();
    Ok(format!("{scheme}://{credentials}{rest}"))
}

/// Host and port after the credentials.
fn origin(rest: &str) -> &str {
    rest.split(['/', '?', '#', '\\']).next().unwrap_or_default()
}

/// Names for a sentence: the first ones, and how many more there are.
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
    fn marked_parts_that_are_not_shown_stay_with_their_host_and_mark() {
        const MARKED: &str = "https://anna:secret@example.org/in/abc?key=def#secret:/2,key";
        let shown = "https://***@example.org/in/***?key=***#secret:/2,key";
        assert_eq!(unmasked(shown, Some(MARKED)).as_deref(), Ok(MARKED));
        let moved = unmasked(&shown.replace("/in/", "/out/"), Some(MARKED));
        assert_eq!(moved.as_deref(), Ok(&*MARKED.replace("/in/", "/out/")));
        for (from, to) in [
            ("#secret:/2,key", "#secret:/2"),
            ("#secret:/2,key", ""),
            ("example.org", "example.net"),
        ] {
            let typed = shown.replace(from, to).replace("***@", "ben:b@");
            assert_eq!(unmasked(&typed, Some(MARKED)), Err(PART_MASKED), "{typed}");
        }
        assert_eq!(unmasked("https://a.test/***", None), Err(PART_MASKED));
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
