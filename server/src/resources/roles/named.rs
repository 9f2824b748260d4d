//! Roles as bodies name them: by id or by name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vicar_rules::roles::RoleSet;

use crate::error::{Error, Result};
use crate::store::{CHUNK, Select, Tx};

/// `[{"id"} | {"name"}]` → ids. A name that several roles have is ambiguous.
///
/// # Errors
/// 404 for an unknown name, 400 for an ambiguous one.
pub async fn resolve(tx: &mut Tx, named: Option<&Value>) -> Result<RoleSet> {
    let named: Vec<&Value> = named.and_then(Value::as_array).into_iter().flatten().collect();
    let mut out: RoleSet = named.iter().filter_map(|r| r["id"].as_str()).map(str::to_owned).collect();
    let names: Vec<&str> = named.iter().filter_map(|r| r["name"].as_str()).collect();
    let known = ids_of(tx, &names).await?;
    for name in names {
        // Some databases compare names without case, as a Keystone on them does.
        let found = known.get(name).or_else(|| {
            known.iter().find(|(stored, _)| stored.eq_ignore_ascii_case(name)).map(|(_, ids)| ids)
        });
        match found.map(Vec::as_slice) {
            None | Some([]) => return Err(Error::NotFound("role", name.to_owned())),
            Some([one]) => {
                out.insert(one.clone());
            }
            Some(_) => return Err(Error::field("roles", "several roles have that name; give the id")),
        }
    }
    Ok(out)
}

/// The names of the roles with these ids, where they are there.
///
/// # Errors
/// When the database fails.
pub async fn names(tx: &mut Tx, of: BTreeSet<&String>) -> Result<BTreeMap<String, String>> {
    let of: Vec<&String> = of.into_iter().collect();
    let mut found = BTreeMap::new();
    for part in of.chunks(CHUNK) {
        let mut q = Select::new("SELECT id, name FROM role");
        q.id_in("id", part.iter().copied());
        found.extend(q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?);
    }
    Ok(found)
}

/// Ids of the roles with these names; more than one for a name that domains have for their own.
async fn ids_of(tx: &mut Tx, names: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in names.chunks(CHUNK) {
        let mut q = Select::new("SELECT name, id FROM role");
        q.is_in("name", part.iter().copied());
        for (name, id) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
            out.entry(name).or_default().push(id);
        }
    }
    Ok(out)
}
