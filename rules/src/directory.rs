//! Users and groups of directories (LDAP): by which ids they are known here, whether they are enabled, how names of
//! entries are compared, and how long what was read of them counts. Ids and meanings are Keystone's, so that a cloud keeps both.

use sha2::{Digest, Sha256};

use crate::Micros;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Kind {
    /// Keystone's word, which is stored.
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

/// The id by which an entry is known here: of its domain, what it is, and its id in the directory. It is that of
/// Keystone's generator `sha256`, which hashes the three in the order of their names, with nothing in between.
pub fn public_id(domain: &str, kind: Kind, local: &str) -> String {
    let mut hash = Sha256::new();
    for part in [domain, kind.word(), local] {
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How long ago an entry was read, and what it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When the question was sent to the directory.
    pub at: Micros,
    /// Whether there was no such entry.
    pub is_gone: bool,
}

/// What a reading is worth at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts, until this instant.
    Counts(Micros),
    /// The entry is gone; that counts until this instant, from which on it is asked whether it is there again.
    Gone(Micros),
    /// It is too old: nothing is known.
    Unknown,
}

impl Reading {
    /// What it is worth, where a reading counts for `span`. One that is from later than now, by another server's clock,
    /// counts no longer than one of now.
    pub fn standing(self, span: Micros, now: Micros) -> Standing {
        let until = self.at.min(now).saturating_add(span);
        match (until > now, self.is_gone) {
            (false, _) => Standing::Unknown,
            (true, true) => Standing::Gone(until),
            (true, false) => Standing::Counts(until),
        }
    }
}

/// How the attribute that says whether a user is enabled is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enabling {
    /// `user_enabled_mask`: bits that mean "disabled" when all are set; 0: the value is a word.
    pub mask: i64,
    /// `user_enabled_invert`: the word means "disabled".
    pub invert: bool,
    /// `user_enabled_default`: what stands for a value that is not there.
    pub default: String,
}

impl Enabling {
    /// Whether a user with this value is enabled. With a mask, a value that is no number disables.
    pub fn is_enabled(&self, value: Option<&str>) -> bool {
        let value = value.unwrap_or(&self.default).trim();
        if self.mask != 0 {
            return value.parse::<i64>().is_ok_and(|bits| bits & self.mask != self.mask);
        }
        (value.eq_ignore_ascii_case("true") || value.parse::<i64>().is_ok_and(|n| n != 0)) != self.invert
    }
}

/// A value in a filter: characters that mean something there are written by their codes (RFC 4515).
pub fn escape(value: &str) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut out, c| {
        match c {
            '*' | '(' | ')' | '\\' | '\0' => out.push_str(&format!("\\{:02x}", u32::from(c))),
            other => out.push(other),
        }
        out
    })
}

/// One part of a name: attributes with their values.
type Rdn = Vec<(String, String)>;

/// The parts of a distinguished name (RFC 4514), nearest first, with types in small letters; nothing for what is none.
pub fn parse_dn(text: &str) -> Option<Vec<Rdn>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return Some(out);
    }
    let mut rdn = Rdn::new();
    loop {
        let (kind, more) = rest.split_once('=')?;
        let kind = kind.trim().to_ascii_lowercase();
        let is_type = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if kind.is_empty() || !kind.chars().all(is_type) {
            return None;
        }
        let (value, end, more) = parse_value(more)?;
        rdn.push((kind, value));
        if end != Some('+') {
            rdn.sort();
            out.push(std::mem::take(&mut rdn));
        }
        if end.is_none() {
            return Some(out);
        }
        rest = more;
    }
}

/// A value up to what ends it, that, and what follows.
fn parse_value(text: &str) -> Option<(String, Option<char>, &str)> {
    let text = text.trim_start();
    let mut bytes: Vec<u8> = Vec::new();
    // Blanks at the end count where they are escaped.
    let mut keep = 0;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                let (_, next) = chars.next()?;
                match next.to_digit(16) {
                    Some(high) => {
                        let (_, low) = chars.next()?;
                        bytes.push(u8::try_from(high * 16 + low.to_digit(16)?).ok()?);
                    }
                    None => bytes.extend(next.to_string().bytes()),
                }
                keep = bytes.len();
            }
            ',' | ';' | '+' => {
                return Some((finish(bytes, keep)?, Some(c), &text[at + c.len_utf8()..]));
            }
            other => bytes.extend(other.to_string().bytes()),
        }
    }
    Some((finish(bytes, keep)?, None, ""))
}

fn finish(mut bytes: Vec<u8>, keep: usize) -> Option<String> {
    while bytes.len() > keep && bytes.last() == Some(&b' ') {
        bytes.pop();
    }
    String::from_utf8(bytes).ok()
}

/// What two names have in common when they are names of the same entry: letters small, blanks as one. What is no name is
/// itself.
pub fn same_dn(text: &str) -> String {
    let plain = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let Some(parts) = parse_dn(text) else { return plain(text) };
    let part = |rdn: &Rdn| {
        let one = |(kind, value): &(String, String)| format!("{kind}={}", escape_dn(&plain(value)));
        rdn.iter().map(one).collect::<Vec<_>>().join("+")
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

fn escape_dn(value: &str) -> String {
    value.chars().fold(String::new(), |mut out, c| {
        if matches!(c, ',' | '+' | ';' | '\\' | '=') {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// The value of an attribute in the first part of a name, where Keystone finds the id of an entry that has several.
pub fn named_by(dn: &str, attribute: &str) -> Option<String> {
    let first = parse_dn(dn)?.into_iter().next()?;
    first.into_iter().find(|(kind, _)| kind.eq_ignore_ascii_case(attribute)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_keystone() {
        // Made by the generator of a Keystone 30.0.0.
        for (domain, kind, local, id) in [
            (
                "default",
                Kind::User,
                "alice",
                "c43e4dd25aba357630477a0f49fde7da8567b753ddd430c9555ad09aa2a76e9e",
            ),
            (
                "default",
                Kind::Group,
                "alice",
                "569ee05e83dabe1b79db0a3a0bb35e5e46fb3325a3014483bb41151e6fbd22ea",
            ),
            (
                "0cd5e9a1e4a24a2f8b2c0d2b0a6c1f3e",
                Kind::User,
                "Jürgen Groß",
                "eed12b97c1fc8b874e3d7e58e7e4b0b44cd0757fd408c08818766d00d8362b9d",
            ),
            ("d", Kind::User, "cn=a,b", "dbfc761de0efca3992661edf8fe9bea503d6b5833d4c8ad4ec4a27384cfde376"),
            ("1", Kind::Group, "", "0f40ee31962b7f4177f3e8ba7448792fc1b279482bb04d537f895aabc99a02d4"),
        ] {
            assert_eq!(public_id(domain, kind, local), id, "{local}");
        }
    }

    #[test]
    fn a_reading_counts_for_its_time_and_no_longer() {
        let read = |at, is_gone| Reading { at, is_gone }.standing(60, 1_000);
        assert_eq!(read(1_000, false), Standing::Counts(1_060));
        assert_eq!(read(941, false), Standing::Counts(1_001));
        assert_eq!(read(940, false), Standing::Unknown);
        assert_eq!(read(941, true), Standing::Gone(1_001));
        assert_eq!(read(940, true), Standing::Unknown);
        // By a clock that is ahead.
        assert_eq!(read(9_000, false), Standing::Counts(1_060));
        assert_eq!(Reading { at: 1_000, is_gone: false }.standing(0, 1_000), Standing::Unknown);
    }

    #[test]
    fn words_and_masks_enable() {
        let by = |mask, invert, default: &str| Enabling { mask, invert, default: default.to_owned() };
        let word = by(0, false, "True");
        let enabled = [None, Some("TRUE"), Some("true"), Some("1"), Some("512")];
        assert!(enabled.iter().all(|value| word.is_enabled(*value)));
        for value in ["FALSE", "", "0", "yes", "enabled"] {
            assert!(!word.is_enabled(Some(value)), "{value}");
            assert!(by(0, true, "True").is_enabled(Some(value)), "{value}");
        }
        // `pwdAccountLockedTime`-like attributes are inverted, and their absence means "enabled".
        assert!(by(0, true, "False").is_enabled(None) && !by(0, true, "False").is_enabled(Some("TRUE")));
        let ad = by(2, false, "512");
        assert!(ad.is_enabled(Some("512")) && ad.is_enabled(None) && !ad.is_enabled(Some("514")));
        assert!(!ad.is_enabled(Some("TRUE")) && !by(2, false, "True").is_enabled(None));
        // All bits of the mask.
        assert!(by(3, false, "0").is_enabled(Some("2")) && !by(3, false, "0").is_enabled(Some("3")));
    }

    #[test]
    fn a_value_says_nothing_to_a_filter() {
        assert_eq!(escape("*)(uid=*))(|(uid=*"), "\\2a\\29\\28uid=\\2a\\29\\29\\28|\\28uid=\\2a");
        assert_eq!(escape("a\\b\0ü"), "a\\5cb\\00ü");
        assert_eq!(escape("plain, name"), "plain, name");
    }

    #[test]
    fn names_of_one_entry_are_the_same() {
        let same = [
            "uid=Alice,ou=Users,dc=example,dc=org",
            "UID=alice, OU=users , dc=Example,DC=ORG",
            "uid = alice;ou=users;dc=example;dc=org",
            "uid=\\61lice,ou=users,dc=example,dc=org",
        ];
        for dn in same {
            assert_eq!(same_dn(dn), same_dn(same[0]), "{dn}");
        }
        for (one, other) in [
            ("cn=a\\,b,o=x", "cn=a,b=o,o=x"),
            ("cn=a\\+b=c,o=x", "cn=a+b=c,o=x"),
            ("cn=a,o=x", "cn=a,o=x,o=x"),
            ("cn=a", "cn=b"),
            ("cn=a\\ ,o=x", "uid=a,o=x"),
        ] {
            assert_ne!(same_dn(one), same_dn(other), "{one}");
        }
        assert_eq!(same_dn("cn=a+uid=b,o=x"), same_dn("uid=b+cn=a,o=x"));
        assert_eq!(same_dn("alice"), "alice");
        assert_eq!(parse_dn(""), Some(vec![]));
        for none in ["cn", "cn=a\\", "cn=\\zq\\4", "=a", "cn=\\ff\\fe", "a b=c", "cn=a,"] {
            assert_eq!(parse_dn(none), None, "{none}");
        }
        assert_eq!(named_by("uid=a\\2cb+cn=c,o=x", "UID").as_deref(), Some("a,b"));
        assert_eq!(named_by("cn=c,uid=x", "uid"), None);
    }
}
