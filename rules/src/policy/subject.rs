//! What rules may know of the caller, under the names that Keystone gives to its policies.

use std::collections::BTreeMap;

/// Where a token is scoped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Nowhere.
    Unscoped,
    /// On a project.
    Project {
        /// The project.
        id: String,
        /// Its domain; a project that acts as a domain has none.
        domain: Option<String>,
    },
    /// On a domain.
    Domain(String),
    /// On the system.
    System,
}

macro_rules! traits {
    ($($name:ident, $key:literal;)*) => {
        /// What else a token says, beside user, roles and scope, by its key in oslo.policy's language.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Trait {
            $(#[doc = concat!("`", $key, "`")] $name,)*
        }

        impl Trait {
            const ALL: &'static [(&'static str, Trait)] = &[$(($key, Trait::$name),)*];
        }
    };
}

traits! {
    UserDomain, "token.user.domain.id";
    UserDomainName, "token.user.domain.name";
    UserName, "token.user.name";
    ProjectName, "token.project.name";
    ProjectDomainName, "token.project.domain.name";
    ProjectIsDomain, "token.is_domain";
    DomainName, "token.domain.name";
    RoleIds, "token.roles.id";
    Methods, "token.methods";
    ApplicationCredential, "token.application_credential.id";
    ApplicationCredentialName, "token.application_credential.name";
    ApplicationCredentialRestricted, "token.application_credential.restricted";
}

/// The caller, as far as policy may know them.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The token's user.
    pub user: String,
    /// Names of the token's roles.
    pub roles: Vec<String>,
    /// Its scope.
    pub scope: Scope,
    /// The configured admin token: everything is allowed.
    pub admin_token: bool,
    /// What else it says. A trait may have several values ("one of").
    pub traits: BTreeMap<Trait, Vec<String>>,
}

/// What a check compares on its left side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// `user_id`, `token.user.id`
    User,
    /// `user_domain_id`, which may be null
    UserDomain,
    /// `project_id`, which may be null
    Project,
    /// `token.project.id`
    TokenProject,
    /// `project_domain_id`, which may be null
    ProjectDomain,
    /// `token.project.domain.id`
    TokenProjectDomain,
    /// `domain_id`, which may be null: the domain that the token is scoped to
    Domain,
    /// `token.domain.id`
    TokenDomain,
    /// `system_scope`, which may be null
    SystemScope,
    /// `system`
    System,
    /// `token.system.all`
    TokenSystem,
    /// `roles`, `token.roles.name`
    Roles,
    /// `is_admin_project`
    AdminProject,
    /// Another trait of the token.
    Trait(Trait),
}

/// The keys of credentials that are no [`Trait`].
pub(super) const CREDENTIALS: &[(&str, Credential)] = &[
    ("user_id", Credential::User),
    ("token.user.id", Credential::User),
    ("user_domain_id", Credential::UserDomain),
    ("project_id", Credential::Project),
    ("token.project.id", Credential::TokenProject),
    ("project_domain_id", Credential::ProjectDomain),
    ("token.project.domain.id", Credential::TokenProjectDomain),
    ("domain_id", Credential::Domain),
    ("token.domain.id", Credential::TokenDomain),
    ("system_scope", Credential::SystemScope),
    ("system", Credential::System),
    ("token.system.all", Credential::TokenSystem),
    ("roles", Credential::Roles),
    ("token.roles.name", Credential::Roles),
    ("is_admin_project", Credential::AdminProject),
];

impl Credential {
    /// The credential with this key.
    pub fn named(key: &str) -> Option<Self> {
        let credential = CREDENTIALS.iter().find(|(name, _)| *name == key).map(|(_, c)| *c);
        credential
            .or_else(|| Trait::ALL.iter().find(|(name, _)| *name == key).map(|(_, t)| Credential::Trait(*t)))
    }

    /// A key of it; the first of several.
    pub fn key(self) -> &'static str {
        let of_trait = || Trait::ALL.iter().find(|(_, t)| Self::Trait(*t) == self).map(|(key, _)| *key);
        CREDENTIALS
            .iter()
            .find(|(_, c)| *c == self)
            .map(|(key, _)| *key)
            .or_else(of_trait)
            .unwrap_or_default()
    }

    /// Every key that checks may compare.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        CREDENTIALS.iter().map(|(key, _)| *key).chain(Trait::ALL.iter().map(|(key, _)| *key))
    }
}

/// What a token says of one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<'a> {
    /// It has no such part: a check of it is false, as with oslo.policy.
    Nothing,
    /// Null.
    Null,
    /// One of these.
    Values(Vec<&'a str>),
}

impl<'a> Said<'a> {
    fn part(value: Option<&'a str>) -> Self {
        value.map_or(Self::Nothing, |v| Self::Values(vec![v]))
    }

    fn nullable(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, |v| Self::Values(vec![v]))
    }
}

impl Subject {
    /// A caller with nothing but user, roles and scope.
    pub fn new(user: impl Into<String>, roles: Vec<String>, scope: Scope) -> Self {
        Self { user: user.into(), roles, scope, admin_token: false, traits: BTreeMap::new() }
    }

    /// The configured admin token.
    pub fn admin_token() -> Self {
        Self { admin_token: true, ..Self::new("", Vec::new(), Scope::Unscoped) }
    }

    /// Adds a trait.
    #[must_use]
    pub fn with<S: Into<String>>(mut self, which: Trait, values: impl IntoIterator<Item = S>) -> Self {
        self.traits.entry(which).or_default().extend(values.into_iter().map(Into::into));
        self
    }

    /// Adds a flag, in oslo.policy's words for it.
    #[must_use]
    pub fn with_flag(self, which: Trait, flag: bool) -> Self {
        self.with(which, [if flag { "True" } else { "False" }])
    }

    fn one(&self, which: Trait) -> Option<&str> {
        self.traits.get(&which).and_then(|v| v.first()).map(String::as_str)
    }

    /// What the token says; `admin_project` is the configured one, by its name and that of its domain.
    pub(super) fn says(&self, what: Credential, admin_project: Option<&(String, String)>) -> Said<'_> {
        let (project, domain, project_domain) = match &self.scope {
            Scope::Unscoped | Scope::System => (None, None, None),
            Scope::Project { id, domain } => (Some(id.as_str()), None, domain.as_deref()),
            Scope::Domain(id) => (None, Some(id.as_str()), None),
        };
        let system = self.scope == Scope::System;
        match what {
            Credential::User => Said::part(Some(&self.user)),
            Credential::UserDomain => Said::nullable(self.one(Trait::UserDomain)),
            Credential::Project => Said::nullable(project),
            Credential::TokenProject => Said::part(project),
            Credential::ProjectDomain => Said::nullable(project_domain),
            Credential::TokenProjectDomain => Said::part(project_domain),
            Credential::Domain => Said::nullable(domain),
            Credential::TokenDomain => Said::part(domain),
            Credential::SystemScope => Said::nullable(system.then_some("all")),
            Credential::System => Said::part(system.then_some("all")),
            Credential::TokenSystem => Said::part(system.then_some("True")),
            Credential::Roles => Said::Values(self.roles.iter().map(String::as_str).collect()),
            Credential::AdminProject => {
                let is = match (&self.scope, admin_project) {
                    (Scope::Domain(_), _) => false,
                    (Scope::Project { .. }, Some((name, domain))) => {
                        self.one(Trait::ProjectName) == Some(name)
                            && self.one(Trait::ProjectDomainName) == Some(domain)
                    }
                    // Without an administrative project each one is it, as in Keystone.
                    (Scope::Project { .. } | Scope::Unscoped | Scope::System, _) => true,
                };
                Said::part(Some(if is { "True" } else { "False" }))
            }
            Credential::Trait(which) => match self.traits.get(&which) {
                Some(values) => Said::Values(values.iter().map(String::as_str).collect()),
                None => Said::Nothing,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_known_once() {
        let keys: Vec<&str> = Credential::keys().collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(Credential::named(key).is_some(), "{key}");
            assert!(!keys[..i].contains(key), "{key}");
        }
        assert_eq!(Credential::named("group"), None);
    }

    #[test]
    fn which_project_is_the_administrative_one() {
        let project = Scope::Project { id: "p".into(), domain: Some("d".into()) };
        let on = |scope: &Scope| Subject::new("u", Vec::new(), scope.clone());
        let named =
            on(&project).with(Trait::ProjectName, ["ops"]).with(Trait::ProjectDomainName, ["Default"]);
        let configured = ("ops".to_owned(), "Default".to_owned());
        let other = ("ops".to_owned(), "other".to_owned());
        let is = |who: &Subject, configured: Option<&(String, String)>| {
            who.says(Credential::AdminProject, configured) == Said::Values(vec!["True"])
        };
        assert!(is(&named, None) && is(&named, Some(&configured)) && !is(&named, Some(&other)));
        assert!(!is(&on(&project), Some(&configured)));
        assert!(is(&on(&Scope::System), Some(&configured)));
        assert!(!is(&on(&Scope::Domain("d".into())), None));
    }
}
