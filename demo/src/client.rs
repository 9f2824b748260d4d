//! The requests of the story, over HTTP or HTTPS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Method, Request, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::Stop;
use crate::cloud::Trust;

/// The most that one request may take, from the connection to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest answer that is read, in bytes.
const MAX_BODY: u64 = 4 << 20;
/// How often a request is sent while the server answers 503.
const TRIES: usize = 5;
/// The header with the token of the caller.
const AUTH_TOKEN: &str = "X-Auth-Token";
/// The header with the token that a request is about, or that an answer issues.
const SUBJECT_TOKEN: &str = "X-Subject-Token";
const ACCESS_RULES: &str = "OpenStack-Identity-Access-Rules";

/// Speaks to one server.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    /// The server's URL without `/v3`.
    base: String,
    stop: Arc<AtomicBool>,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The token in the header, if there is one.
    pub(crate) token: Option<String>,
    pub(crate) body: Value,
}

impl Answer {
    /// A string in the body that the story cannot do without.
    pub(crate) fn text(&self, pointer: &str) -> Result<String, Stop> {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found.map(str::to_owned).ok_or_else(|| self.lacks(pointer.trim_start_matches('/')))
    }

    fn lacks(&self, what: &str) -> Stop {
        let why = self.reason().map(|r| format!(", {r}")).unwrap_or_default();
        Stop(format!("the answer has no {} (status {}{why})", what.replace('/', " "), self.status))
    }

    /// The token in the header, which the story cannot do without.
    pub(crate) fn token(&self) -> Result<String, Stop> {
        self.token.clone().ok_or_else(|| self.lacks("token"))
    }

    /// The list at a pointer; empty when there is no list.
    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        self.body.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Why the server refused, in its own words.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.body.pointer("/error/message").and_then(Value::as_str)
    }
}

impl Client {
    /// A client for a server's URL, with or without `/v3`. Once `stop` is set, no request is begun.
    ///
    /// # Errors
    /// When the URL is not one of HTTP or HTTPS, or the certificates cannot be read.
    pub(crate) fn new(url: &str, trust: &Trust, stop: Arc<AtomicBool>) -> Result<Self, Stop> {
        let base = base(url)?;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT));
        if is_loopback(&base) {
            // A proxy that the environment names would look for it on its own machine.
            config = config.proxy(None);
        }
        if base.starts_with("https:") {
            config = config.tls_config(tls(trust)?);
        }
        Ok(Self { agent: config.build().new_agent(), base, stop })
    }

    /// `GET` with a token.
    pub(crate) fn get(&self, token: &str, path: &str) -> Result<Answer, Stop> {
        self.call(Method::GET, path, &[(AUTH_TOKEN, token)], None)
    }

    /// `PUT` without a body.
    pub(crate) fn put(&self, token: &str, path: &str) -> Result<Answer, Stop> {
        self.call(Method::PUT, path, &[(AUTH_TOKEN, token)], None)
    }

    /// `PUT` with a body.
    pub(crate) fn put_body(&self, token: &str, path: &str, body: &Value) -> Result<Answer, Stop> {
        self.call(Method::PUT, path, &[(AUTH_TOKEN, token)], Some(body))
    }

    /// `PATCH`.
    pub(crate) fn patch(&self, token: &str, path: &str, body: &Value) -> Result<Answer, Stop> {
        self.call(Method::PATCH, path, &[(AUTH_TOKEN, token)], Some(body))
    }

    /// `DELETE`.
    pub(crate) fn delete(&self, token: &str, path: &str) -> Result<Answer, Stop> {
        self.call(Method::DELETE, path, &[(AUTH_TOKEN, token)], None)
    }

    /// `POST` with a token.
    pub(crate) fn post(&self, token: &str, path: &str, body: &Value) -> Result<Answer, Stop> {
        self.call(Method::POST, path, &[(AUTH_TOKEN, token)], Some(body))
    }

    /// A login.
    pub(crate) fn login(&self, auth: &Value) -> Result<Answer, Stop> {
        self.call(Method::POST, "/v3/auth/tokens", &[], Some(auth))
    }

    /// Validation of a token by the bearer of another.
    pub(crate) fn validate(&self, token: &str, subject: &str) -> Result<Answer, Stop> {
        let headers = [(AUTH_TOKEN, token), (SUBJECT_TOKEN, subject)];
        self.call(Method::GET, "/v3/auth/tokens?nocatalog=1", &headers, None)
    }

    /// Validation by a service that says that it enforces access rules.
    pub(crate) fn validate_with_rules(&self, token: &str, subject: &str) -> Result<Answer, Stop> {
        let headers = [(AUTH_TOKEN, token), (SUBJECT_TOKEN, subject), (ACCESS_RULES, "1.0")];
        self.call(Method::GET, "/v3/auth/tokens?nocatalog=1", &headers, None)
    }

    /// Sends a request, and again after a second as long as the server says that it is busy.
    fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Stop> {
        for _ in 1..TRIES {
            let answer = self.once(&method, path, headers, body)?;
            if answer.status != 503 {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        self.once(&method, path, headers, body)
    }

    fn once(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Stop> {
        if self.stop.load(Ordering::SeqCst) {
            return Err(Stop("stopped by a signal".into()));
        }
        let failed = |what: String| Stop(format!("{method} {path}: {what}"));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::ACCEPT, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = match body {
            None => request.body(()).map(|r| self.agent.run(r)),
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string())
                .map(|r| self.agent.run(r)),
        };
        let mut answer = answer
            .map_err(|e| failed(e.to_string()))?
            .map_err(|e| failed(format!("{} cannot be reached: {e}", self.base)))?;
        let status = answer.status().as_u16();
        let token = answer.headers().get(SUBJECT_TOKEN).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let bytes = answer
            .body_mut()
            .with_config()
            .limit(MAX_BODY)
            .read_to_vec()
            .map_err(|e| failed(format!("the answer cannot be read: {e}")))?;
        Ok(Answer { status, token, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    }
}

/// A server's URL without `/v3`.
fn base(url: &str) -> Result<String, Stop> {
    let wrong = || Stop(format!("{url}: not a URL like http://127.0.0.1:5000"));
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    let whole = url.trim_end_matches('/');
    Ok(whole.strip_suffix("/v3").unwrap_or(whole).to_owned())
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// How a server proves who it is: by the certificates of the system, and those that the cloud names.
fn tls(trust: &Trust) -> Result<TlsConfig, Stop> {
    let config = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let roots = match trust {
        Trust::Anybody => return Ok(config.disable_verification(true).build()),
        Trust::System => rustls_native_certs::load_native_certs().certs,
        Trust::Authority(file) => {
            let read = rustls_native_certs::load_certs_from_paths(Some(file), None);
            if read.certs.is_empty() {
                return Err(Stop(format!("{}: no certificates can be read from it", file.display())));
            }
            read.certs
        }
    };
    let roots = roots.iter().map(|c| Certificate::from_der(c).to_owned());
    Ok(config.root_certs(RootCerts::from(roots)).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_and_without_a_path() {
        for (url, expected) in [
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("http://keystone.example/v3/", "http://keystone.example"),
            ("http://[::1]:8080/identity/v3", "http://[::1]:8080/identity"),
            ("https://cloud/identity", "https://cloud/identity"),
        ] {
            assert_eq!(base(url).ok().as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn no_proxy_is_asked_for_this_machine() {
        assert!(is_loopback("http://127.0.0.1:5000") && is_loopback("https://[::1]/identity"));
        assert!(is_loopback("http://localhost:1") && !is_loopback("http://192.0.2.1:5000"));
    }

    #[test]
    fn other_urls_are_refused() {
        for url in ["127.0.0.1:5000", "/v3", "", "ftp://cloud/v3", "http://"] {
            assert!(base(url).expect_err(url).0.contains("not a URL like"), "{url}");
        }
    }
}
