//! The request as handlers see it.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use vicar_rules::policy::{Facts, Op};
use vicar_rules::token::Act;

use super::caller::{Caller, Permit};
use super::layers::TooSlow;
use super::log::Line;
use super::page::Query;
use super::schema::Schema;
use crate::app::App;
use crate::error::{Error, Result};
use crate::store::Tx;
use crate::tokens::model::{Asked, validate};

/// The header with the caller's token.
pub const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// The header with the token that a call is about.
pub const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// A request. Nothing is checked until a handler asks.
#[derive(Debug)]
pub struct Req {
    /// The server.
    pub app: Arc<App>,
    /// What links begin with: scheme, host and port.
    pub base: String,
    /// The query.
    pub query: Query,
    /// The path, as the client wrote it.
    pub path: String,
    headers: HeaderMap,
    body: Bytes,
    line: Line,
    caller: OnceCell<Caller>,
}

/// Was the connection encrypted? Set by the listener.
#[derive(Debug, Clone, Copy)]
pub struct Encrypted(pub bool);

impl FromRequest<Arc<App>> for Req {
    type Rejection = Error;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self> {
        let (mut parts, body) = request.into_parts();
        let encrypted = parts.extensions.get::<Encrypted>().is_some_and(|e| e.0);
        let line = parts.extensions.remove::<Line>().unwrap_or_default();
        let body = read_body(body, app.config.max_body).await?;
        Ok(Self {
            base: base(app, &parts.headers, &parts.uri, encrypted),
            query: Query::parse(parts.uri.query().unwrap_or_default())?,
            path: parts.uri.path().to_owned(),
            app: Arc::clone(app),
            headers: parts.headers,
            body,
            line,
            caller: OnceCell::new(),
        })
    }
}

/// How much of a body that is too large is still taken in. A client reads the answer only once it has
/// sent all; past this it is cut off.
const DISCARDED: usize = 8 << 20;

/// The whole body, up to a limit.
pub(super) async fn read_body(mut body: Body, limit: usize) -> Result<Bytes> {
    let mut taken = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| match TooSlow::caused(&e) {
            true => Error::TooSlow,
            false => Error::BadRequest("the request body could not be read".into()),
        })?;
        let Some(data) = frame.data_ref() else { continue };
        seen += data.len();
        if seen <= limit {
            taken.extend_from_slice(data);
        } else if seen > limit.saturating_add(DISCARDED) {
            break;
        }
    }
    if seen > limit { Err(Error::TooLarge) } else { Ok(taken.into()) }
}

/// What links begin with: `public_endpoint`, or what the client called us by.
fn base(app: &App, headers: &HeaderMap, uri: &axum::http::Uri, encrypted: bool) -> String {
    if let Some(public) = &app.config.public_endpoint {
        return public.clone();
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
    format!("{scheme}://{host}")
}

impl Req {
    /// A header's text. One that stands twice is ambiguous, so it counts as malformed.
    pub fn header(&self, name: &HeaderName) -> Result<Option<&str>> {
        let mut all = self.headers.get_all(name).iter();
        let Some(first) = all.next() else {
            return Ok(None);
        };
        if all.next().is_some() {
            return Err(Error::BadRequest(format!("{name}: the header stands more than once")));
        }
        first.to_str().map(Some).map_err(|_| Error::BadRequest(format!("{name}: not readable as text")))
    }

    /// A token in a header. What is not readable as text is a token that we did not make, like any other:
    /// 401, or 404 for a subject. Middleware would take a 400 for an outage of ours.
    pub fn token_header(&self, name: &HeaderName) -> Result<Option<&str>> {
        match self.headers.get(name) {
            Some(bytes) if bytes.to_str().is_err() => Ok(Some("")),
            _ => self.header(name),
        }
    }

    /// Who calls: 401 when there is no valid token, 403 when it is of a kind that may do nothing here.
    pub async fn caller(&self) -> Result<&Caller> {
        let caller = self
            .caller
            .get_or_try_init(|| async {
                let text = self.token_header(&AUTH_TOKEN)?.ok_or(Error::Unauthorized)?;
                if let Some(admin) = &self.app.config.admin_token {
                    use subtle::ConstantTimeEq;
                    if bool::from(admin.0.as_bytes().ct_eq(text.as_bytes())) {
                        return Ok(Caller::admin_token());
                    }
                }
                let mut tx = self.app.store.read().await?;
                let asked = Asked { window: 0, understands_access_rules: false };
                let token = validate(&mut tx, &self.app, text, asked).await?.ok_or(Error::Unauthorized)?;
                self.line.caller(&token);
                Ok::<_, Error>(Caller::with(token))
            })
            .await?;
        caller.may(&self.app, Act::Use)?;
        Ok(caller)
    }

    /// Caller and policy at once, for operations that need no facts about an object.
    pub async fn permit(&self, op: Op, facts: &Facts) -> Result<Permit> {
        self.caller().await?.permit(&self.app, op, facts)
    }

    /// The log line of this request.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// A consistent read.
    pub async fn read(&self) -> Result<Tx> {
        Ok(self.app.store.read().await?)
    }

    /// A transaction that may write.
    pub async fn write(&self) -> Result<Tx> {
        Ok(self.app.store.write().await?)
    }

    /// Is there a body at all?
    pub fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The body as a JSON object.
    pub fn json(&self) -> Result<Map<String, Value>> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(Error::BadRequest("the request body must be a JSON object".into())),
            // The position helps; the text around it could be a secret.
            Err(e) => Err(Error::BadRequest(format!(
                "the request body is not valid JSON (line {}, column {})",
                e.line(),
                e.column()
            ))),
        }
    }

    /// The object under `name` in the body, checked against its schema.
    pub fn member(&self, name: &str, schema: &Schema) -> Result<Map<String, Value>> {
        let mut body = self.json()?;
        match body.remove(name) {
            Some(Value::Object(member)) => {
                schema.check(name, &Value::Object(member.clone()))?;
                Ok(member)
            }
            Some(_) => Err(Error::field(name, "must be an object")),
            None => Err(Error::field(name, "is required in the request body")),
        }
    }

    /// A link to a path below `/v3`.
    pub fn link(&self, path: &str) -> String {
        format!("{}/v3{path}", self.base)
    }

    /// An answer with one object under its name.
    pub fn one(&self, name: &str, member: Value) -> Response {
        axum::Json(json!({ name: member })).into_response()
    }

    /// The same with 201.
    pub fn created(&self, name: &str, member: Value) -> Response {
        (StatusCode::CREATED, axum::Json(json!({ name: member }))).into_response()
    }

    /// An answer with a list under its name: filtered by the query's `filters`, paged, with links.
    pub fn list(&self, name: &str, items: Vec<Value>, filters: &[&str]) -> Result<Response> {
        let page = self.query.page(items, filters, self.app.config.list_limit)?;
        let next =
            page.next.map(|marker| format!("{}{}?{}", self.base, self.path, self.query.with_marker(&marker)));
        let mut body = json!({
            name: page.items,
            "links": {"next": next, "self": self.own_link(), "previous": null},
        });
        if page.truncated {
            body["truncated"] = Value::Bool(true);
        }
        Ok(axum::Json(body).into_response())
    }

    /// The same, whole: for items without an id, which no marker could name.
    pub fn whole_list(&self, name: &str, items: Vec<Value>) -> Response {
        let links = json!({"next": null, "self": self.own_link(), "previous": null});
        axum::Json(json!({ name: items, "links": links })).into_response()
    }

    /// A link to what was asked for.
    fn own_link(&self) -> String {
        match self.query.raw() {
            "" => format!("{}{}", self.base, self.path),
            raw => format!("{}{}?{raw}", self.base, self.path),
        }
    }
}

/// 204
pub fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Adds a header whose value was made by this server.
pub fn with_header(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(v) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, v);
    }
    response
}

/// Takes a text out of a checked body.
pub fn take_text(map: &mut Map<String, Value>, name: &str) -> Option<String> {
    match map.remove(name) {
        Some(Value::String(s)) => Some(s),
        _ => None,
    }
}
