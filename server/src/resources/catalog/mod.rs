//! Regions, services, endpoints, and the catalog that tokens show.

pub mod endpoints;
mod filter;
pub mod regions;
pub mod services;
mod url;

use serde_json::{Value, json};

use crate::args;
use crate::auth::token::Token;
use crate::error::Result;
use crate::http::bag;
use crate::store::Tx;

/// The catalog for a token: enabled services with their enabled endpoints, with the project filled in,
/// limited to those of the project if any are named for it.
///
/// # Errors
/// When the database fails.
pub async fn for_token(tx: &mut Tx, token: &Token) -> Result<Value> {
    let project = token.project().map(|p| p.id.as_str());
    let values = url::Values {
        project,
        user: token.trust.as_ref().map_or(token.user.id.as_str(), |j| &j.chain().leaf().trustor),
    };
    let mut services: Vec<Value> = tx
        .map("SELECT id, type, extra FROM service WHERE enabled = ? ORDER BY id", args![true], |r| {
            let (id, kind): (String, Option<String>) = (r.take()?, r.take()?);
            let mut extra = bag::read(r.take()?);
            let name = extra.remove("name").unwrap_or_else(|| "".into());
            Ok(json!({"endpoints": [], "id": id, "type": kind, "name": name}))
        })
        .await?;
    let endpoints = endpoints::enabled(tx).await?;
    let wanted = match project {
        Some(project) => filter::of_project(tx, project, &endpoints).await?,
        None => None,
    };
    for e in &endpoints {
        if wanted.as_ref().is_some_and(|w| !w.contains(&e.id)) {
            continue;
        }
        // An endpoint whose URL needs a project is no use without one.
        let Some(url) = e.text("url").and_then(|url| url::fill(url, &values)) else {
            continue;
        };
        let service = services.iter_mut().find(|s| s["id"] == *e.get("service_id"));
        if let Some(list) = service.and_then(|s| s["endpoints"].as_array_mut()) {
            list.push(bag::shown(
                &e.extra,
                json!({
                    "id": e.id,
                    "interface": e.get("interface"),
                    "region_id": e.get("region_id"),
                    "url": url,
                    "region": e.get("region_id"),
                }),
            ));
        }
    }
    if wanted.is_some() {
        services.retain(|s| s["endpoints"].as_array().is_some_and(|e| !e.is_empty()));
    }
    Ok(services.into())
}
