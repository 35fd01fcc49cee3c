//! Values against schemas of the document: as much of JSON Schema as the document uses, and one
//! thing more: an object whose schema does not speak of other keys has no others.

use model::time::Timestamp;
use serde_json::Value;

/// What says nothing about a value.
const NOTES: [&str; 4] = ["description", "examples", "default", "minimum"];

/// All that is wrong with a value.
pub(super) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    judge(document, schema, value, "", &mut faults);
    faults
}

/// What a reference leads to, or the value itself.
pub(super) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(name) => {
            let pointer = name.strip_prefix('#').expect("a place in this document");
            let found = document.pointer(pointer);
            found.unwrap_or_else(|| panic!("{name} leads nowhere"))
        }
        None => value,
    }
}

fn judge(document: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let schema = resolved(document, schema).as_object().expect("a schema");
    for (keyword, said) in schema {
        let fault = match keyword.as_str() {
            "type" => !is_of(said, value),
            "enum" => !said.as_array().unwrap().contains(value),
            "oneOf" => {
                let all = said.as_array().unwrap().iter();
                let fitting = |one: &&Value| self::faults(document, one, value).is_empty();
                let count = all.clone().filter(fitting).count();
                if count != 1 {
                    let why: Vec<_> = all.map(|one| self::faults(document, one, value)).collect();
                    faults.push(format!("{at}: {count} of its forms fit {value}: {why:?}"));
                }
                false
            }
            "format" => said == "date-time" && !is_time(value),
            "maximum" => value.as_f64() > said.as_f64() && value.is_number(),
            "maxLength" => value
                .as_str()
                .is_some_and(|text| over(text.chars().count(), said)),
            "minLength" => value.as_str() == Some(""),
            "maxItems" => value
                .as_array()
                .is_some_and(|items| over(items.len(), said)),
            "minItems" => value
                .as_array()
                .is_some_and(|items| !over(items.len() + 1, said)),
            "required" => {
                let names = said.as_array().unwrap().iter();
                let missing = |name: &&Value| value.get(name.as_str().unwrap()).is_none();
                value.is_object() && names.clone().any(|name| missing(&name))
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    judge(document, said, item, &format!("{at}/{index}"), faults);
                }
                false
            }
            "properties" | "additionalProperties" => false,
            note => {
                assert!(NOTES.contains(&note), "{note} is not judged");
                false
            }
        };
        if fault {
            faults.push(format!("{at}: {keyword} {said} does not hold for {value}"));
        }
    }
    let properties = schema.get("properties");
    for (key, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        let own = properties.and_then(|properties| properties.get(key));
        match own.or_else(|| schema.get("additionalProperties")) {
            Some(Value::Bool(true)) => {}
            None | Some(Value::Bool(false)) if is_silent(schema) => {}
            None | Some(Value::Bool(false)) => faults.push(format!("{at}: not in the document")),
            Some(said) => judge(document, said, inner, &at, faults),
        }
    }
}

/// A schema that leaves open what an object is, or leaves it to its forms.
fn is_silent(schema: &serde_json::Map<String, Value>) -> bool {
    !schema.contains_key("type")
}

fn over(count: usize, most: &Value) -> bool {
    u64::try_from(count).unwrap() > most.as_u64().unwrap()
}

fn is_time(value: &Value) -> bool {
    value
        .as_str()
        .is_none_or(|text| text.parse::<Timestamp>().is_ok())
}

fn is_of(kind: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str().expect("a name") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    };
    match kind.as_array() {
        Some(kinds) => kinds.iter().any(is),
        None => is(kind),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_the_document_does_not_have_is_a_fault_and_so_is_one_that_lacks() {
        let document = json!({ "components": { "schemas": { "A": {
            "type": "object", "required": ["a"],
            "properties": { "a": { "type": ["integer", "null"] } },
        } } } });
        let schema = json!({ "type": "array", "items": { "$ref": "#/components/schemas/A" } });
        let faults = |value| faults(&document, &schema, &value);
        assert_eq!(faults(json!([{ "a": 1 }, { "a": null }])), [""; 0]);
        assert_eq!(
            faults(json!([{ "a": 1, "b": 2 }])),
            ["/0/b: not in the document"]
        );
        assert_eq!(faults(json!([{}])).len(), 1);
        assert_eq!(faults(json!([{ "a": "1" }])).len(), 1);
        assert_eq!(faults(json!({ "a": 1 })).len(), 2);
    }

    #[test]
    fn one_form_fits_and_no_other() {
        let schema = json!({ "oneOf": [{ "type": "string" }, { "type": ["null", "string"] }] });
        assert_eq!(faults(&json!({}), &schema, &json!(null)), [""; 0]);
        assert_eq!(faults(&json!({}), &schema, &json!("x")).len(), 1);
        assert_eq!(faults(&json!({}), &schema, &json!(1)).len(), 1);
    }
}
