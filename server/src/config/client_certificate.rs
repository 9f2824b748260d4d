//! Certificates of clients that a front server has verified: whose word counts, and in which header they are.

use axum::http::HeaderName;

use super::{Reader, Result, wrong};
use crate::peer::Proxies;

/// Where certificates of clients come from, besides the server's own connections.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// `[vicar] client_certificate_header`
    pub header: Option<HeaderName>,
    /// `[vicar] trusted_proxies`: those who are believed. On connections of these no certificate is the client's own.
    pub from: Proxies,
}

impl Reader<'_> {
    pub(super) fn client_certificates(&self) -> Result<ClientCertificates> {
        let header = self.header("client_certificate_header")?;
        let named = self.list("vicar", "trusted_proxies")?;
        if header.is_some() && named.is_empty() {
            return wrong(
                "vicar",
                "client_certificate_header",
                "needs `[vicar] trusted_proxies`: whoever can send it is any client of OAuth 2.0",
            );
        }
        let from = Proxies::named(named.iter().map(String::as_str));
        let from = from.or_else(|e| wrong("vicar", "trusted_proxies", e))?;
        Ok(ClientCertificates { header, from })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<ClientCertificates> {
        Config::from_text(text, Path::new("/d")).map(|c| c.client_certificates)
    }

    #[test]
    fn nobody_is_believed_who_is_not_named() {
        assert!(read("").expect("reads").header.is_none());
        let on = "client_certificate_header = X-SSL-Client-Cert\n";
        for guessed in ["", "[oslo_middleware]\nenable_proxy_headers_parsing = true\n"] {
            let e = read(&format!("{guessed}[vicar]\n{on}")).expect_err("nobody is named");
            assert!(e.0.starts_with("[vicar] client_certificate_header: needs"), "{e}");
        }
        let named = read(&format!("[vicar]\n{on}trusted_proxies = 192.0.2.1\n")).expect("reads");
        let believed = |address: &str| named.from.contain(address.parse().expect("an address"));
        assert!(believed("192.0.2.1") && !believed("127.0.0.1") && !believed("10.0.0.1"));
        assert_eq!(named.header.expect("on").as_str(), "x-ssl-client-cert");
        for taken in ["Authorization", "Cookie", "a b"] {
            let text = format!("[vicar]\nclient_certificate_header = {taken}\ntrusted_proxies = ::1\n");
            assert!(read(&text).is_err(), "{taken}");
        }
    }
}
