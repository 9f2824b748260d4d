//! The model: plain rows, what the world remembers of their making, what it knows by itself, and what
//! the rules say of them.
//!
//! Which tokens an event or a loss must end is worked out here a second time, over bit masks, when it
//! happens ([`World::take`], [`World::take_roles`]); the rules are asked at every look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use vicar_rules::Micros;
use vicar_rules::ceiling::{Ceiling, Ceilings, Holder};
use vicar_rules::delegation::{
    Authority, Chain, ChainFacts, Evaluated, Limits, Narrower, Presence, Trust, TrustStatus, Until, evaluate,
};
use vicar_rules::keypair::{Bound, Narrowing, exchange};
use vicar_rules::loss::{self, Carried, Carries, Lost, LostPlace, Place};
use vicar_rules::origin::Origin;
use vicar_rules::refusal::Refusal;
use vicar_rules::revocation::{Claims, Event, ends};
use vicar_rules::roles::{Implications, RoleSet};
use vicar_rules::terms::Terms;
use vicar_rules::token::{self, Kind, TokenTraits, kind};

use crate::names::*;
use crate::ops::Genesis;

/// The project above a project: r is below p, in the same domain.
pub fn parent_of(project: usize) -> Option<usize> {
    (project == 2).then_some(0)
}

/// Where roles are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    Project(usize),
    Domain(usize),
    System,
}

pub const SPOTS: [Spot; 6] =
    [Spot::Project(0), Spot::Project(1), Spot::Project(2), Spot::Domain(0), Spot::Domain(1), Spot::System];

impl Spot {
    pub fn index(self) -> usize {
        match self {
            Self::Project(p) => p,
            Self::Domain(d) => PROJECTS.len() + d,
            Self::System => PROJECTS.len() + DOMAINS.len(),
        }
    }

    pub fn domain(self) -> Option<usize> {
        match self {
            Self::Project(p) => Some(domain_of(p)),
            Self::Domain(d) => Some(d),
            Self::System => None,
        }
    }

    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Project(p) => Some(PROJECTS[p]),
            Self::Domain(d) => Some(DOMAINS[d]),
            Self::System => None,
        }
    }

    pub fn project(self) -> Option<usize> {
        match self {
            Self::Project(p) => Some(p),
            Self::Domain(_) | Self::System => None,
        }
    }
}

/// Where a grant is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    At(Spot),
    /// Inherited by everything below this project or domain.
    Below(Spot),
}

/// Grants below the system do not exist.
pub const TARGETS: usize = 2 * SPOTS.len() - 1;

impl Target {
    pub fn nth(n: usize) -> Self {
        match n % TARGETS {
            n if n < SPOTS.len() => Self::At(SPOTS[n]),
            n => Self::Below(SPOTS[n - SPOTS.len()]),
        }
    }

    pub fn index(self) -> usize {
        match self {
            Self::At(spot) => spot.index(),
            Self::Below(spot) => SPOTS.len() + spot.index(),
        }
    }
}

/// How a grant is called when it is taken.
pub fn kind_of_grant(actor: usize, target: Target) -> &'static str {
    match target {
        Target::Below(_) => "an inherited grant",
        Target::At(Spot::Domain(_)) => "a grant on a domain",
        Target::At(Spot::System) => "a grant on the system",
        Target::At(Spot::Project(_)) if actor >= USERS.len() => "a group's grant",
        Target::At(Spot::Project(_)) => "a grant",
    }
}

/// The places of [`SPOTS`] and what is above each, as the rules take them.
pub static PLACES: LazyLock<Vec<(Place, Vec<String>)>> = LazyLock::new(|| {
    SPOTS
        .iter()
        .map(|spot| match *spot {
            Spot::Project(p) => {
                let above = parent_of(p).map(|a| PROJECTS[a].to_owned());
                let above = above.into_iter().chain([DOMAINS[domain_of(p)].to_owned()]);
                (Place::Project(PROJECTS[p].to_owned()), above.collect())
            }
            Spot::Domain(d) => (Place::Domain(DOMAINS[d].to_owned()), Vec::new()),
            Spot::System => (Place::System, Vec::new()),
        })
        .collect()
});

pub type Grants = [[Mask; TARGETS]; ACTORS];
pub type Members = [[bool; GROUPS]; USERS.len()];

/// The roles that are assigned to the user or their groups in the place, inherited ones included.
pub fn assigned(grants: &Grants, members: &Members, user: usize, spot: Spot) -> Mask {
    let of = |actor: usize| {
        let grants = &grants[actor];
        let inherited = spot.project().map_or(0, |p| {
            let above = parent_of(p).map_or(0, |a| grants[Target::Below(Spot::Project(a)).index()]);
            above | grants[Target::Below(Spot::Domain(domain_of(p))).index()]
        });
        grants[spot.index()] | inherited
    };
    let groups = (0..GROUPS).filter(|g| members[user][*g]);
    groups.fold(of(user), |all, g| all | of(USERS.len() + g))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    On,
    Off,
    Gone,
}

/// A stored trust, and what the world remembers of its making.
pub struct Link {
    pub row: Trust,
    /// The trust of the token that made it.
    pub under: Option<usize>,
    pub trustor: usize,
    pub trustee: usize,
    pub project: usize,
    pub roles: Mask,
    pub imp: bool,
    /// Uses as asked.
    pub uses: Option<i64>,
    /// Successes so far, over all doors.
    pub spent: i64,
    pub redelegable: bool,
    /// The configured maximum when it was made.
    pub maximum: u32,
    /// The requests that it was asked to be limited to; all when it was not.
    pub requests: Mask,
    /// From when, and the longest life of its tokens, as asked.
    pub not_before: Option<Micros>,
    pub longest: Option<Micros>,
    /// What was said of the beginning when it was made.
    pub said: Origin,
    /// Whose roles it rests on, if it is a first one.
    pub holder: usize,
    /// How far from the top they were who suspended it.
    pub held: Option<u32>,
}

pub struct Keypair {
    pub bound: Bound,
    /// The trust of the token that made it.
    pub under: Option<usize>,
    pub owner: usize,
    pub project: usize,
    /// Roles and end as asked.
    pub narrowed: Option<Mask>,
    pub until: Until,
    /// As of a trust.
    pub requests: Mask,
    pub audit: String,
    pub deleted: bool,
}

pub struct Token {
    pub user: usize,
    pub methods: Vec<String>,
    pub place: Spot,
    pub trust: Option<usize>,
    pub keypair: Option<usize>,
    pub source: Option<usize>,
    pub issued: Micros,
    pub expires: Micros,
    pub audit: String,
    pub chain: Option<String>,
    /// What it asked for less of: as the rules take it, and the roles and requests.
    pub less: Option<(Narrower, Option<Mask>, Mask)>,
    /// Something that it stands on was taken away by name after it was issued.
    pub doomed: bool,
    /// Its user lost a role that it carries, after it was issued.
    pub lost: bool,
    /// It was issued in the whole second of an event or a loss, which cannot be told from before it:
    /// it may be dead, and need not be.
    pub unsure: bool,
}

impl Token {
    pub fn marks(&self) -> TokenTraits<'_> {
        TokenTraits {
            methods: &self.methods,
            trust: self.trust.is_some(),
            application_credential: false,
            access_token: false,
            certificate: false,
            additional_primary: &[],
        }
    }

    pub fn kind(&self) -> Kind {
        kind(self.marks())
    }
}

/// What is taken away by name, and so recorded as an event.
#[derive(Clone, Copy)]
pub enum Taken {
    User(usize),
    Domain(usize),
    Project(usize),
    Trust(usize),
    Keypair(usize),
    Token(usize),
}

/// What the last step did, for laws about single steps.
#[derive(Default)]
pub struct Last {
    /// The trust that was made, and what its parent was worth then.
    pub made: Option<(usize, Option<Authority>)>,
    /// The keypair that was made, and what its trust was worth then.
    pub bound: Option<(usize, Option<Authority>)>,
    pub refused: Option<Refusal>,
    /// Redelegation or binding was tried below something that gives nothing.
    pub below_dead: bool,
    /// Redelegation was tried below something that is bound, without what it is bound to.
    pub unpresented: bool,
    /// Uses that should have succeeded or failed, and whether they did.
    pub uses: Vec<(usize, bool, bool)>,
    /// Whether a suspension or its end was due, and whether it was done.
    pub paused: Option<(bool, bool)>,
    /// The same of an adoption, with the trust.
    pub adopted: Option<(usize, bool, bool)>,
    pub deleted_trust: Option<usize>,
    pub deleted_keypair: Option<usize>,
    /// Something that an EC2 token was allowed.
    pub leaf_did: Option<&'static str>,
    /// What took roles away, and what became of tokens by it.
    pub lost: Option<(&'static str, Fate)>,
}

/// What an act that takes roles away did.
#[derive(Clone, Copy)]
pub enum Fate {
    /// Everybody still holds everything in some other way.
    StillHeld,
    /// Somebody lost something, and no token ended.
    Elsewhere,
    /// A token ended.
    Ended,
}

/// A ceiling as the world knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roof {
    pub life: Option<Micros>,
    pub depth: Option<u32>,
    pub never: Mask,
    /// Users by their bits.
    pub trustees: Option<u8>,
    pub own_name_only: bool,
    pub end: bool,
    pub no_keypairs: bool,
    pub existing: bool,
}

/// Who can have one: domains, projects, users, and users as trustees.
pub const ROOFS: usize = DOMAINS.len() + PROJECTS.len() + 2 * USERS.len();

/// Something that was delegated, as roofs see it.
pub struct Made {
    pub roles: Mask,
    pub until: Until,
    pub imp: bool,
    /// Trustee and links above; none of a keypair.
    pub link: Option<(usize, usize)>,
}

impl Roof {
    pub fn is_below(&self, made: &Made, now: Micros) -> bool {
        let too_long = |life: Micros| made.until.to_option().is_none_or(|end| end - now > life);
        self.life.is_some_and(too_long)
            || (self.end && made.until == Until::Never)
            || made.roles & self.never != 0
            || (made.imp && self.own_name_only)
            || match made.link {
                Some((trustee, depth)) => {
                    self.trustees.is_some_and(|may| may >> trustee & 1 == 0)
                        || self.depth.is_some_and(|deepest| depth > deepest as usize)
                }
                None => self.no_keypairs,
            }
    }

    fn ceiling(&self) -> Ceiling {
        let users =
            |bits: u8| (0..USERS.len()).filter(move |u| bits >> u & 1 == 1).map(|u| USERS[u].to_owned());
        Ceiling {
            max_life: self.life,
            max_depth: self.depth,
            never_roles: set(self.never).clone(),
            trustees: self.trustees.map(|bits| users(bits).collect()),
            impersonation: !self.own_name_only,
            end_required: self.end,
            keypairs: !self.no_keypairs,
            applies_to_existing: self.existing,
        }
    }
}

pub struct World {
    pub now: Micros,
    pub step: usize,
    pub limits: Limits,
    pub roofs: [Option<Roof>; ROOFS],
    pub users: [State; USERS.len()],
    pub projects: [State; PROJECTS.len()],
    pub domains: [bool; DOMAINS.len()],
    pub grants: Grants,
    pub members: Members,
    /// Roles that were deleted.
    pub deleted_roles: Mask,
    pub pairs: BTreeSet<(usize, usize)>,
    pub trusts: Vec<Link>,
    pub keypairs: Vec<Keypair>,
    pub tokens: Vec<Token>,
    pub events: Vec<Event>,
    pub losses: Vec<Lost>,
    /// The whole second of the latest event or loss.
    pub event_second: Micros,
    pub last: Last,

    // What the rules say of all this now.
    pub implications: Implications,
    pub agents: BTreeMap<String, Presence>,
    pub stale: bool,
    pub evaluated: Vec<Evaluated>,
    pub yields: Vec<Option<Authority>>,
    pub valid: Vec<Option<Mask>>,
    /// As `valid`, for a service that asks for expired ones too.
    pub shown: Vec<Option<Mask>>,
    // And what they said before the last step.
    pub statuses_before: Vec<TrustStatus>,
    pub valid_before: Vec<Option<Mask>>,
}

impl World {
    pub fn new(genesis: &Genesis) -> Self {
        let mut w = Self {
            now: 1_000 * SECOND,
            step: 0,
            limits: Limits { allow_redelegation: true, max_redelegation_count: 3 },
            roofs: [const { None }; ROOFS],
            users: [State::On; USERS.len()],
            projects: [State::On; PROJECTS.len()],
            domains: [true; DOMAINS.len()],
            grants: [[0; TARGETS]; ACTORS],
            members: genesis.members,
            deleted_roles: 0,
            pairs: genesis.pairs.iter().copied().collect(),
            trusts: Vec::new(),
            keypairs: Vec::new(),
            tokens: Vec::new(),
            events: Vec::new(),
            losses: Vec::new(),
            event_second: 0,
            last: Last::default(),
            implications: Implications::default(),
            agents: BTreeMap::new(),
            stale: true,
            evaluated: Vec::new(),
            yields: Vec::new(),
            valid: Vec::new(),
            shown: Vec::new(),
            statuses_before: Vec::new(),
            valid_before: Vec::new(),
        };
        for (user, on) in genesis.grants.iter().enumerate() {
            w.grants[user][..PROJECTS.len()].copy_from_slice(on);
        }
        for (actor, target, role) in &genesis.others {
            w.grants[*actor][target.index()] |= 1 << role;
        }
        w.look();
        w
    }

    // What the world knows by itself.

    pub fn closure(&self, roles: Mask) -> Mask {
        close(&self.pairs, roles)
    }

    pub fn held(&self, user: usize, project: usize) -> Mask {
        self.held_at(user, Spot::Project(project))
    }

    /// Effective roles: direct, by a group, inherited, implied.
    pub fn held_at(&self, user: usize, spot: Spot) -> Mask {
        self.closure(assigned(&self.grants, &self.members, user, spot))
    }

    pub fn place_on(&self, spot: Spot) -> bool {
        match spot {
            Spot::Project(p) => self.project_on(p),
            Spot::Domain(d) => self.domains[d],
            Spot::System => true,
        }
    }

    /// Whose roles a token rests on.
    pub fn holder(&self, token: &Token) -> usize {
        token.trust.map_or(token.user, |t| self.root(t).holder)
    }

    /// The roles of a delegation, as they were asked; a login has none of its own.
    pub fn own_roles(&self, token: &Token) -> Option<Mask> {
        let narrowed = token.keypair.and_then(|k| self.keypairs[k].narrowed);
        let less = token.less.as_ref().and_then(|(_, roles, _)| *roles);
        narrowed.or(less).or(token.trust.map(|t| self.trusts[t].roles))
    }

    /// What a trust's token is worth: what its trust gives, or less when it asked for less.
    pub fn worth(&self, token: usize) -> Option<Evaluated> {
        let t = &self.tokens[token];
        let trust = &self.evaluated[t.trust?];
        match &t.less {
            None => Some(trust.clone()),
            Some((own, ..)) => trust.narrowed(own, &self.implications),
        }
    }

    pub fn user_on(&self, user: usize) -> bool {
        self.users[user] == State::On && self.domains[domain_of(user)]
    }

    pub fn project_on(&self, project: usize) -> bool {
        self.projects[project] == State::On && self.domains[domain_of(project)]
    }

    /// The links from the root to `trust`, by the record of their making.
    pub fn path(&self, trust: usize) -> Vec<usize> {
        let mut up = vec![trust];
        let mut at = trust;
        while let Some(above) = self.trusts[at].under {
            up.push(above);
            at = above;
        }
        up.reverse();
        up
    }

    pub fn root(&self, trust: usize) -> &Link {
        &self.trusts[self.path(trust)[0]]
    }

    pub fn below(&self, trust: usize, other: usize) -> bool {
        self.path(other).contains(&trust)
    }

    /// The trustor whom it rests on: none where it only names the first one of the chain, as that was adopted.
    pub fn trustor_of(&self, trust: usize) -> Option<usize> {
        let path = self.path(trust);
        let root = self.root(trust);
        let above = &path[..path.len() - 1];
        let is_name = root.row.adoption.is_some() && above.iter().all(|t| self.trusts[*t].imp);
        (!is_name).then_some(self.trusts[trust].trustor)
    }

    /// What the first one said who said anything.
    pub fn said(&self, trust: usize) -> Origin {
        let path = self.path(trust);
        let who = path.iter().find_map(|t| self.trusts[*t].said.source_identity.clone());
        let labels = path.iter().map(|t| &self.trusts[*t].said.labels).find(|labels| !labels.is_empty());
        Origin { source_identity: who, labels: labels.cloned().unwrap_or_default() }
    }

    pub fn dead_itself(&self, trust: usize) -> bool {
        let t = &self.trusts[trust];
        t.row.deleted_at.is_some()
            || t.row.until.to_option().is_some_and(|at| at <= self.now)
            || t.uses == Some(t.spent)
            || self.users[self.trustor_of(trust).unwrap_or(self.root(trust).holder)] == State::Gone
            || self.users[t.trustee] == State::Gone
            || self.projects[t.project] == State::Gone
    }

    pub fn dead(&self, trust: usize) -> bool {
        self.path(trust).into_iter().any(|t| self.dead_itself(t))
    }

    /// The requests that a trust is good for: those of each link.
    pub fn requests_of(&self, trust: usize) -> Mask {
        self.path(trust).into_iter().fold(EVERY_REQUEST, |all, t| all & self.trusts[t].requests)
    }

    /// Something of a chain is switched off or has not begun, or a delegated role is not held.
    pub fn withheld(&self, trust: usize) -> bool {
        if self.above_a_roof(trust).is_some() {
            return true;
        }
        let mut above = self.held(self.root(trust).holder, self.trusts[trust].project);
        for t in self.path(trust) {
            let trustor = self.trustor_of(t).unwrap_or(self.root(trust).holder);
            let t = &self.trusts[t];
            let own = self.closure(t.roles);
            if t.not_before.is_some_and(|from| self.now < from)
                || t.held.is_some()
                || !self.user_on(trustor)
                || !self.user_on(t.trustee)
                || !self.project_on(t.project)
                || !within(own, above)
            {
                return true;
            }
            above = own;
        }
        false
    }

    /// The roofs over what a root trustor lets these trustees have on a project.
    pub fn roofs_over(&self, root: usize, project: usize, trustees: &[usize]) -> Vec<&Roof> {
        let mut over = vec![domain_of(project), domain_of(root)];
        let projects = DOMAINS.len();
        over.extend(Some(project).into_iter().chain(parent_of(project)).map(|p| projects + p));
        let users = projects + PROJECTS.len();
        over.push(users + root);
        over.extend(trustees.iter().map(|u| users + USERS.len() + u));
        over.into_iter().filter_map(|n| self.roofs[n].as_ref()).collect()
    }

    /// The same over the nth link of a chain.
    pub fn roofs_of(&self, path: &[usize], n: usize) -> Vec<&Roof> {
        let root = &self.trusts[path[0]];
        let trustees: Vec<usize> = path[..=n].iter().map(|t| self.trusts[*t].trustee).collect();
        self.roofs_over(root.holder, root.project, &trustees)
    }

    /// A link as roofs see it.
    pub fn made(&self, path: &[usize], n: usize) -> Made {
        let link = &self.trusts[path[n]];
        Made {
            roles: self.closure(link.roles),
            until: link.row.until,
            imp: link.imp,
            link: Some((link.trustee, n)),
        }
    }

    /// A link of the chain that is above a roof which is for what exists, too.
    pub fn above_a_roof(&self, trust: usize) -> Option<usize> {
        if self.roofs.iter().flatten().all(|roof| !roof.existing) {
            return None;
        }
        let path = self.path(trust);
        let above = |n: &usize| {
            let made = self.made(&path, *n);
            self.roofs_of(&path, *n).into_iter().any(|roof| roof.existing && roof.is_below(&made, self.now))
        };
        (0..path.len()).find(above).map(|n| path[n])
    }

    /// Whether keypairs of the trust yield nothing because of a roof.
    pub fn keypairs_are_off(&self, trust: usize) -> bool {
        let path = self.path(trust);
        self.roofs_of(&path, path.len() - 1).into_iter().any(|roof| roof.existing && roof.no_keypairs)
    }

    /// What the rules are given of all this.
    pub fn ceilings(&self, root: usize, project: usize) -> Ceilings {
        let mut ceilings = Ceilings::default();
        let mut numbered = self.roofs.iter().enumerate();
        if self.roofs.iter().all(Option::is_none) {
            return ceilings;
        }
        let mut next = |count: usize| -> Vec<(usize, Ceiling)> {
            let some = numbered.by_ref().take(count).enumerate();
            some.filter_map(|(n, (_, roof))| Some((n, roof.as_ref()?.ceiling()))).collect()
        };
        for (d, ceiling) in next(DOMAINS.len()) {
            if d == domain_of(project) || d == domain_of(root) {
                ceilings.levels.push((Holder::Domain(DOMAINS[d].to_owned()), Some(ceiling)));
            }
        }
        for (p, ceiling) in next(PROJECTS.len()) {
            if p == project || parent_of(project) == Some(p) {
                ceilings.levels.push((Holder::Project(PROJECTS[p].to_owned()), Some(ceiling)));
            }
        }
        for (u, ceiling) in next(USERS.len()) {
            if u == root {
                ceilings.levels.push((Holder::User(USERS[u].to_owned()), Some(ceiling)));
            }
        }
        let trustees = next(USERS.len()).into_iter();
        ceilings.trustees = trustees.map(|(u, ceiling)| (USERS[u].to_owned(), Some(ceiling))).collect();
        ceilings
    }

    pub fn gives(&self, trust: usize) -> bool {
        !self.dead(trust) && !self.withheld(trust)
    }

    pub fn speaks_for(&self, trust: usize) -> usize {
        let t = &self.trusts[trust];
        if t.imp { t.trustor } else { t.trustee }
    }

    pub fn keypair_yields(&self, keypair: usize) -> bool {
        let k = &self.keypairs[keypair];
        !k.deleted
            && k.until.to_option().is_none_or(|at| at > self.now)
            && match k.under {
                Some(t) => {
                    let narrowed = k.narrowed.map_or(ALL, |r| self.closure(r));
                    self.gives(t)
                        && !self.keypairs_are_off(t)
                        && narrowed & self.closure(self.trusts[t].roles) != 0
                }
                None => {
                    self.user_on(k.owner) && self.project_on(k.project) && self.held(k.owner, k.project) != 0
                }
            }
    }

    pub fn should_be_valid(&self, token: usize) -> bool {
        self.now < self.tokens[token].expires && self.holds(token)
    }

    /// All that the token stands on, apart from its own time.
    pub fn holds(&self, token: usize) -> bool {
        let t = &self.tokens[token];
        !t.doomed
            && match (t.keypair, t.trust) {
                (Some(k), _) => self.keypair_yields(k),
                (None, Some(trust)) => {
                    let less = t.less.as_ref().and_then(|(_, roles, _)| *roles);
                    let asked = less.map_or(ALL, |r| self.closure(r));
                    self.gives(trust) && asked & self.closure(self.trusts[trust].roles) != 0
                }
                (None, None) => {
                    self.user_on(t.user) && self.place_on(t.place) && self.held_at(t.user, t.place) != 0
                }
            }
    }

    /// Who takes part in a token.
    pub fn parties_of(&self, token: &Token) -> BTreeSet<usize> {
        let Some(trust) = token.trust else { return BTreeSet::from([token.user]) };
        let mut users = BTreeSet::from([self.root(trust).holder]);
        for t in self.path(trust) {
            users.extend(self.trustor_of(t));
            users.insert(self.trusts[t].trustee);
        }
        users
    }

    // What the rules say.

    pub fn presence(on: State, domain_on: bool) -> Presence {
        match (on, domain_on) {
            (State::Gone, _) => Presence::Missing,
            (State::Off, _) => Presence::Disabled,
            (State::On, false) => Presence::DomainDisabled,
            (State::On, true) => Presence::Active,
        }
    }

    pub fn project_presence(&self, project: usize) -> Presence {
        Self::presence(self.projects[project], self.domains[domain_of(project)])
    }

    pub fn status(&self, trust: usize) -> &TrustStatus {
        self.evaluated[trust].status()
    }

    pub fn live(&self, trust: usize) -> Option<&Authority> {
        self.evaluated[trust].live()
    }

    pub fn chain(&self, trust: usize) -> &Chain {
        self.evaluated[trust].chain()
    }

    pub fn evaluate(&self, chain: Chain, project: usize) -> Evaluated {
        let root = USERS.iter().position(|u| *u == chain.holder());
        let roles = root.map_or(0, |r| self.held(r, project));
        let ceilings = root.map(|r| self.ceilings(r, project)).unwrap_or_default();
        evaluate(
            chain,
            &ChainFacts {
                now: self.now,
                implications: &self.implications,
                root_roles: set(roles),
                agents: &self.agents,
                project: self.project_presence(project),
                credential: None,
                ceilings: &ceilings,
            },
        )
    }

    /// Asks the rules about everything anew.
    pub fn look(&mut self) {
        self.implications = implications(&self.pairs);
        self.agents = (0..USERS.len())
            // A deleted user is absent, or present as missing: both are the same.
            .filter(|u| self.users[*u] != State::Gone || u % 2 == 0)
            .map(|u| {
                let presence = Self::presence(self.users[u], self.domains[domain_of(u)]);
                (USERS[u].to_owned(), presence)
            })
            .collect();
        let chains: Vec<Chain> = if std::mem::take(&mut self.stale) {
            (0..self.trusts.len())
                .map(|t| {
                    // One that does not belong there must not disturb.
                    let stranger = self.step % self.trusts.len();
                    let mut rows: BTreeSet<usize> = self.path(t).into_iter().collect();
                    rows.insert(stranger);
                    let rows = rows.into_iter().map(|i| self.trusts[i].row.clone());
                    Chain::assemble(&self.trusts[t].row.id, rows).expect("the leaf is there")
                })
                .collect()
        } else {
            std::mem::take(&mut self.evaluated).into_iter().map(Evaluated::into_chain).collect()
        };
        let places = self.trusts.iter().map(|t| t.project);
        self.evaluated = chains.into_iter().zip(places).map(|(c, p)| self.evaluate(c, p)).collect();
        self.yields = (0..self.keypairs.len()).map(|k| self.authority_of_keypair(k)).collect();
        self.valid = (0..self.tokens.len()).map(|t| self.validate(t, 0)).collect();
        self.shown = (0..self.tokens.len())
            .map(|t| if self.now < self.tokens[t].expires { self.valid[t] } else { self.validate(t, WINDOW) })
            .collect();
    }

    pub fn authority_of_keypair(&self, keypair: usize) -> Option<Authority> {
        let k = &self.keypairs[keypair];
        if k.deleted {
            return None;
        }
        let own = Narrowing { roles: k.bound.roles(), until: k.bound.until(), access: k.bound.access() };
        match k.under {
            Some(t) => {
                let authority = self.live(t)?;
                exchange(authority, own, &self.implications, self.now)
            }
            None => {
                let authority = Authority {
                    until: Until::Never,
                    roles: set(self.held(k.owner, k.project)).clone(),
                    project: PROJECTS[k.project].to_owned(),
                    impersonate: false,
                    hops: 0,
                    keypairs: true,
                    terms: Terms::default(),
                };
                (self.user_on(k.owner) && self.project_on(k.project))
                    .then(|| exchange(&authority, own, &self.implications, self.now))?
            }
        }
    }

    /// The roles that a token carries now; nothing when it is dead, or expired for longer than asked.
    pub fn validate(&self, token: usize, asked: Micros) -> Option<Mask> {
        let t = &self.tokens[token];
        let shown = |ends: Option<Until>| {
            (self.now < token::shown_until(t.kind(), t.expires, asked, ends)).then_some(())
        };
        shown(None)?;
        let roles = match (t.keypair, t.trust) {
            (Some(k), _) => {
                let authority = self.yields[k].as_ref()?;
                shown(Some(authority.until))?;
                mask(&authority.roles)
            }
            (None, Some(_)) => {
                let worth = self.worth(token)?;
                let authority = worth.live()?;
                shown(Some(authority.until))?;
                mask(&authority.roles)
            }
            (None, None) => {
                let held = self.held_at(t.user, t.place);
                (held != 0 && self.user_on(t.user) && self.place_on(t.place)).then_some(held)?
            }
        };
        let users = self.parties_of(t);
        let trusts = t.trust.map(|x| self.path(x)).unwrap_or_default();
        let claims = Claims {
            domains: users
                .iter()
                .map(|u| domain_of(*u))
                .chain(t.place.domain())
                .map(|d| DOMAINS[d])
                .collect(),
            users: users.iter().map(|u| USERS[*u]).collect(),
            holder: USERS[self.holder(t)],
            domain_scope: match t.place {
                Spot::Domain(d) => Some(DOMAINS[d]),
                Spot::Project(_) | Spot::System => None,
            },
            project: t.place.project().map(|p| PROJECTS[p]),
            roles: set(roles).iter().map(String::as_str).collect(),
            trusts: trusts.iter().map(|x| self.trusts[*x].row.id.as_str()).collect(),
            consumer: None,
            access_token: None,
            audit: &t.audit,
            audit_chain: t.chain.as_deref(),
            expires: t.expires,
            // A Fernet token tells whole seconds only.
            issued: t.issued / SECOND * SECOND,
        };
        let (place, above) = &PLACES[t.place.index()];
        let carried = Carried {
            holder: claims.holder,
            place,
            above,
            roles: self.own_roles(t).map_or(Carries::All, |own| Carries::These(set(own).clone())),
            issued: claims.issued,
        };
        let revoked = self.events.iter().any(|e| ends(e, &claims)) || loss::ends(&self.losses, &carried);
        (!revoked).then_some(roles)
    }

    /// Records an event as the server does, and remembers whom it must end.
    pub fn take(&mut self, what: Taken) {
        let mut event = Event { issued_before: self.now, ..Event::default() };
        match what {
            Taken::User(u) => event.user = Some(USERS[u].to_owned()),
            Taken::Domain(d) => event.domain = Some(DOMAINS[d].to_owned()),
            Taken::Project(p) => event.project = Some(PROJECTS[p].to_owned()),
            Taken::Trust(t) => event.trust = Some(self.trusts[t].row.id.clone()),
            Taken::Keypair(k) => event.audit_chain = Some(self.keypairs[k].audit.clone()),
            Taken::Token(t) => event.audit = Some(self.tokens[t].audit.clone()),
        }
        self.events.push(event);
        self.event_second = self.now / SECOND;
        for i in 0..self.tokens.len() {
            let t = &self.tokens[i];
            let users = self.parties_of(t);
            let trusts = t.trust.map(|x| self.path(x)).unwrap_or_default();
            self.tokens[i].doomed |= match what {
                Taken::User(u) => users.contains(&u),
                Taken::Domain(d) => users.iter().any(|u| domain_of(*u) == d) || t.place.domain() == Some(d),
                Taken::Project(p) => t.place == Spot::Project(p),
                Taken::Trust(x) => trusts.contains(&x),
                Taken::Keypair(k) => t.keypair == Some(k),
                Taken::Token(x) => x == i,
            };
        }
    }

    /// Does something that may take roles away, records what was lost as the server does, and
    /// remembers which tokens that must end.
    pub fn take_roles(&mut self, kind: &'static str, from: Option<Target>, change: impl FnOnce(&mut Self)) {
        let held =
            |w: &Self| std::array::from_fn::<_, { USERS.len() }, _>(|u| SPOTS.map(|spot| w.held_at(u, spot)));
        let (before, pairs, implied) = (held(self), self.pairs.clone(), implications(&self.pairs));
        change(self);
        let after = held(self);
        let act = format!("act{}", self.step);
        for u in 0..USERS.len() {
            let lost = SPOTS.map(|spot| {
                let n = spot.index();
                loss::lost(set(before[u][n]), set(after[u][n]), &implied)
            });
            let mut record = |place, roles: &Option<RoleSet>| {
                self.losses.push(Lost {
                    user: USERS[u].to_owned(),
                    place,
                    roles: roles.clone().unwrap_or_default(),
                    at: self.now,
                    act: act.clone(),
                });
            };
            // What was inherited is recorded once, and what differs from that by itself.
            let mut common: Option<(&str, &Option<RoleSet>)> = None;
            if let Some(Target::Below(top)) = from {
                let id = top.name().expect("nothing is below the system");
                let below = SPOTS.iter().filter(|s| PLACES[s.index()].1.iter().any(|a| a == id));
                if let Some(most) = below.map(|s| &lost[s.index()]).find(|l| l.is_some()) {
                    record(LostPlace::Below(id.to_owned()), most);
                    common = Some((id, most));
                }
            }
            for (n, roles) in lost.iter().enumerate() {
                let (place, above) = &PLACES[n];
                let nothing = &None;
                let said = common
                    .filter(|(id, _)| above.iter().any(|a| a == id))
                    .map_or(nothing, |(_, roles)| roles);
                if roles != said {
                    record(LostPlace::At(place.clone()), roles);
                }
            }
        }
        if before == after {
            self.last.lost = Some((kind, Fate::StillHeld));
            return;
        }
        self.event_second = self.now / SECOND;
        let mut fate = Fate::Elsewhere;
        for i in 0..self.tokens.len() {
            let t = &self.tokens[i];
            let (holder, n) = (self.holder(t), t.place.index());
            let lost = before[holder][n] & !after[holder][n];
            let carried = self.own_roles(t).map_or(ALL, |own| close(&pairs, own));
            if lost & carried != 0 {
                if !t.doomed && t.expires > self.now {
                    fate = Fate::Ended;
                }
                self.tokens[i].doomed = true;
                self.tokens[i].lost = true;
            }
        }
        self.last.lost = Some((kind, fate));
    }

    /// Whether a valid token's user loses something in its place if these are all grants and members.
    pub fn rests(&self, grants: &Grants, members: &Members) -> bool {
        self.tokens.iter().zip(&self.valid).filter(|(_, valid)| valid.is_some()).any(|(t, _)| {
            let holder = self.holder(t);
            let left = assigned(grants, members, holder, t.place);
            !within(self.held_at(holder, t.place), self.closure(left))
        })
    }

    /// The nth of them, mostly of the preferred ones.
    pub fn some<T: Copy>(n: usize, all: &[T], prefer: impl Fn(T) -> bool) -> Option<T> {
        let preferred: Vec<T> = all.iter().copied().filter(|x| prefer(*x)).collect();
        let from = if n.is_multiple_of(4) || preferred.is_empty() { all } else { &preferred };
        from.get(n / 4 % from.len().max(1)).copied()
    }

    /// Takes the nth grant of those that are called so.
    pub fn take_some_grant(&mut self, kind: &'static str, n: usize) {
        let grants: Vec<(usize, Target, usize)> = (0..ACTORS)
            .flat_map(|a| (0..TARGETS).map(move |t| (a, Target::nth(t))))
            .filter(|(a, t)| kind_of_grant(*a, *t) == kind)
            .flat_map(|(a, t)| (0..ROLES.len()).map(move |r| (a, t, r)))
            .filter(|(a, t, r)| self.grants[*a][t.index()] >> r & 1 == 1)
            .collect();
        let rests = |(a, t, r): (usize, Target, usize)| {
            let mut left = self.grants;
            left[a][t.index()] &= !(1 << r);
            self.rests(&left, &self.members)
        };
        if let Some((actor, target, role)) = Self::some(n, &grants, rests) {
            self.take_grant(actor, target, role);
        }
    }

    /// Takes the nth member out of their group.
    pub fn leave(&mut self, n: usize) {
        let members: Vec<(usize, usize)> = (0..USERS.len())
            .flat_map(|u| (0..GROUPS).map(move |g| (u, g)))
            .filter(|(u, g)| self.members[*u][*g])
            .collect();
        let rests = |(u, g): (usize, usize)| {
            let mut left = self.members;
            left[u][g] = false;
            self.rests(&self.grants, &left)
        };
        if let Some((u, g)) = Self::some(n, &members, rests) {
            self.take_roles("a membership", None, |w| w.members[u][g] = false);
        }
    }

    /// A login of the nth user who holds a role, mostly by something else than a grant on a project.
    pub fn login_somewhere(&mut self, n: usize) {
        let all: Vec<(usize, Spot)> = (0..USERS.len())
            .flat_map(|u| SPOTS.map(|spot| (u, spot)))
            .filter(|(u, spot)| self.held_at(*u, *spot) != 0)
            .collect();
        let other = |(u, spot): (usize, Spot)| {
            spot.project().is_none() || self.held_at(u, spot) != self.closure(self.grants[u][spot.index()])
        };
        if let Some((u, spot)) = Self::some(n, &all, other) {
            self.login(u, spot);
        }
    }

    pub fn take_grant(&mut self, actor: usize, target: Target, role: usize) {
        self.take_roles(kind_of_grant(actor, target), Some(target), |w| {
            w.grants[actor][target.index()] &= !(1 << role);
        });
    }
}
