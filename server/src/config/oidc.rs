//! Providers of OpenID Connect that this server asks itself: `[oidc.NAME]`, with what `[oidc]` says for all of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};
use vicar_rules::Micros;

use super::{Reader, Result, wrong};
use crate::clock::{DAY, SECOND};
use crate::secret::Secret;

/// How sections of providers begin.
const SECTIONS: &str = "oidc.";

/// One provider.
#[derive(Debug, Clone)]
pub struct Oidc {
    /// The id of the identity provider that it is: the name of its section.
    pub provider: String,
    /// `protocol`: the id of the protocol by which its users come.
    pub protocol: String,
    /// `issuer`, as tokens name it.
    pub issuer: String,
    /// `audience`: for whom a token has to be.
    pub audience: Vec<String>,
    /// `claim_prefix`: how the names of attributes begin that are its claims.
    pub prefix: String,
    /// `jwks`: where its keys are, if it is not asked for that.
    pub jwks: Option<Jwks>,
    /// `cafile`: who vouches for its certificate.
    pub ca: Option<PathBuf>,
    /// `timeout`: of each call to it.
    pub timeout: Duration,
    /// `clock_skew`: by how much its clock may be wrong.
    pub skew: Micros,
    /// `metadata_lifetime`: how old its metadata and its keys may be.
    pub lifetime: Micros,
    /// This server as its client.
    pub client: Option<Client>,
    /// `introspection`: whether it is asked about tokens that are no JWT.
    pub introspection: bool,
}

/// Where pinned keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// In a file, which is read at the start, and again when it changes.
    File(PathBuf),
    /// At a URL, where they are fetched as those of other providers.
    Url(String),
}

impl Oidc {
    /// The file with its keys, if they are in one.
    pub fn keys_file(&self) -> Option<&Path> {
        match &self.jwks {
            Some(Jwks::File(path)) => Some(path),
            Some(Jwks::Url(_)) | None => None,
        }
    }

    /// The files that it needs.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.keys_file().into_iter().chain(self.ca.as_deref())
    }

    /// The trust domain of SPIFFE whose issuer it is: `spiffe://` with its name.
    pub fn trust_domain(&self) -> Option<&str> {
        Some(self.issuer.as_str()).filter(|issuer| issuer.starts_with(SPIFFE))
    }
}

/// How the names of SPIFFE begin.
pub const SPIFFE: &str = "spiffe://";

/// Whether it is the name of a trust domain, with the scheme before it.
fn is_trust_domain(issuer: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    let name = issuer.strip_prefix(SPIFFE).filter(|name| !name.is_empty() && name.len() < 256);
    name.is_some_and(|name| name.chars().all(is_letter))
}

/// Whether a URL is one that is asked: by `https`, or on this machine, and without a user in it.
pub fn is_trustworthy(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let names_nobody = url.username().is_empty() && url.password().is_none();
    names_nobody && (url.scheme() == "https" && url.has_host() || url.scheme() == "http" && is_here)
}

/// What this server is at a provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// `client_id`
    pub id: String,
    /// `client_secret`; a public client has none.
    pub secret: Option<Secret>,
    /// `scope`: what browsers ask for.
    pub scope: String,
}

impl Reader<'_> {
    pub(super) fn oidc(&self) -> Result<Vec<Oidc>> {
        let mut sections: Vec<&str> = self.ini.names().map(|(section, _)| section).collect();
        sections.retain(|section| section.starts_with(SECTIONS));
        sections.sort_unstable();
        sections.dedup();
        if self.ini.value("oidc", "issuer").is_some() {
            return wrong(
                "oidc",
                "issuer",
                "belongs into a section with the id of an identity provider, like [oidc.campus]",
            );
        }
        self.flag("oidc", "introspection")?;
        // What is said for all is looked at, even where there is none.
        self.times("oidc")?;
        let all: Vec<Oidc> = sections.iter().map(|section| self.provider(section)).collect::<Result<_>>()?;
        for (n, one) in all.iter().enumerate() {
            // Clusters have the same issuer unless they are told another, and who is bound to an issuer trusts its keys.
            let other = all.iter().take(n).find(|other| other.issuer == one.issuer && other.jwks != one.jwks);
            if let Some(other) = other {
                let why = format!("is that of [oidc.{}], which has other keys", other.provider);
                return wrong(&format!("{SECTIONS}{}", one.provider), "issuer", why);
            }
        }
        Ok(all)
    }

    fn provider(&self, section: &str) -> Result<Oidc> {
        if section == SECTIONS {
            return wrong(section, "issuer", "the section names no identity provider, as [oidc.campus] does");
        }
        let issuer = self.text(section, "issuer")?.unwrap_or_default();
        let jwks = self.jwks(section)?;
        let is_issuer = |url: &Url| is_trustworthy(url) && url.query().or(url.fragment()).is_none();
        let is_good = match (&jwks, issuer.starts_with(SPIFFE)) {
            (Some(_), true) => is_trust_domain(&issuer),
            // Nobody is asked there.
            (Some(_), false) => !issuer.is_empty(),
            (None, true) => {
                return wrong(section, "issuer", "needs `jwks`: a trust domain is nobody who can be asked");
            }
            (None, false) => Url::parse(&issuer).is_ok_and(|url| is_issuer(&url)),
        };
        if !is_good {
            return wrong(
                section,
                "issuer",
                "is no URL like https://id.example; http is for this machine alone",
            );
        }
        let audience = self.list(section, "audience")?;
        if let Some(one) = audience.iter().find(|one| one.contains(char::is_whitespace)) {
            return wrong(section, "audience", format!("is a list with commas, and {one} has a blank"));
        }
        let (client, introspection) = self.client(section)?;
        if jwks.is_some() && client.is_some() {
            return wrong(
                section,
                "client_id",
                "goes with no `jwks`: the provider is asked where else it is",
            );
        }
        if audience.is_empty() && (client.is_none() || introspection) {
            return wrong(
                section,
                "audience",
                "is needed: else a token that is for another service would do",
            );
        }
        let (timeout, skew, lifetime) = self.times(section)?;
        Ok(Oidc {
            provider: section.strip_prefix(SECTIONS).unwrap_or_default().to_owned(),
            protocol: self.text(section, "protocol")?.unwrap_or_default(),
            issuer,
            audience,
            prefix: self.text(section, "claim_prefix")?.unwrap_or_default(),
            jwks,
            ca: self.text(section, "cafile")?.map(PathBuf::from),
            timeout,
            skew,
            lifetime,
            client,
            introspection,
        })
    }

    /// The deadline of a call, the skew, and how long what is known lives.
    fn times(&self, section: &str) -> Result<(Duration, Micros, Micros)> {
        let seconds = u64::try_from(self.number(section, "timeout")?.clamp(1, 60)).unwrap_or(5);
        let skew = self.duration(section, "clock_skew")?.clamp(0, 300 * SECOND);
        let lifetime = self.duration(section, "metadata_lifetime")?.clamp(60 * SECOND, DAY);
        Ok((Duration::from_secs(seconds), skew, lifetime))
    }

    /// What this server is at the provider, and whether it asks it about tokens.
    fn client(&self, section: &str) -> Result<(Option<Client>, bool)> {
        let text = |name| -> Result<Option<String>> {
            Ok(self.text(section, name)?.filter(|text| !text.is_empty()))
        };
        let (id, secret) = (text("client_id")?, text("client_secret")?.map(Secret));
        let introspection = self.flag(section, "introspection")?;
        if introspection && (id.is_none() || secret.is_none()) {
            return wrong(section, "introspection", "needs `client_id` and `client_secret`");
        }
        let Some(id) = id else { return Ok((None, false)) };
        let scope = self.text(section, "scope")?.unwrap_or_default();
        if !scope.split(' ').any(|one| one == "openid") {
            return wrong(section, "scope", "has no `openid`: the provider would say nothing of who logs in");
        }
        let dashboards = self.ini.values("federation", "trusted_dashboard");
        if !dashboards.is_empty() && self.ini.value("DEFAULT", "public_endpoint").is_none() {
            return wrong(
                section,
                "client_id",
                "needs `[DEFAULT] public_endpoint`: it is where the provider sends browsers back to",
            );
        }
        Ok((Some(Client { id, secret, scope }), introspection))
    }

    fn jwks(&self, section: &str) -> Result<Option<Jwks>> {
        let Some(text) = self.text(section, "jwks")?.filter(|text| !text.is_empty()) else { return Ok(None) };
        if !text.contains("://") {
            return Ok(Some(Jwks::File(PathBuf::from(text))));
        }
        match Url::parse(&text) {
            Ok(url) if is_trustworthy(&url) => Ok(Some(Jwks::Url(text))),
            _ => wrong(
                section,
                "jwks",
                "is neither a file nor a URL like https://id.example/keys; http is for this machine alone",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Vec<Oidc>> {
        Config::from_text(text, Path::new("/d")).map(|c| c.oidc)
    }

    #[test]
    fn each_provider_has_a_section_and_what_is_said_for_all() {
        assert!(read("").expect("reads").is_empty());
        let text = "[oidc]\naudience = all\ntimeout = 2\n[oidc.b.c]\nissuer = https://b/x\n\
                    [oidc.a]\nissuer = https://a\naudience = one,two\nprotocol = mapped\nmetadata_lifetime = 1\n";
        let read = read(text).expect("reads");
        let [a, b] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((a.provider.as_str(), b.provider.as_str()), ("a", "b.c"));
        assert_eq!(
            (a.audience.clone(), b.audience.clone()),
            (vec!["one".into(), "two".into()], vec!["all".into()])
        );
        assert_eq!((a.protocol.as_str(), b.protocol.as_str(), &*b.prefix), ("mapped", "openid", "OIDC-"));
        assert_eq!((a.lifetime, b.timeout), (60 * SECOND, Duration::from_secs(2)));
    }

    #[test]
    fn a_provider_is_asked_by_https_and_tokens_are_for_somebody() {
        let with = |issuer: &str| read(&format!("[oidc.a]\naudience = x\nissuer = {issuer}\n"));
        for good in
            ["https://a", "https://a:8443/realm", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"]
        {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "http://a",
            "http://10.0.0.1",
            "ftp://a",
            "https://a?x",
            "https://a#x",
            "a",
            "https://u@a",
            "https://u:p@a",
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
        let pinned = |issuer: &str, jwks: &str| {
            read(&format!("[oidc.a]\naudience = x\nissuer = {issuer}\njwks = {jwks}\n"))
        };
        for (issuer, jwks) in [
            ("kubernetes/serviceaccount", "/k.json"),
            ("http://cluster", "k.json"),
            ("spiffe://example.org", "/k.json"),
            ("spiffe://a-b_c.1", "https://spire/keys"),
            ("https://a", "http://127.0.0.1:1/keys?x"),
        ] {
            let read = pinned(issuer, jwks).expect("reads");
            let [one] = read.as_slice() else { panic!("{read:?}") };
            assert_eq!(one.keys_file(), Some(Path::new(jwks)).filter(|_| !jwks.contains(':')));
            assert_eq!(one.trust_domain().is_some(), issuer.starts_with("spiffe"), "{issuer}");
        }
        let two = |jwks: &str| {
            let one = "audience = x\nissuer = https://cluster\njwks = /one.json\n";
            read(&format!("[oidc.a]\n{one}[oidc.b]\naudience = y\nissuer = https://cluster\n{jwks}\n"))
        };
        assert!(two("jwks = /one.json").is_ok());
        for other in ["jwks = /two.json", ""] {
            let e = two(other).expect_err("other keys");
            assert!(e.0.starts_with("[oidc.b] issuer: is that of [oidc.a]"), "{e}");
        }
        assert!(pinned("https://a", "/k.json\nclient_id = v").is_err());
        for (issuer, jwks) in [
            ("", "/k.json"),
            ("spiffe://", "/k.json"),
            ("spiffe://example.org/", "/k.json"),
            ("spiffe://Example.org", "/k.json"),
            ("spiffe://u@example.org:1", "/k.json"),
            ("spiffe://example.org", ""),
            ("https://a", "http://a/keys"),
            ("https://a", "file:///k.json"),
        ] {
            assert!(pinned(issuer, jwks).is_err(), "{issuer} {jwks}");
        }
        assert!(read("[oidc.a]\nissuer = https://a\n").expect_err("no audience").0.contains("audience"));
        for nobody in ["[oidc]", "[oidc.]"] {
            let e = read(&format!("{nobody}\nissuer = https://a\naudience = x\n")).expect_err("no name");
            assert!(e.0.contains("[oidc.campus]"), "{e}");
        }
        let e = read("[oidc.a]\nissuer = https://a\naudience = x, y z\n").expect_err("a blank");
        assert!(e.0.ends_with("is a list with commas, and y z has a blank"), "{e}");
    }

    #[test]
    fn a_client_has_all_that_it_needs() {
        let with = |text: &str| read(&format!("[oidc.a]\nissuer = https://a\naudience = x\n{text}"));
        assert!(read("[oidc.a]\nissuer = https://a\nclient_id = v\n").is_ok());
        let sso = "[federation]\ntrusted_dashboard = https://d\n";
        assert!(with("client_secret = s\n").expect("reads").iter().all(|one| one.client.is_none()));
        let read = with("client_id = v\nclient_secret = topsecret\nintrospection = true\n").expect("reads");
        let client = read.first().and_then(|one| one.client.clone()).expect("one");
        assert_eq!((client.id.as_str(), client.scope.as_str()), ("v", "openid profile email"));
        assert!(read.iter().all(|one| one.introspection) && !format!("{read:?}").contains("topsecret"));
        for (bad, name) in [
            ("introspection = true\n", "introspection"),
            ("client_id = v\nintrospection = true\n", "introspection"),
            ("client_id = v\nscope = profile\n", "scope"),
            (&format!("client_id = v\n{sso}"), "client_id"),
        ] {
            let e = with(bad).expect_err(bad);
            assert!(e.0.starts_with(&format!("[oidc.a] {name}: ")), "{e}");
        }
        assert!(with(&format!("client_id = v\n{sso}[DEFAULT]\npublic_endpoint = https://h\n")).is_ok());
    }
}
