//! Every option that there is: ours, and Keystone 30.0.0's.

use super::options::{self, Kind};

/// Section, name and default of each option of Keystone 30.0.0 and of the libraries that it uses, made by
/// `tests/keystone/options.py`.
const KEYSTONE: &str = include_str!("keystone.txt");

fn keystone() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    KEYSTONE.lines().filter_map(|line| {
        let mut parts = line.split('\t');
        Some((parts.next()?, parts.next()?, parts.next().unwrap_or_default()))
    })
}

/// Section and name of every option. Those that both have may appear twice.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    options::OPTIONS.iter().map(|o| (o.section, o.name)).chain(keystone().map(|(s, o, _)| (s, o)))
}

/// Whether Keystone 30.0.0 has an option of this name.
pub fn is_keystones(section: &str, name: &str) -> bool {
    keystone().any(|(s, o, _)| (s, o) == (section, name))
}

/// What `$name` stands for when the option is not set; nothing for an option that is not there.
pub(super) fn default(section: &str, name: &str) -> Option<String> {
    let theirs = keystone().find(|(s, o, _)| (*s, *o) == (section, name)).map(|(_, _, text)| text.to_owned());
    theirs.or_else(|| options::find(section, name).map(|o| default_of(o.kind)))
}

fn default_of(kind: Kind) -> String {
    match kind {
        Kind::Text(text) => text.unwrap_or_default().to_owned(),
        Kind::Choice(words) => words.first().copied().unwrap_or_default().to_owned(),
        Kind::Flag(flag) => (if flag { "True" } else { "False" }).to_owned(),
        Kind::Number(n) | Kind::Seconds(n) | Kind::Minutes(n) => n.to_string(),
        Kind::Count(n) => n.map_or(String::new(), |n| n.to_string()),
        Kind::List(words) => words.to_owned(),
        Kind::InData(_, theirs) => theirs.unwrap_or_default().to_owned(),
        Kind::Regex => String::new(),
    }
}

/// The option that somebody may have meant who wrote this one, which is not known: one with nearly this name in
/// the same section, or with this name in another one.
pub fn nearest(section: &str, name: &str) -> Option<(&'static str, &'static str)> {
    let distance = |a: &str, b: &str| strsim::damerau_levenshtein(a, b);
    let near = |a: &str, b: &str| distance(a, b) <= (a.len().max(b.len()) / 4).max(1);
    let in_section =
        all().filter(|(s, o)| *s == section && near(o, name)).min_by_key(|(_, o)| distance(o, name));
    let in_near_section = || {
        all()
            .filter(|(s, o)| near(s, section) && near(o, name))
            .min_by_key(|(s, o)| distance(s, section) + distance(o, name))
    };
    // A name such as `driver` says nothing about the section.
    let elsewhere = || {
        let mut found = all().filter(|(_, o)| *o == name);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    };
    in_section.or_else(in_near_section).or_else(elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        for (section, name, wanted) in [
            ("token", "expiraton", Some(("token", "expiration"))),
            (
                "security_compliance",
                "lockout_failure_attempt",
                Some(("security_compliance", "lockout_failure_attempts")),
            ),
            ("security_complience", "lockout_duration", Some(("security_compliance", "lockout_duration"))),
            ("DEFAULT", "lockout_duration", Some(("security_compliance", "lockout_duration"))),
            ("DEFAULT", "public_endpoints", Some(("DEFAULT", "public_endpoint"))),
            ("token", "driver", None),
            ("odd", "nothing_like_it", None),
        ] {
            assert_eq!(nearest(section, name), wanted, "[{section}] {name}");
        }
    }

    #[test]
    fn defaults() {
        assert_eq!(default("DEFAULT", "control_exchange").as_deref(), Some("keystone"));
        assert_eq!(default("DEFAULT", "log_dir").as_deref(), Some(""));
        assert_eq!(default("delegation", "reap_interval").as_deref(), Some("60"));
        assert_eq!(default("DEFAULT", "odd"), None);
        assert!(is_keystones("ldap", "url") && !is_keystones("delegation", "ec2_keys"));
    }
}
