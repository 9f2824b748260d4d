//! The one error type. It is what a client sees: Keystone's JSON body, and nothing secret.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use vicar_rules::refusal::{Class, Refusal};

use crate::store;

/// Result of everything that a request runs through.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was not served.
#[derive(Debug)]
pub enum Error {
    /// 400: the request is at fault; the text names the field.
    BadRequest(String),
    /// 401: no valid token, or a login that failed. Never says why.
    Unauthorized,
    /// 401 with a text that tells a signer what to mend, never a secret.
    UnauthorizedBecause(&'static str),
    /// 401 for a right password whose time is over, so that its owner knows to change it; with his id.
    PasswordExpired(String),
    /// 403.
    Forbidden(String),
    /// 404: `Could not find <kind>: <id>.`
    NotFound(&'static str, String),
    /// 404 in other words.
    NotFoundBecause(String),
    /// 405.
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    TooSlow,
    /// 409.
    Conflict(String),
    /// 413: the body is larger than `[oslo_middleware] max_request_body_size`.
    TooLarge,
    /// 503: what is needed is away; with the seconds after which to come back.
    Unavailable(String, u32),
    /// 503 for a second: more is asked for than can be done. Each of them is no fault, so none is logged.
    Busy,
    /// 503 for a second: a revocation of this very second would end the new token at its birth.
    Settling,
    /// Somebody else was in the way: the request is run again, and in the end 503.
    Again(String),
    /// 500: our fault. The text is for the log only.
    Internal(String),
}

/// Marks an answer in the place of which the request is run again (`http/log.rs`); with what was in the way.
#[derive(Debug, Clone)]
pub struct RunAgain(pub String);

impl Error {
    /// 400 about a field.
    pub fn field(name: &str, problem: &str) -> Self {
        Self::BadRequest(format!("{name}: {problem}"))
    }

    /// 403 for an operation that policy refuses.
    pub fn not_permitted(operation: &str) -> Self {
        Self::Forbidden(format!("You are not authorized to perform the requested action: {operation}."))
    }

    /// 409 for a name that is taken.
    pub fn taken(kind: &str, detail: &str) -> Self {
        Self::Conflict(format!("Conflict occurred attempting to store {kind} - {detail}."))
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::UnauthorizedBecause(_) | Self::PasswordExpired(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(..) | Self::NotFoundBecause(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable(..) | Self::Busy | Self::Settling | Self::Again(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the client reads.
    pub fn message(&self) -> String {
        match self {
            Self::BadRequest(m) | Self::Forbidden(m) | Self::NotFoundBecause(m) | Self::Conflict(m) => {
                m.clone()
            }
            Self::Unauthorized => "The request you have made requires authentication.".into(),
            Self::UnauthorizedBecause(m) => (*m).to_owned(),
            Self::PasswordExpired(id) => {
                format!("The password is expired and needs to be changed for user: {id}.")
            }
            Self::NotFound(kind, id) => format!("Could not find {kind}: {id}."),
            Self::MethodNotAllowed => "The method is not allowed for the requested URL.".into(),
            Self::TooSlow => "The request did not arrive in time.".into(),
            Self::TooLarge => "The request body is larger than this server accepts.".into(),
            Self::Unavailable(..) | Self::Busy | Self::Settling | Self::Again(_) => {
                "The service is temporarily unavailable. Please try again.".into()
            }
            Self::Internal(_) => {
                "An unexpected error prevented the server from fulfilling your request.".into()
            }
        }
    }

    /// What only the log may know.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Internal(d) | Self::Unavailable(d, _) | Self::Again(d) => Some(d),
            _ => None,
        }
    }
}

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Self {
        match e {
            store::Error::Duplicate => Self::Conflict("Conflict occurred: it exists already.".into()),
            store::Error::Again(d) => Self::Again(d),
            store::Error::Unavailable(d) => Self::Unavailable(d, 1),
            store::Error::Refused(d) => Self::BadRequest(d),
            store::Error::Broken(d) => Self::Internal(d),
        }
    }
}

impl From<Refusal> for Error {
    fn from(r: Refusal) -> Self {
        match r.class() {
            Class::Malformed => Self::BadRequest(r.to_string()),
            Class::Forbidden => Self::Forbidden(r.to_string()),
            Class::Absent => Self::NotFoundBecause(r.to_string()),
            Class::Conflict => Self::Conflict(r.to_string()),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        if let Self::Again(detail) = &self {
            tracing::debug!(detail, "a transaction did not come about");
        } else if let Some(detail) = self.detail() {
            tracing::error!(status = status.as_u16(), detail, "request failed");
        }
        let title = status.canonical_reason().unwrap_or("Error");
        let body = json!({"error": {"code": status.as_u16(), "message": self.message(), "title": title}});
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        match &self {
            // RFC 9110 wants a challenge with each 401; this is the scheme that Keystone names.
            Self::Unauthorized | Self::UnauthorizedBecause(_) | Self::PasswordExpired(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Keystone uri=\"/v3\""));
            }
            Self::Busy | Self::Settling => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Unavailable(_, seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Self::Again(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Self::Again(detail) = self {
            response.extensions_mut().insert(RunAgain(detail));
        }
        response
    }
}
