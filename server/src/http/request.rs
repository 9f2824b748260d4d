//! The request as handlers see it, read whole and parsed.

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::client_certificate::Shown;
use super::layers::TooSlow;
use super::links::Links;
use super::page::{Page, Query};
use super::schema::Schema;
use crate::error::{Error, Result};
use crate::extra;
use crate::line::Line;
use crate::peer::{Peer, Proxies, X_FORWARDED};

/// The header with the caller's token.
pub const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// The header with the token of a service that calls for somebody else.
pub const SERVICE_TOKEN: HeaderName = HeaderName::from_static("x-service-token");
/// The header with the token that a call is about.
pub const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// The type of forms.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// A request that was read whole, with what it got on its way.
#[derive(Debug)]
pub struct Read {
    /// All but the body.
    pub parts: Parts,
    /// The body.
    pub body: Bytes,
    /// What links in the answer begin with.
    pub links: Links,
    /// The log line.
    pub line: Line,
    /// Its id.
    pub id: String,
}

/// A request. Nothing in it is checked.
#[derive(Debug)]
pub struct Request {
    /// What links in the answer begin with.
    pub links: Links,
    /// The query.
    pub query: Query,
    /// The method, as the client wrote it.
    pub method: Method,
    /// The path, as the client wrote it.
    pub path: String,
    /// The log line.
    pub line: Line,
    /// Its id.
    pub id: String,
    params: Vec<(&'static str, String)>,
    headers: HeaderMap,
    peer: Option<Peer>,
    shown: Option<Shown>,
    body: Bytes,
}

/// How much of a body that is too large is still taken in. A client reads the answer only once it has
/// sent all; past this it is cut off.
const DISCARDED: usize = 8 << 20;

/// The whole body, up to a limit.
pub async fn read_body(mut body: Body, limit: usize) -> Result<Bytes> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
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

impl Request {
    /// Parses what was read. `params` are the variable parts of the path as the client wrote them.
    ///
    /// # Errors
    /// 400 when the path or the query is not properly encoded.
    pub fn new(read: Read, params: impl Iterator<Item = (&'static str, impl AsRef<str>)>) -> Result<Self> {
        let Read { parts, body, links, line, id } = read;
        let decoded = params.map(|(name, value)| {
            let value = percent_decode_str(value.as_ref()).decode_utf8();
            let value = value.map_err(|_| Error::BadRequest(format!("Invalid UTF-8 in `{name}`")))?;
            Ok((name, value.into_owned()))
        });
        Ok(Self {
            params: decoded.collect::<Result<_>>()?,
            query: Query::parse(parts.uri.query().unwrap_or_default())?,
            method: parts.method,
            path: parts.uri.path().to_owned(),
            links,
            line,
            id,
            peer: parts.extensions.get::<Peer>().cloned(),
            shown: parts.extensions.get::<Shown>().cloned(),
            headers: parts.headers,
            body,
        })
    }

    /// A variable part of the path, decoded.
    ///
    /// # Errors
    /// Ours: the route has no such part.
    pub fn param(&self, name: &str) -> Result<&str> {
        self.param_opt(name).ok_or_else(|| Error::Internal(format!("the route has no part {name}")))
    }

    /// All variable parts of the path.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The same for a part that not every route of a handler has.
    pub fn param_opt(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// A header's value. One that appears twice is ambiguous, so it counts as malformed.
    ///
    /// # Errors
    /// 400 for more than one, or for bytes that are no string.
    pub fn header(&self, name: &HeaderName) -> Result<Option<&str>> {
        let mut all = self.headers.get_all(name).iter();
        let Some(first) = all.next() else {
            return Ok(None);
        };
        if all.next().is_some() {
            return Err(Error::BadRequest(format!("{name}: the header appears more than once")));
        }
        first.to_str().map(Some).map_err(|_| Error::BadRequest(format!("{name}: is no printable string")))
    }

    /// The URLs that the client may have asked for, without the query.
    pub fn urls(&self) -> Vec<String> {
        self.links.bases().map(|base| format!("{base}{}", self.path)).collect()
    }

    /// A token in a header. Bytes that are no string are a token that this server did not make, like any
    /// other: 401, or 404 for a subject. Middleware would take a 400 for an outage of ours.
    ///
    /// # Errors
    /// 400 for more than one.
    pub fn token_header(&self, name: &HeaderName) -> Result<Option<&str>> {
        match self.headers.get(name) {
            Some(bytes) if bytes.to_str().is_err() => Ok(Some("")),
            _ => self.header(name),
        }
    }

    /// Whether one of these has connected.
    pub fn comes_from(&self, from: &Proxies) -> bool {
        self.peer.as_ref().is_some_and(|peer| from.contain(peer.direct))
    }

    /// Whether somebody says that it is another's request, believed or not.
    pub fn is_forwarded(&self) -> bool {
        X_FORWARDED.iter().chain([&header::FORWARDED]).any(|name| self.headers.contains_key(name))
    }

    /// The certificate with which somebody has connected.
    pub fn shown(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }

    /// What a front server says in a header, if it is one of `from` that has connected. Of anybody else's header nothing
    /// is known. Nothing is what an empty one says, too.
    ///
    /// # Errors
    /// 400 for more than one, as one of them may be the client's, and for bytes that are no UTF-8.
    pub fn told_by(&self, from: &Proxies, name: &HeaderName) -> Result<Option<String>> {
        if !self.comes_from(from) {
            return Ok(None);
        }
        let mut all = self.headers.get_all(name).iter();
        let Some(first) = all.next() else { return Ok(None) };
        if all.next().is_some() {
            return Err(Error::BadRequest(format!("{name}: the header appears more than once")));
        }
        match std::str::from_utf8(first.as_bytes()) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(_) => Err(Error::BadRequest(format!("{name}: is not UTF-8"))),
        }
    }

    /// The attribute of this name in the headers of a front server, which begin in one of these ways (in small letters): the
    /// header of its name; or, of a name like `HTTP_OIDC_ISS`, the header that WSGI would show so, `OIDC-iss`. As there, a
    /// header with an underscore is none of these, since a client could send it beside the front server's.
    ///
    /// # Errors
    /// 400 for more than one, as one of them may be the client's.
    pub fn told_attribute(&self, from: &Proxies, starts: &[String], name: &str) -> Result<Option<String>> {
        let header = match name.strip_prefix("HTTP_") {
            Some(rest) => rest.to_ascii_lowercase().replace('_', "-"),
            None => name.to_ascii_lowercase(),
        };
        if !self.comes_from(from) || !starts.iter().any(|start| header.starts_with(start.as_str())) {
            return Ok(None);
        }
        let mut all = self.headers.get_all(&header).iter();
        let Some(first) = all.next() else { return Ok(None) };
        if all.next().is_some() {
            return Err(Error::BadRequest(format!("{header}: the header appears more than once")));
        }
        // Identity providers say UTF-8, and front servers may say Latin-1.
        let text = match std::str::from_utf8(first.as_bytes()) {
            Ok(text) => text.to_owned(),
            Err(_) => first.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
        };
        // What Apache says of a variable that is not there.
        Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text != "(null)"))
    }

    /// Whether a front server of these says anything in a header that begins in one of these ways.
    pub fn is_told(&self, from: &Proxies, starts: &[String]) -> bool {
        let is_one = |name: &HeaderName| starts.iter().any(|start| name.as_str().starts_with(start.as_str()));
        self.comes_from(from) && self.headers.keys().any(is_one)
    }

    /// The values of a header that may be there several times, as far as they are text.
    pub fn all(&self, name: &HeaderName) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// The token that comes along with the scheme `Bearer` (RFC 6750).
    ///
    /// # Errors
    /// 400 for more than one header, or for bytes that are no string.
    pub fn bearer(&self) -> Result<Option<&str>> {
        let header = self.header(&header::AUTHORIZATION)?.and_then(|text| text.split_once(' '));
        let token = header.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        Ok(token.map(|(_, token)| token.trim()))
    }

    /// Whether there is a body at all.
    pub fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    /// 400 when it is none.
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

    /// The pairs of a form; none when the body is something else.
    pub fn form(&self) -> Vec<(String, String)> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim).unwrap_or_default();
        if !kind.eq_ignore_ascii_case(FORM) {
            return Vec::new();
        }
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The object under `name` in the body, checked against its schema.
    ///
    /// # Errors
    /// 400 that names the field.
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

    /// A list under its name: filtered by the query's `filters`, paged, with links.
    ///
    /// # Errors
    /// 400 for a page that cannot be.
    pub fn list(
        &self,
        name: &str,
        items: Vec<Value>,
        filters: &[&str],
        server_limit: Option<u32>,
    ) -> Result<Response> {
        let page = self.query.page(items, filters, server_limit)?;
        Ok(self.page(name, page))
    }

    /// One page of a list under its name, with links.
    pub fn page(&self, name: &str, page: Page) -> Response {
        let next = page
            .next
            .map(|marker| format!("{}{}?{}", self.links.base(), self.path, self.query.with_marker(&marker)));
        let mut body = json!({
            name: page.items,
            "links": {"next": next, "self": self.own_link(), "previous": null},
        });
        if page.truncated {
            extra::set(&mut body, "truncated", true);
        }
        ok(body)
    }

    /// The same, whole: for items without an id, which no marker could name.
    pub fn whole_list(&self, name: &str, items: Vec<Value>) -> Response {
        let links = json!({"next": null, "self": self.own_link(), "previous": null});
        ok(json!({ name: items, "links": links }))
    }

    /// A link to what was asked for.
    fn own_link(&self) -> String {
        match self.query.raw() {
            "" => format!("{}{}", self.links.base(), self.path),
            raw => format!("{}{}?{raw}", self.links.base(), self.path),
        }
    }
}

/// 200 with a body.
pub fn ok(body: Value) -> Response {
    axum::Json(body).into_response()
}

/// 200 with one object under its name.
pub fn one(name: &str, member: Value) -> Response {
    ok(json!({ name: member }))
}

/// An answer with JSON that is rendered already.
pub fn rendered(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// What a request made, for the log: an extension of its answer.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its kind, as its member in the answer is named.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
}

/// 201 with one object under its name.
pub fn created(name: &'static str, member: Value) -> Response {
    let id = member.get("id").and_then(Value::as_str).map(str::to_owned);
    let response = (StatusCode::CREATED, one(name, member)).into_response();
    match id {
        Some(id) => with_made(response, name, id),
        None => response,
    }
}

/// An answer with a note of what was made.
pub fn with_made(mut response: Response, kind: &'static str, id: String) -> Response {
    response.extensions_mut().insert(Made { kind, id });
    response
}

/// 201 with a form.
pub fn created_form(form: String) -> Response {
    (StatusCode::CREATED, [(header::CONTENT_TYPE, FORM)], form).into_response()
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
