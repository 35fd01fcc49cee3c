//! Downloads of what does not fit on a page: the body of a notification, the request and response
//! of an attempt. Always plain text that a browser saves and never renders.

use std::fmt::Write;

use crate::transport::body::Body;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Response};
use model::attempt::Outcome;
use model::query::{AttemptRecord, DeliveryDetail};
use model::users::Role;

use super::delivery::delivery_id;
use crate::dashboard::page::{PageAccess, PageRoute, get};
use crate::dashboard::response::{PageError, PageResponse};
use crate::dashboard::visit::Visit;

pub(super) fn routes() -> Vec<PageRoute> {
    let look = PageAccess::Role(Role::Look);
    vec![
        get(
            "delivery_body",
            "/t/{tenant}/deliveries/{delivery}/body",
            look,
            body,
        ),
        get(
            "attempt_request",
            "/t/{tenant}/deliveries/{delivery}/attempts/{attempt}/request",
            look,
            request,
        ),
        get(
            "attempt_answer",
            "/t/{tenant}/deliveries/{delivery}/attempts/{attempt}/answer",
            look,
            answer,
        ),
    ]
}

async fn detail(visit: &Visit) -> Result<DeliveryDetail, PageError> {
    let (tenant, id) = (visit.tenant()?.id, delivery_id(visit)?);
    let detail = visit.ask(|store| store.delivery(tenant, id)).await?;
    detail.ok_or(PageError::NotFound)
}

fn attempt<'a>(visit: &Visit, detail: &'a DeliveryDetail) -> Result<&'a AttemptRecord, PageError> {
    let number = visit.id("attempt")?;
    let mut attempts = detail.attempts.iter();
    let found = attempts.find(|past| i64::from(past.number) == number);
    found.ok_or(PageError::NotFound)
}

async fn body(visit: Visit) -> Result<PageResponse, PageError> {
    let detail = detail(&visit).await?;
    let name = format!("{}.body.txt", detail.row.id);
    Ok(download(&name, detail.body.to_vec()))
}

async fn request(visit: Visit) -> Result<PageResponse, PageError> {
    let detail = detail(&visit).await?;
    let past = attempt(&visit, &detail)?;
    let mut text = format!("POST {}\r\n", past.attempt.url).into_bytes();
    text.extend_from_slice(&past.attempt.request_headers.0);
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&detail.body);
    Ok(download(
        &format!("{}.{}.request.txt", detail.row.id, past.number),
        text,
    ))
}

async fn answer(visit: Visit) -> Result<PageResponse, PageError> {
    let detail = detail(&visit).await?;
    let past = attempt(&visit, &detail)?;
    let text = match &past.attempt.outcome {
        Outcome::Answered(answer) => {
            let mut head = String::from("HTTP/1.1 ");
            // Writing to a string cannot fail.
            write!(head, "{}\r\n", answer.status).unwrap_or_default();
            let mut text = head.into_bytes();
            text.extend_from_slice(&answer.headers.0);
            text.extend_from_slice(b"\r\n");
            text.extend_from_slice(&answer.body);
            text
        }
        outcome @ Outcome::Failed(_) => outcome.words().into_bytes(),
    };
    Ok(download(
        &format!("{}.{}.answer.txt", detail.row.id, past.number),
        text,
    ))
}

fn download(name: &str, content: Vec<u8>) -> PageResponse {
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    // Names are made of ids, so this is always a header value.
    let name = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    let name = name.unwrap_or_else(|_| HeaderValue::from_static("attachment"));
    headers.insert(CONTENT_DISPOSITION, name);
    response
}
