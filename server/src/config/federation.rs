//! Logins through identity providers: whose word counts of who somebody is, and in which headers it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::http::HeaderName;

use super::remote_user::TAKEN;
use super::{Reader, Result, wrong};
use crate::peer::Proxies;

/// The option that names the attribute with a provider's own id, in `[federation]` or in a section with a protocol's name.
pub const REMOTE_ID: &str = "remote_id_attribute";

/// Logins through identity providers.
#[derive(Debug, Clone)]
pub struct Federation {
    /// `[vicar] assertion_headers`: how the names of headers begin, in small letters, in which a front server hands on what
    /// an identity provider says. None: there is no such front server.
    pub headers: Vec<String>,
    /// `[vicar] trusted_proxies`: the front servers that are believed.
    pub from: Proxies,
    /// `[federation] assertion_prefix`: how the names of attributes begin that mappings see.
    pub attributes: String,
    remote_id: Option<String>,
    remote_ids: BTreeMap<String, String>,
    /// Login methods that are Keystone's plugin `mapped`.
    pub methods: Vec<String>,
    /// `[federation] trusted_dashboard`: the pages that may get a token. Their hosts are in small letters.
    pub dashboards: Vec<String>,
    /// `[federation] sso_callback_template`: the page that posts it to them.
    pub sso_template: Option<PathBuf>,
}

/// Login methods that are this plugin unless the configuration names another.
const METHODS: [&str; 4] = ["mapped", "openid", "saml2", "x509"];

impl Federation {
    /// The attribute with the provider's own id, where the protocol in the database names none.
    pub fn remote_id(&self, protocol: &str) -> Option<&str> {
        self.remote_ids.get(protocol).or(self.remote_id.as_ref()).map(String::as_str)
    }
}

impl Reader<'_> {
    pub(super) fn federation(&self, methods: &[String]) -> Result<Federation> {
        let (section, name) = ("vicar", "assertion_headers");
        let headers: Vec<String> =
            self.list(section, name)?.iter().map(|start| start.to_ascii_lowercase()).collect();
        for start in &headers {
            let is_name = HeaderName::try_from(start.as_str()).is_ok();
            if !is_name || TAKEN.iter().any(|taken| taken.starts_with(start.as_str())) {
                return wrong(
                    section,
                    name,
                    format_args!("`{start}` begins no names of headers that are free for this"),
                );
            }
        }
        let named = self.list("vicar", "trusted_proxies")?;
        if !headers.is_empty() && named.is_empty() {
            return wrong(
                section,
                name,
                "needs `[vicar] trusted_proxies`: whoever can send them logs in as anybody",
            );
        }
        let from = Proxies::named(named.iter().map(String::as_str));
        let some = |section: &str| {
            self.ini.value(section, REMOTE_ID).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let sections = self.ini.names().filter(|(_, name)| *name == REMOTE_ID).map(|(section, _)| section);
        let is_mapped = |method: &&String| match self.ini.value("auth", method) {
            Some(plugin) => plugin.eq_ignore_ascii_case("mapped") || plugin.eq_ignore_ascii_case(PLUGIN),
            None => METHODS.contains(&method.as_str()),
        };
        Ok(Federation {
            headers,
            from: from.or_else(|e| wrong("vicar", "trusted_proxies", e))?,
            attributes: self.text("federation", "assertion_prefix")?.unwrap_or_default(),
            remote_id: some("federation"),
            remote_ids: sections.filter_map(|section| Some((section.to_owned(), some(section)?))).collect(),
            methods: methods.iter().filter(is_mapped).cloned().collect(),
            dashboards: self.dashboards()?,
            sso_template: self.text("federation", "sso_callback_template")?.map(PathBuf::from),
        })
    }
}

impl Reader<'_> {
    /// As a Keystone has them, which compares to the letter what a browser asks for.
    fn dashboards(&self) -> Result<Vec<String>> {
        self.text("federation", "trusted_dashboard")?;
        let all = self.ini.values("federation", "trusted_dashboard");
        let lower = |url: &String| {
            let host = url.find("//").map_or(url.len(), |at| at + 2);
            let end =
                url.get(host..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| host + at);
            let (start, path) = url.split_at(end);
            start.to_ascii_lowercase() + path
        };
        Ok(all.iter().map(lower).collect())
    }
}

/// The plugin as a class.
const PLUGIN: &str = "keystone.auth.plugins.mapped.mapped";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Federation> {
        Config::from_text(text, Path::new("/d")).map(|c| c.federation)
    }

    #[test]
    fn nobody_is_believed_who_is_not_named() {
        assert!(read("").expect("reads").headers.is_empty());
        let on = "assertion_headers = OIDC-, MELLON_\n";
        for guessed in ["", "[oslo_middleware]\nenable_proxy_headers_parsing = true\n"] {
            let e = read(&format!("{guessed}[vicar]\n{on}")).expect_err("nobody is named");
            assert!(e.0.starts_with("[vicar] assertion_headers: needs"), "{e}");
        }
        let named = read(&format!("[vicar]\n{on}trusted_proxies = 192.0.2.1\n")).expect("reads");
        let believed = |address: &str| named.from.contain(address.parse().expect("an address"));
        assert!(believed("192.0.2.1") && !believed("127.0.0.1"));
        assert_eq!(named.headers, ["oidc-", "mellon_"]);
        for wrong in ["a b", "X-", "cook", "é"] {
            let text = format!("[vicar]\nassertion_headers = {wrong}\ntrusted_proxies = ::1\n");
            assert!(read(&text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_protocol_can_have_its_own_attribute() {
        let read = read(
            "[federation]\nremote_id_attribute = A\n[openid]\nremote_id_attribute = B\n[saml2]\nremote_id_attribute =\n",
        );
        let read = read.expect("reads");
        let of = |protocol: &str| read.remote_id(protocol).expect("one").to_owned();
        assert_eq!((of("openid"), of("saml2"), of("mapped")), ("B".into(), "A".into(), "A".into()));
    }

    #[test]
    fn dashboards_are_trusted_by_their_urls() {
        let read = |text: &str| read(text).expect("reads");
        assert!(read("").dashboards.is_empty());
        let two = "trusted_dashboard = https://Dash.Example:8/auth/WebSSO/?A\ntrusted_dashboard = http://b\n";
        let read = read(&format!("[federation]\n{two}sso_callback_template = /page\n"));
        assert_eq!(read.dashboards, ["https://dash.example:8/auth/WebSSO/?A", "http://b"]);
        assert_eq!(read.sso_template, Some(PathBuf::from("/page")));
    }

    #[test]
    fn a_method_is_what_its_plugin_is() {
        let methods = |text: &str| read(text).expect("reads").methods;
        assert_eq!(methods(""), ["mapped"]);
        let named = "[auth]\nmethods = password,openid,saml2,sso\nsso = keystone.auth.plugins.mapped.Mapped\nopenid = other\n";
        assert_eq!(methods(named), ["saml2", "sso"]);
    }
}
