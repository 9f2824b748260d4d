//! The table: every operation with who may call it, and with tokens of which scope. Names and defaults are
//! those of Keystone 30.0.0, so that an operator's overrides apply; what is ours begins with `vicar:`. The
//! server's list of routes says which of them ask for an operation.

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
}

macro_rules! operations {
    ($($op:ident, $name:literal, $scopes:literal, $rule:literal;)*) => {
        /// Every operation that policy decides.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Op {
            $(#[doc = concat!("`", $name, "`")] $op,)*
        }

        /// The rows, in the order of [`Op`].
        pub const OPERATIONS: &[Operation] = &[
            $(Operation { op: Op::$op, name: $name, rule: $rule, scopes: $scopes },)*
        ];
    };
}

impl Op {
    /// The operation's row.
    #[expect(clippy::indexing_slicing, reason = "the same macro writes a row for each operation")]
    pub fn row(self) -> &'static Operation {
        &OPERATIONS[self as usize]
    }
}

impl Operation {
    /// The scopes of tokens that may ask for it, in words.
    pub fn scope_words(&self) -> String {
        let all = [('s', "system"), ('d', "domain"), ('p', "project or none")];
        let some = all.iter().filter(|(letter, _)| self.scopes.is_empty() || self.scopes.contains(*letter));
        some.map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
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
    ("admin_or_token_subject", "rule:admin_required or rule:token_subject"),
    ("service_admin_or_token_subject", "rule:service_or_admin or rule:token_subject"),
    ("credential_owner", "user_id:%(target.credential.user_id)s"),
    ("keypair_delegator", "user_id:%(target.credential.delegators)s"),
    ("trustor", "user_id:%(target.trust.trustor_user_id)s"),
    ("trustee", "user_id:%(target.trust.trustee_user_id)s"),
    (
        "trust_manager",
        "role:manager and (project_id:%(target.trust.project_id)s or domain_id:%(target.trust.project_domain_id)s)",
    ),
    (
        "trust_reader",
        "role:reader and (project_id:%(target.trust.project_id)s or domain_id:%(target.trust.project_domain_id)s)",
    ),
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
    GetAuthCatalog, "identity:get_auth_catalog", "", "@";
    GetAuthProjects, "identity:get_auth_projects", "", "@";
    GetAuthDomains, "identity:get_auth_domains", "", "@";
    GetAuthSystem, "identity:get_auth_system", "", "@";
    GetCredential, "identity:get_credential", "sdp", "rule:admin_required or rule:system_reader or rule:credential_owner or rule:keypair_delegator";
    ListCredentials, "identity:list_credentials", "sdp", "rule:admin_required or rule:system_reader or rule:credential_owner";
    CreateCredential, "identity:create_credential", "sdp", "rule:admin_required or rule:credential_owner";
    UpdateCredential, "identity:update_credential", "sdp", "rule:admin_required or rule:credential_owner";
    DeleteCredential, "identity:delete_credential", "sdp", "rule:admin_required or rule:credential_owner or rule:keypair_delegator";
    GetDomain, "identity:get_domain", "sdp", "rule:admin_required or rule:system_reader or token.domain.id:%(target.domain.id)s or token.project.domain.id:%(target.domain.id)s";
    ListDomains, "identity:list_domains", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain.id)s)";
    CreateDomain, "identity:create_domain", "sp", "rule:admin_required";
    UpdateDomain, "identity:update_domain", "sp", "rule:admin_required";
    DeleteDomain, "identity:delete_domain", "sp", "rule:admin_required";
    Ec2GetCredential, "identity:ec2_get_credential", "sp", "rule:admin_required or rule:system_reader or rule:credential_owner or rule:keypair_delegator";
    Ec2ListCredentials, "identity:ec2_list_credentials", "sp", "rule:admin_required or rule:system_reader or rule:owner";
    Ec2CreateCredential, "identity:ec2_create_credential", "sp", "rule:admin_required or (rule:credential_owner and not reader_only:True and any_role:True)";
    Ec2DeleteCredential, "identity:ec2_delete_credential", "sp", "rule:admin_required or (rule:credential_owner and not reader_only:True and any_role:True) or rule:keypair_delegator";
    GetEndpoint, "identity:get_endpoint", "sp", "rule:admin_required or rule:system_reader";
    ListEndpoints, "identity:list_endpoints", "sp", "rule:admin_required or rule:system_reader";
    CreateEndpoint, "identity:create_endpoint", "sp", "rule:admin_required";
    UpdateEndpoint, "identity:update_endpoint", "sp", "rule:admin_required";
    DeleteEndpoint, "identity:delete_endpoint", "sp", "rule:admin_required";
    CheckGrant, "identity:check_grant", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:grant_in_domain and rule:role_of_domain)";
    ListGrants, "identity:list_grants", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:grant_in_domain)";
    CreateGrant, "identity:create_grant", "sdp", "rule:admin_required or (role:admin and rule:grant_in_domain and rule:role_of_domain) or (role:manager and rule:grant_in_domain and rule:domain_managed_target_role)";
    RevokeGrant, "identity:revoke_grant", "sdp", "rule:admin_required or (role:admin and rule:grant_in_domain and rule:role_of_domain) or (role:manager and rule:grant_in_domain and rule:domain_managed_target_role)";
    ListSystemGrantsForUser, "identity:list_system_grants_for_user", "sp", "rule:admin_required or rule:system_reader";
    CheckSystemGrantForUser, "identity:check_system_grant_for_user", "sp", "rule:admin_required or rule:system_reader";
    CreateSystemGrantForUser, "identity:create_system_grant_for_user", "sp", "rule:admin_required";
    RevokeSystemGrantForUser, "identity:revoke_system_grant_for_user", "sp", "rule:admin_required";
    ListSystemGrantsForGroup, "identity:list_system_grants_for_group", "sp", "rule:admin_required or rule:system_reader";
    CheckSystemGrantForGroup, "identity:check_system_grant_for_group", "sp", "rule:admin_required or rule:system_reader";
    CreateSystemGrantForGroup, "identity:create_system_grant_for_group", "sp", "rule:admin_required";
    RevokeSystemGrantForGroup, "identity:revoke_system_grant_for_group", "sp", "rule:admin_required";
    GetGroup, "identity:get_group", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.group.domain_id)s)";
    ListGroups, "identity:list_groups", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.group.domain_id)s)";
    ListGroupsForUser, "identity:list_groups_for_user", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(user_id)s";
    CreateGroup, "identity:create_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s)";
    UpdateGroup, "identity:update_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s)";
    DeleteGroup, "identity:delete_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s)";
    ListUsersInGroup, "identity:list_users_in_group", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.group.domain_id)s)";
    RemoveUserFromGroup, "identity:remove_user_from_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)";
    CheckUserInGroup, "identity:check_user_in_group", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)";
    AddUserToGroup, "identity:add_user_to_group", "sdp", "rule:admin_required or (role:manager and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)";
    GetImpliedRole, "identity:get_implied_role", "sp", "rule:admin_required or rule:system_reader";
    ListImpliedRoles, "identity:list_implied_roles", "sp", "rule:admin_required or rule:system_reader";
    CreateImpliedRole, "identity:create_implied_role", "sp", "rule:admin_required";
    DeleteImpliedRole, "identity:delete_implied_role", "sp", "rule:admin_required";
    ListRoleInferenceRules, "identity:list_role_inference_rules", "sp", "rule:admin_required or rule:system_reader";
    CheckImpliedRole, "identity:check_implied_role", "sp", "rule:admin_required or rule:system_reader";
    GetProject, "identity:get_project", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:project_domain) or rule:project_itself";
    ListProjects, "identity:list_projects", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain_id)s)";
    ListUserProjects, "identity:list_user_projects", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(target.user.id)s";
    CreateProject, "identity:create_project", "sdp", "rule:admin_required or (role:manager and rule:project_domain)";
    UpdateProject, "identity:update_project", "sdp", "rule:admin_required or (role:manager and rule:project_domain)";
    DeleteProject, "identity:delete_project", "sdp", "rule:admin_required or (role:manager and rule:project_domain)";
    ListProjectTags, "identity:list_project_tags", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:project_domain) or rule:project_itself";
    GetProjectTag, "identity:get_project_tag", "sdp", "rule:admin_required or rule:system_reader or (role:reader and rule:project_domain) or rule:project_itself";
    UpdateProjectTags, "identity:update_project_tags", "sdp", "rule:admin_required or (role:manager and rule:project_domain)";
    CreateProjectTag, "identity:create_project_tag", "sdp", "rule:admin_required or (role:manager and rule:project_domain)";
    DeleteProjectTags, "identity:delete_project_tags", "sdp", "rule:admin_required or (role:manager and rule:project_domain)";
    DeleteProjectTag, "identity:delete_project_tag", "sdp", "rule:admin_required or (role:manager and rule:project_domain)";
    GetRegion, "identity:get_region", "sdp", "@";
    ListRegions, "identity:list_regions", "sdp", "@";
    CreateRegion, "identity:create_region", "sp", "rule:admin_required";
    UpdateRegion, "identity:update_region", "sp", "rule:admin_required";
    DeleteRegion, "identity:delete_region", "sp", "rule:admin_required";
    GetRole, "identity:get_role", "sdp", "rule:admin_required or rule:system_reader or (role:manager and rule:domain_managed_target_role)";
    ListRoles, "identity:list_roles", "sdp", "rule:admin_required or rule:system_reader or (role:manager and not domain_id:None)";
    CreateRole, "identity:create_role", "sp", "rule:admin_required";
    UpdateRole, "identity:update_role", "sp", "rule:admin_required";
    DeleteRole, "identity:delete_role", "sp", "rule:admin_required";
    GetDomainRole, "identity:get_domain_role", "sp", "rule:admin_required or rule:system_reader";
    ListDomainRoles, "identity:list_domain_roles", "sp", "rule:admin_required or rule:system_reader";
    CreateDomainRole, "identity:create_domain_role", "sp", "rule:admin_required";
    UpdateDomainRole, "identity:update_domain_role", "sp", "rule:admin_required";
    DeleteDomainRole, "identity:delete_domain_role", "sp", "rule:admin_required";
    ListRoleAssignments, "identity:list_role_assignments", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain_id)s)";
    ListRoleAssignmentsForTree, "identity:list_role_assignments_for_tree", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain_id)s)";
    S3tokensValidate, "identity:s3tokens_validate", "sdp", "rule:service_or_admin";
    Ec2tokensValidate, "identity:ec2tokens_validate", "sdp", "rule:service_or_admin";
    GetService, "identity:get_service", "sp", "rule:admin_required or rule:system_reader";
    ListServices, "identity:list_services", "sp", "rule:admin_required or rule:system_reader";
    CreateService, "identity:create_service", "sp", "rule:admin_required";
    UpdateService, "identity:update_service", "sp", "rule:admin_required";
    DeleteService, "identity:delete_service", "sp", "rule:admin_required";
    CheckToken, "identity:check_token", "sdp", "rule:admin_required or rule:system_reader or rule:token_subject";
    ValidateToken, "identity:validate_token", "sdp", "rule:admin_required or rule:system_reader or rule:service_role or rule:token_subject";
    RevokeToken, "identity:revoke_token", "sdp", "rule:admin_required or rule:token_subject";
    CreateTrust, "identity:create_trust", "p", "rule:trustor";
    ListTrusts, "identity:list_trusts", "sp", "rule:admin_required or rule:system_reader";
    ListTrustsForTrustor, "identity:list_trusts_for_trustor", "sp", "rule:admin_required or rule:system_reader or rule:trustor";
    ListTrustsForTrustee, "identity:list_trusts_for_trustee", "sp", "rule:admin_required or rule:system_reader or rule:trustee";
    ListRolesForTrust, "identity:list_roles_for_trust", "sp", "rule:admin_required or rule:system_reader or rule:trustor or rule:trustee";
    GetRoleForTrust, "identity:get_role_for_trust", "sp", "rule:admin_required or rule:system_reader or rule:trustor or rule:trustee";
    DeleteTrust, "identity:delete_trust", "sp", "rule:admin_required or rule:trustor";
    GetTrust, "identity:get_trust", "sp", "rule:admin_required or rule:system_reader or rule:trustor or rule:trustee";
    GetUser, "identity:get_user", "sdp", "rule:admin_required or rule:system_reader or (role:reader and token.domain.id:%(target.user.domain_id)s) or user_id:%(target.user.id)s";
    ListUsers, "identity:list_users", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain_id)s)";
    CreateUser, "identity:create_user", "sdp", "rule:admin_required or (role:manager and token.domain.id:%(target.user.domain_id)s)";
    UpdateUser, "identity:update_user", "sdp", "rule:admin_required or (role:manager and token.domain.id:%(target.user.domain_id)s)";
    DeleteUser, "identity:delete_user", "sdp", "rule:admin_required or (role:manager and token.domain.id:%(target.user.domain_id)s)";
    RevokeTokensForUser, "identity:revoke_tokens_for_user", "sdp", "rule:admin_or_owner";
    RenounceTrust, "vicar:renounce_trust", "p", "rule:trustee";
    GetTrustLineage, "vicar:get_trust_lineage", "sdp", "rule:admin_required or rule:system_reader or rule:trustor or rule:trustee or rule:trust_reader";
    EndTrustOnProject, "vicar:end_trust_on_project", "dp", "rule:trust_manager";
    SuspendTrust, "vicar:suspend_trust", "sdp", "rule:admin_required or rule:trustor or rule:trust_manager";
    ResumeTrust, "vicar:resume_trust", "sdp", "rule:admin_required or rule:trustor or rule:trust_manager";
    EndTrustTokens, "vicar:end_trust_tokens", "sdp", "rule:admin_required or rule:trustor or rule:trust_manager";
    AdoptTrust, "vicar:adopt_trust", "p", "project_id:%(target.trust.project_id)s";
    AdoptAnyTrust, "vicar:adopt_any_trust", "sdp", "rule:admin_required or rule:trust_manager";
    ListProjectDelegations, "vicar:list_project_delegations", "sdp", "rule:admin_required or rule:system_reader or (role:reader and (rule:project_itself or rule:project_domain))";
    ListDomainDelegations, "vicar:list_domain_delegations", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain.id)s)";
    ListUserDelegations, "vicar:list_user_delegations", "sp", "rule:admin_required or rule:system_reader or rule:owner";
    ChangePassword, "vicar:change_password", "", "@";
    GetDomainDelegationPolicy, "vicar:get_domain_delegation_policy", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.domain.id)s)";
    SetDomainDelegationPolicy, "vicar:set_domain_delegation_policy", "sp", "rule:admin_required";
    GetProjectDelegationPolicy, "vicar:get_project_delegation_policy", "sdp", "rule:admin_required or rule:system_reader or (role:reader and (rule:project_domain or rule:project_itself))";
    SetProjectDelegationPolicy, "vicar:set_project_delegation_policy", "sdp", "rule:admin_required or (role:manager and rule:project_domain)";
    GetUserDelegationPolicy, "vicar:get_user_delegation_policy", "sdp", "rule:admin_required or rule:system_reader or (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(target.user.id)s";
    SetUserDelegationPolicy, "vicar:set_user_delegation_policy", "sdp", "rule:admin_required or (role:manager and token.domain.id:%(target.user.domain_id)s)";
    ListTrustServices, "vicar:list_trust_services", "", "@";
    SetTrustService, "vicar:set_trust_service", "sp", "rule:admin_required";
    ExplainOthers, "vicar:explain_others", "sp", "rule:admin_required";
    ListRevokeEvents, "identity:list_revoke_events", "sp", "rule:service_or_admin";
    GetLimitModel, "identity:get_limit_model", "sdp", "@";
    GetLimit, "identity:get_limit", "sdp", "rule:admin_required or rule:system_reader or domain_id:%(target.limit.domain.id)s or domain_id:%(target.limit.project.domain_id)s or project_id:%(target.limit.project_id)s";
    ListLimits, "identity:list_limits", "sdp", "@";
    CreateLimits, "identity:create_limits", "sp", "rule:admin_required";
    UpdateLimit, "identity:update_limit", "sp", "rule:admin_required";
    DeleteLimit, "identity:delete_limit", "sp", "rule:admin_required";
    GetRegisteredLimit, "identity:get_registered_limit", "sdp", "@";
    ListRegisteredLimits, "identity:list_registered_limits", "sdp", "@";
    CreateRegisteredLimits, "identity:create_registered_limits", "sp", "rule:admin_required";
    UpdateRegisteredLimit, "identity:update_registered_limit", "sp", "rule:admin_required";
    DeleteRegisteredLimit, "identity:delete_registered_limit", "sp", "rule:admin_required";

    // application credentials
    GetApplicationCredential, "identity:get_application_credential", "sp", "rule:admin_required or rule:system_reader or rule:owner";
    ListApplicationCredentials, "identity:list_application_credentials", "sp", "rule:admin_required or rule:system_reader or rule:owner";
    CreateApplicationCredential, "identity:create_application_credential", "p", "rule:owner";
    DeleteApplicationCredential, "identity:delete_application_credential", "sp", "rule:admin_or_owner";
    GetAccessRule, "identity:get_access_rule", "sp", "rule:system_reader or user_id:%(target.user.id)s";
    ListAccessRules, "identity:list_access_rules", "sp", "rule:system_reader or user_id:%(target.user.id)s";
    DeleteAccessRule, "identity:delete_access_rule", "sp", "(role:admin and system_scope:all) or user_id:%(target.user.id)s";

    // OAuth1
    GetConsumer, "identity:get_consumer", "sp", "rule:admin_required or rule:system_reader";
    ListConsumers, "identity:list_consumers", "sp", "rule:admin_required or rule:system_reader";
    CreateConsumer, "identity:create_consumer", "sp", "rule:admin_required";
    UpdateConsumer, "identity:update_consumer", "sp", "rule:admin_required";
    DeleteConsumer, "identity:delete_consumer", "sp", "rule:admin_required";
    AuthorizeRequestToken, "identity:authorize_request_token", "p", "rule:admin_required";
    GetAccessToken, "identity:get_access_token", "p", "rule:admin_required";
    GetAccessTokenRole, "identity:get_access_token_role", "p", "rule:admin_required";
    ListAccessTokens, "identity:list_access_tokens", "p", "rule:admin_required";
    ListAccessTokenRoles, "identity:list_access_token_roles", "p", "rule:admin_required";
    DeleteAccessToken, "identity:delete_access_token", "p", "rule:admin_required";

    // OAuth2

    // endpoint filters
    CreateEndpointGroup, "identity:create_endpoint_group", "sp", "rule:admin_required";
    ListEndpointGroups, "identity:list_endpoint_groups", "sp", "rule:admin_required or rule:system_reader";
    GetEndpointGroup, "identity:get_endpoint_group", "sp", "rule:admin_required or rule:system_reader";
    UpdateEndpointGroup, "identity:update_endpoint_group", "sp", "rule:admin_required";
    DeleteEndpointGroup, "identity:delete_endpoint_group", "sp", "rule:admin_required";
    ListProjectsAssociatedWithEndpointGroup, "identity:list_projects_associated_with_endpoint_group", "sp", "rule:admin_required or rule:system_reader";
    ListEndpointsAssociatedWithEndpointGroup, "identity:list_endpoints_associated_with_endpoint_group", "sp", "rule:admin_required or rule:system_reader";
    GetEndpointGroupInProject, "identity:get_endpoint_group_in_project", "sp", "rule:admin_required or rule:system_reader";
    ListEndpointGroupsForProject, "identity:list_endpoint_groups_for_project", "sp", "rule:admin_required or rule:system_reader";
    AddEndpointGroupToProject, "identity:add_endpoint_group_to_project", "sp", "rule:admin_required";
    RemoveEndpointGroupFromProject, "identity:remove_endpoint_group_from_project", "sp", "rule:admin_required";
    ListProjectsForEndpoint, "identity:list_projects_for_endpoint", "sp", "rule:admin_required or rule:system_reader";
    AddEndpointToProject, "identity:add_endpoint_to_project", "sp", "rule:admin_required";
    CheckEndpointInProject, "identity:check_endpoint_in_project", "sp", "rule:admin_required or rule:system_reader";
    ListEndpointsForProject, "identity:list_endpoints_for_project", "sp", "rule:admin_required or rule:system_reader";
    RemoveEndpointFromProject, "identity:remove_endpoint_from_project", "sp", "rule:admin_required";

    // policies and their endpoints
    GetPolicy, "identity:get_policy", "sp", "rule:admin_required or rule:system_reader";
    ListPolicies, "identity:list_policies", "sp", "rule:admin_required or rule:system_reader";
    CreatePolicy, "identity:create_policy", "sp", "rule:admin_required";
    UpdatePolicy, "identity:update_policy", "sp", "rule:admin_required";
    DeletePolicy, "identity:delete_policy", "sp", "rule:admin_required";
    CreatePolicyAssociationForEndpoint, "identity:create_policy_association_for_endpoint", "sp", "rule:admin_required";
    CheckPolicyAssociationForEndpoint, "identity:check_policy_association_for_endpoint", "sp", "rule:admin_required or rule:system_reader";
    DeletePolicyAssociationForEndpoint, "identity:delete_policy_association_for_endpoint", "sp", "rule:admin_required";
    CreatePolicyAssociationForService, "identity:create_policy_association_for_service", "sp", "rule:admin_required";
    CheckPolicyAssociationForService, "identity:check_policy_association_for_service", "sp", "rule:admin_required or rule:system_reader";
    DeletePolicyAssociationForService, "identity:delete_policy_association_for_service", "sp", "rule:admin_required";
    CreatePolicyAssociationForRegionAndService, "identity:create_policy_association_for_region_and_service", "sp", "rule:admin_required";
    CheckPolicyAssociationForRegionAndService, "identity:check_policy_association_for_region_and_service", "sp", "rule:admin_required or rule:system_reader";
    DeletePolicyAssociationForRegionAndService, "identity:delete_policy_association_for_region_and_service", "sp", "rule:admin_required";
    GetPolicyForEndpoint, "identity:get_policy_for_endpoint", "sp", "rule:admin_required or rule:system_reader";
    ListEndpointsForPolicy, "identity:list_endpoints_for_policy", "sp", "rule:admin_required or rule:system_reader";

    // configuration of domains
    CreateDomainConfig, "identity:create_domain_config", "sp", "rule:admin_required";
    GetDomainConfig, "identity:get_domain_config", "sp", "rule:admin_required or rule:system_reader";
    GetSecurityComplianceDomainConfig, "identity:get_security_compliance_domain_config", "sdp", "@";
    UpdateDomainConfig, "identity:update_domain_config", "sp", "rule:admin_required";
    DeleteDomainConfig, "identity:delete_domain_config", "sp", "rule:admin_required";
    GetDomainConfigDefault, "identity:get_domain_config_default", "sp", "rule:admin_required or rule:system_reader";

    // federation
    GetIdentityProvider, "identity:get_identity_provider", "sp", "rule:admin_required or rule:system_reader";
    ListIdentityProviders, "identity:list_identity_providers", "sp", "rule:admin_required or rule:system_reader";
    CreateIdentityProvider, "identity:create_identity_provider", "sp", "rule:admin_required";
    UpdateIdentityProvider, "identity:update_identity_provider", "sp", "rule:admin_required";
    DeleteIdentityProvider, "identity:delete_identity_provider", "sp", "rule:admin_required";
    GetProtocol, "identity:get_protocol", "sp", "rule:admin_required or rule:system_reader";
    ListProtocols, "identity:list_protocols", "sp", "rule:admin_required or rule:system_reader";
    CreateProtocol, "identity:create_protocol", "sp", "rule:admin_required";
    UpdateProtocol, "identity:update_protocol", "sp", "rule:admin_required";
    DeleteProtocol, "identity:delete_protocol", "sp", "rule:admin_required";
    GetMapping, "identity:get_mapping", "sp", "rule:admin_required or rule:system_reader";
    ListMappings, "identity:list_mappings", "sp", "rule:admin_required or rule:system_reader";
    CreateMapping, "identity:create_mapping", "sp", "rule:admin_required";
    UpdateMapping, "identity:update_mapping", "sp", "rule:admin_required";
    DeleteMapping, "identity:delete_mapping", "sp", "rule:admin_required";
    GetServiceProvider, "identity:get_service_provider", "sp", "rule:admin_required or rule:system_reader";
    ListServiceProviders, "identity:list_service_providers", "sp", "rule:admin_required or rule:system_reader";
    CreateServiceProvider, "identity:create_service_provider", "sp", "rule:admin_required";
    UpdateServiceProvider, "identity:update_service_provider", "sp", "rule:admin_required";
    DeleteServiceProvider, "identity:delete_service_provider", "sp", "rule:admin_required";

    // certificates and lists of PKI tokens
}
