//! What this dialect brings to the dashboard: the form of a webhook, and its facts in words.
//!
//! `form_input.rs` judges the input, by the rules of `fields.rs`. Nothing that a webhook has is
//! hidden: a show or an action type that is unknown by now is listed, too.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::dashboard::WebhookSnapshot;
use model::notification::NewNotification;
use model::refusal::Refusal;
use model::target::masked;
use model::webhook::{NewWebhook, Webhook};

use super::context::Pretix;
use super::fields::{Fields, Settings};
use super::form_input::{ALL, MORE_EVENTS, SOME, judge};
use super::stored::{edited, fields_of, new_webhook};
use super::{explain, sample};
use crate::dialect::dashboard::{
    DialectDashboard, FormContext, MatchVerdict, NotificationFacts, WebhookFact, WebhookForms,
    WebhookSummary,
};
use crate::dialect::form::{
    ChoiceGroup, FieldChoice, FieldControl, FormField, TextField, TextKind, WebhookForm,
};
use crate::transport::query::Query;

/// The most shows with a checkbox each; the others are typed.
const SHOWS_MAX: usize = 150;

/// The groups of action types, by prefix. The first that matches wins.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Payments and refunds",
        &["pretix.event.order.refund.", "pretix.event.order.payment."],
    ),
    ("Orders", &["pretix.event.order."]),
    ("Check-in", &["pretix.event.checkin"]),
    ("Waiting list", &["pretix.event.orders.waitinglist."]),
    (
        "Products and quotas",
        &["pretix.event.item.", "pretix.event.quota."],
    ),
    (
        "Shows and their shops",
        &["pretix.event.", "pretix.subevent."],
    ),
    ("Vouchers", &["pretix.voucher."]),
    (
        "Customers and gift cards",
        &["pretix.customer.", "pretix.giftcards."],
    ),
    ("More of this server", &[""]),
];

/// The order of the groups: orders first.
const ORDER: [usize; 9] = [1, 0, 2, 3, 4, 5, 6, 7, 8];

pub(super) fn dashboard(pretix: &Arc<Pretix>) -> DialectDashboard {
    let forms = Arc::clone(pretix);
    DialectDashboard {
        platform: "pretix",
        tenant_word: "Organizer",
        describe: Box::new(describe),
        deletes: false,
        forms,
    }
}

fn describe(webhook: &Webhook) -> WebhookSummary {
    let settings = Settings::of(webhook);
    let types = match settings.action_types.as_slice() {
        [] => "no action types".to_owned(),
        [one] => one.clone(),
        several => format!("{} action types", several.len()),
    };
    let events = match (settings.all_events, settings.limit_events.as_slice()) {
        (true, _) => "all events".to_owned(),
        (false, []) => "no event in particular".to_owned(),
        (false, [one]) => format!("event {one}"),
        (false, several) => format!("{} events", several.len()),
    };
    WebhookSummary {
        name: settings.comment.filter(|comment| !comment.is_empty()),
        wants: format!("{types}, {events}"),
    }
}

impl WebhookForms for Pretix {
    fn form(
        &self,
        context: &FormContext<'_>,
        webhook: Option<&Webhook>,
    ) -> Result<WebhookForm, Refusal> {
        let fields = match webhook {
            Some(webhook) => fields_of(webhook),
            None => Fields {
                enabled: true,
                target_url: String::new(),
                settings: Settings {
                    all_events: true,
                    limit_events: Vec::new(),
                    action_types: Vec::new(),
                    comment: None,
                },
            },
        };
        Ok(self.shape(context, &fields))
    }

    fn create(&self, context: &FormContext<'_>, typed: &Query) -> Result<NewWebhook, Refusal> {
        let fields = judge(&self.action_types, context, None, typed)?;
        new_webhook(context.tenant.id, fields, context.now)
    }

    fn change(
        &self,
        context: &FormContext<'_>,
        old: &Webhook,
        typed: &Query,
    ) -> Result<Webhook, Refusal> {
        let fields = judge(&self.action_types, context, Some(&fields_of(old)), typed)?;
        edited(old, fields, context.now)
    }

    fn facts(&self, webhook: &Webhook, _trusted: bool) -> Vec<WebhookFact> {
        let settings = Settings::of(webhook);
        let wanted = &settings.action_types;
        let known = self
            .action_types
            .iter()
            .filter(|kind| wanted.contains(&kind.key));
        let known = known.map(|kind| match kind.label.as_str() {
            "" => kind.key.clone(),
            label => format!("{label} ({})", kind.key),
        });
        let gone = wanted
            .iter()
            .filter(|key| !self.action_types.is_registered(key));
        let types = known.chain(gone.cloned());
        let events = match settings.all_events {
            true => vec!["All, also those to come".to_owned()],
            false => settings.limit_events.clone(),
        };
        let mut facts = vec![
            WebhookFact {
                values: types.collect(),
                ..WebhookFact::new("Action types", "")
            },
            WebhookFact {
                values: events,
                help: if settings.all_events {
                    ""
                } else {
                    "What belongs to no show, such as customers, is sent whatever is chosen."
                },
                ..WebhookFact::new("Shows", "")
            },
        ];
        let comment = settings.comment.filter(|comment| !comment.is_empty());
        facts.extend(comment.map(|comment| WebhookFact::new("Comment", comment)));
        facts.push(WebhookFact::code("Number", webhook.id.to_string()));
        facts
    }

    fn doubt(&self, webhook: &Webhook) -> Option<String> {
        let settings = Settings::of(webhook);
        if settings.action_types.is_empty() {
            let words = "It asks for no action type, so it will not be called. Choose some.";
            return Some(words.to_owned());
        }
        let mut wanted = settings
            .action_types
            .iter()
            .filter_map(|key| self.action_types.get(key));
        let lost = wanted.find(|kind| settings.is_for_no_show() && kind.is_of_show())?;
        let label = match lost.label.as_str() {
            "" => lost.key.as_str(),
            label => label,
        };
        Some(format!(
            "It is limited to shows, but none is chosen: what belongs to a show, such as \u{201c}{label}\u{201d}, \
             is not sent to it. Choose a show, or all shows."
        ))
    }

    fn action_types(&self) -> Vec<(String, String)> {
        let concrete = self
            .action_types
            .iter()
            .filter(|kind| !kind.key.contains('*'));
        let named = concrete.map(|kind| (kind.key.clone(), kind.label.clone()));
        named.collect()
    }

    fn unheard(&self, action_type: &str) -> Option<String> {
        let unknown = self.action_types.of(action_type).is_none();
        unknown.then(|| self.action_types.unknown(action_type))
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
        explain::explain(&self.action_types, happened, then)
    }
}

impl Pretix {
    /// The form with these fields.
    fn shape(&self, context: &FormContext<'_>, fields: &Fields) -> WebhookForm {
        let settings = &fields.settings;
        let url = TextField {
            value: masked(&fields.target_url),
            kind: TextKind::Url,
            required: true,
        };
        let comment = TextField {
            value: settings.comment.clone().unwrap_or_default(),
            kind: TextKind::Lines,
            required: false,
        };
        let which = |value: &str, label: &str, help: &str, chosen| FieldChoice {
            value: value.to_owned(),
            label: label.to_owned(),
            help: help.to_owned(),
            chosen,
            ..FieldChoice::default()
        };
        let scope = vec![
            which(ALL, "All shows", "Those to come, too.", settings.all_events),
            which(
                SOME,
                "Only the shows chosen below",
                "What belongs to no show, such as customers or gift cards, is sent all the same.",
                !settings.all_events,
            ),
        ];
        let (shows, more) = shows(context, settings);
        let mut all = vec![
            FormField::new("target_url", "Target URL", FieldControl::Text(url)).with_help(
                "Where calls go, such as https://example.com/hook. A user and a password in it \
                 (https://user:password@…) are sent as Basic credentials and not shown again. \
                 To hide a token in it as well, name its parameter or the number of its path \
                 segment at the end: https://example.com/hooks/token?key=…#secret:/2,key",
            ),
            FormField::new(
                "enabled",
                "Enabled",
                FieldControl::Switch { on: fields.enabled },
            )
            .with_help("While it is off, nothing is sent, and what happens is not kept for it."),
            FormField::new(
                "action_types",
                "Action types",
                FieldControl::Checks(self.types(settings)),
            )
            .with_help("What it is called for."),
            FormField::new("all_events", "Shows", FieldControl::Radio(scope)),
            FormField::new("limit_events", "Chosen shows", FieldControl::Checks(shows))
                .with_help("They count if \u{201c}Only the shows chosen below\u{201d} is set."),
        ];
        all.extend(more.map(|more| {
            let more = TextField {
                value: more,
                kind: TextKind::Lines,
                required: false,
            };
            FormField::new(MORE_EVENTS, "Further shows", FieldControl::Text(more))
                .with_help("There are too many to list. Type the codes of others, one a line.")
        }));
        all.push(
            FormField::new("comment", "Comment", FieldControl::Text(comment))
                .with_help("For people: what it is for. May be empty."),
        );
        WebhookForm { fields: all }
    }

    fn types(&self, settings: &Settings) -> Vec<ChoiceGroup> {
        let wanted: BTreeSet<&str> = settings.action_types.iter().map(String::as_str).collect();
        let mut groups: Vec<ChoiceGroup> = GROUPS
            .iter()
            .map(|(label, _)| ChoiceGroup {
                label: (*label).to_owned(),
                choices: Vec::new(),
            })
            .collect();
        for kind in self.action_types.iter() {
            let choice = FieldChoice {
                value: kind.key.clone(),
                label: match kind.label.as_str() {
                    "" => kind.key.clone(),
                    label => label.to_owned(),
                },
                code: kind.key.clone(),
                help: kind.help.clone(),
                chosen: wanted.contains(kind.key.as_str()),
            };
            let begins = |(_, starts): &(&str, &[&str])| {
                starts.iter().any(|start| kind.key.starts_with(start))
            };
            let at = GROUPS.iter().position(begins).unwrap_or(0);
            if let Some(group) = groups.get_mut(at) {
                group.choices.push(choice);
            }
        }
        let mut groups: Vec<ChoiceGroup> = ORDER
            .iter()
            .filter_map(|at| groups.get(*at).cloned())
            .filter(|group| !group.choices.is_empty())
            .collect();
        let gone = wanted
            .iter()
            .filter(|key| !self.action_types.is_registered(key));
        let gone: Vec<FieldChoice> = gone
            .map(|key| unknown(key, "Not registered any more."))
            .collect();
        groups.extend((!gone.is_empty()).then(|| ChoiceGroup {
            label: "Not registered any more".to_owned(),
            choices: gone,
        }));
        groups
    }
}

/// The shows to choose from, and those of the webhook that are left over, if not all are listed.
fn shows(context: &FormContext<'_>, settings: &Settings) -> (Vec<ChoiceGroup>, Option<String>) {
    let limit: BTreeSet<&str> = settings.limit_events.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = context.events.iter().map(|own| own.slug.as_str()).collect();
    let mut choices: Vec<FieldChoice> = context
        .events
        .iter()
        .map(|event| FieldChoice {
            value: event.slug.clone(),
            label: match event.name.as_str() {
                "" => event.slug.clone(),
                name => name.to_owned(),
            },
            code: event.slug.clone(),
            help: event.date_from.map_or_else(String::new, |at| {
                at.to_string().split('T').next().unwrap_or_default().into()
            }),
            chosen: limit.contains(event.slug.as_str()),
        })
        .collect();
    let gone = limit.iter().filter(|slug| !known.contains(*slug));
    choices.extend(gone.map(|slug| unknown(slug, "Not known here (any more).")));
    if choices.len() <= SHOWS_MAX {
        let label = String::new();
        return (vec![ChoiceGroup { label, choices }], None);
    }
    // A stable sort: selected ones first, the latest first otherwise.
    choices.reverse();
    choices.sort_by_key(|choice| !choice.chosen);
    let rest = choices.split_off(SHOWS_MAX);
    let rest: Vec<String> = rest
        .into_iter()
        .filter(|choice| choice.chosen)
        .map(|choice| choice.value)
        .collect();
    let label = format!("{SHOWS_MAX} of {}", context.events.len());
    (vec![ChoiceGroup { label, choices }], Some(rest.join("\n")))
}

fn unknown(value: &str, help: &str) -> FieldChoice {
    FieldChoice {
        value: value.to_owned(),
        label: value.to_owned(),
        code: String::new(),
        help: help.to_owned(),
        chosen: true,
    }
}
