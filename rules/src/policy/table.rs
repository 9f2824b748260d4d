//! The table: every operation, who may call it, with tokens of which scope, and the routes that it
//! guards. Names and defaults are those of Keystone 30.0.0, so that an operator's overrides apply;
//! what is ours begins with `vicar:`.

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// The operation.
    pub op: Op,
    /// Its name in policy files.
    pub name: &'static str,
    /// Who may, in oslo.policy's language.
    pub rule: &'static str,
    /// Letters of the scopes that may: s(ystem), d(omain), p(roject or none). Empty: all.
    pub scopes: &'static str,
    /// The HTTP operation that it guards.
    pub guards: &'static str,
}

macro_rules! operations {
    ($($op:ident, $name:literal, $scopes:literal, $rule:literal, $guards:literal;)*) => {
        /// Every operation that policy decides.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Op {
            $(#[doc = concat!("`", $name, "`: ", $guards)] $op,)*
        }

        /// The rows, in the order of [`Op`].
        pub const OPERATIONS: &[Operation] = &[
            $(Operation { op: Op::$op, name: $name, rule: $rule, scopes: $scopes, guards: $guards },)*
        ];
    };
}

impl Op {
    /// The operation's row.
    pub fn row(self) -> &'static Operation {
        &OPERATIONS[self as usize]
    }
}

/// Rules that rows refer to by name.
pub const NAMED: &[(&str, &str)] = &[
    ("admin_required", "role:admin or is_admin:1"),
    ("service_role", "role:service"),
    ("service_or_admin", "rule:admin_required or rule:service_role"),
    ("system_reader", "role:reader and system_scope:all"),
    ("owner", "user_id:%(user_id)s"),
    ("admin_or_owner", "rule:admin_required or rule:owner"),
    ("token_subject", "user_id:%(target.token.user_id)s"),
    ("credential_owner", "user_id:%(target.credential.user_id)s"),
    ("keypair_delegator", "user_id:%(target.credential.delegators)s"),
    ("trustor", "user_id:%(target.trust.trustor_user_id)s"),
    ("trustee", "user_id:%(target.trust.trustee_user_id)s"),
    ("project_domain", "domain_id:%(target.project.domain_id)s"),
    ("project_itself", "project_id:%(target.project.id)s"),
    ("role_of_domain", "domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s"),
    (
        "domain_managed_target_role",
        "'manager':%(target.role.name)s or 'member':%(target.role.name)s or 'reader':%(target.role.name)s",
    ),
    (
        "grant_in_domain",
        "(domain_id:%(target.user.domain_id)s or domain_id:%(target.group.domain_id)s) and (domain_id:%(target.project.domain_id)s or domain_id:%(target.domain.id)s)",
    ),
];

operations! {
    GetAuthCatalog, "identity:get_auth_catalog", "", "@",
        "GET /v3/auth/catalog; HEAD /v3/auth/catalog";
    GetAuthProjects, "identity:get_auth_projects", "", "@",
        "GET /v3/auth/projects; HEAD /v3/auth/projects";
    GetAuthDomains, "identity:get_auth_domains", "", "@",
        "GET /v3/auth/domains; HEAD /v3/auth/domains";
    GetAuthSystem, "identity:get_auth_system", "", "@",
        "GET /v3/auth/system; HEAD /v3/auth/system";
    GetCredential, "identity:get_credential", "sdp", "rule:admin_required or rule:system_reader or rule:credential_owner or rule:keypair_delegator",
        "GET /v3/credentials/{credential_id}";
    ListCredentials, "identity:list_credentials", "sdp", "rule:admin_required or rule:system_reader or rule:credential_owner",
        "GET /v3/credentials";
    CreateCredential, "identity:create_credential", "sdp", "rule:admin_required or rule:credential_owner",
        "POST /v3/credentials";
    UpdateCredential, "identity:update_credential", "sdp", "rule:admin_required or rule:credential_owner",
        "PATCH /v3/credentials/{credential_id}";
    DeleteCredential, "identity:delete_credential", "sdp", "rule:admin_required or rule:credential_owner or rule:keypair_delegator",
        "DELETE /v3/credentials/{credential_id}";
    GetDomain, "identity:get_domain", "sdp", "rule:admin_required or rule:system_reader or token.domain.id:%(target.domain.id)s or token.project.domain.id:%(target.domain.id)s",
        "GET /v3/domains/{domain_id}";
    ListDomains, "identity:list_domains", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain.id)s)",
        "GET /v3/domains";
    CreateDomain, "identity:create_domain", "sp", "rule:admin_required",
        "POST /v3/domains";
    UpdateDomain, "identity:update_domain", "sp", "rule:admin_required",
        "PATCH /v3/domains/{domain_id}";
    DeleteDomain, "identity:delete_domain", "sp", "rule:admin_required",
        "DELETE /v3/domains/{domain_id}";
    Ec2GetCredential, "identity:ec2_get_credential", "sp", "rule:admin_required or rule:system_reader or rule:credential_owner or rule:keypair_delegator",
        "GET /v3/users/{user_id}/credentials/OS-EC2/{credential_id}";
    Ec2ListCredentials, "identity:ec2_list_credentials", "sp", "rule:admin_required or rule:system_reader or rule:owner",
        "GET /v3/users/{user_id}/credentials/OS-EC2";
    Ec2CreateCredential, "identity:ec2_create_credential", "sp", "rule:admin_required or (rule:credential_owner and not reader_only:True and any_role:True)",
        "POST /v3/users/{user_id}/credentials/OS-EC2";
    Ec2DeleteCredential, "identity:ec2_delete_credential", "sp", "rule:admin_required or (rule:credential_owner and not reader_only:True and any_role:True) or rule:keypair_delegator",
        "DELETE /v3/users/{user_id}/credentials/OS-EC2/{credential_id}";
    GetEndpoint, "identity:get_endpoint", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/endpoints/{endpoint_id}";
    ListEndpoints, "identity:list_endpoints", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/endpoints";
    CreateEndpoint, "identity:create_endpoint", "sp", "rule:admin_required",
        "POST /v3/endpoints";
    UpdateEndpoint, "identity:update_endpoint", "sp", "rule:admin_required",
        "PATCH /v3/endpoints/{endpoint_id}";
    DeleteEndpoint, "identity:delete_endpoint", "sp", "rule:admin_required",
        "DELETE /v3/endpoints/{endpoint_id}";
    CheckGrant, "identity:check_grant", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:grant_in_domain and rule:role_of_domain)",
        "GET /v3/{projects|domains}/{id}/{users|groups}/{id}/roles/{role_id}, also inherited";
    ListGrants, "identity:list_grants", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:grant_in_domain)",
        "GET /v3/{projects|domains}/{id}/{users|groups}/{id}/roles, also inherited";
    CreateGrant, "identity:create_grant", "sdp", "rule:admin_required or (role:admin and rule:grant_in_domain and rule:role_of_domain) or (role:manager and rule:grant_in_domain and rule:domain_managed_target_role)",
        "PUT /v3/{projects|domains}/{id}/{users|groups}/{id}/roles/{role_id}, also inherited";
    RevokeGrant, "identity:revoke_grant", "sdp", "rule:admin_required or (role:admin and rule:grant_in_domain and rule:role_of_domain) or (role:manager and rule:grant_in_domain and rule:domain_managed_target_role)",
        "DELETE /v3/{projects|domains}/{id}/{users|groups}/{id}/roles/{role_id}, also inherited";
    ListSystemGrantsForUser, "identity:list_system_grants_for_user", "sp", "rule:admin_required or rule:system_reader",
        "HEAD/GET /v3/system/users/{user_id}/roles";
    CheckSystemGrantForUser, "identity:check_system_grant_for_user", "sp", "rule:admin_required or rule:system_reader",
        "HEAD/GET /v3/system/users/{user_id}/roles/{role_id}";
    CreateSystemGrantForUser, "identity:create_system_grant_for_user", "sp", "rule:admin_required",
        "PUT /v3/system/users/{user_id}/roles/{role_id}";
    RevokeSystemGrantForUser, "identity:revoke_system_grant_for_user", "sp", "rule:admin_required",
        "DELETE /v3/system/users/{user_id}/roles/{role_id}";
    ListSystemGrantsForGroup, "identity:list_system_grants_for_group", "sp", "rule:admin_required or rule:system_reader",
        "HEAD/GET /v3/system/groups/{group_id}/roles";
    CheckSystemGrantForGroup, "identity:check_system_grant_for_group", "sp", "rule:admin_required or rule:system_reader",
        "HEAD/GET /v3/system/groups/{group_id}/roles/{role_id}";
    CreateSystemGrantForGroup, "identity:create_system_grant_for_group", "sp", "rule:admin_required",
        "PUT /v3/system/groups/{group_id}/roles/{role_id}";
    RevokeSystemGrantForGroup, "identity:revoke_system_grant_for_group", "sp", "rule:admin_required",
        "DELETE /v3/system/groups/{group_id}/roles/{role_id}";
    GetGroup, "identity:get_group", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.group.domain_id)s)",
        "GET /v3/groups/{group_id}; HEAD /v3/groups/{group_id}";
    ListGroups, "identity:list_groups", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.group.domain_id)s)",
        "GET /v3/groups; HEAD /v3/groups";
    ListGroupsForUser, "identity:list_groups_for_user", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(user_id)s",
        "GET /v3/users/{user_id}/groups; HEAD /v3/users/{user_id}/groups";
    CreateGroup, "identity:create_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s)",
        "POST /v3/groups";
    UpdateGroup, "identity:update_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s)",
        "PATCH /v3/groups/{group_id}";
    DeleteGroup, "identity:delete_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s)",
        "DELETE /v3/groups/{group_id}";
    ListUsersInGroup, "identity:list_users_in_group", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.group.domain_id)s)",
        "GET /v3/groups/{group_id}/users; HEAD /v3/groups/{group_id}/users";
    RemoveUserFromGroup, "identity:remove_user_from_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)",
        "DELETE /v3/groups/{group_id}/users/{user_id}";
    CheckUserInGroup, "identity:check_user_in_group", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)",
        "HEAD /v3/groups/{group_id}/users/{user_id}";
    AddUserToGroup, "identity:add_user_to_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)",
        "PUT /v3/groups/{group_id}/users/{user_id}";
    GetImpliedRole, "identity:get_implied_role", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/roles/{prior_role_id}/implies/{implied_role_id}";
    ListImpliedRoles, "identity:list_implied_roles", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/roles/{prior_role_id}/implies";
    CreateImpliedRole, "identity:create_implied_role", "sp", "rule:admin_required",
        "PUT /v3/roles/{prior_role_id}/implies/{implied_role_id}";
    DeleteImpliedRole, "identity:delete_implied_role", "sp", "rule:admin_required",
        "DELETE /v3/roles/{prior_role_id}/implies/{implied_role_id}";
    ListRoleInferenceRules, "identity:list_role_inference_rules", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/role_inferences; HEAD /v3/role_inferences";
    CheckImpliedRole, "identity:check_implied_role", "sp", "rule:admin_required or rule:system_reader",
        "HEAD /v3/roles/{prior_role_id}/implies/{implied_role_id}";
    GetLimitModel, "identity:get_limit_model", "sdp", "@",
        "GET /v3/limits/model; HEAD /v3/limits/model";
    GetLimit, "identity:get_limit", "sdp", "rule:admin_required or rule:system_reader or domain_id:%(target.limit.domain.id)s or domain_id:%(target.limit.project.domain_id)s or project_id:%(target.limit.project_id)s",
        "GET /v3/limits/{limit_id}; HEAD /v3/limits/{limit_id}";
    ListLimits, "identity:list_limits", "sdp", "@",
        "GET /v3/limits; HEAD /v3/limits";
    CreateLimits, "identity:create_limits", "sp", "rule:admin_required",
        "POST /v3/limits";
    UpdateLimit, "identity:update_limit", "sp", "rule:admin_required",
        "PATCH /v3/limits/{limit_id}";
    DeleteLimit, "identity:delete_limit", "sp", "rule:admin_required",
        "DELETE /v3/limits/{limit_id}";
    GetRegisteredLimit, "identity:get_registered_limit", "sdp", "@",
        "GET /v3/registered_limits/{registered_limit_id}; HEAD /v3/registered_limits/{registered_limit_id}";
    ListRegisteredLimits, "identity:list_registered_limits", "sdp", "@",
        "GET /v3/registered_limits; HEAD /v3/registered_limits";
    CreateRegisteredLimits, "identity:create_registered_limits", "sp", "rule:admin_required",
        "POST /v3/registered_limits";
    UpdateRegisteredLimit, "identity:update_registered_limit", "sp", "rule:admin_required",
        "PATCH /v3/registered_limits/{registered_limit_id}";
    DeleteRegisteredLimit, "identity:delete_registered_limit", "sp", "rule:admin_required",
        "DELETE /v3/registered_limits/{registered_limit_id}";
    GetProject, "identity:get_project", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:project_domain) or rule:project_itself",
        "GET /v3/projects/{project_id}";
    ListProjects, "identity:list_projects", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain_id)s)",
        "GET /v3/projects";
    ListUserProjects, "identity:list_user_projects", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(target.user.id)s",
        "GET /v3/users/{user_id}/projects";
    CreateProject, "identity:create_project", "sdp", "rule:admin_required or (role:manager and rule:project_domain)",
        "POST /v3/projects";
    UpdateProject, "identity:update_project", "sdp", "rule:admin_required or (role:manager and rule:project_domain)",
        "PATCH /v3/projects/{project_id}";
    DeleteProject, "identity:delete_project", "sdp", "rule:admin_required or (role:manager and rule:project_domain)",
        "DELETE /v3/projects/{project_id}";
    ListProjectTags, "identity:list_project_tags", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:project_domain) or rule:project_itself",
        "GET /v3/projects/{project_id}/tags";
    GetProjectTag, "identity:get_project_tag", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:project_domain) or rule:project_itself",
        "GET /v3/projects/{project_id}/tags/{value}";
    UpdateProjectTags, "identity:update_project_tags", "sdp", "rule:admin_required or (role:manager and rule:project_domain)",
        "PUT /v3/projects/{project_id}/tags";
    CreateProjectTag, "identity:create_project_tag", "sdp", "rule:admin_required or (role:manager and rule:project_domain)",
        "PUT /v3/projects/{project_id}/tags/{value}";
    DeleteProjectTags, "identity:delete_project_tags", "sdp", "rule:admin_required or (role:manager and rule:project_domain)",
        "DELETE /v3/projects/{project_id}/tags";
    DeleteProjectTag, "identity:delete_project_tag", "sdp", "rule:admin_required or (role:manager and rule:project_domain)",
        "DELETE /v3/projects/{project_id}/tags/{value}";
    GetRegion, "identity:get_region", "sdp", "@",
        "GET /v3/regions/{region_id}; HEAD /v3/regions/{region_id}";
    ListRegions, "identity:list_regions", "sdp", "@",
        "GET /v3/regions; HEAD /v3/regions";
    CreateRegion, "identity:create_region", "sp", "rule:admin_required",
        "POST /v3/regions; PUT /v3/regions/{region_id}";
    UpdateRegion, "identity:update_region", "sp", "rule:admin_required",
        "PATCH /v3/regions/{region_id}";
    DeleteRegion, "identity:delete_region", "sp", "rule:admin_required",
        "DELETE /v3/regions/{region_id}";
    GetRole, "identity:get_role", "sdp", "rule:admin_required or rule:system_reader or (role:manager and rule:domain_managed_target_role)",
        "GET /v3/roles/{role_id}; HEAD /v3/roles/{role_id}";
    ListRoles, "identity:list_roles", "sdp", "rule:admin_required or rule:system_reader or (role:manager and not domain_id:None)",
        "GET /v3/roles; HEAD /v3/roles";
    CreateRole, "identity:create_role", "sp", "rule:admin_required",
        "POST /v3/roles";
    UpdateRole, "identity:update_role", "sp", "rule:admin_required",
        "PATCH /v3/roles/{role_id}";
    DeleteRole, "identity:delete_role", "sp", "rule:admin_required",
        "DELETE /v3/roles/{role_id}";
    GetDomainRole, "identity:get_domain_role", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/roles/{role_id}; HEAD /v3/roles/{role_id}";
    ListDomainRoles, "identity:list_domain_roles", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/roles?domain_id={domain_id}";
    CreateDomainRole, "identity:create_domain_role", "sp", "rule:admin_required",
        "POST /v3/roles";
    UpdateDomainRole, "identity:update_domain_role", "sp", "rule:admin_required",
        "PATCH /v3/roles/{role_id}";
    DeleteDomainRole, "identity:delete_domain_role", "sp", "rule:admin_required",
        "DELETE /v3/roles/{role_id}";
    ListRoleAssignments, "identity:list_role_assignments", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain_id)s)",
        "GET /v3/role_assignments; HEAD /v3/role_assignments";
    ListRoleAssignmentsForTree, "identity:list_role_assignments_for_tree", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain_id)s)",
        "GET /v3/role_assignments?include_subtree; HEAD /v3/role_assignments?include_subtree";
    S3tokensValidate, "identity:s3tokens_validate", "sdp", "rule:service_or_admin",
        "POST /v3/s3tokens";
    Ec2tokensValidate, "identity:ec2tokens_validate", "sdp", "rule:service_or_admin",
        "POST /v3/ec2tokens";
    GetService, "identity:get_service", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/services/{service_id}";
    ListServices, "identity:list_services", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/services";
    CreateService, "identity:create_service", "sp", "rule:admin_required",
        "POST /v3/services";
    UpdateService, "identity:update_service", "sp", "rule:admin_required",
        "PATCH /v3/services/{service_id}";
    DeleteService, "identity:delete_service", "sp", "rule:admin_required",
        "DELETE /v3/services/{service_id}";
    CheckToken, "identity:check_token", "sdp", "rule:admin_required or rule:system_reader or rule:token_subject",
        "HEAD /v3/auth/tokens";
    ValidateToken, "identity:validate_token", "sdp", "rule:admin_required or rule:system_reader or rule:service_role or rule:token_subject",
        "GET /v3/auth/tokens";
    RevokeToken, "identity:revoke_token", "sdp", "rule:admin_required or rule:token_subject",
        "DELETE /v3/auth/tokens";
    CreateTrust, "identity:create_trust", "p", "rule:trustor",
        "POST /v3/OS-TRUST/trusts";
    ListTrusts, "identity:list_trusts", "sp", "rule:admin_required or rule:system_reader",
        "GET /v3/OS-TRUST/trusts; HEAD /v3/OS-TRUST/trusts";
    ListTrustsForTrustor, "identity:list_trusts_for_trustor", "sp", "rule:admin_required or rule:system_reader or rule:trustor",
        "GET /v3/OS-TRUST/trusts?trustor_user_id={trustor_user_id}";
    ListTrustsForTrustee, "identity:list_trusts_for_trustee", "sp", "rule:admin_required or rule:system_reader or rule:trustee",
        "GET /v3/OS-TRUST/trusts?trustee_user_id={trustee_user_id}";
    ListRolesForTrust, "identity:list_roles_for_trust", "sp", "rule:admin_required or rule:system_reader or rule:trustor or rule:trustee",
        "GET /v3/OS-TRUST/trusts/{trust_id}/roles";
    GetRoleForTrust, "identity:get_role_for_trust", "sp", "rule:admin_required or rule:system_reader or rule:trustor or rule:trustee",
        "GET /v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}";
    DeleteTrust, "identity:delete_trust", "sp", "rule:admin_required or rule:trustor",
        "DELETE /v3/OS-TRUST/trusts/{trust_id}";
    GetTrust, "identity:get_trust", "sp", "rule:admin_required or rule:system_reader or rule:trustor or rule:trustee",
        "GET /v3/OS-TRUST/trusts/{trust_id}";
    GetUser, "identity:get_user", "sdp", "rule:admin_required or rule:system_reader or (role:reader and token.domain.id:%(target.user.domain_id)s) or user_id:%(target.user.id)s",
        "GET /v3/users/{user_id}; HEAD /v3/users/{user_id}";
    ListUsers, "identity:list_users", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain_id)s)",
        "GET /v3/users; HEAD /v3/users";
    CreateUser, "identity:create_user", "sdp", "rule:admin_required or (role:manager and token.domain.id:%(target.user.domain_id)s)",
        "POST /v3/users";
    UpdateUser, "identity:update_user", "sdp", "rule:admin_required or (role:manager and token.domain.id:%(target.user.domain_id)s)",
        "PATCH /v3/users/{user_id}";
    DeleteUser, "identity:delete_user", "sdp", "rule:admin_required or (role:manager and token.domain.id:%(target.user.domain_id)s)",
        "DELETE /v3/users/{user_id}";
    RevokeTokensForUser, "identity:revoke_tokens_for_user", "sdp", "rule:admin_or_owner",
        "DELETE /v3/users/{user_id}/tokens";
    RenounceTrust, "vicar:renounce_trust", "p", "rule:trustee",
        "DELETE /v3/OS-TRUST/trusts/{trust_id}?renounce=true";
    GetTrustLineage, "vicar:get_trust_lineage", "sp", "rule:admin_required or rule:system_reader or rule:trustor or rule:trustee",
        "GET /v3/OS-TRUST/trusts/{trust_id}/lineage";
    ListUserDelegations, "vicar:list_user_delegations", "sp", "rule:admin_required or rule:system_reader or rule:owner",
        "GET /v3/users/{user_id}/delegations";
    ChangePassword, "vicar:change_password", "", "@",
        "POST /v3/users/{user_id}/password";
    ListRevokeEvents, "identity:list_revoke_events", "sp", "rule:service_or_admin",
        "GET /v3/OS-REVOKE/events";
}
