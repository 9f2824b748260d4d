//! What a route tells those who listen to notifications: what a Keystone tells for the same call.

use axum::http::HeaderName;
use axum::http::header::USER_AGENT;
use axum::response::Response;
use vicar_rules::policy::{Op, Scope};

use super::events;
use super::route::{Auth, Route};
use crate::app::App;
use crate::authz::{Caller, Told};
use crate::error::Error;
use crate::http::Request;
use crate::http::request::Made;
use crate::line::{Password, Verdict, cut};
use crate::notifications::{Action, Actor, Initiator, Notice, ObjectKind, Outcome, Reason, What};
use crate::peer::Peer;

/// The header with the id that a client gave to what it does in several services.
const GLOBAL_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// The longest name that a client gives itself, in bytes.
const LONGEST_AGENT: usize = 255;

/// What an operation tells when it has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tells {
    /// The object in the answer was made.
    Made(ObjectKind),
    /// The object that the path names was changed.
    Changed(ObjectKind),
    /// The object that the path names was deleted.
    Gone(ObjectKind),
    /// The role that the path names was granted, or is not any more.
    Grant(Action),
    /// A user came into the group that the path names, or left it.
    Member {
        /// Whether they came.
        came: bool,
    },
    /// The handler knows, and says it with [`Session::tell`](crate::authz::Session::tell).
    ByHandler,
}

use Tells::{ByHandler, Changed, Gone, Grant, Made as MadeOne, Member};

/// Each operation is decided about: a new one does not compile before.
fn of_operation(op: Op) -> Option<Tells> {
    Some(match op {
        Op::CreateUser => MadeOne(ObjectKind::User),
        Op::UpdateUser | Op::ChangePassword => Changed(ObjectKind::User),
        Op::CreateGroup => MadeOne(ObjectKind::Group),
        Op::UpdateGroup => Changed(ObjectKind::Group),
        Op::DeleteGroup => Gone(ObjectKind::Group),
        Op::AddUserToGroup => Member { came: true },
        Op::RemoveUserFromGroup => Member { came: false },
        Op::CreateRole | Op::CreateDomainRole => MadeOne(ObjectKind::Role),
        Op::UpdateRole | Op::UpdateDomainRole => Changed(ObjectKind::Role),
        Op::DeleteRole | Op::DeleteDomainRole => Gone(ObjectKind::Role),
        Op::CreateGrant => Grant(Action::Created),
        Op::RevokeGrant => Grant(Action::Deleted),
        Op::CreateDomain => MadeOne(ObjectKind::Domain),
        Op::CreateRegion => MadeOne(ObjectKind::Region),
        Op::UpdateRegion => Changed(ObjectKind::Region),
        Op::DeleteRegion => Gone(ObjectKind::Region),
        Op::CreateService => MadeOne(ObjectKind::Service),
        Op::UpdateService => Changed(ObjectKind::Service),
        Op::DeleteService => Gone(ObjectKind::Service),
        Op::CreateEndpoint => MadeOne(ObjectKind::Endpoint),
        Op::UpdateEndpoint => Changed(ObjectKind::Endpoint),
        Op::DeleteEndpoint => Gone(ObjectKind::Endpoint),
        Op::CreateTrust => MadeOne(ObjectKind::Trust),
        Op::CreateCredential => MadeOne(ObjectKind::Credential),
        Op::DeleteCredential => Gone(ObjectKind::Credential),
        // What is deleted takes others along; a domain is a project too; the ids of keypairs are not in their paths.
        Op::DeleteUser
        | Op::CreateProject
        | Op::UpdateProject
        | Op::DeleteProject
        | Op::UpdateDomain
        | Op::DeleteDomain
        | Op::UpdateProjectTags
        | Op::DeleteProjectTags
        | Op::CreateProjectTag
        | Op::DeleteProjectTag
        | Op::DeleteTrust
        | Op::RenounceTrust
        | Op::Ec2CreateCredential
        | Op::Ec2DeleteCredential => ByHandler,
        // application credentials
        Op::CreateApplicationCredential => MadeOne(ObjectKind::ApplicationCredential),
        Op::DeleteApplicationCredential => Gone(ObjectKind::ApplicationCredential),
        Op::DeleteAccessRule => Gone(ObjectKind::AccessRule),
        Op::GetApplicationCredential
        | Op::ListApplicationCredentials
        | Op::GetAccessRule
        | Op::ListAccessRules => return None,

        // OAuth1; what is signed has no operation, and its handler knows
        Op::CreateConsumer => MadeOne(ObjectKind::Consumer),
        Op::UpdateConsumer => Changed(ObjectKind::Consumer),
        Op::DeleteConsumer => Gone(ObjectKind::Consumer),
        Op::DeleteAccessToken => Gone(ObjectKind::AccessToken),
        Op::AuthorizeRequestToken => return None,
        Op::GetConsumer
        | Op::ListConsumers
        | Op::GetAccessToken
        | Op::GetAccessTokenRole
        | Op::ListAccessTokens
        | Op::ListAccessTokenRoles => return None,

        // OAuth2

        // endpoint filters
        Op::CreateEndpointGroup
        | Op::UpdateEndpointGroup
        | Op::DeleteEndpointGroup
        | Op::AddEndpointGroupToProject
        | Op::RemoveEndpointGroupFromProject
        | Op::AddEndpointToProject
        | Op::RemoveEndpointFromProject => return None,
        Op::ListEndpointGroups
        | Op::GetEndpointGroup
        | Op::ListProjectsAssociatedWithEndpointGroup
        | Op::ListEndpointsAssociatedWithEndpointGroup
        | Op::GetEndpointGroupInProject
        | Op::ListEndpointGroupsForProject
        | Op::ListProjectsForEndpoint
        | Op::CheckEndpointInProject
        | Op::ListEndpointsForProject => return None,

        // policies and their endpoints
        Op::CreatePolicy => MadeOne(ObjectKind::Policy),
        Op::UpdatePolicy => Changed(ObjectKind::Policy),
        Op::DeletePolicy => Gone(ObjectKind::Policy),
        Op::CreatePolicyAssociationForEndpoint
        | Op::DeletePolicyAssociationForEndpoint
        | Op::CreatePolicyAssociationForService
        | Op::DeletePolicyAssociationForService
        | Op::CreatePolicyAssociationForRegionAndService
        | Op::DeletePolicyAssociationForRegionAndService => return None,
        Op::GetPolicy
        | Op::ListPolicies
        | Op::CheckPolicyAssociationForEndpoint
        | Op::CheckPolicyAssociationForService
        | Op::CheckPolicyAssociationForRegionAndService
        | Op::GetPolicyForEndpoint
        | Op::ListEndpointsForPolicy => return None,

        // configuration of domains
        Op::CreateDomainConfig | Op::UpdateDomainConfig | Op::DeleteDomainConfig => return None,
        Op::GetDomainConfig | Op::GetDomainConfigDefault | Op::GetSecurityComplianceDomainConfig => {
            return None;
        }

        // federation
        Op::CreateIdentityProvider
        | Op::UpdateIdentityProvider
        | Op::DeleteIdentityProvider
        | Op::CreateProtocol
        | Op::UpdateProtocol
        | Op::DeleteProtocol
        | Op::CreateMapping
        | Op::UpdateMapping
        | Op::DeleteMapping
        | Op::CreateServiceProvider
        | Op::UpdateServiceProvider
        | Op::DeleteServiceProvider => return None,
        Op::GetIdentityProvider
        | Op::ListIdentityProviders
        | Op::GetProtocol
        | Op::ListProtocols
        | Op::GetMapping
        | Op::ListMappings
        | Op::GetServiceProvider
        | Op::ListServiceProviders => return None,

        // certificates and lists of PKI tokens

        // A Keystone tells nothing of these.
        Op::RevokeToken
        | Op::RevokeTokensForUser
        | Op::Ec2tokensValidate
        | Op::S3tokensValidate
        | Op::UpdateCredential
        | Op::CreateSystemGrantForUser
        | Op::CreateSystemGrantForGroup
        | Op::RevokeSystemGrantForUser
        | Op::RevokeSystemGrantForGroup
        | Op::CreateImpliedRole
        | Op::DeleteImpliedRole
        | Op::CreateRegisteredLimits
        | Op::UpdateRegisteredLimit
        | Op::DeleteRegisteredLimit
        | Op::CreateLimits
        | Op::UpdateLimit
        | Op::DeleteLimit => return None,
        // These change nothing.
        Op::GetAuthCatalog
        | Op::GetAuthProjects
        | Op::GetAuthDomains
        | Op::GetAuthSystem
        | Op::ValidateToken
        | Op::CheckToken
        | Op::ListRevokeEvents
        | Op::GetCredential
        | Op::ListCredentials
        | Op::Ec2GetCredential
        | Op::Ec2ListCredentials
        | Op::GetDomain
        | Op::ListDomains
        | Op::GetProject
        | Op::ListProjects
        | Op::ListUserProjects
        | Op::ListProjectTags
        | Op::GetProjectTag
        | Op::GetUser
        | Op::ListUsers
        | Op::ListGroupsForUser
        | Op::GetGroup
        | Op::ListGroups
        | Op::ListUsersInGroup
        | Op::CheckUserInGroup
        | Op::GetRole
        | Op::ListRoles
        | Op::GetDomainRole
        | Op::ListDomainRoles
        | Op::GetImpliedRole
        | Op::CheckImpliedRole
        | Op::ListImpliedRoles
        | Op::ListRoleInferenceRules
        | Op::CheckGrant
        | Op::ListGrants
        | Op::CheckSystemGrantForUser
        | Op::ListSystemGrantsForUser
        | Op::CheckSystemGrantForGroup
        | Op::ListSystemGrantsForGroup
        | Op::ListRoleAssignments
        | Op::ListRoleAssignmentsForTree
        | Op::GetTrust
        | Op::ListTrusts
        | Op::ListTrustsForTrustor
        | Op::ListTrustsForTrustee
        | Op::ListRolesForTrust
        | Op::GetRoleForTrust
        | Op::GetTrustLineage
        | Op::ListUserDelegations
        | Op::GetRegion
        | Op::ListRegions
        | Op::GetService
        | Op::ListServices
        | Op::GetEndpoint
        | Op::ListEndpoints
        | Op::GetRegisteredLimit
        | Op::ListRegisteredLimits
        | Op::GetLimit
        | Op::ListLimits
        | Op::GetLimitModel => return None,
    })
}

/// A request that is over, or about to be refused.
pub(super) struct Done<'a> {
    /// The server's parts.
    pub app: &'a App,
    /// The route.
    pub route: &'a Route,
    /// The request.
    pub request: &'a Request,
    /// Who called.
    pub caller: Option<&'a Caller>,
}

impl Done<'_> {
    /// Leaves notices of what a request has done. Its transaction is committed.
    pub fn tell(&self, told: Vec<Told>, response: &Response) {
        if !self.app.notifications.is_on() {
            return;
        }
        self.tell_password();
        // What was only asked for (`?dry_run=true`) has another.
        if !events::successes(self.route).is_some_and(|s| s.contains(&response.status().as_u16())) {
            return;
        }
        for Told { kind, action, id, by_caller } in told {
            let what = What::Object { kind, action, id, actor: None };
            self.say(what, by_caller.then(|| self.initiator()), Outcome::Success, None);
        }
        if let Some(what) = self.what(response.extensions().get::<Made>().map(|made| &*made.id)) {
            self.say(what, Some(self.initiator()), Outcome::Success, None);
        }
    }

    /// Leaves notices of what a request has not done, as far as a Keystone does: logins, grants, and passwords that were refused.
    pub fn tell_refused(&self, error: &Error) {
        if !self.app.notifications.is_on() || !is_refusal(error) {
            return;
        }
        self.tell_password();
        let op = self.route.declared.ops.first().copied();
        match op.and_then(of_operation) {
            Some(Grant(_)) if self.request.line.was_allowed() => {
                if let Some(what) = self.what(None) {
                    self.say(what, Some(self.initiator()), Outcome::Failure, None);
                }
            }
            Some(Changed(ObjectKind::User)) if self.is_refused_password(error) => {
                let reason = Reason { text: error.to_string(), code: 400 };
                if let Some(what) = self.what(None) {
                    self.say(what, Some(self.initiator()), Outcome::Failure, Some(reason));
                }
            }
            _ => {}
        }
    }

    /// Whether the owner of a password wanted to change it to one that cannot be.
    fn is_refused_password(&self, error: &Error) -> bool {
        let verdict = self.request.line.password().map(|password| password.verdict);
        matches!(verdict, Some(Verdict::Right | Verdict::Expired)) && matches!(error, Error::BadRequest(_))
    }

    /// What the route has done; `made` is the id of what it made.
    fn what(&self, made: Option<&str>) -> Option<What> {
        let part = |name: &str| self.request.param_opt(name).map(str::to_owned);
        let object = |kind, action, id| What::Object { kind, action, id, actor: None };
        Some(match of_operation(*self.route.declared.ops.first()?)? {
            MadeOne(kind) => object(kind, Action::Created, made?.to_owned()),
            Changed(kind) => object(kind, Action::Updated, self.request.parts().last()?.1.to_owned()),
            Gone(kind) => object(kind, Action::Deleted, self.request.parts().last()?.1.to_owned()),
            Member { came } => What::Object {
                kind: ObjectKind::Group,
                action: Action::Updated,
                id: part("group_id")?,
                actor: Some(Actor { user: part("user_id")?, came }),
            },
            Grant(action) => {
                const PARTS: [(&str, &str); 5] = [
                    ("project", "project_id"),
                    ("domain", "domain_id"),
                    ("user", "user_id"),
                    ("group", "group_id"),
                    ("role", "role_id"),
                ];
                let parts = PARTS.into_iter().filter_map(|(name, of)| Some((name, part(of)?))).collect();
                What::Grant { action, parts, inherited: self.route.path.contains("OS-INHERIT") }
            }
            ByHandler => return None,
        })
    }

    /// Leaves a notice of the password that came along.
    fn tell_password(&self) {
        let Some(password) = self.request.line.password() else { return };
        let (outcome, reason) = judged(&password);
        let mut initiator = self.initiator();
        if self.route.auth == Auth::Login || password.user.is_some() {
            initiator.name = None;
        }
        initiator.tried = password.user.is_none();
        if initiator.tried {
            initiator.domain = password.domain;
        }
        initiator.user = password.user;
        self.say(What::Authenticate, Some(initiator), outcome, reason);
    }

    fn say(&self, what: What, initiator: Option<Initiator>, outcome: Outcome, reason: Option<Reason>) {
        let at = self.app.clock.now();
        let password_hash = match what {
            What::Authenticate if outcome == Outcome::Failure => self.request.line.wrong_password_hash(),
            _ => None,
        };
        self.app.notifications.tell(Notice { what, initiator, outcome, reason, password_hash, at });
    }

    /// Who called, as far as a Keystone tells it.
    fn initiator(&self) -> Initiator {
        let header = |name| self.request.header(name).ok().flatten();
        let mut initiator = Initiator {
            request: self.request.id.clone(),
            global_request: header(&GLOBAL_ID).filter(|id| is_request_id(id)).map(str::to_owned),
            address: Peer::current().map(|peer| peer.address.to_string()),
            agent: cut(header(&USER_AGENT).unwrap_or_default(), LONGEST_AGENT).into_owned(),
            ..Initiator::default()
        };
        if let Some(token) = self.caller.and_then(Caller::token) {
            initiator.user = Some(token.user.id.clone());
            initiator.name = Some(token.user.name.clone());
            match &token.subject().scope {
                Scope::Project { id, .. } => initiator.project = Some(id.clone()),
                Scope::Domain(id) => initiator.domain = Some(id.clone()),
                Scope::Unscoped | Scope::System => {}
            }
        }
        initiator
    }
}

/// How a password is told. What did not name a user is not told: it may be a password in the wrong field.
fn judged(password: &Password) -> (Outcome, Option<Reason>) {
    let user = password.user.as_deref().unwrap_or_default();
    let reason = match password.verdict {
        Verdict::Right => return (Outcome::Success, None),
        Verdict::Wrong => None,
        Verdict::Locked => Some((format!("The account is locked for user: {user}."), 401)),
        Verdict::Expired => Some((Error::PasswordExpired(user.to_owned()).to_string(), 401)),
        Verdict::NoSuchUser => Some(("Could not find user.".to_owned(), 404)),
    };
    (Outcome::Failure, reason.map(|(text, code)| Reason { text, code }))
}

/// Whether it ends the request, and is the client's doing.
fn is_refusal(error: &Error) -> bool {
    !matches!(
        error,
        Error::NeedsWriter
            | Error::Pending
            | Error::TakesLong
            | Error::RevokedThisSecond
            | Error::Retry(_)
            | Error::Busy
            | Error::Internal(_)
    )
}

/// `req-` and a UUID in small letters.
fn is_request_id(text: &str) -> bool {
    let Some(id) = text.strip_prefix("req-") else { return false };
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    let digits = id.bytes().all(|b| matches!(b, b'-' | b'0'..=b'9' | b'a'..=b'f'));
    digits && lengths == [8, 4, 4, 4, 12]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Handler;
    use crate::routes::ROUTES;

    #[test]
    fn what_reads_tells_nothing_and_what_writes_does_or_is_named_here() {
        let mut quiet = Vec::new();
        for route in ROUTES {
            let tells = route.declared.ops.first().copied().and_then(of_operation);
            match (&route.handler, tells) {
                (Handler::Write(_), None) => quiet.push(route.path.split('/').nth(2).unwrap_or_default()),
                // The last part of the path is the id, and the answer has one that is made.
                (Handler::Write(_), Some(Changed(_) | Gone(_))) => {
                    assert!(route.path.ends_with('}') || route.path.ends_with("/password"), "{route:?}");
                }
                (Handler::Write(_), Some(_)) => {}
                (Handler::Read(_) | Handler::Plain(_), tells) => assert_eq!(tells, None, "{route:?}"),
            }
        }
        quiet.sort_unstable();
        quiet.dedup();
        let wanted = [
            "OS-EP-FILTER",
            "OS-FEDERATION",
            "OS-OAUTH1",
            "OS-OAUTH2",
            "auth",
            "credentials",
            "domains",
            "ec2tokens",
            "limits",
            "policies",
            "registered_limits",
            "roles",
            "s3tokens",
            "system",
            "users",
        ];
        assert_eq!(quiet, wanted);
    }

    #[test]
    fn each_kind_is_told_by_a_route_or_a_handler() {
        let of_routes: Vec<Tells> = ROUTES
            .iter()
            .filter_map(|route| route.declared.ops.first().copied().and_then(of_operation))
            .collect();
        for kind in ObjectKind::ALL {
            let told = of_routes
                .iter()
                .any(|tells| matches!(tells, MadeOne(of) | Changed(of) | Gone(of) if of == kind));
            // Tags and projects are told by handlers; OAuth is not served yet.
            let by_handler = matches!(
                kind,
                ObjectKind::Project
                    | ObjectKind::ProjectTag
                    | ObjectKind::Consumer
                    | ObjectKind::RequestToken
                    | ObjectKind::AccessToken
            );
            assert!(told || by_handler, "{}", kind.word());
        }
    }

    #[test]
    fn ids_that_clients_give() {
        assert!(is_request_id("req-01234567-89ab-cdef-0123-456789abcdef"));
        for odd in [
            "",
            "req-",
            "01234567-89ab-cdef-0123-456789abcdef",
            "req-01234567-89AB-cdef-0123-456789abcdef",
            "req-0123456789abcdef0123456789abcdef",
        ] {
            assert!(!is_request_id(odd), "{odd}");
        }
    }
}
