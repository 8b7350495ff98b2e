//! Request targets as Go's server takes them: bytes that a URI may not hold are percent-encoded while the
//! request is read (`curl -g 'http://host/api/v1/query?query=up{job="x"}'`).

pub mod filter;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, ReadBuf};

use super::write_through::write_through;
use filter::TargetFilter;

/// Accepts connections whose request targets are encoded on the way in.
#[derive(Debug, Clone)]
pub struct EncodeTargets<A>(pub A);

impl<A, I, S> Accept<I, S> for EncodeTargets<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = TargetStream<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, A::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepting = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            Ok((TargetStream::new(stream), service))
        })
    }
}

/// A connection with its filter.
#[derive(Debug)]
pub struct TargetStream<S> {
    stream: S,
    filter: TargetFilter,
    /// Bytes read and filtered, of which `given` have been handed out. Grows when something had to be
    /// encoded: at most three times one read.
    filtered: Vec<u8>,
    given: usize,
}

impl<S> TargetStream<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            filter: TargetFilter::default(),
            filtered: Vec::new(),
            given: 0,
        }
    }

    /// Hands out filtered bytes.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.filtered[self.given..];
        let given = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..given]);
        self.given += given;
        if self.given == self.filtered.len() {
            self.filtered = Vec::new();
            self.given = 0;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TargetStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given < this.filtered.len() {
            this.give(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let done = Pin::new(&mut this.stream).poll_read(context, buffer);
        if matches!(done, Poll::Ready(Ok(()))) {
            let read = &buffer.filled()[before..];
            if let Some(at) = this.filter.follow(read) {
                this.filter.encode(&read[at..], &mut this.filtered);
                buffer.set_filled(before + at);
                this.give(buffer);
            }
        }
        done
    }
}

write_through!(TargetStream<S>);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn small_buffers_get_everything() {
        let input = "GET /{{{{\"\"\"\" HTTP/1.1\r\n\r\n".repeat(3);
        let expected = input.replace('{', "%7B").replace('"', "%22");
        for size in [1, 2, 3, 7, 1000] {
            let mut stream = TargetStream::new(input.as_bytes());
            let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
            loop {
                let read = stream.read(&mut buffer).await.unwrap();
                if read == 0 {
                    break;
                }
                all.extend_from_slice(&buffer[..read]);
            }
            assert_eq!(String::from_utf8(all).unwrap(), expected);
        }
    }
}
