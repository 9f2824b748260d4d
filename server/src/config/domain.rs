//! Options that a domain can have otherwise than the rest: those that may be stored for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{ConfigError, Ini, Result, known};
use crate::oslo;

/// What an option of a domain holds.
#[derive(Debug, Clone, Copy)]
enum Holds {
    Text,
    Whole,
    Real,
    Flag,
    /// Words, with those that it has unless it is set.
    Words(&'static [&'static str]),
}

use Holds::{Flag, Real, Text, Whole, Words};

/// The options that Keystone 30.0.0 lets a domain have, in its order.
const OPTIONS: &[(&str, &str, Holds)] = &[
    ("identity", "driver", Text),
    ("identity", "list_limit", Whole),
    ("ldap", "url", Text),
    ("ldap", "user", Text),
    ("ldap", "suffix", Text),
    ("ldap", "query_scope", Text),
    ("ldap", "page_size", Whole),
    ("ldap", "alias_dereferencing", Text),
    ("ldap", "debug_level", Whole),
    ("ldap", "chase_referrals", Flag),
    ("ldap", "user_tree_dn", Text),
    ("ldap", "user_filter", Text),
    ("ldap", "user_objectclass", Text),
    ("ldap", "user_id_attribute", Text),
    ("ldap", "user_name_attribute", Text),
    ("ldap", "user_mail_attribute", Text),
    ("ldap", "user_description_attribute", Text),
    ("ldap", "user_pass_attribute", Text),
    ("ldap", "user_enabled_attribute", Text),
    ("ldap", "user_enabled_invert", Flag),
    ("ldap", "user_enabled_mask", Whole),
    ("ldap", "user_enabled_default", Text),
    ("ldap", "user_attribute_ignore", Words(&["default_project_id"])),
    ("ldap", "user_default_project_id_attribute", Text),
    ("ldap", "user_enabled_emulation", Flag),
    ("ldap", "user_enabled_emulation_dn", Text),
    ("ldap", "user_enabled_emulation_use_group_config", Flag),
    ("ldap", "user_additional_attribute_mapping", Words(&[])),
    ("ldap", "group_tree_dn", Text),
    ("ldap", "group_filter", Text),
    ("ldap", "group_objectclass", Text),
    ("ldap", "group_id_attribute", Text),
    ("ldap", "group_name_attribute", Text),
    ("ldap", "group_members_are_ids", Flag),
    ("ldap", "group_member_attribute", Text),
    ("ldap", "group_desc_attribute", Text),
    ("ldap", "group_attribute_ignore", Words(&[])),
    ("ldap", "group_additional_attribute_mapping", Words(&[])),
    ("ldap", "tls_cacertfile", Text),
    ("ldap", "tls_cacertdir", Text),
    ("ldap", "use_tls", Flag),
    ("ldap", "tls_req_cert", Text),
    ("ldap", "use_pool", Flag),
    ("ldap", "pool_size", Whole),
    ("ldap", "pool_retry_max", Whole),
    ("ldap", "pool_retry_delay", Real),
    ("ldap", "pool_connection_timeout", Whole),
    ("ldap", "pool_connection_lifetime", Whole),
    ("ldap", "use_auth_pool", Flag),
    ("ldap", "auth_pool_size", Whole),
    ("ldap", "auth_pool_connection_lifetime", Whole),
];

/// What is stored apart and never shown.
const SENSITIVE: &[(&str, &str)] = &[("ldap", "password")];

/// The section with the names of options of other drivers.
const SECTION: &str = "domain_config";

/// How an option of a domain is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Where everybody sees it who may see the configuration.
    Openly,
    /// Where nobody does.
    Secretly,
}

/// The options that can be stored for a domain, with what holds for the others.
#[derive(Debug, Clone, Default)]
pub struct DomainOptions {
    groups: BTreeMap<String, BTreeMap<String, Kept>>,
    defaults: Vec<(String, String, Value)>,
}

impl DomainOptions {
    /// As files have it.
    ///
    /// # Errors
    /// An option of `[domain_config]` does not name groups of options.
    pub(super) fn read(ini: &Ini) -> Result<Self> {
        let mut all = Self::default();
        for (group, name, holds) in OPTIONS {
            all.add(group, name, Kept::Openly);
            let default = holds.read(ini.value(group, name), group, name);
            all.defaults.push(((*group).to_owned(), (*name).to_owned(), default));
        }
        for (group, name) in SENSITIVE {
            all.add(group, name, Kept::Secretly);
        }
        let more = |option: &str| match ini.value(SECTION, option).map(parse) {
            None => Ok(Vec::new()),
            Some(Some(groups)) => Ok(groups),
            Some(None) => Err(ConfigError(format!(
                "[{SECTION}] {option}: must be groups with their options, like `group:[option,option]`"
            ))),
        };
        for (option, kept) in [
            ("additional_whitelisted_options", Kept::Openly),
            ("additional_sensitive_options", Kept::Secretly),
        ] {
            for (group, names) in more(option)? {
                // A group that is named has these options and no others of its kind.
                all.groups.entry(group.clone()).or_default().retain(|_, other| *other != kept);
                if kept == Kept::Openly {
                    all.defaults.retain(|(g, name, _)| *g != group || names.contains(name));
                }
                for name in names {
                    let is_new = !all.defaults.iter().any(|(g, n, _)| *g == group && *n == name);
                    if kept == Kept::Openly && is_new {
                        let default = Text.read(ini.value(&group, &name), &group, &name);
                        all.defaults.push((group.clone(), name.clone(), default));
                    }
                    all.add(&group, &name, kept);
                }
            }
        }
        Ok(all)
    }

    fn add(&mut self, group: &str, name: &str, kept: Kept) {
        let of_group = self.groups.entry(group.to_owned()).or_default();
        // What is said to be sensitive is, whatever else is said.
        if of_group.get(name) != Some(&Kept::Secretly) {
            of_group.insert(name.to_owned(), kept);
        }
    }

    /// Whether there is such a group.
    pub fn has_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// How an option is kept; nothing for one that no domain can have.
    pub fn kept(&self, group: &str, name: &str) -> Option<Kept> {
        self.groups.get(group)?.get(name).copied()
    }

    /// What holds for domains that have none of their own, by group, of those options that can be shown.
    pub fn defaults(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        for (group, name, value) in &self.defaults {
            if self.kept(group, name) == Some(Kept::Openly) {
                let of_group = shown.entry(group.clone()).or_insert_with(|| json!({}));
                if let Some(of_group) = of_group.as_object_mut() {
                    of_group.insert(name.clone(), value.clone());
                }
            }
        }
        shown
    }
}

impl Holds {
    /// What is set, or Keystone's default. What is no number where one should be is shown as it is written.
    fn read(self, set: Option<&str>, group: &str, name: &str) -> Value {
        let default = known::default(group, name).filter(|text| !text.is_empty());
        let text = set.map(str::to_owned).or(default);
        let Some(text) = text else {
            return match self {
                Words(words) => json!(words),
                _ => Value::Null,
            };
        };
        let trimmed = text.trim();
        let read = match self {
            Text => None,
            Whole => trimmed.parse::<i64>().ok().map(Value::from),
            Real => trimmed.parse::<f64>().ok().map(Value::from),
            Flag => oslo::boolean(trimmed).map(Value::from),
            Words(_) => {
                Some(trimmed.split(',').map(str::trim).filter(|w| !w.is_empty()).collect::<Vec<_>>().into())
            }
        };
        read.unwrap_or_else(|| text.into())
    }
}

/// Reads `group:[option,option],group:[option]`.
fn parse(text: &str) -> Option<Vec<(String, Vec<String>)>> {
    let mut groups = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (group, more) = rest.split_once(':')?;
        let (names, more) = more.trim_start().strip_prefix('[')?.split_once(']')?;
        let names = names.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect();
        groups.push((group.trim().to_owned(), names));
        rest = more.trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
        }
    }
    (!groups.is_empty()).then_some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DomainOptions> {
        let mut ini = Ini::default();
        ini.read(text).expect("reads");
        DomainOptions::read(&ini)
    }

    #[test]
    fn defaults_are_keystones_or_what_is_set() {
        let defaults = read("").expect("reads").defaults();
        assert_eq!(defaults["identity"], json!({"driver": "sql", "list_limit": null}));
        let ldap = &defaults["ldap"];
        assert_eq!(ldap["url"], json!("ldap://localhost"));
        assert_eq!(
            (&ldap["page_size"], &ldap["use_pool"], &ldap["pool_retry_delay"]),
            (&json!(0), &json!(true), &json!(0.1))
        );
        assert_eq!(
            (&ldap["user_attribute_ignore"], &ldap["group_attribute_ignore"], &ldap["user"]),
            (&json!(["default_project_id"]), &json!([]), &json!(null))
        );
        assert_eq!(ldap.get("password"), None);
        let set = "[ldap]\npassword = s\nuse_tls = yes\npage_size = many\nuser_attribute_ignore = a, b\n";
        let defaults = read(set).expect("reads").defaults();
        let ldap = &defaults["ldap"];
        assert_eq!((&ldap["use_tls"], &ldap["page_size"]), (&json!(true), &json!("many")));
        assert_eq!((&ldap["user_attribute_ignore"], ldap.get("password")), (&json!(["a", "b"]), None));
    }

    #[test]
    fn other_drivers_have_options_of_their_own() {
        let text = "[domain_config]\nadditional_whitelisted_options = own:[host, port],ldap:[url]\n\
                    additional_sensitive_options = own:[key,host]\n[own]\nhost = h\nport = 1\n";
        let own = read(text).expect("reads");
        assert_eq!(own.kept("own", "port"), Some(Kept::Openly));
        // Said to be both: nobody sees it.
        assert_eq!(own.kept("own", "host"), Some(Kept::Secretly));
        assert_eq!(own.kept("own", "key"), Some(Kept::Secretly));
        assert_eq!((own.kept("ldap", "url"), own.kept("ldap", "user")), (Some(Kept::Openly), None));
        assert_eq!(own.kept("ldap", "password"), Some(Kept::Secretly));
        let defaults = own.defaults();
        assert_eq!(defaults["own"], json!({"port": "1"}));
        assert_eq!(defaults["ldap"], json!({"url": "ldap://localhost"}));
        for bad in ["own", "own:host", "own:[host", "own:[a] b:[c]", ":"] {
            let text = format!("[domain_config]\nadditional_sensitive_options = {bad}\n");
            assert!(read(&text).is_err(), "{bad}");
        }
    }
}
