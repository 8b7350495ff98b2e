//! `POST /api/v1/write`: the remote-write receiver, versions 1.0 and 2.0.
//!
//! Headers are judged before the body is read, the compressed size while it is read, the declared
//! decompressed size before it is allocated. The answer is 204 once the samples are in the WAL under
//! the configured sync policy.
//! Statuses: 415 wrong encoding or type, 413 too large, 400 malformed or refused samples (what is
//! good in the request is stored), 429 series limit, 503 with `Retry-After` when the disk is full,
//! 500 when the WAL failed. Source: Prometheus `storage/remote/write_handler.go`.

use std::cell::RefCell;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use tenbin_storage::{Commit, Db};

use super::body::{Refusal, read_body};
use super::stored::{durable, off_the_workers, refused_append};
use super::write_message::{WriteMessage, check_headers};
use super::write_outcome::{Outcome, Written};
use crate::ingest::decompress::{DecompressError, snappy};
use crate::ingest::remote_write_v1::RemoteWriteV1;
use crate::ingest::remote_write_v2::RemoteWriteV2;
use crate::server::buffers::Buffer;
use crate::server::{App, Peer, Store};

/// Bodies above this many compressed bytes are decoded on a thread of their own instead of the
/// async worker; a usual request (2,000 samples, about 50 KB) takes well under a millisecond.
const INLINE_BODY_BYTES: usize = 256 << 10;

/// With more than this waiting for the log's writer an append may have to wait.
const INLINE_QUEUED_BYTES: u64 = 16 << 20;

/// A decompression buffer that grew beyond this is given back.
const KEEP_BUFFER_BYTES: usize = 4 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// `POST /api/v1/write`
pub async fn write(
    State(app): State<Arc<App>>,
    Store(db): Store,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let outcome = async {
        let message = check_headers(&parts.headers, &app.write_messages)
            .map_err(|refusal| (None, refusal))?;
        let failed = |refusal| (Some(message), refusal);
        let body = read_body(body, &app.write_limits, &app.bodies, &parts.headers);
        let body = body.await.map_err(failed)?;
        let stored = store(&app, db, peer, message, body).await;
        let (outcome, commit) = stored.map_err(failed)?;
        durable(commit).await.map_err(failed)?;
        Ok::<_, (Option<WriteMessage>, Refusal)>(outcome)
    };
    match outcome.await {
        Ok(outcome) => {
            outcome.note(&app.telemetry);
            outcome.into_response()
        }
        Err((message, refusal)) => {
            let mut response = refusal.into_response();
            if message == Some(WriteMessage::V2) {
                // A 2.0 sender needs the counts on every answer: nothing was written.
                Written::default().push_headers(response.headers_mut());
            }
            response
        }
    }
}

async fn store(
    app: &Arc<App>,
    db: Arc<Db>,
    peer: Peer,
    message: WriteMessage,
    body: Buffer,
) -> Result<(Outcome, Commit), Refusal> {
    // An append waits while the log's writer is far behind: never on an async worker.
    if body.len() <= INLINE_BODY_BYTES && db.wal_queued_bytes() <= INLINE_QUEUED_BYTES {
        return decode_and_append(app, &db, peer, message, &body);
    }
    let app = Arc::clone(app);
    off_the_workers(move || decode_and_append(&app, &db, peer, message, &body)).await
}

fn decode_and_append(
    app: &App,
    db: &Db,
    peer: Peer,
    message: WriteMessage,
    body: &[u8],
) -> Result<(Outcome, Commit), Refusal> {
    let limits = &app.write_limits;
    BUFFER.with_borrow_mut(|buffer| {
        let bad = |text: String| Refusal::bad(text);
        snappy(body, limits.max_decoded_body_bytes, buffer).map_err(|e| match e {
            DecompressError::TooLarge { .. } => Refusal::too_large(e.to_string()),
            DecompressError::Corrupt(_) => bad(e.to_string()),
        })?;
        let stored = match message {
            WriteMessage::V1 => {
                let request = RemoteWriteV1::decode(buffer, limits);
                let request = request.map_err(|e| bad(e.to_string()))?;
                let appended = db.append(peer.connection, &request);
                appended.map(|(report, commit)| (Outcome::v1(&report), commit))
            }
            WriteMessage::V2 => {
                let request = RemoteWriteV2::decode(buffer, limits);
                let request = request.map_err(|e| bad(e.to_string()))?;
                let appended = db.append(peer.connection, &request);
                appended.map(|(report, commit)| (Outcome::v2(&report, &request), commit))
            }
        };
        if buffer.capacity() > KEEP_BUFFER_BYTES {
            *buffer = Vec::new();
        }
        stored.map_err(|e| refused_append(&e))
    })
}
