//! The faults of invalid values, in pretix's words.

use model::refusal::Fault;

use super::json::{JsonText, JsonValue};
use super::python;

pub(super) const REQUIRED: &str = "This field is required.";
pub(super) const NOT_NULL: &str = "This field may not be null.";
pub(super) const NOT_BLANK: &str = "This field may not be blank.";
pub(super) const NO_NUL: &str = "Null characters are not allowed.";
pub(super) const NO_TEXT: &str = "Not a valid string.";
pub(super) const NO_INTEGER: &str = "A valid integer is required.";
/// Followed by how many there may be.
pub(super) const TOO_MANY: &str = "Ensure this field has no more than ";
/// The name under which faults of the whole are reported.
pub(super) const WHOLE: &str = "non_field_errors";

/// What is wrong with any text: its length, and characters that no text may have.
pub(super) fn judge_text(text: &JsonText<'_>, chars_max: usize, reasons: &mut Vec<String>) {
    let whole = text.as_str().map(str::as_bytes);
    if whole.is_some_and(|bytes| bytes.len() <= chars_max && !bytes.contains(&0)) {
        return;
    }
    if text.code_points().count() > chars_max {
        reasons.push(format!(
            "Ensure this field has no more than {chars_max} characters."
        ));
    }
    if text.code_points().any(|point| point == 0) {
        reasons.push(NO_NUL.to_owned());
    }
    if let Some(torn) = text
        .code_points()
        .find(|point| char::from_u32(*point).is_none())
    {
        reasons.push(format!(
            "Surrogate characters are not allowed: U+{torn:04X}."
        ));
    }
}

/// The text, with U+FFFD for what cannot stand in one.
pub(super) fn whole(text: &JsonText<'_>) -> String {
    let character = |point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
    text.code_points().map(character).collect()
}

/// What is said of a value that should have been an object.
pub(super) fn no_dictionary(value: &JsonValue<'_>) -> Fault {
    let name = python::type_name(value);
    let reason = if *value == JsonValue::Null {
        "No data provided".to_owned()
    } else {
        format!("Invalid data. Expected a dictionary, but got {name}.")
    };
    Fault::new(WHOLE, reason)
}
