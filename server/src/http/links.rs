//! Links in answers.

use axum::http::{HeaderMap, Uri, header};

use super::link::link_path;

/// What links begin with: scheme, host and port.
#[derive(Debug, Clone)]
pub struct Links {
    base: String,
}

impl Links {
    /// From `[DEFAULT] public_endpoint`, or from what the client called us by.
    pub fn new(public: Option<&str>, headers: &HeaderMap, uri: &Uri, encrypted: bool) -> Self {
        if let Some(public) = public {
            return Self { base: public.to_owned() };
        }
        let scheme = if encrypted { "https" } else { "http" };
        let host = headers
            .get(header::HOST)
            .and_then(|h| h.to_str().ok())
            .or_else(|| uri.authority().map(|a| a.as_str()))
            // A name, an address, a port: nothing else gets into a link.
            .filter(|h| h.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)))
            .unwrap_or("localhost");
        let host = host.strip_suffix(if encrypted { ":443" } else { ":80" }).unwrap_or(host);
        Self { base: format!("{scheme}://{host}") }
    }

    /// Scheme, host and port.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A link to a path below `/v3` of these segments, each of which can be any string.
    pub fn of(&self, segments: &[&str]) -> String {
        self.to(&link_path(segments))
    }

    /// A link to a path below `/v3`, encoded already.
    pub fn to(&self, path: &str) -> String {
        format!("{}/v3{path}", self.base)
    }
}
