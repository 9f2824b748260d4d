//! What a provider has at a URL: JSON, within a time and a length.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::ACCEPT;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::config::oidc::Oidc;
use crate::remote;

/// The longest answer that is read.
const LONGEST: usize = 512 << 10;

/// The way to one provider.
pub struct Fetch {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
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
        let asked = async {
            let request = Request::get(url).header(ACCEPT, "application/json").body(Empty::new());
            let response = self.client.request(request.map_err(|e| e.to_string())?).await;
            let response = response.map_err(|e| match std::error::Error::source(&e) {
                Some(source) => format!("{e}: {source}"),
                None => e.to_string(),
            })?;
            if !response.status().is_success() {
                return Err(format!("it answers {}", response.status()));
            }
            let body =
                Limited::new(response.into_body(), LONGEST).collect().await.map_err(|e| e.to_string())?;
            serde_json::from_slice(&body.to_bytes()).map_err(|_| "its answer is no JSON".to_owned())
        };
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(answer) => answer.map_err(|why| format!("{url}: {why}")),
            Err(_) => Err(format!("{url}: no answer in time")),
        }
    }
}
