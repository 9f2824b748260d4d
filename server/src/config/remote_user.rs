//! Users that a front server has authenticated: whose word counts, and in which headers it is.

use axum::http::HeaderName;

use super::{Reader, Result, wrong};
use crate::peer::Proxies;

/// Where a front server says whom it has authenticated.
#[derive(Debug, Clone)]
pub struct RemoteUser {
    /// `[vicar] remote_user_header`
    pub user: HeaderName,
    /// `[vicar] remote_domain_header`, with `[auth] external = Domain`.
    pub domain: Option<HeaderName>,
    /// `[vicar] remote_domain_header`, whatever `[auth] external` says: `kerberos` always has it.
    pub kerberos_domain: Option<HeaderName>,
    /// `[vicar] auth_type_header`
    pub auth_type: Option<HeaderName>,
    /// Who is believed. Always named by the operator, never guessed.
    pub from: Proxies,
}

/// Headers that have a meaning already, or that any browser sends.
pub(super) const TAKEN: &[&str] =
    &["authorization", "cookie", "host", "x-auth-token", "x-subject-token", "content-type"];

impl Reader<'_> {
    pub(super) fn header(&self, name: &str) -> Result<Option<HeaderName>> {
        let Some(text) = self.text("vicar", name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
        match HeaderName::try_from(text.as_str()) {
            Ok(header) if !TAKEN.contains(&header.as_str()) => Ok(Some(header)),
            _ => wrong("vicar", name, format_args!("`{text}` is no name of a header that is free for this")),
        }
    }

    pub(super) fn remote_user(&self) -> Result<Option<RemoteUser>> {
        let plugin = self.text("auth", "external")?.unwrap_or_default();
        let user = self.header("remote_user_header")?;
        let (domain, auth_type) = (self.header("remote_domain_header")?, self.header("auth_type_header")?);
        let named = self.list("vicar", "trusted_proxies")?;
        let Some(user) = user else { return Ok(None) };
        if named.is_empty() {
            return wrong(
                "vicar",
                "remote_user_header",
                "needs `[vicar] trusted_proxies`: whoever can send it logs in as anybody",
            );
        }
        let from = Proxies::named(named.iter().map(String::as_str));
        let from = from.or_else(|e| wrong("vicar", "trusted_proxies", e))?;
        let is_of_domain = plugin.eq_ignore_ascii_case("domain");
        Ok(Some(RemoteUser {
            user,
            domain: domain.clone().filter(|_| is_of_domain),
            kerberos_domain: domain,
            auth_type,
            from,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Option<RemoteUser>> {
        Config::from_text(text, Path::new("/d")).map(|c| c.remote_user)
    }

    #[test]
    fn nobody_is_believed_who_is_not_named() {
        assert!(read("").expect("reads").is_none());
        assert!(read("[vicar]\ntrusted_proxies = 192.0.2.1\n").expect("reads").is_none());
        let on = "remote_user_header = X-Remote-User\n";
        for guessed in ["", "[oslo_middleware]\nenable_proxy_headers_parsing = true\n"] {
            let e = read(&format!("{guessed}[vicar]\n{on}")).expect_err("nobody is named");
            assert!(e.0.starts_with("[vicar] remote_user_header: needs"), "{e}");
        }
        // Whether the headers of proxies are read at all is another question.
        let named = read(&format!("[vicar]\n{on}trusted_proxies = 192.0.2.1\n")).expect("reads");
        let from = named.expect("on").from;
        let believed = |address: &str| from.contain(address.parse().expect("an address"));
        assert!(believed("192.0.2.1") && !believed("127.0.0.1") && !believed("10.0.0.1"));
    }

    #[test]
    fn the_domain_is_told_only_where_that_is_configured() {
        let of = |plugin: &str| {
            let headers = "remote_user_header = a\nremote_domain_header = b\nauth_type_header = c\n";
            let text = format!("[vicar]\n{headers}trusted_proxies = ::1\n[auth]\nexternal = {plugin}\n");
            read(&text).expect("reads").expect("on")
        };
        for (plugin, domain) in [("DefaultDomain", None), ("default", None), ("Domain", Some("b"))] {
            let remote = of(plugin);
            assert_eq!(remote.domain.as_ref().map(HeaderName::as_str), domain, "{plugin}");
            assert_eq!(remote.kerberos_domain.as_ref().map(HeaderName::as_str), Some("b"));
            assert_eq!(
                (remote.user.as_str(), remote.auth_type.as_ref().map(HeaderName::as_str)),
                ("a", Some("c"))
            );
        }
    }

    #[test]
    fn a_header_is_one_that_is_free_for_this() {
        for name in ["X Remote", "X-Auth-Token", "authorization", "a:b", "é"] {
            let text = format!("[vicar]\nremote_user_header = {name}\ntrusted_proxies = ::1\n");
            assert!(read(&text).is_err(), "{name}");
        }
    }
}
