//! What is in front of the server, and who asks it besides clients: proxies, health checks, browsers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use url::Url;

use super::{Reader, Result, wrong};
use crate::peer::{self, Proxies};

/// `[healthcheck]`
#[derive(Debug, Clone)]
pub struct Health {
    /// `path`: one more besides `/healthcheck`, where it always is.
    pub path: String,
    /// `detailed`
    pub detailed: bool,
    /// `backends`, in their order.
    pub backends: Vec<Backend>,
    /// `allowed_source_ranges`: for whom it is there; empty: for everybody.
    pub sources: Vec<IpNet>,
    /// `ignore_proxied_requests`
    pub ignores_proxied: bool,
}

/// What a health check looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// `disable_by_file`: one file takes the server out of service.
    DisableByFile(Option<PathBuf>),
    /// `disable_by_files_ports`: the same, with a file for each port.
    DisableByPort(BTreeMap<u16, PathBuf>),
    /// `enable_by_files`: all of these files must be there.
    EnableByFiles(Vec<PathBuf>),
}

/// What browsers may do for pages of one origin: `[cors]`, or a section like `[cors.dashboard]`.
#[derive(Debug, Clone)]
pub struct Cors {
    /// One of `allowed_origin`; `*` is any.
    pub origin: String,
    /// `allow_credentials`
    pub credentials: bool,
    /// `expose_headers`
    pub expose: Vec<String>,
    /// `max_age`, in seconds; 0 is not told.
    pub max_age: i64,
    /// `allow_methods`
    pub methods: Vec<String>,
    /// `allow_headers`
    pub headers: Vec<String>,
}

/// A path below which all others are served: what proxies and operators may say of it. `/identity/v3/` is
/// `/identity`, since that begins every path; `/` is nothing.
pub fn prefix(text: &str) -> Option<String> {
    let trimmed = text.trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/v3").unwrap_or(trimmed).trim_end_matches('/');
    let is_segment = |part: &str| {
        let usual = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(usual)
    };
    match trimmed.strip_prefix('/') {
        None if trimmed.is_empty() => Some(String::new()),
        Some(rest) if trimmed.len() <= 256 && rest.split('/').all(is_segment) => Some(trimmed.to_owned()),
        _ => None,
    }
}

impl Reader<'_> {
    pub(super) fn proxies(&self) -> Result<Proxies> {
        let named = self.list("vicar", "trusted_proxies")?;
        let proxies = Proxies::named(named.iter().map(String::as_str));
        let proxies = proxies.or_else(|e| wrong("vicar", "trusted_proxies", e))?;
        Ok(match self.flag("oslo_middleware", "enable_proxy_headers_parsing")? {
            false => Proxies::default(),
            true if named.is_empty() => Proxies::private(),
            true => proxies,
        })
    }

    /// What links begin with, without `/v3`. Clients are told it in every answer, so it has to be a whole URL.
    pub(super) fn public_endpoint(&self) -> Result<Option<String>> {
        let (section, name) = ("DEFAULT", "public_endpoint");
        let Some(text) = self.text(section, name)? else { return Ok(None) };
        let url = Url::parse(&text).ok().filter(|url| {
            let is_plain = url.query().or(url.fragment()).is_none() && url.username().is_empty();
            let is_printable = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\".contains(&b));
            matches!(url.scheme(), "http" | "https") && is_plain && url.password().is_none() && is_printable
        });
        match url.and_then(|url| prefix(url.path())) {
            Some(_) => {
                let base = text.trim_end_matches('/');
                Ok(Some(base.strip_suffix("/v3").unwrap_or(base).trim_end_matches('/').to_owned()))
            }
            None => {
                // Not quoted: somebody may have put a password into it.
                wrong(section, name, "is no URL like https://identity.example:5000")
            }
        }
    }

    /// `[vicar] path_prefix`, or else what `public_endpoint` has.
    pub(super) fn path_prefix(&self, public: Option<&str>) -> Result<String> {
        let (section, name) = ("vicar", "path_prefix");
        let Some(text) = self.text(section, name)? else {
            let path = public.and_then(|url| Url::parse(url).ok()).map(|url| url.path().to_owned());
            return Ok(path.and_then(|path| prefix(&path)).unwrap_or_default());
        };
        prefix(&text)
            .map_or_else(|| wrong(section, name, format_args!("`{text}` is no path like /identity")), Ok)
    }

    pub(super) fn health(&self, unknown: &mut Vec<String>) -> Result<Health> {
        let section = "healthcheck";
        let mut backends = Vec::new();
        for name in self.list(section, "backends")? {
            backends.push(match name.as_str() {
                "disable_by_file" => {
                    Backend::DisableByFile(self.text(section, "disable_by_file_path")?.map(PathBuf::from))
                }
                "disable_by_files_ports" => Backend::DisableByPort(self.files_of_ports()?),
                "enable_by_files" => Backend::EnableByFiles(
                    self.list(section, "enable_by_file_paths")?.into_iter().map(PathBuf::from).collect(),
                ),
                other => {
                    unknown.push(format!("[{section}] backends, {other}"));
                    continue;
                }
            });
        }
        let has = |wanted: fn(&Backend) -> bool| backends.iter().any(wanted);
        if has(|b| matches!(b, Backend::DisableByFile(_))) && has(|b| matches!(b, Backend::EnableByFiles(_)))
        {
            return wrong(section, "backends", "has both `disable_by_file` and `enable_by_files`");
        }
        let sources = self.list(section, "allowed_source_ranges")?;
        let network =
            |word: &String| peer::network_of(word).or_else(|e| wrong(section, "allowed_source_ranges", e));
        let sources = sources.iter().map(network).collect::<Result<_>>()?;
        let path = self.text(section, "path")?.unwrap_or_default();
        // Neither the root nor anything of the API.
        let Some(path) = prefix(&path).filter(|path| !path.is_empty() && !path.starts_with("/v3/")) else {
            return wrong(section, "path", format_args!("`{path}` is no path like /healthcheck"));
        };
        Ok(Health {
            path,
            detailed: self.flag(section, "detailed")?,
            backends,
            sources,
            ignores_proxied: self.flag(section, "ignore_proxied_requests")?,
        })
    }

    fn files_of_ports(&self) -> Result<BTreeMap<u16, PathBuf>> {
        let (section, name) = ("healthcheck", "disable_by_file_paths");
        let file = |entry: &String| {
            let parts =
                entry.split_once(':').and_then(|(port, path)| Some((port.trim().parse().ok()?, path.into())));
            parts.map_or_else(|| wrong(section, name, format_args!("`{entry}` is not `port:path`")), Ok)
        };
        self.list(section, name)?.iter().map(file).collect()
    }

    /// `[cors]`, then the sections below it. What one of these does not say, `[cors]` says. An origin that is there
    /// twice is the first one.
    pub(super) fn cors(&self) -> Result<Vec<Cors>> {
        let mut sections: Vec<&str> = self.ini.names().map(|(section, _)| section).collect();
        sections.retain(|section| section.starts_with("cors."));
        sections.dedup();
        sections.insert(0, "cors");
        let mut all: Vec<Cors> = Vec::new();
        for section in sections {
            let words = |name| -> Result<Vec<String>> {
                let words = self.list(section, name)?;
                match words.iter().find(|word| !is_token(word)) {
                    Some(word) => wrong(section, name, format_args!("`{word}` is no name")),
                    None => Ok(words),
                }
            };
            let of = Cors {
                origin: String::new(),
                credentials: self.flag(section, "allow_credentials")?,
                expose: words("expose_headers")?,
                max_age: self.number(section, "max_age")?,
                methods: words("allow_methods")?,
                headers: words("allow_headers")?,
            };
            for origin in self.list(section, "allowed_origin")? {
                if !origin.bytes().all(|b| b.is_ascii_graphic()) {
                    return wrong(section, "allowed_origin", format_args!("`{origin}` is no origin"));
                }
                if all.iter().all(|cors| cors.origin != origin) {
                    all.push(Cors { origin, ..of.clone() });
                }
            }
        }
        Ok(all)
    }
}

/// Whether it can be the name of a header or of a method.
fn is_token(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Config> {
        Config::from_text(text, Path::new("/d"))
    }

    #[test]
    fn a_prefix_is_a_plain_path() {
        for (text, wanted) in [
            ("", Some("")),
            ("/", Some("")),
            ("/v3", Some("")),
            ("/identity", Some("/identity")),
            ("/identity/", Some("/identity")),
            ("/identity/v3/", Some("/identity")),
            ("/a/b-c_d.e~f", Some("/a/b-c_d.e~f")),
            ("identity", None),
            ("//evil.example", None),
            ("/a//b", None),
            ("/a/../b", None),
            ("/a/.", None),
            ("/a?b", None),
            ("/a\"b", None),
            ("/a%2fb", None),
            ("/a b", None),
            ("/@evil.example", None),
        ] {
            assert_eq!(prefix(text).as_deref(), wanted, "{text:?}");
        }
        assert_eq!(prefix(&format!("/{}", "a".repeat(300))), None);
    }

    #[test]
    fn links_begin_with_a_whole_url() {
        let read = |url: &str| {
            read(&format!("public_endpoint = {url}\n")).map(|c| (c.public_endpoint, c.path_prefix))
        };
        for (url, base, prefix) in [
            ("https://id.example:5000/v3/", "https://id.example:5000", ""),
            ("https://id.example/", "https://id.example", ""),
            ("http://[2001:db8::1]:5000", "http://[2001:db8::1]:5000", ""),
            ("https://id.example/identity", "https://id.example/identity", "/identity"),
            ("https://id.example/identity/v3", "https://id.example/identity", "/identity"),
        ] {
            assert_eq!(read(url).expect(url), (Some(base.to_owned()), prefix.to_owned()), "{url}");
        }
        for url in [
            "id.example:5000",
            "/identity",
            "//id.example",
            "ftp://id.example",
            "https://",
            "https://id.example/?a=b",
            "https://id.example/#a",
            "https://user:pw@id.example",
            "https://id.example/\"",
            "https://id.example/a b",
        ] {
            assert!(read(url).expect_err(url).0.starts_with("[DEFAULT] public_endpoint: "), "{url}");
        }
    }

    #[test]
    fn a_prefix_of_its_own_is_for_servers_with_several_names() {
        let c = read("[vicar]\npath_prefix = /identity/\n").expect("reads");
        assert_eq!(c.path_prefix, "/identity");
        assert!(read("[vicar]\npath_prefix = identity\n").is_err());
    }

    #[test]
    fn only_with_the_switch_is_a_proxy_believed() {
        let at = |ini: &str, address: &str| {
            read(ini).expect("reads").proxies.contain(address.parse().expect("an address"))
        };
        let on = "[oslo_middleware]\nenable_proxy_headers_parsing = true\n";
        assert!(at(on, "10.0.0.1") && !at(on, "192.0.2.1"));
        let named = format!("{on}[vicar]\ntrusted_proxies = 192.0.2.0/24,\n  2001:db8::1\n");
        assert!(at(&named, "192.0.2.1") && at(&named, "2001:db8::1") && !at(&named, "10.0.0.1"));
        assert!(!at("[vicar]\ntrusted_proxies = 192.0.2.0/24\n", "192.0.2.1"));
        let e = read("[vicar]\ntrusted_proxies = proxy.example\n").expect_err("a name");
        assert!(e.0.starts_with("[vicar] trusted_proxies: `proxy.example`"), "{e}");
    }

    #[test]
    fn health_checks_as_oslo_has_them() {
        let health = read("[healthcheck]\nbackends = disable_by_files_ports, odd\ndisable_by_file_paths = 5000:/a:b,35357:/c\n")
            .expect("reads");
        let files = [(5000, "/a:b".into()), (35357, "/c".into())].into();
        assert_eq!(health.health.backends, [Backend::DisableByPort(files)]);
        assert_eq!(health.unknown, ["[healthcheck] backends, odd"]);
        for wrong in [
            "backends = disable_by_file,enable_by_files",
            "backends = disable_by_files_ports\ndisable_by_file_paths = /a",
            "allowed_source_ranges = here",
            "path = healthcheck",
            "path = /",
            "path = /v3",
            "path = /v3/users",
        ] {
            assert!(read(&format!("[healthcheck]\n{wrong}\n")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sections_below_cors_say_what_differs() {
        let c = read(
            "[cors]\nallowed_origin = https://a.example,https://b.example\nmax_age = 7\n\
             [cors.d]\nallowed_origin = https://d.example,https://a.example\nallow_methods = GET\n[cors.e]\nmax_age = 1\n",
        )
        .expect("reads");
        let seen: Vec<_> = c.cors.iter().map(|c| (c.origin.as_str(), c.max_age, c.methods.len())).collect();
        assert_eq!(
            seen,
            [("https://a.example", 7, 5), ("https://b.example", 7, 5), ("https://d.example", 7, 1)]
        );
        assert!(c.unknown.is_empty());
        assert!(read("[cors]\nallowed_origin = *\nexpose_headers = a:b\n").is_err());
    }
}
