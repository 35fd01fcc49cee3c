//! What resources of our own beside a dialect's have in common: fields of a request in JSON, each
//! judged, secrets that are sealed, and answers that no cache keeps.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use model::id::WebhookId;
use model::refusal::{Fault, Refusal};
use model::signing::{Secret, SecretOf};
use serde_json::{Map, Value};

use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::context::Context;

/// The fields of a request, and what is wrong with them.
pub(super) struct Fields {
    pub(super) given: Map<String, Value>,
    pub(super) faults: Vec<Fault>,
}

impl Fields {
    /// An empty body has no fields.
    pub(super) fn read(body: &[u8], known: &[&str]) -> Result<Self, Refusal> {
        let given: Map<String, Value> = match body {
            [] => Map::new(),
            body => serde_json::from_slice(body).map_err(|error| {
                Refusal::Unreadable(format!("The body has to be an object in JSON: {error}."))
            })?,
        };
        let unknown = given.keys().filter(|name| !known.contains(&name.as_str()));
        let words = format!("There is no such field; there are: {}.", known.join(", "));
        let faults = unknown
            .map(|name| Fault::new(name, words.clone()))
            .collect();
        Ok(Self { given, faults })
    }

    pub(super) fn fault<T>(&mut self, field: &str, words: impl Into<String>) -> Option<T> {
        self.faults.push(Fault::new(field, words));
        None
    }

    pub(super) fn text(&mut self, field: &str) -> Option<String> {
        match self.given.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => self.fault(field, "It has to be a text."),
        }
    }

    /// What was read, unless there are faults.
    pub(super) fn done<T>(self, read: Option<T>) -> Result<T, Refusal> {
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            Some(_) | None => Err(Refusal::Invalid(self.faults)),
        }
    }
}

/// Refuses an idempotency key, because of this.
pub(super) fn refuse_key(request: &AdmittedRequest, because: &str) -> Result<(), Refusal> {
    match request.key {
        None => Ok(()),
        Some(_) => Err(Refusal::bad_request(format!(
            "X-Idempotency-Key is not taken here: {because}."
        ))),
    }
}

/// Seals a secret of this webhook.
pub(super) fn sealed<'a>(
    context: &Context,
    webhook: WebhookId,
    of: impl Into<SecretOf<'a>>,
    secret: &Secret,
) -> Result<Bytes, Refusal> {
    let sealing = |rng: &mut _| context.keyring.seal(rng, webhook, of, secret);
    let sealed = context.rng.with(sealing);
    sealed.map_err(|error| {
        Refusal::Contradiction(format!("A secret cannot be kept by this server: {error}."))
    })
}

pub(super) fn answer(status: StatusCode, value: &Value) -> ApiResponse {
    let mut answer = ApiResponse::new(Bytes::from(value.to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let form = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, form);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(super) fn no_content() -> ApiResponse {
    let mut answer = ApiResponse::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}
