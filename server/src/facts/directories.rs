//! Users of directories: what was read of them last counts for a time, and what is older is read anew before it does. What was
//! read is in the tables of users and groups, like that of everybody else; here is how much it is worth.

use std::collections::BTreeMap;

use vicar_rules::delegation::Presence;
use vicar_rules::directory::{Reading, Standing};

use super::{UserFacts, domain};
use crate::args;
use crate::store::{CHUNK, Error, Id, Outcome, Result, Select, Tx, Unread};

/// Whether a domain has a directory.
///
/// # Errors
/// When the database fails.
pub async fn is_served(tx: &mut Tx, id: &str) -> Result<bool> {
    let Some(all) = tx.directories().cloned() else { return Ok(false) };
    if all.are_stored {
        let sql = "SELECT value FROM whitelisted_config
                    WHERE domain_id = ? AND \"group\" = 'identity' AND \"option\" = 'driver'";
        let driver: Option<String> = tx.first(sql, args![Id(id)], |r| r.take()).await?;
        return Ok(driver.is_some_and(|driver| driver == "\"ldap\""));
    }
    Ok(!all.names.is_empty() && domain(tx, id).await?.is_some_and(|found| all.names.contains(&found.name)))
}

/// What was read of an entry, by its id here: itself, or with all of its domain.
async fn readings(tx: &mut Tx, ids: &[&str]) -> Result<BTreeMap<String, Reading>> {
    let mut out = BTreeMap::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new(
            "SELECT e.public_id, e.read_at, e.gone_at, d.read_at FROM vicar_directory_entry e
               LEFT JOIN vicar_directory d ON d.domain_id = e.domain_id",
        );
        q.id_in("e.public_id", part.iter().copied());
        let found = q.map(tx, |r| {
            let (id, own): (String, i64) = (r.take()?, r.take()?);
            let is_gone = r.take::<Option<i64>>()?.is_some();
            let whole: Option<i64> = r.take()?;
            Ok((id, Reading { at: whole.unwrap_or(own).max(own), is_gone }))
        });
        out.extend(found.await?);
    }
    Ok(out)
}

/// Whether what was read of a user counts now.
///
/// # Errors
/// When the database fails.
pub async fn is_known(tx: &mut Tx, id: &str) -> Result<bool> {
    let (span, now) = (tx.directories().map_or(0, |all| all.span), tx.began());
    let reading = readings(tx, &[id]).await?.remove(id);
    Ok(reading.is_some_and(|reading| reading.standing(span, now) != Standing::Unknown))
}

/// The id in the directory and the domain of each of these users that has one, by the id here.
///
/// # Errors
/// When the database fails.
pub async fn mapped(tx: &mut Tx, ids: &[&str]) -> Result<BTreeMap<String, (String, String)>> {
    let mut out = BTreeMap::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new("SELECT m.public_id, m.domain_id, m.local_id FROM id_mapping m");
        q.and("m.entity_type = 'user'", &[]).id_in("m.public_id", part.iter().copied());
        let found = q.map(tx, |r| Ok((r.take::<String>()?, (r.take()?, r.take()?))));
        out.extend(found.await?);
    }
    Ok(out)
}

/// Looks what users of directories are worth at this instant: one who is gone is not there, and of one of whom nothing is known
/// it is said so. `wanted` are all who are asked for, and `found` those with a row; `not_here` says who of these has no name of
/// this server's own.
///
/// # Errors
/// [`Error::Unread`] when a directory is to be read first.
pub(super) async fn settle(
    tx: &mut Tx,
    wanted: &[&str],
    found: &mut BTreeMap<String, UserFacts>,
    not_here: &[String],
) -> Result<()> {
    let theirs = |id: &str| !found.contains_key(id) || not_here.iter().any(|other| other == id);
    let ids: Vec<&str> = wanted.iter().copied().filter(|id| theirs(id)).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let readings = readings(tx, &ids).await?;
    let never: Vec<&str> = ids.iter().copied().filter(|id| !readings.contains_key(*id)).collect();
    let mapped = if never.is_empty() { BTreeMap::new() } else { mapped(tx, &never).await? };
    let (now, asked) = (tx.began(), tx.asked().cloned());
    let span = tx.directories().map_or(0, |all| all.span);
    let mut unread = Vec::new();
    for id in ids {
        let reading = readings.get(id);
        if reading.is_none() {
            match mapped.get(id) {
                Some((domain, _)) if is_served(tx, domain).await? => {}
                _ => continue,
            }
        }
        let outcome = asked.as_ref().and_then(|asked| asked.users.get(id));
        let standing = match (reading.map(|r| r.standing(span, now)), outcome) {
            // What was asked for this request was said of this instant.
            (Some(Standing::Unknown) | None, Some(Outcome::Read)) => {
                tx.holds_until(now);
                match reading {
                    Some(Reading { is_gone: false, .. }) => Standing::Counts(now),
                    _ => Standing::Gone(now),
                }
            }
            (None, Some(Outcome::Nobodys)) => continue,
            // The domain has no directory any more: nobody says that they are good, and what they have gives nothing.
            (Some(_), Some(Outcome::Nobodys)) => {
                tx.holds_until(now);
                if let Some(user) = found.get_mut(id) {
                    user.presence = Presence::Disabled;
                }
                continue;
            }
            (known, _) => known.unwrap_or(Standing::Unknown),
        };
        match standing {
            Standing::Counts(until) if found.contains_key(id) => tx.holds_until(until),
            // To whoever cannot ask whether they are back, such as the reaper, they may be.
            Standing::Gone(until) if asked.is_some() => {
                tx.holds_until(until);
                found.remove(id);
            }
            _ if asked.is_some() && outcome.is_none() => unread.push(id.to_owned()),
            _ => {
                tx.holds_until(now);
                let user = found.entry(id.to_owned()).or_insert_with(|| UserFacts::nameless(id));
                (user.presence, user.is_unknown) = (Presence::Disabled, true);
            }
        }
    }
    // Of more than these, the others are asked for when these are known.
    unread.truncate(CHUNK);
    if unread.is_empty() { Ok(()) } else { Err(Error::Unread(Unread::Users(unread))) }
}

/// Has all users and groups of a domain read, if it has a directory and they were not lately.
///
/// # Errors
/// [`Error::Unread`] when they are to be read first, [`Error::DirectoryAway`] when that was in vain.
pub async fn require_whole(tx: &mut Tx, id: &str) -> Result<()> {
    if !is_served(tx, id).await? {
        return Ok(());
    }
    let at: Option<i64> = tx
        .first("SELECT read_at FROM vicar_directory WHERE domain_id = ?", args![Id(id)], |r| r.take())
        .await?;
    let span = tx.directories().map_or(0, |all| all.span);
    let standing = at.map(|at| Reading { at, is_gone: false }.standing(span, tx.began()));
    match (standing, tx.asked().map(|asked| asked.domains.get(id))) {
        (Some(Standing::Counts(_)), _) | (_, Some(Some(Outcome::Read | Outcome::Nobodys))) => Ok(()),
        (_, Some(None)) => Err(Error::Unread(Unread::Whole(id.to_owned()))),
        (_, Some(Some(Outcome::Away)) | None) => Err(Error::DirectoryAway),
    }
}

/// Whether a user is one of a directory.
///
/// # Errors
/// When the database fails.
pub async fn has_user(tx: &mut Tx, id: &str) -> Result<bool> {
    if tx.directories().is_none() {
        return Ok(false);
    }
    match mapped(tx, &[id]).await?.remove(id) {
        Some((domain, _)) => is_served(tx, &domain).await,
        None => Ok(false),
    }
}

/// Whether a group is one of a directory.
///
/// # Errors
/// When the database fails.
pub async fn has_group(tx: &mut Tx, id: &str) -> Result<bool> {
    Ok(domain_of_group(tx, id).await?.is_some())
}

/// The domain of a group of a directory; nothing for other groups.
///
/// # Errors
/// When the database fails.
pub async fn domain_of_group(tx: &mut Tx, group: &str) -> Result<Option<String>> {
    if tx.directories().is_none() {
        return Ok(None);
    }
    let sql = "SELECT domain_id FROM id_mapping WHERE public_id = ? AND entity_type = 'group'";
    let found: Option<String> = tx.first(sql, args![Id(group)], |r| r.take()).await?;
    match found {
        Some(domain) if is_served(tx, &domain).await? => Ok(Some(domain)),
        _ => Ok(None),
    }
}
