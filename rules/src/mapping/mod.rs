//! Mappings: who somebody is here, told from what an identity provider says of them.
//!
//! A mapping is a list of rules. The remote part of a rule says which attributes there have to be and what is in
//! them; the local part is what follows: a user, groups, projects with roles. [`Mapping::parse`] refuses the documents
//! that Keystone 30.0.0 refuses, and [`Mapping::evaluate`] comes to what it comes to. Both are Keystone's
//! language to the letter, oddities included, as operators have rules that work by them. The two limits of our own:
//! regular expressions ([`pattern`]) and what `{0}` may say more than a number.

mod document;
mod evaluate;
mod literal;
pub mod pattern;
mod template;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

pub use evaluate::Mapped;
pub use pattern::PatternFault;

/// The version of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `1.0`
    V1,
    /// `2.0`: projects have domains, and the domain of a local part is that of its user and projects.
    V2,
    /// `3.0`: projects as JSON in an attribute.
    V3,
}

impl Version {
    /// Every version, with its name.
    pub const ALL: [(&'static str, Self); 3] = [("1.0", Self::V1), ("2.0", Self::V2), ("3.0", Self::V3)];

    /// The version of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, version)| *version)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
            Self::V3 => "3.0",
        }
    }
}

/// A document that is a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    version: Version,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    local: Vec<Map<String, Value>>,
    remote: Vec<Requirement>,
}

/// What a rule wants of one attribute.
#[derive(Debug, Clone, PartialEq)]
struct Requirement {
    attribute: String,
    test: Test,
    /// Whether the values are regular expressions.
    regex: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// That it is there.
    Present,
    AnyOneOf(Vec<Value>),
    NotAnyOf(Vec<Value>),
    Blacklist(Vec<Value>),
    Whitelist(Vec<Value>),
}

impl Test {
    fn values(&self) -> &[Value] {
        match self {
            Self::Present => &[],
            Self::AnyOneOf(all) | Self::NotAnyOf(all) | Self::Blacklist(all) | Self::Whitelist(all) => all,
        }
    }
}

impl Mapping {
    /// Reads the `rules` of a document.
    ///
    /// # Errors
    /// As [`Mapping::parse`].
    pub fn of_rules(rules: Value, version: Version) -> Result<Self, Malformed> {
        Self::parse(&Map::from_iter([("rules".to_owned(), rules)]), version)
    }

    /// The attributes that its rules ask for.
    pub fn attributes(&self) -> BTreeSet<&str> {
        self.rules.iter().flat_map(|rule| &rule.remote).map(|r| r.attribute.as_str()).collect()
    }

    /// The version by which it is evaluated.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The same rules, evaluated as those of another version.
    pub fn evaluated_as(self, version: Version) -> Self {
        Self { version, ..self }
    }
}

/// Why a document is no mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Where in it: `rules[0].remote[1].type`.
    pub at: String,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.problem)
    }
}

/// Why a mapping comes to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No rule fits, or none that does says anything.
    NothingMapped,
    /// A local part refers to more than its remote part found.
    NoSuchMatch(String),
    /// A local part's string is none that values are put into.
    Template(String),
    /// A value that nothing can be compared with.
    Value,
    /// A regular expression that is not used.
    Pattern(String, PatternFault),
    /// `groups` need a domain.
    GroupsWithoutDomain,
    /// `groups` that are neither names nor objects.
    Groups,
    /// `group_ids` that are no ids.
    GroupIds,
    /// `projects_json` that are not projects, and why not.
    ProjectsJson(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingMapped => write!(f, "no rule comes to anything with these attributes"),
            Self::NoSuchMatch(text) => {
                write!(f, "{text:?} refers to more values than the rule's remote part has")
            }
            Self::Template(text) => write!(
                f,
                "{text:?}: braces can have a number, like {{0}}, or nothing; a brace itself is written twice"
            ),
            Self::Value => write!(f, "a list of values has an object or a list in it"),
            Self::Pattern(pattern, fault) => write!(f, "{} {fault}", pattern::shown(pattern)),
            Self::GroupsWithoutDomain => write!(f, "`groups` and `domain` must be given together"),
            Self::Groups => write!(f, "`groups` has something that is neither a name nor a group"),
            Self::GroupIds => write!(f, "`group_ids` has something that is no id"),
            Self::ProjectsJson(why) => write!(f, "`projects_json`: {why}"),
        }
    }
}

#[cfg(test)]
mod tests;
