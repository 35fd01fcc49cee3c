//! What a dialect brings to `willcall bench`: tenants of any size, notifications of a given size
//! and number, and reading its log. What is measured is not known here.

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
    /// The call that creates a webhook for notifications about this show, or about any.
    pub webhook: fn(tenant: &str, show: Option<usize>, url: &str) -> DemoCall,
    /// The call that has calls of a webhook signed by this profile.
    pub sign: fn(tenant: &str, webhook: &WebhookRef, profile: &str) -> DemoCall,
    /// Which webhook it is, from the response to that call.
    pub made: fn(answer: &Value) -> Option<WebhookRef>,
    /// The call that disables or deletes a webhook.
    pub end: fn(tenant: &str, webhook: &WebhookRef) -> DemoCall,
    /// The call that hands in the notifications of these numbers, each of about so many bytes.
    pub hand_in: fn(tenant: &str, numbers: Range<u64>, show: usize, bytes: usize) -> DemoCall,
    /// The call that hands in the notification of this number with an id of the application's own.
    pub hand_in_as: fn(tenant: &str, number: u64, id: u64, show: usize, bytes: usize) -> DemoCall,
    /// The same notification as the store takes it.
    pub notification: fn(&Tenant, number: u64, bytes: usize, at: Timestamp) -> NewNotification,
    /// The number of a notification, from the body of a call.
    pub number: fn(body: &[u8]) -> Option<u64>,
    /// The call for a webhook's deliveries of this status.
    pub log: fn(tenant: &str, webhook: &WebhookRef, status: DeliveryStatus) -> DemoCall,
    /// Reads the response to that call.
    pub page: fn(answer: &Value) -> Option<LoadPage>,
}

/// A tenant with a number of webhooks and shows.
pub struct LoadTenant {
    pub key: String,
    pub token: String,
    pub shows: usize,
    /// The target URL of each webhook, and whether it subscribes to the notifications.
    pub webhooks: Vec<(String, bool)>,
}

/// The number of rows on a page of the log, and the link to the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadPage {
    pub rows: u64,
    pub next: Option<String>,
}

impl LoadPage {
    /// The call for the page after this one; `like` asked for this one.
    pub fn after(&self, like: &DemoCall) -> Option<DemoCall> {
        let next = self.next.as_deref()?;
        // Links are absolute URLs: the path after the host is called.
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
