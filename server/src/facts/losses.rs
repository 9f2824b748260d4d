//! Roles that were taken away, as recorded: `vicar_role_loss`. See `vicar_rules::loss`.

use std::collections::{BTreeMap, BTreeSet};

use vicar_rules::Micros;
use vicar_rules::loss::{self, Carried, Lost, LostPlace, Place};
use vicar_rules::revocation::Event;
use vicar_rules::roles::RoleSet;

use super::holdings::Holdings;
use super::revocations::{events_before, record_events};
use crate::args;
use crate::clock::{self, SECOND};
use crate::ids;
use crate::store::{CHUNK, Id, Insert, Proof, Result, Row, Select, Tx, WriteTx};

/// What some users held before a change that can take roles from them.
#[derive(Debug)]
pub struct RoleLossGuard {
    users: BTreeSet<String>,
    /// Groups among these, as tokens of federated users name groups themselves.
    groups: BTreeSet<String>,
    before: Holdings,
}

impl RoleLossGuard {
    /// Looks what the users hold, before the change.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(tx: &mut Tx, users: impl IntoIterator<Item = String>) -> Result<Self> {
        let users: BTreeSet<String> = users.into_iter().collect();
        let before = Holdings::load(tx, &users).await?;
        Ok(Self { users, groups: BTreeSet::new(), before })
    }

    /// The same for groups too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_for(tx: &mut Tx, of: Holders) -> Result<Self> {
        let all = of.users.iter().chain(&of.groups).cloned();
        Ok(Self { groups: of.groups.clone(), ..Self::begin(tx, all).await? })
    }

    /// Looks again, after the change, and records exactly what each user lost in each place: so a token that
    /// carried it ends for good, and nothing else does.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish(self, tx: &mut WriteTx, proof: &impl Proof) -> Result<()> {
        let (records, events) = self.lost(tx).await?;
        record_events(tx, proof, &events)?;
        for some in records.chunks(AT_ONCE) {
            let some = some.to_vec();
            tx.at_commit(proof, move |instant| insert(&some, instant))?;
        }
        Ok(())
    }

    /// The same for tokens that were issued until an instant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_before(self, tx: &mut WriteTx, proof: &impl Proof, before: Micros) -> Result<()> {
        let (records, events) = self.lost(tx).await?;
        events_before(tx, proof, &events, before).await?;
        for some in records.chunks(AT_ONCE) {
            tx.execute(proof, &insert(some, before)).await?;
        }
        Ok(())
    }

    /// What was lost, and how a Keystone is told of it.
    async fn lost(&self, tx: &mut Tx) -> Result<(Vec<Lost>, Vec<Event>)> {
        let after = Holdings::load(tx, &self.users).await?;
        let act = ids::uuid();
        let mut records = Vec::new();
        for user in self.before.users() {
            records.extend(self.lost_by(user, &after, &act));
        }
        // A Keystone looks at what groups hold each time.
        let of_users: Vec<Lost> =
            records.iter().filter(|record| !self.groups.contains(&record.user)).cloned().collect();
        let events = keystone_events(tx, &of_users, &after).await?;
        Ok((records, events))
    }

    fn lost_by(&self, user: &str, after: &Holdings, act: &str) -> Vec<Lost> {
        let lost = |place: &LostPlace| {
            let (before, after) = (self.before.effective(user, place), after.effective(user, place));
            loss::lost(&before, &after, self.before.implications()).unwrap_or_default()
        };
        let all: Vec<(&LostPlace, RoleSet)> = self.before.places(user).map(|p| (p, lost(p))).collect();
        let below = |id: &String| {
            all.iter().any(|(p, roles)| !roles.is_empty() && matches!(p, LostPlace::Below(x) if x == id))
        };
        all.iter()
            // Nothing was lost here, though it was above: that has to be said.
            .filter(|(place, roles)| !roles.is_empty() || self.before.above(place).iter().any(below))
            .map(|(place, roles)| Lost {
                user: user.to_owned(),
                place: (*place).clone(),
                roles: roles.clone(),
                at: 0,
                act: act.to_owned(),
            })
            .collect()
    }
}

/// A Keystone on the same database knows events only. It can be told of projects: that a token with such a
/// role ends or, when nothing is held any more, that all do. It looks at the last link of a chain alone, so
/// the trusts below the user's own get the event as one of theirs.
async fn keystone_events(tx: &mut Tx, records: &[Lost], after: &Holdings) -> Result<Vec<Event>> {
    let told: Vec<(&Lost, &String)> = records
        .iter()
        .filter(|r| !r.roles.is_empty())
        .filter_map(|r| match &r.place {
            LostPlace::At(Place::Project(project)) => Some((r, project)),
            LostPlace::At(Place::Domain(_) | Place::System) | LostPlace::Below(_) => None,
        })
        .collect();
    let below = below_own_trusts(tx, told.iter().map(|(r, _)| r.user.as_str()).collect()).await?;
    let mut events = Vec::new();
    for (record, project) in told {
        let all =
            Event { user: Some(record.user.clone()), project: Some(project.clone()), ..Event::default() };
        if after.effective(&record.user, &record.place).is_empty() {
            events.push(all.clone());
        }
        for role in &record.roles {
            let event = Event { role: Some(role.clone()), ..all.clone() };
            for trust in below.get(&(record.user.clone(), project.clone())).into_iter().flatten() {
                events.push(Event { user: None, trust: Some(trust.clone()), ..event.clone() });
            }
            events.push(event);
        }
    }
    Ok(events)
}

/// Trusts below those that users delegated by themselves, by trustor and project.
async fn below_own_trusts(
    tx: &mut Tx,
    users: BTreeSet<&str>,
) -> Result<BTreeMap<(String, String), Vec<String>>> {
    let users: Vec<&str> = users.into_iter().collect();
    let mut level: BTreeMap<String, (String, String)> = BTreeMap::new();
    for part in users.chunks(CHUNK) {
        let mut q = Select::new("SELECT t.id, t.trustor_user_id, t.project_id FROM trust t");
        q.and("t.redelegated_trust_id IS NULL AND t.redelegation_count > 0", &[])
            // Those with terms are deleted to a Keystone anyway.
            .and("t.deleted_at IS NULL", &[])
            .and("t.project_id IS NOT NULL", &[])
            .id_in("t.trustor_user_id", part.iter().copied());
        level.extend(q.map(tx, |r| Ok((r.take()?, (r.take()?, r.take()?)))).await?);
    }
    let mut out: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    while !level.is_empty() {
        let mut next = BTreeMap::new();
        let ids: Vec<&str> = level.keys().map(String::as_str).collect();
        for part in ids.chunks(CHUNK) {
            let mut q = Select::new("SELECT c.id, c.redelegated_trust_id FROM trust c");
            q.and("c.deleted_at IS NULL", &[]).id_in("c.redelegated_trust_id", part.iter().copied());
            for (id, parent) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
                if let Some(root) = level.get(&parent).filter(|_| seen.insert(id.clone())) {
                    out.entry(root.clone()).or_default().push(id.clone());
                    next.insert(id, root.clone());
                }
            }
        }
        level = next;
    }
    Ok(out)
}

/// So many records are written by one statement.
const AT_ONCE: usize = 50;

fn insert(records: &[Lost], instant: Micros) -> Insert {
    records.iter().fold(Insert::into("vicar_role_loss"), |rows, record| {
        let (kind, place) = match &record.place {
            LostPlace::At(Place::Project(id)) => ("project", id.as_str()),
            LostPlace::At(Place::Domain(id)) => ("domain", id.as_str()),
            LostPlace::At(Place::System) => ("system", "all"),
            LostPlace::Below(id) => ("below", id.as_str()),
        };
        rows.row()
            .set("act", &record.act)
            .set("user_id", &record.user)
            .set("place_type", kind)
            .set("place_id", place)
            .set("roles", serde_json::json!(record.roles).to_string())
            .set("lost_at", instant)
    })
}

fn read(r: &mut Row) -> Result<Lost> {
    let (act, user): (String, String) = (r.take()?, r.take()?);
    let (kind, id): (String, String) = (r.take()?, r.take()?);
    let roles: String = r.take()?;
    let place = match kind.as_str() {
        "project" => LostPlace::At(Place::Project(id)),
        "domain" => LostPlace::At(Place::Domain(id)),
        "system" => LostPlace::At(Place::System),
        _ => LostPlace::Below(id),
    };
    Ok(Lost { user, place, roles: serde_json::from_str(&roles).unwrap_or_default(), at: r.take()?, act })
}

/// When the latest loss happened that ended a token; nothing when none did.
///
/// # Errors
/// When the database fails.
pub async fn lost_at(tx: &mut Tx, token: &Carried<'_>) -> Result<Option<Micros>> {
    let since = token.issued.div_euclid(SECOND) * SECOND;
    // From the beginning of the hour, it is remembered for all tokens of the user that were issued in it.
    let records = tx
        .map(
            "SELECT act, user_id, place_type, place_id, roles, lost_at FROM vicar_role_loss
              WHERE user_id = ? AND lost_at >= ?",
            args![Id(token.holder), clock::hour(since)],
            read,
        )
        .await?;
    let records: Vec<Lost> = records.into_iter().filter(|lost| lost.at >= since).collect();
    if records.is_empty() {
        return Ok(None);
    }
    let above = match token.place {
        Place::Project(id) if records.iter().any(|r| matches!(r.place, LostPlace::Below(_))) => {
            super::roles::above(tx, id).await?
        }
        Place::Project(_) | Place::Domain(_) | Place::System => Vec::new(),
    };
    Ok(loss::ended_at(&records, &Carried { above: &above, ..token.clone() }))
}

/// Those of some groups from which something was taken since an instant.
///
/// # Errors
/// When the database fails.
pub async fn losers_among(tx: &mut Tx, groups: &[String], since: Micros) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for part in groups.chunks(CHUNK) {
        let mut q = Select::new("SELECT DISTINCT user_id FROM vicar_role_loss");
        q.and("lost_at >= ?", args![since.div_euclid(SECOND) * SECOND]).id_in("user_id", part);
        found.extend(q.map(tx, |r| r.take::<String>()).await?);
    }
    Ok(found)
}

/// The users whom a change can take roles from; and the groups, which hold for the tokens that name them.
#[derive(Debug, Default)]
pub struct Holders {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Holders {
    /// A user.
    pub fn user(id: &str) -> Self {
        Self { users: BTreeSet::from([id.to_owned()]), groups: BTreeSet::new() }
    }

    /// A group, and who is in it; those for a time, expired or not, among them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group(tx: &mut Tx, id: &str) -> Result<Self> {
        let sql = "SELECT user_id FROM user_group_membership WHERE group_id = ?
                   UNION SELECT user_id FROM expiring_user_group_membership WHERE group_id = ?";
        let users: Vec<String> = tx.column(sql, args![Id(id), Id(id)]).await?;
        Ok(Self { users: users.into_iter().collect(), groups: BTreeSet::from([id.to_owned()]) })
    }
}

/// Who holds some of these roles.
///
/// # Errors
/// When the database fails.
pub async fn holders_of(tx: &mut Tx, roles: &RoleSet) -> Result<Holders> {
    let mut out = Holders::default();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    for part in roles.chunks(CHUNK) {
        for (table, user, group) in [
            (
                "assignment",
                "a.type IN ('UserProject', 'UserDomain')",
                "a.type IN ('GroupProject', 'GroupDomain')",
            ),
            ("system_assignment", "a.type = 'UserSystem'", "a.type = 'GroupSystem'"),
        ] {
            let mut q = Select::new(&format!("SELECT DISTINCT a.actor_id FROM {table} a"));
            q.and(user, &[]).id_in("a.role_id", part.iter().copied());
            out.users.extend(q.map(tx, |r| r.take::<String>()).await?);
            let mut q = Select::new(&format!("SELECT DISTINCT a.actor_id FROM {table} a"));
            q.and(group, &[]).id_in("a.role_id", part.iter().copied());
            out.groups.extend(q.map(tx, |r| r.take::<String>()).await?);
            for members in ["user_group_membership", "expiring_user_group_membership"] {
                let mut q = Select::new(&format!(
                    "SELECT DISTINCT m.user_id FROM {table} a JOIN {members} m ON m.group_id = a.actor_id"
                ));
                q.and(group, &[]).id_in("a.role_id", part.iter().copied());
                out.users.extend(q.map(tx, |r| r.take::<String>()).await?);
            }
        }
    }
    Ok(out)
}
