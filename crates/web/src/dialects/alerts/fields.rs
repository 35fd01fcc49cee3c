//! The fields of a webhook that is told of incidents: their allowed values and their meaning. The
//! same rules hold for the form and for an operator's file.

use std::collections::BTreeSet;

use model::filter::Filter;
use model::incident::AlertKind;
use model::limits::TARGET_URL_CHARS_MAX;
use model::mail::MailAddress;
use model::refusal::{Fault, Refusal};
use model::target::{MASKED, PART_MASKED, Target, has_masked_credentials};
use model::url_marks;
use model::webhook::Webhook;
use serde::{Deserialize, Serialize};

use crate::dialect::damaged;

const NAME_CHARS_MAX: usize = 100;

/// What an alert looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// An object with everything, for programs.
    #[default]
    Json,
    /// An object with a text, as chats take it.
    Chat,
    /// A mail.
    Mail,
}

impl Format {
    pub(super) const ALL: [Self; 3] = [Self::Mail, Self::Chat, Self::Json];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Chat => "chat",
            Self::Mail => "mail",
        }
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.as_str() == text)
    }
}

/// What is stored of a webhook beside its target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) format: Format,
    /// By action type.
    pub(super) alerts: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) target_url: String,
    pub(super) settings: Settings,
}

/// What was typed.
#[derive(Debug, Clone, Default)]
pub(super) struct Typed<'a> {
    pub(super) name: &'a str,
    pub(super) format: &'a str,
    /// A URL, or a mail address.
    pub(super) to: &'a str,
    pub(super) alerts: Vec<&'a str>,
}

impl Fields {
    /// The fields that were typed, or everything that is wrong with them. `mail`: the server can
    /// send mail; `known`: the target as it is.
    pub(super) fn read(
        typed: &Typed<'_>,
        mail: bool,
        is_server: bool,
        known: Option<&str>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let name = typed.name.trim();
        if name.is_empty() {
            faults.push(Fault::new("name", "Say who is told, for people."));
        } else if name.chars().count() > NAME_CHARS_MAX {
            let words = format!("The name may have at most {NAME_CHARS_MAX} characters.");
            faults.push(Fault::new("name", words));
        }
        let format = Format::of(typed.format);
        match format {
            None => faults.push(Fault::new("format", "Choose mail, chat or json.")),
            Some(Format::Mail) if !mail => {
                let words = "This server sends no mail yet: whoever runs it has to set smtp_url.";
                faults.push(Fault::new("format", words));
            }
            Some(_) => {}
        }
        let target = target(typed.to.trim(), format.unwrap_or_default(), known);
        let target_url = target.map_err(|words| faults.push(Fault::new("to", words)));
        let alerts = alerts(&typed.alerts, is_server);
        let alerts = alerts.map_err(|words| faults.push(Fault::new("alerts", words)));
        match (target_url, alerts) {
            (Ok(target_url), Ok(alerts)) if faults.is_empty() => Ok(Self {
                target_url,
                settings: Settings {
                    name: name.to_owned(),
                    format: format.unwrap_or_default(),
                    alerts,
                },
            }),
            _ => Err(faults),
        }
    }
}

fn target(to: &str, format: Format, known: Option<&str>) -> Result<String, String> {
    if to.is_empty() {
        return Err(match format {
            Format::Mail => "Write a mail address.".to_owned(),
            Format::Json | Format::Chat => "Write a URL.".to_owned(),
        });
    }
    if format == Format::Mail {
        let address = to.strip_prefix("mailto:").unwrap_or(to);
        let address: MailAddress = address.parse().map_err(|words| format!("{words}"))?;
        return Ok(address.url());
    }
    if to.chars().count() > TARGET_URL_CHARS_MAX {
        return Err(format!(
            "The URL may have at most {TARGET_URL_CHARS_MAX} characters."
        ));
    }
    if has_masked_credentials(to) {
        return Err(MASKED.to_owned());
    }
    let to = url_marks::filled(to, known).ok_or_else(|| PART_MASKED.to_owned())?;
    let is_blank = |letter: char| letter.is_whitespace() || letter.is_control();
    if to.chars().any(is_blank) {
        return Err("The URL may not have spaces or control characters.".to_owned());
    }
    url_marks::check(&to).map_err(|error| format!("Marks of secret parts: {error}."))?;
    if url_marks::unmarked(&to).contains('#') {
        return Err("The URL may not have a fragment (#).".to_owned());
    }
    match Target::parse(&to) {
        Ok(_) => Ok(to),
        Err(error) => Err(format!(
            "Write a URL such as https://example.org/alerts: {error}."
        )),
    }
}

fn alerts(chosen: &[&str], is_server: bool) -> Result<BTreeSet<String>, String> {
    let offered: Vec<&str> = offered(is_server).map(AlertKind::as_str).collect();
    if let Some(strange) = chosen.iter().find(|own| !offered.contains(*own)) {
        return Err(format!(
            "There is no alert \"{strange}\" here; there are {}.",
            offered.join(", ")
        ));
    }
    match chosen.is_empty() {
        true => Err("Choose at least one.".to_owned()),
        false => Ok(chosen.iter().map(|own| (*own).to_owned()).collect()),
    }
}

/// The kinds of alert that an audience may choose.
pub(super) fn offered(is_server: bool) -> impl Iterator<Item = AlertKind> {
    let all = AlertKind::ALL.into_iter();
    all.filter(move |kind| is_server || kind.is_of_webhook())
}

impl Settings {
    /// The settings of a webhook. Missing or damaged ones count as never given, so that the webhook
    /// can still be shown and repaired.
    pub(super) fn of(webhook: &Webhook) -> Self {
        serde_json::from_str(&webhook.settings).unwrap_or_else(|error| {
            damaged::tell(webhook, "alerts", &error);
            Self::default()
        })
    }

    /// The subscriptions of the webhook, as the store keeps them: action types, in its format.
    pub(super) fn filter(&self) -> Filter {
        let format = self.format.as_str().to_owned();
        Filter::all_of(self.alerts.iter().cloned(), Some([format]))
    }
}

/// What a webhook is told of, in the order of the form.
pub(super) fn kinds(webhook: &Webhook) -> Vec<AlertKind> {
    let settings = Settings::of(webhook);
    let kinds = AlertKind::ALL.into_iter();
    kinds
        .filter(|kind| settings.alerts.contains(kind.as_str()))
        .collect()
}

/// The settings as they are stored.
pub(super) fn written(settings: &Settings) -> Result<String, Refusal> {
    serde_json::to_string(settings).map_err(|_| Refusal::Internal)
}
