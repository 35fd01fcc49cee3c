//! The OpenAPI document, joined from parts: what belongs to no API, what dialects share, and the
//! part that each API brings from its folder. A part says what is its own; what all of its
//! operations have in common (refusals, parameters of the path, the idempotency key) is added here.
//! It names no dialect. `tests/openapi.rs` holds it against the routes and their answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::gateway::api::Api;

type Object = Map<String, Value>;

const BASE: &str = include_str!("base.json");
const SHARED: &str = include_str!("../dialect/openapi.json");

/// A path that stands for one of the shared resources has its name under this key.
const OWN: &str = "own";

/// Says of an operation that it takes no idempotency key.
const KEY_MARK: &str = "x-idempotency-key";

/// What dialects share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shared {
    components: Components,
    own: BTreeMap<String, Object>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Components {
    schemas: Object,
}

/// The part of one API.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    /// What the names of its refusals begin with.
    name: String,
    /// What the names of operations of shared resources begin with.
    own_prefix: String,
    error_schema: String,
    tag: Object,
    security: Value,
    /// What every operation takes.
    parameters: Vec<Value>,
    /// The schema of each segment in braces.
    path_parameters: BTreeMap<String, Value>,
    errors: Errors,
    paths: BTreeMap<String, Object>,
    components: Components,
}

/// Refusals by their status.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Errors {
    always: BTreeMap<String, String>,
    /// Of methods that change something.
    changes: BTreeMap<String, String>,
    /// Of operations that read a body.
    body: BTreeMap<String, String>,
}

pub(crate) fn document(apis: &[Arc<Api>]) -> Value {
    let mut document: Object = read(BASE);
    let shared: Shared = read(SHARED);
    let version = Value::from(env!("CARGO_PKG_VERSION"));
    within(&mut document, "info").insert("version".to_owned(), version);
    add(&mut document, "schemas", shared.components.schemas);
    for api in apis {
        join(&mut document, read(api.openapi), &shared.own);
    }
    Value::Object(document)
}

/// Our own text, which tests have read.
fn read<T: for<'a> Deserialize<'a>>(text: &str) -> T {
    match serde_json::from_str(text) {
        Ok(part) => part,
        Err(error) => unreachable!("a part of the OpenAPI document is wrong: {error}"),
    }
}

fn join(document: &mut Object, part: Part, shared: &BTreeMap<String, Object>) {
    if let Some(Value::Array(tags)) = document.get_mut("tags") {
        tags.push(Value::Object(part.tag.clone()));
    }
    let mut responses = Object::new();
    let errors = &part.errors;
    for (status, words) in [&errors.always, &errors.changes, &errors.body]
        .into_iter()
        .flatten()
    {
        responses.insert(part.response(status), part.refusal(status, words));
    }
    let mut paths = Object::new();
    for (path, given) in &part.paths {
        let item = part.item(path, given, shared);
        paths.insert(path.clone(), Value::Object(item));
    }
    add(document, "responses", responses);
    add(document, "schemas", part.components.schemas);
    let all = within(document, "paths");
    for (path, item) in paths {
        let before = all.insert(path, item);
        assert!(before.is_none(), "a path has one part");
    }
}

impl Part {
    fn response(&self, status: &str) -> String {
        format!("{}Refusal{status}", self.name)
    }

    fn refusal(&self, status: &str, words: &str) -> Value {
        let schema = format!("#/components/schemas/{}", self.error_schema);
        let mut refusal = json!({
            "description": words,
            "content": { "application/json": { "schema": { "$ref": schema } } },
        });
        if let (Some(refusal), "409" | "503") = (refusal.as_object_mut(), status) {
            let header = json!({ "$ref": "#/components/headers/RetryAfter" });
            within(refusal, "headers").insert("Retry-After".to_owned(), header);
        }
        refusal
    }

    /// What can be asked for at a path.
    fn item(&self, path: &str, given: &Object, shared: &BTreeMap<String, Object>) -> Object {
        let own = given.get(OWN).and_then(Value::as_str);
        let (given, prefix) = match own.map(|name| shared.get(name)) {
            Some(Some(own)) => (own, self.own_prefix.as_str()),
            Some(None) => unreachable!("{path} names no shared resource"),
            None => (given, ""),
        };
        let mut item = Object::new();
        let named = path.split('/').filter_map(|segment| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            let schema = self.path_parameters.get(name);
            Some(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
        });
        let named: Vec<Value> = named.collect();
        if !named.is_empty() {
            item.insert("parameters".to_owned(), Value::from(named));
        }
        for (method, operation) in given {
            let Value::Object(operation) = operation else {
                unreachable!("{method} of {path} is an object");
            };
            let whole = self.operation(method, operation.clone(), prefix);
            item.insert(method.clone(), Value::Object(whole));
        }
        item
    }

    /// An operation with all that its part says of every one.
    fn operation(&self, method: &str, mut operation: Object, prefix: &str) -> Object {
        let is_change = method != "get";
        let reads_body = operation.contains_key("requestBody");
        let takes_key = is_change && operation.remove(KEY_MARK) != Some(Value::Bool(false));
        if let (Some(name), false) = (operation.get_mut("operationId"), prefix.is_empty()) {
            *name = Value::from(prefixed(prefix, name.as_str().unwrap_or_default()));
        }
        let tag = self.tag.get("name").cloned().unwrap_or_default();
        operation.insert("tags".to_owned(), json!([tag]));
        operation
            .entry("security")
            .or_insert_with(|| self.security.clone());
        let mut parameters = match operation.remove("parameters") {
            Some(Value::Array(own)) => own,
            _ => Vec::new(),
        };
        parameters.extend(self.parameters.iter().cloned());
        if takes_key {
            parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
        }
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), Value::from(parameters));
        }
        let errors = &self.errors;
        let refusals = [
            (true, &errors.always),
            (is_change, &errors.changes),
            (reads_body, &errors.body),
        ];
        let responses = within(&mut operation, "responses");
        let refusals = refusals.into_iter().filter(|(holds, _)| *holds);
        for status in refusals.flat_map(|(_, all)| all.keys()) {
            let name = format!("#/components/responses/{}", self.response(status));
            responses
                .entry(status.as_str())
                .or_insert_with(|| json!({ "$ref": name }));
        }
        operation
    }
}

/// `company` and `showLimits` make `companyShowLimits`.
fn prefixed(prefix: &str, name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let name: String = first.into_iter().chain(letters).collect();
    format!("{prefix}{name}")
}

/// Adds components of this kind. Each has one name in all parts.
fn add(document: &mut Object, kind: &str, more: Object) {
    let all = within(within(document, "components"), kind);
    for (name, value) in more {
        let before = all.insert(name, value);
        assert!(before.is_none(), "a component has one part");
    }
}

/// The object under this key; made if it is not there.
fn within<'a>(object: &'a mut Object, key: &str) -> &'a mut Object {
    let inner = object.entry(key).or_insert_with(|| json!({}));
    match inner.as_object_mut() {
        Some(inner) => inner,
        None => unreachable!("{key} is an object"),
    }
}
