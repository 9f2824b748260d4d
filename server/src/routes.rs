//! Every route, on one screen. `GET` serves `HEAD` too unless a line says otherwise.

use std::sync::Arc;

use axum::Router;

use crate::app::App;
use crate::dispatch::{self, Route, discovery};
use crate::resource;
use crate::resources::catalog::endpoints::Endpoint;
use crate::resources::catalog::regions::{self, Region};
use crate::resources::catalog::services::Service;
use crate::resources::grants::{assignments, http as grants};
use crate::resources::groups::{Group, members};
use crate::resources::limits::{self, Limit, RegisteredLimit};
use crate::resources::projects::tags;
use crate::resources::roles::{Role, implied};
use crate::resources::tokens::{exchange, http as tokens};
use crate::resources::users::http as users;
use crate::resources::{credentials, domains::http as domains, keypairs::http as keypairs};
use crate::resources::{projects::http as projects, trusts::http as trusts};
use crate::routes;

/// The public listener's router.
pub fn public(app: Arc<App>) -> Router {
    dispatch::router(app, ROUTES)
}

/// The public listener's routes.
#[rustfmt::skip]
pub static ROUTES: &[Route] = routes! {
    GET    "/" [] public: plain discovery::versions;
    GET    "/v3" [] public: plain discovery::v3;

    // tokens
    POST   "/v3/auth/tokens" [] login: write tokens::issue;
    GET    "/v3/auth/tokens" [ValidateToken]: read tokens::validate;
    HEAD   "/v3/auth/tokens" [CheckToken]: read tokens::check;
    DELETE "/v3/auth/tokens" [RevokeToken]: write tokens::revoke;
    GET    "/v3/auth/catalog" [GetAuthCatalog]: read tokens::catalog;
    GET    "/v3/auth/projects" [GetAuthProjects]: read tokens::projects;
    GET    "/v3/auth/domains" [GetAuthDomains]: read tokens::domains;
    GET    "/v3/auth/system" [GetAuthSystem]: read tokens::system;
    DELETE "/v3/users/{user_id}/tokens" [RevokeTokensForUser]: write tokens::revoke_for_user;
    GET    "/v3/OS-REVOKE/events" [ListRevokeEvents]: read tokens::events;
    POST   "/v3/ec2tokens" [Ec2tokensValidate]: write exchange::ec2;
    POST   "/v3/s3tokens" [S3tokensValidate]: write exchange::s3;

    // catalog
    GET    "/v3/regions" [ListRegions]: read resource::list::<Region>;
    POST   "/v3/regions" [CreateRegion]: write resource::create::<Region>;
    GET    "/v3/regions/{region_id}" [GetRegion]: read resource::get::<Region>;
    PUT    "/v3/regions/{region_id}" [CreateRegion]: write regions::put;
    PATCH  "/v3/regions/{region_id}" [UpdateRegion]: write resource::update::<Region>;
    DELETE "/v3/regions/{region_id}" [DeleteRegion]: write resource::delete::<Region>;
    GET    "/v3/services" [ListServices]: read resource::list::<Service>;
    POST   "/v3/services" [CreateService]: write resource::create::<Service>;
    GET    "/v3/services/{service_id}" [GetService]: read resource::get::<Service>;
    PATCH  "/v3/services/{service_id}" [UpdateService]: write resource::update::<Service>;
    DELETE "/v3/services/{service_id}" [DeleteService]: write resource::delete::<Service>;
    GET    "/v3/endpoints" [ListEndpoints]: read resource::list::<Endpoint>;
    POST   "/v3/endpoints" [CreateEndpoint]: write resource::create::<Endpoint>;
    GET    "/v3/endpoints/{endpoint_id}" [GetEndpoint]: read resource::get::<Endpoint>;
    PATCH  "/v3/endpoints/{endpoint_id}" [UpdateEndpoint]: write resource::update::<Endpoint>;
    DELETE "/v3/endpoints/{endpoint_id}" [DeleteEndpoint]: write resource::delete::<Endpoint>;

    // limits
    GET    "/v3/registered_limits" [ListRegisteredLimits]: read resource::list::<RegisteredLimit>;
    POST   "/v3/registered_limits" [CreateRegisteredLimits]: write resource::create_many::<RegisteredLimit>;
    GET    "/v3/registered_limits/{registered_limit_id}" [GetRegisteredLimit]: read resource::get::<RegisteredLimit>;
    PATCH  "/v3/registered_limits/{registered_limit_id}" [UpdateRegisteredLimit]: write resource::update::<RegisteredLimit>;
    DELETE "/v3/registered_limits/{registered_limit_id}" [DeleteRegisteredLimit]: write resource::delete::<RegisteredLimit>;
    GET    "/v3/limits" [ListLimits]: read resource::list::<Limit>;
    POST   "/v3/limits" [CreateLimits]: write resource::create_many::<Limit>;
    GET    "/v3/limits/model" [GetLimitModel]: read limits::model;
    GET    "/v3/limits/{limit_id}" [GetLimit]: read resource::get::<Limit>;
    PATCH  "/v3/limits/{limit_id}" [UpdateLimit]: write resource::update::<Limit>;
    DELETE "/v3/limits/{limit_id}" [DeleteLimit]: write resource::delete::<Limit>;

    // domains and projects
    GET    "/v3/domains" [ListDomains]: read domains::list;
    POST   "/v3/domains" [CreateDomain]: write domains::create;
    GET    "/v3/domains/{domain_id}" [GetDomain]: read domains::get;
    PATCH  "/v3/domains/{domain_id}" [UpdateDomain]: write domains::update;
    DELETE "/v3/domains/{domain_id}" [DeleteDomain]: write domains::delete;
    GET    "/v3/projects" [ListProjects]: read projects::list;
    POST   "/v3/projects" [CreateProject]: write projects::create;
    GET    "/v3/projects/{project_id}" [GetProject]: read projects::get;
    PATCH  "/v3/projects/{project_id}" [UpdateProject]: write projects::update;
    DELETE "/v3/projects/{project_id}" [DeleteProject]: write projects::delete;
    GET    "/v3/projects/{project_id}/tags" [ListProjectTags]: read tags::list;
    PUT    "/v3/projects/{project_id}/tags" [UpdateProjectTags]: write tags::replace;
    DELETE "/v3/projects/{project_id}/tags" [DeleteProjectTags]: write tags::clear;
    GET    "/v3/projects/{project_id}/tags/{tag}" [GetProjectTag]: read tags::get;
    PUT    "/v3/projects/{project_id}/tags/{tag}" [CreateProjectTag]: write tags::add;
    DELETE "/v3/projects/{project_id}/tags/{tag}" [DeleteProjectTag]: write tags::remove;
    GET    "/v3/users/{user_id}/projects" [ListUserProjects]: read projects::of_user;

    // users and groups
    GET    "/v3/users" [ListUsers]: read users::list;
    POST   "/v3/users" [CreateUser]: write users::create;
    GET    "/v3/users/{user_id}" [GetUser]: read users::get;
    PATCH  "/v3/users/{user_id}" [UpdateUser]: write users::update;
    DELETE "/v3/users/{user_id}" [DeleteUser]: write users::delete;
    POST   "/v3/users/{user_id}/password" [ChangePassword] optional: write users::change_password;
    GET    "/v3/users/{user_id}/groups" [ListGroupsForUser]: read users::groups;
    GET    "/v3/groups" [ListGroups]: read resource::list::<Group>;
    POST   "/v3/groups" [CreateGroup]: write resource::create::<Group>;
    GET    "/v3/groups/{group_id}" [GetGroup]: read resource::get::<Group>;
    PATCH  "/v3/groups/{group_id}" [UpdateGroup]: write resource::update::<Group>;
    DELETE "/v3/groups/{group_id}" [DeleteGroup]: write resource::delete::<Group>;
    GET    "/v3/groups/{group_id}/users" [ListUsersInGroup]: read members::users;
    GET    "/v3/groups/{group_id}/users/{user_id}" [CheckUserInGroup]: read members::check;
    PUT    "/v3/groups/{group_id}/users/{user_id}" [AddUserToGroup]: write members::add;
    DELETE "/v3/groups/{group_id}/users/{user_id}" [RemoveUserFromGroup]: write members::remove;

    // roles
    GET    "/v3/roles" [ListRoles, ListDomainRoles]: read resource::list::<Role>;
    POST   "/v3/roles" [CreateRole, CreateDomainRole]: write resource::create::<Role>;
    GET    "/v3/roles/{role_id}" [GetRole, GetDomainRole]: read resource::get::<Role>;
    PATCH  "/v3/roles/{role_id}" [UpdateRole, UpdateDomainRole]: write resource::update::<Role>;
    DELETE "/v3/roles/{role_id}" [DeleteRole, DeleteDomainRole]: write resource::delete::<Role>;
    GET    "/v3/roles/{prior_role_id}/implies" [ListImpliedRoles]: read implied::list_implied;
    GET    "/v3/roles/{prior_role_id}/implies/{implied_role_id}" [GetImpliedRole]: read implied::get_implied;
    HEAD   "/v3/roles/{prior_role_id}/implies/{implied_role_id}" [CheckImpliedRole, GetImpliedRole]: read implied::check_implied;
    PUT    "/v3/roles/{prior_role_id}/implies/{implied_role_id}" [CreateImpliedRole]: write implied::imply;
    DELETE "/v3/roles/{prior_role_id}/implies/{implied_role_id}" [DeleteImpliedRole]: write implied::delete_implication;
    GET    "/v3/role_inferences" [ListRoleInferenceRules]: read implied::inferences;

    // grants
    GET    "/v3/role_assignments" [ListRoleAssignments, ListRoleAssignmentsForTree]: read assignments::list;
    GET    "/v3/projects/{project_id}/users/{user_id}/roles" [ListGrants]: read grants::list::<false>;
    GET    "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" [CheckGrant]: read grants::check::<false>;
    PUT    "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" [CreateGrant]: write grants::create::<false>;
    DELETE "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" [RevokeGrant]: write grants::revoke::<false>;
    GET    "/v3/projects/{project_id}/groups/{group_id}/roles" [ListGrants]: read grants::list::<false>;
    GET    "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" [CheckGrant]: read grants::check::<false>;
    PUT    "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" [CreateGrant]: write grants::create::<false>;
    DELETE "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" [RevokeGrant]: write grants::revoke::<false>;
    GET    "/v3/domains/{domain_id}/users/{user_id}/roles" [ListGrants]: read grants::list::<false>;
    GET    "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" [CheckGrant]: read grants::check::<false>;
    PUT    "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" [CreateGrant]: write grants::create::<false>;
    DELETE "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" [RevokeGrant]: write grants::revoke::<false>;
    GET    "/v3/domains/{domain_id}/groups/{group_id}/roles" [ListGrants]: read grants::list::<false>;
    GET    "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" [CheckGrant]: read grants::check::<false>;
    PUT    "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" [CreateGrant]: write grants::create::<false>;
    DELETE "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" [RevokeGrant]: write grants::revoke::<false>;
    GET    "/v3/system/users/{user_id}/roles" [ListSystemGrantsForUser]: read grants::list::<false>;
    GET    "/v3/system/users/{user_id}/roles/{role_id}" [CheckSystemGrantForUser]: read grants::check::<false>;
    PUT    "/v3/system/users/{user_id}/roles/{role_id}" [CreateSystemGrantForUser]: write grants::create::<false>;
    DELETE "/v3/system/users/{user_id}/roles/{role_id}" [RevokeSystemGrantForUser]: write grants::revoke::<false>;
    GET    "/v3/system/groups/{group_id}/roles" [ListSystemGrantsForGroup]: read grants::list::<false>;
    GET    "/v3/system/groups/{group_id}/roles/{role_id}" [CheckSystemGrantForGroup]: read grants::check::<false>;
    PUT    "/v3/system/groups/{group_id}/roles/{role_id}" [CreateSystemGrantForGroup]: write grants::create::<false>;
    DELETE "/v3/system/groups/{group_id}/roles/{role_id}" [RevokeSystemGrantForGroup]: write grants::revoke::<false>;
    GET    "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/inherited_to_projects" [ListGrants]: read grants::list::<true>;
    GET    "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [CheckGrant]: read grants::check::<true>;
    PUT    "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [CreateGrant]: write grants::create::<true>;
    DELETE "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [RevokeGrant]: write grants::revoke::<true>;
    GET    "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/inherited_to_projects" [ListGrants]: read grants::list::<true>;
    GET    "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [CheckGrant]: read grants::check::<true>;
    PUT    "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [CreateGrant]: write grants::create::<true>;
    DELETE "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [RevokeGrant]: write grants::revoke::<true>;
    GET    "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects" [ListGrants]: read grants::list::<true>;
    GET    "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [CheckGrant]: read grants::check::<true>;
    PUT    "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [CreateGrant]: write grants::create::<true>;
    DELETE "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [RevokeGrant]: write grants::revoke::<true>;
    GET    "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects" [ListGrants]: read grants::list::<true>;
    GET    "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [CheckGrant]: read grants::check::<true>;
    PUT    "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [CreateGrant]: write grants::create::<true>;
    DELETE "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [RevokeGrant]: write grants::revoke::<true>;

    // delegations
    GET    "/v3/OS-TRUST/trusts" [ListTrusts, ListTrustsForTrustor, ListTrustsForTrustee]: read trusts::list;
    POST   "/v3/OS-TRUST/trusts" [CreateTrust]: write trusts::create;
    GET    "/v3/OS-TRUST/trusts/{trust_id}" [GetTrust]: read trusts::get;
    DELETE "/v3/OS-TRUST/trusts/{trust_id}" [DeleteTrust, RenounceTrust]: write trusts::delete;
    GET    "/v3/OS-TRUST/trusts/{trust_id}/roles" [ListRolesForTrust]: read trusts::roles;
    GET    "/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}" [GetRoleForTrust]: read trusts::role;
    GET    "/v3/OS-TRUST/trusts/{trust_id}/lineage" [GetTrustLineage]: read trusts::lineage;
    GET    "/v3/users/{user_id}/delegations" [ListUserDelegations]: read trusts::delegations;
    GET    "/v3/credentials" [ListCredentials, GetCredential]: read credentials::list;
    POST   "/v3/credentials" [CreateCredential, Ec2CreateCredential]: write credentials::create;
    GET    "/v3/credentials/{credential_id}" [GetCredential]: read credentials::get;
    PATCH  "/v3/credentials/{credential_id}" [UpdateCredential]: write credentials::update;
    DELETE "/v3/credentials/{credential_id}" [DeleteCredential]: write credentials::delete;
    GET    "/v3/users/{user_id}/credentials/OS-EC2" [Ec2ListCredentials]: read keypairs::list;
    POST   "/v3/users/{user_id}/credentials/OS-EC2" [Ec2CreateCredential]: write keypairs::create;
    GET    "/v3/users/{user_id}/credentials/OS-EC2/{credential_id}" [Ec2GetCredential]: read keypairs::get;
    DELETE "/v3/users/{user_id}/credentials/OS-EC2/{credential_id}" [Ec2DeleteCredential]: write keypairs::delete;
};
