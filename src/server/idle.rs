//! HTTP/2 connections without a request are closed after `--web.read-timeout`, as those of HTTP/1 are.
//!
//! The HTTP library times the headers of HTTP/1 and nothing of HTTP/2. Here the requests of a connection are
//! counted, each from its call to the end of its answer's body; the stream says that it has ended when there was
//! none, and nothing was read, for the whole timeout.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::HttpBody;
use axum::http::{Request, Response};
use axum_server::accept::Accept;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::secure::SecureStream;
use super::write_through::write_through;

/// Accepts connections that may not stay idle for longer than the timeout.
#[derive(Debug, Clone)]
pub struct CloseIdle<A> {
    /// What accepts them.
    pub inner: A,
    /// How long they may be idle.
    pub timeout: Duration,
}

/// The requests of a connection.
#[derive(Debug, Default)]
struct Requests {
    under_way: AtomicUsize,
    /// Whether one has ended since somebody looked.
    one_ended: AtomicBool,
}

/// A request under way.
#[derive(Debug)]
struct Held(Arc<Requests>);

impl Held {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(requests))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.one_ended.store(true, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<A, I, S> Accept<I, S> for CloseIdle<A>
where
    A: Accept<I, S, Stream = SecureStream>,
    A::Future: Send + 'static,
{
    type Stream = IdleStream<SecureStream>;
    type Service = Counting<A::Service>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepting = self.inner.accept(stream, service);
        let timeout = self.timeout;
        Box::pin(async move {
            let (stream, inner) = accepting.await?;
            let requests = Arc::new(Requests::default());
            let watched = stream.is_http2().then(|| Arc::clone(&requests));
            let stream = IdleStream::new(stream, watched, timeout);
            Ok((stream, Counting { inner, requests }))
        })
    }
}

/// Counts requests.
#[derive(Debug, Clone)]
pub struct Counting<S> {
    inner: S,
    requests: Arc<Requests>,
}

impl<S, Q, B> Service<Request<Q>> for Counting<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<HeldBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let held = Held::new(&self.requests);
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            Ok(response.map(|inner| HeldBody { inner, _held: held }))
        })
    }
}

/// The body of an answer; its request is under way until it is dropped.
#[derive(Debug)]
pub struct HeldBody<B> {
    inner: B,
    _held: Held,
}

impl<B: HttpBody + Unpin> HttpBody for HeldBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A connection that ends when it is idle for too long.
#[derive(Debug)]
pub struct IdleStream<S> {
    stream: S,
    /// Nothing for connections that somebody else watches.
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    requests: Arc<Requests>,
    timeout: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Watch {
    fn restart(&mut self) {
        self.sleep.as_mut().reset(Instant::now() + self.timeout);
    }
}

impl<S> IdleStream<S> {
    fn new(stream: S, requests: Option<Arc<Requests>>, timeout: Duration) -> Self {
        let watch = requests.map(|requests| Watch {
            requests,
            timeout,
            sleep: Box::pin(tokio::time::sleep(timeout)),
        });
        Self { stream, watch }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(watch) = &mut this.watch else {
            return polled;
        };
        if polled.is_ready() {
            watch.restart();
            return polled;
        }
        while watch.sleep.as_mut().poll(context).is_ready() {
            let one_ended = watch.requests.one_ended.swap(false, Ordering::Relaxed);
            if !one_ended && watch.requests.under_way.load(Ordering::Relaxed) == 0 {
                // As if the other end had gone.
                return Poll::Ready(Ok(()));
            }
            watch.restart();
        }
        Poll::Pending
    }
}

write_through!(IdleStream<S>);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn only_a_connection_without_requests_ends() {
        let timeout = Duration::from_millis(40);
        let requests = Arc::new(Requests::default());
        let held = Held::new(&requests);
        let (_other_end, stream) = tokio::io::duplex(64);
        let mut stream = IdleStream::new(stream, Some(Arc::clone(&requests)), timeout);
        let mut buffer = [0; 8];
        let waited = tokio::time::timeout(timeout * 5, stream.read(&mut buffer)).await;
        assert!(waited.is_err(), "a request is under way");
        let began = Instant::now();
        drop(held);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
        let idle = began.elapsed();
        assert!(idle >= timeout, "{idle:?}");
        let (_other_end, stream) = tokio::io::duplex(64);
        let mut unwatched = IdleStream::new(stream, None, timeout);
        let waited = tokio::time::timeout(timeout * 5, unwatched.read(&mut buffer)).await;
        assert!(waited.is_err());
    }
}
