//! `--web.read-timeout`: the body of a request must have come before it.
//!
//! The headers, and what an idle connection waits for them, are timed by the HTTP library; a body here, from
//! the time that its headers were read. The answer to one that is late is a 503 that closes the connection,
//! not a 4xx: senders of samples drop what was refused for good, and send the rest again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::App;
use crate::api::response::text_error;

/// A body with a deadline.
struct Timed {
    inner: Body,
    deadline: Instant,
    /// Made when something has to be waited for: most bodies are there with their headers.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Set when the deadline has passed.
    is_late: Arc<AtomicBool>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let deadline = self.deadline;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.is_late.store(true, Ordering::Relaxed);
        let error = io::Error::new(io::ErrorKind::TimedOut, "the body came too slowly");
        Poll::Ready(Some(Err(axum::Error::new(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Middleware around the routes.
pub async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let is_late = Arc::new(AtomicBool::new(false));
    let timed = request.map(|inner| {
        Body::new(Timed {
            inner,
            deadline: Instant::now() + app.read_timeout,
            sleep: None,
            is_late: Arc::clone(&is_late),
        })
    });
    let response = next.run(timed).await;
    if is_late.load(Ordering::Relaxed) {
        return too_late(app.read_timeout);
    }
    response
}

fn too_late(timeout: Duration) -> Response {
    let text = format!(
        "the body of the request took longer than {} s (flag --web.read-timeout)",
        timeout.as_secs_f64()
    );
    let mut response = text_error(StatusCode::SERVICE_UNAVAILABLE, &text);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn timed(inner: Body, late: &Arc<AtomicBool>) -> Body {
        Body::new(Timed {
            inner,
            deadline: Instant::now() + Duration::from_millis(30),
            sleep: None,
            is_late: Arc::clone(late),
        })
    }

    #[tokio::test]
    async fn what_does_not_come_is_an_error_and_what_came_is_not() {
        let late = Arc::new(AtomicBool::new(false));
        let whole = timed(Body::from("abc"), &late).collect().await.unwrap();
        assert_eq!(whole.to_bytes(), "abc");
        assert!(!late.load(Ordering::Relaxed));
        let (sender, stream) = tokio::sync::mpsc::channel::<Bytes>(1);
        struct Slow(tokio::sync::mpsc::Receiver<Bytes>);
        impl HttpBody for Slow {
            type Data = Bytes;
            type Error = axum::Error;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
                let next = self.0.poll_recv(context);
                next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
        sender.send(Bytes::from_static(b"a")).await.unwrap();
        let error = timed(Body::new(Slow(stream)), &late)
            .collect()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("too slowly"), "{error}");
        assert!(late.load(Ordering::Relaxed));
        drop(sender);
    }
}
