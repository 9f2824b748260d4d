//! What follows from an operation that has succeeded: an event of the security log, and what those hear who listen to
//! notifications. Each operation is decided about: a new one does not compile before.

use vicar_rules::policy::Op;

use crate::notifications::{Action, ObjectKind};
use crate::security::Event;

/// What follows from an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Follows {
    /// Its event in the security log. None for what changes nothing of who may do what.
    pub event: Option<Event>,
    /// What listeners are told: what a Keystone tells for the same call.
    pub tells: Option<Tells>,
}

/// What an operation tells when it has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tells {
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

use Tells::{ByHandler, Changed, Gone, Grant, Made, Member};

const NOTHING: Follows = Follows { event: None, tells: None };

const fn both(event: Event, tells: Tells) -> Follows {
    Follows { event: Some(event), tells: Some(tells) }
}

const fn logged(event: Event) -> Follows {
    Follows { event: Some(event), tells: None }
}

const fn told(tells: Tells) -> Follows {
    Follows { event: None, tells: Some(tells) }
}

/// What follows from it. What a handler tells with `ByHandler` takes others along, is two things at once (a domain is a
/// project too), or has an id that is not in the path.
pub(super) fn of(op: Op) -> Follows {
    match op {
        Op::CreateCredential => both(Event::CredentialCreate, Made(ObjectKind::Credential)),
        Op::UpdateCredential => logged(Event::CredentialUpdate),
        Op::DeleteCredential => both(Event::CredentialDelete, Gone(ObjectKind::Credential)),
        Op::CreateDomain => both(Event::DomainCreate, Made(ObjectKind::Domain)),
        Op::UpdateDomain => both(Event::DomainUpdate, ByHandler),
        Op::DeleteDomain => both(Event::DomainDelete, ByHandler),
        Op::Ec2CreateCredential => both(Event::KeypairCreate, ByHandler),
        Op::Ec2DeleteCredential => both(Event::KeypairDelete, ByHandler),
        Op::CreateEndpoint => both(Event::CatalogChange, Made(ObjectKind::Endpoint)),
        Op::UpdateEndpoint => both(Event::CatalogChange, Changed(ObjectKind::Endpoint)),
        Op::DeleteEndpoint => both(Event::CatalogChange, Gone(ObjectKind::Endpoint)),
        Op::CreateGrant => both(Event::GrantCreate, Grant(Action::Created)),
        Op::RevokeGrant => both(Event::GrantRevoke, Grant(Action::Deleted)),
        Op::CreateSystemGrantForUser | Op::CreateSystemGrantForGroup => logged(Event::GrantCreate),
        Op::RevokeSystemGrantForUser | Op::RevokeSystemGrantForGroup => logged(Event::GrantRevoke),
        Op::CreateGroup => both(Event::GroupCreate, Made(ObjectKind::Group)),
        Op::UpdateGroup => both(Event::GroupUpdate, Changed(ObjectKind::Group)),
        Op::DeleteGroup => both(Event::GroupDelete, Gone(ObjectKind::Group)),
        Op::RemoveUserFromGroup => both(Event::MemberRemove, Member { came: false }),
        Op::AddUserToGroup => both(Event::MemberAdd, Member { came: true }),
        Op::CreateImpliedRole => logged(Event::ImplicationCreate),
        Op::DeleteImpliedRole => logged(Event::ImplicationDelete),
        Op::CreateProject => both(Event::ProjectCreate, ByHandler),
        Op::UpdateProject => both(Event::ProjectUpdate, ByHandler),
        Op::DeleteProject => both(Event::ProjectDelete, ByHandler),
        Op::UpdateProjectTags | Op::CreateProjectTag | Op::DeleteProjectTags | Op::DeleteProjectTag => {
            told(ByHandler)
        }
        Op::CreateRegion => both(Event::CatalogChange, Made(ObjectKind::Region)),
        Op::UpdateRegion => both(Event::CatalogChange, Changed(ObjectKind::Region)),
        Op::DeleteRegion => both(Event::CatalogChange, Gone(ObjectKind::Region)),
        Op::CreateRole | Op::CreateDomainRole => both(Event::RoleCreate, Made(ObjectKind::Role)),
        Op::UpdateRole | Op::UpdateDomainRole => both(Event::RoleUpdate, Changed(ObjectKind::Role)),
        Op::DeleteRole | Op::DeleteDomainRole => both(Event::RoleDelete, Gone(ObjectKind::Role)),
        Op::S3tokensValidate | Op::Ec2tokensValidate => logged(Event::Exchange),
        Op::CreateService => both(Event::CatalogChange, Made(ObjectKind::Service)),
        Op::UpdateService => both(Event::CatalogChange, Changed(ObjectKind::Service)),
        Op::DeleteService => both(Event::CatalogChange, Gone(ObjectKind::Service)),
        Op::RevokeToken => logged(Event::TokenRevoke),
        Op::CreateTrust => both(Event::TrustCreate, Made(ObjectKind::Trust)),
        Op::DeleteTrust | Op::RenounceTrust | Op::EndTrustOnProject => both(Event::TrustEnd, ByHandler),
        Op::SuspendTrust => both(Event::TrustSuspend, ByHandler),
        Op::ResumeTrust => both(Event::TrustResume, ByHandler),
        Op::AdoptTrust | Op::AdoptAnyTrust => both(Event::TrustAdopt, ByHandler),
        Op::EndTrustTokens => logged(Event::TrustTokensEnd),
        Op::SetDomainDelegationPolicy
        | Op::SetProjectDelegationPolicy
        | Op::SetUserDelegationPolicy
        | Op::SetTrustService => both(Event::CeilingChange, ByHandler),
        Op::CreateUser => both(Event::UserCreate, Made(ObjectKind::User)),
        Op::UpdateUser => both(Event::UserUpdate, Changed(ObjectKind::User)),
        Op::DeleteUser => both(Event::UserDelete, ByHandler),
        Op::RevokeTokensForUser => logged(Event::TokensRevoke),
        Op::ChangePassword => both(Event::PasswordChange, Changed(ObjectKind::User)),

        // application credentials
        Op::CreateApplicationCredential => {
            both(Event::ApplicationCredentialCreate, Made(ObjectKind::ApplicationCredential))
        }
        Op::DeleteApplicationCredential => {
            both(Event::ApplicationCredentialDelete, Gone(ObjectKind::ApplicationCredential))
        }
        Op::DeleteAccessRule => both(Event::AccessRuleDelete, Gone(ObjectKind::AccessRule)),

        // OAuth1
        Op::CreateConsumer => both(Event::ConsumerChange, Made(ObjectKind::Consumer)),
        Op::UpdateConsumer => both(Event::ConsumerChange, Changed(ObjectKind::Consumer)),
        Op::DeleteConsumer => both(Event::ConsumerDelete, Gone(ObjectKind::Consumer)),
        Op::AuthorizeRequestToken => logged(Event::AccessTokenAuthorize),
        Op::DeleteAccessToken => both(Event::AccessTokenDelete, Gone(ObjectKind::AccessToken)),

        // endpoint filters
        Op::CreateEndpointGroup
        | Op::UpdateEndpointGroup
        | Op::DeleteEndpointGroup
        | Op::AddEndpointGroupToProject
        | Op::RemoveEndpointGroupFromProject
        | Op::AddEndpointToProject
        | Op::RemoveEndpointFromProject => logged(Event::CatalogChange),

        // policies and their endpoints
        Op::CreatePolicy => both(Event::PolicyStore, Made(ObjectKind::Policy)),
        Op::UpdatePolicy => both(Event::PolicyStore, Changed(ObjectKind::Policy)),
        Op::DeletePolicy => both(Event::PolicyStore, Gone(ObjectKind::Policy)),
        Op::CreatePolicyAssociationForEndpoint
        | Op::DeletePolicyAssociationForEndpoint
        | Op::CreatePolicyAssociationForService
        | Op::DeletePolicyAssociationForService
        | Op::CreatePolicyAssociationForRegionAndService
        | Op::DeletePolicyAssociationForRegionAndService => logged(Event::PolicyStore),

        // configuration of domains
        Op::CreateDomainConfig | Op::UpdateDomainConfig | Op::DeleteDomainConfig => {
            logged(Event::DomainUpdate)
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
        | Op::DeleteServiceProvider => logged(Event::FederationChange),

        // They say nothing of who may do what, and a Keystone tells nothing of them.
        Op::CreateLimits
        | Op::UpdateLimit
        | Op::DeleteLimit
        | Op::CreateRegisteredLimits
        | Op::UpdateRegisteredLimit
        | Op::DeleteRegisteredLimit => NOTHING,
        // These change nothing.
        Op::GetAuthCatalog
        | Op::GetAuthProjects
        | Op::GetAuthDomains
        | Op::GetAuthSystem
        | Op::GetCredential
        | Op::ListCredentials
        | Op::GetDomain
        | Op::ListDomains
        | Op::Ec2GetCredential
        | Op::Ec2ListCredentials
        | Op::GetEndpoint
        | Op::ListEndpoints
        | Op::CheckGrant
        | Op::ListGrants
        | Op::ListSystemGrantsForUser
        | Op::CheckSystemGrantForUser
        | Op::ListSystemGrantsForGroup
        | Op::CheckSystemGrantForGroup
        | Op::GetGroup
        | Op::ListGroups
        | Op::ListGroupsForUser
        | Op::ListUsersInGroup
        | Op::CheckUserInGroup
        | Op::GetImpliedRole
        | Op::ListImpliedRoles
        | Op::ListRoleInferenceRules
        | Op::CheckImpliedRole
        | Op::GetProject
        | Op::ListProjects
        | Op::ListUserProjects
        | Op::ListProjectTags
        | Op::GetProjectTag
        | Op::GetRegion
        | Op::ListRegions
        | Op::GetRole
        | Op::ListRoles
        | Op::GetDomainRole
        | Op::ListDomainRoles
        | Op::ListRoleAssignments
        | Op::ListRoleAssignmentsForTree
        | Op::GetService
        | Op::ListServices
        | Op::CheckToken
        | Op::ValidateToken
        | Op::ListTrusts
        | Op::ListTrustsForTrustor
        | Op::ListTrustsForTrustee
        | Op::ListRolesForTrust
        | Op::GetRoleForTrust
        | Op::GetTrust
        | Op::GetUser
        | Op::ListUsers
        | Op::GetTrustLineage
        | Op::ListProjectDelegations
        | Op::ListDomainDelegations
        | Op::ListUserDelegations
        | Op::GetDomainDelegationPolicy
        | Op::GetProjectDelegationPolicy
        | Op::GetUserDelegationPolicy
        | Op::ListTrustServices
        | Op::ExplainOthers
        | Op::ListRevokeEvents
        | Op::GetLimitModel
        | Op::GetLimit
        | Op::ListLimits
        | Op::GetRegisteredLimit
        | Op::ListRegisteredLimits
        | Op::GetApplicationCredential
        | Op::ListApplicationCredentials
        | Op::GetAccessRule
        | Op::ListAccessRules
        | Op::GetConsumer
        | Op::ListConsumers
        | Op::GetAccessToken
        | Op::GetAccessTokenRole
        | Op::ListAccessTokens
        | Op::ListAccessTokenRoles
        | Op::ListEndpointGroups
        | Op::GetEndpointGroup
        | Op::ListProjectsAssociatedWithEndpointGroup
        | Op::ListEndpointsAssociatedWithEndpointGroup
        | Op::GetEndpointGroupInProject
        | Op::ListEndpointGroupsForProject
        | Op::ListProjectsForEndpoint
        | Op::CheckEndpointInProject
        | Op::ListEndpointsForProject
        | Op::GetPolicy
        | Op::ListPolicies
        | Op::CheckPolicyAssociationForEndpoint
        | Op::CheckPolicyAssociationForService
        | Op::CheckPolicyAssociationForRegionAndService
        | Op::GetPolicyForEndpoint
        | Op::ListEndpointsForPolicy
        | Op::GetDomainConfig
        | Op::GetSecurityComplianceDomainConfig
        | Op::GetDomainConfigDefault
        | Op::GetIdentityProvider
        | Op::ListIdentityProviders
        | Op::GetProtocol
        | Op::ListProtocols
        | Op::GetMapping
        | Op::ListMappings
        | Op::GetServiceProvider
        | Op::ListServiceProviders => NOTHING,
    }
}
