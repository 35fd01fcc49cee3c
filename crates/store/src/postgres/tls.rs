//! TLS to the database: rustls for `tokio_postgres`, as much trust as `sslmode` asks for, and the
//! channel binding that ties a login to this very connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};

pub(crate) use self::channel_binding::server_end_point;
pub use self::config::TlsFileError;
pub(crate) use self::config::client_config;
pub use self::fault::TlsFault;

mod channel_binding;
mod config;
mod fault;
mod verifier;

/// Makes handshakes. Without a configuration it is for connections that have no TLS.
#[derive(Debug, Clone)]
pub(crate) struct TlsConnector {
    config: Option<Arc<ClientConfig>>,
    /// Whether the server agreed to TLS, and a handshake was begun.
    is_begun: Arc<AtomicBool>,
}

/// One handshake.
#[derive(Debug)]
pub(crate) struct Handshake {
    connector: TlsConnector,
    host: String,
}

#[derive(Debug)]
pub(crate) struct TlsStream<S>(tokio_rustls::client::TlsStream<S>);

impl TlsConnector {
    pub(crate) fn new(config: Option<Arc<ClientConfig>>) -> Self {
        Self {
            config,
            is_begun: Arc::default(),
        }
    }

    /// Whether a handshake was begun since it was made.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Relaxed)
    }
}

impl MakeTlsConnect<Socket> for TlsConnector {
    type Stream = TlsStream<Socket>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    /// Fails never: it is called for sockets without a host name, too.
    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        Ok(Handshake {
            connector: self.clone(),
            host: host.to_owned(),
        })
    }
}

impl TlsConnect<Socket> for Handshake {
    type Stream = TlsStream<Socket>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            self.connector.is_begun.store(true, Ordering::Relaxed);
            let Some(config) = self.connector.config else {
                return Err(io::Error::other("TLS was not asked for"));
            };
            let name = ServerName::try_from(self.host).map_err(io::Error::other)?;
            let handshake = tokio_rustls::TlsConnector::from(config).connect(name, socket);
            handshake.await.map(TlsStream)
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for TlsStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.0.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        match certificate.and_then(|it| server_end_point(it)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
