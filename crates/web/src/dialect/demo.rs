//! What a dialect brings to `willcall demo`: a tenant, and the calls of an application.

use http::Method;
use model::id::WebhookId;
use model::tenant::DialectName;

/// A dialect's part of the demo. Every call is made with the token that `file` declares.
pub struct Demo {
    pub dialect: DialectName,
    /// What is shown, for people.
    pub title: &'static str,
    /// The key of the tenant that `file` declares.
    pub tenant: &'static str,
    /// A file for `willcall apply`, with this token.
    pub file: fn(token: &str) -> String,
    pub receivers: &'static [ReceiverBehavior],
    /// The call that creates a webhook with this name and target URL.
    pub webhook: fn(name: &str, url: &str) -> DemoCall,
    /// Which webhook it is, from the response to that call.
    pub made: fn(answer: &serde_json::Value) -> Option<WebhookRef>,
    pub notifications: fn() -> Vec<DemoCall>,
    /// The call that disables or deletes a webhook.
    pub end: fn(webhook: &WebhookRef) -> DemoCall,
    /// What to try by hand, with the command for it.
    pub hints: fn(base: &str, token: &str) -> Vec<(String, String)>,
}

/// How the response names a new webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookRef {
    Id(WebhookId),
    Key(String),
}

/// How a receiver of the demo behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiverBehavior {
    /// Answers 200.
    Steady,
    /// Fails twice for each notification, then answers 200.
    Recovering,
    /// Answers 410.
    Gone,
    /// Never answers.
    Hanging,
}

/// A call with a JSON body, or without one if that is empty.
#[derive(Clone)]
pub struct DemoCall {
    pub method: Method,
    pub path: String,
    /// The scheme of the `Authorization` header.
    pub scheme: &'static str,
    pub body: String,
}
