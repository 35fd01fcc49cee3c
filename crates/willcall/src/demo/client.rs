//! A small HTTP client: the demo calls Willcall as an application would.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use engine::{Deadline, Dial, Endpoint, LookupContext, NetDial, Resolver, TlsClient};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use model::address::PrivateTargets;
use prometheus_client::registry::Registry;
use web::dialects::DemoCall;

use crate::tasks;

/// The server is in this process, so connecting takes no time unless something is wrong.
const CONNECT_LIMIT_MS: u32 = 5_000;

pub(crate) struct Client {
    address: SocketAddr,
    token: String,
    dial: NetDial,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: String) -> Result<Self> {
        let mut meters = Registry::default();
        let tls = TlsClient::new(&engine::tls_config(&[])?, &mut meters);
        let resolver = Resolver::of_system(&mut meters);
        let dial = NetDial::new(resolver, PrivateTargets::All, Arc::new(tls));
        Ok(Self {
            address,
            token,
            dial,
        })
    }

    /// Makes a call and returns the body of the response. Anything but 2xx is an error that quotes
    /// it.
    pub(crate) async fn call(&self, call: &DemoCall) -> Result<serde_json::Value> {
        let what = format!("{} {}", call.method, call.path);
        let (status, body) = self.exchange(call).await.with_context(|| what.clone())?;
        if !status.is_success() {
            bail!(
                "{what} was answered {status}: {}",
                String::from_utf8_lossy(&body)
            );
        }
        Ok(serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null))
    }

    async fn exchange(&self, call: &DemoCall) -> Result<(StatusCode, Bytes)> {
        let place = Endpoint {
            tls: false,
            host: self.address.ip().to_string(),
            port: self.address.port(),
            own: None,
        };
        let stream = self
            .dial
            .dial(
                &place,
                LookupContext::INTERNAL,
                Deadline::from_here(CONNECT_LIMIT_MS),
            )
            .await;
        let stream = stream.map_err(|failure| anyhow!(failure.words()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tasks::spawn(async move { drop(connection.await) });
        let request = Request::builder()
            .method(call.method.clone())
            .uri(call.path.as_str())
            .header(header::HOST, self.address.to_string())
            .header(
                header::AUTHORIZATION,
                format!("{} {}", call.scheme, self.token),
            )
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(call.body.clone())))?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok((head.status, body.collect().await?.to_bytes()))
    }
}
