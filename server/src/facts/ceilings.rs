//! Ceilings as they are stored, JSON in a table of our own, and those that hold for a chain.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vicar_rules::ceiling::{Ceiling, Ceilings, Holder};

use super::{ProjectFacts, UserFacts, roles};
use crate::args;
use crate::clock::SECOND;
use crate::extra;
use crate::store::{CHUNK, Id, Result, Select, Tx};

/// Whose a stored ceiling is, besides the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A domain's.
    Domain,
    /// A project's.
    Project,
    /// A user's, for what they delegate.
    User,
    /// A registered trustee's.
    Trustee,
}

impl Kind {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Project => "project",
            Self::User => "user",
            Self::Trustee => "trustee",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Domain, Self::Project, Self::User, Self::Trustee].into_iter().find(|kind| kind.word() == word)
    }

    fn holder(self, id: &str) -> Holder {
        let id = id.to_owned();
        match self {
            Self::Domain => Holder::Domain(id),
            Self::Project => Holder::Project(id),
            Self::User => Holder::User(id),
            Self::Trustee => Holder::Trustee(id),
        }
    }
}

/// A holder as clients see it: the word, and the id.
pub fn told(holder: &Holder) -> (&'static str, &str) {
    match holder {
        Holder::Domain(id) => (Kind::Domain.word(), id),
        Holder::Project(id) => (Kind::Project.word(), id),
        Holder::User(id) => (Kind::User.word(), id),
        Holder::Trustee(id) => (Kind::Trustee.word(), id),
    }
}

/// The names of limits, in the API and as stored.
pub mod names {
    /// Seconds.
    pub const MAX_LIFETIME: &str = "max_lifetime";
    /// Links below the root.
    pub const MAX_DEPTH: &str = "max_depth";
    /// Ids of roles.
    pub const NEVER_ROLES: &str = "never_roles";
    /// Ids of users.
    pub const ALLOWED_TRUSTEES: &str = "allowed_trustees";
    /// A flag.
    pub const IMPERSONATION: &str = "impersonation";
    /// A flag.
    pub const EXPIRY_REQUIRED: &str = "expiry_required";
    /// A flag.
    pub const KEYPAIRS: &str = "keypairs";
    /// A flag.
    pub const APPLIES_TO_EXISTING: &str = "applies_to_existing";
    /// Of a registered trustee: what to call it.
    pub const NAME: &str = "name";
    /// Of a registered trustee: what it is for.
    pub const DESCRIPTION: &str = "description";
}

/// What is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The ceiling.
    pub ceiling: Ceiling,
    /// What a registered trustee is called.
    pub name: Option<String>,
    /// What they are for.
    pub description: Option<String>,
}

/// As stored: only what limits.
pub fn write(stored: &Stored) -> String {
    let Stored { ceiling: c, name, description } = stored;
    let mut out = json!({});
    if let Some(life) = c.max_life {
        extra::set(&mut out, names::MAX_LIFETIME, life / SECOND);
    }
    if let Some(depth) = c.max_depth {
        extra::set(&mut out, names::MAX_DEPTH, depth);
    }
    if !c.never_roles.is_empty() {
        extra::set(&mut out, names::NEVER_ROLES, json!(c.never_roles));
    }
    if let Some(trustees) = &c.trustees {
        extra::set(&mut out, names::ALLOWED_TRUSTEES, json!(trustees));
    }
    for (name, flag, plain) in [
        (names::IMPERSONATION, c.impersonation, true),
        (names::EXPIRY_REQUIRED, c.end_required, false),
        (names::KEYPAIRS, c.keypairs, true),
        (names::APPLIES_TO_EXISTING, c.applies_to_existing, false),
    ] {
        if flag != plain {
            extra::set(&mut out, name, flag);
        }
    }
    for (key, text) in [(names::NAME, name), (names::DESCRIPTION, description)] {
        if let Some(text) = text {
            extra::set(&mut out, key, text.as_str());
        }
    }
    out.to_string()
}

/// From the stored form; nothing when not all of it is understood, as a limit that is not known may be what matters.
pub fn read(text: &str) -> Option<Stored> {
    let stored: Map<String, Value> = serde_json::from_str(text).ok()?;
    let mut out = Stored::default();
    let c = &mut out.ceiling;
    for (name, value) in &stored {
        match name.as_str() {
            names::MAX_LIFETIME => c.max_life = Some(value.as_i64()?.checked_mul(SECOND)?),
            names::MAX_DEPTH => c.max_depth = Some(u32::try_from(value.as_u64()?).ok()?),
            names::NEVER_ROLES => c.never_roles = serde_json::from_value(value.clone()).ok()?,
            names::ALLOWED_TRUSTEES => c.trustees = Some(serde_json::from_value(value.clone()).ok()?),
            names::IMPERSONATION => c.impersonation = value.as_bool()?,
            names::EXPIRY_REQUIRED => c.end_required = value.as_bool()?,
            names::KEYPAIRS => c.keypairs = value.as_bool()?,
            names::APPLIES_TO_EXISTING => c.applies_to_existing = value.as_bool()?,
            names::NAME => out.name = Some(value.as_str()?.to_owned()),
            names::DESCRIPTION => out.description = Some(value.as_str()?.to_owned()),
            _ => return None,
        }
    }
    Some(out)
}

/// Whether there is any. Nearly everywhere there is none, which is one fact that is remembered.
async fn are_there(tx: &mut Tx) -> Result<bool> {
    tx.exists("SELECT p.kind FROM vicar_delegation_policy p LIMIT 1", &[]).await
}

/// The ceilings that may hold for some chains, as they were read together.
#[derive(Debug, Default)]
pub struct Known {
    stored: BTreeMap<(Kind, String), Option<Ceiling>>,
    /// The projects above each project, nearest first, the domain last.
    above: BTreeMap<String, Vec<String>>,
}

impl Known {
    /// Reads those of these projects, of what is above them, and of these users.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load<'a>(
        tx: &mut Tx,
        projects: impl IntoIterator<Item = &'a ProjectFacts>,
        users: impl IntoIterator<Item = &'a UserFacts>,
    ) -> Result<Self> {
        let mut known = Self::default();
        if !are_there(tx).await? {
            return Ok(known);
        }
        let mut ids = BTreeSet::new();
        for user in users {
            ids.extend([user.id.clone(), user.domain_id.clone()]);
        }
        for project in projects {
            let above = roles::above(tx, &project.id).await?;
            ids.extend(above.iter().cloned().chain(project.domain_id.clone()));
            ids.insert(project.id.clone());
            known.above.insert(project.id.clone(), above);
        }
        for part in ids.into_iter().collect::<Vec<_>>().chunks(CHUNK) {
            let mut q = Select::new("SELECT p.holder_id, p.kind, p.policy FROM vicar_delegation_policy p");
            q.id_in("p.holder_id", part);
            let rows = q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?, r.take::<String>()?)));
            for (id, kind, text) in rows.await? {
                if let Some(kind) = Kind::of(&kind) {
                    known.stored.insert((kind, id), read(&text).map(|stored| stored.ceiling));
                }
            }
        }
        Ok(known)
    }

    /// Those for what is delegated on a project by a user, from the domain down to the user, with those of all trustees that
    /// were read. What is not there holds nothing.
    pub fn holding(&self, project: Option<&ProjectFacts>, root: Option<&UserFacts>) -> Ceilings {
        let mut out = Ceilings::default();
        if self.stored.is_empty() {
            return out;
        }
        let mut levels: Vec<(Kind, &str)> = Vec::new();
        if let Some(project) = project {
            levels.push((Kind::Domain, project.domain_id.as_ref().unwrap_or(&project.id)));
            let above = self.above.get(&project.id).into_iter().flatten().rev();
            levels.extend(above.map(|id| (Kind::Project, id.as_str())));
            levels.push((Kind::Project, &project.id));
        }
        if let Some(user) = root {
            levels.extend([(Kind::Domain, user.domain_id.as_str()), (Kind::User, &user.id)]);
        }
        for (kind, id) in levels {
            if let Some(ceiling) = self.stored.get(&(kind, id.to_owned())) {
                let holder = kind.holder(id);
                // The domain of both is looked at once.
                if out.levels.iter().all(|(other, _)| *other != holder) {
                    out.levels.push((holder, ceiling.clone()));
                }
            }
        }
        let trustees = self.stored.iter().filter(|((kind, _), _)| *kind == Kind::Trustee);
        out.trustees = trustees.map(|((_, id), ceiling)| (id.clone(), ceiling.clone())).collect();
        out
    }
}

/// Whether a user is a registered trustee.
///
/// # Errors
/// When the database fails.
pub async fn is_registered(tx: &mut Tx, user: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM vicar_delegation_policy WHERE kind = ? AND holder_id = ?";
    tx.exists(sql, args![Id(Kind::Trustee.word()), Id(user)]).await
}

/// The ceilings that hold for something new: on a project, resting on a user, for all `others` who take part in it.
///
/// # Errors
/// When the database fails.
pub async fn over_new(
    tx: &mut Tx,
    project: Option<&ProjectFacts>,
    root: &str,
    others: impl IntoIterator<Item = &UserFacts>,
) -> Result<Ceilings> {
    if !are_there(tx).await? {
        return Ok(Ceilings::default());
    }
    let by = super::user(tx, root).await?;
    let mut users = Vec::from_iter(&by);
    for other in others {
        users.push(other);
    }
    let known = Known::load(tx, project, users).await?;
    Ok(known.holding(project, by.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_is_read_as_it_was_written() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let whole = Stored {
            ceiling: Ceiling {
                max_life: Some(60 * SECOND),
                max_depth: Some(0),
                never_roles: set(&["a", "b"]),
                trustees: Some(set(&["u"])),
                impersonation: false,
                end_required: true,
                keypairs: false,
                applies_to_existing: true,
            },
            name: Some("Heat".into()),
            description: Some("stacks".into()),
        };
        let nobody = Ceiling { trustees: Some(set(&[])), ..Ceiling::default() };
        for stored in [whole, Stored { ceiling: nobody, ..Stored::default() }, Stored::default()] {
            assert_eq!(read(&write(&stored)), Some(stored));
        }
        assert_eq!(write(&Stored::default()), "{}");
    }

    #[test]
    fn what_is_not_understood_is_no_ceiling() {
        for text in [
            "",
            "[]",
            r#"{"max_lifetime": 60, "only_on_mondays": true}"#,
            r#"{"max_lifetime": "60"}"#,
            r#"{"max_lifetime": 9223372036854775807}"#,
            r#"{"max_depth": -1}"#,
            r#"{"never_roles": "admin"}"#,
            r#"{"allowed_trustees": null}"#,
            r#"{"keypairs": null}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
