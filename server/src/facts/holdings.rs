//! Everything that some users hold anywhere, loaded at once: for what takes roles away from many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vicar_rules::loss::{LostPlace, Place};
use vicar_rules::roles::{Implications, RoleSet};

use super::implications;
use crate::store::{CHUNK, Result, Row, Select, Tx};

/// Roles that a user holds by grants on one target.
type Granted = BTreeMap<LostPlace, RoleSet>;

/// The grants of some users, by themselves or by their groups, and the projects above the targets.
#[derive(Debug)]
pub struct Holdings {
    grants: BTreeMap<String, Granted>,
    parents: BTreeMap<String, Option<String>>,
    implications: Implications,
}

/// What a grant's row says: holder, kind of target, target, role, and whether projects below inherit it.
type GrantRow = (String, String, String, String, bool);

fn read_grant(r: &mut Row) -> Result<GrantRow> {
    Ok((r.take()?, r.take()?, r.take()?, r.take()?, r.take()?))
}

/// The places in which grants are stored: of users and of their groups, on projects and domains and on the system; the
/// same of groups for a time. SQLite joins in the order of a cross join: first the groups of the users.
const GRANTS: [&str; 6] = [
    "SELECT a.actor_id, a.type, a.target_id, a.role_id, a.inherited FROM assignment a",
    "SELECT m.user_id, a.type, a.target_id, a.role_id, a.inherited
       FROM user_group_membership m CROSS JOIN assignment a",
    "SELECT a.actor_id, a.type, a.target_id, a.role_id, a.inherited FROM system_assignment a",
    "SELECT m.user_id, a.type, a.target_id, a.role_id, a.inherited
       FROM user_group_membership m CROSS JOIN system_assignment a",
    "SELECT e.user_id, a.type, a.target_id, a.role_id, a.inherited
       FROM expiring_user_group_membership e JOIN identity_provider i ON i.id = e.idp_id
            CROSS JOIN assignment a",
    "SELECT e.user_id, a.type, a.target_id, a.role_id, a.inherited
       FROM expiring_user_group_membership e JOIN identity_provider i ON i.id = e.idp_id
            CROSS JOIN system_assignment a",
];

/// How each of [`GRANTS`] is joined, its holder's column, and the types of its rows. A group that is looked for by
/// its own id holds what it gives its members.
const HOLDERS: [(&str, &str, &[&str]); 6] = [
    ("1 = 1", "a.actor_id", &["UserProject", "UserDomain", "GroupProject", "GroupDomain"]),
    ("a.actor_id = m.group_id", "m.user_id", &["GroupProject", "GroupDomain"]),
    ("1 = 1", "a.actor_id", &["UserSystem", "GroupSystem"]),
    ("a.actor_id = m.group_id", "m.user_id", &["GroupSystem", "GroupSystem"]),
    ("a.actor_id = e.group_id", "e.user_id", &["GroupProject", "GroupDomain"]),
    ("a.actor_id = e.group_id", "e.user_id", &["GroupSystem", "GroupSystem"]),
];

impl Holdings {
    /// Loads what the users hold. The number of statements grows with hundreds of users, not with each.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(tx: &mut Tx, users: &BTreeSet<String>) -> Result<Self> {
        let mut found = Self::none(Arc::unwrap_or_clone(implications(tx).await?));
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let targets = found.read(tx, &users, None).await?;
        found.parents = parents(tx, targets).await?;
        Ok(found)
    }

    /// Loads what the users hold on some projects, and what these inherit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load_on(
        tx: &mut Tx,
        users: &BTreeSet<&str>,
        projects: BTreeSet<String>,
        implications: &Implications,
    ) -> Result<Self> {
        let mut found = Self::none(implications.clone());
        let users: Vec<&str> = users.iter().copied().collect();
        found.parents = parents(tx, projects.clone()).await?;
        let above = found.parents.values().flatten().cloned();
        let targets: BTreeSet<String> = projects.into_iter().chain(above).collect();
        found.read(tx, &users, Some(&targets)).await?;
        Ok(found)
    }

    fn none(implications: Implications) -> Self {
        Self { grants: BTreeMap::new(), parents: BTreeMap::new(), implications }
    }

    /// Reads what the users hold, on some targets or on any; returns the projects and domains among these.
    async fn read(
        &mut self,
        tx: &mut Tx,
        users: &[&str],
        on: Option<&BTreeSet<String>>,
    ) -> Result<BTreeSet<String>> {
        let mut targets = BTreeSet::new();
        let (unexpired, now) = tx.unexpired();
        for part in users.chunks(CHUNK) {
            for (sql, (joined, holder, kinds)) in GRANTS.into_iter().zip(HOLDERS) {
                // The system is neither a project nor above one.
                if on.is_some() && kinds.iter().any(|kind| kind.ends_with("System")) {
                    continue;
                }
                let mut q = Select::new(sql);
                q.and(joined, &[]).id_in("a.type", kinds.iter().copied()).id_in(holder, part.iter().copied());
                if holder.starts_with("e.") {
                    q.and(&unexpired, std::slice::from_ref(&now));
                }
                for (user, kind, target, role, inherited) in q.map(tx, read_grant).await? {
                    // Asking for users and targets at once makes an engine try each with each.
                    if on.is_some_and(|targets| !targets.contains(&target)) {
                        continue;
                    }
                    let place = if inherited {
                        LostPlace::Below(target.clone())
                    } else if kind.ends_with("System") {
                        LostPlace::At(Place::System)
                    } else if kind.ends_with("Project") {
                        LostPlace::At(Place::Project(target.clone()))
                    } else {
                        LostPlace::At(Place::Domain(target.clone()))
                    };
                    if !kind.ends_with("System") {
                        targets.insert(target);
                    }
                    self.grants.entry(user).or_default().entry(place).or_default().insert(role);
                }
            }
        }
        Ok(targets)
    }

    /// The users who hold anything.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.grants.keys().map(String::as_str)
    }

    /// The places in which a user holds something by a grant on just that place.
    pub fn places(&self, user: &str) -> impl Iterator<Item = &LostPlace> {
        self.grants.get(user).into_iter().flat_map(BTreeMap::keys)
    }

    /// Effective roles of a user in a place; for what is below a project or domain, those that each project
    /// there inherits.
    pub fn effective(&self, user: &str, place: &LostPlace) -> RoleSet {
        let Some(granted) = self.grants.get(user) else { return RoleSet::new() };
        let mut roles: RoleSet = granted.get(place).into_iter().flatten().cloned().collect();
        for above in self.above(place) {
            roles.extend(granted.get(&LostPlace::Below(above)).into_iter().flatten().cloned());
        }
        self.implications.closure(&roles)
    }

    /// The projects and the domain above a place, nearest first.
    pub fn above(&self, place: &LostPlace) -> Vec<String> {
        let id = match place {
            LostPlace::At(Place::Project(id)) | LostPlace::Below(id) => id,
            LostPlace::At(Place::Domain(_) | Place::System) => return Vec::new(),
        };
        let mut out: Vec<String> = Vec::new();
        let mut next = self.parents.get(id).cloned().flatten();
        while let Some(step) = next.take().filter(|s| !out.contains(s)) {
            next = self.parents.get(&step).cloned().flatten();
            out.push(step);
        }
        out
    }

    /// The implied-role relation.
    pub fn implications(&self) -> &Implications {
        &self.implications
    }
}

/// The parent of each project and of all that are above it.
async fn parents(tx: &mut Tx, of: BTreeSet<String>) -> Result<BTreeMap<String, Option<String>>> {
    let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut next = of;
    while !next.is_empty() {
        let ids: Vec<&str> = next.iter().map(String::as_str).collect();
        let mut found: Vec<(String, Option<String>)> = Vec::new();
        for part in ids.chunks(CHUNK) {
            let mut q = Select::new("SELECT id, parent_id FROM project");
            q.id_in("id", part.iter().copied());
            found.extend(q.map(tx, |r| Ok((r.take()?, r.take()?))).await?);
        }
        known.extend(found.iter().cloned());
        next =
            found.into_iter().filter_map(|(_, parent)| parent).filter(|p| !known.contains_key(p)).collect();
    }
    Ok(known)
}
