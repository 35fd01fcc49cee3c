//! What a dialect brings to `willcall bench`: tenants of any size, notifications of a known size
//! and number, and how its log is read. What is measured, and how, is not known here.

use std::ops::Range;

use http::Method;
use model::notification::NewNotification;
use model::query::DeliveryStatus;
use model::tenant::{DialectName, Tenant};
use model::time::Timestamp;
use serde_json::Value;

use super::demo::{DemoCall, WebhookRef};

/// A dialect's part of the benchmark.
pub struct Load {
    pub dialect: DialectName,
    /// A section for `willcall apply`; those of several tenants make one file.
    pub section: fn(&LoadTenant) -> String,
    /// Makes a webhook that wants what is handed in about this show, or about any.
    pub webhook: fn(tenant: &str, show: Option<usize>, url: &str) -> DemoCall,
    /// Which one it is, from the answer to that call.
    pub made: fn(answer: &Value) -> Option<WebhookRef>,
    /// Switches a webhook off, or deletes it.
    pub end: fn(tenant: &str, webhook: &WebhookRef) -> DemoCall,
    /// Hands in the notifications of these numbers in one call, each of about so many bytes.
    pub hand_in: fn(tenant: &str, numbers: Range<u64>, show: usize, bytes: usize) -> DemoCall,
    /// The same notification as the store takes it.
    pub notification: fn(&Tenant, number: u64, bytes: usize, at: Timestamp) -> NewNotification,
    /// The number of a notification, from the body of a call.
    pub number: fn(body: &[u8]) -> Option<u64>,
    /// Asks for a webhook's deliveries of this status.
    pub log: fn(tenant: &str, webhook: &WebhookRef, status: DeliveryStatus) -> DemoCall,
    /// Reads the answer to that.
    pub page: fn(answer: &Value) -> Option<LoadPage>,
}

/// A tenant whose webhooks and shows are counted.
pub struct LoadTenant {
    pub key: String,
    pub token: String,
    pub shows: usize,
    /// The target URL of each webhook, and whether it wants what is handed in.
    pub webhooks: Vec<(String, bool)>,
}

/// How many rows a page of the log has, and where the next one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadPage {
    pub rows: u64,
    pub next: Option<String>,
}

impl LoadPage {
    /// The call for the page after this one; `like` asked for this one.
    pub fn after(&self, like: &DemoCall) -> Option<DemoCall> {
        let next = self.next.as_deref()?;
        // Links are whole URLs: what follows the host is what is called.
        let rest = next.split_once("://").map_or(next, |(_, rest)| rest);
        let path = rest.find('/').and_then(|at| rest.get(at..))?;
        Some(DemoCall {
            method: Method::GET,
            path: path.to_owned(),
            scheme: like.scheme,
            body: String::new(),
        })
    }
}
