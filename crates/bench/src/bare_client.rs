//! A client that does no more than what a call needs: connects, agrees on TLS, writes a request and
//! reads the response. What it costs is what Willcall's calls are compared with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use crate::process;
use crate::sizes::{BODY_BYTES, CONNECTIONS};
use crate::tasks;

/// The largest response that is read.
const RESPONSE_BYTES: usize = 4 * 1024;

/// Makes a call to each of these receivers, `CONNECTIONS` at a time, each over a new connection
/// with a full handshake, on a thread of its own. Returns the CPU time of that thread for a call,
/// in microseconds.
pub(crate) async fn cost_of_new_connections(root: &str, receivers: Vec<SocketAddr>) -> Result<f64> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes())?)?;
    let mut config = ClientConfig::builder_with_provider(engine::tls_crypto())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let connector = TlsConnector::from(Arc::new(config));
    let measured = tasks::on_own_thread(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let count = u32::try_from(receivers.len().max(1))?;
        let before = process::thread_cpu_us()?;
        runtime.block_on(call_all(connector, receivers))?;
        let after = process::thread_cpu_us()?;
        anyhow::Ok((after - before) / f64::from(count))
    });
    measured.await?
}

async fn call_all(connector: TlsConnector, receivers: Vec<SocketAddr>) -> Result<()> {
    let (next, receivers) = (Arc::new(AtomicUsize::new(0)), Arc::new(receivers));
    let (tell, mut told) = mpsc::unbounded_channel();
    for _ in 0..CONNECTIONS {
        let (connector, next) = (connector.clone(), Arc::clone(&next));
        let (receivers, tell) = (Arc::clone(&receivers), tell.clone());
        tasks::spawn(async move {
            let made = call_some(&connector, &receivers, &next).await;
            // Nobody hears it once another has failed.
            tell.send(made).ok();
        });
    }
    drop(tell);
    while let Some(made) = told.recv().await {
        made?;
    }
    Ok(())
}

async fn call_some(
    connector: &TlsConnector,
    receivers: &[SocketAddr],
    next: &AtomicUsize,
) -> Result<()> {
    while let Some(receiver) = receivers.get(next.fetch_add(1, Ordering::Relaxed)) {
        call(connector, *receiver).await?;
    }
    Ok(())
}

async fn call(connector: &TlsConnector, receiver: SocketAddr) -> Result<()> {
    let tcp = TcpSocket::new_v4()?.connect(receiver).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::from(receiver.ip());
    let mut stream = connector.connect(name, tcp).await?;
    let body = "x".repeat(BODY_BYTES);
    let request = format!(
        "POST /none HTTP/1.1\r\nhost: {receiver}\r\ncontent-type: application/json\r\n\
         content-length: {BODY_BYTES}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut response = vec![0; RESPONSE_BYTES];
    let count = stream.read(&mut response).await?;
    let begin = response.get(..count).context("that much was read")?;
    ensure!(
        begin.starts_with(b"HTTP/1.1 200 "),
        anyhow!("a receiver of the benchmark did not answer 200")
    );
    Ok(())
}
