//! The security log: who got in or was refused, and what changed who may do what. One event is one line of the
//! target `vicar::security`, in fields that are always named the same.

use crate::reason::Reason;

/// The target of the events.
pub const TARGET: &str = "vicar::security";

macro_rules! events {
    ($($event:ident, $word:literal, $doc:literal;)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Event {
            $(#[doc = $doc] $event,)*
        }

        impl Event {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$event),*];

            /// The word in the log.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$event => $word,)*
                }
            }

            /// What it means, for the operator.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$event => $doc,)*
                }
            }
        }
    };
}

events! {
    Login, "login", "a token was asked for with a password, an application credential, or another token";
    Exchange, "keypair.exchange", "a signed request was to be exchanged for a token (EC2, S3)";
    Access, "access", "any other request that was refused";
    TokenRevoke, "token.revoke", "a token was revoked, with what descends from it";
    TokensRevoke, "token.revoke-all", "all tokens of a user were revoked";
    GrantCreate, "grant.create", "a role was granted to a user or group";
    GrantRevoke, "grant.revoke", "a granted role was taken away";
    ImplicationCreate, "implication.create", "a role came to imply another";
    ImplicationDelete, "implication.delete", "a role does not imply another any more";
    MemberAdd, "member.add", "a user came into a group";
    MemberRemove, "member.remove", "a user left a group";
    TrustCreate, "trust.create", "a trust was made";
    TrustEnd, "trust.end", "a trust was ended, with all below it; `ended` lists them";
    TrustSuspend, "trust.suspend", "a trust was suspended, and its tokens ended with those of all below it";
    TrustResume, "trust.resume", "a suspended trust was resumed";
    TrustAdopt, "trust.adopt", "a trust rests on the roles of whoever asked for it from now on";
    TrustTokensEnd, "trust.end-tokens", "the tokens of a trust and of all below it were ended";
    TrustReap, "trust.reap", "the server itself ended trusts whose time, uses or foundations were over, with what is below; `detail` lists those";
    CredentialCreate, "credential.create", "a credential was made, which may be a keypair";
    CredentialUpdate, "credential.update", "a credential was changed";
    CredentialDelete, "credential.delete", "a credential was deleted";
    KeypairCreate, "keypair.create", "an EC2 keypair was made";
    KeypairDelete, "keypair.delete", "an EC2 keypair was deleted";
    ConsumerChange, "consumer.change", "an OAuth1 consumer was made or changed";
    ConsumerDelete, "consumer.delete", "an OAuth1 consumer was deleted, with its access tokens";
    AccessTokenAuthorize, "access-token.authorize", "a user authorized an OAuth1 consumer to act for them";
    AccessTokenCreate, "access-token.create", "an OAuth1 consumer was to get the access token that a user authorized";
    AccessTokenDelete, "access-token.delete", "an OAuth1 access token was deleted";
    ApplicationCredentialCreate, "application-credential.create", "an application credential was made";
    ApplicationCredentialDelete, "application-credential.delete", "an application credential was deleted; its tokens ended with it";
    AccessRuleDelete, "access-rule.delete", "an access rule that no application credential used was deleted";
    PasswordChange, "password.change", "a user changed their own password";
    PasswordReset, "password.reset", "an administrator changed a user, their password included";
    UserCreate, "user.create", "a user was made";
    UserUpdate, "user.update", "a user was changed";
    UserDelete, "user.delete", "a user was deleted, with the trusts in which they took part";
    GroupCreate, "group.create", "a group was made";
    GroupUpdate, "group.update", "a group was changed";
    GroupDelete, "group.delete", "a group was deleted";
    RoleCreate, "role.create", "a role was made";
    RoleUpdate, "role.update", "a role was changed";
    RoleDelete, "role.delete", "a role was deleted";
    ProjectCreate, "project.create", "a project was made";
    ProjectUpdate, "project.update", "a project was changed";
    ProjectDelete, "project.delete", "a project was deleted, with the trusts on it";
    DomainCreate, "domain.create", "a domain was made";
    DomainUpdate, "domain.update", "a domain was changed";
    DomainDelete, "domain.delete", "a domain was deleted, with all in it";
    CatalogChange, "catalog.change", "a region, service or endpoint, or what projects see of them, was made, changed or deleted";
    CeilingChange, "ceiling.change", "how much may be delegated by a domain, a project, a user or to a trustee was changed";
    PolicyStore, "policy.store", "a policy that services can fetch, or for which endpoints it is, was made, changed or deleted";
    FederationChange, "federation.change", "an identity provider, protocol, mapping or service provider was made, changed or deleted";
    Start, "server.start", "the server serves";
    Stop, "server.stop", "the server stops";
    KeysReload, "keys.reload", "the keys in a directory have changed";
    PolicyReload, "policy.reload", "the policy file was read again";
    CertificateReload, "certificate.reload", "the TLS certificate was read again";
    PinnedKeysReload, "pinned-keys.reload", "the pinned keys of identity providers were read again";
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was asked for, and refused.
    Refused,
    /// It could not be done; what was before stays.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Success, Self::Refused, Self::Failed];

    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// The objects of a request.
#[derive(Debug, Clone, Default)]
pub struct On {
    /// A user.
    pub user: Option<String>,
    /// A group.
    pub group: Option<String>,
    /// A project.
    pub project: Option<String>,
    /// A domain.
    pub domain: Option<String>,
    /// A role.
    pub role: Option<String>,
    /// A role that is implied.
    pub implied_role: Option<String>,
    /// A trust.
    pub trust: Option<String>,
    /// A credential, or the access id of a keypair.
    pub credential: Option<String>,
    /// Anything else.
    pub object: Option<String>,
}

impl On {
    /// Sets the object that a part of a path names, or that was made: `user_id`, `role_id`, …
    pub fn set(&mut self, name: &str, id: String) {
        let place = match name {
            "user_id" => &mut self.user,
            "group_id" => &mut self.group,
            "project_id" => &mut self.project,
            "domain_id" => &mut self.domain,
            "role_id" | "prior_role_id" => &mut self.role,
            "implied_role_id" => &mut self.implied_role,
            "trust_id" => &mut self.trust,
            "credential_id" => &mut self.credential,
            _ => &mut self.object,
        };
        *place = Some(id);
    }
}

/// One event of a request. What is missing is left out of the line.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// What happened.
    pub event: Event,
    /// How it went.
    pub outcome: Outcome,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// The operation that was refused, by its name in policy files.
    pub operation: Option<&'a str>,
    /// The user that the caller's token speaks for.
    pub user: Option<&'a str>,
    /// Whose doing it is.
    pub actor: Option<&'a str>,
    /// The caller's project.
    pub project: Option<&'a str>,
    /// Who acts for whom.
    pub chain: Option<&'a str>,
    /// What is said of the beginning of the chain.
    pub origin: Option<&'a str>,
    /// Audit ids of the caller's token.
    pub audit_ids: Option<&'a str>,
    /// Audit ids of the token that was issued or revoked.
    pub subject: Option<&'a str>,
    /// Whom a refused login tried to be, by id.
    pub tried_user: Option<&'a str>,
    /// The same by name.
    pub tried_name: Option<&'a str>,
    /// The domain that it tried.
    pub tried_domain: Option<&'a str>,
    /// Audit ids of a token that is not valid.
    pub tried_audit_ids: Option<&'a str>,
    /// A part of a keyed hash of a wrong password, where that is configured.
    pub tried_password_hash: Option<&'a str>,
    /// On what.
    pub on: On,
    /// Trusts that ended.
    pub ended: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a str,
    /// The client's address.
    pub address: Option<&'a str>,
    /// The status of the answer.
    pub status: u16,
}

/// Writes the event of a request.
pub fn write(r: &Record<'_>) {
    tracing::info!(
        target: TARGET,
        event = r.event.word(),
        outcome = r.outcome.word(),
        reason = r.reason.map(Reason::word),
        operation = r.operation,
        user = r.user,
        actor = r.actor,
        project = r.project,
        chain = r.chain,
        origin = r.origin,
        audit_ids = r.audit_ids,
        subject = r.subject,
        tried_user = r.tried_user,
        tried_name = r.tried_name,
        tried_domain = r.tried_domain,
        tried_audit_ids = r.tried_audit_ids,
        tried_password_hash = r.tried_password_hash,
        on_user = r.on.user.as_deref(),
        on_group = r.on.group.as_deref(),
        on_project = r.on.project.as_deref(),
        on_domain = r.on.domain.as_deref(),
        on_role = r.on.role.as_deref(),
        on_implied_role = r.on.implied_role.as_deref(),
        on_trust = r.on.trust.as_deref(),
        on_credential = r.on.credential.as_deref(),
        on_object = r.on.object.as_deref(),
        ended = r.ended,
        request_id = r.request_id,
        address = r.address,
        status = r.status,
    );
}

/// Writes an event of the server itself. `detail` is what it was done with, or why it failed.
pub fn server(event: Event, outcome: Outcome, detail: &str) {
    tracing::info!(target: TARGET, event = event.word(), outcome = outcome.word(), detail);
}
