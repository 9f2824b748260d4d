//! What rules may know of an object, under the names that Keystone gives to its policies.

use std::collections::BTreeMap;

macro_rules! facts {
    ($($fact:ident, $key:literal;)*) => {
        /// The facts that checks may name, by their keys in oslo.policy's language.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fact {
            $(#[doc = concat!("`", $key, "`")] $fact,)*
        }

        impl Fact {
            /// Every fact with its key.
            pub const ALL: &'static [(&'static str, Fact)] = &[$(($key, Fact::$fact),)*];

            /// The key.
            pub fn key(self) -> &'static str {
                match self {
                    $(Fact::$fact => $key,)*
                }
            }
        }
    };
}

facts! {
    // Variable parts of the path.
    PathUser, "user_id";
    PathGroup, "group_id";
    PathProject, "project_id";
    PathDomain, "domain_id";
    PathRole, "role_id";
    PathPriorRole, "prior_role_id";
    PathImpliedRole, "implied_role_id";
    PathTrust, "trust_id";
    PathCredential, "credential_id";
    PathRegion, "region_id";
    PathService, "service_id";
    PathEndpoint, "endpoint_id";
    PathLimit, "limit_id";
    PathRegisteredLimit, "registered_limit_id";
    // The domain that a list is limited to.
    ListDomain, "target.domain_id";
    UserId, "target.user.id";
    UserDomain, "target.user.domain_id";
    UserName, "target.user.name";
    UserEnabled, "target.user.enabled";
    UserDefaultProject, "target.user.default_project_id";
    GroupId, "target.group.id";
    GroupDomain, "target.group.domain_id";
    GroupName, "target.group.name";
    ProjectId, "target.project.id";
    ProjectDomain, "target.project.domain_id";
    ProjectName, "target.project.name";
    ProjectParent, "target.project.parent_id";
    ProjectEnabled, "target.project.enabled";
    ProjectIsDomain, "target.project.is_domain";
    DomainId, "target.domain.id";
    DomainName, "target.domain.name";
    DomainEnabled, "target.domain.enabled";
    RoleId, "target.role.id";
    RoleName, "target.role.name";
    RoleDomain, "target.role.domain_id";
    PriorRoleId, "target.prior_role.id";
    PriorRoleName, "target.prior_role.name";
    PriorRoleDomain, "target.prior_role.domain_id";
    ImpliedRoleId, "target.implied_role.id";
    ImpliedRoleName, "target.implied_role.name";
    ImpliedRoleDomain, "target.implied_role.domain_id";
    CredentialId, "target.credential.id";
    CredentialUser, "target.credential.user_id";
    CredentialProject, "target.credential.project_id";
    CredentialType, "target.credential.type";
    // Ours: trustee of the keypair's trust, and every trustor above it.
    CredentialDelegators, "target.credential.delegators";
    // The subject token's user and, on a chain, who else is its subject.
    TokenUser, "target.token.user_id";
    TokenUserDomain, "target.token.user.domain.id";
    TrustId, "target.trust.id";
    // The trustor, and every trustor above.
    TrustTrustor, "target.trust.trustor_user_id";
    TrustTrustee, "target.trust.trustee_user_id";
    TrustProject, "target.trust.project_id";
    // Ours: the domain of its project.
    TrustProjectDomain, "target.trust.project_domain_id";
    TrustImpersonation, "target.trust.impersonation";
    TrustParent, "target.trust.redelegated_trust_id";
    EndpointId, "target.endpoint.id";
    EndpointInterface, "target.endpoint.interface";
    EndpointRegion, "target.endpoint.region_id";
    EndpointService, "target.endpoint.service_id";
    EndpointEnabled, "target.endpoint.enabled";
    LimitId, "target.limit.id";
    LimitProject, "target.limit.project_id";
    LimitOfDomain, "target.limit.domain_id";
    LimitService, "target.limit.service_id";
    LimitRegion, "target.limit.region_id";
    LimitResource, "target.limit.resource_name";
    LimitProjectId, "target.limit.project.id";
    LimitProjectDomain, "target.limit.project.domain_id";
    LimitDomain, "target.limit.domain.id";

    // application credentials

    // OAuth1

    // OAuth2

    // endpoint filters
    PathEndpointGroup, "endpoint_group_id";

    // policies and their endpoints
    PathPolicy, "policy_id";

    // configuration of domains

    // federation
    PathIdentityProvider, "idp_id";
    PathProtocol, "protocol_id";
    PathMapping, "mapping_id";
    PathServiceProvider, "service_provider_id";

    // certificates and lists of PKI tokens
}

impl Fact {
    /// The fact with this key.
    pub fn named(key: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == key).map(|(_, fact)| *fact)
    }

    /// Whether it is true or false.
    pub fn is_flag(self) -> bool {
        matches!(
            self,
            Self::UserEnabled
                | Self::ProjectEnabled
                | Self::ProjectIsDomain
                | Self::DomainEnabled
                | Self::TrustImpersonation
                | Self::EndpointEnabled
        )
    }

    /// What the fact is a part of: `target.user`. Parts of the path, and the domain of a list, are for
    /// themselves.
    fn object(self) -> Option<&'static str> {
        self.key().rsplit_once('.').map(|(object, _)| object).filter(|object| *object != "target")
    }
}

/// What is known of one fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// There is no such object here. A check that names it is false, as with oslo.policy.
    Nothing,
    /// The object is there, but this was not told of it: so nothing follows from it, nor from its opposite.
    Untold,
    /// One of these; null when there are none.
    Values(&'a [String]),
}

/// Facts about the object of a call, from stored rows. A fact may have several values ("one of").
#[derive(Debug, Clone, Default)]
pub struct Facts(BTreeMap<Fact, Vec<String>>);

impl Facts {
    /// No facts.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, fact: Fact, value: impl Into<String>) -> Self {
        self.0.entry(fact).or_default().push(value.into());
        self
    }

    /// Adds a value that may be null.
    #[must_use]
    pub fn with_opt(self, fact: Fact, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(fact, value),
            None => self.with_all(fact, [] as [String; 0]),
        }
    }

    /// Adds a value if it is known.
    #[must_use]
    pub fn with_known(self, fact: Fact, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(fact, value),
            None => self,
        }
    }

    /// Adds a flag, in oslo.policy's words for it.
    #[must_use]
    pub fn with_flag(self, fact: Fact, flag: bool) -> Self {
        self.with(fact, if flag { "True" } else { "False" })
    }

    /// Adds several values.
    #[must_use]
    pub fn with_all<S: Into<String>>(mut self, fact: Fact, values: impl IntoIterator<Item = S>) -> Self {
        self.0.entry(fact).or_default().extend(values.into_iter().map(Into::into));
        self
    }

    /// Adds those about another object.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (fact, values) in other.0 {
            self = self.with_all(fact, values);
        }
        self
    }

    /// Only those that say in which domain or project something is, or whose.
    #[must_use]
    pub fn of_place(mut self) -> Self {
        self.0.retain(|fact, _| {
            ["domain_id", "project_id", "user_id"].iter().any(|end| fact.key().ends_with(end))
        });
        self
    }

    /// Whether this fact is told.
    pub fn tells(&self, fact: Fact) -> bool {
        self.0.contains_key(&fact)
    }

    /// All that is known, with its values; a fact without any is null.
    pub fn iter(&self) -> impl Iterator<Item = (Fact, &[String])> {
        self.0.iter().map(|(fact, values)| (*fact, values.as_slice()))
    }

    pub(super) fn get(&self, fact: Fact) -> Known<'_> {
        match self.0.get(&fact) {
            Some(values) => Known::Values(values),
            None if fact.object().is_some_and(|o| self.0.keys().any(|f| f.object() == Some(o))) => {
                Known::Untold
            }
            None => Known::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_optional_fact_adds_to_those_that_are_there() {
        let facts = Facts::none().with(Fact::UserId, "a").with_opt(Fact::ProjectId, Some("p"));
        let facts = facts.with_opt(Fact::DomainId, None::<&str>).with_known(Fact::GroupId, None::<&str>);
        assert_eq!(facts.get(Fact::UserId), Known::Values(&["a".to_owned()]));
        assert_eq!(facts.get(Fact::ProjectId), Known::Values(&["p".to_owned()]));
        assert_eq!(facts.get(Fact::DomainId), Known::Values(&[]));
        assert_eq!(facts.get(Fact::GroupId), Known::Nothing);
    }

    #[test]
    fn an_object_that_is_there_has_untold_facts() {
        let facts =
            Facts::none().with(Fact::UserId, "a").with(Fact::PathUser, "a").with(Fact::ListDomain, "d");
        assert_eq!(facts.get(Fact::UserName), Known::Untold);
        assert_eq!(facts.get(Fact::GroupName), Known::Nothing);
        assert_eq!(facts.get(Fact::PathGroup), Known::Nothing);
        let limit = Facts::none().with(Fact::LimitId, "l");
        assert_eq!(limit.get(Fact::LimitProjectId), Known::Nothing, "a limit of a domain has no project");
    }

    #[test]
    fn keys_are_names() {
        for (key, fact) in Fact::ALL {
            assert_eq!(Fact::named(key), Some(*fact));
            assert_eq!(fact.key(), *key);
        }
        assert_eq!(Fact::named("target.secret"), None);
    }
}
