//! What pages of other origins may do with a browser (`[cors]`), told as oslo.middleware tells it.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::config::front::Cors;

/// What browsers need no permission for.
const SIMPLE: [HeaderName; 8] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::CONTENT_LANGUAGE,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::PRAGMA,
];

/// What a browser wants to know with a request.
#[derive(Debug)]
pub struct Question<'c> {
    is_preflight: bool,
    allowed: Option<Allowed<'c>>,
}

/// What is allowed to whoever asks.
#[derive(Debug)]
struct Allowed<'c> {
    origin: HeaderValue,
    of: &'c Cors,
    headers: Vec<(HeaderName, String)>,
}

impl<'c> Question<'c> {
    /// The question in a request.
    pub fn of(all: &'c [Cors], request: &Parts) -> Self {
        let is_preflight = request.method == Method::OPTIONS;
        let allowed = request.headers.get(header::ORIGIN).and_then(|origin| {
            let of = find(all, origin)?;
            let told = if is_preflight { preflight(of, &request.headers)? } else { usual(of) };
            Some(Allowed { origin: origin.clone(), of, headers: told })
        });
        Self { is_preflight, allowed }
    }

    /// An answer with what the browser wants to know. An `OPTIONS` request to what is not there is answered well, since
    /// it may be a browser's question before a request.
    pub fn answered(self, mut response: Response) -> Response {
        let is_missing = matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        if self.is_preflight && is_missing {
            response = StatusCode::OK.into_response();
        }
        let Some(Allowed { origin: asked, of, headers: allowed }) = self.allowed else { return response };
        let headers = response.headers_mut();
        let vary =
            headers.get(header::VARY).filter(|_| !self.is_preflight).and_then(|vary| vary.to_str().ok());
        let vary = vary.map_or_else(|| "Origin".to_owned(), |vary| format!("{vary},Origin"));
        let origin = if of.origin == "*" { HeaderValue::from_static("*") } else { asked };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if of.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        for (name, value) in std::iter::once((header::VARY, vary)).chain(allowed) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// What is allowed for an origin; `*` is for all that have nothing of their own.
fn find<'c>(all: &'c [Cors], origin: &HeaderValue) -> Option<&'c Cors> {
    let named = |name: &[u8]| all.iter().find(|cors| cors.origin.as_bytes() == name);
    named(origin.as_bytes()).or_else(|| named(b"*"))
}

/// The headers for a request itself.
fn usual(of: &Cors) -> Vec<(HeaderName, String)> {
    let expose = Some(of.expose.join(",")).filter(|names| !names.is_empty());
    expose.into_iter().map(|names| (header::ACCESS_CONTROL_EXPOSE_HEADERS, names)).collect()
}

/// The headers for the question before a request; nothing when the request is not allowed.
fn preflight(of: &Cors, headers: &HeaderMap) -> Option<Vec<(HeaderName, String)>> {
    let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()?;
    if !of.methods.iter().any(|allowed| allowed == method) {
        return None;
    }
    let mut names = Vec::new();
    for line in headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        names.extend(line.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()));
    }
    let is_allowed = |name: &&str| {
        SIMPLE.iter().map(HeaderName::as_str).any(|simple| simple.eq_ignore_ascii_case(name))
            || of.headers.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    };
    if !names.iter().all(is_allowed) {
        return None;
    }
    let mut allowed = vec![(header::ACCESS_CONTROL_ALLOW_METHODS, method.to_owned())];
    if of.max_age != 0 {
        allowed.push((header::ACCESS_CONTROL_MAX_AGE, of.max_age.to_string()));
    }
    if !names.is_empty() {
        allowed.push((header::ACCESS_CONTROL_ALLOW_HEADERS, names.join(",")));
    }
    Some(allowed)
}
