//! The one error type. It is what a client sees: Keystone's JSON body, and nothing secret. `Display` is the
//! message for the client.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vicar_rules::ceiling::Above;
use vicar_rules::refusal::{Class, Refusal};

use crate::reason::Reason;
use crate::secret::Secret;
use crate::store;

/// Result of everything that a request runs through.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The header with the receipt for a login that has to go on.
pub const RECEIPT: HeaderName = HeaderName::from_static("openstack-auth-receipt");

/// A login that was right as far as it went, where the user's rules ask for more methods.
#[derive(Debug)]
pub struct Started {
    /// The receipt, for the header.
    pub receipt: Secret,
    /// What it is a receipt for, and the lists of methods that would do.
    pub body: Value,
}

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400: the request is at fault; the message names the field.
    #[error("{0}")]
    BadRequest(String),
    /// 400 of the token endpoint of OAuth 2.0, for a grant type that is not served.
    #[error("{0}")]
    UnsupportedGrantType(String),
    /// 401: no valid token, or a login that failed. Why is for the log; the client is never told.
    #[error("The request you have made requires authentication.")]
    Unauthorized(Reason),
    /// 401 with a message that tells a signer what to mend, never a secret.
    #[error("{1}")]
    UnauthorizedBecause(Reason, &'static str),
    /// 401 for a login that is to go on with other methods, in Keystone's form.
    #[error("The request you have made requires authentication.")]
    Started(Box<Started>),
    /// 401 for a right password that has expired, so that its owner knows to change it; with the user's id.
    #[error("The password is expired and needs to be changed for user: {0}.")]
    PasswordExpired(String),
    /// 403.
    #[error("{0}")]
    Forbidden(String),
    /// 403: a delegation policy lets less be delegated.
    #[error("{0}")]
    AboveCeiling(Box<Above>),
    /// 403 for an operation that policy refuses.
    #[error("You are not authorized to perform the requested action: {0}.")]
    NotPermitted(&'static str),
    /// 404: `Could not find <kind>: <id>.`
    #[error("Could not find {0}: {1}.")]
    NotFound(&'static str, String),
    /// 404 with a message of its own.
    #[error("{0}")]
    NotFoundBecause(String),
    /// 404 in the place of a 401, with a message of its own.
    #[error("{1}")]
    RefusedAsAbsent(Reason, &'static str),
    /// 405.
    #[error("The method is not allowed for the requested URL.")]
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    #[error("The request did not arrive in time.")]
    TooSlow,
    /// 409.
    #[error("{0}")]
    Conflict(String),
    /// 410: what was there once.
    #[error("{0}")]
    Gone(&'static str),
    /// 413: the body is larger than `[oslo_middleware] max_request_body_size`.
    #[error("The request body is larger than this server accepts.")]
    TooLarge,
    /// 503: the database or the keys are away, with a detail for the log; retry after so many seconds.
    #[error("The service is temporarily unavailable. Please try again.")]
    Unavailable(String, u32),
    /// 503 for what the configuration does not switch on, with the option that does; a retry is of no use.
    #[error("{0}")]
    NotConfigured(&'static str),
    /// 503 for a second: more is asked for than can be done. Each of them is no fault, so none is logged.
    #[error("The service is temporarily unavailable. Please try again.")]
    Busy,
    /// 503 for a second: a revocation of this very second would end the new token at its birth.
    #[error("The service is temporarily unavailable. Please try again.")]
    RevokedThisSecond,
    /// The handler is to be run again in a transaction that may write.
    #[error("An unexpected error prevented the server from fulfilling your request.")]
    NeedsWriter,
    /// The handler is to be run again once its slow work is done.
    #[error("An unexpected error prevented the server from fulfilling your request.")]
    Pending,
    /// The handler is to be run again once there is a place for a long read.
    #[error("An unexpected error prevented the server from fulfilling your request.")]
    TakesLong,
    /// The handler is to be run again once a directory has been read.
    #[error("An unexpected error prevented the server from fulfilling your request.")]
    Unread(store::Unread),
    /// 503 for some seconds: a directory does not say what has to be known. Who asked it has logged why.
    #[error("The service is temporarily unavailable. Please try again.")]
    DirectoryAway,
    /// Another transaction was in the way, with a detail for the log: the request is run again, and in the end 503.
    #[error("The service is temporarily unavailable. Please try again.")]
    Retry(String),
    /// 500: our fault. The detail is for the log only.
    #[error("An unexpected error prevented the server from fulfilling your request.")]
    Internal(String),
}

impl Error {
    /// 400 about a field.
    pub fn field(name: &str, problem: &str) -> Self {
        Self::BadRequest(format!("{name}: {problem}"))
    }

    /// 409 for a name that is taken.
    pub fn taken(kind: &str, detail: &str) -> Self {
        Self::Conflict(format!("Conflict occurred attempting to store {kind} - {detail}."))
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::UnsupportedGrantType(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_)
            | Self::UnauthorizedBecause(..)
            | Self::Started(_)
            | Self::PasswordExpired(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::AboveCeiling(_) | Self::NotPermitted(_) => StatusCode::FORBIDDEN,
            Self::NotFound(..) | Self::NotFoundBecause(_) | Self::RefusedAsAbsent(..) => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Gone(_) => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable(..)
            | Self::NotConfigured(_)
            | Self::Busy
            | Self::RevokedThisSecond
            | Self::DirectoryAway
            | Self::Retry(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NeedsWriter | Self::Pending | Self::TakesLong | Self::Unread(_) | Self::Internal(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// What the client reads.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// Why the caller was refused, for the log; `None` when that is not what happened.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Unauthorized(reason)
            | Self::UnauthorizedBecause(reason, _)
            | Self::RefusedAsAbsent(reason, _) => Some(*reason),
            Self::PasswordExpired(_) => Some(Reason::PasswordExpired),
            Self::Started(_) => Some(Reason::MissingFactor),
            Self::NotPermitted(_) => Some(Reason::Policy),
            Self::Forbidden(_) | Self::AboveCeiling(_) => Some(Reason::Rule),
            _ => None,
        }
    }

    /// What only the log may know.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Internal(d) | Self::Unavailable(d, _) | Self::Retry(d) => Some(d),
            Self::NeedsWriter | Self::Pending | Self::TakesLong | Self::Unread(_) => {
                Some("a handler was not run again")
            }
            _ => None,
        }
    }
}

/// The challenge that RFC 9110 wants with each 401, in the scheme that Keystone names. `base` is what links
/// begin with, so only the layer around a request knows it.
pub fn challenge(base: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("Keystone uri=\"{base}/v3\"")).ok()
}

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Self {
        match e {
            store::Error::Duplicate => Self::Conflict("Conflict occurred: it exists already.".into()),
            store::Error::Retry(d) => Self::Retry(d),
            store::Error::NeedsWriter => Self::NeedsWriter,
            store::Error::Unavailable(d) => Self::Unavailable(d, 1),
            store::Error::Refused(d) => Self::BadRequest(d),
            store::Error::Unread(what) => Self::Unread(what),
            store::Error::DirectoryAway => Self::DirectoryAway,
            store::Error::Broken(d) => Self::Internal(d),
        }
    }
}

impl From<Refusal> for Error {
    fn from(r: Refusal) -> Self {
        let r = match r {
            Refusal::AboveCeiling(above) => return Self::AboveCeiling(Box::new(above)),
            other => other,
        };
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
        if let Some(detail) = self.detail() {
            tracing::error!(status = status.as_u16(), detail, "request failed");
        }
        if let Self::Started(started) = self {
            let Started { receipt, body } = *started;
            let mut response = (status, Json(body)).into_response();
            if let Ok(value) = HeaderValue::from_str(&receipt.0) {
                response.headers_mut().insert(RECEIPT, value);
            }
            return response;
        }
        let title = status.canonical_reason().unwrap_or("Error");
        let body = json!({"error": {"code": status.as_u16(), "message": self.message(), "title": title}});
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        match &self {
            Self::Busy | Self::RevokedThisSecond | Self::Retry(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::DirectoryAway => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::Unavailable(_, seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_log_only_is_not_shown() {
        for e in [Error::Internal("d".into()), Error::Unavailable("d".into(), 7), Error::Retry("d".into())] {
            assert_eq!(e.detail(), Some("d"));
            assert!(e.message().len() > 20 && !e.message().contains(": d"), "{e}");
        }
        assert_eq!(Error::NotFound("user", "u1".into()).to_string(), "Could not find user: u1.");
    }

    #[test]
    fn whatever_the_reason_the_client_reads_the_same() {
        let usual = Error::Unauthorized(Reason::NoToken);
        for reason in Reason::ALL {
            let e = Error::Unauthorized(*reason);
            assert_eq!((e.message(), e.status()), (usual.message(), usual.status()));
            assert_eq!((e.reason(), e.detail()), (Some(*reason), None));
        }
    }

    #[test]
    fn a_challenge_is_never_two_headers() {
        assert_eq!(challenge("https://h").expect("a header"), "Keystone uri=\"https://h/v3\"");
        assert_eq!(challenge("https://h\r\nx: y"), None);
    }
}
