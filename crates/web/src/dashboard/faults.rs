//! The faults of a form: listed at the top with links, and shown at each field.

use model::refusal::Fault;

/// Empty if the form has no faults. The id of a field's input is its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Faults(Vec<(String, String)>);

impl Faults {
    pub(crate) fn one(field: &str, reason: impl Into<String>) -> Self {
        let mut faults = Self::default();
        faults.add(field, reason);
        faults
    }

    pub(crate) fn add(&mut self, field: &str, reason: impl Into<String>) {
        self.0.push((field.to_owned(), reason.into()));
    }

    pub(crate) fn add_fault(&mut self, fault: &Fault) {
        self.add(&fault.field, fault.reasons.join(" "));
    }

    /// The fault of this field, if it has one.
    pub(crate) fn at(&self, field: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| own == field);
        found.map(|(_, reason)| reason.as_str())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Field and reason of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter();
        all.map(|(field, reason)| (field.as_str(), reason.as_str()))
    }
}
