//! Connections with TLS where the web configuration asks for it.
//!
//! The handshake has a deadline and uses the certificates that are in force when it begins. Someone who
//! speaks plain HTTP to a TLS port is told so, as by Go's server.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::listener::{ConnectionLimit, SlottedStream};
use super::web_config::client_names::client_names;
use super::web_config::live::LiveWebConfig;
use super::web_config::tls::Tls;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What Go's server says to plain HTTP on a TLS port.
const NOT_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Takes a slot, then shakes hands.
#[derive(Debug, Clone)]
pub struct Secure {
    /// The slots.
    pub limit: ConnectionLimit,
    /// What decides on TLS.
    pub web_config: Arc<LiveWebConfig>,
}

/// A connection, encrypted or not.
#[derive(Debug)]
pub enum SecureStream {
    /// Without TLS.
    Plain(SlottedStream),
    /// With TLS.
    Tls(Box<TlsStream<SlottedStream>>),
}

impl SecureStream {
    /// Whether both ends agreed on HTTP/2.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Secure {
    type Stream = SecureStream;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(SecureStream, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let slotted = self.limit.accept(stream, service);
        let web_config = Arc::clone(&self.web_config);
        Box::pin(async move {
            let (stream, service) = slotted.await?;
            let Some(tls) = web_config.current().tls.clone() else {
                return Ok((SecureStream::Plain(stream), service));
            };
            let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(stream, &tls));
            let stream = shaken
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake"))??;
            Ok((SecureStream::Tls(Box::new(stream)), service))
        })
    }
}

async fn handshake(mut stream: SlottedStream, tls: &Tls) -> io::Result<TlsStream<SlottedStream>> {
    // A TLS record never begins with a letter, a request does.
    if stream.peek_byte().await?.is_ascii_alphabetic() {
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        let text = "plain HTTP on a TLS port";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let stream = TlsAcceptor::from(Arc::clone(&tls.config))
        .accept(stream)
        .await?;
    if !tls.allowed_client_names.is_empty() {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let names = certificates.first().map(|c| client_names(c));
        // Without a certificate only those pass whom `VerifyClientCertIfGiven` lets pass.
        if let Some(names) = names
            && !names.iter().any(|n| tls.allowed_client_names.contains(n))
        {
            let text = "the client's certificate has none of the allowed names";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
    }
    Ok(stream)
}

impl AsyncRead for SecureStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
