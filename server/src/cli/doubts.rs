//! What is configured for identity providers and directories, can be so, and is hardly meant so: told by `config check`, by
//! `doctor`, and at a start.

use std::collections::BTreeSet;

use crate::args;
use crate::config::Config;
use crate::facts;
use crate::store::{Id, Result, Tx};

/// What it is about, and a sentence.
pub(super) type Doubt = (String, String);

/// Of the configuration alone.
pub(super) fn configured(config: &Config) -> Vec<Doubt> {
    let mut out = config.directories.doubts.clone();
    for options in &config.oidc {
        let mut doubt = |text: String| out.push((format!("[oidc.{}]", options.provider), text));
        if !config.auth_methods.contains(&options.protocol) {
            let text = "nobody logs in, since it is not among [auth] methods; add it at the end of the list";
            doubt(format!("{}: {text}", options.protocol));
        }
        if options.client.is_some() && !options.introspection && config.federation.dashboards.is_empty() {
            let text = "client_id is set and does nothing: browsers are sent nowhere without a [federation] trusted_dashboard";
            doubt(text.to_owned());
        }
    }
    out
}

/// Of the configuration beside what is stored: providers and domains that are named and are not there, and domains whose users
/// came from a directory that they have no more.
///
/// # Errors
/// When the database fails.
pub(super) async fn stored(tx: &mut Tx, config: &Config) -> Result<Vec<Doubt>> {
    let mut out = Vec::new();
    for options in &config.oidc {
        let sql = "SELECT id FROM federation_protocol WHERE idp_id = ? AND id = ?";
        if !tx.exists(sql, args![Id(&options.provider), Id(&options.protocol)]).await? {
            out.push((
                format!("[oidc.{}]", options.provider),
                format!(
                    "nobody comes by it yet: no identity provider with this id has the protocol {}",
                    options.protocol
                ),
            ));
        }
    }
    let mut served = BTreeSet::new();
    for name in config.directories.by_name.keys() {
        let about = format!("keystone.{name}.conf");
        match facts::domain_named(tx, name).await?.filter(|domain| domain.name == *name) {
            None => out.push((about, format!("there is no domain {name}; capital letters count"))),
            Some(domain) => {
                if domain.id == config.default_domain_id {
                    let text = "is of the default domain, where the administrator mostly is: whoever has a password there here does not log in by name any more";
                    out.push((about, text.to_owned()));
                }
                served.insert(domain.id);
            }
        }
    }
    let sql = "SELECT DISTINCT e.domain_id, p.name FROM vicar_directory_entry e JOIN project p ON p.id = e.domain_id
                WHERE NOT EXISTS (SELECT 1 FROM whitelisted_config c WHERE c.domain_id = e.domain_id
                       AND c.\"group\" = 'identity' AND c.\"option\" = 'driver')";
    let once = tx.map(sql, &[], |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?;
    for (_, name) in once.into_iter().filter(|(id, _)| !served.contains(id)) {
        let text = "its users came from a directory, and it has none any more: none of them logs in, and nothing of theirs counts";
        out.push((format!("domain {name}"), text.to_owned()));
    }
    Ok(out)
}
