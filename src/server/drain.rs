//! What a request still has to say when it has been answered is read and dropped, up to a bound, as Go's
//! server does.
//!
//! Otherwise the connection would be closed on a client that is still sending, and it may lose the answer
//! (a 415 or 401 to a write) or the next request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;

/// Go's bound: beyond it closing is cheaper than reading.
const MAX_DRAINED_BYTES: usize = 256 << 10;

/// How long the rest may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A body on loan: who got it may drop it.
struct Lent(Arc<Mutex<Body>>);

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

/// Middleware around everything that answers.
pub async fn layer(request: Request, next: Next) -> Response {
    // Whoever waits for `100 Continue` has not sent its body.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body));
    let lent = Body::new(Lent(Arc::clone(&body)));
    let response = next.run(Request::from_parts(parts, lent)).await;
    let rest = std::mem::replace(&mut *body.lock(), Body::empty());
    let is_small = |size: u64| size <= MAX_DRAINED_BYTES as u64;
    if !rest.is_end_stream() && rest.size_hint().exact().is_none_or(is_small) {
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drop_all(rest)).await;
    }
    response
}

async fn drop_all(body: Body) {
    let mut limited = Limited::new(body, MAX_DRAINED_BYTES);
    while let Some(Ok(_)) = limited.frame().await {}
}
