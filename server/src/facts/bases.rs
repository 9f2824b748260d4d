//! What the roles rest on that somebody holds, as stored. See `vicar_rules::basis`.

use std::collections::BTreeMap;

use vicar_rules::basis::{self, Basis, By, Term, Way};
use vicar_rules::loss::Place;
use vicar_rules::roles::RoleSet;

use super::{implications, roles};
use crate::store::{DateTime, Result, Tx};

/// What each of some roles rests on that a user holds on a project; those that they do not hold are left out.
///
/// # Errors
/// When the database fails.
pub async fn on_project(
    tx: &mut Tx,
    user: &str,
    project: &str,
    wanted: &RoleSet,
) -> Result<BTreeMap<String, Basis>> {
    let implications = implications(tx).await?;
    Ok(basis::bases(wanted, &ways(tx, user, project).await?, &implications))
}

/// The grants by which a user holds roles on a project, without those of memberships that have ended.
async fn ways(tx: &mut Tx, user: &str, project: &str) -> Result<Vec<Way>> {
    const GRANT: &str = "a.role_id, a.type, a.target_id, a.inherited";
    let expiring = format!("{GRANT}, a.actor_id, e.idp_id, e.last_verified, i.authorization_ttl");
    let own = format!("{GRANT}, NULL, NULL, NULL, NULL");
    let groups = format!("{GRANT}, a.actor_id, NULL, NULL, NULL");
    let (sql, args) = roles::on_project(tx, user, project, [&expiring, &own, &groups]).await?;
    let found = tx.map(&sql, &args, |r| {
        let (role, kind, target): (String, String, String) = (r.take()?, r.take()?, r.take()?);
        let is_inherited: bool = r.take()?;
        let (group, provider): (Option<String>, Option<String>) = (r.take()?, r.take()?);
        let (seen, minutes): (Option<DateTime>, Option<i64>) = (r.take()?, r.take()?);
        let above = if kind.ends_with("Domain") { Place::Domain(target) } else { Place::Project(target) };
        Ok((role, is_inherited.then_some(above), group, provider.zip(seen), minutes))
    });
    let mut ways = Vec::new();
    for (role, inherited_from, group, came, minutes) in found.await? {
        let by = match (group, came) {
            (None, _) => By::User,
            (Some(group), None) => By::Group(group),
            (Some(_), Some((_, seen))) if !tx.is_unexpired(seen, minutes) => continue,
            (Some(group), Some((provider, seen))) => {
                let term = Term { since: seen.0, until: tx.membership_end(seen, minutes) };
                By::Membership { group, provider, term }
            }
        };
        ways.push(Way { role, by, inherited_from });
    }
    Ok(ways)
}
