//! Trusts: what may be given away, and what a chain of them is worth now.
//!
//! Authority is a meet-semilattice: [`Authority`] is ordered field by field, and [`Authority::meet`]
//! takes the lesser of each. A delegation is made by [`grant`] or [`redelegate`] and by nothing else;
//! both give a [`Granted`], the only thing that the store writes. What a chain is worth is told by
//! [`evaluate`]: the meet over all its links and the roles that the root trustor holds now, so that
//! even a wrong row in the database can only narrow. What is made below a chain takes the
//! [`Evaluated`] chain, so that a chain and the status of another cannot be mixed up.

use std::collections::{BTreeMap, BTreeSet};

use crate::Micros;
use crate::ceiling::{Above, Ceilings};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::roles::{Implications, RoleSet};
use crate::terms::Terms;

mod adopting;
mod explaining;
mod making;
mod pausing;
mod using;

pub use adopting::{Adoption, Adopts, Name, Succession, adopt};
pub use explaining::{Passes, passes};
pub use making::{Granted, Limits, Parties, TrustRequest, grant, grant_by_credential, redelegate};
pub use pausing::{Part, Resumes, Standing, Suspends, Suspension, resume, suspend};
pub use using::{Narrower, Spent, Use, admit, consume};

/// An end in time. "Never" is the top of the order and not an absent value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// Dead from this instant on.
    At(Micros),
    /// No end of its own.
    Never,
}

impl Until {
    /// From the stored form, where null means never.
    pub fn from_option(at: Option<Micros>) -> Self {
        at.map_or(Self::Never, Self::At)
    }

    /// To the stored form.
    pub fn to_option(self) -> Option<Micros> {
        match self {
            Self::At(t) => Some(t),
            Self::Never => None,
        }
    }

    /// Whether it has passed at `now`.
    pub fn passed(self, now: Micros) -> bool {
        match self {
            Self::At(t) => t <= now,
            Self::Never => false,
        }
    }
}

/// What a delegation gives: the one value that every door computes and compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Until when.
    pub until: Until,
    /// Which roles, closed under implication.
    pub roles: RoleSet,
    /// On which project.
    pub project: String,
    /// Whether the bearer may act under the trustor's name.
    pub impersonate: bool,
    /// How many further links may follow.
    pub hops: u32,
    /// Whether its EC2 keypairs give anything.
    pub keypairs: bool,
    /// What narrows it besides.
    pub terms: Terms,
}

impl Authority {
    /// The greatest authority that is below both; nothing when they are on different projects.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        (self.project == other.project).then(|| Self {
            until: self.until.min(other.until),
            roles: self.roles.intersection(&other.roles).cloned().collect(),
            project: self.project.clone(),
            impersonate: self.impersonate && other.impersonate,
            hops: self.hops.min(other.hops),
            keypairs: self.keypairs && other.keypairs,
            terms: self.terms.meet(&other.terms),
        })
    }

    /// Whether this is no more than `other`, field by field.
    pub fn le(&self, other: &Self) -> bool {
        self.until <= other.until
            && self.roles.is_subset(&other.roles)
            && self.project == other.project
            && self.impersonate <= other.impersonate
            && self.hops <= other.hops
            && self.keypairs <= other.keypairs
            && self.terms.le(&other.terms)
    }
}

/// One stored trust, as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Its id.
    pub id: String,
    /// Who delegates this link.
    pub trustor: String,
    /// Who may use it.
    pub trustee: String,
    /// Where; Keystone's table may hold trusts without a project, which give nothing.
    pub project: Option<String>,
    /// Whether the bearer acts under the trustor's name.
    pub impersonation: bool,
    /// The roles as asked; what they imply is resolved at use.
    pub roles: RoleSet,
    /// Its own end.
    pub until: Until,
    /// Uses left; nothing when they are not counted.
    pub remaining_uses: Option<u32>,
    /// Redelegations left (`redelegation_count`).
    pub hops: u32,
    /// The trust that it was redelegated from.
    pub parent: Option<String>,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Micros>,
    /// What narrows it besides; nothing when it has terms that cannot be read, so that it gives nothing for now.
    pub terms: Option<Terms>,
    /// What whoever uses this link must present, so that a service that acts for many is not led to another's trust. It is
    /// about this link alone: who uses one below has presented what that asks for.
    pub external_id: Option<String>,
    /// What this link says of the beginning of the chain.
    pub origin: Origin,
    /// Whether somebody has suspended it.
    pub suspension: Option<Suspension>,
    /// That somebody has taken it over: it rests on their roles, and the trustor is a name. It counts for the first link of a chain alone.
    pub adoption: Option<Adoption>,
    /// The application credential whose token made it, if one did: it ends with that. It counts for the first link of a chain alone.
    pub credential: Option<String>,
}

/// How a user or a project stands right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Enabled, and so is its domain.
    Active,
    /// Switched off.
    Disabled,
    /// Its domain is switched off.
    DomainDisabled,
    /// Not there (any more).
    Missing,
}

/// The facts of this instant that a chain is judged by.
#[derive(Debug, Clone)]
pub struct ChainFacts<'a> {
    /// The instant.
    pub now: Micros,
    /// The implied-role relation.
    pub implications: &'a Implications,
    /// Effective roles of the chain's holder on its project (domain-specific ones included).
    pub root_roles: &'a RoleSet,
    /// Every trustor and trustee of the chain; one that is not in it does not exist.
    pub agents: &'a BTreeMap<String, Presence>,
    /// The chain's project.
    pub project: Presence,
    /// What the application credential may delegate now that made the first link; nothing when it is gone. It is asked for only where
    /// one did.
    pub credential: Option<&'a TrustStatus>,
    /// The ceilings that hold for the chain.
    pub ceilings: &'a Ceilings,
}

/// How a trust ended. Final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Deleted, by whomever.
    Deleted,
    /// Its time is over.
    Expired,
    /// Its uses are consumed.
    Exhausted,
    /// Something that it stands on is gone or contradicts it.
    Broken(Broken),
}

/// What broke a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// A trust above ended; its id.
    AncestorEnded(String),
    /// A trust above is not in the database; its id.
    AncestorMissing(String),
    /// A user of the chain was deleted; their id.
    AgentGone(String),
    /// The project was deleted, or the trust never had one.
    ProjectGone,
    /// The application credential that made it has ended, or may delegate no more; its id.
    CredentialGone(String),
    /// The rows contradict the rules (a child wider than its parent, a circle); the link's id.
    Unlawful(String),
}

/// Why a living trust gives nothing for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspended {
    /// A user of the chain, or their domain, is disabled.
    Agent(String),
    /// The project, or its domain, is disabled.
    Project,
    /// A delegated role is not held by the root trustor, or not given by the link above.
    Role(String),
    /// This link's time has not come yet.
    Early(String),
    /// The terms of this link cannot be read: they are those of a newer version, or lost.
    Terms(String),
    /// Somebody has suspended this link.
    Held(String),
    /// The application credential that made it gives nothing for now; its id.
    Credential(String),
    /// This link is above a ceiling that holds for what exists.
    Ceiling(String, Above),
}

/// What a trust is worth at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustStatus {
    /// It gives this.
    Live(Authority),
    /// It gives nothing now, and may again.
    Suspended(Suspended),
    /// It is dead.
    Ended(Ended),
}

impl TrustStatus {
    /// The word that lists and lineages use for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Live(_) => "live",
            Self::Suspended(_) => "suspended",
            Self::Ended(Ended::Deleted) => "deleted",
            Self::Ended(Ended::Expired) => "expired",
            Self::Ended(Ended::Exhausted) => "exhausted",
            Self::Ended(Ended::Broken(_)) => "broken",
        }
    }

    /// The reason in words, when there is one beyond the word.
    pub fn reason(&self) -> Option<String> {
        Some(match self {
            Self::Live(_) | Self::Ended(Ended::Deleted | Ended::Expired | Ended::Exhausted) => {
                return None;
            }
            Self::Suspended(Suspended::Agent(id)) => format!("user {id} is disabled"),
            Self::Suspended(Suspended::Project) => "the project is disabled".into(),
            Self::Suspended(Suspended::Role(id)) => format!("role {id} is not held"),
            Self::Suspended(Suspended::Early(id)) => format!("trust {id} gives nothing yet"),
            Self::Suspended(Suspended::Terms(id)) => format!("the terms of trust {id} cannot be read"),
            Self::Suspended(Suspended::Held(id)) => format!("trust {id} was suspended"),
            Self::Suspended(Suspended::Credential(id)) => {
                format!("application credential {id} gives nothing now")
            }
            Self::Suspended(Suspended::Ceiling(id, above)) => {
                format!("trust {id} is above a ceiling: {above}")
            }
            Self::Ended(Ended::Broken(b)) => match b {
                Broken::AncestorEnded(id) => format!("trust {id} above it ended"),
                Broken::AncestorMissing(id) => format!("trust {id} above it is gone"),
                Broken::AgentGone(id) => format!("user {id} is gone"),
                Broken::ProjectGone => "the project is gone".into(),
                Broken::CredentialGone(id) => format!("application credential {id} is gone"),
                Broken::Unlawful(id) => format!("trust {id} contradicts the trust above it"),
            },
        })
    }

    /// Whether it is dead, as opposed to live or suspended.
    pub fn ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// The authority that it gives now, if any.
    pub fn live(&self) -> Option<&Authority> {
        match self {
            Self::Live(a) => Some(a),
            Self::Suspended(_) | Self::Ended(_) => None,
        }
    }
}

/// A trust with everything above it, root first. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    links: Vec<Trust>,
    missing: Option<String>,
}

impl Chain {
    /// Puts a chain together from stored rows in any order: walks from `leaf` up through the parents.
    /// Nothing when the leaf itself is not among them. A circle ends the walk and leaves the chain
    /// unlawful.
    pub fn assemble(leaf: &str, rows: impl IntoIterator<Item = Trust>) -> Option<Self> {
        let mut rows: BTreeMap<String, Trust> = rows.into_iter().map(|t| (t.id.clone(), t)).collect();
        let first = rows.remove(leaf)?;
        let mut next = first.parent.clone();
        let mut links = vec![first];
        let mut missing = None;
        while let Some(id) = next {
            match rows.remove(&id) {
                Some(t) => {
                    next = t.parent.clone();
                    links.push(t);
                }
                // Already taken (a circle) or not stored: either way nothing above can be trusted.
                None => {
                    missing = Some(id);
                    break;
                }
            }
        }
        links.reverse();
        Some(Self { links, missing })
    }

    /// The links, root first.
    pub fn links(&self) -> &[Trust] {
        &self.links
    }

    /// The first link.
    #[expect(clippy::indexing_slicing, reason = "`assemble` makes no chain without a link")]
    pub fn root(&self) -> &Trust {
        &self.links[0]
    }

    /// The last link, which the chain is about.
    #[expect(clippy::indexing_slicing, reason = "`assemble` makes no chain without a link")]
    pub fn leaf(&self) -> &Trust {
        &self.links[self.links.len() - 1]
    }

    /// Whose authority it all is: the first trustor, or whoever has adopted the first trust.
    pub fn holder(&self) -> &str {
        let root = self.root();
        root.adoption.as_ref().map_or(&root.trustor, |adoption| &adoption.by)
    }

    /// Whether `user` is the trustor of any link, or the holder. They see and end all below their own.
    pub fn has_trustor(&self, user: &str) -> bool {
        self.delegators().any(|delegator| delegator == user)
    }

    /// Every trustor of the chain and its holder: those of [`Self::has_trustor`].
    pub fn delegators(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(|t| t.trustor.as_str()).chain([self.holder()])
    }

    /// Every user that the chain rests on, each once. A trustor who is no more than a name, since the first trust was adopted,
    /// is none of them.
    pub fn agents(&self) -> BTreeSet<&str> {
        let trustees = self.links.iter().map(|link| link.trustee.as_str());
        self.trustors().flatten().chain(trustees).chain([self.holder()]).collect()
    }

    /// The trustor of each link, root first; nothing where that is no more than a name, since the first trust was adopted.
    fn trustors(&self) -> impl Iterator<Item = Option<&str>> {
        let is_adopted = self.root().adoption.is_some();
        // Below links that impersonate the trustor is the same name.
        let named = self.links.iter().take_while(|link| link.impersonation).count();
        let named = if is_adopted { named.saturating_add(1) } else { 0 };
        self.links.iter().enumerate().map(move |(n, link)| (n >= named).then_some(link.trustor.as_str()))
    }

    /// The user whom it names and does not rest on: the first trustor, after an adoption.
    pub fn named(&self) -> Option<&str> {
        let name = self.root().trustor.as_str();
        (!self.agents().contains(name)).then_some(name)
    }

    /// The user that a token of this chain speaks for: the trustor when it impersonates.
    pub fn speaks_for(&self) -> &str {
        let leaf = self.leaf();
        if leaf.impersonation { &leaf.trustor } else { &leaf.trustee }
    }

    /// Whether its tokens are in the first trustor's name, by impersonation all along.
    pub fn is_in_one_name(&self) -> bool {
        self.links.iter().all(|link| link.impersonation)
    }

    /// Whether they are, and it rests on somebody else.
    pub fn shows_name(&self) -> bool {
        self.root().adoption.is_some() && self.is_in_one_name()
    }

    /// To whom keypairs of its last link belong: whom a token speaks for, or the holder where that is a name.
    pub fn keypair_owner(&self) -> &str {
        if self.shows_name() { self.holder() } else { self.speaks_for() }
    }

    /// What is said of its beginning: by the first link that says it, whatever those below say.
    pub fn origin(&self) -> Origin {
        self.links.iter().fold(Origin::default(), |above, link| above.or(&link.origin))
    }

    /// The earliest end along the chain.
    pub fn until(&self) -> Until {
        self.links.iter().map(|t| t.until).min().unwrap_or(Until::Never)
    }
}

/// A chain with what it is worth at one instant. Only [`evaluate`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    chain: Chain,
    status: TrustStatus,
    is_narrowed: bool,
    origin: Origin,
}

impl Evaluated {
    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What it is worth.
    pub fn status(&self) -> &TrustStatus {
        &self.status
    }

    /// The authority that it gives now, if any.
    pub fn live(&self) -> Option<&Authority> {
        self.status.live()
    }

    /// Whether this is what one token is worth that asked for less than its trust gives.
    pub fn is_narrowed(&self) -> bool {
        self.is_narrowed
    }

    /// What is said of its beginning.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What a token of the chain is worth that asked for less: some roles, some requests. What is made with it is below
    /// that. Nothing when nothing is left.
    pub fn narrowed(&self, narrower: &Narrower, implications: &Implications) -> Option<Self> {
        let above = self.live()?;
        let roles = narrower.roles.as_ref();
        let own = Authority {
            roles: roles.map_or_else(|| above.roles.clone(), |r| implications.closure(r)),
            terms: Terms { access: narrower.access.clone(), ..Terms::default() },
            ..above.clone()
        };
        let worth = above.meet(&own).filter(|a| !a.roles.is_empty())?;
        let status = TrustStatus::Live(worth);
        let is_narrowed = self.is_narrowed || narrower.is_limited();
        Some(Self {
            chain: self.chain.clone(),
            status,
            is_narrowed,
            origin: self.origin.or(&narrower.origin),
        })
    }

    /// The chain alone, to be evaluated at another instant.
    pub fn into_chain(self) -> Chain {
        self.chain
    }

    /// The authority that something new can be made below.
    ///
    /// # Errors
    ///
    /// [`Refusal::ParentNotLive`] when the chain gives nothing now.
    pub(crate) fn above(&self) -> Result<&Authority, Refusal> {
        self.live().ok_or_else(|| {
            let why = self.status.reason().unwrap_or_else(|| self.status.word().to_owned());
            Refusal::ParentNotLive(why)
        })
    }
}

/// Evaluates a chain at `facts.now`.
///
/// Ends come before suspensions: a dead thing is dead, whatever else is switched off.
pub fn evaluate(chain: Chain, facts: &ChainFacts<'_>) -> Evaluated {
    let status = status(&chain, facts);
    let origin = chain.origin();
    Evaluated { chain, status, is_narrowed: false, origin }
}

fn status(chain: &Chain, facts: &ChainFacts<'_>) -> TrustStatus {
    if let Some(ended) = ended(chain, facts) {
        return TrustStatus::Ended(ended);
    }
    if let Some(suspended) = suspended(chain, facts) {
        return TrustStatus::Suspended(suspended);
    }
    // Everything holds: the meet is over the links and the root's roles.
    let mut authority: Option<Authority> = None;
    for link in chain.links() {
        let own = authority_of(link, facts.implications);
        authority = match authority {
            None => Some(own),
            Some(above) => match above.meet(&own) {
                Some(m) => Some(m),
                None => return TrustStatus::Ended(Ended::Broken(Broken::Unlawful(link.id.clone()))),
            },
        };
    }
    match authority {
        Some(mut a) => {
            a.roles.retain(|r| facts.root_roles.contains(r));
            a.keypairs = facts.ceilings.let_keypairs(chain);
            // Whatever its rows say, it is no more than the credential that made it.
            match above_root(chain, facts) {
                None => TrustStatus::Live(a),
                Some(above) => above.meet(&a).map_or_else(
                    || TrustStatus::Ended(Ended::Broken(Broken::Unlawful(chain.root().id.clone()))),
                    TrustStatus::Live,
                ),
            }
        }
        None => TrustStatus::Ended(Ended::Broken(Broken::ProjectGone)),
    }
}

/// What the first link was made with, when that was an application credential.
fn above_root<'a>(chain: &Chain, facts: &ChainFacts<'a>) -> Option<&'a Authority> {
    chain.root().credential.as_ref()?;
    facts.credential.and_then(TrustStatus::live)
}

/// What one link gives on its own.
fn authority_of(link: &Trust, implications: &Implications) -> Authority {
    Authority {
        until: link.until,
        roles: implications.closure(&link.roles),
        project: link.project.clone().unwrap_or_default(),
        impersonate: link.impersonation,
        hops: link.hops,
        keypairs: true,
        terms: link.terms.clone().unwrap_or_default(),
    }
}

fn ended(chain: &Chain, facts: &ChainFacts<'_>) -> Option<Ended> {
    let broken = |b| Some(Ended::Broken(b));
    let leaf = chain.leaf();
    if let Some(own) = ended_itself(leaf, facts.now) {
        return Some(own);
    }
    if let Some(id) = &chain.missing {
        return broken(if chain.links().iter().any(|t| t.id == *id) {
            Broken::Unlawful(id.clone())
        } else {
            Broken::AncestorMissing(id.clone())
        });
    }
    for link in chain.links() {
        if ended_itself(link, facts.now).is_some() {
            return broken(Broken::AncestorEnded(link.id.clone()));
        }
    }
    // A child that is wider than its parent in anything but roles cannot have come from `redelegate`.
    for (above, below) in chain.links().iter().zip(chain.links().iter().skip(1)) {
        let lawful = below.project == above.project
            && below.hops < above.hops
            && (above.impersonation || !below.impersonation)
            && below.trustor == token_user(above);
        if !lawful {
            return broken(Broken::Unlawful(below.id.clone()));
        }
    }
    for user in chain.agents() {
        if facts.agents.get(user).copied().unwrap_or(Presence::Missing) == Presence::Missing {
            return broken(Broken::AgentGone(user.to_owned()));
        }
    }
    if leaf.project.is_none() || facts.project == Presence::Missing {
        return broken(Broken::ProjectGone);
    }
    match &chain.root().credential {
        Some(id) if facts.credential.is_none_or(TrustStatus::ended) => {
            broken(Broken::CredentialGone(id.clone()))
        }
        Some(_) | None => None,
    }
}

/// The link's own end, whatever is above it.
fn ended_itself(link: &Trust, now: Micros) -> Option<Ended> {
    if link.deleted_at.is_some() {
        Some(Ended::Deleted)
    } else if link.until.passed(now) {
        Some(Ended::Expired)
    } else if link.remaining_uses == Some(0) {
        Some(Ended::Exhausted)
    } else {
        None
    }
}

/// Whom a token of this one link speaks for.
fn token_user(link: &Trust) -> &str {
    if link.impersonation { &link.trustor } else { &link.trustee }
}

fn suspended(chain: &Chain, facts: &ChainFacts<'_>) -> Option<Suspended> {
    for user in chain.agents() {
        match facts.agents.get(user).copied().unwrap_or(Presence::Missing) {
            Presence::Active => {}
            Presence::Disabled | Presence::DomainDisabled | Presence::Missing => {
                return Some(Suspended::Agent(user.to_owned()));
            }
        }
    }
    match facts.project {
        Presence::Active => {}
        Presence::Disabled | Presence::DomainDisabled | Presence::Missing => {
            return Some(Suspended::Project);
        }
    }
    for link in chain.links() {
        if link.suspension.is_some() {
            return Some(Suspended::Held(link.id.clone()));
        }
        match &link.terms {
            None => return Some(Suspended::Terms(link.id.clone())),
            Some(terms) if terms.is_early(facts.now) => return Some(Suspended::Early(link.id.clone())),
            Some(_) => {}
        }
    }
    if let Some((id, above)) = facts.ceilings.suspends(chain, facts.implications, facts.now) {
        return Some(Suspended::Ceiling(id, above));
    }
    let Some(handings) = explaining::handings(chain, facts) else {
        return Some(Suspended::Credential(chain.root().credential.clone().unwrap_or_default()));
    };
    for handing in handings {
        if let Some(lost) = handing.lacks() {
            return Some(Suspended::Role(lost.clone()));
        }
    }
    None
}

/// Everything that falls with `id`: itself and all below it, by parent links alone, whoever the
/// trustor of each link is. Parents come before their children, siblings in the order of their ids.
/// Rows that are not below it are left out; each row comes once, on circles too. Nothing when `id` is
/// not among the rows.
pub fn subtree<'a>(id: &str, rows: impl IntoIterator<Item = &'a Trust>) -> Vec<&'a Trust> {
    let mut children: BTreeMap<&str, BTreeMap<&str, &Trust>> = BTreeMap::new();
    let mut top = None;
    for row in rows {
        if row.id == id {
            top = Some(row);
        }
        if let Some(parent) = &row.parent {
            children.entry(parent).or_default().insert(&row.id, row);
        }
    }
    let mut falls: Vec<&Trust> = top.into_iter().collect();
    let mut next = 0;
    while let Some(row) = falls.get(next) {
        // Taken out, so that a circle comes to an end.
        let below = children.remove(row.id.as_str()).unwrap_or_default();
        falls.extend(below.into_values().filter(|t| t.id != id));
        next += 1;
    }
    falls
}

#[cfg(test)]
mod tests;
