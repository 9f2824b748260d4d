//! What is stored for domains: one table for what is shown, and one for what is not.

use serde_json::Value;

use super::{DomainConfig, Part, Setting};
use crate::authz::Authorized;
use crate::config::domain::Kept;
use crate::error::Result;
use crate::store::{Delete, Insert, Select, Tx, WriteTx};

const BOTH: [Kept; 2] = [Kept::Openly, Kept::Secretly];

fn table(kept: Kept) -> &'static str {
    match kept {
        Kept::Openly => "whitelisted_config",
        Kept::Secretly => "sensitive_config",
    }
}

fn limit(found: &mut Select, domain: &str, part: Part<'_>) {
    found
        .id("t.domain_id", Some(domain))
        .id("t.\"group\"", part.group)
        .id("t.\"option\"", part.option.filter(|_| part.group.is_some()));
}

/// What is stored of a part and may be shown.
///
/// # Errors
/// When the database fails.
pub async fn shown(tx: &mut Tx, domain: &str, part: Part<'_>) -> Result<Vec<Setting>> {
    let table = table(Kept::Openly);
    let mut found = Select::new(&format!("SELECT t.\"group\", t.\"option\", t.value FROM {table} t"));
    limit(&mut found, domain, part);
    found.end("ORDER BY t.\"group\", t.\"option\"");
    let read = found.map(tx, |r| {
        let (group, option, value): (String, String, Option<String>) = (r.take()?, r.take()?, r.take()?);
        // What another program wrote may be anything.
        let value = value.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap_or(Value::Null));
        Ok(Setting { group, option, value, kept: Kept::Openly })
    });
    Ok(read.await?)
}

/// Whether anything is stored of a part, shown or not.
///
/// # Errors
/// When the database fails.
pub async fn exists(tx: &mut Tx, domain: &str, part: Part<'_>) -> Result<bool> {
    for kept in BOTH {
        let mut found = Select::new(&format!("SELECT 1 FROM {} t", table(kept)));
        limit(&mut found, domain, part);
        let (sql, args) = found.end("LIMIT 1").parts();
        if tx.exists(sql, args).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Stores settings, each in the place of what was stored under its name.
///
/// # Errors
/// 400 for a value that is too long, otherwise when the database fails.
pub async fn store(tx: &mut WriteTx, of: &Authorized<DomainConfig>, settings: &[Setting]) -> Result<()> {
    for setting in settings {
        let part = Part { group: Some(&setting.group), option: Some(&setting.option) };
        remove(tx, of, part).await?;
        let insert = Insert::into(table(setting.kept))
            .set("domain_id", &of.domain_id)
            .set("group", &setting.group)
            .set("option", &setting.option)
            .set("value", setting.value.to_string());
        tx.execute(of, &insert).await?;
    }
    Ok(())
}

/// Removes all that is stored of a part.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &mut WriteTx, of: &Authorized<DomainConfig>, part: Part<'_>) -> Result<()> {
    for kept in BOTH {
        let mut delete = Delete::from(table(kept)).key("domain_id", &of.domain_id);
        if let Some(group) = part.group {
            delete = delete.key("group", group);
            if let Some(option) = part.option {
                delete = delete.key("option", option);
            }
        }
        tx.execute(of, &delete).await?;
    }
    Ok(())
}
