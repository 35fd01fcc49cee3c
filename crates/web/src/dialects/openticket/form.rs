//! What this dialect brings to the dashboard: the form of a webhook, and its facts in words.
//!
//! Input is judged by `fields.rs`, as that of programs is. Resource and trigger are one field of
//! the form, so that only pairs that can fire are offered; a webhook with another pair keeps it,
//! with a warning.

use std::sync::Arc;

use model::dashboard::WebhookSnapshot;
use model::limits::RETRIES_MAX;
use model::notification::NewNotification;
use model::refusal::Refusal;
use model::target::masked;
use model::webhook::{NewWebhook, Webhook};

use super::context::OpenTicket;
use super::fields::{Fields, Settings};
use super::form_input::{RELATED, given};
use super::stored::{edited, fields_of, new_webhook};
use super::triggers::{TriggerOption, happening, happenings};
use super::{explain, sample, wire};
use crate::dialect::dashboard::{
    DialectDashboard, FormContext, MatchVerdict, NotificationFacts, WebhookFact, WebhookForms,
    WebhookSummary,
};
use crate::dialect::form::{
    ChoiceGroup, FieldChoice, FieldControl, FormField, TextField, TextKind, WebhookForm,
};
use crate::transport::query::Query;

pub(super) fn dashboard(open: &Arc<OpenTicket>) -> DialectDashboard {
    let forms = Arc::clone(open);
    DialectDashboard {
        platform: "OpenTicket",
        tenant_word: "Company",
        describe: Box::new(describe),
        deletes: true,
        forms,
    }
}

fn describe(webhook: &Webhook) -> WebhookSummary {
    let settings = Settings::of(webhook);
    let related = match settings.triggered_by_child_resources {
        true => ", also of related resources",
        false => "",
    };
    let which = match settings.identifier.as_str() {
        "" => String::new(),
        guid => format!(" {guid}"),
    };
    WebhookSummary {
        name: Some(settings.name),
        wants: format!(
            "{} on {}{which}{related}",
            settings.trigger, settings.resource
        ),
    }
}

impl WebhookForms for OpenTicket {
    fn form(&self, _: &FormContext<'_>, webhook: Option<&Webhook>) -> Result<WebhookForm, Refusal> {
        let fields = match webhook {
            Some(webhook) => fields_of(webhook),
            None => Fields::blank(),
        };
        Ok(self.shape(&fields))
    }

    fn create(&self, context: &FormContext<'_>, typed: &Query) -> Result<NewWebhook, Refusal> {
        let given = given(typed, None);
        let fields = Fields::read(&given.fields, None, self.bounds());
        let fields = given.judged(fields)?;
        new_webhook(context.rng, context.tenant.id, fields)
    }

    fn change(
        &self,
        _: &FormContext<'_>,
        old: &Webhook,
        typed: &Query,
    ) -> Result<Webhook, Refusal> {
        let given = given(typed, Some(old));
        let new = match edited(old, &given.fields, self.bounds()) {
            Ok(new) => Ok(new),
            Err(Refusal::Invalid(faults)) => Err(faults),
            Err(refusal) => return Err(refusal),
        };
        given.judged(new)
    }

    fn facts(&self, webhook: &Webhook, trusted: bool) -> Vec<WebhookFact> {
        let settings = Settings::of(webhook);
        let (resource, trigger) = (&settings.resource, &settings.trigger);
        let related = settings.triggered_by_child_resources;
        let offer = self.triggers.offer(resource, trigger);
        let nonce = match trusted {
            true => WebhookFact {
                help: "Comes with every call in the header OpenTicket-Identifier: your receiver \
                       knows us by it. Keep it secret.",
                ..WebhookFact::code("Nonce", wire::nonce(&webhook.headers))
            },
            false => WebhookFact::new("Nonce", "Shown to those who may edit webhooks"),
        };
        let identifier = match settings.identifier.as_str() {
            "" => WebhookFact::new("Identifier", format!("None: every {resource}")),
            guid => WebhookFact::code("Identifier", guid),
        };
        vec![
            WebhookFact {
                help: "",
                ..WebhookFact::new("Called when", fires(resource, &offer, Some(related)))
            },
            WebhookFact::code("Resource", resource.clone()),
            WebhookFact::code("Trigger", trigger.clone()),
            identifier,
            WebhookFact::new(
                "Triggered by child resources",
                if related { "Yes" } else { "No" },
            ),
            WebhookFact::new(
                "Retries",
                webhook.retries_max.unwrap_or_default().to_string(),
            ),
            nonce,
            WebhookFact::code("GUID", webhook.key.clone().unwrap_or_default()),
        ]
    }

    fn doubt(&self, webhook: &Webhook) -> Option<String> {
        fields_of(webhook).doubt(&self.triggers)
    }

    fn action_types(&self) -> Vec<(String, String)> {
        let mut named = Vec::new();
        for (resource, offers) in self.triggers.offered() {
            let direct = offers.into_iter().filter(|offer| offer.direct);
            named.extend(direct.map(|offer| {
                let name = self.triggers.name(resource, offer.trigger);
                (name, happening(resource, offer.trigger))
            }));
        }
        named
    }

    fn unheard(&self, action_type: &str) -> Option<String> {
        let unknown = self.triggers.is_unknown_name(action_type);
        unknown.then(|| {
            format!(
                "\"{action_type}\" is not known to fire, so hardly a webhook asks for it. The \
                 setting \"triggers\" adds it."
            )
        })
    }

    fn samples(&self, webhook: &Webhook) -> Vec<FieldChoice> {
        sample::kinds(self, webhook)
    }

    fn sample(
        &self,
        context: &FormContext<'_>,
        webhook: &Webhook,
        kind: &str,
    ) -> Result<Option<NewNotification>, Refusal> {
        sample::make(self, context, webhook, kind)
    }

    fn explain(&self, happened: &NotificationFacts<'_>, then: &WebhookSnapshot) -> MatchVerdict {
        explain::explain(happened, then)
    }
}

impl OpenTicket {
    /// The form that shows these fields.
    fn shape(&self, fields: &Fields) -> WebhookForm {
        let settings = &fields.settings;
        let line = |value: &str, kind, required| {
            FieldControl::Text(TextField {
                value: value.to_owned(),
                kind,
                required,
            })
        };
        let retries = FieldControl::Number {
            value: fields.retries.to_string(),
            most: RETRIES_MAX,
        };
        let related = FieldControl::Switch {
            on: settings.triggered_by_child_resources,
        };
        let pair = FieldControl::Pair {
            first: "Resource",
            second: "Trigger",
            groups: self.pairs(fields),
        };
        let url = masked(&fields.url);
        WebhookForm {
            fields: vec![
                FormField::new("name", "Name", line(&settings.name, TextKind::Line, true))
                    .with_help("For people: what it is for."),
                FormField::new("url", "Destination URL", line(&url, TextKind::Url, true))
                    .with_help(
                        "Where calls go, such as https://example.com/webhook/receive. A user and a \
                     password in it (https://user:password@…) are sent as Basic credentials and \
                     not shown again. To hide a token in it as well, name its parameter or the \
                     number of its path segment at the end: \
                     https://example.com/hooks/token?key=…#secret:/2,key",
                    ),
                FormField::new("trigger", "Resource and trigger", pair)
                    .with_help("What it is called for. Only what can fire is listed."),
                FormField::new(RELATED, "Triggered by child resources", related).with_help(
                    "Also call it for the same trigger on related resources, as said for each \
                     choice above.",
                ),
                FormField::new(
                    "identifier",
                    "Identifier",
                    line(&settings.identifier, TextKind::Line, false),
                )
                .with_help(
                    "The GUID of one resource of that kind, to be called for nothing else. Empty \
                     for all.",
                ),
                FormField::new("retries", "Retries", retries).with_help(format!(
                    "How often a call that failed is made again, 0 to {RETRIES_MAX}: after a \
                     minute, then after twice as long each time."
                )),
            ],
        }
    }

    /// What can fire, by resource; and what the webhook has, if that is something else.
    fn pairs(&self, fields: &Fields) -> Vec<ChoiceGroup> {
        let settings = &fields.settings;
        let (resource, trigger) = (settings.resource.as_str(), settings.trigger.as_str());
        let mut found = false;
        let mut groups: Vec<ChoiceGroup> = Vec::new();
        for (own, offers) in self.triggers.offered() {
            let choices = offers.iter().map(|offer| {
                let chosen = own == resource && offer.trigger == trigger;
                found |= chosen;
                choice(own, offer.trigger, fires(own, offer, None), chosen)
            });
            groups.push(ChoiceGroup {
                label: own.to_owned(),
                choices: choices.collect(),
            });
        }
        if found || resource.is_empty() {
            return groups;
        }
        let doubt = fields.doubt(&self.triggers).unwrap_or_default();
        let odd = choice(resource, trigger, doubt, true);
        match groups.iter_mut().find(|group| group.label == resource) {
            Some(group) => group.choices.push(odd),
            None => groups.push(ChoiceGroup {
                label: resource.to_owned(),
                choices: vec![odd],
            }),
        }
        groups
    }
}

fn choice(resource: &str, trigger: &str, help: String, chosen: bool) -> FieldChoice {
    FieldChoice {
        value: wire::topic(resource, trigger),
        label: trigger.to_owned(),
        code: String::new(),
        help,
        chosen,
    }
}

/// When a webhook for this is called; `related` is its switch, if that is known.
fn fires(resource: &str, offer: &TriggerOption<'_>, related: Option<bool>) -> String {
    let others = happenings(&offer.sources, offer.trigger);
    let own = happening(resource, offer.trigger);
    match (offer.direct, others.as_str(), related) {
        (true, "", _) | (true, _, Some(false)) => format!("Fires when {own}."),
        (true, others, Some(true)) => format!("Fires when {own}, and also when {others}."),
        (true, others, None) => format!(
            "Fires when {own}. With \u{201c}Triggered by child resources\u{201d} it also fires \
             when {others}."
        ),
        (false, "", _) => format!("Fires when {own}, if an application reports that."),
        (false, others, Some(true)) => format!("Fires when {others}."),
        (false, others, Some(false)) => format!(
            "Fires only when {others}, and only with \u{201c}Triggered by child \
             resources\u{201d}, which is off."
        ),
        (false, others, None) => {
            format!("Fires only with \u{201c}Triggered by child resources\u{201d}: when {others}.")
        }
    }
}
