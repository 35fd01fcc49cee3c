//! What this dialect brings to the dashboard: the form of a webhook that is told of incidents, its
//! facts, and samples.

use std::sync::Arc;

use model::dashboard::{BoundedCount, WebhookSnapshot};
use model::filter::MatchKey;
use model::id::WebhookId;
use model::incident::AlertKind;
use model::mail::MailAddress;
use model::notification::NewNotification;
use model::refusal::{Fault, Refusal};
use model::target::masked;
use model::tenant::{DialectName, Tenant};
use model::webhook::{Headers, NewWebhook, Webhook};

use super::context::{Alerts, about};
use super::fields::{Fields, Format, Settings, Typed, kinds, offered, written};
use super::{render, words};
use crate::dialect::alerts::{Alert, AlertWebhook, AlertsAbout};
use crate::dialect::dashboard::{
    DialectDashboard, FormContext, MatchVerdict, NotificationFacts, WebhookFact, WebhookForms,
    WebhookSummary, unmasked,
};
use crate::dialect::form::{
    ChoiceGroup, FieldChoice, FieldControl, FormField, TextField, TextKind, WebhookForm,
};
use crate::transport::query::Query;

pub(super) fn dashboard(alerts: &Arc<Alerts>) -> DialectDashboard {
    let forms = Arc::clone(alerts);
    DialectDashboard {
        platform: "Willcall",
        tenant_word: "Alerts",
        describe: Box::new(describe),
        deletes: true,
        forms,
    }
}

fn describe(webhook: &Webhook) -> WebhookSummary {
    let kinds = kinds(webhook);
    let named = kinds.iter().map(|kind| words::kind(*kind).0);
    WebhookSummary {
        name: Some(Settings::of(webhook).name),
        wants: named.collect::<Vec<_>>().join(", "),
    }
}

impl WebhookForms for Alerts {
    fn form(
        &self,
        context: &FormContext<'_>,
        webhook: Option<&Webhook>,
    ) -> Result<WebhookForm, Refusal> {
        let is_server = is_server(context.tenant);
        let (to, settings) = match webhook {
            Some(webhook) => (shown_target(&webhook.target_url), Settings::of(webhook)),
            None => (String::new(), self.proposed(is_server)),
        };
        Ok(self.shape(&to, &settings, is_server))
    }

    fn create(&self, context: &FormContext<'_>, typed: &Query) -> Result<NewWebhook, Refusal> {
        let fields = self.judged(context.tenant, typed, None)?;
        Ok(NewWebhook {
            tenant: context.tenant.id,
            key: None,
            target_url: fields.target_url,
            disabled: None,
            filter: fields.settings.filter(),
            settings: written(&fields.settings)?,
            headers: Headers::default(),
            retries_max: None,
        })
    }

    fn change(
        &self,
        context: &FormContext<'_>,
        old: &Webhook,
        typed: &Query,
    ) -> Result<Webhook, Refusal> {
        let fields = self.judged(context.tenant, typed, Some(old))?;
        Ok(Webhook {
            target_url: fields.target_url,
            filter: fields.settings.filter(),
            settings: written(&fields.settings)?,
            ..old.clone()
        })
    }

    fn facts(&self, webhook: &Webhook, _: bool) -> Vec<WebhookFact> {
        let settings = Settings::of(webhook);
        let told = kinds(webhook)
            .into_iter()
            .map(|kind| words::kind(kind).0.to_owned());
        vec![
            WebhookFact {
                label: "Told that",
                values: told.collect(),
                code: false,
                help: "At most one of each kind in five minutes; what happens meanwhile comes \
                       together with the next.",
            },
            WebhookFact::new("Form", form_words(settings.format)),
        ]
    }

    fn doubt(&self, webhook: &Webhook) -> Option<String> {
        let is_mail = Settings::of(webhook).format == Format::Mail;
        (is_mail && !self.mail)
            .then(|| "This server sends no mail: whoever runs it has to set smtp_url.".to_owned())
    }

    fn action_types(&self) -> Vec<(String, String)> {
        let all = AlertKind::ALL.into_iter();
        all.map(|kind| (kind.as_str().to_owned(), words::kind(kind).0.to_owned()))
            .collect()
    }

    fn unheard(&self, _: &str) -> Option<String> {
        None
    }

    fn samples(&self, webhook: &Webhook) -> Vec<FieldChoice> {
        let choice = |kind: AlertKind| FieldChoice {
            value: kind.as_str().to_owned(),
            label: words::kind(kind).0.to_owned(),
            code: kind.as_str().to_owned(),
            ..FieldChoice::default()
        };
        kinds(webhook).into_iter().map(choice).collect()
    }

    fn sample(
        &self,
        context: &FormContext<'_>,
        webhook: &Webhook,
        kind: &str,
    ) -> Result<Option<NewNotification>, Refusal> {
        let Some(kind) = kinds(webhook).into_iter().find(|own| own.as_str() == kind) else {
            return Ok(None);
        };
        let alert = sample(context, kind);
        let key = format!(
            "test-{}-{}",
            context.now.as_millis(),
            context.rng.below(1 << 32)
        );
        let format = Settings::of(webhook).format;
        Ok(Some(NewNotification {
            only_webhook: Some(webhook.id),
            ..render::notification(&alert, context.tenant, format, &key)
        }))
    }

    fn explain(&self, happened: &NotificationFacts<'_>, then: &WebhookSnapshot) -> MatchVerdict {
        let format = happened.about.unwrap_or_default();
        let wanted = then.filter.matches(&[MatchKey {
            topic: happened.action_type.to_owned(),
            scope: format.to_owned(),
        }]);
        let settings: Settings = serde_json::from_str(&then.settings).unwrap_or_default();
        let rule = match wanted {
            true => format!("It is told of {}.", happened.action_type),
            false if settings.format.as_str() != format => format!(
                "Other form: it gets {}, and this one is {format}.",
                settings.format.as_str()
            ),
            false => format!("Other alert: it is not told of {}.", happened.action_type),
        };
        MatchVerdict::new(wanted, rule)
    }
}

impl Alerts {
    fn proposed(&self, is_server: bool) -> Settings {
        Settings {
            name: String::new(),
            format: match self.mail {
                true => Format::Mail,
                false => Format::Chat,
            },
            alerts: offered(is_server)
                .map(|kind| kind.as_str().to_owned())
                .collect(),
        }
    }

    fn judged(
        &self,
        tenant: &Tenant,
        typed: &Query,
        old: Option<&Webhook>,
    ) -> Result<Fields, Refusal> {
        let text = |name: &str| typed.get(name).unwrap_or_default();
        let known = old.map(|old| old.target_url.as_str());
        let to = match unmasked(text("to").trim(), known) {
            Ok(to) => to,
            Err(words) => return Err(Refusal::Invalid(vec![Fault::new("to", words)])),
        };
        let given = Typed {
            name: text("name"),
            format: text("format"),
            to: &to,
            alerts: typed.all("alerts").collect(),
        };
        let fields = Fields::read(&given, self.mail, is_server(tenant), known);
        fields.map_err(Refusal::Invalid)
    }

    /// The form that shows these fields.
    fn shape(&self, to: &str, settings: &Settings, is_server: bool) -> WebhookForm {
        let line = |value: &str, kind| {
            FieldControl::Text(TextField {
                value: value.to_owned(),
                kind,
                required: true,
            })
        };
        let format = |format: Format| FieldChoice {
            value: format.as_str().to_owned(),
            label: form_words(format).to_owned(),
            code: String::new(),
            help: match format {
                Format::Mail if !self.mail => {
                    "This server sends no mail yet: whoever runs it has to set smtp_url.".to_owned()
                }
                Format::Mail => String::new(),
                Format::Chat => "An incoming webhook of Slack, Mattermost, Rocket.Chat, Zulip or \
                                 Google Chat; of Discord with /slack at its end."
                    .to_owned(),
                Format::Json => {
                    "An object with everything there is to know. It can be signed.".to_owned()
                }
            },
            chosen: settings.format == format,
        };
        let kind = |kind: AlertKind| FieldChoice {
            value: kind.as_str().to_owned(),
            label: words::kind(kind).0.to_owned(),
            code: kind.as_str().to_owned(),
            help: words::kind(kind).1.to_owned(),
            chosen: settings.alerts.contains(kind.as_str()),
        };
        let (webhooks, server): (Vec<AlertKind>, Vec<AlertKind>) =
            offered(is_server).partition(|kind| kind.is_of_webhook());
        let groups = [("Webhooks", webhooks), ("The server", server)];
        let groups = groups.into_iter().filter(|(_, kinds)| !kinds.is_empty());
        let groups = groups.map(|(label, kinds)| ChoiceGroup {
            label: label.to_owned(),
            choices: kinds.into_iter().map(kind).collect(),
        });
        WebhookForm {
            fields: vec![
                FormField::new("name", "Name", line(&settings.name, TextKind::Line))
                    .with_help("Who is told, for people."),
                FormField::new(
                    "format",
                    "Form",
                    FieldControl::Radio(Format::ALL.into_iter().map(format).collect()),
                ),
                FormField::new("to", "Mail address or URL", line(to, TextKind::Url)).with_help(
                    "For a mail an address such as ops@example.org, else a URL. To hide a token in \
                     a URL, name the number of its path segment at the end: \
                     https://example.org/hooks/token#secret:/2",
                ),
                FormField::new(
                    "alerts",
                    "Told that",
                    FieldControl::Checks(groups.collect()),
                ),
            ],
        }
    }
}

fn is_server(tenant: &Tenant) -> bool {
    about(&tenant.key).is_none_or(|about| about == AlertsAbout::Server)
}

/// A mail address as it was typed, and a URL without its secrets.
fn shown_target(target_url: &str) -> String {
    match MailAddress::of_target(target_url) {
        Some(Ok(address)) => address.to_string(),
        Some(Err(_)) | None => masked(target_url),
    }
}

fn form_words(format: Format) -> &'static str {
    match format {
        Format::Mail => "Mail",
        Format::Chat => "Chat message",
        Format::Json => "JSON, for programs",
    }
}

/// An alert that says that it is a test.
fn sample(context: &FormContext<'_>, kind: AlertKind) -> Alert {
    const HOUR: i64 = 3_600_000;
    let page = "https://willcall.example.org/failing".to_owned();
    let tenant = Tenant {
        dialect: DialectName::new("example"),
        key: "democon".to_owned(),
        name: "Demo Con".to_owned(),
        ..context.tenant.clone()
    };
    let webhook = AlertWebhook {
        id: WebhookId(1),
        name: "Sample, this is a test".to_owned(),
        target_url: "https://example.org/hook".to_owned(),
        since: context.now.plus_ms(-HOUR),
        waiting: BoundedCount {
            count: 138,
            more: false,
        },
        oldest_waiting_at: Some(context.now.plus_ms(-HOUR)),
        gives_up_at: Some(context.now.plus_ms(HOUR)),
        last: Some("Answered 503, failed: only 200 to 299 count as received.".to_owned()),
        said: Some("temporarily unavailable".to_owned()),
        page: "https://willcall.example.org/t/1/webhooks/1".to_owned(),
        tenant,
    };
    let is_of_webhook = kind.is_of_webhook();
    Alert {
        kind,
        at: context.now,
        tenant: is_of_webhook.then(|| webhook.tenant.name.clone()),
        server: None,
        webhooks: if is_of_webhook {
            vec![webhook]
        } else {
            Vec::new()
        },
        more: 0,
        words: (!is_of_webhook).then(|| "This is a test.".to_owned()),
        page,
    }
}
