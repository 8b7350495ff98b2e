//! Accepting connections: at most so many at once, without Nagle's delay.
//!
//! A connection beyond the limit is accepted by the kernel and waits for a slot, as with Go's
//! `LimitListener`. The slot is held by the stream and freed with it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::write_through::write_through;

/// Hands out connection slots.
#[derive(Debug, Clone)]
pub struct ConnectionLimit {
    slots: Arc<Semaphore>,
}

impl ConnectionLimit {
    /// Room for `max_connections`.
    #[must_use]
    pub fn new(max_connections: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max_connections)),
        }
    }
}

/// A connection with its slot.
#[derive(Debug)]
pub struct SlottedStream {
    stream: TcpStream,
    _slot: OwnedSemaphorePermit,
}

impl SlottedStream {
    /// The first byte that the other end sends, left in place.
    ///
    /// # Errors
    /// When the connection ends or breaks before there is one.
    pub async fn peek_byte(&self) -> io::Result<u8> {
        let mut first = [0];
        match self.stream.peek(&mut first).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(first[0]),
        }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for ConnectionLimit {
    type Stream = SlottedStream;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(SlottedStream, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let slots = Arc::clone(&self.slots);
        Box::pin(async move {
            stream.set_nodelay(true)?;
            let slot = slots.acquire_owned().await.map_err(io::Error::other)?;
            Ok((
                SlottedStream {
                    stream,
                    _slot: slot,
                },
                service,
            ))
        })
    }
}

impl AsyncRead for SlottedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

write_through!(SlottedStream);
