//! The tables of Keystone 30.0.0.

use super::*;

// Why a row is not deleted by a generated statement.
const EACH_BY_ITSELF: &str = "what a domain owns is deleted before, each by itself: tokens and trusts end";
const ENDED: &str = "a trust is ended with all below it, and its row stays for those who ask how";
const EVENT: &str = "an event outlives what it names, and is deleted when no token can be as old";
const A_LIST: &str = "a list in a string; a role that is gone gives nothing";
const UNUSED: &str = "a table of former Keystones, which nobody reads";
const LIMITS_NOTHING: &str = "as Keystone does; it limits nothing any more";

/// Keystone's tables, each after the tables it refers to, so that they can be created in this order
/// on a database that checks foreign keys at once. `alembic_version` is among them; its rows are
/// [`ALEMBIC_HEADS`](super::ALEMBIC_HEADS).
///
/// Two things Keystone's migrations make are not here. One is a row: the project that is the domain
/// of all domains, which `project.domain_id` of every domain refers to; whoever fills a new database
/// inserts it first. The other is four functions in PostgreSQL that no trigger calls.
#[rustfmt::skip] // which would spread it over a thousand lines
pub const KEYSTONE: &[Table] = &[
    // Migrations
    Table {
        name: "alembic_version",
        columns: &[varchar("version_num", 32)],
        primary_key: &["version_num"],
        primary_key_name: Some("alembic_version_pkc"),
        ..Table::EMPTY
    },
    // Identity
    Table {
        name: "user",
        columns: &[
            varchar("id", 64), text("extra").null(), boolean("enabled").null(),
            varchar("default_project_id", 64).null().forgets("project"),
            datetime("created_at").null(), date("last_active_at").null(),
            varchar("domain_id", 64).by_rules("domain", EACH_BY_ITSELF),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["id", "domain_id"]).named("ixu_user_id_domain_id")],
        indexes: &[
            index("ix_default_project_id", &["default_project_id"]),
            index("domain_id", &["domain_id"]).on(Scope::Only(Dialect::Mysql)),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "local_user",
        columns: &[
            serial("id"),
            varchar("user_id", 64).goes_with("user"),
            varchar("domain_id", 64).follows("domain", "user_id"),
            varchar("name", 255).collated(), integer("failed_auth_count").null(),
            datetime("failed_auth_at").null(),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["domain_id", "name"]), unique(&["user_id"])],
        foreign_keys: &[
            references(&["user_id", "domain_id"], "user", &["id", "domain_id"])
                .named("local_user_user_id_fkey")
                .on_delete_cascade()
                .on_update_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "nonlocal_user",
        columns: &[
            varchar("domain_id", 64).follows("domain", "user_id"),
            varchar("name", 255).collated(),
            varchar("user_id", 64).goes_with("user"),
        ],
        primary_key: &["domain_id", "name"],
        uniques: &[unique(&["user_id"]).named("ixu_nonlocal_user_user_id")],
        foreign_keys: &[
            references(&["user_id", "domain_id"], "user", &["id", "domain_id"])
                .named("nonlocal_user_user_id_fkey")
                .on_delete_cascade()
                .on_update_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "password",
        columns: &[
            serial("id"),
            integer("local_user_id").goes_with("local_user"),
            datetime("expires_at").null(), boolean("self_service").default_to("0"),
            varchar("password_hash", 255).null(), bigint("created_at_int").default_to("0"),
            bigint("expires_at_int").null(), datetime("created_at"),
        ],
        primary_key: &["id"],
        foreign_keys: &[references(&["local_user_id"], "local_user", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "user_option",
        columns: &[
            varchar("user_id", 64).goes_with("user"),
            varchar("option_id", 4), text("option_value").null(),
        ],
        primary_key: &["user_id", "option_id"],
        foreign_keys: &[references(&["user_id"], "user", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "group",
        columns: &[
            varchar("id", 64),
            varchar("domain_id", 64).by_rules("domain", EACH_BY_ITSELF),
            varchar("name", 64).collated(), text("description").null(), text("extra").null(),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["domain_id", "name"]).named("ixu_group_name_domain_id")],
        ..Table::EMPTY
    },
    Table {
        name: "user_group_membership",
        columns: &[varchar("user_id", 64).goes_with("user"), varchar("group_id", 64).goes_with("group")],
        primary_key: &["user_id", "group_id"],
        foreign_keys: &[
            references(&["user_id"], "user", &["id"]).named("fk_user_group_membership_user_id"),
            references(&["group_id"], "group", &["id"]).named("fk_user_group_membership_group_id"),
        ],
        indexes: &[index("group_id", &["group_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "id_mapping",
        columns: &[
            varchar("public_id", 64).goes_with("user").goes_with("group"),
            varchar("domain_id", 64).goes_with("domain"),
            varchar("local_id", 255), enumeration("entity_type", "entity_type", &["user", "group"]),
        ],
        primary_key: &["public_id"],
        uniques: &[unique(&["domain_id", "local_id", "entity_type"]).named("domain_id")],
        ..Table::EMPTY
    },
    // Projects, domains and domain configuration
    Table {
        name: "project",
        columns: &[
            varchar("id", 64), varchar("name", 64).collated(), text("extra").null(),
            text("description").null(), boolean("enabled").null(),
            varchar("domain_id", 64).by_rules("domain", EACH_BY_ITSELF),
            varchar("parent_id", 64).null().refuses("project"),
            boolean("is_domain").default_to("0"),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["domain_id", "name"]).named("ixu_project_name_domain_id")],
        foreign_keys: &[
            references(&["domain_id"], "project", &["id"]).named("project_domain_id_fkey"),
            references(&["parent_id"], "project", &["id"]).named("project_parent_id_fkey"),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "project_option",
        columns: &[
            varchar("project_id", 64).goes_with("project"),
            varchar("option_id", 4), text("option_value").null(),
        ],
        primary_key: &["project_id", "option_id"],
        foreign_keys: &[references(&["project_id"], "project", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "project_tag",
        columns: &[varchar("project_id", 64).goes_with("project"), varchar("name", 255).collated()],
        primary_key: &["project_id", "name"],
        uniques: &[unique(&["project_id", "name"]).on(Scope::Except(Dialect::Mysql))],
        foreign_keys: &[references(&["project_id"], "project", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "config_register",
        columns: &[varchar("type", 64), varchar("domain_id", 64).goes_with("domain")],
        primary_key: &["type"],
        ..Table::EMPTY
    },
    Table {
        name: "sensitive_config",
        columns: &[
            varchar("domain_id", 64).goes_with("domain"),
            varchar("group", 255), varchar("option", 255), text("value"),
        ],
        primary_key: &["domain_id", "group", "option"],
        ..Table::EMPTY
    },
    Table {
        name: "whitelisted_config",
        columns: &[
            varchar("domain_id", 64).goes_with("domain"),
            varchar("group", 255), varchar("option", 255), text("value"),
        ],
        primary_key: &["domain_id", "group", "option"],
        ..Table::EMPTY
    },
    // Roles and assignments
    Table {
        name: "role",
        columns: &[
            varchar("id", 64), varchar("name", 255).collated(), text("extra").null(),
            varchar("domain_id", 64).default_to("<<null>>").by_rules("domain", EACH_BY_ITSELF),
            varchar("description", 255).null(),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["name", "domain_id"]).named("ixu_role_name_domain_id")],
        ..Table::EMPTY
    },
    Table {
        name: "role_option",
        columns: &[
            varchar("role_id", 64).goes_with("role"),
            varchar("option_id", 4), text("option_value").null(),
        ],
        primary_key: &["role_id", "option_id"],
        foreign_keys: &[references(&["role_id"], "role", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "implied_role",
        columns: &[
            varchar("prior_role_id", 64).goes_with("role"),
            varchar("implied_role_id", 64).goes_with("role"),
        ],
        primary_key: &["prior_role_id", "implied_role_id"],
        foreign_keys: &[
            references(&["prior_role_id"], "role", &["id"])
                .named("implied_role_prior_role_id_fkey")
                .on_delete_cascade(),
            references(&["implied_role_id"], "role", &["id"])
                .named("implied_role_implied_role_id_fkey")
                .on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "assignment",
        columns: &[
            enumeration("type", "type", &["UserProject", "GroupProject", "UserDomain", "GroupDomain"]),
            varchar("actor_id", 64)
                .goes_with("user").when("type IN ('UserProject', 'UserDomain')")
                .goes_with("group").when("type IN ('GroupProject', 'GroupDomain')"),
            varchar("target_id", 64)
                .goes_with("project").when("type IN ('UserProject', 'GroupProject')")
                .goes_with("domain").when("type IN ('UserDomain', 'GroupDomain')"),
            varchar("role_id", 64).goes_with("role"),
            boolean("inherited"),
        ],
        primary_key: &["type", "actor_id", "target_id", "role_id", "inherited"],
        foreign_keys: &[
            references(&["role_id"], "role", &["id"])
                .named("fk_assignment_role_id")
                .on(Scope::Only(Dialect::Sqlite)),
        ],
        indexes: &[index("ix_actor_id", &["actor_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "system_assignment",
        columns: &[
            varchar("type", 64),
            varchar("actor_id", 64)
                .goes_with("user").when("type = 'UserSystem'")
                .goes_with("group").when("type = 'GroupSystem'"),
            varchar("target_id", 64).kept("system", "there is one system, and it stays"),
            varchar("role_id", 64).goes_with("role"),
            boolean("inherited"),
        ],
        primary_key: &["type", "actor_id", "target_id", "role_id", "inherited"],
        ..Table::EMPTY
    },
    // Catalog
    Table {
        name: "region",
        columns: &[
            varchar("id", 255), varchar("description", 255),
            varchar("parent_region_id", 255).null()
                .by_rules("region", "the regions below are deleted before, each by itself"),
            text("extra").null(),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "service",
        columns: &[
            varchar("id", 64), varchar("type", 255).null(), boolean("enabled").default_to("1"),
            text("extra").null(),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "endpoint",
        columns: &[
            varchar("id", 64),
            varchar("legacy_endpoint_id", 64).null()
                .kept("endpoint", "the id that a v2 API showed for several endpoints"),
            varchar("interface", 8),
            varchar("service_id", 64).goes_with("service"),
            text("url"), text("extra").null(), boolean("enabled").default_to("1"),
            varchar("region_id", 255).null().refuses("region"),
        ],
        primary_key: &["id"],
        foreign_keys: &[
            references(&["service_id"], "service", &["id"]).named("endpoint_service_id_fkey"),
            references(&["region_id"], "region", &["id"]).named("fk_endpoint_region_id"),
        ],
        indexes: &[index("service_id", &["service_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "endpoint_group",
        columns: &[
            varchar("id", 64), varchar("name", 255).collated(), text("description").null(), text("filters"),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "project_endpoint",
        columns: &[
            varchar("endpoint_id", 64).goes_with("endpoint"),
            varchar("project_id", 64).goes_with("project"),
        ],
        primary_key: &["endpoint_id", "project_id"],
        ..Table::EMPTY
    },
    Table {
        name: "project_endpoint_group",
        columns: &[
            varchar("endpoint_group_id", 64).goes_with("endpoint_group"),
            varchar("project_id", 64).goes_with("project"),
        ],
        primary_key: &["endpoint_group_id", "project_id"],
        foreign_keys: &[references(&["endpoint_group_id"], "endpoint_group", &["id"])],
        indexes: &[index("idx_project_id", &["project_id"])],
        ..Table::EMPTY
    },
    // Federation
    Table {
        name: "identity_provider",
        columns: &[
            varchar("id", 64), boolean("enabled"), text("description").null(),
            varchar("domain_id", 64).by_rules("domain", EACH_BY_ITSELF),
            integer("authorization_ttl").null(),
        ],
        primary_key: &["id"],
        indexes: &[index("domain_id", &["domain_id"]).on(Scope::Only(Dialect::Mysql))],
        ..Table::EMPTY
    },
    Table {
        name: "idp_remote_ids",
        columns: &[varchar("idp_id", 64).null().goes_with("identity_provider"), varchar("remote_id", 255)],
        primary_key: &["remote_id"],
        foreign_keys: &[references(&["idp_id"], "identity_provider", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "federation_protocol",
        columns: &[
            varchar("id", 64),
            varchar("idp_id", 64).goes_with("identity_provider"),
            varchar("mapping_id", 64).kept("mapping", "a protocol without its mapping lets nobody in"),
            varchar("remote_id_attribute", 64).null(),
        ],
        primary_key: &["id", "idp_id"],
        foreign_keys: &[references(&["idp_id"], "identity_provider", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "mapping",
        columns: &[
            varchar("id", 64), text("rules"), varchar("schema_version", 5).default_to("1.0"),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "service_provider",
        columns: &[
            varchar("auth_url", 256), varchar("id", 64), boolean("enabled"),
            text("description").null(), varchar("sp_url", 256), varchar("relay_state_prefix", 256),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "federated_user",
        columns: &[
            serial("id"),
            varchar("user_id", 64).goes_with("user"),
            varchar("idp_id", 64).goes_with("identity_provider"),
            varchar("protocol_id", 64).follows("federation_protocol", "idp_id"),
            varchar("unique_id", 255), varchar("display_name", 255).null().collated(),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["idp_id", "protocol_id", "unique_id"])],
        foreign_keys: &[
            references(&["protocol_id", "idp_id"], "federation_protocol", &["id", "idp_id"])
                .named("federated_user_protocol_id_fkey")
                .on_delete_cascade(),
            references(&["user_id"], "user", &["id"]).on_delete_cascade(),
            references(&["idp_id"], "identity_provider", &["id"]).on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "expiring_user_group_membership",
        columns: &[
            varchar("user_id", 64).goes_with("user"),
            varchar("group_id", 64).goes_with("group"),
            varchar("idp_id", 64).goes_with("identity_provider"),
            datetime("last_verified"),
        ],
        primary_key: &["user_id", "group_id", "idp_id"],
        foreign_keys: &[
            references(&["user_id"], "user", &["id"]), references(&["group_id"], "group", &["id"]),
            references(&["idp_id"], "identity_provider", &["id"]).on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    // Credentials and application credentials
    Table {
        name: "credential",
        columns: &[
            varchar("id", 64),
            varchar("user_id", 64).goes_with("user"),
            varchar("project_id", 64).null().goes_with("project"),
            varchar("type", 255), text("extra").null(), varchar("key_hash", 64),
            text("encrypted_blob"),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "application_credential",
        columns: &[
            serial("internal_id"), varchar("id", 64), varchar("name", 255).collated(),
            varchar("secret_hash", 255), text("description").null(),
            varchar("user_id", 64).goes_with("user"),
            varchar("project_id", 64).null().goes_with("project"),
            bigint("expires_at").null(), varchar("system", 64).null(),
            boolean("unrestricted").null(),
        ],
        primary_key: &["internal_id"],
        uniques: &[unique(&["user_id", "name"]).named("duplicate_app_cred_constraint")],
        ..Table::EMPTY
    },
    Table {
        name: "application_credential_role",
        columns: &[
            integer("application_credential_id").goes_with("application_credential").by("internal_id"),
            varchar("role_id", 64).takes("role", "application_credential_id"),
        ],
        primary_key: &["application_credential_id", "role_id"],
        foreign_keys: &[
            references(&["application_credential_id"], "application_credential", &["internal_id"])
                .on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "access_rule",
        columns: &[
            serial("id"), varchar("service", 64).null(), varchar("path", 128).null(),
            varchar("method", 16).null(), varchar("external_id", 64).null(),
            varchar("user_id", 64).null().goes_with("user"),
        ],
        primary_key: &["id"],
        uniques: &[
            unique(&["user_id", "service", "path", "method"])
                .named("duplicate_access_rule_for_user_constraint"),
        ],
        indexes: &[index("external_id", &["external_id"]), index("user_id", &["user_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "application_credential_access_rule",
        columns: &[
            integer("application_credential_id").goes_with("application_credential").by("internal_id"),
            integer("access_rule_id").goes_with("access_rule"),
        ],
        primary_key: &["application_credential_id", "access_rule_id"],
        foreign_keys: &[
            references(&["application_credential_id"], "application_credential", &["internal_id"])
                .on_delete_cascade(),
            references(&["access_rule_id"], "access_rule", &["id"]).on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    // Trusts
    Table {
        name: "trust",
        columns: &[
            varchar("id", 64),
            varchar("trustor_user_id", 64).by_rules("user", ENDED),
            varchar("trustee_user_id", 64).by_rules("user", ENDED),
            varchar("project_id", 64).null().by_rules("project", ENDED),
            boolean("impersonation"), datetime("deleted_at").null(), datetime("expires_at").null(),
            integer("remaining_uses").null(), text("extra").null(), bigint("expires_at_int").null(),
            varchar("redelegated_trust_id", 64).null().by_rules("trust", ENDED),
            integer("redelegation_count").null(),
        ],
        primary_key: &["id"],
        uniques: &[
            unique(&["trustor_user_id", "trustee_user_id", "project_id", "impersonation", "expires_at"])
                .named("duplicate_trust_constraint"),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "trust_role",
        columns: &[
            varchar("trust_id", 64).goes_with("trust"),
            varchar("role_id", 64).kept("role", "nobody holds it any more, so the trust gives nothing"),
        ],
        primary_key: &["trust_id", "role_id"],
        ..Table::EMPTY
    },
    // OAuth 1.0a
    Table {
        name: "consumer",
        columns: &[
            varchar("id", 64), varchar("description", 64).null(), varchar("secret", 64),
            text("extra"),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "request_token",
        columns: &[
            varchar("id", 64), varchar("request_secret", 64), varchar("verifier", 64).null(),
            varchar("authorizing_user_id", 64).null().goes_with("user"),
            varchar("requested_project_id", 64).goes_with("project"),
            text("role_ids").null().kept("role", A_LIST),
            varchar("consumer_id", 64).goes_with("consumer"),
            varchar("expires_at", 64).null(),
        ],
        primary_key: &["id"],
        foreign_keys: &[references(&["consumer_id"], "consumer", &["id"])],
        indexes: &[index("ix_request_token_consumer_id", &["consumer_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "access_token",
        columns: &[
            varchar("id", 64), varchar("access_secret", 64),
            varchar("authorizing_user_id", 64).goes_with("user"),
            varchar("project_id", 64).goes_with("project"),
            text("role_ids").kept("role", A_LIST),
            varchar("consumer_id", 64).goes_with("consumer"),
            varchar("expires_at", 64).null(),
        ],
        primary_key: &["id"],
        foreign_keys: &[references(&["consumer_id"], "consumer", &["id"])],
        indexes: &[
            index("ix_access_token_authorizing_user_id", &["authorizing_user_id"]),
            index("ix_access_token_consumer_id", &["consumer_id"]),
        ],
        ..Table::EMPTY
    },
    // Tokens and revocation
    Table {
        name: "token",
        columns: &[
            varchar("id", 64), datetime("expires").null(), text("extra").null(), boolean("valid"),
            varchar("trust_id", 64).null().kept("trust", UNUSED),
            varchar("user_id", 64).null().kept("user", UNUSED),
        ],
        primary_key: &["id"],
        indexes: &[
            index("ix_token_expires", &["expires"]),
            index("ix_token_expires_valid", &["expires", "valid"]),
            index("ix_token_trust_id", &["trust_id"]), index("ix_token_user_id", &["user_id"]),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "revocation_event",
        columns: &[
            serial("id"),
            varchar("domain_id", 64).null().kept("domain", EVENT),
            varchar("project_id", 64).null().kept("project", EVENT),
            varchar("user_id", 64).null().kept("user", EVENT),
            varchar("role_id", 64).null().kept("role", EVENT),
            varchar("trust_id", 64).null().kept("trust", EVENT),
            varchar("consumer_id", 64).null(), varchar("access_token_id", 64).null(),
            datetime("issued_before"), datetime("expires_at").null(), datetime("revoked_at"),
            varchar("audit_id", 32).null(), varchar("audit_chain_id", 32).null(),
        ],
        primary_key: &["id"],
        indexes: &[
            index("ix_revocation_event_audit_id_issued_before", &["audit_id", "issued_before"]),
            index("ix_revocation_event_composite", &["issued_before", "user_id", "project_id", "audit_id"]),
            index("ix_revocation_event_issued_before", &["issued_before"]),
            index("ix_revocation_event_new_revoked_at", &["revoked_at"]),
            index("ix_revocation_event_project_id_issued_before", &["project_id", "issued_before"]),
            index("ix_revocation_event_project_id_user_id", &["project_id", "user_id"]),
            index("ix_revocation_event_user_id_issued_before", &["user_id", "issued_before"]),
        ],
        ..Table::EMPTY
    },
    // Policies
    Table {
        name: "policy",
        columns: &[varchar("id", 64), varchar("type", 255), text("blob"), text("extra").null()],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "policy_association",
        columns: &[
            varchar("id", 64),
            varchar("policy_id", 64).goes_with("policy"),
            varchar("endpoint_id", 64).null().goes_with("endpoint"),
            varchar("service_id", 64).null().goes_with("service"),
            varchar("region_id", 64).null().goes_with("region"),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["endpoint_id", "service_id", "region_id"])],
        ..Table::EMPTY
    },
    // Limits
    Table {
        name: "registered_limit",
        columns: &[
            varchar("id", 64),
            varchar("service_id", 255).null().kept("service", LIMITS_NOTHING),
            varchar("region_id", 64).null().kept("region", LIMITS_NOTHING),
            varchar("resource_name", 255).null(), integer("default_limit"),
            text("description").null(), serial("internal_id"),
        ],
        primary_key: &["internal_id"],
        uniques: &[unique(&["id"]).named("registered_limit_id_key")],
        indexes: &[index("region_id", &["region_id"]).on(Scope::Only(Dialect::Mysql))],
        ..Table::EMPTY
    },
    Table {
        name: "limit",
        columns: &[
            varchar("id", 64),
            varchar("project_id", 64).null().goes_with("project"),
            integer("resource_limit"), text("description").null(), serial("internal_id"),
            varchar("registered_limit_id", 64).null().refuses("registered_limit"),
            varchar("domain_id", 64).null().goes_with("domain"),
        ],
        primary_key: &["internal_id"],
        uniques: &[unique(&["id"]).named("limit_id_key")],
        indexes: &[
            index("registered_limit_id", &["registered_limit_id"]).on(Scope::Only(Dialect::Mysql)),
        ],
        ..Table::EMPTY
    },
];
