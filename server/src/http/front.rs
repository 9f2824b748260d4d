//! What a request was before a proxy passed it on: the URL that the client asked for.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Uri, header};

use super::links::Links;
use crate::config::Config;
use crate::config::front::prefix;
use crate::peer::{self, Peer, X_FORWARDED};

/// Where health checks always are.
pub const HEALTHCHECK: &str = "/healthcheck";

const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// How a request arrived. Set by the listener.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// The address here that it was made to.
    pub local: Option<SocketAddr>,
}

/// What is configured of what is in front.
#[derive(Debug, Clone, Default)]
pub struct Front {
    public: Option<String>,
    prefix: String,
    health: String,
}

impl Front {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        Self {
            public: config.public_endpoint.clone(),
            prefix: config.path_prefix.clone(),
            health: config.health.path.clone(),
        }
    }

    /// Whether only its process's health is asked for.
    pub(super) fn asks_health(&self, path: &str, headers: &HeaderMap, peer: &Peer) -> bool {
        let path = self.path(path, &Told::by(headers, peer.is_proxied));
        matches!(path.as_ref(), "/healthz" | "/readyz") || is_healthcheck(&path)
    }

    /// The path that routes know: without the prefix, whether or not the proxy has taken it off, and without
    /// slashes that say nothing. `/v3/projects/` and `//v3//projects` are `/v3/projects`: clients write all of these.
    fn path<'p>(&self, path: &'p str, told: &Told) -> Cow<'p, str> {
        let path = tidy(path);
        let below = |prefix: &str| match path.strip_prefix(prefix)? {
            "" => Some("/".to_owned()),
            rest => rest.starts_with('/').then(|| rest.to_owned()),
        };
        let prefixes = [told.prefix.as_deref().unwrap_or_default(), &self.prefix];
        let path = match prefixes.into_iter().filter(|prefix| !prefix.is_empty()).find_map(below) {
            Some(below) => Cow::Owned(below),
            None => path,
        };
        if !self.health.is_empty() && path == self.health { Cow::Borrowed(HEALTHCHECK) } else { path }
    }

    /// What links begin with: what is configured, or else what the client asked for.
    fn links(&self, told: &Told, headers: &HeaderMap, uri: &Uri, arrival: Option<Arrival>) -> Links {
        let encrypted = arrival.is_some_and(|a| a.encrypted);
        let scheme = told.scheme.unwrap_or(if encrypted { "https" } else { "http" });
        let asked = headers.get(header::HOST).and_then(|h| h.to_str().ok());
        let asked = asked.or_else(|| uri.authority().map(|a| a.as_str())).filter(|host| is_host(host));
        let mut host = match told.host.as_deref().or(asked) {
            Some(host) => host.to_owned(),
            None => arrival.and_then(|a| a.local).map_or_else(|| "localhost".to_owned(), |at| at.to_string()),
        };
        if let Some(port) = told.port.filter(|_| !has_port(&host)) {
            host = format!("{host}:{port}");
        }
        let host = host.strip_suffix(if scheme == "https" { ":443" } else { ":80" }).unwrap_or(&host);
        let prefix = told.prefix.as_deref().unwrap_or(&self.prefix);
        let bare = [scheme, "://", host].concat();
        let asked = if prefix.is_empty() { bare.clone() } else { [&bare, prefix].concat() };
        match &self.public {
            // The prefix may be there for whoever comes through the proxy only.
            Some(public) => Links::to_base(public.clone()).asked_by([asked, bare]),
            None => Links::to_base(asked).asked_by([bare]),
        }
    }

    /// Sets the path of a request to the one that routes know. Returns what links in the answer begin with.
    pub fn arrive(&self, request: &mut Parts) -> Links {
        let is_proxied = request.extensions.get::<Peer>().is_some_and(|peer| peer.is_proxied);
        let arrival = request.extensions.get::<Arrival>().copied();
        let (uri, told) = (&request.uri, Told::by(&request.headers, is_proxied));
        let links = self.links(&told, &request.headers, uri, arrival);
        let path = self.path(uri.path(), &told);
        if path != uri.path() {
            let whole = uri.query().map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
            let mut parts = uri.clone().into_parts();
            parts.path_and_query = whole.parse().ok();
            if let Ok(shorter) = Uri::from_parts(parts) {
                request.uri = shorter;
            }
        }
        links
    }
}

/// Whether a path is that of health checks, or below it: Keystone answers there too.
pub fn is_healthcheck(path: &str) -> bool {
    path.strip_prefix(HEALTHCHECK).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn tidy(path: &str) -> Cow<'_, str> {
    if path == "/" || !(path.contains("//") || path.ends_with('/')) {
        return Cow::Borrowed(path);
    }
    let tidy: String = path.split('/').filter(|part| !part.is_empty()).flat_map(|part| ["/", part]).collect();
    Cow::Owned(if tidy.is_empty() { "/".to_owned() } else { tidy })
}

/// A name or an address, and a port: nothing else gets into a link.
fn is_host(host: &str) -> bool {
    let is_usual = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    !host.is_empty() && host.len() <= 261 && host.bytes().all(is_usual)
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, _)| !name.contains(':') || name.ends_with(']'))
}

/// What the nearest proxy says of the URL that it was asked for. What it cannot have said is left out.
#[derive(Debug, Default)]
struct Told {
    scheme: Option<&'static str>,
    host: Option<String>,
    port: Option<u16>,
    prefix: Option<String>,
}

impl Told {
    fn by(headers: &HeaderMap, is_proxied: bool) -> Self {
        if !is_proxied || !peer::says_anything(headers) {
            return Self::default();
        }
        // Of several values the last one is the nearest proxy's. The others may be the client's.
        let [_, proto, host, port] = &X_FORWARDED;
        let last = |name: &HeaderName| peer::values(headers, name).last().map(str::to_owned);
        let (mut scheme, mut name) = (last(proto), last(host));
        if !X_FORWARDED.iter().any(|name| headers.contains_key(name)) {
            (scheme, name) = peer::forwarded(headers).pop().map_or((None, None), |hop| (hop.proto, hop.host));
        }
        Self {
            scheme: scheme.and_then(|scheme| match scheme.to_ascii_lowercase().as_str() {
                "https" => Some("https"),
                "http" => Some("http"),
                _ => None,
            }),
            host: name.filter(|host| is_host(host)),
            port: last(port).and_then(|port| port.parse().ok()).filter(|port| *port != 0),
            prefix: last(&PREFIX).and_then(|told| prefix(&told)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use axum::http::Request;

    use super::*;
    use crate::peer::Proxies;

    /// What links begin with, and the path, of a request by this peer.
    fn arrived(ini: &str, peer: &str, path: &str, lines: &[(&'static str, &str)]) -> (String, String) {
        let config = Config::from_text(ini, std::path::Path::new("/d")).expect("reads");
        let request = Request::builder().uri(path).body(()).expect("a request");
        let (mut request, ()) = request.into_parts();
        for (name, value) in lines {
            request.headers.append(*name, value.parse().expect("a header"));
        }
        let peer = Peer::new(peer.parse().expect("an address"), Weak::new());
        let peer = peer.through(&Proxies::private(), &request.headers);
        request.extensions.insert(peer);
        let local = Some(SocketAddr::from(([192, 0, 2, 5], 5000)));
        request.extensions.insert(Arrival { encrypted: false, local });
        let links = Front::new(&config).arrive(&mut request);
        (links.base().to_owned(), request.uri.to_string())
    }

    #[test]
    fn links_lead_to_what_the_client_asked_for() {
        for (lines, wanted) in [
            (&[("host", "h:5000")][..], "http://h:5000"),
            (&[("host", "h:80")], "http://h"),
            (&[("host", "h:443")], "http://h:443"),
            (&[], "http://192.0.2.5:5000"),
            (&[("host", "foo bar")], "http://192.0.2.5:5000"),
            (&[("host", "h"), ("x-forwarded-proto", "https")], "https://h"),
            (&[("host", "h:443"), ("x-forwarded-proto", "HTTPS")], "https://h"),
            (&[("host", "h"), ("x-forwarded-proto", "javascript")], "http://h"),
            (&[("host", "h"), ("x-forwarded-host", "id.example:8443")], "http://id.example:8443"),
            (&[("host", "h"), ("x-forwarded-host", "evil.example, id.example")], "http://id.example"),
            (&[("host", "h"), ("x-forwarded-host", "evil.example/x")], "http://h"),
            (&[("host", "h"), ("x-forwarded-host", "u@evil.example")], "http://h"),
            (&[("host", "h"), ("x-forwarded-host", "evil\"<>")], "http://h"),
            (&[("host", "h"), ("x-forwarded-host", "")], "http://h"),
            (&[("host", "h"), ("x-forwarded-port", "8443")], "http://h:8443"),
            (&[("host", "h:1"), ("x-forwarded-port", "8443")], "http://h:1"),
            (&[("host", "[2001:db8::1]"), ("x-forwarded-port", "8443")], "http://[2001:db8::1]:8443"),
            (&[("host", "h"), ("x-forwarded-port", "0")], "http://h"),
            (&[("host", "h"), ("x-forwarded-port", "99999")], "http://h"),
            (&[("host", "h"), ("x-forwarded-port", "443"), ("x-forwarded-proto", "https")], "https://h"),
            (&[("host", "h"), ("x-forwarded-prefix", "/identity/")], "http://h/identity"),
            (&[("host", "h"), ("x-forwarded-prefix", "//evil.example")], "http://h"),
            (&[("host", "h"), ("x-forwarded-prefix", ".evil.example")], "http://h"),
            (&[("host", "h"), ("forwarded", "proto=https;host=id.example")], "https://id.example"),
            (&[("host", "h"), ("forwarded", "host=\"id.example:99\"")], "http://id.example:99"),
            (&[("host", "h"), ("forwarded", "host=evil.example, for=7.7.7.7")], "http://h"),
            (
                &[("host", "h"), ("forwarded", "host=evil.example"), ("x-forwarded-proto", "https")],
                "https://h",
            ),
        ] {
            assert_eq!(arrived("", "10.0.0.1", "/v3", lines).0, wanted, "{lines:?}");
        }
    }

    #[test]
    fn whoever_is_no_proxy_has_said_nothing() {
        for line in [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-prefix", "/identity"),
            ("forwarded", "proto=https;host=evil.example"),
        ] {
            let (links, path) = arrived("", "198.51.100.1", "/identity/v3", &[("host", "h"), line]);
            assert_eq!((links.as_str(), path.as_str()), ("http://h", "/identity/v3"), "{line:?}");
        }
    }

    #[test]
    fn a_prefix_may_be_taken_off_or_not() {
        let conf = "[vicar]\npath_prefix = /identity\n";
        for path in ["/v3/users?a=//b", "/identity/v3/users?a=//b", "//identity//v3/users/?a=//b"] {
            let (links, path) = arrived(conf, "198.51.100.1", path, &[("host", "h")]);
            assert_eq!((links.as_str(), path.as_str()), ("http://h/identity", "/v3/users?a=//b"));
        }
        for (path, wanted) in [
            ("/identity", "/"),
            ("/identity/", "/"),
            ("/identityx", "/identityx"),
            ("/v3/identity/v3", "/v3/identity/v3"),
            ("/identity/identity/v3", "/identity/v3"),
        ] {
            assert_eq!(arrived(conf, "198.51.100.1", path, &[]).1, wanted, "{path}");
        }
        let told = [("host", "h"), ("x-forwarded-prefix", "/other/v3")];
        for path in ["/v3", "/identity/v3", "/other/v3"] {
            let arrived = arrived(conf, "10.0.0.1", path, &told);
            assert_eq!(arrived, ("http://h/other".to_owned(), "/v3".to_owned()), "{path}");
        }
        let public = "public_endpoint = https://id.example/keystone/v3\n";
        let arrived = arrived(public, "10.0.0.1", "/keystone/v3", &told);
        assert_eq!(arrived, ("https://id.example/keystone".to_owned(), "/v3".to_owned()));
    }

    #[test]
    fn health_checks_have_their_path_and_one_more() {
        let conf = "[healthcheck]\npath = /alive\n[vicar]\npath_prefix = /identity\n";
        for (path, is_one) in [
            ("/healthcheck", true),
            ("/healthcheck/", true),
            ("/healthcheck/x", true),
            ("/identity/healthcheck", true),
            ("/alive", true),
            ("/identity/alive/", true),
            ("/healthcheckx", false),
            ("/v3/healthcheck", false),
        ] {
            assert_eq!(is_healthcheck(&arrived(conf, "10.0.0.1", path, &[]).1), is_one, "{path}");
        }
    }
}
