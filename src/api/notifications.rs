//! `/api/v1/notifications` and its live form: what an operator should know right now.
//!
//! Notifications are derived from the server's state, in Prometheus' words. The live form is an event
//! stream: all active ones at once, then each change; it looks once a second, and takes so many
//! subscribers as `--web.max-notifications-subscribers` says (204 beyond, as Prometheus).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::response::success_json;
use crate::server::App;

/// Frames that wait for a slow subscriber.
const QUEUED_FRAMES: usize = 16;

/// How often the live form looks for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

static SUBSCRIBERS: AtomicUsize = AtomicUsize::new(0);

const STARTING: &str = "Prometheus is starting and replaying the write-ahead log (WAL).";
const STOPPING: &str = "Prometheus is shutting down and gracefully stopping all operations.";
const RELOAD_FAILED: &str = "Configuration reload has failed.";

/// The texts that hold now.
fn active(app: &App) -> Vec<&'static str> {
    let is_stopping = app.is_stopping();
    let reload_failed = !app.config.last_reload().succeeded || !app.web_config.reload_succeeded();
    [
        (STARTING, !is_stopping && app.store().is_none()),
        (STOPPING, is_stopping),
        (RELOAD_FAILED, reload_failed),
    ]
    .into_iter()
    .filter_map(|(text, holds)| holds.then_some(text))
    .collect()
}

fn notification(app: &App, text: &str, is_active: bool) -> Value {
    let date = jiff::Timestamp::from_millisecond(app.clock.now_ms());
    let date = date.map_or_else(|_| String::new(), |t| t.to_string());
    json!({ "text": text, "date": date, "active": is_active })
}

/// `GET /api/v1/notifications`
pub async fn notifications(State(app): State<Arc<App>>) -> Response {
    let list: Vec<Value> = active(&app)
        .into_iter()
        .map(|text| notification(&app, text, true))
        .collect();
    success_json(&Value::Array(list))
}

/// A place among the subscribers.
struct Subscriber;

impl Subscriber {
    fn new(most: usize) -> Option<Self> {
        let taken = SUBSCRIBERS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
            (count < most).then_some(count + 1)
        });
        taken.ok().map(|_| Self)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        SUBSCRIBERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// `GET /api/v1/notifications/live`
pub async fn live(State(app): State<Arc<App>>) -> Response {
    let Some(subscriber) = Subscriber::new(app.max_notification_subscribers) else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let (sender, receiver) = mpsc::channel(QUEUED_FRAMES);
    tokio::spawn(watch(app, sender, subscriber));
    let mut response = Response::new(Body::new(Frames(receiver)));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Sends what holds at first and each change until the client goes away or the server stops.
async fn watch(app: Arc<App>, sender: mpsc::Sender<Bytes>, _subscriber: Subscriber) {
    let mut known: Vec<&'static str> = Vec::new();
    loop {
        let now = active(&app);
        let gone = known.iter().filter(|text| !now.contains(text));
        let new = now.iter().filter(|text| !known.contains(text));
        let changes: Vec<Value> = gone
            .map(|text| notification(&app, text, false))
            .chain(new.map(|text| notification(&app, text, true)))
            .collect();
        for change in changes {
            let frame = format!("data: {change}\n\n");
            if sender.send(frame.into()).await.is_err() {
                return;
            }
        }
        if app.is_stopping() {
            return;
        }
        known = now;
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = sender.closed() => return,
        }
    }
}

/// The frames of a body.
struct Frames(mpsc::Receiver<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let received = self.0.poll_recv(context);
        received.map(|frame| frame.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}
