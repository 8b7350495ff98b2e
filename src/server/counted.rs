//! Every request counts under its route: status, duration, and the size of its answer.
//!
//! The size is that of the body as it goes out, compressed if it is; a body without a known length counts when it
//! has ended, or when the other end went away.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};

use super::App;

/// Middleware around the routes.
pub(super) async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or_else(
        || "unknown".to_owned(),
        |path| {
            let route = path.as_str();
            let prefix = &app.external_url.route_prefix;
            prometheus_route(route.strip_prefix(prefix.as_str()).unwrap_or(route))
        },
    );
    let response = next.run(request).await;
    let http = &app.telemetry.http;
    http.observe(&route, response.status().as_u16(), started.elapsed());
    if let Some(bytes) = response.body().size_hint().exact() {
        http.observe_size(&route, bytes);
        return response;
    }
    let telemetry = Arc::clone(&app.telemetry);
    response.map(|inner| {
        Body::new(Counted {
            inner,
            bytes: 0,
            done: Box::new(move |bytes| telemetry.http.observe_size(&route, bytes)),
        })
    })
}

/// Prometheus writes path parameters as `:name`.
fn prometheus_route(route: &str) -> String {
    route.replace('{', ":").replace('}', "")
}

/// A body whose bytes are counted.
struct Counted {
    inner: Body,
    bytes: u64,
    done: Box<dyn Fn(u64) + Send>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.done)(self.bytes);
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.bytes += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[tokio::test]
    async fn bytes_are_counted_to_the_end_or_until_somebody_goes() {
        for (read_it, expected) in [(true, 5), (false, 0)] {
            let seen = Arc::new(AtomicU64::new(99));
            let noting = Arc::clone(&seen);
            let body = Counted {
                inner: Body::from("12345"),
                bytes: 0,
                done: Box::new(move |bytes| noting.store(bytes, Ordering::Relaxed)),
            };
            if read_it {
                let bytes = body.collect().await.unwrap().to_bytes();
                assert_eq!(bytes, "12345");
            } else {
                drop(body);
            }
            assert_eq!(seen.load(Ordering::Relaxed), expected);
        }
        assert_eq!(
            prometheus_route("/label/{name}/values"),
            "/label/:name/values"
        );
    }
}
