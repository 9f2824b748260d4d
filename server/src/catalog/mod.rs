//! Regions, services, endpoints, and the catalog that tokens show.

use serde_json::{Value, json};

use crate::args;
use crate::error::Result;
use crate::store::Tx;
use crate::tokens::model::Token;

/// The catalog for a token: enabled services with their enabled endpoints, with the project filled in.
pub async fn for_token(tx: &mut Tx, token: &Token) -> Result<Value> {
    let project = token.project().map(|p| p.id.as_str());
    let user = token.trust.as_ref().map_or(token.user.id.as_str(), |j| &j.chain.leaf().trustor);
    let rows = tx
        .map(
            "SELECT s.id, s.type, s.extra, e.id, e.interface, e.region_id, e.url
               FROM service s LEFT JOIN endpoint e ON e.service_id = s.id AND e.enabled = ?
              WHERE s.enabled = ? ORDER BY s.id, e.id",
            args![true, true],
            |r| {
                Ok((
                    r.take::<String>()?,
                    r.take::<Option<String>>()?,
                    r.take::<Option<String>>()?,
                    r.take::<Option<String>>()?,
                    r.take::<Option<String>>()?,
                    r.take::<Option<String>>()?,
                    r.take::<Option<String>>()?,
                ))
            },
        )
        .await?;
    let mut services: Vec<Value> = Vec::new();
    for (id, kind, extra, endpoint, interface, region, url) in rows {
        if services.last().is_none_or(|s| s["id"] != id.as_str()) {
            let extra: Value = extra.and_then(|e| serde_json::from_str(&e).ok()).unwrap_or_default();
            let name = extra.get("name").cloned().unwrap_or_else(|| "".into());
            services.push(json!({"endpoints": [], "id": id, "type": kind, "name": name}));
        }
        let (Some(endpoint), Some(url)) = (endpoint, url) else {
            continue;
        };
        // An endpoint whose URL needs a project is no use without one.
        let Some(url) = fill(&url, project, user) else {
            continue;
        };
        if let Some(list) = services.last_mut().and_then(|s| s["endpoints"].as_array_mut()) {
            list.push(json!({
                "id": endpoint, "interface": interface, "region_id": region, "url": url, "region": region,
            }));
        }
    }
    Ok(services.into())
}

/// Fills `$(project_id)s`, `%(tenant_id)s` and their like; nothing when a value is missing.
fn fill(url: &str, project: Option<&str>, user: &str) -> Option<String> {
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find("$(").into_iter().chain(rest.find("%(")).min() {
        let after = &rest[at + 2..];
        let Some(end) = after.find(")s") else { break };
        out.push_str(&rest[..at]);
        out.push_str(match &after[..end] {
            "project_id" | "tenant_id" => project?,
            "user_id" => user,
            _ => return None,
        });
        rest = &after[end + 2..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn urls_are_filled_or_left_out() {
        assert_eq!(fill("http://h/v1/$(project_id)s/x", Some("p"), "u").as_deref(), Some("http://h/v1/p/x"));
        assert_eq!(fill("http://h/%(tenant_id)s%(user_id)s", Some("p"), "u").as_deref(), Some("http://h/pu"));
        assert_eq!(fill("http://h/$(project_id)s", None, "u"), None);
        assert_eq!(fill("http://h/$(secret)s", Some("p"), "u"), None);
        assert_eq!(fill("http://h/plain", None, "u").as_deref(), Some("http://h/plain"));
    }
}
