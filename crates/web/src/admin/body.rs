//! A body as a part of an operator's file: JSON becomes the section that `willcall apply` would
//! read, and the dialect reads it with the same code. So there is one set of rules, and one set of
//! words for what breaks them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use model::contract::StoreError;
use model::declared_secrets::Sealer;
use model::query::{AppliedChange, Declaration};
use model::refusal::{Fault, Refusal};
use model::rng::SeededRng;
use model::tenant::{Tenant, TokenHash};
use serde_json::{Map, Value};

use super::context::{Admin, actor};
use crate::dialect::apply_file::conflict_words;
use crate::dialect::section::{FileError, FileSecrets, GeneratedToken, KnownEvents};
use crate::dialect::value::Dialect;
use crate::gateway::api::AdmittedRequest;
use crate::gateway::store::refused;

/// The key of the list under which webhooks stand in every section.
const WEBHOOK: &str = "webhook";

/// A section, and where in it the body stands.
pub(super) struct Section {
    pub(super) fields: Map<String, Value>,
    /// What errors' fields begin with besides the section's own name: empty, or a list's key.
    pub(super) below: &'static str,
    /// Whether the section says all of the tenant itself, its name included.
    pub(super) is_whole: bool,
}

/// What applying a section came to.
pub(super) struct Applied {
    pub(super) tenant: Tenant,
    pub(super) changes: Vec<AppliedChange>,
    /// Those that were created now.
    pub(super) fresh: Vec<GeneratedToken>,
}

/// The fields of the request. An empty body has none.
pub(super) fn fields(request: &AdmittedRequest) -> Result<Map<String, Value>, Refusal> {
    match request.body.as_ref() {
        [] => Ok(Map::new()),
        body => serde_json::from_slice(body).map_err(|error| {
            Refusal::Unreadable(format!("The body has to be an object in JSON: {error}."))
        }),
    }
}

/// Puts what the path names into the fields. They may name it as well, but nothing else.
pub(super) fn name_as_in_path(
    fields: &mut Map<String, Value>,
    key: &str,
    named: &str,
) -> Result<(), Refusal> {
    match fields.insert(key.to_owned(), Value::from(named)) {
        Some(other) if other != *named => {
            let words = format!("It has to be \"{named}\", as in the path; or leave it out.");
            Err(Refusal::invalid(key, words))
        }
        Some(_) | None => Ok(()),
    }
}

/// Applies a section of this dialect.
pub(super) async fn apply(
    admin: &Admin,
    request: &AdmittedRequest,
    dialect: &Dialect,
    section: Section,
) -> Result<Applied, Refusal> {
    let known = known_events(request, dialect, &section.fields).await?;
    let (mut declarations, made) = declare(admin, request, dialect, &section, &known)?;
    if !section.is_whole {
        for declaration in &mut declarations {
            declaration.name = None;
        }
    }
    let key = declarations.first().map(|declared| declared.key.clone());
    let key = key.ok_or(Refusal::Internal)?;
    let (actor, now) = (actor(request), request.context.clock.now());
    let store = &request.context.store;
    let applied = store.try_ask(|store| store.apply(declarations.clone(), actor.clone(), now));
    let changes = applied.await.map_err(|error| refusal_of(&error))?;
    let name = dialect.name.clone();
    let tenant = request.ask(|store| store.tenant(name.clone(), key.clone()));
    let tenant = tenant.await?.ok_or(Refusal::NoSuchObject)?;
    // Not by the changes: the question may have been repeated after its answer was lost.
    let mut fresh = Vec::new();
    for made in made {
        let hash = TokenHash::of(&made.token);
        if !request.ask(|store| store.grants(hash)).await?.is_empty() {
            fresh.push(made);
        }
    }
    Ok(Applied {
        tenant,
        changes,
        fresh,
    })
}

fn refusal_of(error: &StoreError) -> Refusal {
    if let StoreError::Conflict(conflict) = error {
        return Refusal::Contradiction(format!(
            "Nothing was changed: {}.",
            conflict_words(*conflict)
        ));
    }
    if let StoreError::Secret(error) = error {
        let words = format!("Nothing was changed: a secret cannot be kept or compared: {error}.");
        return Refusal::Contradiction(words);
    }
    refused(error)
}

/// The shows that webhooks of the section may name, besides those that it declares.
async fn known_events(
    request: &AdmittedRequest,
    dialect: &Dialect,
    fields: &Map<String, Value>,
) -> Result<KnownEvents, Refusal> {
    let key = fields.get(dialect.key_field).and_then(Value::as_str);
    let (Some(key), true) = (key, fields.contains_key(WEBHOOK)) else {
        return Ok(KnownEvents::new());
    };
    let name = dialect.name.clone();
    let tenant = request.ask(|store| store.tenant(name.clone(), key.to_owned()));
    let Some(tenant) = tenant.await? else {
        return Ok(KnownEvents::new());
    };
    let events = request.ask(|store| store.events(tenant.id)).await?;
    let slugs: BTreeSet<String> = events.into_iter().map(|event| event.slug).collect();
    Ok([((name, tenant.key), slugs)].into())
}

fn declare(
    admin: &Admin,
    request: &AdmittedRequest,
    dialect: &Dialect,
    section: &Section,
    known: &KnownEvents,
) -> Result<(Vec<Declaration>, Vec<GeneratedToken>), Refusal> {
    let text = text_of(dialect, section).map_err(Refusal::Invalid)?;
    let context = &request.context;
    let seed = context.rng.with(|rng| {
        let mut seed = [0; 32];
        rng.fill(&mut seed);
        seed
    });
    let mut rng = SeededRng::from_seed(seed);
    let keyring = Arc::clone(&context.keyring);
    let sealer = || Sealer::new(keyring, rng.split("secrets"));
    let secrets = FileSecrets {
        read: &|_| Err("cannot be used here: write the secret itself".to_owned()),
        sealer: (!context.keyring.is_empty()).then(sealer),
    };
    let read = admin
        .dialects
        .declare_with(&text, known, &mut rng, &secrets);
    match read {
        Ok(file) => Ok((file.declarations, file.fresh)),
        Err(errors) => {
            let fault = |error: FileError| fault_of(&error, dialect, section);
            Err(Refusal::Invalid(errors.into_iter().map(fault).collect()))
        }
    }
}

/// An error of a file as a fault of the body: its field without what the path says.
fn fault_of(error: &FileError, dialect: &Dialect, section: &Section) -> Fault {
    let below = |field: &str, prefix: &str| match field.strip_prefix(prefix) {
        Some("") => Some(String::new()),
        Some(rest) => rest.strip_prefix('.').map(str::to_owned),
        None => None,
    };
    let own = below(&error.field, dialect.section).unwrap_or_else(|| error.field.clone());
    let own = match section.below {
        "" => own,
        list => below(&own, list).unwrap_or(own),
    };
    Fault::new(&own, error.message.clone())
}

/// The section as a file has it, or what no file can have.
fn text_of(dialect: &Dialect, section: &Section) -> Result<String, Vec<Fault>> {
    let mut writer = TomlWriter::default();
    write!(writer.text, "{} = [", dialect.section).unwrap_or_default();
    writer.table(&section.fields, "");
    writer.text.push(']');
    match writer.faults.is_empty() {
        true => Ok(writer.text),
        false => Err(writer.faults),
    }
}

/// Writes JSON as TOML, on one line.
#[derive(Default)]
struct TomlWriter {
    text: String,
    faults: Vec<Fault>,
}

impl TomlWriter {
    fn table(&mut self, fields: &Map<String, Value>, path: &str) {
        self.text.push('{');
        for (index, (key, value)) in fields.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.string(key);
            self.text.push('=');
            let path = match path {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            self.value(value, &path);
        }
        self.text.push('}');
    }

    fn value(&mut self, value: &Value, path: &str) {
        match value {
            Value::Null => {
                let words = "It is null, which says nothing. Leave it out.";
                self.faults.push(Fault::new(path, words));
            }
            Value::Bool(flag) => self.text.push_str(if *flag { "true" } else { "false" }),
            Value::Number(number) if number.is_u64() && !number.is_i64() => {
                let words = "The number is too large.";
                self.faults.push(Fault::new(path, words));
            }
            Value::Number(number) => self.text.push_str(&number.to_string()),
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.text.push('[');
                for item in items {
                    self.value(item, path);
                    self.text.push(',');
                }
                self.text.push(']');
            }
            Value::Object(fields) => self.table(fields, path),
        }
    }

    /// What JSON escapes, TOML reads; it wants one character more escaped (TOML 1.0, strings).
    fn string(&mut self, text: &str) {
        let quoted = Value::from(text).to_string();
        self.text.push_str(&quoted.replace('\u{7f}', "\\u007f"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use toml::de::{DeTable, DeValue};

    use super::*;

    fn written(fields: &Value) -> String {
        let mut writer = TomlWriter::default();
        writer.table(fields.as_object().unwrap(), "");
        assert_eq!(writer.faults, []);
        format!("x = {}", writer.text)
    }

    /// What TOML reads, as JSON.
    fn read(value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => json!(text),
            DeValue::Integer(number) => number.to_string().parse::<i64>().unwrap().into(),
            DeValue::Float(number) => number.as_str().parse::<f64>().unwrap().into(),
            DeValue::Boolean(flag) => json!(flag),
            DeValue::Datetime(_) => panic!("JSON has none"),
            DeValue::Array(items) => items.iter().map(|item| read(item.get_ref())).collect(),
            DeValue::Table(table) => {
                let pair = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                    let key: &std::borrow::Cow<'_, str> = key.get_ref();
                    (key.to_string(), read(value.get_ref()))
                };
                Value::Object(table.iter().map(pair).collect())
            }
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("JSON has no others", |number| number.is_finite())
                .prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(json!("\u{7f}\u{0}\u{85}\u{2028}\"\\\r\n\t")),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_json_says_toml_reads_the_same(value in json()) {
            let fields = json!({ "a": value });
            let text = written(&fields);
            let table = DeTable::parse(&text).unwrap();
            prop_assert_eq!(read(table.get_ref()["x"].get_ref()), fields);
        }
    }

    #[test]
    fn what_no_file_can_have_is_named() {
        let mut writer = TomlWriter::default();
        let fields = json!({ "a": [{ "b": null }], "c": u64::MAX });
        writer.table(fields.as_object().unwrap(), "");
        let fields: Vec<&str> = writer.faults.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(fields, ["a.b", "c"]);
    }
}
