//! The response to OPTIONS: how a route describes itself.

use super::answer::ok;
use super::json::{JsonObject, JsonText, JsonValue};
use super::{fields, webhooks};
use crate::gateway::api::{AdmittedRequest, ResponseFuture};

/// Answers OPTIONS: what this route is, and what it takes from the caller.
pub(super) fn describe(request: AdmittedRequest) -> ResponseFuture {
    Box::pin(async move {
        let text = |text: &&'static str| JsonValue::text(*text);
        let parses = [
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ];
        let title = request.head.route.as_ref().map_or("", |route| route.title);
        let mut pairs = vec![
            ("name", JsonValue::text(title)),
            ("description", JsonValue::text("")),
            (
                "renders",
                JsonValue::List(vec![JsonValue::text("application/json")]),
            ),
            ("parses", JsonValue::List(parses.iter().map(text).collect())),
        ];
        if let Some(method) = webhooks::written_by(&request).await? {
            pairs.push((
                "actions",
                JsonValue::object([(method, fields::described())]),
            ));
        }
        let pairs = pairs.into_iter();
        let pairs = pairs.map(|(key, value)| (JsonText::whole(key), value));
        let body = JsonValue::Object(JsonObject::from_pairs(pairs.collect()));
        Ok(ok(&request, &body))
    })
}
