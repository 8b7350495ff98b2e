//! Errors of the query API: a kind that decides the status, and a text.
//!
//! Source: Prometheus `web/api/v1/api.go`, `respondError`.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tenbin_model::StoreError;
use tenbin_promql::EvalError;

use super::response::error_response;

/// Prometheus' error types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong.
    BadData,
    /// The evaluation failed.
    Execution,
    /// The client went away.
    Canceled,
    /// The time limit was hit.
    Timeout,
    /// The store failed.
    Internal,
    /// The endpoint is switched off.
    Unavailable,
    /// What was asked for does not exist.
    NotFound,
}

impl ErrorKind {
    /// The `errorType` of the envelope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // 499, nginx' "client closed request", as Prometheus answers.
            Self::Canceled => {
                StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            // Prometheus has no case of its own for `unavailable`.
            Self::Internal | Self::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// What kind.
    pub kind: ErrorKind,
    /// The text.
    pub message: String,
}

impl ApiError {
    /// An error of `kind`.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// A wrong request.
    #[must_use]
    pub fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// A wrong parameter.
    #[must_use]
    pub fn invalid_parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {reason}"))
    }
}

impl From<EvalError> for ApiError {
    fn from(error: EvalError) -> Self {
        let message = error.to_string();
        match error {
            EvalError::BadQuery(reason) => Self::invalid_parameter("query", reason),
            EvalError::Execution(_) | EvalError::Unsupported(_) => {
                Self::new(ErrorKind::Execution, message)
            }
            EvalError::Timeout(_) => Self::new(ErrorKind::Timeout, message),
            EvalError::Canceled(_) => Self::new(ErrorKind::Canceled, message),
            EvalError::Store(StoreError::Limit(_)) => Self::new(ErrorKind::Execution, message),
            EvalError::Store(_) => Self::new(ErrorKind::Internal, message),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotReady => Self::new(ErrorKind::Unavailable, error.to_string()),
            // Label and series lookups answer storage errors as `execution`, as Prometheus does.
            _ => Self::new(ErrorKind::Execution, error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        error_response(&self)
    }
}
