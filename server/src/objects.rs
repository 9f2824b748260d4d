//! What answers carry, described once for each object: the schemas of the OpenAPI document.
//!
//! Every name in the `answers` of `routes.rs` has a line in [`OBJECTS`]; a test finds those that have none, and the
//! tests compare every answer that they get with its schema. What is not said to be closed may have attributes of
//! a client's own.

use serde_json::{Value, json};

use crate::dispatch::openapi::Object;
use crate::extra;
use crate::objects;
use crate::resource;
use crate::resources::catalog::{endpoints::Endpoint, regions::Region, services::Service};
use crate::resources::endpoint_filter::EndpointGroup;
use crate::resources::federation::service_providers::ServiceProvider;
use crate::resources::groups::Group;
use crate::resources::limits::{Limit, RegisteredLimit};
use crate::resources::oauth1::consumers::Consumer;
use crate::resources::policies::Policy;
use crate::resources::roles::Role;

/// Every object. See the macro [`objects!`](crate::objects!).
#[rustfmt::skip]
pub static OBJECTS: &[Object] = objects! {
    Versions [versions] = object(json!({"values": list(named("Version"))}), json!({}));
    JsonHome at "/" = closed(json!({"resources": {"type": "object", "additionalProperties": {"type": "object"}}}), json!({}));
    VersionDocument at "/v3" = object(json!({"version": named("Version")}), json!({}));
    OpenApi at "/v3/openapi.json" = object(json!({"openapi": text(), "info": {"type": "object"}, "paths": {"type": "object"}}), json!({}));

    // tokens
    Token [token] = token();
    // A login that is to go on with other methods.
    Receipt at "/v3/auth/tokens" = receipt();
    CatalogService [catalog] = catalog_service();
    SystemScope [system] = closed(json!({"all": {"const": true}}), json!({}));
    RevocationEvent [events] = event();
    Explanation [explanation] = closed(json!({"allowed": flag(), "because": list(named("ExplanationStep"))}), json!({}));

    // catalog
    Region [region regions] = resource::shown_schema::<Region>();
    Service [service services] = resource::shown_schema::<Service>();
    // How version 2 named the region.
    Endpoint [endpoint endpoints] = with(resource::shown_schema::<Endpoint>(), json!({"region": text_or_null()}));

    // limits
    RegisteredLimit [registered_limit registered_limits] = resource::shown_schema::<RegisteredLimit>();
    Limit [limit limits] = resource::shown_schema::<Limit>();
    LimitModel [model] = closed(json!({"name": text(), "description": text()}), json!({}));

    // domains and projects
    Domain [domain domains] = object(domain(), json!({}));
    Project [project projects] = project();
    Tag [tags] = text();

    // users and groups
    User [user users] = user();
    Group [group groups] = resource::shown_schema::<Group>();

    // roles and grants
    Role [role roles] = resource::shown_schema::<Role>();
    RoleInference [role_inference] = closed(json!({"prior_role": named("RoleReference"), "implies": one_or_many(named("RoleReference"))}), json!({}));
    RoleInferences [role_inferences] = closed(json!({"prior_role": named("RoleReference"), "implies": list(named("RoleReference"))}), json!({}));
    RoleAssignment [role_assignments] = assignment();

    // delegations
    Trust [trust trusts] = trust();
    TrustsToEnd [would_end] = would_end();
    Lineage [lineage] = closed(json!({"trust_id": text(), "ancestors": list(named("Delegation")), "trust": named("Delegation"), "subtree": list(named("Delegation"))}), json!({}));
    Delegations [delegations] = delegations();
    PlaceDelegation [delegations] at "/v3/projects/{project_id}/delegations" = place_delegation();
    DomainDelegation [delegations] at "/v3/domains/{domain_id}/delegations" = place_delegation();
    DelegationPolicy [delegation_policy] = delegation_policy();
    TrustService [service services] at "/v3/OS-TRUST/services" = trust_service();
    Credential [credential credentials] = credential();
    Keypair [credential credentials] at "/v3/users/{user_id}/credentials/OS-EC2" = keypair();

    // application credentials
    ApplicationCredential [application_credential application_credentials] = application_credential();
    AccessRule [access_rule access_rules] = closed(access_rule(), json!({"links": named("SelfLink")}));

    // OAuth1
    Consumer [consumer consumers] = with(resource::shown_schema::<Consumer>(), json!({"secret": text()}));
    AccessToken [access_token access_tokens] = closed(json!({"id": text(), "authorizing_user_id": text(), "project_id": text(), "consumer_id": text(), "expires_at": time_or_null(), "links": named("SelfLink")}), json!({}));
    Verifier [token] at "/v3/OS-OAUTH1/authorize/{request_token_id}" = closed(json!({"oauth_verifier": text()}), json!({}));

    // OAuth2
    // The token, or the error as RFC 6749 has it.
    OAuth2Answer at "/v3/OS-OAUTH2/token" = closed(json!({}), json!({"access_token": text(), "token_type": text(), "expires_in": {"type": "integer"}, "error": text(), "error_description": text()}));

    // endpoint filters
    EndpointGroup [endpoint_group endpoint_groups] = resource::shown_schema::<EndpointGroup>();
    ProjectEndpointGroup [project_endpoint_group] = closed(json!({"endpoint_group_id": text(), "project_id": text(), "links": named("SelfLink")}), json!({}));

    // policies and their endpoints
    Policy [policy policies] = resource::shown_schema::<Policy>();

    // configuration of domains
    DomainConfig [config] = described(object(json!({}), json!({})), "By group and option, or the one option that the path names");

    // federation
    IdentityProvider [identity_provider identity_providers] = object(json!({"id": text(), "enabled": flag(), "description": text_or_null(), "domain_id": text_or_null(), "remote_ids": list(text()), "authorization_ttl": {"type": ["integer", "null"]}, "links": named("SelfLink")}), json!({}));
    Protocol [protocol protocols] = object(json!({"id": text(), "mapping_id": text(), "links": named("SelfLink")}), json!({"remote_id_attribute": text_or_null()}));
    Mapping [mapping mappings] = object(json!({"id": text(), "rules": {"type": "array"}, "links": named("SelfLink")}), json!({"schema_version": text()}));
    ServiceProvider [service_provider service_providers] = resource::shown_schema::<ServiceProvider>();

    // certificates and lists of PKI tokens

    // parts of others
    Version [] = version();
    SelfLink [] = object(json!({"self": text()}), json!({}));
    Options [] = object(json!({}), json!({"immutable": flag()}));
    RoleReference [] = closed(json!({"id": text(), "name": text(), "links": named("SelfLink")}), json!({}));
    HeldRole [] = held_role();
    NamedRole [] = closed(json!({"id": text(), "name": text_or_null()}), json!({}));
    DomainReference [] = closed(json!({"id": text(), "name": text_or_null()}), json!({}));
    Delegation [] = delegation();
    // RFC 8693, section 4.1.
    Actor [] = closed(json!({"sub": text()}), json!({"act": named("Actor")}));
    ChainLink [] = chain_link();
    Evidence [] = evidence();
    // With the ids of what it is about.
    ExplanationStep [] = object(json!({"step": text(), "allows": {"type": ["boolean", "null"]}, "text": text()}), json!({}));
    Rule [] = closed(rule(), json!({}));
};

fn text() -> Value {
    json!({"type": "string"})
}

fn text_or_null() -> Value {
    json!({"type": ["string", "null"]})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

/// A UTC time with microseconds and `Z`.
fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn time_or_null() -> Value {
    json!({"type": ["string", "null"], "format": "date-time"})
}

/// A UTC time without `Z`, as Keystone shows when passwords end.
fn bare_time_or_null() -> Value {
    json!({"type": ["string", "null"], "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$"})
}

fn count_or_null() -> Value {
    json!({"type": ["integer", "null"], "minimum": 0})
}

fn list(items: Value) -> Value {
    let mut list = json!({"type": "array"});
    extra::set(&mut list, "items", items);
    list
}

fn one_or_many(item: Value) -> Value {
    json!({"anyOf": [item, list(item.clone())]})
}

/// An object of [`OBJECTS`].
fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An object that has these, may have those, and others besides.
fn object(always: Value, sometimes: Value) -> Value {
    let required: Vec<String> =
        always.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    let mut out = json!({"type": "object", "properties": merged(always, sometimes)});
    if !required.is_empty() {
        extra::set(&mut out, "required", required);
    }
    out
}

/// The same without others.
fn closed(always: Value, sometimes: Value) -> Value {
    let mut out = object(always, sometimes);
    extra::set(&mut out, "additionalProperties", false);
    out
}

/// A schema with what it is about.
fn described(mut schema: Value, text: &str) -> Value {
    extra::set(&mut schema, "description", text);
    schema
}

/// The members of both.
fn merged(mut one: Value, other: Value) -> Value {
    for (name, value) in other.as_object().into_iter().flatten() {
        extra::set(&mut one, name, value.clone());
    }
    one
}

/// A schema with more properties.
fn with(mut schema: Value, more: Value) -> Value {
    let properties = merged(schema.get("properties").cloned().unwrap_or_default(), more);
    extra::set(&mut schema, "properties", properties);
    schema
}

fn version() -> Value {
    let link = closed(json!({"rel": text(), "href": text()}), json!({}));
    let media = closed(json!({"base": text(), "type": text()}), json!({}));
    closed(
        json!({
            "id": text(),
            "status": text(),
            "updated": time(),
            "links": list(link),
            "media-types": list(media),
        }),
        json!({}),
    )
}

fn token() -> Value {
    let user = closed(
        json!({
            "domain": named("DomainReference"),
            "id": text(),
            "name": text(),
        }),
        // Who came through an identity provider has no password, and groups.
        json!({"password_expires_at": bare_time_or_null(), "OS-FEDERATION": {"type": "object"}}),
    );
    let project =
        closed(json!({"domain": named("DomainReference"), "id": text(), "name": text()}), json!({}));
    let whole =
        json!({"domain_id": text_or_null(), "description": text_or_null(), "options": named("Options")});
    let user_id = || closed(json!({"id": text()}), json!({}));
    let link = closed(
        json!({
            "trust_id": text(),
            "trustor_user_id": text(),
            "trustee_user_id": text(),
            "impersonation": flag(),
        }),
        json!({}),
    );
    let trust = closed(
        json!({
            "id": text(),
            "trustor_user": user_id(),
            "trustee_user": user_id(),
            "impersonation": flag(),
        }),
        merged(
            json!({"redelegated_trust_id": text(), "redelegation_count": count_or_null(), "chain": list(link)}),
            origin(),
        ),
    );
    let application_credential = closed(
        json!({"id": text(), "name": text(), "restricted": flag()}),
        // Those of a trust have no id.
        json!({"access_rules": list(closed(rule(), json!({"id": text()})))}),
    );
    closed(
        json!({
            "methods": list(text()),
            "user": user,
            "audit_ids": list(text()),
            "expires_at": time(),
            "issued_at": time(),
        }),
        json!({
            "project": project,
            "is_domain": flag(),
            "domain": named("DomainReference"),
            "system": named("SystemScope"),
            "roles": list(closed(json!({"id": text(), "name": text()}), whole)),
            "catalog": list(named("CatalogService")),
            "OS-TRUST:trust": trust,
            "act": named("Actor"),
            "delegation_chain": list(named("ChainLink")),
            "application_credential": application_credential,
            "OS-OAUTH1": closed(json!({"access_token_id": text(), "consumer_id": text()}), json!({})),
            "oauth2_credential": closed(json!({"x5t#S256": text()}), json!({})),
            "service_providers": list(closed(json!({"id": text(), "auth_url": text(), "sp_url": text()}), json!({}))),
        }),
    )
}

fn receipt() -> Value {
    let user = closed(json!({"id": text(), "name": text(), "domain": named("DomainReference")}), json!({}));
    let receipt = closed(
        json!({"methods": list(text()), "user": user, "expires_at": time(), "issued_at": time()}),
        json!({}),
    );
    closed(json!({"receipt": receipt, "required_auth_methods": list(list(text()))}), json!({}))
}

/// What an access rule says.
fn rule() -> Value {
    json!({"service": text_or_null(), "path": text_or_null(), "method": text_or_null()})
}

/// The terms of a trust.
fn terms() -> Value {
    json!({
        "access_rules": list(named("Rule")),
        "not_before": time(),
        "max_token_ttl": {"type": "integer", "minimum": 1, "description": "In seconds"},
        "max_login_age": {"type": "integer", "minimum": 1, "description": "In seconds"},
        "required_methods": list(text()),
        "external_id": text(),
        "trustee_binding": closed(
            json!({}),
            json!({"issuer": text(), "subject": text(), "audience": text(), "x5t#S256": text()}),
        ),
    })
}

/// What only some trusts have.
fn more() -> Value {
    let suspension = json!({"suspended_at": time(), "user_id": text(), "reason": text()});
    let adoption = json!({"user_id": text(), "adopted_at": time()});
    let acts = json!({
        "suspension": closed(suspension, json!({})),
        "adopted_by": closed(adoption, json!({})),
        "application_credential_id": text(),
    });
    merged(terms(), merged(origin(), acts))
}

/// What is said of the beginning of a chain.
fn origin() -> Value {
    let labels = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({"source_identity": text(), "labels": labels})
}

fn access_rule() -> Value {
    json!({"id": text(), "service": text_or_null(), "path": text_or_null(), "method": text_or_null()})
}

fn application_credential() -> Value {
    let role = object(json!({"id": text(), "name": text(), "domain_id": text_or_null()}), json!({}));
    let roles = list(closed(json!({"id": text()}), json!({})));
    let may = json!({"trustees": list(text()), "roles": roles, "max_depth": {"type": "integer"}});
    let may_delegate = closed(may, json!({}));
    closed(
        json!({
            "id": text(),
            "name": text(),
            "description": text_or_null(),
            "user_id": text(),
            "project_id": text_or_null(),
            "system": text_or_null(),
            "roles": list(role),
            "expires_at": bare_time_or_null(),
            // Null when it was not said.
            "unrestricted": {"type": ["boolean", "null"]},
            "evidence": named("Evidence"),
            "links": named("SelfLink"),
        }),
        // The secret is shown once, to who makes it.
        json!({"secret": text(), "access_rules": list(named("AccessRule")), "may_delegate": may_delegate}),
    )
}

fn catalog_service() -> Value {
    let endpoint = object(
        json!({
            "id": text(),
            "interface": {"enum": ["admin", "internal", "public"]},
            "region": text_or_null(),
            "region_id": text_or_null(),
            "url": text(),
        }),
        json!({}),
    );
    closed(json!({"endpoints": list(endpoint), "id": text(), "type": text(), "name": text()}), json!({}))
}

fn event() -> Value {
    closed(
        json!({"issued_before": time()}),
        json!({
            "revoked_at": time(),
            "expires_at": time(),
            "user_id": text(),
            "role_id": text(),
            "domain_id": text(),
            "domain_scope_id": text(),
            "project_id": text(),
            "audit_id": text(),
            "audit_chain_id": text(),
            "OS-TRUST:trust_id": text(),
            "OS-OAUTH1:consumer_id": text(),
            "OS-OAUTH1:access_token_id": text(),
        }),
    )
}

fn domain() -> Value {
    json!({
        "id": text(),
        "name": text(),
        "description": text_or_null(),
        "enabled": flag(),
        "tags": list(text()),
        "options": named("Options"),
        "links": named("SelfLink"),
    })
}

fn project() -> Value {
    let place = json!({"domain_id": text_or_null(), "parent_id": text_or_null(), "is_domain": flag()});
    // Lists of projects, or trees of their ids, where the query asks for them.
    let relatives = || json!({"type": ["array", "object", "null"]});
    object(
        merged(domain(), place),
        json!({"parents": relatives(), "subtree": relatives(), "extra": {"type": "object"}}),
    )
}

fn user() -> Value {
    let protocol = closed(json!({"protocol_id": text(), "unique_id": text()}), json!({}));
    let federated = closed(json!({"idp_id": text(), "protocols": list(protocol)}), json!({}));
    object(
        json!({
            "id": text(),
            "name": text(),
            "domain_id": text(),
            "enabled": flag(),
            "password_expires_at": bare_time_or_null(),
            "options": {"type": "object"},
            "links": named("SelfLink"),
        }),
        json!({"default_project_id": text(), "federated": list(federated)}),
    )
}

fn assignment() -> Value {
    let names = || json!({"name": text(), "domain": named("DomainReference")});
    let thing = || closed(json!({"id": text()}), names());
    let inherited = json!({"OS-INHERIT:inherited_to": {"const": "projects"}});
    let place = json!({"project": thing(), "domain": thing(), "system": named("SystemScope")});
    let scope = closed(json!({}), merged(place, inherited));
    let links = closed(json!({"assignment": text()}), json!({"membership": text(), "prior_role": text()}));
    closed(
        json!({"scope": scope, "role": thing(), "links": links}),
        json!({"user": thing(), "group": thing()}),
    )
}

fn trust() -> Value {
    let links = json!({"self": text(), "next": {"type": "null"}, "previous": {"type": "null"}});
    object(
        json!({
            "id": text(),
            "trustor_user_id": text(),
            "trustee_user_id": text(),
            "project_id": text_or_null(),
            "impersonation": flag(),
            "expires_at": time_or_null(),
            "remaining_uses": count_or_null(),
            "deleted_at": time_or_null(),
            "redelegated_trust_id": text_or_null(),
            "redelegation_count": count_or_null(),
            "allow_redelegation": flag(),
            "evidence": named("Evidence"),
            "links": named("SelfLink"),
        }),
        merged(json!({"roles": list(named("Role")), "roles_links": closed(links, json!({}))}), more()),
    )
}

/// A link of the chain that a token comes by.
fn chain_link() -> Value {
    closed(
        json!({
            "trust_id": text(),
            "delegator": text(),
            "delegatee": text(),
            "impersonation": flag(),
            "roles": list(text()),
            "expires_at": time_or_null(),
            "redelegation_count": count_or_null(),
        }),
        json!({
            "adopted_by": text(),
            "application_credential_id": text(),
            "access_rules": list(named("Rule")),
            "not_before": time(),
            "max_token_ttl": {"type": "integer", "minimum": 1, "description": "In seconds"},
            "max_login_age": {"type": "integer", "minimum": 1, "description": "In seconds"},
            "required_methods": list(text()),
        }),
    )
}

fn would_end() -> Value {
    let trust = closed(
        json!({
            "id": text(),
            "trustor_user_id": text(),
            "trustee_user_id": text(),
            "redelegated_trust_id": text_or_null(),
        }),
        json!({}),
    );
    let keypair = closed(json!({"access": text(), "trust_id": text()}), json!({}));
    closed(json!({"trusts": list(trust), "keypairs": list(keypair)}), json!({}))
}

/// A trust as lineages show it.
fn delegation() -> Value {
    let roles = json!({"type": ["array", "null"], "items": named("NamedRole")});
    let keypair = closed(
        json!({"access": text(), "expires_at": time_or_null(), "roles": roles, "evidence": named("Evidence")}),
        json!({"access_rules": list(named("Rule"))}),
    );
    closed(
        json!({
            "id": text(),
            "depth": {"type": "integer", "minimum": 0},
            "trustor_user_id": text(),
            "trustee_user_id": text(),
            "project_id": text_or_null(),
            "impersonation": flag(),
            "roles": list(named("HeldRole")),
            "expires_at": time_or_null(),
            "remaining_uses": count_or_null(),
            "redelegated_trust_id": text_or_null(),
            "redelegation_count": count_or_null(),
            "keypairs": list(keypair),
            "evidence": named("Evidence"),
            "state": text(),
            "reason": text_or_null(),
        }),
        merged(more(), json!({"lapses_at": time()})),
    )
}

/// A role that a trust delegates, and in lineages of those that live what it rests on; null if it is not held.
fn held_role() -> Value {
    let mut from = closed(json!({}), json!({"project_id": text(), "domain_id": text()}));
    extra::set(&mut from, "type", json!(["object", "null"]));
    let mut basis = closed(
        json!({
            "type": {"enum": ["user", "group", "membership"]},
            "implied_by": text_or_null(),
            "is_inherited": flag(),
            "membership_expires_at": time_or_null(),
        }),
        json!({
            "group_id": text_or_null(),
            "identity_provider_id": text_or_null(),
            "inherited_from": from,
        }),
    );
    extra::set(&mut basis, "type", json!(["object", "null"]));
    closed(json!({"id": text(), "name": text_or_null()}), json!({"basis": basis}))
}

/// One of those on a project: each has a type, and what things of the type have.
fn place_delegation() -> Value {
    let types = ["trust", "application_credential", "keypair"];
    object(json!({"id": text(), "type": {"enum": types}, "project_id": text_or_null()}), json!({}))
}

/// When it was made and by which token, and who used it; null is not known.
fn evidence() -> Value {
    let mut by = closed(json!({"id": text(), "name": text_or_null()}), json!({}));
    extra::set(&mut by, "type", json!(["object", "null"]));
    closed(
        json!({
            "created_at": time_or_null(),
            "created_by": {"type": ["array", "null"], "items": text(), "description": "Audit ids of the token"},
            "last_used_at": time_or_null(),
            "use_count": count_or_null(),
            "last_validated_at": time_or_null(),
            "last_validated_by": by,
        }),
        json!({}),
    )
}

fn delegations() -> Value {
    let keypair =
        json!({"credential_id": text(), "project_id": text_or_null(), "evidence": named("Evidence")});
    let keypair = closed(keypair, json!({}));
    let credential = json!({
        "id": text(),
        "name": text(),
        "user_id": text(),
        "project_id": text_or_null(),
        "roles": list(closed(json!({"id": text()}), json!({}))),
        "expires_at": time_or_null(),
        "unrestricted": flag(),
        "evidence": named("Evidence"),
        "state": text(),
        "reason": text_or_null(),
    });
    let access_token = json!({
        "id": text(),
        "consumer_id": text(),
        "project_id": text(),
        "roles": list(named("NamedRole")),
        "expires_at": time_or_null(),
        "state": text(),
        "reason": text_or_null(),
    });
    object(
        json!({
            "acting_for_user": list(named("Delegation")),
            "user_acts_for": list(named("Delegation")),
            "keypairs": list(keypair),
            "application_credentials": list(closed(credential, json!({}))),
            "access_tokens": list(closed(access_token, json!({}))),
        }),
        json!({}),
    )
}

/// The limits of a ceiling that all holders can have.
fn limits() -> Value {
    json!({
        "max_lifetime": count_or_null(),
        "max_depth": count_or_null(),
        "never_roles": list(named("NamedRole")),
        "impersonation": flag(),
        "expiry_required": flag(),
        "keypairs": flag(),
        "applies_to_existing": flag(),
    })
}

fn trust_service() -> Value {
    let own = json!({
        "id": text(), "name": text_or_null(), "description": text_or_null(), "unreadable": flag(),
    });
    closed(merged(own, limits()), json!({}))
}

fn delegation_policy() -> Value {
    let users = || json!({"type": ["array", "null"], "items": closed(json!({"id": text()}), json!({}))});
    let holders = || list(closed(json!({"kind": text(), "id": text()}), json!({})));
    let limit = |value: Value| closed(json!({"value": value, "from": holders()}), json!({}));
    let effective = json!({
        "max_lifetime": limit(count_or_null()),
        "max_depth": limit(count_or_null()),
        "never_roles": limit(list(named("NamedRole"))),
        "allowed_trustees": limit(users()),
        "impersonation": limit(flag()),
        "expiry_required": limit(flag()),
        "keypairs": limit(flag()),
        "unreadable": holders(),
    });
    let own = json!({"allowed_trustees": users(), "effective": closed(effective, json!({}))});
    closed(merged(own, limits()), json!({}))
}

fn credential() -> Value {
    object(
        json!({
            "id": text(),
            "user_id": text(),
            "project_id": text_or_null(),
            "type": text(),
            "blob": text_or_null(),
            "links": named("SelfLink"),
        }),
        // Of a keypair.
        json!({"evidence": named("Evidence")}),
    )
}

fn keypair() -> Value {
    let role = closed(json!({"id": text()}), json!({}));
    closed(
        json!({
            "user_id": text(),
            "tenant_id": text_or_null(),
            "access": text(),
            "trust_id": text_or_null(),
            "evidence": named("Evidence"),
            "links": named("SelfLink"),
        }),
        json!({
            "secret": text(),
            "roles": list(role),
            "access_rules": list(named("Rule")),
            "expires_at": time(),
        }),
    )
}
