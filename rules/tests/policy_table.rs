//! Who may do what, as a table to read: one row per operation, one column per persona.
//!
//! The table is `golden/policy.txt`. `VICAR_BLESS=1 cargo test --test policy_table` rewrites it; the
//! difference is then reviewed like code.

// A test that looks past an end fails.
#![allow(clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::path::Path;

use vicar_rules::policy::{Fact, Facts, OPERATIONS, Op, Policy, Scope, Subject};

/// Column, who it is.
type Persona = (&'static str, &'static str, Subject);

fn persona(column: &'static str, user: &str, roles: &[&str], scope: Scope, who: &'static str) -> Persona {
    let subject = Subject::new(user, roles.iter().map(|r| (*r).to_owned()).collect(), scope);
    (column, who, subject)
}

fn personas() -> Vec<Persona> {
    // As a token carries them: with all that is implied.
    const ADMIN: &[&str] = &["admin", "manager", "member", "reader"];
    const MANAGER: &[&str] = &["manager", "member", "reader"];
    const MEMBER: &[&str] = &["member", "reader"];
    const READER: &[&str] = &["reader"];
    let project =
        |id: &str, domain: &str| Scope::Project { id: id.to_owned(), domain: Some(domain.to_owned()) };
    let home = || Scope::Domain("d".to_owned());
    let p = || project("p", "d");
    vec![
        persona("aP", "x", ADMIN, project("q", "e"), "admin, on another project than the object's"),
        persona("aS", "x", ADMIN, Scope::System, "admin, on the system"),
        persona("rS", "x", READER, Scope::System, "reader, on the system"),
        persona("aD", "x", ADMIN, home(), "admin, on the object's domain"),
        persona("aE", "x", ADMIN, Scope::Domain("e".to_owned()), "admin, on another domain"),
        persona("mD", "x", MANAGER, home(), "manager, on the object's domain"),
        persona("rD", "x", READER, home(), "reader, on the object's domain"),
        persona("mE", "x", MANAGER, Scope::Domain("e".to_owned()), "manager, on another domain"),
        persona("mP", "x", MANAGER, p(), "manager, on the object's project"),
        persona("eP", "x", MEMBER, p(), "member, on the object's project"),
        persona("rP", "x", READER, p(), "reader, on the object's project"),
        persona("ow", "owner", MEMBER, p(), "the object's owner, or the object itself; member on p"),
        persona("or", "owner", READER, p(), "the same, with the role reader only"),
        persona("ou", "owner", &[], Scope::Unscoped, "the same, unscoped"),
        persona("st", "x", MEMBER, project("q", "e"), "stranger: member on another project"),
        persona("sv", "x", &["service"], project("q", "e"), "service, on its own project"),
        persona("tr", "trustor", MEMBER, p(), "trustor of the trust; it is below another"),
        persona("an", "ancestor", MEMBER, p(), "trustor of the trust above"),
        persona("te", "trustee", MEMBER, p(), "trustee of the trust"),
    ]
}

/// The facts about a typical object of the operation. No wildcard: a new operation needs them told.
fn facts(op: Op) -> Facts {
    use Op::*;
    let none = Facts::none;
    let user =
        || none().with(Fact::PathUser, "owner").with(Fact::UserId, "owner").with(Fact::UserDomain, "d");
    let project = || none().with(Fact::ProjectId, "p").with(Fact::ProjectDomain, "d");
    let in_domain = || none().with(Fact::ListDomain, "d");
    let group = || none().with(Fact::GroupDomain, "d");
    let role = || none().with(Fact::RoleName, "member").with_opt(Fact::RoleDomain, None::<&str>);
    // A keypair of the owner, born from the trust of the last three personas.
    let keypair = || {
        none()
            .with(Fact::PathUser, "owner")
            .with(Fact::CredentialUser, "owner")
            .with_all(Fact::CredentialDelegators, ["ancestor", "trustor", "trustee"])
    };
    let new_credential = || none().with(Fact::PathUser, "owner").with(Fact::CredentialUser, "owner");
    let place = || none().with(Fact::TrustProject, "p").with(Fact::TrustProjectDomain, "d");
    let trust =
        || place().with_all(Fact::TrustTrustor, ["ancestor", "trustor"]).with(Fact::TrustTrustee, "trustee");
    match op {
        GetAuthCatalog | GetAuthProjects | GetAuthDomains | GetAuthSystem => none(),
        GetCredential | UpdateCredential | DeleteCredential => keypair(),
        CreateCredential => new_credential(),
        ListCredentials => new_credential(),
        GetDomain | ListDomains | CreateDomain | UpdateDomain | DeleteDomain => {
            none().with(Fact::DomainId, "d")
        }
        Ec2GetCredential | Ec2DeleteCredential => keypair(),
        Ec2ListCredentials | Ec2CreateCredential => new_credential(),
        GetEndpoint | ListEndpoints | CreateEndpoint | UpdateEndpoint | DeleteEndpoint => none(),
        CheckGrant | CreateGrant | RevokeGrant => user()
            .with(Fact::ProjectId, "p")
            .with(Fact::ProjectDomain, "d")
            .with(Fact::RoleName, "member")
            .with_opt(Fact::RoleDomain, None::<&str>),
        ListGrants => user().with(Fact::ProjectId, "p").with(Fact::ProjectDomain, "d"),
        ListSystemGrantsForUser
        | CheckSystemGrantForUser
        | CreateSystemGrantForUser
        | RevokeSystemGrantForUser => user(),
        ListSystemGrantsForGroup
        | CheckSystemGrantForGroup
        | CreateSystemGrantForGroup
        | RevokeSystemGrantForGroup => group(),
        GetGroup | ListGroups | CreateGroup | UpdateGroup | DeleteGroup | ListUsersInGroup => group(),
        ListGroupsForUser => user(),
        RemoveUserFromGroup | CheckUserInGroup | AddUserToGroup => user().with(Fact::GroupDomain, "d"),
        GetImpliedRole
        | ListImpliedRoles
        | CreateImpliedRole
        | DeleteImpliedRole
        | ListRoleInferenceRules
        | CheckImpliedRole => role(),
        GetLimit => none().with(Fact::LimitProject, "p").with(Fact::LimitProjectDomain, "d"),
        CreateDomainConfig | GetDomainConfig | UpdateDomainConfig | DeleteDomainConfig => {
            none().with(Fact::PathDomain, "d")
        }
        GetSecurityComplianceDomainConfig | GetDomainConfigDefault => none(),
        GetLimitModel | ListLimits | CreateLimits | UpdateLimit | DeleteLimit => none(),
        GetRegisteredLimit
        | ListRegisteredLimits
        | CreateRegisteredLimits
        | UpdateRegisteredLimit
        | DeleteRegisteredLimit => none(),
        GetProject | CreateProject | UpdateProject | DeleteProject => project(),
        ListProjects => in_domain(),
        ListUserProjects => user(),
        ListProjectTags | GetProjectTag | UpdateProjectTags | CreateProjectTag | DeleteProjectTags
        | DeleteProjectTag => project(),
        GetRegion | ListRegions | CreateRegion | UpdateRegion | DeleteRegion => none(),
        GetRole | CreateRole | UpdateRole | DeleteRole => role(),
        ListRoles => none(),
        GetDomainRole | CreateDomainRole | UpdateDomainRole | DeleteDomainRole => {
            none().with(Fact::RoleName, "tester").with(Fact::RoleDomain, "d")
        }
        ListDomainRoles => none().with(Fact::RoleDomain, "d"),
        ListRoleAssignments => in_domain(),
        ListRoleAssignmentsForTree => project().with(Fact::ListDomain, "d"),
        S3tokensValidate | Ec2tokensValidate => none(),
        GetService | ListServices | CreateService | UpdateService | DeleteService => none(),
        // The owner's token; on a chain its subjects are the other two as well.
        CheckToken | ValidateToken | RevokeToken => {
            none().with_all(Fact::TokenUser, ["owner", "trustor", "trustee"])
        }
        CreateTrust | ListTrustsForTrustor => none().with(Fact::TrustTrustor, "trustor"),
        ListTrustsForTrustee => none().with(Fact::TrustTrustee, "trustee"),
        ListTrusts => none(),
        ListRolesForTrust | GetRoleForTrust | DeleteTrust | GetTrust | RenounceTrust | GetTrustLineage => {
            trust()
        }
        EndTrustOnProject | SuspendTrust | ResumeTrust | EndTrustTokens => trust(),
        AdoptTrust | AdoptAnyTrust => place(),
        ListProjectDelegations => project(),
        ListDomainDelegations => none().with(Fact::DomainId, "d"),
        GetUser | CreateUser | UpdateUser | DeleteUser | RevokeTokensForUser => user(),
        ListUsers => in_domain(),
        GetApplicationCredential
        | ListApplicationCredentials
        | CreateApplicationCredential
        | DeleteApplicationCredential => none().with(Fact::PathUser, "owner"),
        GetAccessRule | ListAccessRules | DeleteAccessRule => user(),
        ListUserDelegations | ChangePassword => user(),
        GetDomainDelegationPolicy | SetDomainDelegationPolicy => none().with(Fact::DomainId, "d"),
        GetProjectDelegationPolicy | SetProjectDelegationPolicy => project(),
        GetUserDelegationPolicy | SetUserDelegationPolicy | SetTrustService => user(),
        ListTrustServices | ExplainOthers => none(),
        ListRevokeEvents => none(),
        GetConsumer | ListConsumers | CreateConsumer | UpdateConsumer | DeleteConsumer => none(),
        AuthorizeRequestToken => none(),
        GetAccessToken | GetAccessTokenRole | ListAccessTokens | ListAccessTokenRoles | DeleteAccessToken => {
            none().with(Fact::PathUser, "owner")
        }
        CreateEndpointGroup
        | ListEndpointGroups
        | GetEndpointGroup
        | UpdateEndpointGroup
        | DeleteEndpointGroup
        | ListProjectsAssociatedWithEndpointGroup
        | ListEndpointsAssociatedWithEndpointGroup
        | GetEndpointGroupInProject
        | ListEndpointGroupsForProject
        | AddEndpointGroupToProject
        | RemoveEndpointGroupFromProject
        | ListProjectsForEndpoint
        | AddEndpointToProject
        | CheckEndpointInProject
        | ListEndpointsForProject
        | RemoveEndpointFromProject => none(),
        GetPolicy
        | ListPolicies
        | CreatePolicy
        | UpdatePolicy
        | DeletePolicy
        | CreatePolicyAssociationForEndpoint
        | CheckPolicyAssociationForEndpoint
        | DeletePolicyAssociationForEndpoint
        | CreatePolicyAssociationForService
        | CheckPolicyAssociationForService
        | DeletePolicyAssociationForService
        | CreatePolicyAssociationForRegionAndService
        | CheckPolicyAssociationForRegionAndService
        | DeletePolicyAssociationForRegionAndService
        | GetPolicyForEndpoint
        | ListEndpointsForPolicy => none(),
        // They are an operator's, and rules know nothing of them.
        GetIdentityProvider
        | ListIdentityProviders
        | CreateIdentityProvider
        | UpdateIdentityProvider
        | DeleteIdentityProvider
        | GetProtocol
        | ListProtocols
        | CreateProtocol
        | UpdateProtocol
        | DeleteProtocol
        | GetMapping
        | ListMappings
        | CreateMapping
        | UpdateMapping
        | DeleteMapping
        | GetServiceProvider
        | ListServiceProviders
        | CreateServiceProvider
        | UpdateServiceProvider
        | DeleteServiceProvider => none(),
    }
}

fn table(policy: &Policy) -> String {
    let personas = personas();
    let width = OPERATIONS.iter().map(|o| o.name.len()).max().unwrap_or(0);
    let mut out = String::from(
        "Who may do what. `y` allowed, `.` refused. Object: project p and user `owner` in domain d.\n\
         Scopes: s(ystem), d(omain), p(roject or none); none told: all.\n\n",
    );
    for (column, who, _) in &personas {
        let _ = writeln!(out, "{column}  {who}");
    }
    let heads: Vec<&str> = personas.iter().map(|p| p.0).collect();
    let _ = writeln!(out, "\n{:width$}  scope  {}", "", heads.join(" "));
    for row in OPERATIONS {
        let facts = facts(row.op);
        let cells: Vec<&str> = personas
            .iter()
            .map(|(_, _, subject)| if policy.allows(row.op, subject, &facts) { " y" } else { " ." })
            .collect();
        let _ = writeln!(out, "{:width$}  {:5}  {}", row.name, row.scopes, cells.join(" "));
    }
    out
}

#[test]
fn the_policy_is_the_one_that_was_reviewed() {
    let policy = Policy::shipped().expect("the table parses");
    let now = table(&policy);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/policy.txt");
    if std::env::var_os("VICAR_BLESS").is_some() {
        std::fs::write(&path, &now).expect("the golden file is writable");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<String> = now
        .lines()
        .filter(|l| !golden.lines().any(|g| g == *l))
        .map(|l| format!("+ {l}"))
        .chain(golden.lines().filter(|g| !now.lines().any(|l| l == *g)).map(|g| format!("- {g}")))
        .collect();
    assert!(golden == now, "the policy moved; VICAR_BLESS=1 accepts it:\n{}", changed.join("\n"));
}

#[test]
fn the_configured_admin_token_may_do_everything() {
    let policy = Policy::shipped().expect("the table parses");
    let subject = Subject::admin_token();
    for row in OPERATIONS {
        assert!(policy.allows(row.op, &subject, &Facts::none()), "{}", row.name);
    }
}
