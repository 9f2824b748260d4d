//! The JSON home document: relations of what is served, with paths to fill in. Relations and
//! parameters are named as in OpenStack's API reference.

use serde_json::{Map, Value, json};

use super::route::{Relation, Route};

const BASE: &str = "https://docs.openstack.org/api/openstack-identity/3";

impl Relation {
    fn uri(self) -> String {
        match self.extension {
            None => format!("{BASE}/rel/{}", self.name),
            Some(extension) => format!("{BASE}/ext/{extension}/1.0/rel/{}", self.name),
        }
    }
}

/// The relation of a parameter of a path.
fn parameter(name: &str) -> String {
    match name {
        "value" => format!("{BASE}/param/tag_value"),
        "group" | "option" => format!("{BASE}/param/config_{name}"),
        "prior_role_id" | "implied_role_id" => format!("{BASE}/param/role_id"),
        "consumer_id" | "request_token_id" | "access_token_id" => {
            format!("{BASE}/ext/OS-OAUTH1/1.0/param/{name}")
        }
        "endpoint_group_id" => format!("{BASE}/ext/OS-EP-FILTER/1.0/param/endpoint_group_id"),
        "trust_id" => format!("{BASE}/ext/OS-TRUST/1.0/param/trust_id"),
        "idp_id" | "protocol_id" | "service_provider_id" => {
            format!("{BASE}/ext/OS-FEDERATION/1.0/param/{name}")
        }
        other => format!("{BASE}/param/{other}"),
    }
}

/// The document; `prefix` is what paths lack where it is asked for: `/v3` at the root.
pub fn document(routes: &[Route], prefix: &str) -> Value {
    let mut named: Vec<(Relation, &Route)> = routes.iter().filter_map(|r| Some((r.relation?, r))).collect();
    named.sort_by_key(|(relation, _)| (relation.extension, relation.name));
    let mut resources = Map::new();
    for (relation, route) in named {
        let vars: Map<String, Value> =
            route.params().map(|name| (name.to_owned(), parameter(name).into())).collect();
        let href = format!("{prefix}{}", route.path.strip_prefix("/v3").unwrap_or(route.path));
        let resource = if vars.is_empty() {
            json!({"href": href})
        } else {
            json!({"href-template": href, "href-vars": vars})
        };
        resources.insert(relation.uri(), resource);
    }
    json!({"resources": resources})
}
