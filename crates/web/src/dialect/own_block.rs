//! What resources of our own beside a dialect's have in common: fields of a request in JSON, each
//! judged, secrets that are sealed, and answers that no cache keeps.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use model::id::WebhookId;
use model::refusal::{Fault, Refusal};
use model::signing::{Keyring, Secret, SecretOf};
use serde_json::{Map, Value};

use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::rng::SharedRng;
use crate::transport::query::Query;

/// The fields of a request, and what is wrong with them.
pub(crate) struct Fields {
    pub(crate) given: Map<String, Value>,
    pub(crate) faults: Vec<Fault>,
}

impl Fields {
    /// An empty body has no fields.
    pub(crate) fn read(body: &[u8], known: &[&str]) -> Result<Self, Refusal> {
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

    /// The fields of a form. One that is empty was not given.
    pub(crate) fn of_form(form: &Query, known: &[&str]) -> Self {
        let given = known.iter().filter_map(|name| {
            let text = form.get(name)?;
            let value = Value::String(text.to_owned());
            (!text.is_empty()).then(|| ((*name).to_owned(), value))
        });
        Self {
            given: given.collect(),
            faults: Vec::new(),
        }
    }

    /// The same with a box that may be checked.
    pub(crate) fn with_switch(mut self, field: &str, on: bool) -> Self {
        self.given.insert(field.to_owned(), Value::Bool(on));
        self
    }

    /// Makes `2026-12-24T18:00`, as browsers write it, a time in UTC.
    pub(crate) fn complete_time(&mut self, field: &str) {
        if let Some(Value::String(text)) = self.given.get_mut(field)
            && text.len() == "2026-12-24T18:00".len()
        {
            text.push_str(":00Z");
        }
    }

    pub(crate) fn fault<T>(&mut self, field: &str, words: impl Into<String>) -> Option<T> {
        self.faults.push(Fault::new(field, words));
        None
    }

    pub(crate) fn text(&mut self, field: &str) -> Option<String> {
        match self.given.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => self.fault(field, "It has to be a text."),
        }
    }

    /// What was read, unless there are faults.
    pub(crate) fn done<T>(self, read: Option<T>) -> Result<T, Refusal> {
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            Some(_) | None => Err(Refusal::Invalid(self.faults)),
        }
    }
}

/// Refuses an idempotency key, because of this.
pub(crate) fn refuse_key(request: &AdmittedRequest, because: &str) -> Result<(), Refusal> {
    match request.key {
        None => Ok(()),
        Some(_) => Err(Refusal::bad_request(format!(
            "X-Idempotency-Key is not taken here: {because}."
        ))),
    }
}

/// Seals a secret of this webhook.
pub(crate) fn sealed<'a>(
    keyring: &Keyring,
    rng: &SharedRng,
    webhook: WebhookId,
    of: impl Into<SecretOf<'a>>,
    secret: &Secret,
) -> Result<Bytes, Refusal> {
    let sealed = rng.with(|rng| keyring.seal(rng, webhook, of, secret));
    sealed.map_err(|error| {
        Refusal::Contradiction(format!("A secret cannot be kept by this server: {error}."))
    })
}

pub(crate) fn answer(status: StatusCode, value: &Value) -> ApiResponse {
    let mut answer = ApiResponse::new(Bytes::from(value.to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let form = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, form);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(crate) fn no_content() -> ApiResponse {
    let mut answer = ApiResponse::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}
