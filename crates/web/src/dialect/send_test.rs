//! Sending a test: a sample notification of a kind that the webhook wants, for this webhook only.
//! The same for the dashboard and for every API.

use http::StatusCode;
use model::id::{DeliveryId, WebhookId};
use model::notification::AcceptResult;
use model::refusal::Refusal;
use model::tenant::Tenant;
use model::time::Timestamp;
use model::webhook::Webhook;
use serde_json::{Value, json};

use super::dashboard::{FormContext, WebhookForms};
use super::own_block::{Fields, answer};
use crate::gateway::api::{AdmittedRequest, ApiResponse};
use crate::gateway::store::StoreHandle;
use crate::rng::SharedRng;

/// How often a sample gets another id because its own was taken.
const ID_TRIES: usize = 5;

/// `Retry-After` in seconds if every id was taken.
const NO_ID_AFTER_S: u32 = 1;

const DISABLED: &str = "The webhook is disabled, so nothing can be sent. Enable it first.";

/// Who sends a test, and with what.
pub(crate) struct TestSender<'a> {
    pub(crate) store: &'a StoreHandle,
    pub(crate) rng: &'a SharedRng,
    pub(crate) tenant: &'a Tenant,
    pub(crate) now: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestResult {
    Accepted(DeliveryId),
    Disabled,
    /// The webhook does not want this kind.
    Unwanted,
}

impl TestSender<'_> {
    /// Hands in a sample of this kind.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn send(
        &self,
        forms: &dyn WebhookForms,
        webhook: &Webhook,
        kind: &str,
    ) -> Result<TestResult, Refusal> {
        if !webhook.enabled() {
            return Ok(TestResult::Disabled);
        }
        let tenant = self.tenant.id;
        let events = self.store.ask(|store| store.events(tenant)).await?;
        let context = FormContext {
            rng: self.rng,
            tenant: self.tenant,
            events: &events,
            now: self.now,
        };
        for _ in 0..ID_TRIES {
            let Some(new) = forms.sample(&context, webhook, kind)? else {
                return Ok(TestResult::Unwanted);
            };
            let accepting = self.store.ask(|store| store.accept(vec![new.clone()]));
            match accepting.await?.first() {
                // Disabled just before.
                Some(AcceptResult::Accepted { deliveries: 0, .. }) => {
                    return Ok(TestResult::Disabled);
                }
                Some(
                    AcceptResult::Accepted { id, .. }
                    // Its first answer was lost.
                    | AcceptResult::Duplicate { id, deliveries: 1 },
                ) => {
                    return Ok(TestResult::Accepted(DeliveryId {
                        notification: *id,
                        webhook: webhook.id,
                    }));
                }
                // This id is taken.
                Some(AcceptResult::Duplicate { .. } | AcceptResult::Conflict { .. }) | None => {}
            }
        }
        Err(Refusal::Busy(NO_ID_AFTER_S))
    }
}

/// Lists the kinds of which a test of this webhook can be.
pub(crate) fn list_kinds(forms: &dyn WebhookForms, webhook: &Webhook) -> ApiResponse {
    let kinds = forms
        .samples(webhook)
        .into_iter()
        .map(|choice| json!({ "kind": choice.value, "label": choice.label }));
    let all = json!({ "webhook": named(webhook), "kinds": kinds.collect::<Vec<Value>>() });
    answer(StatusCode::OK, &all)
}

fn named(webhook: &Webhook) -> Value {
    let WebhookId(id) = webhook.id;
    webhook
        .key
        .as_deref()
        .map_or_else(|| json!(id), Value::from)
}

/// Sends the test that a request asks for.
pub(crate) async fn send(
    request: &AdmittedRequest,
    forms: &dyn WebhookForms,
    webhook: &Webhook,
) -> Result<DeliveryId, Refusal> {
    let mut fields = Fields::read(&request.body, &["kind"])?;
    let kind = match fields.text("kind") {
        Some(kind) => Some(kind),
        None if fields.faults.is_empty() => fields.fault("kind", "It is needed."),
        None => None,
    };
    let kind = fields.done(kind)?;
    let owner = request.tenants.iter().find(|own| own.id == webhook.tenant);
    let sender = TestSender {
        store: &request.context.store,
        rng: &request.context.rng,
        tenant: owner.ok_or(Refusal::Forbidden)?,
        now: request.context.clock.now(),
    };
    match sender.send(forms, webhook, &kind).await? {
        TestResult::Accepted(id) => Ok(id),
        TestResult::Disabled => Err(Refusal::Contradiction(DISABLED.to_owned())),
        TestResult::Unwanted => {
            let kinds = forms
                .samples(webhook)
                .into_iter()
                .map(|choice| choice.value);
            let kinds = kinds.collect::<Vec<_>>().join(", ");
            let words = match kinds.as_str() {
                "" => "The webhook wants nothing, so there is nothing to test.".to_owned(),
                kinds => format!("It has to be one that the webhook wants: {kinds}."),
            };
            Err(Refusal::invalid("kind", words))
        }
    }
}
