//! Every route, in one list. `GET` serves `HEAD` too unless a line says otherwise.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::authz::Reading;
use crate::dispatch::discovery::Documents;
use crate::dispatch::{self, Route};
use crate::error::Result;
use crate::explain::http as explain;
use crate::http::Request;
use crate::objects::OBJECTS;
use crate::operations::ABOUT;
use crate::resource;
use crate::resources::application_credentials::http as application_credentials;
use crate::resources::catalog::endpoints::Endpoint;
use crate::resources::catalog::regions::{self, Region};
use crate::resources::catalog::services::Service;
use crate::resources::delegation_policies::{http as delegation_policies, services as trust_services};
use crate::resources::domain_config::http as domain_config;
use crate::resources::endpoint_filter::{EndpointGroup, http as endpoint_filter};
use crate::resources::federation::service_providers::ServiceProvider;
use crate::resources::federation::{identity_providers, mappings, protocols};
use crate::resources::grants::{assignments, http as grants};
use crate::resources::groups::{self, Group, members};
use crate::resources::limits::{self, Limit, RegisteredLimit};
use crate::resources::oauth1::consumers::Consumer;
use crate::resources::oauth1::{self, access_tokens, request_tokens};
use crate::resources::pki;
use crate::resources::policies::{Policy, associations};
use crate::resources::projects::{Domain, Project, http as projects, tags};
use crate::resources::roles::{Role, implied};
use crate::resources::tokens::{browser, exchange, federated, http as tokens, oauth2, websso};
use crate::resources::trusts::{acts, http as trusts, places};
use crate::resources::users::{http as users, sql::User};
use crate::resources::{credentials, domains::http as domains, keypairs::http as keypairs};
use crate::routes;

/// The public listener's router.
pub fn public(app: Arc<App>) -> Router {
    dispatch::router(app, ROUTES)
}

/// The OpenAPI document, which is the same for everybody.
static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

/// What is said of versions and routes.
static DOCUMENTS: Documents = Documents::of(|| ROUTES);

/// The OpenAPI document of the public listener.
pub fn document() -> serde_json::Value {
    dispatch::openapi::document(ROUTES, OBJECTS, ABOUT)
}

/// `GET /v3/openapi.json`
fn openapi(_: &Request) -> Result<Response> {
    Ok(([(header::CONTENT_TYPE, "application/json")], OPENAPI.clone()).into_response())
}

/// `POST /v3/auth/explain`
async fn why(s: &mut Reading<'_>) -> Result<Response> {
    explain::answer(s, ROUTES).await
}

/// The public listener's routes.
#[rustfmt::skip]
pub static ROUTES: &[Route] = routes! {
    GET    "/" [] public: plain |r| Ok(DOCUMENTS.root(r)), answers 300 versions + "Location" | 200 any;
    GET    "/v3" [] public: plain |r| Ok(DOCUMENTS.v3(r)), answers 200 any;
    GET    "/v3/openapi.json" [] public: plain openapi, answers 200 any;

    // tokens
    POST   "/v3/auth/tokens" [] login: write tokens::issue, body auth = tokens::LOGIN, query tokens::ISSUE_QUERY, home "auth_tokens", answers 201 token + "X-Subject-Token" | 401 any + "Openstack-Auth-Receipt";
    GET    "/v3/auth/tokens" [ValidateToken]: read tokens::validate, query tokens::VALIDATE_QUERY, header "X-Subject-Token", answers 200 token + "X-Subject-Token";
    HEAD   "/v3/auth/tokens" [CheckToken]: read tokens::check, query tokens::VALIDATE_QUERY, header "X-Subject-Token", answers 200 token + "X-Subject-Token";
    DELETE "/v3/auth/tokens" [RevokeToken]: write tokens::revoke, query tokens::REVOKE_QUERY, header "X-Subject-Token", answers 204;
    POST   "/v3/auth/explain" [ExplainOthers]: read why, body explain = explain::EXPLAIN, answers 200 explanation;
    GET    "/v3/auth/catalog" [GetAuthCatalog]: read tokens::catalog, home "auth_catalog", answers 200 [catalog whole];
    GET    "/v3/auth/projects" [GetAuthProjects]: read tokens::projects, home "auth_projects", answers 200 [projects];
    GET    "/v3/auth/domains" [GetAuthDomains]: read tokens::domains, home "auth_domains", answers 200 [domains];
    GET    "/v3/auth/system" [GetAuthSystem]: read tokens::system, home "auth_system", answers 200 [system whole];
    DELETE "/v3/users/{user_id}/tokens" [RevokeTokensForUser]: write tokens::revoke_for_user, home "user_tokens", answers 204;
    GET    "/v3/OS-REVOKE/events" [ListRevokeEvents]: read tokens::events, query tokens::EVENTS_QUERY, home "events" of "OS-REVOKE", answers 200 [events whole];
    POST   "/v3/ec2tokens" [Ec2tokensValidate]: write exchange::ec2, body = exchange::SIGNED, home "ec2tokens" of "OS-EC2", answers 200 token + "X-Subject-Token";
    POST   "/v3/s3tokens" [S3tokensValidate]: write exchange::s3, body = exchange::SIGNED, home "s3tokens" of "s3tokens", answers 200 token;

    // catalog
    GET    "/v3/regions" [ListRegions]: read resource::list::<Region>, query resource::query_schema::<Region>(), home "regions", answers 200 [regions];
    POST   "/v3/regions" [CreateRegion]: write resource::create::<Region>, body region = resource::new_schema::<Region>(), answers 201 region;
    GET    "/v3/regions/{region_id}" [GetRegion]: read resource::get::<Region>, home "region", answers 200 region;
    PUT    "/v3/regions/{region_id}" [CreateRegion]: write regions::put, body region = resource::new_schema::<Region>(), answers 201 region;
    PATCH  "/v3/regions/{region_id}" [UpdateRegion]: write resource::update::<Region>, body region = resource::change_schema::<Region>(), answers 200 region;
    DELETE "/v3/regions/{region_id}" [DeleteRegion]: write resource::delete::<Region>, answers 204;
    GET    "/v3/services" [ListServices]: read resource::list::<Service>, query resource::query_schema::<Service>(), home "services", answers 200 [services];
    POST   "/v3/services" [CreateService]: write resource::create::<Service>, body service = resource::new_schema::<Service>(), answers 201 service;
    GET    "/v3/services/{service_id}" [GetService]: read resource::get::<Service>, home "service", answers 200 service;
    PATCH  "/v3/services/{service_id}" [UpdateService]: write resource::update::<Service>, body service = resource::change_schema::<Service>(), answers 200 service;
    DELETE "/v3/services/{service_id}" [DeleteService]: write resource::delete::<Service>, answers 204;
    GET    "/v3/endpoints" [ListEndpoints]: read resource::list::<Endpoint>, query resource::query_schema::<Endpoint>(), home "endpoints", answers 200 [endpoints];
    POST   "/v3/endpoints" [CreateEndpoint]: write resource::create::<Endpoint>, body endpoint = resource::new_schema::<Endpoint>(), answers 201 endpoint;
    GET    "/v3/endpoints/{endpoint_id}" [GetEndpoint]: read resource::get::<Endpoint>, home "endpoint", answers 200 endpoint;
    PATCH  "/v3/endpoints/{endpoint_id}" [UpdateEndpoint]: write resource::update::<Endpoint>, body endpoint = resource::change_schema::<Endpoint>(), answers 200 endpoint;
    DELETE "/v3/endpoints/{endpoint_id}" [DeleteEndpoint]: write resource::delete::<Endpoint>, answers 204;

    // limits
    GET    "/v3/registered_limits" [ListRegisteredLimits]: read resource::list::<RegisteredLimit>, query resource::query_schema::<RegisteredLimit>(), home "registered_limits", answers 200 [registered_limits];
    POST   "/v3/registered_limits" [CreateRegisteredLimits]: write resource::create_many::<RegisteredLimit>, body registered_limits = resource::many_schema::<RegisteredLimit>(), answers 201 [registered_limits whole];
    GET    "/v3/registered_limits/{registered_limit_id}" [GetRegisteredLimit]: read resource::get::<RegisteredLimit>, home "registered_limit", answers 200 registered_limit;
    PATCH  "/v3/registered_limits/{registered_limit_id}" [UpdateRegisteredLimit]: write resource::update::<RegisteredLimit>, body registered_limit = resource::change_schema::<RegisteredLimit>(), answers 200 registered_limit;
    DELETE "/v3/registered_limits/{registered_limit_id}" [DeleteRegisteredLimit]: write resource::delete::<RegisteredLimit>, answers 204;
    GET    "/v3/limits" [ListLimits]: read resource::list::<Limit>, query resource::query_schema::<Limit>(), home "limits", answers 200 [limits];
    POST   "/v3/limits" [CreateLimits]: write resource::create_many::<Limit>, body limits = resource::many_schema::<Limit>(), answers 201 [limits whole];
    GET    "/v3/limits/model" [GetLimitModel]: read limits::model, home "limit_model", answers 200 model;
    GET    "/v3/limits/{limit_id}" [GetLimit]: read resource::get::<Limit>, home "limit", answers 200 limit;
    PATCH  "/v3/limits/{limit_id}" [UpdateLimit]: write resource::update::<Limit>, body limit = resource::change_schema::<Limit>(), answers 200 limit;
    DELETE "/v3/limits/{limit_id}" [DeleteLimit]: write resource::delete::<Limit>, answers 204;

    // domains and projects
    GET    "/v3/domains" [ListDomains]: read domains::list, query domains::QUERY, home "domains", answers 200 [domains];
    POST   "/v3/domains" [CreateDomain]: write domains::create, body domain = domains::CREATE, answers 201 domain;
    GET    "/v3/domains/{domain_id}" [GetDomain]: read domains::get, home "domain", answers 200 domain;
    PATCH  "/v3/domains/{domain_id}" [UpdateDomain]: write domains::update, body domain = domains::UPDATE, answers 200 domain;
    DELETE "/v3/domains/{domain_id}" [DeleteDomain]: write domains::delete, answers 204;
    GET    "/v3/projects" [ListProjects]: read projects::list, query projects::QUERY, home "projects", answers 200 [projects];
    POST   "/v3/projects" [CreateProject]: write projects::create, body project = projects::CREATE, answers 201 project;
    GET    "/v3/projects/{project_id}" [GetProject]: read projects::get, query projects::GET_QUERY, home "project", answers 200 project;
    PATCH  "/v3/projects/{project_id}" [UpdateProject]: write projects::update, body project = projects::UPDATE, answers 200 project;
    DELETE "/v3/projects/{project_id}" [DeleteProject]: write projects::delete, answers 204;
    GET    "/v3/projects/{project_id}/tags" [ListProjectTags]: read tags::list, answers 200 [tags whole];
    PUT    "/v3/projects/{project_id}/tags" [UpdateProjectTags]: write tags::replace, body tags = tags::TAGS, answers 200 [tags whole];
    DELETE "/v3/projects/{project_id}/tags" [DeleteProjectTags]: write tags::clear, answers 204;
    GET    "/v3/projects/{project_id}/tags/{value}" [GetProjectTag]: read tags::get, home "project_tags", answers 204;
    PUT    "/v3/projects/{project_id}/tags/{value}" [CreateProjectTag]: write tags::add, answers 201 + "Location";
    DELETE "/v3/projects/{project_id}/tags/{value}" [DeleteProjectTag]: write tags::remove, answers 204;
    GET    "/v3/users/{user_id}/projects" [ListUserProjects]: read projects::of_user, query projects::HELD_QUERY, home "user_projects", answers 200 [projects];

    // users and groups
    GET    "/v3/users" [ListUsers]: read users::list, query users::QUERY, home "users", answers 200 [users];
    POST   "/v3/users" [CreateUser]: write users::create, body user = users::CREATE, answers 201 user;
    GET    "/v3/users/{user_id}" [GetUser]: read users::get, home "user", answers 200 user;
    PATCH  "/v3/users/{user_id}" [UpdateUser]: write users::update, body user = users::UPDATE, answers 200 user;
    DELETE "/v3/users/{user_id}" [DeleteUser]: write users::delete, query users::DELETE_QUERY, answers 204;
    POST   "/v3/users/{user_id}/password" [ChangePassword] optional: write users::change_password, body user = users::PASSWORD, home "user_change_password", answers 204;
    GET    "/v3/users/{user_id}/groups" [ListGroupsForUser]: read users::groups, query users::GROUPS_QUERY, home "user_groups", answers 200 [groups];
    GET    "/v3/groups" [ListGroups]: read resource::list::<Group>, query resource::query_schema::<Group>(), home "groups", answers 200 [groups];
    POST   "/v3/groups" [CreateGroup]: write resource::create::<Group>, body group = resource::new_schema::<Group>(), answers 201 group;
    GET    "/v3/groups/{group_id}" [GetGroup]: read groups::get, home "group", answers 200 group;
    PATCH  "/v3/groups/{group_id}" [UpdateGroup]: write resource::update::<Group>, body group = resource::change_schema::<Group>(), answers 200 group;
    DELETE "/v3/groups/{group_id}" [DeleteGroup]: write resource::delete::<Group>, answers 204;
    GET    "/v3/groups/{group_id}/users" [ListUsersInGroup]: read members::users, query users::MEMBERS_QUERY, home "group_users", answers 200 [users];
    GET    "/v3/groups/{group_id}/users/{user_id}" [CheckUserInGroup]: read members::check, home "group_user", answers 204;
    PUT    "/v3/groups/{group_id}/users/{user_id}" [AddUserToGroup]: write members::add, answers 204;
    DELETE "/v3/groups/{group_id}/users/{user_id}" [RemoveUserFromGroup]: write members::remove, answers 204;

    // roles
    GET    "/v3/roles" [ListRoles, ListDomainRoles]: read resource::list::<Role>, query resource::query_schema::<Role>(), home "roles", answers 200 [roles];
    POST   "/v3/roles" [CreateRole, CreateDomainRole]: write resource::create::<Role>, body role = resource::new_schema::<Role>(), answers 201 role;
    GET    "/v3/roles/{role_id}" [GetRole, GetDomainRole]: read resource::get::<Role>, home "role", answers 200 role;
    PATCH  "/v3/roles/{role_id}" [UpdateRole, UpdateDomainRole]: write resource::update::<Role>, body role = resource::change_schema::<Role>(), answers 200 role;
    DELETE "/v3/roles/{role_id}" [DeleteRole, DeleteDomainRole]: write resource::delete::<Role>, answers 204;
    GET    "/v3/roles/{prior_role_id}/implies" [ListImpliedRoles]: read implied::list_implied, home "implied_roles", answers 200 role_inference;
    GET    "/v3/roles/{prior_role_id}/implies/{implied_role_id}" [GetImpliedRole]: read implied::get_implied, home "implied_role", answers 200 role_inference;
    HEAD   "/v3/roles/{prior_role_id}/implies/{implied_role_id}" [CheckImpliedRole, GetImpliedRole]: read implied::check_implied, answers 204;
    PUT    "/v3/roles/{prior_role_id}/implies/{implied_role_id}" [CreateImpliedRole]: write implied::imply, answers 201 role_inference;
    DELETE "/v3/roles/{prior_role_id}/implies/{implied_role_id}" [DeleteImpliedRole]: write implied::delete_implication, answers 204;
    GET    "/v3/role_inferences" [ListRoleInferenceRules]: read implied::inferences, home "role_inferences", answers 200 [role_inferences whole];

    // grants
    GET    "/v3/role_assignments" [ListRoleAssignments, ListRoleAssignmentsForTree]: read assignments::list, query assignments::QUERY, home "role_assignments", answers 200 [role_assignments whole];
    GET    "/v3/projects/{project_id}/users/{user_id}/roles" [ListGrants]: read grants::list::<false>, home "project_user_roles", answers 200 [roles];
    GET    "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" [CheckGrant]: read grants::check::<false>, home "project_user_role", answers 204;
    PUT    "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" [CreateGrant]: write grants::create::<false>, answers 204;
    DELETE "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" [RevokeGrant]: write grants::revoke::<false>, answers 204;
    GET    "/v3/projects/{project_id}/groups/{group_id}/roles" [ListGrants]: read grants::list::<false>, home "project_group_roles", answers 200 [roles];
    GET    "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" [CheckGrant]: read grants::check::<false>, home "project_group_role", answers 204;
    PUT    "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" [CreateGrant]: write grants::create::<false>, answers 204;
    DELETE "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" [RevokeGrant]: write grants::revoke::<false>, answers 204;
    GET    "/v3/domains/{domain_id}/users/{user_id}/roles" [ListGrants]: read grants::list::<false>, home "domain_user_roles", answers 200 [roles];
    GET    "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" [CheckGrant]: read grants::check::<false>, home "domain_user_role", answers 204;
    PUT    "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" [CreateGrant]: write grants::create::<false>, answers 204;
    DELETE "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" [RevokeGrant]: write grants::revoke::<false>, answers 204;
    GET    "/v3/domains/{domain_id}/groups/{group_id}/roles" [ListGrants]: read grants::list::<false>, home "domain_group_roles", answers 200 [roles];
    GET    "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" [CheckGrant]: read grants::check::<false>, home "domain_group_role", answers 204;
    PUT    "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" [CreateGrant]: write grants::create::<false>, answers 204;
    DELETE "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" [RevokeGrant]: write grants::revoke::<false>, answers 204;
    GET    "/v3/system/users/{user_id}/roles" [ListSystemGrantsForUser]: read grants::list::<false>, home "system_user_roles", answers 200 [roles];
    GET    "/v3/system/users/{user_id}/roles/{role_id}" [CheckSystemGrantForUser]: read grants::check::<false>, home "system_user_role", answers 204;
    PUT    "/v3/system/users/{user_id}/roles/{role_id}" [CreateSystemGrantForUser]: write grants::create::<false>, answers 204;
    DELETE "/v3/system/users/{user_id}/roles/{role_id}" [RevokeSystemGrantForUser]: write grants::revoke::<false>, answers 204;
    GET    "/v3/system/groups/{group_id}/roles" [ListSystemGrantsForGroup]: read grants::list::<false>, home "system_group_roles", answers 200 [roles];
    GET    "/v3/system/groups/{group_id}/roles/{role_id}" [CheckSystemGrantForGroup]: read grants::check::<false>, home "system_group_role", answers 204;
    PUT    "/v3/system/groups/{group_id}/roles/{role_id}" [CreateSystemGrantForGroup]: write grants::create::<false>, answers 204;
    DELETE "/v3/system/groups/{group_id}/roles/{role_id}" [RevokeSystemGrantForGroup]: write grants::revoke::<false>, answers 204;
    GET    "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/inherited_to_projects" [ListGrants]: read grants::list::<true>, answers 200 [roles];
    GET    "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [CheckGrant]: read grants::check::<true>, home "project_user_role_inherited_to_projects" of "OS-INHERIT", answers 204;
    PUT    "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [CreateGrant]: write grants::create::<true>, answers 204;
    DELETE "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [RevokeGrant]: write grants::revoke::<true>, answers 204;
    GET    "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/inherited_to_projects" [ListGrants]: read grants::list::<true>, answers 200 [roles];
    GET    "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [CheckGrant]: read grants::check::<true>, home "project_group_role_inherited_to_projects" of "OS-INHERIT", answers 204;
    PUT    "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [CreateGrant]: write grants::create::<true>, answers 204;
    DELETE "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [RevokeGrant]: write grants::revoke::<true>, answers 204;
    GET    "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects" [ListGrants]: read grants::list::<true>, home "domain_user_roles_inherited_to_projects" of "OS-INHERIT", answers 200 [roles];
    GET    "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [CheckGrant]: read grants::check::<true>, home "domain_user_role_inherited_to_projects" of "OS-INHERIT", answers 204;
    PUT    "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [CreateGrant]: write grants::create::<true>, answers 204;
    DELETE "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" [RevokeGrant]: write grants::revoke::<true>, answers 204;
    GET    "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects" [ListGrants]: read grants::list::<true>, home "domain_group_roles_inherited_to_projects" of "OS-INHERIT", answers 200 [roles];
    GET    "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [CheckGrant]: read grants::check::<true>, home "domain_group_role_inherited_to_projects" of "OS-INHERIT", answers 204;
    PUT    "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [CreateGrant]: write grants::create::<true>, answers 204;
    DELETE "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" [RevokeGrant]: write grants::revoke::<true>, answers 204;

    // delegations
    GET    "/v3/OS-TRUST/trusts" [ListTrusts, ListTrustsForTrustor, ListTrustsForTrustee]: read trusts::list, query trusts::QUERY, home "trusts" of "OS-TRUST", answers 200 [trusts];
    POST   "/v3/OS-TRUST/trusts" [CreateTrust]: write trusts::create, body trust = trusts::CREATE, answers 201 trust;
    GET    "/v3/OS-TRUST/trusts/{trust_id}" [GetTrust]: read trusts::get, home "trust" of "OS-TRUST", answers 200 trust;
    DELETE "/v3/OS-TRUST/trusts/{trust_id}" [DeleteTrust, RenounceTrust, EndTrustOnProject]: write trusts::delete, query trusts::DELETE_QUERY, answers 204 | 200 would_end;
    GET    "/v3/OS-TRUST/trusts/{trust_id}/roles" [ListRolesForTrust]: read trusts::roles, home "trust_roles" of "OS-TRUST", answers 200 [roles];
    GET    "/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}" [GetRoleForTrust]: read trusts::role, home "trust_role" of "OS-TRUST", answers 200 role;
    GET    "/v3/OS-TRUST/trusts/{trust_id}/lineage" [GetTrustLineage]: read trusts::lineage, answers 200 lineage;
    POST   "/v3/OS-TRUST/trusts/{trust_id}/suspend" [SuspendTrust]: write acts::suspend, body suspension = acts::SUSPENSION, answers 200 trust;
    POST   "/v3/OS-TRUST/trusts/{trust_id}/resume" [ResumeTrust]: write acts::resume, answers 200 trust;
    POST   "/v3/OS-TRUST/trusts/{trust_id}/adopt" [AdoptTrust, AdoptAnyTrust]: write acts::adopt, answers 200 trust;
    DELETE "/v3/OS-TRUST/trusts/{trust_id}/tokens" [EndTrustTokens]: write acts::end_tokens, query acts::TOKENS_QUERY, answers 204;
    GET    "/v3/users/{user_id}/delegations" [ListUserDelegations]: read trusts::delegations, answers 200 delegations;
    GET    "/v3/projects/{project_id}/delegations" [ListProjectDelegations]: read places::of_project, answers 200 [delegations];
    GET    "/v3/domains/{domain_id}/delegations" [ListDomainDelegations]: read places::of_domain, answers 200 [delegations];
    GET    "/v3/domains/{domain_id}/delegation_policy" [GetDomainDelegationPolicy]: read delegation_policies::get::<Domain>, answers 200 delegation_policy;
    PUT    "/v3/domains/{domain_id}/delegation_policy" [SetDomainDelegationPolicy]: write delegation_policies::put::<Domain>, body delegation_policy = delegation_policies::PUT, answers 200 delegation_policy;
    DELETE "/v3/domains/{domain_id}/delegation_policy" [SetDomainDelegationPolicy]: write delegation_policies::delete::<Domain>, answers 204;
    GET    "/v3/projects/{project_id}/delegation_policy" [GetProjectDelegationPolicy]: read delegation_policies::get::<Project>, answers 200 delegation_policy;
    PUT    "/v3/projects/{project_id}/delegation_policy" [SetProjectDelegationPolicy]: write delegation_policies::put::<Project>, body delegation_policy = delegation_policies::PUT, answers 200 delegation_policy;
    DELETE "/v3/projects/{project_id}/delegation_policy" [SetProjectDelegationPolicy]: write delegation_policies::delete::<Project>, answers 204;
    GET    "/v3/users/{user_id}/delegation_policy" [GetUserDelegationPolicy]: read delegation_policies::get::<User>, answers 200 delegation_policy;
    PUT    "/v3/users/{user_id}/delegation_policy" [SetUserDelegationPolicy]: write delegation_policies::put::<User>, body delegation_policy = delegation_policies::PUT, answers 200 delegation_policy;
    DELETE "/v3/users/{user_id}/delegation_policy" [SetUserDelegationPolicy]: write delegation_policies::delete::<User>, answers 204;
    GET    "/v3/OS-TRUST/services" [ListTrustServices]: read trust_services::list, answers 200 [services];
    PUT    "/v3/OS-TRUST/services/{user_id}" [SetTrustService]: write trust_services::put, body service = trust_services::PUT, answers 200 service;
    DELETE "/v3/OS-TRUST/services/{user_id}" [SetTrustService]: write trust_services::delete, answers 204;
    GET    "/v3/credentials" [ListCredentials, GetCredential]: read credentials::list, query credentials::QUERY, home "credentials", answers 200 [credentials];
    POST   "/v3/credentials" [CreateCredential, Ec2CreateCredential]: write credentials::create, body credential = credentials::CREATE, answers 201 credential;
    GET    "/v3/credentials/{credential_id}" [GetCredential]: read credentials::get, home "credential", answers 200 credential;
    PATCH  "/v3/credentials/{credential_id}" [UpdateCredential]: write credentials::update, body credential = credentials::UPDATE, answers 200 credential;
    DELETE "/v3/credentials/{credential_id}" [DeleteCredential]: write credentials::delete, answers 204;
    GET    "/v3/users/{user_id}/credentials/OS-EC2" [Ec2ListCredentials]: read keypairs::list, query keypairs::QUERY, home "user_credentials" of "OS-EC2", answers 200 [credentials];
    POST   "/v3/users/{user_id}/credentials/OS-EC2" [Ec2CreateCredential]: write keypairs::create, body = keypairs::CREATE, answers 201 credential;
    GET    "/v3/users/{user_id}/credentials/OS-EC2/{credential_id}" [Ec2GetCredential]: read keypairs::get, home "user_credential" of "OS-EC2", answers 200 credential;
    DELETE "/v3/users/{user_id}/credentials/OS-EC2/{credential_id}" [Ec2DeleteCredential]: write keypairs::delete, answers 204;

    // application credentials
    GET    "/v3/users/{user_id}/application_credentials" [ListApplicationCredentials]: read application_credentials::list, query application_credentials::QUERY, home "application_credentials", answers 200 [application_credentials];
    POST   "/v3/users/{user_id}/application_credentials" [CreateApplicationCredential]: write application_credentials::create, body application_credential = application_credentials::CREATE, answers 201 application_credential;
    GET    "/v3/users/{user_id}/application_credentials/{application_credential_id}" [GetApplicationCredential]: read application_credentials::get, home "application_credential", answers 200 application_credential;
    DELETE "/v3/users/{user_id}/application_credentials/{application_credential_id}" [DeleteApplicationCredential]: write application_credentials::delete, answers 204;
    GET    "/v3/users/{user_id}/access_rules" [ListAccessRules]: read application_credentials::rules, query application_credentials::RULES_QUERY, home "access_rules", answers 200 [access_rules];
    GET    "/v3/users/{user_id}/access_rules/{access_rule_id}" [GetAccessRule]: read application_credentials::get_rule, home "access_rule", answers 200 access_rule;
    DELETE "/v3/users/{user_id}/access_rules/{access_rule_id}" [DeleteAccessRule]: write application_credentials::delete_rule, answers 204;

    // OAuth1
    GET    "/v3/OS-OAUTH1/consumers" [ListConsumers]: read resource::list::<Consumer>, query resource::query_schema::<Consumer>(), home "consumers" of "OS-OAUTH1", answers 200 [consumers];
    POST   "/v3/OS-OAUTH1/consumers" [CreateConsumer]: write resource::create::<Consumer>, body consumer = resource::new_schema::<Consumer>(), answers 201 consumer;
    GET    "/v3/OS-OAUTH1/consumers/{consumer_id}" [GetConsumer]: read resource::get::<Consumer>, home "consumer" of "OS-OAUTH1", answers 200 consumer;
    PATCH  "/v3/OS-OAUTH1/consumers/{consumer_id}" [UpdateConsumer]: write resource::update::<Consumer>, body consumer = resource::change_schema::<Consumer>(), answers 200 consumer;
    DELETE "/v3/OS-OAUTH1/consumers/{consumer_id}" [DeleteConsumer]: write resource::delete::<Consumer>, answers 204;
    POST   "/v3/OS-OAUTH1/request_token" [] public: write request_tokens::request, form oauth1::FORM, header "Requested-Project-Id", home "request_tokens" of "OS-OAUTH1", answers 201 form;
    PUT    "/v3/OS-OAUTH1/authorize/{request_token_id}" [AuthorizeRequestToken]: write request_tokens::authorize, body = request_tokens::AUTHORIZE, home "authorize_request_token" of "OS-OAUTH1", answers 200 token;
    POST   "/v3/OS-OAUTH1/access_token" [] public: write request_tokens::exchange, form oauth1::FORM, home "access_tokens" of "OS-OAUTH1", answers 201 form;
    GET    "/v3/users/{user_id}/OS-OAUTH1/access_tokens" [ListAccessTokens]: read access_tokens::list, home "user_access_tokens" of "OS-OAUTH1", answers 200 [access_tokens];
    GET    "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}" [GetAccessToken]: read access_tokens::get, home "user_access_token" of "OS-OAUTH1", answers 200 access_token;
    DELETE "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}" [DeleteAccessToken]: write access_tokens::delete, answers 204;
    GET    "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles" [ListAccessTokenRoles]: read access_tokens::roles, home "user_access_token_roles" of "OS-OAUTH1", answers 200 [roles];
    GET    "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles/{role_id}" [GetAccessTokenRole]: read access_tokens::role, home "user_access_token_role" of "OS-OAUTH1", answers 200 role;

    // OAuth2
    POST   "/v3/OS-OAUTH2/token" [] login: write oauth2::token, form oauth2::FORM, home "token" of "OS-OAUTH2", answers 200 any | 400 any | 401 any | 408 any | 413 any | 503 any;

    // endpoint filters
    GET    "/v3/OS-EP-FILTER/endpoint_groups" [ListEndpointGroups]: read resource::list::<EndpointGroup>, query resource::query_schema::<EndpointGroup>(), home "endpoint_groups" of "OS-EP-FILTER", answers 200 [endpoint_groups];
    POST   "/v3/OS-EP-FILTER/endpoint_groups" [CreateEndpointGroup]: write resource::create::<EndpointGroup>, body endpoint_group = resource::new_schema::<EndpointGroup>(), answers 201 endpoint_group;
    GET    "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}" [GetEndpointGroup]: read resource::get::<EndpointGroup>, home "endpoint_group" of "OS-EP-FILTER", answers 200 endpoint_group;
    PATCH  "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}" [UpdateEndpointGroup]: write resource::update::<EndpointGroup>, body endpoint_group = resource::change_schema::<EndpointGroup>(), answers 200 endpoint_group;
    DELETE "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}" [DeleteEndpointGroup]: write resource::delete::<EndpointGroup>, answers 204;
    GET    "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/endpoints" [ListEndpointsAssociatedWithEndpointGroup]: read endpoint_filter::endpoints_of_group, home "endpoints_in_endpoint_group" of "OS-EP-FILTER", answers 200 [endpoints];
    GET    "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects" [ListProjectsAssociatedWithEndpointGroup]: read endpoint_filter::projects_of_group, home "projects_associated_with_endpoint_group" of "OS-EP-FILTER", answers 200 [projects];
    GET    "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}" [GetEndpointGroupInProject]: read endpoint_filter::get_group, home "endpoint_group_to_project_association" of "OS-EP-FILTER", answers 200 project_endpoint_group;
    PUT    "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}" [AddEndpointGroupToProject]: write endpoint_filter::add_group, answers 204;
    DELETE "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}" [RemoveEndpointGroupFromProject]: write endpoint_filter::remove_group, answers 204;
    GET    "/v3/OS-EP-FILTER/projects/{project_id}/endpoint_groups" [ListEndpointGroupsForProject]: read endpoint_filter::groups_of_project, home "project_endpoint_groups" of "OS-EP-FILTER", answers 200 [endpoint_groups];
    GET    "/v3/OS-EP-FILTER/projects/{project_id}/endpoints" [ListEndpointsForProject]: read endpoint_filter::endpoints_of_project, home "project_endpoints" of "OS-EP-FILTER", answers 200 [endpoints];
    GET    "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}" [CheckEndpointInProject]: read endpoint_filter::check, home "project_endpoint" of "OS-EP-FILTER", answers 204;
    PUT    "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}" [AddEndpointToProject]: write endpoint_filter::add, answers 204;
    DELETE "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}" [RemoveEndpointFromProject]: write endpoint_filter::remove, answers 204;
    GET    "/v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects" [ListProjectsForEndpoint]: read endpoint_filter::projects_of_endpoint, home "endpoint_projects" of "OS-EP-FILTER", answers 200 [projects];

    // policies and their endpoints
    GET    "/v3/policies" [ListPolicies]: read resource::list::<Policy>, query resource::query_schema::<Policy>(), home "policies", answers 200 [policies];
    POST   "/v3/policies" [CreatePolicy]: write resource::create::<Policy>, body policy = resource::new_schema::<Policy>(), answers 201 policy;
    GET    "/v3/policies/{policy_id}" [GetPolicy]: read resource::get::<Policy>, home "policy", answers 200 policy;
    PATCH  "/v3/policies/{policy_id}" [UpdatePolicy]: write resource::update::<Policy>, body policy = resource::change_schema::<Policy>(), answers 200 policy;
    DELETE "/v3/policies/{policy_id}" [DeletePolicy]: write resource::delete::<Policy>, answers 204;
    GET    "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints" [ListEndpointsForPolicy]: read associations::endpoints, home "policy_endpoints" of "OS-ENDPOINT-POLICY", answers 200 [endpoints];
    GET    "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}" [CheckPolicyAssociationForEndpoint]: read associations::check, home "endpoint_policy_association" of "OS-ENDPOINT-POLICY", answers 204;
    PUT    "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}" [CreatePolicyAssociationForEndpoint]: write associations::create, answers 204;
    DELETE "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}" [DeletePolicyAssociationForEndpoint]: write associations::delete, answers 204;
    GET    "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}" [CheckPolicyAssociationForService]: read associations::check, home "service_policy_association" of "OS-ENDPOINT-POLICY", answers 204;
    PUT    "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}" [CreatePolicyAssociationForService]: write associations::create, answers 204;
    DELETE "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}" [DeletePolicyAssociationForService]: write associations::delete, answers 204;
    GET    "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}" [CheckPolicyAssociationForRegionAndService]: read associations::check, home "region_and_service_policy_association" of "OS-ENDPOINT-POLICY", answers 204;
    PUT    "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}" [CreatePolicyAssociationForRegionAndService]: write associations::create, answers 204;
    DELETE "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}" [DeletePolicyAssociationForRegionAndService]: write associations::delete, answers 204;
    GET    "/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy" [GetPolicyForEndpoint]: read associations::of_endpoint, home "endpoint_policy" of "OS-ENDPOINT-POLICY", answers 200 policy;

    // configuration of domains
    GET    "/v3/domains/{domain_id}/config" [GetDomainConfig]: read domain_config::get, home "domain_config", answers 200 config;
    PUT    "/v3/domains/{domain_id}/config" [CreateDomainConfig]: write domain_config::put, body = domain_config::CONFIG, answers 201 config | 200 config;
    PATCH  "/v3/domains/{domain_id}/config" [UpdateDomainConfig]: write domain_config::update, body = domain_config::CONFIG, answers 200 config;
    DELETE "/v3/domains/{domain_id}/config" [DeleteDomainConfig]: write domain_config::delete, answers 204;
    GET    "/v3/domains/{domain_id}/config/{group}" [GetDomainConfig, GetSecurityComplianceDomainConfig]: read domain_config::get, home "domain_config_group", answers 200 config;
    PATCH  "/v3/domains/{domain_id}/config/{group}" [UpdateDomainConfig]: write domain_config::update, body = domain_config::GROUP, answers 200 config;
    DELETE "/v3/domains/{domain_id}/config/{group}" [DeleteDomainConfig]: write domain_config::delete, answers 204;
    GET    "/v3/domains/{domain_id}/config/{group}/{option}" [GetDomainConfig, GetSecurityComplianceDomainConfig]: read domain_config::get, home "domain_config_option", answers 200 config;
    PATCH  "/v3/domains/{domain_id}/config/{group}/{option}" [UpdateDomainConfig]: write domain_config::update, body = domain_config::OPTION, answers 200 config;
    DELETE "/v3/domains/{domain_id}/config/{group}/{option}" [DeleteDomainConfig]: write domain_config::delete, answers 204;
    GET    "/v3/domains/config/default" [GetDomainConfigDefault]: read domain_config::defaults, home "domain_config_default", answers 200 config;
    GET    "/v3/domains/config/{group}/default" [GetDomainConfigDefault]: read domain_config::defaults, home "domain_config_default_group", answers 200 config;
    GET    "/v3/domains/config/{group}/{option}/default" [GetDomainConfigDefault]: read domain_config::defaults, home "domain_config_default_option", answers 200 config;

    // federation
    GET    "/v3/OS-FEDERATION/identity_providers" [ListIdentityProviders]: read identity_providers::list, query identity_providers::QUERY, home "identity_providers" of "OS-FEDERATION", answers 200 [identity_providers];
    GET    "/v3/OS-FEDERATION/identity_providers/{idp_id}" [GetIdentityProvider]: read identity_providers::get, home "identity_provider" of "OS-FEDERATION", answers 200 identity_provider;
    PUT    "/v3/OS-FEDERATION/identity_providers/{idp_id}" [CreateIdentityProvider]: write identity_providers::create, body = identity_providers::CREATE, answers 201 identity_provider;
    PATCH  "/v3/OS-FEDERATION/identity_providers/{idp_id}" [UpdateIdentityProvider]: write identity_providers::update, body identity_provider = identity_providers::UPDATE, answers 200 identity_provider;
    DELETE "/v3/OS-FEDERATION/identity_providers/{idp_id}" [DeleteIdentityProvider]: write identity_providers::delete, answers 204;
    GET    "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols" [ListProtocols]: read protocols::list, home "identity_provider_protocols" of "OS-FEDERATION", answers 200 [protocols];
    GET    "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}" [GetProtocol]: read protocols::get, home "identity_provider_protocol" of "OS-FEDERATION", answers 200 protocol;
    PUT    "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}" [CreateProtocol]: write protocols::create, body protocol = protocols::CREATE, answers 201 protocol;
    PATCH  "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}" [UpdateProtocol]: write protocols::update, body protocol = protocols::UPDATE, answers 200 protocol;
    DELETE "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}" [DeleteProtocol]: write protocols::delete, answers 204;
    GET    "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth" [] login: write federated::auth, home "identity_provider_protocol_auth" of "OS-FEDERATION", answers 201 token + "X-Subject-Token";
    POST   "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth" [] login: write federated::auth, answers 201 token + "X-Subject-Token";
    GET    "/v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso" [] login: write websso::by_provider, query websso::QUERY, home "identity_providers_websso" of "OS-FEDERATION", answers 200 html | 302 + "Location";
    POST   "/v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso" [] login: write websso::by_provider, query websso::QUERY, answers 200 html | 302 + "Location";
    GET    "/v3/auth/OS-FEDERATION/websso/{protocol_id}" [] login: write websso::by_protocol, query websso::QUERY, home "websso" of "OS-FEDERATION", answers 200 html | 302 + "Location";
    POST   "/v3/auth/OS-FEDERATION/websso/{protocol_id}" [] login: write websso::by_protocol, query websso::QUERY, answers 200 html | 302 + "Location";
    GET    "/v3/auth/OS-FEDERATION/oidc/callback" [] login: write browser::callback, query browser::QUERY, answers 200 html;
    GET    "/v3/OS-FEDERATION/mappings" [ListMappings]: read mappings::list, home "mappings" of "OS-FEDERATION", answers 200 [mappings];
    GET    "/v3/OS-FEDERATION/mappings/{mapping_id}" [GetMapping]: read mappings::get, home "mapping" of "OS-FEDERATION", answers 200 mapping;
    PUT    "/v3/OS-FEDERATION/mappings/{mapping_id}" [CreateMapping]: write mappings::create, body mapping = mappings::BODY, answers 201 mapping;
    PATCH  "/v3/OS-FEDERATION/mappings/{mapping_id}" [UpdateMapping]: write mappings::update, body mapping = mappings::BODY, answers 200 mapping;
    DELETE "/v3/OS-FEDERATION/mappings/{mapping_id}" [DeleteMapping]: write mappings::delete, answers 204;
    GET    "/v3/OS-FEDERATION/service_providers" [ListServiceProviders]: read resource::list::<ServiceProvider>, query resource::query_schema::<ServiceProvider>(), home "service_providers" of "OS-FEDERATION", answers 200 [service_providers];
    GET    "/v3/OS-FEDERATION/service_providers/{service_provider_id}" [GetServiceProvider]: read resource::get::<ServiceProvider>, home "service_provider" of "OS-FEDERATION", answers 200 service_provider;
    PUT    "/v3/OS-FEDERATION/service_providers/{service_provider_id}" [CreateServiceProvider]: write resource::put::<ServiceProvider>, body service_provider = resource::new_schema::<ServiceProvider>(), answers 201 service_provider;
    PATCH  "/v3/OS-FEDERATION/service_providers/{service_provider_id}" [UpdateServiceProvider]: write resource::update::<ServiceProvider>, body service_provider = resource::change_schema::<ServiceProvider>(), answers 200 service_provider;
    DELETE "/v3/OS-FEDERATION/service_providers/{service_provider_id}" [DeleteServiceProvider]: write resource::delete::<ServiceProvider>, answers 204;
    GET    "/v3/OS-FEDERATION/projects" [GetAuthProjects]: read tokens::projects, home "projects" of "OS-FEDERATION", answers 200 [projects];
    GET    "/v3/OS-FEDERATION/domains" [GetAuthDomains]: read tokens::domains, home "domains" of "OS-FEDERATION", answers 200 [domains];

    // certificates and lists of PKI tokens
    GET    "/v3/OS-SIMPLE-CERT/ca" [] public: plain pki::certificates, home "ca_certificate" of "OS-SIMPLE-CERT", answers 410 any;
    GET    "/v3/OS-SIMPLE-CERT/certificates" [] public: plain pki::certificates, home "certificates" of "OS-SIMPLE-CERT", answers 410 any;
    GET    "/v3/auth/tokens/OS-PKI/revoked" [] public: read pki::revoked, home "revocations" of "OS-PKI", answers 403 any | 410 any;
};
