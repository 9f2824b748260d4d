//! Revocation events as Keystone stores them.

use std::collections::BTreeSet;

use vicar_rules::Micros;
use vicar_rules::revocation::Event;

use crate::args;
use crate::clock;
pub use crate::store::revocations::RevocationQuery;
use crate::store::revocations::{COLUMNS, query, shared};
use crate::store::{
    CHUNK, DateTime, Id, Insert, Proof, Result, Row, Select, Tx, Value, WriteTx, placeholders,
};

/// Records a revocation, for the instant of the commit. A Keystone on the same database looks at the last link
/// of a chain alone; so that it honours what concerns somebody further up, the trusts below them get the event
/// as one of their own.
///
/// # Errors
/// As [`WriteTx::at_commit`], or when the database fails.
pub async fn revoke(tx: &mut WriteTx, proof: &impl Proof, event: Event) -> Result<()> {
    let mut events = Vec::new();
    for trust in below_the_concerned(tx, &event).await? {
        events.push(Event { user: None, domain: None, trust: Some(trust), ..event.clone() });
    }
    events.insert(0, event);
    record_events(tx, proof, &events)
}

/// Records a revocation of each of these trusts, for the instant of the commit.
///
/// # Errors
/// As [`WriteTx::at_commit`].
pub fn revoke_trusts(tx: &mut WriteTx, proof: &impl Proof, trusts: &[String]) -> Result<()> {
    let of = |trust: &String| Event { trust: Some(trust.clone()), ..Event::default() };
    record_events(tx, proof, &trusts.iter().map(of).collect::<Vec<_>>())
}

/// Records a revocation of each of these trusts, for tokens that were issued until an instant.
///
/// # Errors
/// When the database fails.
pub async fn revoke_trusts_before(
    tx: &mut WriteTx,
    proof: &impl Proof,
    trusts: &[String],
    before: Micros,
) -> Result<()> {
    let of = |trust: &String| Event { trust: Some(trust.clone()), ..Event::default() };
    let events: Vec<Event> = trusts.iter().map(of).collect();
    events_before(tx, proof, &events, before).await
}

/// Records a revocation for tokens that were issued until an instant.
///
/// # Errors
/// When the database fails.
pub async fn revoke_before(tx: &mut WriteTx, proof: &impl Proof, event: Event, before: Micros) -> Result<()> {
    let of_trusts = below_the_concerned(tx, &event).await?;
    let mut events = vec![event];
    events.extend(of_trusts.into_iter().map(|trust| Event { trust: Some(trust), ..Event::default() }));
    events_before(tx, proof, &events, before).await
}

/// Records events just as they are, for tokens that were issued until an instant.
pub(super) async fn events_before(
    tx: &mut WriteTx,
    proof: &impl Proof,
    events: &[Event],
    before: Micros,
) -> Result<()> {
    for some in events.chunks(AT_ONCE) {
        tx.execute(proof, &insert_events(some, before)).await?;
    }
    Ok(())
}

/// Leaves events for the instant of the commit, just as they are.
pub(super) fn record_events(tx: &mut WriteTx, proof: &impl Proof, events: &[Event]) -> Result<()> {
    for some in events.chunks(AT_ONCE) {
        let some = some.to_vec();
        tx.at_commit(proof, move |instant| insert_events(&some, instant))?;
    }
    Ok(())
}

/// Trusts below those in which somebody takes part whom an event concerns, but not as the last of the chain.
async fn below_the_concerned(tx: &mut Tx, event: &Event) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let (condition, args) = match (&event.user, &event.domain) {
        _ if event.trust.is_some()
            || event.role.is_some()
            || event.audit.is_some()
            || event.audit_chain.is_some() =>
        {
            return Ok(found);
        }
        (Some(user), _) => {
            ("(t.trustor_user_id = ? OR t.trustee_user_id = ?)", args![Id(user), Id(user)].to_vec())
        }
        // With an end it is about tokens scoped to the domain.
        (None, Some(domain)) if event.expires.is_none() => (
            "(t.trustor_user_id IN (SELECT id FROM \"user\" WHERE domain_id = ?)
              OR t.trustee_user_id IN (SELECT id FROM \"user\" WHERE domain_id = ?))",
            args![Id(domain), Id(domain)].to_vec(),
        ),
        _ => return Ok(found),
    };
    let children = |condition: &str, args: &[Value]| {
        let mut q = Select::new(
            "SELECT c.id, c.trustor_user_id, c.trustee_user_id
               FROM trust t JOIN trust c ON c.redelegated_trust_id = t.id",
        );
        // Those with terms are deleted to a Keystone anyway.
        q.and("c.deleted_at IS NULL", &[]).and(condition, args);
        q.id("c.project_id", event.project.as_deref());
        q
    };
    let mut level = vec![children(condition, &args)];
    while !level.is_empty() {
        let mut next = BTreeSet::new();
        for q in level {
            for (id, trustor, trustee) in
                q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?, r.take::<String>()?))).await?
            {
                let is_seen = event.user.as_ref().is_some_and(|u| *u == trustor || *u == trustee);
                if !is_seen && found.insert(id.clone()) {
                    next.insert(id);
                }
            }
        }
        let next: Vec<Value> = next.into_iter().map(|id| Id(id).into()).collect();
        level = next
            .chunks(CHUNK)
            .map(|ids| children(&format!("t.id IN ({})", placeholders(ids.len())), ids))
            .collect();
    }
    Ok(found)
}

/// So many events are written by one statement.
const AT_ONCE: usize = 20;

/// Writes events as Keystone stores them: whole seconds, and every event is dropped once no token can be as
/// old.
fn insert_events(events: &[Event], instant: Micros) -> Insert {
    let second = DateTime(instant / clock::SECOND * clock::SECOND);
    events.iter().fold(Insert::into("revocation_event"), |rows, event| {
        rows.row()
            .set("domain_id", &event.domain)
            .set("project_id", &event.project)
            .set("user_id", &event.user)
            .set("role_id", &event.role)
            .set("trust_id", &event.trust)
            .set("consumer_id", &event.consumer)
            .set("access_token_id", &event.access_token)
            .set("issued_before", second)
            .set("expires_at", event.expires.map(DateTime))
            .set("revoked_at", second)
            .set("audit_id", &event.audit)
            .set("audit_chain_id", &event.audit_chain)
    })
}

/// Reads [`COLUMNS`].
fn read_event(r: &mut Row) -> Result<Event> {
    Ok(Event {
        domain: r.take()?,
        project: r.take()?,
        user: r.take()?,
        role: r.take()?,
        trust: r.take()?,
        consumer: r.take()?,
        access_token: r.take()?,
        audit: r.take()?,
        audit_chain: r.take()?,
        expires: r.take::<Option<DateTime>>()?.map(|d| d.0),
        issued_before: r.take::<DateTime>()?.0,
    })
}

/// An event with the time of its recording and the number of its row: the order of lists.
pub type Recorded = (Micros, i64, Event);

/// Some of the events recorded after an instant, in the order of their rows: [`CHUNK`] at most, those that follow
/// a row.
///
/// # Errors
/// When the database fails.
pub async fn events_since(tx: &mut Tx, since: Option<Micros>, row: i64) -> Result<Vec<Recorded>> {
    let mut q = Select::new(&format!("SELECT {COLUMNS}, revoked_at, id FROM revocation_event"));
    q.and("id > ?", args![row]);
    if let Some(since) = since {
        q.and("revoked_at > ?", args![DateTime(since)]);
    }
    q.end(&format!("ORDER BY id LIMIT {CHUNK}"));
    let found = q.map(tx, |r| Ok((read_event(r)?, r.take::<DateTime>()?.0, r.take()?))).await?;
    Ok(found.into_iter().map(|(event, at, row)| (at, row, event)).collect())
}

/// Events that may concern a token.
///
/// # Errors
/// When the database fails.
pub async fn events(tx: &mut Tx, of: &RevocationQuery<'_>) -> Result<Vec<Event>> {
    // When a token was issued is always the same.
    if !tx.remembers() {
        let (sql, args) = query(of);
        return tx.map_fixed(&sql, &args, read_event).await;
    }
    let mut all = Vec::new();
    for (sql, args) in shared(of) {
        let found = tx.map_fixed(&sql, &args, read_event).await?;
        all.extend(found.into_iter().filter(|event| event.issued_before >= of.issued));
    }
    Ok(all)
}
