//! Named refusals: one variant for each rule that can say no.

use crate::ceiling::Above;

/// How a refusal is answered. The server turns it into a status code; rules know no HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request is malformed or contradicts itself (400).
    Malformed,
    /// The caller is known and may not (403).
    Forbidden,
    /// What is named does not exist, or is dead (404).
    Absent,
    /// The same thing lives already (409).
    Conflict,
}

/// Why a delegation was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Rule 3, 30: the one who delegates must be the token's user.
    NotTheTrustor,
    /// Rule 6: no such trustee.
    TrusteeUnknown(String),
    /// Rule 7: a project but no roles.
    NoRoles,
    /// Rule 7: roles but no project.
    RolesWithoutProject,
    /// Rule 7: neither project nor roles; such a trust could never be used.
    NothingDelegated,
    /// Rule 8: no such project.
    ProjectUnknown(String),
    /// Rule 8: the root trustor does not hold this role on the project.
    RoleNotHeld(String),
    /// Rule 9: uses must be at least one, and fit the column.
    UsesNotPositive,
    /// Rule 9, 32: uses can be counted on a leaf only.
    UsesOnRedelegable,
    /// Rule 10: the expiry lies in the past.
    ExpiryPast,
    /// Rule 11: more redelegations asked than the configured maximum.
    DepthAboveMaximum {
        /// What was asked.
        asked: u32,
        /// The configured maximum.
        maximum: u32,
    },
    /// Rule 11: `[trust] allow_redelegation` is off on this server.
    RedelegationOff,
    /// Rule 31: the parent has no redelegation left.
    DepthExhausted,
    /// Rule 31: a child's count follows from its parent.
    DepthStated {
        /// The only count that is possible.
        possible: u32,
    },
    /// Rule 33: later than an ancestor's expiry.
    OutlivesParent,
    /// Rule 34: the role is outside the parent's effective closure.
    RoleOutsideParent(String),
    /// Rule 34: another project than the parent's.
    OtherProject,
    /// Rule 34: impersonation under a trust without it.
    ImpersonationGained,
    /// An access rule allows what those of the trust above do not.
    RuleOutsideParent(String),
    /// It would begin before the trust above does.
    EarlierThanParent,
    /// Its tokens would live for longer than those of the trust above.
    LongerTokensThanParent,
    /// It would let older logins use it than the trust above.
    OlderLoginsThanParent,
    /// The login is older than the trust lets it be, or the server for those who make one.
    LoginTooOld,
    /// The login was not by this method, which the trust asks for, or the server.
    LoginWithout(String),
    /// The trust's external id was not presented, or another.
    ExternalId,
    /// The trust is bound to another workload than the one that logged in, or to one where none did.
    OtherWorkload,
    /// The trust is bound to another certificate than that of the connection, or to one where there is none.
    OtherCertificate,
    /// A keypair of a trust that is bound to a workload: whoever has it could be anybody.
    KeypairOfWorkload,
    /// What is said of the beginning of the chain is said otherwise already.
    OriginIsSet(&'static str),
    /// An application credential lets nobody else be trustee than those that it names.
    TrusteeOfCredential,
    /// A trust asks for a role that the application credential which makes it may not delegate.
    RoleOfCredential(String),
    /// A trust would outlive the application credential that makes it.
    OutlivesCredential,
    /// A trust that an application credential made cannot be adopted.
    CredentialsTrust,
    /// Only a login lets an application credential delegate.
    MayNotLetDelegate,
    /// A trust that is below another is adopted with that one, whose id this is.
    NotTheFirst(String),
    /// Who adopts a trust does not hold this role of it on its project.
    RoleNotOfAdopter(String),
    /// A trust is adopted by somebody who acts by it, or by one below it, in the name of another; or passed on to them.
    AdoptedByTrustee,
    /// The one on whom a trust rests is there and holds its roles.
    HolderIsThere,
    /// Somebody acts on a trust in a part that its chain does not have.
    NoPartInChain,
    /// A trust is suspended by somebody further up than whoever would resume it.
    SuspendedAbove,
    /// It would end before it begins.
    NeverBegins,
    /// A list of access rules without a rule.
    NoAccessRules,
    /// A domain, a project, a user or the trustee lets less be delegated.
    AboveCeiling(Above),
    /// Trusts are for registered trustees only, by `[delegation] trustees`.
    TrusteeNotRegistered(String),
    /// The parent, or one of its ancestors, is dead or suspended.
    ParentNotLive(String),
    /// Rule 13: the same trust lives already.
    Duplicate,
    /// Rule 38: a keypair on another project than the delegation's.
    KeypairOtherProject,
    /// Rule 38: the keypair asks for a role that its trust does not give.
    KeypairRoleOutside(String),
    /// Rule 38: the keypair would outlive its trust.
    KeypairOutlives,
    /// Rule 38: narrowing is for keypairs that are born from a trust.
    NarrowingNeedsTrust,
    /// An application credential asks for a role that the token does not carry.
    RoleNotInToken(String),
    /// An application credential asks for a role that its owner does not hold, as a token may carry that of a group
    /// which an identity provider told of.
    RoleNotOfOwner(String),
    /// An application credential would outlive the one whose token makes it.
    CredentialOutlives,
    /// An application credential would be good for more requests than the one whose token makes it.
    AccessRuleOutside,
    /// Rule 5, 27, 36, 44: this kind of token may not do this.
    DelegatedToken(&'static str),
}

impl Refusal {
    /// How the refusal is answered.
    pub fn class(&self) -> Class {
        use Refusal::*;
        match self {
            NothingDelegated | UsesNotPositive | UsesOnRedelegable | ExpiryPast | NarrowingNeedsTrust
            | RoleNotInToken(_) | RoleNotOfOwner(_) | NeverBegins | NoAccessRules => Class::Malformed,
            // A dead or suspended parent is as good as gone, never an outage or a lack of rights.
            TrusteeUnknown(_) | RolesWithoutProject | ProjectUnknown(_) | RoleNotHeld(_)
            | ParentNotLive(_) => Class::Absent,
            Duplicate => Class::Conflict,
            NotTheTrustor
            | NoRoles
            | DepthAboveMaximum { .. }
            | RedelegationOff
            | DepthExhausted
            | DepthStated { .. }
            | OutlivesParent
            | RoleOutsideParent(_)
            | OtherProject
            | ImpersonationGained
            | RuleOutsideParent(_)
            | EarlierThanParent
            | LongerTokensThanParent
            | OlderLoginsThanParent
            | LoginTooOld
            | LoginWithout(_)
            | ExternalId
            | OtherWorkload
            | OtherCertificate
            | KeypairOfWorkload
            | OriginIsSet(_)
            | TrusteeOfCredential
            | RoleOfCredential(_)
            | OutlivesCredential
            | CredentialsTrust
            | MayNotLetDelegate
            | NotTheFirst(_)
            | RoleNotOfAdopter(_)
            | AdoptedByTrustee
            | HolderIsThere
            | NoPartInChain
            | SuspendedAbove
            | AboveCeiling(_)
            | TrusteeNotRegistered(_)
            | KeypairOtherProject
            | KeypairRoleOutside(_)
            | KeypairOutlives
            | CredentialOutlives
            | AccessRuleOutside
            | DelegatedToken(_) => Class::Forbidden,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use Refusal::*;
        match self {
            NotTheTrustor => f.write_str("trustor_user_id must be the user of the token that delegates"),
            TrusteeUnknown(id) => write!(f, "Could not find user: {id}."),
            NoRoles => f.write_str("roles: at least one role is needed"),
            RolesWithoutProject => {
                f.write_str("roles were given without project_id; no role is held nowhere")
            }
            NothingDelegated => {
                f.write_str("project_id and roles are needed: a trust without them gives nothing")
            }
            ProjectUnknown(id) => write!(f, "Could not find project: {id}."),
            RoleNotHeld(id) => {
                write!(f, "Could not find role: {id}. The trustor does not hold it on the project.")
            }
            UsesNotPositive => {
                f.write_str("remaining_uses must be a positive integer of at most 32 bits, or null")
            }
            UsesOnRedelegable => f.write_str("remaining_uses must not be set if redelegation is allowed"),
            ExpiryPast => f.write_str("expires_at must be in the future"),
            DepthAboveMaximum { asked, maximum } => {
                write!(f, "redelegation_count {asked} is above the maximum of {maximum}")
            }
            RedelegationOff => f.write_str("allow_redelegation: redelegation is switched off on this server"),
            DepthExhausted => f.write_str("the trust of this token allows no further redelegation"),
            DepthStated { possible } => {
                write!(f, "redelegation_count can only be {possible} below this trust; omit it")
            }
            OutlivesParent => f.write_str("expires_at is later than that of a trust above"),
            RoleOutsideParent(id) => {
                write!(f, "role {id} is not among the roles of the trust above")
            }
            OtherProject => f.write_str("project_id must be the project of the trust above"),
            ImpersonationGained => f.write_str("impersonation: the trust above does not allow it"),
            RuleOutsideParent(rule) => {
                write!(f, "access_rules: {rule} is not covered by a rule of the trust above")
            }
            EarlierThanParent => f.write_str("not_before is earlier than that of a trust above"),
            LongerTokensThanParent => f.write_str("max_token_ttl is more than that of a trust above"),
            OlderLoginsThanParent => f.write_str("max_login_age is more than that of a trust above"),
            LoginTooOld => f.write_str("max_login_age: the login is too old; log in again"),
            LoginWithout(method) => {
                write!(f, "required_methods: the login was not by {method}; log in with it")
            }
            ExternalId => f.write_str("external_id: the trust asks for another one"),
            OtherWorkload => f.write_str("trustee_binding: the trust is for a workload that this login is not of"),
            OtherCertificate => f.write_str(
                "trustee_binding: the trust is for a client with a certificate that this connection does not have",
            ),
            KeypairOfWorkload => {
                f.write_str("trustee_binding: a trust that is bound to a workload has no keypairs")
            }
            OriginIsSet(what) => write!(
                f,
                "{what}: a trust above says something else, or the trust itself; it is never changed"
            ),
            TrusteeOfCredential => f.write_str(
                "trustee_user_id is not among the trustees of the application credential of this token",
            ),
            RoleOfCredential(id) => write!(
                f,
                "role {id} is not among those that the application credential of this token may delegate"
            ),
            OutlivesCredential => {
                f.write_str("expires_at is later than that of the application credential of this token")
            }
            CredentialsTrust => {
                f.write_str("the trust was made by an application credential, and ends with it")
            }
            MayNotLetDelegate => {
                f.write_str("may_delegate: only a login lets an application credential delegate")
            }
            NotTheFirst(id) => write!(f, "the trust is below trust {id}: adopt that one"),
            RoleNotOfAdopter(id) => {
                write!(f, "role {id} of the trust is not held on its project by whoever adopts it")
            }
            AdoptedByTrustee => f.write_str("a trustee cannot adopt the trust by which they act in the name of another"),
            HolderIsThere => f.write_str(
                "whom the trust rests on is there and holds its roles: a manager of the project adopts it, or an administrator",
            ),
            NoPartInChain => f.write_str("the trust is neither yours nor below one of yours"),
            SuspendedAbove => f.write_str(
                "somebody further up has suspended the trust: they resume it, or somebody above them",
            ),
            NeverBegins => f.write_str("not_before must be earlier than expires_at"),
            NoAccessRules => f.write_str(
                "access_rules must name at least one rule; without the attribute nothing is limited",
            ),
            AboveCeiling(above) => above.fmt(f),
            TrusteeNotRegistered(id) => {
                write!(f, "trustee_user_id: {id} is not among the registered trustees")
            }
            ParentNotLive(why) => write!(f, "the trust of this token gives nothing: {why}"),
            Duplicate => f.write_str("the same trust exists already: another one that lives has this trustor, trustee, project, impersonation and end"),
            KeypairOtherProject => f.write_str("tenant_id must be the project of the delegation"),
            KeypairRoleOutside(id) => write!(f, "role {id} is not among the roles of the trust"),
            KeypairOutlives => f.write_str("expires_at is later than that of the trust"),
            NarrowingNeedsTrust => f.write_str(
                "roles, access_rules and expires_at narrow keypairs that are born from a trust only",
            ),
            RoleNotInToken(id) => {
                write!(f, "Invalid application credential: role {id} is not among the roles of the token")
            }
            RoleNotOfOwner(id) => {
                write!(f, "Invalid application credential: the user does not hold role {id} on the project")
            }
            CredentialOutlives => {
                f.write_str("expires_at is later than that of the application credential of this token")
            }
            AccessRuleOutside => f.write_str(
                "access_rules: one allows what those of the application credential of this token do not",
            ),
            DelegatedToken(what) => write!(f, "a delegated token may not {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::ceiling::{Holder, Limit};

    #[test]
    fn a_refusal_says_what_is_wrong_and_how_it_is_answered() {
        use Class::*;
        use Refusal::*;
        let id = || "x".to_owned();
        for (refusal, class, words) in [
            (NotTheTrustor, Forbidden, "trustor_user_id"),
            (TrusteeUnknown(id()), Absent, "Could not find user: x."),
            (NoRoles, Forbidden, "roles"),
            (RolesWithoutProject, Absent, "without project_id"),
            (NothingDelegated, Malformed, "project_id and roles"),
            (ProjectUnknown(id()), Absent, "Could not find project: x."),
            (RoleNotHeld(id()), Absent, "Could not find role: x."),
            (UsesNotPositive, Malformed, "remaining_uses"),
            (UsesOnRedelegable, Malformed, "remaining_uses"),
            (ExpiryPast, Malformed, "expires_at"),
            (
                DepthAboveMaximum { asked: 7, maximum: 3 },
                Forbidden,
                "redelegation_count 7 is above the maximum of 3",
            ),
            (RedelegationOff, Forbidden, "allow_redelegation"),
            (DepthExhausted, Forbidden, "no further redelegation"),
            (DepthStated { possible: 2 }, Forbidden, "redelegation_count can only be 2"),
            (OutlivesParent, Forbidden, "expires_at"),
            (RoleOutsideParent(id()), Forbidden, "role x"),
            (OtherProject, Forbidden, "project_id"),
            (ImpersonationGained, Forbidden, "impersonation"),
            (ParentNotLive(id()), Absent, "gives nothing: x"),
            (Duplicate, Conflict, "exists already"),
            (KeypairOtherProject, Forbidden, "tenant_id"),
            (KeypairRoleOutside(id()), Forbidden, "role x"),
            (KeypairOutlives, Forbidden, "expires_at"),
            (NarrowingNeedsTrust, Malformed, "roles, access_rules and expires_at"),
            (RuleOutsideParent(id()), Forbidden, "access_rules: x is not covered"),
            (EarlierThanParent, Forbidden, "not_before"),
            (LongerTokensThanParent, Forbidden, "max_token_ttl"),
            (OlderLoginsThanParent, Forbidden, "max_login_age"),
            (LoginTooOld, Forbidden, "max_login_age"),
            (LoginWithout(id()), Forbidden, "not by x"),
            (ExternalId, Forbidden, "external_id"),
            (OtherWorkload, Forbidden, "trustee_binding"),
            (OtherCertificate, Forbidden, "trustee_binding"),
            (KeypairOfWorkload, Forbidden, "no keypairs"),
            (OriginIsSet("labels"), Forbidden, "labels: a trust above says"),
            (TrusteeOfCredential, Forbidden, "trustee_user_id"),
            (RoleOfCredential(id()), Forbidden, "role x"),
            (OutlivesCredential, Forbidden, "expires_at"),
            (CredentialsTrust, Forbidden, "ends with it"),
            (MayNotLetDelegate, Forbidden, "may_delegate"),
            (NotTheFirst(id()), Forbidden, "below trust x"),
            (RoleNotOfAdopter(id()), Forbidden, "role x of the trust"),
            (AdoptedByTrustee, Forbidden, "a trustee cannot adopt"),
            (HolderIsThere, Forbidden, "is there and holds its roles"),
            (NoPartInChain, Forbidden, "neither yours"),
            (SuspendedAbove, Forbidden, "further up"),
            (NeverBegins, Malformed, "not_before must be earlier"),
            (NoAccessRules, Malformed, "access_rules must name"),
            (AboveCeiling(Above { limit: Limit::End, holder: Holder::User(id()) }), Forbidden, "user x"),
            (TrusteeNotRegistered(id()), Forbidden, "trustee_user_id: x"),
            (RoleNotInToken(id()), Malformed, "role x is not among the roles of the token"),
            (RoleNotOfOwner(id()), Malformed, "does not hold role x"),
            (CredentialOutlives, Forbidden, "expires_at"),
            (AccessRuleOutside, Forbidden, "access_rules"),
            (DelegatedToken("do this"), Forbidden, "may not do this"),
        ] {
            assert_eq!(refusal.class(), class, "{refusal:?}");
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
    }
}
