//! The form of a webhook, as a dialect describes it and pages show it: fields with their values,
//! help texts, faults, and concurrent changes by others.
//!
//! It knows no dialect and no markup. No input is lost: not to a fault, not to a change by somebody
//! else.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::refusal::Fault;
use model::tenant::TokenHash;

use crate::transport::query::Query;

/// The most characters of a line that come back with its faults: more than any may have. Input of
/// several lines comes back whole, or saving it again would lose some.
const TYPED_CHARS_MAX: usize = 2_560;

/// The most values not offered that come back with their faults, and characters of each.
const STRANGE_MAX: usize = 20;
const STRANGE_CHARS_MAX: usize = 255;

/// The most characters of a reason, which may repeat the input.
const REASON_CHARS_MAX: usize = 400;

/// The most names of selected values in a sentence.
const NAMED_MAX: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WebhookForm {
    pub(crate) fields: Vec<FormField>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormField {
    /// Its name in the REST resource.
    pub(crate) name: &'static str,
    /// Its label.
    pub(crate) label: &'static str,
    pub(crate) help: String,
    pub(crate) control: FieldControl,
    pub(crate) faults: Vec<String>,
    /// The value that somebody else saved while the form was open.
    pub(crate) meanwhile: Option<String>,
}

/// The input of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldControl {
    Text(TextField),
    Number {
        value: String,
        most: u32,
    },
    Switch {
        on: bool,
    },
    /// One of a few.
    Radio(Vec<FieldChoice>),
    /// Any number of many, in groups; can be searched.
    Checks(Vec<ChoiceGroup>),
    /// A group, and one of its choices.
    Pair {
        first: &'static str,
        second: &'static str,
        groups: Vec<ChoiceGroup>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextField {
    pub(crate) value: String,
    pub(crate) kind: TextKind,
    pub(crate) required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    Line,
    Url,
    /// Several lines.
    Lines,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChoiceGroup {
    pub(crate) label: String,
    pub(crate) choices: Vec<FieldChoice>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FieldChoice {
    pub(crate) value: String,
    pub(crate) label: String,
    /// Its name in programs; may be empty.
    pub(crate) code: String,
    pub(crate) help: String,
    pub(crate) chosen: bool,
}

impl FormField {
    pub(crate) fn new(name: &'static str, label: &'static str, control: FieldControl) -> Self {
        Self {
            name,
            label,
            help: String::new(),
            control,
            faults: Vec::new(),
            meanwhile: None,
        }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// A hash of the value, so that a form can tell later whether it has changed.
    pub(crate) fn mark(&self) -> String {
        let state = self.state();
        let parts = [self.name.as_bytes(), state.as_bytes()];
        let TokenHash(hash) = TokenHash::of_parts(&parts);
        let short = hash.first_chunk::<9>().copied().unwrap_or_default();
        format!("{}:{}", self.name, BASE64_URL_SAFE_NO_PAD.encode(short))
    }

    /// The value as one text, to be compared.
    fn state(&self) -> String {
        match &self.control {
            FieldControl::Text(text) => text.value.clone(),
            FieldControl::Number { value, .. } => value.clone(),
            FieldControl::Switch { on } => on.to_string(),
            FieldControl::Radio(choices) => chosen(choices).map(|c| c.value.as_str()).collect(),
            FieldControl::Checks(groups) | FieldControl::Pair { groups, .. } => {
                let all = groups.iter().flat_map(|group| chosen(&group.choices));
                let all: BTreeSet<&str> = all.map(|choice| choice.value.as_str()).collect();
                all.into_iter().collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// The value for people.
    pub(crate) fn shown(&self) -> String {
        let named = |choices: Vec<&FieldChoice>| {
            let more = choices.len().saturating_sub(NAMED_MAX);
            let names = choices.iter().take(NAMED_MAX);
            let names: Vec<&str> = names.map(|choice| choice.label.as_str()).collect();
            match (names.as_slice(), more) {
                ([], _) => "nothing chosen".to_owned(),
                (names, 0) => names.join(", "),
                (names, more) => format!("{} and {more} more", names.join(", ")),
            }
        };
        match &self.control {
            FieldControl::Text(TextField { value, .. }) | FieldControl::Number { value, .. } => {
                match &**value {
                    "" => "empty".to_owned(),
                    value => value.to_owned(),
                }
            }
            FieldControl::Switch { on: true } => "on".to_owned(),
            FieldControl::Switch { on: false } => "off".to_owned(),
            FieldControl::Radio(choices) => named(chosen(choices).collect()),
            FieldControl::Checks(groups) => {
                named(groups.iter().flat_map(|g| chosen(&g.choices)).collect())
            }
            FieldControl::Pair { groups, .. } => {
                let pair = groups.iter().find_map(|group| {
                    let choice = chosen(&group.choices).next()?;
                    Some(format!("{}, {}", group.label, choice.label))
                });
                pair.unwrap_or_else(|| named(Vec::new()))
            }
        }
    }

    /// Sets the value to the input.
    fn fill(&mut self, typed: &Query) {
        let text = |most| clipped(typed.get(self.name).unwrap_or_default(), most);
        match &mut self.control {
            FieldControl::Text(field) => {
                field.value = text(match field.kind {
                    TextKind::Line | TextKind::Url => TYPED_CHARS_MAX,
                    TextKind::Lines => usize::MAX,
                });
            }
            FieldControl::Number { value, .. } => *value = text(TYPED_CHARS_MAX),
            FieldControl::Switch { on } => *on = typed.get(self.name).is_some(),
            FieldControl::Radio(choices) => {
                let given = typed.get(self.name).unwrap_or_default();
                for choice in choices {
                    choice.chosen = choice.value == given;
                }
            }
            FieldControl::Checks(groups) => {
                let given: BTreeSet<&str> = typed.all(self.name).collect();
                choose(groups, given);
            }
            FieldControl::Pair { groups, .. } => {
                let given = typed.get(self.name).filter(|given| !given.is_empty());
                choose(groups, given.into_iter().collect());
            }
        }
    }
}

fn chosen(choices: &[FieldChoice]) -> impl Iterator<Item = &FieldChoice> {
    choices.iter().filter(|choice| choice.chosen)
}

/// Selects the given values; those not offered stay visible.
fn choose(groups: &mut Vec<ChoiceGroup>, mut given: BTreeSet<&str>) {
    for choice in groups.iter_mut().flat_map(|group| &mut group.choices) {
        choice.chosen = given.contains(choice.value.as_str());
    }
    let offered = groups.iter().flat_map(|group| &group.choices);
    for choice in offered {
        given.remove(choice.value.as_str());
    }
    if given.is_empty() {
        return;
    }
    let strange = given
        .into_iter()
        .take(STRANGE_MAX)
        .map(|value| FieldChoice {
            value: clipped(value, STRANGE_CHARS_MAX),
            label: clipped(value, STRANGE_CHARS_MAX),
            help: "Not known here.".to_owned(),
            chosen: true,
            ..FieldChoice::default()
        });
    groups.push(ChoiceGroup {
        label: "Unknown".to_owned(),
        choices: strange.collect(),
    });
}

fn clipped(text: &str, chars_max: usize) -> String {
    // Forms send line breaks as two characters (HTML, 4.10.21.4).
    let text = text.replace("\r\n", "\n");
    text.chars().take(chars_max).collect()
}

impl WebhookForm {
    /// Sets the values to the input.
    pub(crate) fn fill(&mut self, typed: &Query) {
        for field in &mut self.fields {
            field.fill(typed);
        }
    }

    /// Puts each fault at its field, or at the first if it belongs to none.
    pub(crate) fn blame(&mut self, faults: Vec<Fault>) {
        for fault in faults {
            let at = self.fields.iter().position(|own| own.name == fault.field);
            if let Some(field) = self.fields.get_mut(at.unwrap_or(0)) {
                let reasons = fault.reasons.iter();
                let reasons = reasons.map(|reason| clipped(reason, REASON_CHARS_MAX));
                field.faults.extend(reasons);
            }
        }
    }

    /// Merges the input with what somebody else stored since the form was made. Fields that only
    /// they changed take their value. Fields that both changed keep the input, with their value
    /// beside it. `marks` are those of the form when it was made.
    pub(crate) fn meet(&mut self, stored: &Self, marks: &BTreeSet<&str>) {
        let stored: BTreeMap<&str, &FormField> =
            stored.fields.iter().map(|own| (own.name, own)).collect();
        for typed in &mut self.fields {
            let Some(theirs) = stored.get(typed.name) else {
                continue;
            };
            if marks.contains(theirs.mark().as_str()) || theirs.state() == typed.state() {
                continue;
            }
            let now = theirs.shown();
            if marks.contains(typed.mark().as_str()) {
                typed.control = theirs.control.clone();
                typed.meanwhile = Some(format!("Somebody else changed this to: {now}."));
            } else {
                typed.meanwhile = Some(format!(
                    "Somebody else changed this to: {now}. Saving replaces that by what is here."
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> WebhookForm {
        let text = |value: &str| {
            FieldControl::Text(TextField {
                value: value.to_owned(),
                kind: TextKind::Line,
                required: true,
            })
        };
        let choice = |value: &str| FieldChoice {
            value: value.to_owned(),
            label: value.to_uppercase(),
            ..FieldChoice::default()
        };
        let groups = vec![ChoiceGroup {
            label: "All".to_owned(),
            choices: ["a", "b"].map(choice).to_vec(),
        }];
        WebhookForm {
            fields: vec![
                FormField::new("name", "Name", text("old")),
                FormField::new("comment", "Comment", text("")),
                FormField::new("kinds", "Kinds", FieldControl::Checks(groups)),
                FormField::new("enabled", "Enabled", FieldControl::Switch { on: true }),
            ],
        }
    }

    fn typed(text: &str) -> WebhookForm {
        let mut form = form();
        form.fill(&Query::read(text).unwrap());
        form
    }

    fn value(form: &WebhookForm, at: usize) -> String {
        form.fields[at].shown()
    }

    #[test]
    fn what_was_typed_is_kept_even_if_nobody_offered_it() {
        let form = typed("name=new&kinds=b&kinds=zzz");
        assert_eq!(value(&form, 0), "new");
        assert_eq!(value(&form, 2), "B, zzz");
        assert_eq!(value(&form, 3), "off");
    }

    #[test]
    fn a_fault_stands_at_its_field_and_a_strange_one_at_the_first() {
        let mut form = form();
        form.blame(vec![Fault::new("kinds", "no"), Fault::new("", "all wrong")]);
        assert_eq!(form.fields[2].faults, ["no"]);
        assert_eq!(form.fields[0].faults, ["all wrong"]);
    }

    #[test]
    fn what_others_changed_and_what_was_typed_both_survive() {
        let made = form();
        let marks: Vec<String> = made.fields.iter().map(FormField::mark).collect();
        let marks = marks.iter().map(String::as_str).collect();
        // They renamed it and commented; whoever typed renamed it and chose a kind.
        let stored = typed("name=theirs&comment=hello&enabled=on");
        let mut mine = typed("name=mine&kinds=a&enabled=on");
        mine.meet(&stored, &marks);
        assert_eq!(value(&mine, 0), "mine");
        assert!(
            mine.fields[0]
                .meanwhile
                .as_deref()
                .unwrap()
                .contains("theirs")
        );
        assert_eq!(value(&mine, 1), "hello");
        assert!(mine.fields[1].meanwhile.is_some());
        assert_eq!(value(&mine, 2), "A");
        assert_eq!(mine.fields[2].meanwhile, None);
        assert_eq!(mine.fields[3].meanwhile, None);
    }

    #[test]
    fn what_comes_back_is_bounded() {
        let mut form = typed(&format!("name={}", "x".repeat(100_000)));
        assert_eq!(value(&form, 0).len(), TYPED_CHARS_MAX);
        form.blame(vec![Fault::new("name", "y".repeat(100_000))]);
        assert_eq!(form.fields[0].faults[0].len(), REASON_CHARS_MAX);
        let many: Vec<String> = (0..1_000).map(|n| format!("kinds=k{n}")).collect();
        let form = typed(&many.join("&"));
        let FieldControl::Checks(groups) = &form.fields[2].control else {
            panic!("these are checks");
        };
        assert_eq!(groups[1].choices.len(), STRANGE_MAX);
    }
}
