//! What a provider has at a URL: JSON, within a time and a length.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::byte_serialize;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::config::oidc::{Client as Us, Oidc};
use crate::remote;

/// The type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

/// The longest answer that is read.
const LONGEST: usize = 512 << 10;

/// The way to one provider.
pub struct Fetch {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Fetch {
    /// Reads the certificates.
    pub fn new(options: &Oidc) -> Result<Self, String> {
        let tls = remote::tls(options.ca.as_deref(), (None, None), "[oidc] cafile")?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, timeout: options.timeout })
    }

    /// What is at a URL. Nobody is followed elsewhere.
    pub async fn get(&self, url: &str) -> Result<Value, String> {
        let request = Request::get(url).header(ACCEPT, "application/json").body(Full::default());
        match self.ask(url, request).await? {
            (status, _) if !status.is_success() => Err(format!("{url}: it answers {status}")),
            (_, Some(said)) => Ok(said),
            (_, None) => Err(format!("{url}: its answer is no JSON")),
        }
    }

    /// What is answered to a form of a client that names itself (RFC 6749, 2.3.1): the status, and JSON, if it is any.
    pub async fn post(
        &self,
        url: &str,
        us: &Us,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Value), String> {
        let (status, said) = self.ask(url, posted(url, us, form)).await?;
        match said {
            None if status.is_success() => Err(format!("{url}: its answer is no JSON")),
            said => Ok((status, said.unwrap_or_default())),
        }
    }

    async fn ask(
        &self,
        url: &str,
        request: hyper::http::Result<Request<Full<Bytes>>>,
    ) -> Result<(StatusCode, Option<Value>), String> {
        let asked = async {
            let response = self.client.request(request.map_err(|e| e.to_string())?).await;
            let response = response.map_err(|e| match std::error::Error::source(&e) {
                Some(source) => format!("{e}: {source}"),
                None => e.to_string(),
            })?;
            let status = response.status();
            let body =
                Limited::new(response.into_body(), LONGEST).collect().await.map_err(|e| e.to_string())?;
            Ok((status, serde_json::from_slice(&body.to_bytes()).ok()))
        };
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(answer) => answer.map_err(|why: String| format!("{url}: {why}")),
            Err(_) => Err(format!("{url}: no answer in time")),
        }
    }
}

/// A form of a client that names itself.
fn posted(url: &str, us: &Us, form: &[(&str, &str)]) -> hyper::http::Result<Request<Full<Bytes>>> {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(form);
    let mut request = Request::post(url).header(ACCEPT, "application/json").header(CONTENT_TYPE, FORM);
    match &us.secret {
        Some(secret) => {
            let coded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let both = STANDARD.encode(format!("{}:{}", coded(&us.id), coded(&secret.0)));
            request = request.header(AUTHORIZATION, format!("Basic {both}"));
        }
        None => {
            text.append_pair("client_id", &us.id);
        }
    }
    request.body(Full::from(text.finish()))
}
