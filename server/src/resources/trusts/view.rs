//! Trees of delegations as their owners see them. Reading never depends on liveness.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vicar_rules::application_credential::{CredentialFacts, evaluate as evaluate_credential};
use vicar_rules::basis::{self, Basis, By};
use vicar_rules::delegation::{Chain, Presence, Trust, TrustStatus};
use vicar_rules::loss::Place;
use vicar_rules::policy::Op;
use vicar_rules::roles::RoleSet;
use vicar_rules::token;

use crate::args;
use crate::auth::keypair::credential_id;
use crate::authz::Reading;
use crate::clock;
use crate::error::Result;
use crate::extra;
use crate::facts::application_credentials::{self, StoredCredential};
use crate::facts::evidence::{Evidences, Kind};
use crate::facts::{self, EvaluatedTrust};
use crate::living;
use crate::resources::keypairs::sql::{self as keypairs, BoundTo};
use crate::resources::oauth1::access_tokens;
use crate::resources::roles::named;
use crate::store::tree::TRUSTS;
use crate::store::{Id, Tx};

/// So many trusts are evaluated at once; others' requests are served in between.
const BATCH: usize = 200;

/// Evaluates stored trusts, each in its chain. Many are a long read.
async fn evaluate(s: &mut Reading<'_>, ids: &[String]) -> Result<Vec<EvaluatedTrust>> {
    let implications = s.caller()?.implications(&mut s.tx).await?;
    let mut out = Vec::with_capacity(ids.len());
    for (n, part) in ids.chunks(BATCH).enumerate() {
        if n > 0 {
            s.take_long().await?;
        }
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        let chains = facts::chains(&mut s.tx, &part).await?;
        out.extend(facts::evaluate_all(&mut s.tx, chains, s.now, &implications).await?);
    }
    Ok(out)
}

/// The state's word. A trust that the reaper has ended shows why it ended, not that it was reaped.
pub fn word<'a>(status: &TrustStatus, recorded: Option<&'a str>) -> &'a str {
    match (status.word(), recorded) {
        ("deleted", Some(r @ ("expired" | "exhausted" | "broken"))) => r,
        (w, _) => w,
    }
}

/// One link as a tree shows it.
struct LineageView {
    roles: BTreeMap<String, String>,
    reasons: BTreeMap<String, String>,
    /// By trust.
    keypairs: BTreeMap<String, Vec<BoundTo>>,
    evidence: Evidences,
    of_keypairs: Evidences,
    /// What the roles of all these trusts rest on, where that is shown.
    grounds: Option<Grounds>,
}

/// What the roles rest on that trusts of one chain delegate.
struct Grounds {
    bases: BTreeMap<String, Basis>,
    /// Whether groups, providers and places are named: to whoever knows them anyway.
    names_all: bool,
}

impl Grounds {
    /// Those of a chain. Whoever holds the roles knows it, and whoever sees role assignments anywhere.
    async fn of(s: &mut Reading<'_>, chain: &Chain, trusts: &[&EvaluatedTrust]) -> Result<Option<Self>> {
        let Some(project) = &chain.leaf().project else { return Ok(None) };
        let caller = s.caller()?;
        let is_login = caller.kind() == token::Kind::Login;
        let names_all =
            is_login && (caller.user_id() == chain.holder() || s.allows_any(Op::ListRoleAssignments)?);
        let roles: RoleSet = trusts.iter().flat_map(|j| j.chain().leaf().roles.iter().cloned()).collect();
        let bases = facts::bases::on_project(&mut s.tx, chain.holder(), project, &roles).await?;
        Ok(Some(Self { bases, names_all }))
    }

    fn shown(&self, role: &str) -> Value {
        let Some(basis) = self.bases.get(role) else { return Value::Null };
        let (word, group, provider) = match &basis.by {
            By::User => ("user", None, None),
            By::Group(group) => ("group", Some(group), None),
            By::Membership { group, provider, .. } => ("membership", Some(group), Some(provider)),
        };
        let mut out = json!({
            "type": word,
            "implied_by": basis.implied_by,
            "is_inherited": basis.inherited_from.is_some(),
            "membership_expires_at": basis.term().map(|term| clock::iso(term.until)),
        });
        if self.names_all {
            let from = basis.inherited_from.as_ref().and_then(|place| match place {
                Place::Project(id) => Some(json!({"project_id": id})),
                Place::Domain(id) => Some(json!({"domain_id": id})),
                Place::System => None,
            });
            let named = json!({"group_id": group, "identity_provider_id": provider, "inherited_from": from});
            if let Value::Object(named) = named {
                extra::add(&mut out, named);
            }
        }
        out
    }

    /// When the first of some roles is lost with a membership.
    fn lapse(&self, roles: &RoleSet) -> Option<String> {
        basis::lapse(&self.bases, roles).map(|term| clock::iso(term.until))
    }
}

impl LineageView {
    async fn over(tx: &mut Tx, trusts: &[&EvaluatedTrust]) -> Result<Self> {
        let ids: Vec<&str> = trusts.iter().map(|j| j.chain().leaf().id.as_str()).collect();
        let mut by_trust: BTreeMap<String, Vec<BoundTo>> = BTreeMap::new();
        for keypair in keypairs::of_trusts(tx, &ids).await? {
            by_trust.entry(keypair.trust_id.clone()).or_default().push(keypair);
        }
        let of_trusts = trusts.iter().flat_map(|j| &j.chain().leaf().roles);
        let of_keypairs = by_trust.values().flatten().filter_map(|k| k.roles.as_ref()).flatten();
        let roles = named::names(tx, of_trusts.chain(of_keypairs).collect()).await?;
        let keypairs = by_trust.values().flatten().map(|k| credential_id(&k.access));
        Ok(Self {
            roles,
            reasons: super::sql::reasons(tx, &ids).await?,
            evidence: Evidences::of(tx, Kind::Trust, &ids).await?,
            of_keypairs: Evidences::of(tx, Kind::Keypair, keypairs).await?,
            keypairs: by_trust,
            grounds: None,
        })
    }

    fn role(&self, id: &String) -> Value {
        json!({"id": id, "name": self.roles.get(id)})
    }

    fn keypair(&self, k: &BoundTo) -> Value {
        let mut out = json!({
            "access": k.access,
            "expires_at": k.until.to_option().map(clock::iso),
            "roles": k.roles.as_ref().map(|r| r.iter().map(|id| self.role(id)).collect::<Vec<_>>()),
            "evidence": self.of_keypairs.to_json(&credential_id(&k.access)),
        });
        if let Some(rules) = facts::terms::rules_to_json(&k.access_rules) {
            extra::set(&mut out, "access_rules", rules);
        }
        out
    }

    fn link(&self, j: &EvaluatedTrust) -> Value {
        let t = j.chain().leaf();
        let recorded = self.reasons.get(&t.id).map(String::as_str);
        let grounds = self.grounds.as_ref().filter(|_| !j.status().ended());
        let role = |id: &String| {
            let mut role = self.role(id);
            if let Some(grounds) = grounds {
                extra::set(&mut role, "basis", grounds.shown(id));
            }
            role
        };
        let roles: Vec<Value> = t.roles.iter().map(role).collect();
        let keypairs: Vec<Value> =
            self.keypairs.get(&t.id).into_iter().flatten().map(|k| self.keypair(k)).collect();
        let mut out = json!({
            "id": t.id,
            "depth": j.chain().links().len() - 1,
            "trustor_user_id": t.trustor,
            "trustee_user_id": t.trustee,
            "project_id": t.project,
            "impersonation": t.impersonation,
            "roles": roles,
            "expires_at": t.until.to_option().map(clock::iso),
            "remaining_uses": t.remaining_uses,
            "redelegated_trust_id": t.parent,
            "redelegation_count": t.hops,
            "keypairs": keypairs,
            "evidence": self.evidence.to_json(&t.id),
            "state": word(j.status(), recorded),
            "reason": j.status().reason().or_else(|| recorded.map(str::to_owned)),
        });
        extra::add(&mut out, super::render::more(t));
        if let Some(at) = grounds.and_then(|grounds| grounds.lapse(&t.roles)) {
            extra::set(&mut out, "lapses_at", at);
        }
        out
    }
}

/// Ancestors up to the root, the trust itself, and the subtree below, in the order of depth.
///
/// # Errors
/// When the database fails; as [`crate::authz::Session::take_long`].
pub async fn lineage(s: &mut Reading<'_>, of: &EvaluatedTrust) -> Result<Value> {
    let id = &of.chain().leaf().id;
    let mut below = TRUSTS.ids_below(&mut s.tx, id).await?;
    below.retain(|other| other != id);
    let above: Vec<String> = of.chain().links().iter().map(|t| t.id.clone()).collect();
    let above = evaluate(s, &above).await?;
    let mut below = evaluate(s, &below).await?;
    below.sort_by_key(|j| (j.chain().links().len(), j.chain().leaf().id.clone()));
    let all: Vec<&EvaluatedTrust> = above.iter().chain(&below).collect();
    let grounds = Grounds::of(s, of.chain(), &all).await?;
    let view = LineageView { grounds, ..LineageView::over(&mut s.tx, &all).await? };
    let show = |all: &[EvaluatedTrust]| all.iter().map(|j| view.link(j)).collect::<Vec<_>>();
    let ancestors = above.split_last().map_or_else(Vec::new, |(_, ancestors)| show(ancestors));
    Ok(json!({
        "trust_id": id,
        "ancestors": ancestors,
        "trust": view.link(of),
        "subtree": show(&below),
    }))
}

/// Those of some trusts that have not ended, by id, as trees show them.
///
/// # Errors
/// When the database fails; as [`crate::authz::Session::take_long`].
pub async fn living(s: &mut Reading<'_>, ids: &[String]) -> Result<Vec<(String, Value)>> {
    let all = evaluate(s, ids).await?;
    let living: Vec<&EvaluatedTrust> = all.iter().filter(|j| !j.status().ended()).collect();
    let view = LineageView::over(&mut s.tx, &living).await?;
    Ok(living.into_iter().map(|j| (j.chain().leaf().id.clone(), view.link(j))).collect())
}

/// What a deletion would end.
pub async fn would_end(tx: &mut Tx, id: &str) -> Result<Value> {
    let falls: Vec<Trust> =
        facts::subtree(tx, id).await?.into_iter().filter(|t| t.deleted_at.is_none()).collect();
    let ids: Vec<&str> = falls.iter().map(|t| t.id.as_str()).collect();
    let keypairs: Vec<Value> = keypairs::of_trusts(tx, &ids)
        .await?
        .iter()
        .map(|k| json!({"access": k.access, "trust_id": k.trust_id}))
        .collect();
    let trusts: Vec<Value> = falls
        .iter()
        .map(|t| {
            json!({
                "id": t.id,
                "trustor_user_id": t.trustor,
                "trustee_user_id": t.trustee,
                "redelegated_trust_id": t.parent,
            })
        })
        .collect();
    Ok(json!({"trusts": trusts, "keypairs": keypairs}))
}

/// Trusts that may act for a user at any depth. Below one that was deleted nothing lives.
async fn acting_for(tx: &mut Tx, user: &str) -> Result<Vec<String>> {
    Ok(tx
        .column(
            concat!(
                "WITH RECURSIVE acting(id) AS (
                 SELECT t.id FROM trust t WHERE t.trustor_user_id = ? AND ",
                living!("t"),
                "
                 UNION
                 SELECT t.id FROM vicar_adoption a JOIN trust t ON t.id = a.trust_id WHERE a.user_id = ? AND ",
                living!("t"),
                "
                 UNION
                 SELECT t.id FROM trust t JOIN acting ON t.redelegated_trust_id = acting.id
                  WHERE ",
                living!("t"),
                ")
             SELECT id FROM acting ORDER BY id"
            ),
            args![Id(user), Id(user)],
        )
        .await?)
}

/// Both sides of a user: what acts for them at any depth, and for whom they act.
///
/// # Errors
/// When the database fails; as [`crate::authz::Session::take_long`].
pub async fn delegations(s: &mut Reading<'_>, user: &str) -> Result<Map<String, Value>> {
    let acting = acting_for(&mut s.tx, user).await?;
    let acts = facts::trust_ids(&mut s.tx, |q| {
        q.id("t.trustee_user_id", Some(user)).and(living!("t"), &[]).end("ORDER BY t.id");
    })
    .await?;
    if acting.len() + acts.len() > BATCH {
        s.take_long().await?;
    }
    let living =
        |all: Vec<EvaluatedTrust>| all.into_iter().filter(|j| !j.status().ended()).collect::<Vec<_>>();
    let acting = living(evaluate(s, &acting).await?);
    let acts = living(evaluate(s, &acts).await?);
    let tx = &mut s.tx;
    let all: Vec<&EvaluatedTrust> = acting.iter().chain(&acts).collect();
    let view = LineageView::over(tx, &all).await?;
    let own = keypairs::find(tx, |q| {
        q.and("c.user_id = ? AND c.type = ?", args![Id(user), Id(keypairs::PLAIN)]);
    })
    .await?;
    let application_credentials = application_credentials(s, user).await?;
    let mut out = Map::new();
    let show = |all: &[EvaluatedTrust]| Value::from(all.iter().map(|j| view.link(j)).collect::<Vec<_>>());
    out.insert("acting_for_user".into(), show(&acting));
    out.insert("user_acts_for".into(), show(&acts));
    let evidence = Evidences::of(&mut s.tx, Kind::Keypair, own.iter().map(|c| &c.id)).await?;
    let plain = |c: &keypairs::Credential| json!({"credential_id": c.id, "project_id": c.project_id, "evidence": evidence.to_json(&c.id)});
    let plain: Vec<Value> = own.iter().map(plain).collect();
    out.insert("keypairs".into(), plain.into());
    out.insert("application_credentials".into(), application_credentials.into());
    out.insert("access_tokens".into(), access_tokens::delegations(s, user).await?.into());
    Ok(out)
}

/// The application credentials of a user, with what each is worth now.
async fn application_credentials(s: &mut Reading<'_>, user: &str) -> Result<Vec<Value>> {
    let all = application_credentials::find(&mut s.tx, |q| {
        q.id("c.user_id", Some(user)).end("ORDER BY c.id");
    })
    .await?;
    if all.len() > BATCH {
        s.take_long().await?;
    }
    of_credentials(s, &all).await
}

/// The same of application credentials of several users.
///
/// # Errors
/// When the database fails.
pub async fn of_credentials(s: &mut Reading<'_>, all: &[StoredCredential]) -> Result<Vec<Value>> {
    let implications = s.caller()?.implications(&mut s.tx).await?;
    let mut places: BTreeMap<(&str, Option<&str>), (Presence, RoleSet)> = BTreeMap::new();
    let owners: BTreeSet<&str> = all.iter().map(|stored| stored.credential.user.as_str()).collect();
    let owners = facts::users::users(&mut s.tx, owners).await?;
    let ids = all.iter().map(|stored| &stored.credential.id);
    let evidence = Evidences::of(&mut s.tx, Kind::ApplicationCredential, ids).await?;
    let mut out = Vec::new();
    for stored in all {
        let own = &stored.credential;
        let user = own.user.as_str();
        let owner = owners.get(user).map_or(Presence::Missing, |u| u.presence);
        let place = (user, own.project.as_deref());
        if let Entry::Vacant(unknown) = places.entry(place) {
            unknown.insert(match &own.project {
                None => (Presence::Missing, RoleSet::new()),
                Some(id) => (
                    facts::project(&mut s.tx, id).await?.map_or(Presence::Missing, |p| p.presence),
                    facts::effective_roles(&mut s.tx, user, facts::Place::Project(id), &implications).await?,
                ),
            });
        }
        let (project, held) = places.get(&place).cloned().unwrap_or((Presence::Missing, RoleSet::new()));
        let facts = CredentialFacts { now: s.now, held: &held, user: owner, project };
        let status = evaluate_credential(own, &facts);
        let roles: Vec<Value> = own.roles.iter().map(|id| json!({"id": id})).collect();
        out.push(json!({
            "id": own.id,
            "name": stored.name,
            "user_id": own.user,
            "project_id": own.project,
            "roles": roles,
            "expires_at": own.until.to_option().map(clock::iso),
            "unrestricted": own.unrestricted,
            "evidence": evidence.to_json(&own.id),
            "state": status.word(),
            "reason": status.reason(),
        }));
    }
    Ok(out)
}
