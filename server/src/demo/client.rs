//! An HTTP client that is just enough: plain HTTP/1.1, JSON, one connection for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::Stop;
use crate::http::request::{AUTH_TOKEN, SUBJECT_TOKEN};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How large an answer may be.
const LARGEST: usize = 4 << 20;
/// So often a server may say that it is busy for a moment.
const TRIES: usize = 5;

/// Speaks to one server.
#[derive(Debug)]
pub(super) struct Client {
    host: String,
    port: u16,
    /// As it stands in the `Host` header.
    authority: String,
    /// What paths begin with, before `/v3`.
    prefix: String,
    stop: Arc<AtomicBool>,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The token in the header, if there is one.
    pub(super) token: Option<String>,
    pub(super) body: Value,
}

impl Answer {
    /// A text in the body that the story cannot do without.
    pub(super) fn text(&self, pointer: &str) -> Result<String, Stop> {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found.map(str::to_owned).ok_or_else(|| self.lacks(pointer.trim_start_matches('/')))
    }

    fn lacks(&self, what: &str) -> Stop {
        let why = self.reason().map(|r| format!(", {r}")).unwrap_or_default();
        Stop(format!("the answer has no {} (status {}{why})", what.replace('/', " "), self.status))
    }

    /// The token in the header, which the story cannot do without.
    pub(super) fn token(&self) -> Result<String, Stop> {
        self.token.clone().ok_or_else(|| self.lacks("token"))
    }

    /// The list at a pointer; what is no list is empty.
    pub(super) fn list(&self, pointer: &str) -> &[Value] {
        self.body.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Why the server refused, in its words.
    pub(super) fn reason(&self) -> Option<&str> {
        self.body.pointer("/error/message").and_then(Value::as_str)
    }
}

impl Client {
    /// For a server's address, with or without `/v3`. Once `stop` is set, no request is begun.
    pub(super) fn new(url: &str, stop: Arc<AtomicBool>) -> Result<Self, Stop> {
        let wrong = |what: &str| Stop(format!("{url}: {what}"));
        let uri: Uri = url.parse().map_err(|_| wrong("no address like http://127.0.0.1:5000"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong("this command speaks plain http only; name an http address of the server"));
            }
            _ => return Err(wrong("no address like http://127.0.0.1:5000")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            // An IPv6 address stands in brackets in a URL, and without them elsewhere.
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: authority.as_str().to_owned(),
            prefix: path.strip_suffix("/v3").unwrap_or(path).to_owned(),
            stop,
        })
    }

    /// `GET` with a token.
    pub(super) async fn get(&self, token: &str, path: &str) -> Result<Answer, Stop> {
        self.call(Method::GET, path, Some(token), None, None).await
    }

    /// `PUT` without a body.
    pub(super) async fn put(&self, token: &str, path: &str) -> Result<Answer, Stop> {
        self.call(Method::PUT, path, Some(token), None, None).await
    }

    /// `DELETE`.
    pub(super) async fn delete(&self, token: &str, path: &str) -> Result<Answer, Stop> {
        self.call(Method::DELETE, path, Some(token), None, None).await
    }

    /// `POST` with a token.
    pub(super) async fn post(&self, token: &str, path: &str, body: &Value) -> Result<Answer, Stop> {
        self.call(Method::POST, path, Some(token), None, Some(body)).await
    }

    /// A login.
    pub(super) async fn login(&self, auth: &Value) -> Result<Answer, Stop> {
        self.call(Method::POST, "/v3/auth/tokens", None, None, Some(auth)).await
    }

    /// Validation of a token by the bearer of another.
    pub(super) async fn validate(&self, token: &str, subject: &str) -> Result<Answer, Stop> {
        self.call(Method::GET, "/v3/auth/tokens?nocatalog=1", Some(token), Some(subject), None).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        subject: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, Stop> {
        for _ in 1..TRIES {
            let answer = self.once(&method, path, token, subject, body).await?;
            if answer.status != 503 {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.once(&method, path, token, subject, body).await
    }

    async fn once(
        &self,
        method: &Method,
        path: &str,
        token: Option<&str>,
        subject: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, Stop> {
        if self.stop.load(Ordering::SeqCst) {
            return Err(Stop("stopped by a signal".into()));
        }
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(header::HOST, &self.authority)
            .header(header::ACCEPT, "application/json")
            .header(header::CONNECTION, "close");
        if let Some(token) = token {
            request = request.header(AUTH_TOKEN, token);
        }
        if let Some(subject) = subject {
            request = request.header(SUBJECT_TOKEN, subject);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let failed = |what: String| Stop(format!("{method} {path}: {what}"));
        let request = request.body(Full::new(Bytes::from(bytes))).map_err(|e| failed(e.to_string()))?;
        match tokio::time::timeout(PATIENCE, self.exchange(request)).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(failed(format!("no answer within {} seconds", PATIENCE.as_secs()))),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|e| format!("{} cannot be reached: {e}", self.authority))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        // Ends by itself with the answer: the request says `Connection: close`.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| format!("no answer: {e}"))?;
        let status = response.status().as_u16();
        let token = response.headers().get(SUBJECT_TOKEN).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = Limited::new(response.into_body(), LARGEST)
            .collect()
            .await
            .map_err(|e| format!("the answer breaks off: {e}"))?
            .to_bytes();
        Ok(Answer { status, token, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, Stop> {
        Client::new(url, Arc::default())
    }

    #[test]
    fn addresses_with_and_without_a_path() {
        for (url, host, port, prefix) in [
            ("http://127.0.0.1:5000", "127.0.0.1", 5000, ""),
            ("http://keystone.example/v3/", "keystone.example", 80, ""),
            ("http://[::1]:8080/identity/v3", "::1", 8080, "/identity"),
            ("http://cloud/identity", "cloud", 80, "/identity"),
        ] {
            let c = client(url).expect(url);
            assert_eq!((c.host.as_str(), c.port, c.prefix.as_str()), (host, port, prefix), "{url}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_spoken_to_are_refused_in_words() {
        let says = |url: &str| client(url).expect_err(url).0;
        assert!(says("https://127.0.0.1:5000").contains("plain http only"));
        assert!(says("127.0.0.1:5000").contains("no address like"));
        assert!(says("/v3").contains("no address like"));
        assert!(says("").contains("no address like"));
    }
}
