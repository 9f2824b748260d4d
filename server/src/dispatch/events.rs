//! What a route is in the security log.

use vicar_rules::policy::Op;

use super::route::{Auth, Route};
use crate::security::Event;

/// The event of a route that succeeds, with the statuses of that. `None` for what changes nothing of who may do what.
pub fn of(route: &Route) -> Option<(Event, [u16; 2])> {
    let event = match route.declared.ops.first() {
        Some(op) => of_operation(*op)?,
        None if route.auth == Auth::Login => Event::Login,
        None if route.path == "/v3/OS-OAUTH1/access_token" => Event::AccessTokenCreate,
        None => return None,
    };
    Some((event, successes(route)?))
}

/// The statuses with which a route has done what it is for: the first one, and another of the same body.
pub fn successes(route: &Route) -> Option<[u16; 2]> {
    let first = route.answers.first()?;
    let last = route.answers.iter().rfind(|a| a.shape == first.shape).unwrap_or(first);
    Some([first.status, last.status])
}

/// Each operation is decided about: a new one does not compile before.
fn of_operation(op: Op) -> Option<Event> {
    Some(match op {
        Op::RevokeToken => Event::TokenRevoke,
        Op::RevokeTokensForUser => Event::TokensRevoke,
        Op::Ec2tokensValidate | Op::S3tokensValidate => Event::Exchange,
        Op::CreateGrant | Op::CreateSystemGrantForUser | Op::CreateSystemGrantForGroup => Event::GrantCreate,
        Op::RevokeGrant | Op::RevokeSystemGrantForUser | Op::RevokeSystemGrantForGroup => Event::GrantRevoke,
        Op::CreateImpliedRole => Event::ImplicationCreate,
        Op::DeleteImpliedRole => Event::ImplicationDelete,
        Op::AddUserToGroup => Event::MemberAdd,
        Op::RemoveUserFromGroup => Event::MemberRemove,
        Op::CreateTrust => Event::TrustCreate,
        Op::DeleteTrust | Op::RenounceTrust => Event::TrustEnd,
        Op::CreateCredential => Event::CredentialCreate,
        Op::UpdateCredential => Event::CredentialUpdate,
        Op::DeleteCredential => Event::CredentialDelete,
        Op::Ec2CreateCredential => Event::KeypairCreate,
        Op::Ec2DeleteCredential => Event::KeypairDelete,
        Op::ChangePassword => Event::PasswordChange,
        Op::CreateUser => Event::UserCreate,
        Op::UpdateUser => Event::UserUpdate,
        Op::DeleteUser => Event::UserDelete,
        Op::CreateGroup => Event::GroupCreate,
        Op::UpdateGroup => Event::GroupUpdate,
        Op::DeleteGroup => Event::GroupDelete,
        Op::CreateRole | Op::CreateDomainRole => Event::RoleCreate,
        Op::UpdateRole | Op::UpdateDomainRole => Event::RoleUpdate,
        Op::DeleteRole | Op::DeleteDomainRole => Event::RoleDelete,
        Op::CreateProject => Event::ProjectCreate,
        Op::UpdateProject => Event::ProjectUpdate,
        Op::DeleteProject => Event::ProjectDelete,
        Op::CreateDomain => Event::DomainCreate,
        Op::UpdateDomain => Event::DomainUpdate,
        Op::DeleteDomain => Event::DomainDelete,
        Op::CreateRegion
        | Op::UpdateRegion
        | Op::DeleteRegion
        | Op::CreateService
        | Op::UpdateService
        | Op::DeleteService
        | Op::CreateEndpoint
        | Op::UpdateEndpoint
        | Op::DeleteEndpoint => Event::CatalogChange,
        // application credentials
        Op::CreateApplicationCredential => Event::ApplicationCredentialCreate,
        Op::DeleteApplicationCredential => Event::ApplicationCredentialDelete,
        Op::DeleteAccessRule => Event::AccessRuleDelete,

        // OAuth1
        Op::CreateConsumer | Op::UpdateConsumer => Event::ConsumerChange,
        Op::DeleteConsumer => Event::ConsumerDelete,
        Op::AuthorizeRequestToken => Event::AccessTokenAuthorize,
        Op::DeleteAccessToken => Event::AccessTokenDelete,
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
        | Op::RemoveEndpointFromProject => Event::CatalogChange,
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
        Op::CreatePolicy
        | Op::UpdatePolicy
        | Op::DeletePolicy
        | Op::CreatePolicyAssociationForEndpoint
        | Op::DeletePolicyAssociationForEndpoint
        | Op::CreatePolicyAssociationForService
        | Op::DeletePolicyAssociationForService
        | Op::CreatePolicyAssociationForRegionAndService
        | Op::DeletePolicyAssociationForRegionAndService => Event::PolicyStore,
        Op::GetPolicy
        | Op::ListPolicies
        | Op::CheckPolicyAssociationForEndpoint
        | Op::CheckPolicyAssociationForService
        | Op::CheckPolicyAssociationForRegionAndService
        | Op::GetPolicyForEndpoint
        | Op::ListEndpointsForPolicy => return None,

        // configuration of domains
        Op::CreateDomainConfig | Op::UpdateDomainConfig | Op::DeleteDomainConfig => Event::DomainUpdate,

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
        | Op::DeleteServiceProvider => Event::FederationChange,

        // certificates and lists of PKI tokens

        // Tags and limits say nothing of who may do what.
        Op::UpdateProjectTags
        | Op::DeleteProjectTags
        | Op::CreateProjectTag
        | Op::DeleteProjectTag
        | Op::CreateRegisteredLimits
        | Op::UpdateRegisteredLimit
        | Op::DeleteRegisteredLimit
        | Op::CreateLimits
        | Op::UpdateLimit
        | Op::DeleteLimit => return None,
        Op::GetApplicationCredential
        | Op::ListApplicationCredentials
        | Op::GetAccessRule
        | Op::ListAccessRules
        | Op::GetAuthCatalog
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
        | Op::GetLimitModel
        | Op::GetDomainConfig
        | Op::GetDomainConfigDefault
        | Op::GetSecurityComplianceDomainConfig
        | Op::GetIdentityProvider
        | Op::ListIdentityProviders
        | Op::GetProtocol
        | Op::ListProtocols
        | Op::GetMapping
        | Op::ListMappings
        | Op::GetServiceProvider
        | Op::ListServiceProviders => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Handler;
    use crate::reason::Reason;
    use crate::routes::ROUTES;
    use crate::security::Outcome;

    #[test]
    fn what_reads_is_no_event_and_what_writes_is_one_or_is_named_here() {
        let mut quiet = Vec::new();
        for route in ROUTES {
            match (&route.handler, of(route)) {
                (Handler::Write(_), None) => quiet.push(route.path.split('/').nth(2).unwrap_or_default()),
                (Handler::Write(_), Some((_, statuses))) => {
                    assert!(statuses.iter().all(|status| (200..205).contains(status)), "{route:?}");
                }
                (Handler::Read(_) | Handler::Plain(_), event) => assert_eq!(event, None, "{route:?}"),
            }
            // What a route may ask for besides is the same in the log.
            let [first, others @ ..] = route.declared.ops else { continue };
            for other in others {
                let same = of_operation(*other) == of_operation(*first)
                    || *other == Op::Ec2CreateCredential && *first == Op::CreateCredential;
                assert!(same, "{route:?}");
            }
        }
        quiet.dedup();
        assert_eq!(quiet, ["registered_limits", "limits", "projects", "OS-OAUTH1"]);
    }

    #[test]
    fn each_event_of_a_request_has_a_route() {
        let of_routes: Vec<Event> = ROUTES.iter().filter_map(of).map(|(event, _)| event).collect();
        for event in Event::ALL {
            let elsewhere = matches!(
                event,
                Event::Access
                    | Event::PasswordReset
                    | Event::TrustReap
                    | Event::Start
                    | Event::Stop
                    | Event::KeysReload
                    | Event::PolicyReload
                    | Event::CertificateReload
            );
            assert_eq!(of_routes.contains(event), !elsewhere, "{}", event.word());
        }
    }

    /// `VICAR_BLESS=1 cargo test -p vicar --lib events` rewrites the page.
    #[test]
    fn the_docs_have_these_tables() {
        const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let table = |head: &str, rows: Vec<(&str, String)>| {
            let head = format!("| {head} | |\n| --- | --- |\n");
            let rows: String = rows.iter().map(|(word, doc)| format!("| `{word}` | {doc} |\n")).collect();
            (head.clone(), head + &rows)
        };
        let events = Event::ALL.iter().map(|e| (e.word(), e.meaning().to_owned())).collect();
        let reasons = Reason::ALL.iter().map(|r| (r.word(), r.meaning().to_owned())).collect();
        let mut page = std::fs::read_to_string(DOCS).expect("the page");
        let before = page.clone();
        for outcome in Outcome::ALL {
            assert!(page.contains(&format!("`{}`", outcome.word())), "{}", outcome.word());
        }
        for (head, table) in [table("Event", events), table("Reason", reasons)] {
            let at = page.find(&head).expect("the page has the table");
            let end = at + page[at..].find("\n\n").expect("it ends") + 1;
            page.replace_range(at..end, &table);
        }
        if std::env::var_os("VICAR_BLESS").is_some() {
            std::fs::write(DOCS, page).expect("written");
        } else {
            assert!(page == before, "docs/operations.md has other tables; VICAR_BLESS=1 puts these there");
        }
    }
}
