//! Directories that users of a domain come from: Keystone's `[ldap]` options, of `keystone.DOMAIN.conf` or as stored for the domain.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use vicar_rules::Micros;
use vicar_rules::directory::Enabling;

use super::{Ini, known};
use crate::clock::SECOND;
use crate::oslo;
use crate::secret::Secret;

/// Where entries are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The name of the entry at the top.
    pub dn: String,
    /// A condition on entries besides their class; empty for none.
    pub filter: String,
    /// The object class.
    pub class: String,
    /// The attribute with the id, small letters.
    pub id: String,
    /// The attribute with the name.
    pub name: String,
    /// The attribute with the description, unless it is ignored.
    pub description: Option<String>,
}

/// How groups say that users are enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulation {
    /// The group whose members are enabled.
    pub dn: String,
    /// Its attribute with members.
    pub member: String,
    /// Whether members are ids.
    pub are_ids: bool,
}

/// A directory, as configured for one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// `url`: in the order in which they are tried.
    pub urls: Vec<Url>,
    /// `randomize_urls`
    pub randomize: bool,
    /// `user` and `password`: who reads. Without both it is nobody in particular.
    pub reader: Option<(String, Secret)>,
    /// `use_tls`: TLS is begun on a connection without.
    pub start_tls: bool,
    /// `tls_cacertfile`
    pub ca_file: Option<PathBuf>,
    /// `tls_cacertdir`
    pub ca_dir: Option<PathBuf>,
    /// `query_scope = sub`; otherwise entries are right below the top.
    pub whole_tree: bool,
    /// `alias_dereferencing`
    pub aliases: Aliases,
    /// `page_size`; 0: no pages.
    pub page_size: i32,
    /// `connection_timeout`, or 5 seconds.
    pub connect_within: Duration,
    /// `pool_size`: connections that are kept; 1 without `use_pool`, and it is not kept then.
    pub pool_size: usize,
    /// `pool_connection_lifetime`; zero without `use_pool`.
    pub pool_lifetime: Duration,
    /// `auth_pool_size`: how many passwords are tried at once.
    pub logins_at_once: usize,
    /// Users.
    pub users: Tree,
    /// `user_mail_attribute`, unless it is ignored.
    pub mail: Option<String>,
    /// `user_default_project_id_attribute`, unless it is ignored.
    pub default_project: Option<String>,
    /// `user_enabled_attribute`, unless it is ignored or emulated.
    pub enabled: Option<String>,
    /// How its value is understood.
    pub enabling: Enabling,
    /// `user_enabled_emulation`
    pub emulation: Option<Emulation>,
    /// Groups.
    pub groups: Tree,
    /// `group_member_attribute`
    pub member: String,
    /// `group_members_are_ids`
    pub members_are_ids: bool,
    /// `group_ad_nesting`
    pub nesting: bool,
}

/// `alias_dereferencing`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aliases {
    /// `never`, `default`
    Never,
    /// `searching`
    Searching,
    /// `finding`
    Finding,
    /// `always`
    Always,
}

/// The directories of domains, by the domains' names.
#[derive(Debug, Clone, Default)]
pub struct Directories {
    /// What the files of the domains say, or what is wrong with it.
    pub by_name: BTreeMap<String, Result<Arc<Directory>, String>>,
    /// How long what a directory said counts.
    pub span: Micros,
    /// What the files say that is no option, each with its file.
    pub unknown: Vec<String>,
    /// What is hardly meant so: what it is about, and a sentence.
    pub doubts: Vec<(String, String)>,
}

impl Directories {
    /// What is wrong with the files, by the domain's name.
    pub fn faults(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_name.iter().filter_map(|(name, found)| Some((name.as_str(), found.as_ref().err()?.as_str())))
    }

    /// Whether any domain has one.
    pub fn are_there(&self) -> bool {
        self.by_name.values().any(Result::is_ok)
    }
}

/// Without a time of its own, how long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// So many filters are in each other at most.
const DEEPEST: i32 = 50;

/// More connections than these are never kept, whatever is configured.
const MOST_CONNECTIONS: usize = 1000;

type Result<T, E = String> = std::result::Result<T, E>;

/// Reads single options; what is wrong is said with the option's name.
struct Options<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Options<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let set = (self.0)(name).or_else(|| known::default("ldap", name));
        set.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn needed(&self, name: &str) -> Result<String> {
        self.text(name).ok_or_else(|| wrong(name, "must not be empty"))
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.text(name) {
            None => Ok(false),
            Some(text) => oslo::boolean(&text)
                .ok_or_else(|| wrong(name, &format!("`{text}` is neither true nor false"))),
        }
    }

    fn number(&self, name: &str) -> Result<i64> {
        match self.text(name) {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| wrong(name, &format!("`{text}` is no number"))),
        }
    }

    /// A length of time; nothing for one that is negative, which Keystone has for "none".
    fn seconds(&self, name: &str) -> Result<Option<Duration>> {
        Ok(u64::try_from(self.number(name)?).ok().map(Duration::from_secs))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// The name of an attribute. It is put into filters, so it has the form that names of attributes have.
    fn attribute(&self, name: &str) -> Result<Option<String>> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ';');
        match self.text(name) {
            Some(text) if !text.chars().all(is_part) => {
                Err(wrong(name, &format!("`{text}` is no name of an attribute")))
            }
            other => Ok(other),
        }
    }

    fn needed_attribute(&self, name: &str) -> Result<String> {
        self.attribute(name)?.ok_or_else(|| wrong(name, "must not be empty"))
    }

    /// A filter, or several side by side, as they are put into those of Keystone.
    fn filter(&self, name: &str) -> Result<String> {
        let Some(text) = self.text(name) else { return Ok(String::new()) };
        // Whatever reads it, reads a filter in a filter by calling itself.
        let deepest = text.chars().scan(0_i32, |depth, c| {
            *depth += i32::from(c == '(') - i32::from(c == ')');
            Some(*depth)
        });
        if deepest.max().is_some_and(|depth| depth > DEEPEST) {
            return Err(wrong(name, &format!("has more than {DEEPEST} filters in each other")));
        }
        match ldap3::parse_filter(format!("(&{text}(objectClass=*))")) {
            Ok(_) if text.starts_with('(') => Ok(text),
            _ => Err(wrong(name, &format!("`{text}` is no filter, like `(attribute=value)`"))),
        }
    }

    fn tree(&self, kind: &str, default: &str, ignored: &[String]) -> Result<Tree> {
        let own = |option: &str| format!("{kind}_{option}");
        let suffix = self.text("suffix").unwrap_or_default();
        let description = own(if kind == "user" { "description_attribute" } else { "desc_attribute" });
        Ok(Tree {
            dn: self.text(&own("tree_dn")).unwrap_or_else(|| format!("{default},{suffix}")),
            filter: self.filter(&own("filter"))?,
            class: self.needed_attribute(&own("objectclass"))?,
            id: self.needed_attribute(&own("id_attribute"))?,
            name: self.needed_attribute(&own("name_attribute"))?,
            description: self.attribute(&description)?.filter(|_| !has(ignored, "description")),
        })
    }

    fn aliases(&self) -> Result<Aliases> {
        let name = "alias_dereferencing";
        match self.text(name).as_deref() {
            None | Some("default" | "never") => Ok(Aliases::Never),
            Some("searching") => Ok(Aliases::Searching),
            Some("finding") => Ok(Aliases::Finding),
            Some("always") => Ok(Aliases::Always),
            Some(other) => Err(wrong(
                name,
                &format!("`{other}` is neither never nor searching nor always nor finding nor default"),
            )),
        }
    }

    /// The servers' URLs, and whether TLS is begun on their connections.
    fn servers(&self) -> Result<(Vec<Url>, bool)> {
        let text = self.needed("url")?;
        let mut urls = Vec::new();
        for word in text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty()) {
            let url = Url::parse(word).ok();
            let usable = url.filter(|url| {
                matches!(url.scheme(), "ldap" | "ldaps")
                    && url.host_str().is_some_and(|host| !host.is_empty())
            });
            urls.push(usable.ok_or_else(|| {
                wrong("url", "must be URLs like `ldap://host:389` or `ldaps://host`, with commas in between")
            })?);
        }
        let start_tls = self.flag("use_tls")?;
        if start_tls && urls.iter().any(|url| url.scheme() == "ldaps") {
            return Err(wrong("use_tls", "begins TLS on connections without, and `ldaps://` has it already"));
        }
        let has_tls = start_tls || urls.iter().any(|url| url.scheme() == "ldaps");
        match self.text("tls_req_cert").as_deref() {
            None | Some("demand") => {}
            Some("allow" | "never") if has_tls => {
                return Err(wrong(
                    "tls_req_cert",
                    "certificates are always verified here: name the authority by tls_cacertfile, and remove it",
                ));
            }
            Some("allow" | "never") => {}
            Some(other) => {
                let problem = format!("`{other}` is neither demand nor never nor allow");
                return Err(wrong("tls_req_cert", &problem));
            }
        }
        if self.flag("chase_referrals")? {
            return Err(wrong("chase_referrals", "referrals are not followed here: leave it unset"));
        }
        Ok((urls, start_tls))
    }
}

fn wrong(name: &str, problem: &str) -> String {
    format!("[ldap] {name}: {problem}")
}

fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|w| w == word)
}

impl Directory {
    /// Of options by their names, as far as they are set.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn read(set: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let all = Options(set);
        let (urls, start_tls) = all.servers()?;
        let mut ignored = all.list("user_attribute_ignore");
        // Keystone's default, which its list of options does not have.
        if set("user_attribute_ignore").is_none() {
            ignored.push("default_project_id".to_owned());
        }
        let users = all.tree("user", "ou=Users", &ignored)?;
        let groups = all.tree("group", "ou=UserGroups", &all.list("group_attribute_ignore"))?;
        let whole_tree = match all.text("query_scope").as_deref() {
            None | Some("one") => false,
            Some("sub") => true,
            Some(other) => {
                return Err(wrong("query_scope", &format!("`{other}` is neither one nor sub")));
            }
        };
        let member = all.needed_attribute("group_member_attribute")?;
        let members_are_ids = all.flag("group_members_are_ids")?;
        let emulates = all.flag("user_enabled_emulation")? && !has(&ignored, "enabled");
        let by_groups = all.flag("user_enabled_emulation_use_group_config")?;
        let emulation = emulates.then(|| Emulation {
            dn: all
                .text("user_enabled_emulation_dn")
                .unwrap_or_else(|| format!("cn=enabled_users,{}", users.dn)),
            member: if by_groups { member.clone() } else { "member".to_owned() },
            are_ids: by_groups && members_are_ids,
        });
        let reader = all.text("user").zip((set)("password").filter(|text| !text.is_empty()));
        let pooled = all.flag("use_pool")?;
        let size = |name: &str| -> Result<usize> {
            Ok(usize::try_from(all.number(name)?).unwrap_or(1).clamp(1, MOST_CONNECTIONS))
        };
        let page_size = all.number("page_size")?;
        Ok(Self {
            urls,
            randomize: all.flag("randomize_urls")?,
            reader: reader.map(|(user, password)| (user, Secret(password))),
            start_tls,
            ca_file: all.text("tls_cacertfile").map(PathBuf::from),
            ca_dir: all.text("tls_cacertdir").map(PathBuf::from),
            whole_tree,
            aliases: all.aliases()?,
            page_size: i32::try_from(page_size)
                .ok()
                .filter(|n| *n >= 0)
                .ok_or_else(|| wrong("page_size", "must be a number from 0 on"))?,
            connect_within: all
                .seconds("connection_timeout")?
                .filter(|time| !time.is_zero())
                .unwrap_or(CONNECT_WITHIN),
            pool_size: size("pool_size")?,
            pool_lifetime: if pooled {
                all.seconds("pool_connection_lifetime")?.unwrap_or(Duration::from_secs(600))
            } else {
                Duration::ZERO
            },
            logins_at_once: size("auth_pool_size")?,
            mail: all.attribute("user_mail_attribute")?.filter(|_| !has(&ignored, "email")),
            default_project: all
                .attribute("user_default_project_id_attribute")?
                .filter(|_| !has(&ignored, "default_project_id")),
            enabled: all
                .attribute("user_enabled_attribute")?
                .filter(|_| !has(&ignored, "enabled") && emulation.is_none()),
            enabling: Enabling {
                mask: all.number("user_enabled_mask")?,
                invert: all.flag("user_enabled_invert")?,
                default: all.text("user_enabled_default").unwrap_or_else(|| "True".to_owned()),
            },
            emulation,
            users,
            groups,
            member,
            members_are_ids,
            nesting: all.flag("group_ad_nesting")?,
        })
    }

    /// Of a domain's own file. Other files say nothing of it, as in Keystone.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn of_file(ini: &Ini) -> Result<Self> {
        Self::read(&|name| ini.value("ldap", name).map(str::to_owned))
    }

    /// Whether passwords of users cross the network without TLS.
    pub fn is_open(&self) -> bool {
        !self.start_tls && self.urls.iter().any(|url| url.scheme() == "ldap")
    }
}

/// The directories that the files of domains name; nothing where files are not asked.
pub(super) fn of_files(dir: Option<&std::path::Path>, span: Micros) -> Directories {
    let Some(dir) = dir else { return Directories { span: span.max(SECOND), ..Directories::default() } };
    let files = super::foreign::domain_files(dir).unwrap_or_default();
    let (mut unknown, mut doubts) = (Vec::new(), strangers(dir));
    let by_name: BTreeMap<_, _> = files
        .into_iter()
        .filter_map(|(domain, file)| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let mut doubt = |text: String| doubts.push((name.to_string(), text));
            let ini = match Ini::of(std::slice::from_ref(&file)) {
                Ok(ini) => ini,
                Err(e) => {
                    doubt(format!("cannot be read, so its domain has no directory: {e}"));
                    return None;
                }
            };
            let driver = ini.value("identity", "driver").map(str::trim);
            // What belongs to another driver is said with that.
            if driver.is_some_and(|driver| driver != "ldap") {
                return None;
            }
            let odd = ini.names().filter(|(section, name)| !known::is_keystones(section, name));
            unknown.extend(odd.map(|(section, option)| format!("{name}: [{section}] {option}")));
            if driver.is_none() {
                doubt("has no `driver = ldap` in [identity], so its domain has no directory".to_owned());
                return None;
            }
            let found = Directory::of_file(&ini);
            if let Ok(Directory { ca_file: Some(file), .. }) = &found
                && !file.is_file()
            {
                doubt(format!("nobody logs in: tls_cacertfile is no file, {}", file.display()));
            }
            Some((domain, found.map(Arc::new)))
        })
        .collect();
    Directories { by_name, span: span.max(SECOND), unknown, doubts }
}

/// What is wrong with the files' directory, and what lies there and is not read.
fn strangers(dir: &std::path::Path) -> Vec<(String, String)> {
    let about = || "[identity] domain_config_dir".to_owned();
    let is_read = |name: &str| name.starts_with("keystone.") && name.ends_with(".conf");
    match std::fs::read_dir(dir) {
        Err(e) => vec![(about(), format!("{}: {e}; no domain has a directory", dir.display()))],
        Ok(_) => {
            let others = super::foreign::files_in(dir, |name| !is_read(name)).unwrap_or_default();
            let text = |file: &std::path::PathBuf| {
                format!("{} is not read, since its name is none like keystone.NAME.conf", file.display())
            };
            others.iter().map(|file| (about(), text(file))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Directory> {
        let mut ini = Ini::default();
        ini.read(&format!("[ldap]\n{text}")).expect("reads");
        Directory::of_file(&ini)
    }

    #[test]
    fn what_is_not_set_is_as_in_keystone() {
        let d = read("").expect("reads");
        assert_eq!(d.urls.iter().map(Url::as_str).collect::<Vec<_>>(), ["ldap://localhost"]);
        assert_eq!(
            (d.users.dn.as_str(), d.groups.dn.as_str()),
            ("ou=Users,cn=example,cn=com", "ou=UserGroups,cn=example,cn=com")
        );
        assert_eq!(
            (d.users.id.as_str(), d.users.name.as_str(), d.users.class.as_str()),
            ("cn", "sn", "inetOrgPerson")
        );
        assert_eq!(
            (d.groups.id.as_str(), d.groups.name.as_str(), d.groups.class.as_str()),
            ("cn", "ou", "groupOfNames")
        );
        assert_eq!(
            (d.mail.as_deref(), d.enabled.as_deref(), d.default_project.as_deref()),
            (Some("mail"), Some("enabled"), None)
        );
        assert_eq!(
            (d.member.as_str(), d.members_are_ids, d.nesting, d.whole_tree),
            ("member", false, false, false)
        );
        assert_eq!((d.pool_size, d.logins_at_once, d.pool_lifetime.as_secs()), (10, 100, 600));
        assert!(d.reader.is_none() && d.emulation.is_none() && d.is_open());
        assert_eq!(d.connect_within, CONNECT_WITHIN);
    }

    #[test]
    fn what_is_set_counts() {
        let d = read(
            "url = ldap://a:1389, ldap://b\nsuffix = dc=x\nuser = cn=r\npassword = s\nuse_tls = true\nquery_scope = sub\n\
             user_attribute_ignore = enabled,email\nuser_default_project_id_attribute = dp\nuse_pool = false\n\
             user_filter = (a=b)(!(c=d))\npage_size = 7\nconnection_timeout = 2\ngroup_attribute_ignore = description\n",
        )
        .expect("reads");
        assert_eq!((d.urls.len(), d.start_tls, d.is_open(), d.whole_tree), (2, true, false, true));
        assert_eq!((&d.mail, &d.enabled, d.default_project.as_deref()), (&None, &None, Some("dp")));
        assert_eq!((d.users.dn.as_str(), d.users.filter.as_str()), ("ou=Users,dc=x", "(a=b)(!(c=d))"));
        assert_eq!((d.page_size, d.connect_within.as_secs(), d.pool_lifetime), (7, 2, Duration::ZERO));
        assert_eq!((d.users.description.as_deref(), &d.groups.description), (Some("description"), &None));
        assert!(d.reader.is_some() && !format!("{d:?}").contains("\"s\""));
        let e = read("user_enabled_emulation = true\nuser_tree_dn = ou=p\ngroup_members_are_ids = true\n")
            .expect("reads");
        let emulation = e.emulation.expect("is emulated");
        assert_eq!(
            (emulation.dn.as_str(), emulation.member.as_str(), emulation.are_ids),
            ("cn=enabled_users,ou=p", "member", false)
        );
        assert_eq!(e.enabled, None);
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, option) in [
            ("url = http://x", "url"),
            ("url = ldap://", "url"),
            ("url = ldap://a,ldapi:///run/x", "url"),
            ("url = ldaps://a\nuse_tls = true", "use_tls"),
            ("url = ldaps://a\ntls_req_cert = never", "tls_req_cert"),
            ("tls_req_cert = perhaps", "tls_req_cert"),
            ("chase_referrals = true", "chase_referrals"),
            ("query_scope = base", "query_scope"),
            ("page_size = many", "page_size"),
            ("page_size = -1", "page_size"),
            ("alias_dereferencing = maybe", "alias_dereferencing"),
            ("user_filter = uid=a", "user_filter"),
            ("user_filter = (uid=a", "user_filter"),
            ("user_filter = )(", "user_filter"),
            ("group_filter = (a=b))(|(c=d)", "group_filter"),
            ("user_id_attribute = a)(b", "user_id_attribute"),
            ("user_objectclass = x)(y=*", "user_objectclass"),
            ("user_enabled_invert = perhaps", "user_enabled_invert"),
        ] {
            let fault = read(text).expect_err(text);
            assert!(fault.starts_with(&format!("[ldap] {option}: ")), "{fault}");
        }
        assert!(read("tls_req_cert = never").is_ok(), "nobody has a certificate");
        let nested =
            |depth: usize| read(&format!("user_filter = {}(a=b){}", "(!".repeat(depth), ")".repeat(depth)));
        assert!(nested(49).is_ok());
        for depth in [50, 20_000] {
            let fault = nested(depth).expect_err("too deep");
            assert!(fault.ends_with("has more than 50 filters in each other"), "{fault}");
        }
    }
}
