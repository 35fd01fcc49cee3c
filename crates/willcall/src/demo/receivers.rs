//! The demo's receivers: one for each target URL, each with a behavior of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use web::dialects::ReceiverBehavior;

use crate::{listen, sync, tasks};

/// Starts a receiver of this character; returns its URL.
pub(crate) async fn start(character: ReceiverBehavior) -> Result<String> {
    let listener = listen::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let port = listener.local_addr()?.port();
    let seen = Arc::new(Seen::default());
    tasks::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            let answer = service_fn(move |request| answer(character, Arc::clone(&seen), request));
            tasks::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new();
                // The demo shows how Willcall handles a broken connection, not why it broke.
                drop(
                    connection
                        .serve_connection(TokioIo::new(stream), answer)
                        .await,
                );
            });
        }
    });
    Ok(format!("http://127.0.0.1:{port}/{}", name(character)))
}

pub(crate) fn name(character: ReceiverBehavior) -> &'static str {
    match character {
        ReceiverBehavior::Steady => "steady",
        ReceiverBehavior::Recovering => "recovering",
        ReceiverBehavior::Gone => "gone",
        ReceiverBehavior::Hanging => "hanging",
    }
}

pub(crate) fn manner(character: ReceiverBehavior) -> &'static str {
    match character {
        ReceiverBehavior::Steady => "answers 200 at once",
        ReceiverBehavior::Recovering => {
            "answers 503 to the first two calls for each notification, then 200"
        }
        ReceiverBehavior::Gone => "answers 410 Gone",
        ReceiverBehavior::Hanging => "accepts the call and never answers",
    }
}

/// Counts how often each body came.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<Bytes, u32>>);

impl Seen {
    fn count(&self, body: Bytes) -> u32 {
        let mut seen = sync::lock(&self.0);
        let count = seen.entry(body).or_insert(0);
        *count += 1;
        *count
    }
}

async fn answer(
    character: ReceiverBehavior,
    seen: Arc<Seen>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let status = match character {
        ReceiverBehavior::Steady => StatusCode::OK,
        ReceiverBehavior::Recovering if seen.count(body) <= 2 => StatusCode::SERVICE_UNAVAILABLE,
        ReceiverBehavior::Recovering => StatusCode::OK,
        ReceiverBehavior::Gone => StatusCode::GONE,
        ReceiverBehavior::Hanging => std::future::pending().await,
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}
