//! The JSON home document: relations of what is served, with paths to fill in. Relations and
//! parameters are named as in OpenStack's API reference.

use serde_json::{Map, Value, json};

const BASE: &str = "https://docs.openstack.org/api/openstack-identity/3";

/// What a resource belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    /// The API itself.
    Core,
    /// An extension of this name.
    Ext(&'static str),
}

use Of::{Core, Ext};

/// Relation and path of every resource.
const RESOURCES: &[(Of, &str, &str)] = &[
    (Core, "auth_catalog", "/auth/catalog"),
    (Core, "auth_domains", "/auth/domains"),
    (Core, "auth_projects", "/auth/projects"),
    (Core, "auth_system", "/auth/system"),
    (Core, "auth_tokens", "/auth/tokens"),
    (Core, "credential", "/credentials/{credential_id}"),
    (Core, "credentials", "/credentials"),
    (Core, "domain", "/domains/{domain_id}"),
    (Core, "domain_group_role", "/domains/{domain_id}/groups/{group_id}/roles/{role_id}"),
    (Core, "domain_group_roles", "/domains/{domain_id}/groups/{group_id}/roles"),
    (Core, "domain_user_role", "/domains/{domain_id}/users/{user_id}/roles/{role_id}"),
    (Core, "domain_user_roles", "/domains/{domain_id}/users/{user_id}/roles"),
    (Core, "domains", "/domains"),
    (Core, "endpoint", "/endpoints/{endpoint_id}"),
    (Core, "endpoints", "/endpoints"),
    (Core, "group", "/groups/{group_id}"),
    (Core, "group_user", "/groups/{group_id}/users/{user_id}"),
    (Core, "group_users", "/groups/{group_id}/users"),
    (Core, "groups", "/groups"),
    (Core, "implied_role", "/roles/{prior_role_id}/implies/{implied_role_id}"),
    (Core, "implied_roles", "/roles/{prior_role_id}/implies"),
    (Core, "project", "/projects/{project_id}"),
    (Core, "project_group_role", "/projects/{project_id}/groups/{group_id}/roles/{role_id}"),
    (Core, "project_group_roles", "/projects/{project_id}/groups/{group_id}/roles"),
    (Core, "project_tags", "/projects/{project_id}/tags/{value}"),
    (Core, "project_user_role", "/projects/{project_id}/users/{user_id}/roles/{role_id}"),
    (Core, "project_user_roles", "/projects/{project_id}/users/{user_id}/roles"),
    (Core, "projects", "/projects"),
    (Core, "region", "/regions/{region_id}"),
    (Core, "regions", "/regions"),
    (Core, "role", "/roles/{role_id}"),
    (Core, "role_assignments", "/role_assignments"),
    (Core, "role_inferences", "/role_inferences"),
    (Core, "roles", "/roles"),
    (Core, "service", "/services/{service_id}"),
    (Core, "services", "/services"),
    (Core, "system_group_role", "/system/groups/{group_id}/roles/{role_id}"),
    (Core, "system_group_roles", "/system/groups/{group_id}/roles"),
    (Core, "system_user_role", "/system/users/{user_id}/roles/{role_id}"),
    (Core, "system_user_roles", "/system/users/{user_id}/roles"),
    (Core, "user", "/users/{user_id}"),
    (Core, "user_change_password", "/users/{user_id}/password"),
    (Core, "user_groups", "/users/{user_id}/groups"),
    (Core, "user_projects", "/users/{user_id}/projects"),
    (Core, "user_tokens", "/users/{user_id}/tokens"),
    (Core, "users", "/users"),
    (Ext("OS-EC2"), "ec2tokens", "/ec2tokens"),
    (Ext("OS-EC2"), "user_credential", "/users/{user_id}/credentials/OS-EC2/{credential_id}"),
    (Ext("OS-EC2"), "user_credentials", "/users/{user_id}/credentials/OS-EC2"),
    (
        Ext("OS-INHERIT"),
        "domain_group_role_inherited_to_projects",
        "/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
    ),
    (
        Ext("OS-INHERIT"),
        "domain_group_roles_inherited_to_projects",
        "/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects",
    ),
    (
        Ext("OS-INHERIT"),
        "domain_user_role_inherited_to_projects",
        "/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
    ),
    (
        Ext("OS-INHERIT"),
        "domain_user_roles_inherited_to_projects",
        "/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects",
    ),
    (
        Ext("OS-INHERIT"),
        "project_group_role_inherited_to_projects",
        "/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
    ),
    (
        Ext("OS-INHERIT"),
        "project_user_role_inherited_to_projects",
        "/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
    ),
    (Ext("OS-REVOKE"), "events", "/OS-REVOKE/events"),
    (Ext("OS-TRUST"), "trust", "/OS-TRUST/trusts/{trust_id}"),
    (Ext("OS-TRUST"), "trust_role", "/OS-TRUST/trusts/{trust_id}/roles/{role_id}"),
    (Ext("OS-TRUST"), "trust_roles", "/OS-TRUST/trusts/{trust_id}/roles"),
    (Ext("OS-TRUST"), "trusts", "/OS-TRUST/trusts"),
    (Ext("s3tokens"), "s3tokens", "/s3tokens"),
];

/// The relation of a parameter of a path.
fn parameter(name: &str) -> String {
    match name {
        "value" => format!("{BASE}/param/tag_value"),
        "prior_role_id" | "implied_role_id" => format!("{BASE}/param/role_id"),
        "trust_id" => format!("{BASE}/ext/OS-TRUST/1.0/param/trust_id"),
        other => format!("{BASE}/param/{other}"),
    }
}

/// The document; `prefix` is what paths lack where it is asked for: `/v3` at the root.
pub fn document(prefix: &str) -> Value {
    let mut resources = Map::new();
    for (of, name, path) in RESOURCES {
        let relation = match of {
            Core => format!("{BASE}/rel/{name}"),
            Ext(extension) => format!("{BASE}/ext/{extension}/1.0/rel/{name}"),
        };
        let vars: Map<String, Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| (name.to_owned(), parameter(name).into()))
            .collect();
        let href = format!("{prefix}{path}");
        let resource = if vars.is_empty() {
            json!({"href": href})
        } else {
            json!({"href-template": href, "href-vars": vars})
        };
        resources.insert(relation, resource);
    }
    json!({"resources": resources})
}
