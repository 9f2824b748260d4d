//! The constitution as laws over random histories.
//!
//! A [`World`] holds plain rows, as the server's store does. Every creation in it goes through
//! [`grant`], [`redelegate`] and [`bind`], every use through [`evaluate`], [`consume`],
//! [`exchange`] and [`ends`], every deletion through [`subtree`]. After every step of a random
//! history all [`LAWS`] are checked against what the world itself remembers: its own record of who
//! made what with which token, its own closure over bit masks, its own walk. The rules under test
//! never judge themselves.
//!
//! `VICAR_LAWS_STEPS` asks for a longer run; `PROPTEST_RNG_SEED` repeats one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use vicar_rules::Micros;
use vicar_rules::delegation::{
    Ask, Authority, Broken, Chain, Ended, Evaluated, Facts, Limits, Parties, Presence, Spent, Standing,
    Suspended, Trust, Until, Use, consume, evaluate, grant, redelegate, subtree,
};
use vicar_rules::keypair::{Bound, KeypairAsk, bind, exchange};
use vicar_rules::loss::{self, Carried, Carries, Lost, LostPlace, Place};
use vicar_rules::policy::{self, Fact, Policy, Scope, Subject};
use vicar_rules::refusal::{Class, Refusal};
use vicar_rules::revocation::{Claims, Event, ends};
use vicar_rules::roles::{Implications, RoleSet};
use vicar_rules::token::{self, Act, Kind, Marks, ScopeKind, Switches, kind, may, rescope};

const SECOND: Micros = 1_000_000;
const STEPS: usize = 150_000;
/// How long a token lives if nothing that it came from ends earlier: now this, now that.
const TOKEN_LIVES: [Micros; 3] = [40 * SECOND, 5 * SECOND, 40 * SECOND];
/// How long after its end a service may see a token (`allow_expired`).
const WINDOW: Micros = 25 * SECOND;

const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
const PROJECTS: [&str; 3] = ["p", "q", "r"];
const DOMAINS: [&str; 2] = ["d0", "d1"];
const GROUPS: usize = 2;
/// Whoever can be given a role: the users, then the groups.
const ACTORS: usize = USERS.len() + GROUPS;
const ROLES: [&str; 5] = ["admin", "heat", "manager", "member", "reader"];

/// A set of roles as bits, so that the laws have a closure of their own.
type Mask = u8;
const ALL: Mask = (1 << ROLES.len()) - 1;

static SETS: LazyLock<Vec<RoleSet>> = LazyLock::new(|| {
    (0..=ALL)
        .map(|m| (0..ROLES.len()).filter(|r| m >> r & 1 == 1).map(|r| ROLES[r].to_owned()).collect())
        .collect()
});

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::shipped().expect("the table parses"));

fn set(mask: Mask) -> &'static RoleSet {
    &SETS[usize::from(mask & ALL)]
}

fn mask(roles: &RoleSet) -> Mask {
    roles.iter().filter_map(|r| ROLES.iter().position(|x| x == r)).fold(0, |m, r| m | 1 << r)
}

fn within(inner: Mask, outer: Mask) -> bool {
    inner & !outer == 0
}

fn close(pairs: &BTreeSet<(usize, usize)>, mut roles: Mask) -> Mask {
    loop {
        let more = pairs
            .iter()
            .filter(|(prior, _)| roles >> prior & 1 == 1)
            .fold(roles, |m, (_, implied)| m | 1 << implied);
        if more == roles {
            return roles;
        }
        roles = more;
    }
}

fn implications(pairs: &BTreeSet<(usize, usize)>) -> Implications {
    Implications::new(pairs.iter().map(|(a, b)| (ROLES[*a].to_owned(), ROLES[*b].to_owned())))
}

fn domain_of(user_or_project: usize) -> usize {
    user_or_project % DOMAINS.len()
}

/// The project above a project: r is below p, in the same domain.
fn parent_of(project: usize) -> Option<usize> {
    (project == 2).then_some(0)
}

/// Where roles are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    Project(usize),
    Domain(usize),
    System,
}

const SPOTS: [Spot; 6] =
    [Spot::Project(0), Spot::Project(1), Spot::Project(2), Spot::Domain(0), Spot::Domain(1), Spot::System];

impl Spot {
    fn index(self) -> usize {
        match self {
            Self::Project(p) => p,
            Self::Domain(d) => PROJECTS.len() + d,
            Self::System => PROJECTS.len() + DOMAINS.len(),
        }
    }

    fn domain(self) -> Option<usize> {
        match self {
            Self::Project(p) => Some(domain_of(p)),
            Self::Domain(d) => Some(d),
            Self::System => None,
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Project(p) => Some(PROJECTS[p]),
            Self::Domain(d) => Some(DOMAINS[d]),
            Self::System => None,
        }
    }

    fn project(self) -> Option<usize> {
        match self {
            Self::Project(p) => Some(p),
            Self::Domain(_) | Self::System => None,
        }
    }
}

/// Where a grant is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    At(Spot),
    /// Inherited by everything below this project or domain.
    Below(Spot),
}

/// Grants below the system do not exist.
const TARGETS: usize = 2 * SPOTS.len() - 1;

impl Target {
    fn nth(n: usize) -> Self {
        match n % TARGETS {
            n if n < SPOTS.len() => Self::At(SPOTS[n]),
            n => Self::Below(SPOTS[n - SPOTS.len()]),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::At(spot) => spot.index(),
            Self::Below(spot) => SPOTS.len() + spot.index(),
        }
    }
}

/// How a grant is called when it is taken.
fn kind_of_grant(actor: usize, target: Target) -> &'static str {
    match target {
        Target::Below(_) => "an inherited grant",
        Target::At(Spot::Domain(_)) => "a grant on a domain",
        Target::At(Spot::System) => "a grant on the system",
        Target::At(Spot::Project(_)) if actor >= USERS.len() => "a group's grant",
        Target::At(Spot::Project(_)) => "a grant",
    }
}

/// The places of [`SPOTS`] and what is above each, as the rules take them.
static PLACES: LazyLock<Vec<(Place, Vec<String>)>> = LazyLock::new(|| {
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

type Grants = [[Mask; TARGETS]; ACTORS];
type Members = [[bool; GROUPS]; USERS.len()];

/// The roles that are assigned to the user or his groups in the place, inherited ones included.
fn assigned(grants: &Grants, members: &Members, user: usize, spot: Spot) -> Mask {
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

// ---------------------------------------------------------------------------------------------
// The world

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    On,
    Off,
    Gone,
}

/// A stored trust, and what the world remembers of its making.
struct Link {
    row: Trust,
    /// The trust of the token that made it.
    under: Option<usize>,
    trustor: usize,
    trustee: usize,
    project: usize,
    roles: Mask,
    imp: bool,
    /// Uses as asked.
    uses: Option<i64>,
    /// Successes so far, over all doors.
    spent: i64,
    redelegable: bool,
    /// The configured maximum when it was made.
    maximum: u32,
}

struct Keypair {
    bound: Bound,
    /// The trust of the token that made it.
    under: Option<usize>,
    owner: usize,
    project: usize,
    /// Roles and end as asked.
    narrowed: Option<Mask>,
    until: Until,
    audit: String,
    deleted: bool,
}

struct Token {
    user: usize,
    methods: Vec<String>,
    place: Spot,
    trust: Option<usize>,
    keypair: Option<usize>,
    source: Option<usize>,
    issued: Micros,
    expires: Micros,
    audit: String,
    chain: Option<String>,
    /// Something that it stands on was taken away by name after it was issued.
    doomed: bool,
    /// Its user lost a role that it carries, after it was issued.
    lost: bool,
    /// It was issued in the whole second of an event or a loss, which cannot be told from before it:
    /// it may be dead, and need not be.
    unsure: bool,
}

impl Token {
    fn marks(&self) -> Marks<'_> {
        Marks {
            methods: &self.methods,
            trust: self.trust.is_some(),
            application_credential: false,
            access_token: false,
            additional_primary: &[],
        }
    }

    fn kind(&self) -> Kind {
        kind(self.marks())
    }
}

/// What is taken away by name, and so recorded as an event.
#[derive(Clone, Copy)]
enum Taken {
    User(usize),
    Domain(usize),
    Project(usize),
    Trust(usize),
    Keypair(usize),
    Token(usize),
}

/// What the last step did, for laws about single steps.
#[derive(Default)]
struct Last {
    /// The trust that was made, and what its parent was worth then.
    made: Option<(usize, Option<Authority>)>,
    /// The keypair that was made, and what its trust was worth then.
    bound: Option<(usize, Option<Authority>)>,
    refused: Option<Refusal>,
    /// Redelegation or binding was tried below something that gives nothing.
    below_dead: bool,
    /// Uses that should have succeeded or failed, and whether they did.
    uses: Vec<(usize, bool, bool)>,
    deleted_trust: Option<usize>,
    deleted_keypair: Option<usize>,
    /// Something that an EC2 token was allowed.
    leaf_did: Option<&'static str>,
    /// What took roles away, and what became of tokens by it.
    lost: Option<(&'static str, Fate)>,
}

/// What an act that takes roles away did.
#[derive(Clone, Copy)]
enum Fate {
    /// Everybody still holds everything in some other way.
    StillHeld,
    /// Somebody lost something, and no token ended.
    Elsewhere,
    /// A token ended.
    Ended,
}

struct World {
    now: Micros,
    step: usize,
    limits: Limits,
    users: [State; USERS.len()],
    projects: [State; PROJECTS.len()],
    domains: [bool; DOMAINS.len()],
    grants: Grants,
    members: Members,
    /// Roles that were deleted.
    deleted_roles: Mask,
    pairs: BTreeSet<(usize, usize)>,
    trusts: Vec<Link>,
    keypairs: Vec<Keypair>,
    tokens: Vec<Token>,
    events: Vec<Event>,
    losses: Vec<Lost>,
    /// The whole second of the latest event or loss.
    event_second: Micros,
    last: Last,

    // What the rules say of all this now.
    implications: Implications,
    agents: BTreeMap<String, Presence>,
    stale: bool,
    evaluated: Vec<Evaluated>,
    yields: Vec<Option<Authority>>,
    valid: Vec<Option<Mask>>,
    /// As `valid`, for a service that asks for expired ones too.
    shown: Vec<Option<Mask>>,
    // And what they said before the last step.
    standings_before: Vec<Standing>,
    valid_before: Vec<Option<Mask>>,
}

impl World {
    fn new(genesis: &Genesis) -> Self {
        let mut w = Self {
            now: 1_000 * SECOND,
            step: 0,
            limits: Limits { allow_redelegation: true, max_redelegation_count: 3 },
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
            standings_before: Vec::new(),
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

    fn closure(&self, roles: Mask) -> Mask {
        close(&self.pairs, roles)
    }

    fn held(&self, user: usize, project: usize) -> Mask {
        self.held_at(user, Spot::Project(project))
    }

    /// Effective roles: direct, by a group, inherited, implied.
    fn held_at(&self, user: usize, spot: Spot) -> Mask {
        self.closure(assigned(&self.grants, &self.members, user, spot))
    }

    fn place_on(&self, spot: Spot) -> bool {
        match spot {
            Spot::Project(p) => self.project_on(p),
            Spot::Domain(d) => self.domains[d],
            Spot::System => true,
        }
    }

    /// Whose roles a token rests on.
    fn holder(&self, token: &Token) -> usize {
        token.trust.map_or(token.user, |t| self.root(t).trustor)
    }

    /// The roles of a delegation, as they were asked; a login has none of its own.
    fn own_roles(&self, token: &Token) -> Option<Mask> {
        let narrowed = token.keypair.and_then(|k| self.keypairs[k].narrowed);
        narrowed.or(token.trust.map(|t| self.trusts[t].roles))
    }

    fn user_on(&self, user: usize) -> bool {
        self.users[user] == State::On && self.domains[domain_of(user)]
    }

    fn project_on(&self, project: usize) -> bool {
        self.projects[project] == State::On && self.domains[domain_of(project)]
    }

    /// The links from the root to `trust`, by the record of their making.
    fn path(&self, trust: usize) -> Vec<usize> {
        let mut up = vec![trust];
        let mut at = trust;
        while let Some(above) = self.trusts[at].under {
            up.push(above);
            at = above;
        }
        up.reverse();
        up
    }

    fn root(&self, trust: usize) -> &Link {
        &self.trusts[self.path(trust)[0]]
    }

    fn below(&self, trust: usize, other: usize) -> bool {
        self.path(other).contains(&trust)
    }

    fn dead_itself(&self, trust: usize) -> bool {
        let t = &self.trusts[trust];
        t.row.deleted_at.is_some()
            || t.row.until.to_option().is_some_and(|at| at <= self.now)
            || t.uses == Some(t.spent)
            || self.users[t.trustor] == State::Gone
            || self.users[t.trustee] == State::Gone
            || self.projects[t.project] == State::Gone
    }

    fn dead(&self, trust: usize) -> bool {
        self.path(trust).into_iter().any(|t| self.dead_itself(t))
    }

    /// Something of a chain is switched off, or a delegated role is not held.
    fn withheld(&self, trust: usize) -> bool {
        let mut above = self.held(self.root(trust).trustor, self.trusts[trust].project);
        for t in self.path(trust) {
            let t = &self.trusts[t];
            let own = self.closure(t.roles);
            if !self.user_on(t.trustor)
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

    fn gives(&self, trust: usize) -> bool {
        !self.dead(trust) && !self.withheld(trust)
    }

    fn speaks_for(&self, trust: usize) -> usize {
        let t = &self.trusts[trust];
        if t.imp { t.trustor } else { t.trustee }
    }

    fn keypair_yields(&self, keypair: usize) -> bool {
        let k = &self.keypairs[keypair];
        !k.deleted
            && k.until.to_option().is_none_or(|at| at > self.now)
            && match k.under {
                Some(t) => {
                    let narrowed = k.narrowed.map_or(ALL, |r| self.closure(r));
                    self.gives(t) && narrowed & self.closure(self.trusts[t].roles) != 0
                }
                None => {
                    self.user_on(k.owner) && self.project_on(k.project) && self.held(k.owner, k.project) != 0
                }
            }
    }

    fn should_be_valid(&self, token: usize) -> bool {
        self.now < self.tokens[token].expires && self.holds(token)
    }

    /// All that the token stands on, apart from its own time.
    fn holds(&self, token: usize) -> bool {
        let t = &self.tokens[token];
        !t.doomed
            && match (t.keypair, t.trust) {
                (Some(k), _) => self.keypair_yields(k),
                (None, Some(t)) => self.gives(t),
                (None, None) => {
                    self.user_on(t.user) && self.place_on(t.place) && self.held_at(t.user, t.place) != 0
                }
            }
    }

    /// Who takes part in a token.
    fn parties_of(&self, token: &Token) -> BTreeSet<usize> {
        let mut users = BTreeSet::from([token.user]);
        for t in token.trust.map(|t| self.path(t)).unwrap_or_default() {
            users.extend([self.trusts[t].trustor, self.trusts[t].trustee]);
        }
        users
    }

    // What the rules say.

    fn presence(on: State, domain_on: bool) -> Presence {
        match (on, domain_on) {
            (State::Gone, _) => Presence::Missing,
            (State::Off, _) => Presence::Disabled,
            (State::On, false) => Presence::DomainDisabled,
            (State::On, true) => Presence::Active,
        }
    }

    fn project_presence(&self, project: usize) -> Presence {
        Self::presence(self.projects[project], self.domains[domain_of(project)])
    }

    fn standing(&self, trust: usize) -> &Standing {
        self.evaluated[trust].standing()
    }

    fn live(&self, trust: usize) -> Option<&Authority> {
        self.evaluated[trust].live()
    }

    fn chain(&self, trust: usize) -> &Chain {
        self.evaluated[trust].chain()
    }

    fn evaluate(&self, chain: Chain, project: usize) -> Evaluated {
        let root = USERS.iter().position(|u| *u == chain.root().trustor);
        let roles = root.map_or(0, |r| self.held(r, project));
        evaluate(
            chain,
            &Facts {
                now: self.now,
                implications: &self.implications,
                root_roles: set(roles),
                agents: &self.agents,
                project: self.project_presence(project),
            },
        )
    }

    /// Asks the rules about everything anew.
    fn look(&mut self) {
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
        self.yields = (0..self.keypairs.len()).map(|k| self.worth_of_keypair(k)).collect();
        self.valid = (0..self.tokens.len()).map(|t| self.validate(t, 0)).collect();
        self.shown = (0..self.tokens.len())
            .map(|t| if self.now < self.tokens[t].expires { self.valid[t] } else { self.validate(t, WINDOW) })
            .collect();
    }

    fn worth_of_keypair(&self, keypair: usize) -> Option<Authority> {
        let k = &self.keypairs[keypair];
        if k.deleted {
            return None;
        }
        let (roles, until) = (k.bound.roles(), k.bound.until());
        match k.under {
            Some(t) => {
                let worth = self.live(t)?;
                exchange(worth, roles, until, &self.implications, self.now)
            }
            None => {
                let worth = Authority {
                    until: Until::Never,
                    roles: set(self.held(k.owner, k.project)).clone(),
                    project: PROJECTS[k.project].to_owned(),
                    impersonate: false,
                    hops: 0,
                };
                (self.user_on(k.owner) && self.project_on(k.project))
                    .then(|| exchange(&worth, roles, until, &self.implications, self.now))?
            }
        }
    }

    /// The roles that a token carries now; nothing when it is dead, or expired for longer than asked.
    fn validate(&self, token: usize, asked: Micros) -> Option<Mask> {
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
            (None, Some(trust)) => {
                let authority = self.live(trust)?;
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
    fn take(&mut self, what: Taken) {
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
    fn take_roles(&mut self, kind: &'static str, from: Option<Target>, change: impl FnOnce(&mut Self)) {
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

    /// Does a valid token's user lose something in its place if these are all grants and members?
    fn rests(&self, grants: &Grants, members: &Members) -> bool {
        self.tokens.iter().zip(&self.valid).filter(|(_, valid)| valid.is_some()).any(|(t, _)| {
            let holder = self.holder(t);
            let left = assigned(grants, members, holder, t.place);
            !within(self.held_at(holder, t.place), self.closure(left))
        })
    }

    /// The nth of them, mostly of the preferred ones.
    fn some<T: Copy>(n: usize, all: &[T], prefer: impl Fn(T) -> bool) -> Option<T> {
        let preferred: Vec<T> = all.iter().copied().filter(|x| prefer(*x)).collect();
        let from = if n.is_multiple_of(4) || preferred.is_empty() { all } else { &preferred };
        from.get(n / 4 % from.len().max(1)).copied()
    }

    /// Takes the nth grant of those that are called so.
    fn take_some_grant(&mut self, kind: &'static str, n: usize) {
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

    /// Takes the nth member out of his group.
    fn leave(&mut self, n: usize) {
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
    fn login_somewhere(&mut self, n: usize) {
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

    fn take_grant(&mut self, actor: usize, target: Target, role: usize) {
        self.take_roles(kind_of_grant(actor, target), Some(target), |w| {
            w.grants[actor][target.index()] &= !(1 << role);
        });
    }

    // The doors.

    fn mint(&mut self, mut t: Token) -> usize {
        let n = self.tokens.len();
        t.audit = format!("a{n}");
        t.issued = self.now;
        t.unsure = self.now / SECOND == self.event_second;
        self.tokens.push(t);
        self.look();
        n
    }

    fn capped(&self, ends: impl IntoIterator<Item = Until>) -> Micros {
        let life = TOKEN_LIVES[self.step % TOKEN_LIVES.len()];
        ends.into_iter().filter_map(Until::to_option).fold(self.now + life, Micros::min)
    }

    fn login(&mut self, user: usize, place: Spot) -> Option<usize> {
        let ok = self.user_on(user) && self.place_on(place) && self.held_at(user, place) != 0;
        ok.then(|| {
            let expires = self.capped([]);
            self.mint(Token {
                user,
                methods: vec!["password".into()],
                place,
                trust: None,
                keypair: None,
                source: None,
                issued: 0,
                expires,
                audit: String::new(),
                chain: None,
                doomed: false,
                lost: false,
                unsure: false,
            })
        })
    }

    /// Several bearers at once: all of them are judged, and have read the row, before the first one
    /// takes his use.
    fn race(&mut self, trust: usize) {
        let allowed = self.live(trust).is_some();
        let gives = self.gives(trust);
        let seen = self.trusts[trust].row.clone();
        for _ in 0..3 {
            let t = &self.trusts[trust];
            let left = t.uses.is_none_or(|k| t.spent < k);
            self.spend(trust, &seen, allowed, gives && left);
        }
    }

    /// Takes one use if the rules let it; the token is the caller's to mint. `seen` is the row as the
    /// bearer read it, maybe some time ago.
    fn spend(&mut self, trust: usize, seen: &Trust, allowed: bool, expected: bool) -> bool {
        let taken = allowed && self.take_use(trust, seen.clone());
        self.last.uses.push((trust, expected, taken));
        if taken {
            self.trusts[trust].spent += 1;
            self.stale = true;
        }
        taken
    }

    /// The store's conditional write, until it succeeds or nothing is left.
    fn take_use(&mut self, trust: usize, mut seen: Trust) -> bool {
        let row = &mut self.trusts[trust].row;
        loop {
            match consume(&seen) {
                Err(Spent) => return false,
                Ok(Use::Uncounted) => return true,
                Ok(Use::Counted { before, after }) if row.remaining_uses == Some(before) => {
                    row.remaining_uses = Some(after);
                    return true;
                }
                Ok(Use::Counted { .. }) => seen = row.clone(),
            }
        }
    }

    fn trust_login(&mut self, trust: usize, by: usize, source: Option<usize>) -> Option<usize> {
        let source = source.filter(|s| {
            let t = &self.tokens[*s];
            t.user == by && t.kind() == Kind::Login && self.valid[*s].is_some()
        });
        let until = self.live(trust).map(|a| a.until);
        let allowed = self.chain(trust).leaf().trustee == USERS[by] && until.is_some();
        let expected = self.trusts[trust].trustee == by && self.gives(trust);
        let seen = self.trusts[trust].row.clone();
        if !self.spend(trust, &seen, allowed, expected) {
            return None;
        }
        let mut methods = vec!["password".to_owned()];
        methods.extend(source.map(|_| "token".to_owned()));
        let from_source = source.map(|s| Until::At(self.tokens[s].expires));
        let expires = self.capped(until.into_iter().chain(from_source));
        let speaker = self.chain(trust).speaks_for();
        Some(self.mint(Token {
            user: USERS.iter().position(|u| *u == speaker)?,
            methods,
            place: Spot::Project(self.trusts[trust].project),
            trust: Some(trust),
            keypair: None,
            source,
            issued: 0,
            expires,
            audit: String::new(),
            chain: source.map(|s| self.tokens[s].audit.clone()),
            doomed: false,
            lost: false,
            unsure: false,
        }))
    }

    fn exchange_keypair(&mut self, keypair: usize) -> Option<usize> {
        let k = &self.keypairs[keypair];
        let (owner, project, under) = (k.owner, k.project, k.under);
        let chain = Some(k.audit.clone());
        let worth = self.yields[keypair].clone();
        if let Some(t) = under {
            let expected = self.keypair_yields(keypair);
            let seen = self.trusts[t].row.clone();
            if !self.spend(t, &seen, worth.is_some(), expected) {
                return None;
            }
        }
        let expires = self.capped([worth?.until]);
        Some(self.mint(Token {
            user: owner,
            methods: vec![token::EC2_METHOD.to_owned()],
            place: Spot::Project(project),
            trust: under,
            keypair: Some(keypair),
            source: None,
            issued: 0,
            expires,
            audit: String::new(),
            chain,
            doomed: false,
            lost: false,
            unsure: false,
        }))
    }

    /// A valid token of the trust, made if there is none.
    fn token_of(&mut self, trust: usize) -> Option<usize> {
        let has = (0..self.tokens.len()).find(|i| {
            let t = &self.tokens[*i];
            t.trust == Some(trust) && t.kind() == Kind::Trust && self.valid[*i].is_some()
        });
        has.or_else(|| {
            let by = self.trusts[trust].trustee;
            // The last use of a trust ends it, and with it the token.
            self.trust_login(trust, by, None).filter(|t| self.valid[*t].is_some())
        })
    }

    /// Is this token allowed to act? An EC2 token never is.
    fn admitted(&mut self, token: usize, act: Act) -> bool {
        match may(self.tokens[token].kind(), act, Switches::default()) {
            Ok(()) => {
                if self.tokens[token].keypair.is_some() {
                    self.last.leaf_did = Some("act");
                }
                true
            }
            Err(refusal) => {
                self.last.refused = Some(refusal);
                false
            }
        }
    }

    fn remember(&mut self, made: Result<Trust, Refusal>, ask: &Ask, under: Option<usize>) {
        let above = under.and_then(|p| self.live(p).cloned());
        match made {
            Err(refusal) => self.last.refused = Some(refusal),
            Ok(mut row) => {
                let n = self.trusts.len();
                row.id = format!("t{n}");
                let user = |name: &str| USERS.iter().position(|u| *u == name).expect("known");
                let project = ask.project.as_deref().expect("a trust has a project");
                self.trusts.push(Link {
                    row,
                    under,
                    trustor: user(&ask.trustor),
                    trustee: user(&ask.trustee),
                    project: PROJECTS
                        .iter()
                        .position(|p| *p == project)
                        .expect("a trust is on a project that exists"),
                    roles: mask(&ask.roles),
                    imp: ask.impersonation,
                    uses: ask.uses,
                    spent: 0,
                    redelegable: ask.allow_redelegation && ask.count != Some(0),
                    maximum: self.limits.max_redelegation_count,
                });
                self.last.made = Some((n, above));
                self.stale = true;
            }
        }
    }

    fn grant(&mut self, trustor: usize, project: usize, wish: &Wish) {
        let held = self.held(trustor, project);
        let ask = self.ask(USERS[trustor], project, held, None, wish);
        // The ask may name another project than the one that it was made for.
        let held = Self::named(&ask).map_or(0, |p| self.held(trustor, p));
        let made = grant(
            &ask,
            &Parties {
                token_user: USERS[trustor],
                trustee_exists: self.exists(&ask.trustee),
                project: self.presence_of(&ask),
                root_roles: set(held),
                implications: &self.implications,
                now: self.now,
            },
            self.limits,
        );
        self.remember(made.map(|g| g.trust().clone()), &ask, None);
    }

    fn redelegate(&mut self, parent: usize, wish: &Wish) {
        // The parent comes from the token alone. Without a valid one the rules must refuse by
        // themselves: the chain may have ended after the token was looked at.
        let token = self.token_of(parent);
        if token.is_some_and(|t| !self.admitted(t, Act::Trusts)) {
            return;
        }
        let above = &self.evaluated[parent];
        let chain = above.chain();
        let user = token.map_or(chain.speaks_for(), |t| USERS[self.tokens[t].user]);
        let root = self.root(parent).trustor;
        let ask = self.ask(user, self.trusts[parent].project, 0, Some(parent), wish);
        let held = self.held(root, self.trusts[parent].project);
        let made = redelegate(
            &ask,
            above,
            &Parties {
                token_user: if wish.bend == Bend::ForeignToken { &ask.trustor } else { user },
                trustee_exists: self.exists(&ask.trustee),
                project: self.presence_of(&ask),
                root_roles: set(held),
                implications: &self.implications,
                now: self.now,
            },
            self.limits,
        );
        self.last.below_dead = !self.gives(parent);
        self.remember(made.map(|g| g.trust().clone()), &ask, Some(parent));
    }

    fn exists(&self, user: &str) -> bool {
        USERS.iter().position(|u| *u == user).is_some_and(|u| self.users[u] != State::Gone)
    }

    fn named(ask: &Ask) -> Option<usize> {
        let name = ask.project.as_deref()?;
        PROJECTS.iter().position(|p| *p == name)
    }

    fn presence_of(&self, ask: &Ask) -> Presence {
        Self::named(ask).map_or(Presence::Missing, |p| self.project_presence(p))
    }

    /// A lawful ask, bent in one place.
    fn ask(&self, trustor: &str, project: usize, held: Mask, parent: Option<usize>, wish: &Wish) -> Ask {
        let above = parent.and_then(|p| self.live(p));
        let base = match parent {
            Some(p) => self.closure(self.trusts[p].roles),
            None => held,
        };
        let some = if wish.roles & base == 0 { base } else { wish.roles & base };
        let until = match wish.end % 9 {
            0..=3 => None,
            4 => Some(self.now + SECOND),
            5 => Some(self.now + 5 * SECOND),
            6 => Some(self.now + 20 * SECOND),
            7 => Some(self.now + 600 * SECOND),
            _ => above.and_then(|a| a.until.to_option()),
        };
        let latest = above.map_or(Until::Never, |a| a.until);
        let left = parent.map(|p| self.trusts[p].row.hops);
        let deepest = left.map_or(self.limits.max_redelegation_count, |h| h.saturating_sub(1));
        let (allow_redelegation, count) = match wish.depth % 8 {
            0 => (false, None),
            1 => (true, Some(0)),
            2 => (true, Some(deepest)),
            3 if parent.is_none() => (true, Some(deepest.min(2))),
            4 => (false, Some(7)),
            _ => (true, None),
        };
        let leaf = !allow_redelegation || count == Some(0);
        let mut ask = Ask {
            trustor: trustor.to_owned(),
            trustee: USERS[wish.trustee % USERS.len()].to_owned(),
            project: Some(PROJECTS[project].to_owned()),
            impersonation: wish.imp && above.is_none_or(|a| a.impersonate),
            roles: set(some).clone(),
            until: until.filter(|t| Until::At(*t) <= latest),
            uses: (leaf && !wish.uses.is_multiple_of(4)).then_some(i64::from(wish.uses % 4)),
            allow_redelegation,
            count,
        };
        match wish.bend {
            Bend::No => {}
            Bend::ForeignTrustor | Bend::ForeignToken => {
                ask.trustor = USERS[wish.other % USERS.len()].to_owned();
            }
            Bend::UnknownTrustee => ask.trustee = "nobody".into(),
            Bend::NoRoles => ask.roles = RoleSet::new(),
            Bend::NoProject => ask.project = None,
            Bend::Nothing => {
                ask.project = None;
                ask.roles = RoleSet::new();
            }
            Bend::UnknownProject => ask.project = Some("nowhere".into()),
            Bend::OtherProject => ask.project = Some(PROJECTS[wish.other % 3].to_owned()),
            Bend::AnyRoles => ask.roles = set(wish.roles).clone(),
            Bend::RootRoles => {
                let root = parent.map_or(held, |p| self.held(self.root(p).trustor, project));
                ask.roles = set(root).clone();
            }
            Bend::Uses(n) => {
                ask.uses = Some(n);
                ask.allow_redelegation = false;
            }
            Bend::UsesAnyway => {
                ask.uses = Some(2);
                ask.allow_redelegation = true;
                ask.count = None;
            }
            Bend::EndsPast => ask.until = Some(self.now - 1),
            Bend::EndsNow => ask.until = Some(self.now),
            Bend::EndsLater => {
                ask.until = Some(match latest {
                    Until::At(t) => t + 1,
                    Until::Never => self.now + 7 * SECOND,
                });
            }
            Bend::EndsNever => ask.until = None,
            Bend::CountMore => {
                ask.allow_redelegation = true;
                ask.count = Some(left.unwrap_or(self.limits.max_redelegation_count) + 1);
                ask.uses = None;
            }
            Bend::CountOther => {
                ask.allow_redelegation = true;
                ask.count = Some(1);
                ask.uses = None;
            }
            Bend::Imp => ask.impersonation = true,
        }
        ask
    }

    fn bind(&mut self, token: usize, wish: &KeyWish) {
        if self.valid[token].is_none() || !self.admitted(token, Act::Keypairs) {
            return;
        }
        let (under, owner, at) = {
            let t = &self.tokens[token];
            (t.trust, t.user, t.place)
        };
        // With a login on a domain or the system it is for some project.
        self.bind_for(under, owner, at.project().unwrap_or(wish.other), wish);
    }

    fn bind_for(&mut self, under: Option<usize>, owner: usize, at: usize, wish: &KeyWish) {
        let above = under.and_then(|t| self.live(t).cloned());
        let base = under.map_or(0, |t| self.closure(self.trusts[t].roles));
        let narrower = match wish.roles & base {
            0 => base,
            some => some,
        };
        let latest = above.as_ref().map_or(Until::Never, |a| a.until);
        let soon = self.now + 6 * SECOND;
        let mut ask = KeypairAsk {
            project: PROJECTS[at].to_owned(),
            roles: (under.is_some() && wish.narrow).then(|| set(narrower).clone()),
            until: (under.is_some() && wish.end && Until::At(soon) <= latest).then_some(soon),
        };
        match wish.bend {
            KeyBend::No => {}
            KeyBend::OtherProject => ask.project = PROJECTS[wish.other % 3].to_owned(),
            KeyBend::AnyRoles => ask.roles = Some(set(wish.roles).clone()),
            KeyBend::NoRoles => ask.roles = Some(RoleSet::new()),
            KeyBend::EndsPast => ask.until = Some(self.now),
            KeyBend::EndsLater => {
                ask.until = Some(match latest {
                    Until::At(t) => t + 1,
                    Until::Never => self.now + 900 * SECOND,
                });
            }
        }
        let on = under.map(|t| &self.evaluated[t]);
        match bind(&ask, on, &self.implications, self.now) {
            Err(refusal) => self.last.refused = Some(refusal),
            Ok(bound) => {
                let n = self.keypairs.len();
                self.keypairs.push(Keypair {
                    narrowed: ask.roles.as_ref().map(mask),
                    until: Until::from_option(ask.until),
                    bound,
                    under,
                    owner,
                    project: PROJECTS
                        .iter()
                        .position(|p| *p == ask.project)
                        .expect("a keypair is on a project that exists"),
                    audit: format!("k{n}"),
                    deleted: false,
                });
                self.last.bound = Some((n, above));
            }
        }
    }

    fn subtree(&self, trust: usize) -> BTreeSet<&str> {
        let falls = subtree(&self.trusts[trust].row.id, self.trusts.iter().map(|t| &t.row));
        falls.into_iter().map(|t| t.id.as_str()).collect()
    }

    fn delete_trust(&mut self, trust: usize, thorough: bool) {
        self.last.deleted_trust = thorough.then_some(trust);
        let falls: Vec<usize> = if thorough {
            let falls = self.subtree(trust);
            (0..self.trusts.len()).filter(|t| falls.contains(self.trusts[*t].row.id.as_str())).collect()
        } else {
            // Another server beside this one may mark one row only; what is below is dead anyway.
            vec![trust]
        };
        for t in falls {
            self.trusts[t].row.deleted_at.get_or_insert(self.now);
            if thorough {
                for k in &mut self.keypairs {
                    k.deleted |= k.bound.trust() == Some(self.trusts[t].row.id.as_str());
                }
            }
            self.take(Taken::Trust(t));
        }
        self.stale = true;
    }

    fn apply(&mut self, op: &Op) {
        self.step += 1;
        self.last = Last::default();
        self.standings_before = self.evaluated.iter().map(|e| e.standing().clone()).collect();
        self.valid_before = std::mem::take(&mut self.valid);
        self.look();
        let trust = |w: &Self, n: usize| (!w.trusts.is_empty()).then(|| n % w.trusts.len());
        // Mostly one that gives something, so that chains grow.
        let living = |w: &Self, n: usize, hops: u32| {
            let live: Vec<usize> =
                (0..w.trusts.len()).filter(|t| w.live(*t).is_some_and(|a| a.hops >= hops)).collect();
            match n % 5 {
                0 => trust(w, n / 5),
                1 | 2 => live.last().copied(),
                _ => live.get(n / 5 % live.len().max(1)).copied(),
            }
        };
        let some_token = |w: &Self, n: usize| (!w.tokens.is_empty()).then(|| n % w.tokens.len());
        match op {
            Op::Wait(how) => self.now += how,
            Op::Limit(allow, max) => {
                self.limits = Limits { allow_redelegation: *allow, max_redelegation_count: *max }
            }
            Op::Give(actor, target, r) => {
                self.grants[*actor][target.index()] |= 1 << r & !self.deleted_roles;
            }
            Op::Take(actor, target, r) => {
                if self.grants[*actor][target.index()] >> r & 1 == 1 {
                    self.take_grant(*actor, *target, *r);
                }
            }
            Op::TakeSome(kind, n) => self.take_some_grant(kind, *n),
            Op::Join(u, g) => self.members[*u][*g] = true,
            Op::Leave(n) => self.leave(*n),
            Op::DeleteGroup(g) => self.take_roles("a group", None, |w| {
                w.grants[USERS.len() + g] = [0; TARGETS];
                w.members.iter_mut().for_each(|of| of[*g] = false);
            }),
            Op::DeleteRole(r) => self.take_roles("a role", None, |w| {
                w.deleted_roles |= 1 << r;
                w.grants.iter_mut().flatten().for_each(|roles| *roles &= !(1 << r));
                w.pairs.retain(|(a, b)| a != r && b != r);
            }),
            Op::Imply(a, b) => {
                if (1 << a | 1 << b) & self.deleted_roles == 0 {
                    self.pairs.insert((*a, *b));
                }
            }
            Op::Unimply(n) => {
                if let Some(pair) = self.pairs.iter().nth(n % self.pairs.len().max(1)).copied() {
                    self.take_roles("an implication", None, |w| {
                        w.pairs.remove(&pair);
                    });
                }
            }
            Op::User(u, state) => {
                if self.users[*u] != State::Gone && self.users[*u] != *state {
                    self.users[*u] = *state;
                    if *state != State::On {
                        self.take(Taken::User(*u));
                    }
                }
            }
            Op::Project(p, state) => {
                if self.projects[*p] != State::Gone && self.projects[*p] != *state {
                    self.projects[*p] = *state;
                    if *state != State::On {
                        self.take(Taken::Project(*p));
                    }
                }
            }
            Op::Domain(d, on) => {
                if self.domains[*d] != *on {
                    self.domains[*d] = *on;
                    if !on {
                        self.take(Taken::Domain(*d));
                    }
                }
            }
            Op::Password(u) => self.take(Taken::User(*u)),
            Op::Grant(u, p, wish) => self.grant(*u, *p, wish),
            Op::Redelegate(n, wish) => {
                if let Some(t) = living(self, *n, 1) {
                    self.redelegate(t, wish);
                }
            }
            Op::Login(u, p) => {
                self.login(*u, *p);
            }
            Op::LoginSomewhere(n) => self.login_somewhere(*n),
            Op::TrustLogin(n, by, source) => {
                if let Some(t) = living(self, *n, 0) {
                    // Mostly the trustee; with his own token, if he has one.
                    let by = by.unwrap_or(self.trusts[t].trustee);
                    let source = source.then(|| self.tokens.iter().position(|x| x.user == by)).flatten();
                    self.trust_login(t, by, source);
                }
            }
            Op::Bind(n, wish) => {
                // Mostly with a trust's token.
                let token = if n % 4 == 0 {
                    some_token(self, n / 4)
                } else {
                    living(self, n / 4, 0).and_then(|t| self.token_of(t))
                };
                if let Some(t) = token {
                    self.bind(t, wish);
                }
            }
            Op::BindAnyway(n, wish) => {
                // The chain may have ended after the token was looked at.
                if let Some(t) = trust(self, *n) {
                    let (owner, at) = (self.speaks_for(t), self.trusts[t].project);
                    self.bind_for(Some(t), owner, at, wish);
                    self.last.below_dead = !self.gives(t);
                }
            }
            Op::Exchange(n) => {
                if !self.keypairs.is_empty() {
                    self.exchange_keypair(n % self.keypairs.len());
                }
            }
            Op::Race(n) => {
                if let Some(t) = living(self, *n, 0) {
                    self.race(t);
                }
            }
            Op::DeleteTrust(n, thorough) => {
                if let Some(t) = trust(self, *n) {
                    self.delete_trust(t, *thorough);
                }
            }
            Op::DeleteKeypair(n) => {
                if !self.keypairs.is_empty() {
                    let k = n % self.keypairs.len();
                    self.keypairs[k].deleted = true;
                    self.take(Taken::Keypair(k));
                    self.last.deleted_keypair = Some(k);
                }
            }
            Op::RevokeToken(n) => {
                if let Some(t) = some_token(self, *n) {
                    self.take(Taken::Token(t));
                }
            }
            Op::Act(n, act) => {
                if let Some(t) = some_token(self, *n) {
                    self.admitted(t, *act);
                }
            }
        }
        self.look();
    }
}

// ---------------------------------------------------------------------------------------------
// Histories

#[derive(Debug, Clone)]
struct Genesis {
    grants: [[Mask; PROJECTS.len()]; USERS.len()],
    /// Grants to groups, on domains and the system, inherited ones.
    others: Vec<(usize, Target, usize)>,
    members: Members,
    pairs: Vec<(usize, usize)>,
}

/// Where an ask leaves the lawful path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bend {
    No,
    ForeignTrustor,
    /// Even the caller of the rules mistakes whose token it is.
    ForeignToken,
    UnknownTrustee,
    NoRoles,
    NoProject,
    Nothing,
    UnknownProject,
    OtherProject,
    AnyRoles,
    RootRoles,
    Uses(i64),
    UsesAnyway,
    EndsPast,
    EndsNow,
    EndsLater,
    EndsNever,
    CountMore,
    CountOther,
    Imp,
}

const BENDS: &[Bend] = &[
    Bend::ForeignTrustor,
    Bend::ForeignToken,
    Bend::UnknownTrustee,
    Bend::NoRoles,
    Bend::NoProject,
    Bend::Nothing,
    Bend::UnknownProject,
    Bend::OtherProject,
    Bend::AnyRoles,
    Bend::RootRoles,
    Bend::RootRoles,
    Bend::Uses(0),
    Bend::Uses(-1),
    Bend::Uses(1 << 33),
    Bend::UsesAnyway,
    Bend::EndsPast,
    Bend::EndsNow,
    Bend::EndsLater,
    Bend::EndsLater,
    Bend::EndsNever,
    Bend::CountMore,
    Bend::CountOther,
    Bend::Imp,
    Bend::Imp,
];

#[derive(Debug, Clone)]
struct Wish {
    trustee: usize,
    other: usize,
    roles: Mask,
    imp: bool,
    end: u8,
    uses: u8,
    depth: u8,
    bend: Bend,
}

#[derive(Debug, Clone, Copy)]
enum KeyBend {
    No,
    OtherProject,
    AnyRoles,
    NoRoles,
    EndsPast,
    EndsLater,
}

#[derive(Debug, Clone)]
struct KeyWish {
    roles: Mask,
    narrow: bool,
    end: bool,
    other: usize,
    bend: KeyBend,
}

#[derive(Debug, Clone)]
enum Op {
    Wait(Micros),
    Limit(bool, u32),
    Give(usize, Target, usize),
    Take(usize, Target, usize),
    TakeSome(&'static str, usize),
    Join(usize, usize),
    Leave(usize),
    DeleteGroup(usize),
    DeleteRole(usize),
    Imply(usize, usize),
    Unimply(usize),
    User(usize, State),
    Project(usize, State),
    Domain(usize, bool),
    Password(usize),
    Grant(usize, usize, Wish),
    Redelegate(usize, Wish),
    Login(usize, Spot),
    LoginSomewhere(usize),
    TrustLogin(usize, Option<usize>, bool),
    Bind(usize, KeyWish),
    BindAnyway(usize, KeyWish),
    Exchange(usize),
    Race(usize),
    DeleteTrust(usize, bool),
    DeleteKeypair(usize),
    RevokeToken(usize),
    Act(usize, Act),
}

/// What [`kind_of_grant`] says.
const GRANTS: &[&str] =
    &["a grant", "a group's grant", "an inherited grant", "a grant on a domain", "a grant on the system"];

const ACTS: &[Act] = &[
    Act::Use,
    Act::Trusts,
    Act::Rescope,
    Act::Keypairs,
    Act::OtherCredentials,
    Act::OtherDelegations,
    Act::Password,
    Act::RevokeAll,
];

fn genesis() -> impl Strategy<Value = Genesis> {
    let roles = prop_oneof![1 => Just(0), 1 => 0..=ALL];
    let grants = proptest::array::uniform5(proptest::array::uniform3(roles));
    let pairs = vec((0..ROLES.len(), 0..ROLES.len()), 0..4);
    let other = (0..ACTORS, any_target(), 0..ROLES.len());
    let members = proptest::array::uniform5(proptest::array::uniform2(prop::bool::weighted(0.3)));
    (grants, vec(other, 0..12), members, pairs).prop_map(|(mut grants, others, members, pairs)| {
        // Somebody has something to delegate.
        grants[0][0] |= 0b11110;
        Genesis { grants, others, members, pairs }
    })
}

fn any_target() -> impl Strategy<Value = Target> {
    (0..TARGETS).prop_map(Target::nth)
}

fn wish() -> impl Strategy<Value = Wish> {
    let bend = prop_oneof![3 => Just(Bend::No), 2 => select(BENDS)];
    (0..USERS.len(), 0..USERS.len(), 0..=ALL, any::<bool>(), any::<[u8; 3]>(), bend).prop_map(
        |(trustee, other, roles, imp, [end, uses, depth], bend)| Wish {
            trustee,
            other,
            roles,
            imp,
            end,
            uses,
            depth,
            bend,
        },
    )
}

fn key_wish() -> impl Strategy<Value = KeyWish> {
    let bend = prop_oneof![
        8 => Just(KeyBend::No),
        1 => Just(KeyBend::OtherProject),
        1 => Just(KeyBend::AnyRoles),
        1 => Just(KeyBend::NoRoles),
        1 => Just(KeyBend::EndsPast),
        1 => Just(KeyBend::EndsLater),
    ];
    (0..=ALL, any::<bool>(), any::<bool>(), 0..3_usize, bend)
        .prop_map(|(roles, narrow, end, other, bend)| KeyWish { roles, narrow, end, other, bend })
}

fn op() -> impl Strategy<Value = Op> {
    let (user, project, role) = (0..USERS.len(), 0..PROJECTS.len(), 0..ROLES.len());
    // Most trusts come from Alice, who has most to give.
    let trustor = prop_oneof![2 => Just(0), 1 => 0..USERS.len()];
    let place = prop_oneof![2 => Just(0), 1 => 0..PROJECTS.len()];
    let nth = 0..720_720_usize;
    let wait = select(&[1, SECOND / 5, SECOND, SECOND, 3 * SECOND, 10 * SECOND][..]);
    let on_off = prop_oneof![3 => Just(State::On), 2 => Just(State::Off)];
    let group = 0..GROUPS;
    let actor = prop_oneof![4 => trustor.clone(), 1 => USERS.len()..ACTORS];
    let target = prop_oneof![
        3 => place.clone().prop_map(|p| Target::At(Spot::Project(p))),
        1 => any_target(),
    ];
    let spot = prop_oneof![2 => project.clone().prop_map(Spot::Project), 1 => select(&SPOTS[..])];
    prop_oneof![
        12 => wait.prop_map(Op::Wait),
        2 => (prop::bool::weighted(0.8), 1..5_u32).prop_map(|(a, m)| Op::Limit(a, m)),
        7 => (actor.clone(), target.clone(), role.clone()).prop_map(|(a, t, r)| Op::Give(a, t, r)),
        2 => (actor, target, role.clone()).prop_map(|(a, t, r)| Op::Take(a, t, r)),
        6 => (select(GRANTS), nth.clone()).prop_map(|(kind, n)| Op::TakeSome(kind, n)),
        2 => (trustor.clone(), group.clone()).prop_map(|(u, g)| Op::Join(u, g)),
        3 => nth.clone().prop_map(Op::Leave),
        1 => group.prop_map(Op::DeleteGroup),
        1 => prop_oneof![2 => Just(None), 1 => role.clone().prop_map(Some)]
            .prop_map(|r| r.map_or(Op::Wait(1), Op::DeleteRole)),
        2 => (role.clone(), role).prop_map(|(a, b)| Op::Imply(a, b)),
        1 => nth.clone().prop_map(Op::Unimply),
        6 => (user.clone(), on_off.clone()).prop_map(|(u, s)| Op::User(u, s)),
        3 => (project.clone(), on_off).prop_map(|(p, s)| Op::Project(p, s)),
        3 => (0..DOMAINS.len(), prop::bool::weighted(0.6)).prop_map(|(d, on)| Op::Domain(d, on)),
        1 => user.clone().prop_map(|u| Op::User(u, State::Gone)),
        1 => (1..PROJECTS.len()).prop_map(|p| Op::Project(p, State::Gone)),
        1 => user.clone().prop_map(Op::Password),
        14 => (trustor, place, wish()).prop_map(|(u, p, w)| Op::Grant(u, p, w)),
        26 => (nth.clone(), wish()).prop_map(|(n, w)| Op::Redelegate(n, w)),
        4 => nth.clone().prop_map(Op::LoginSomewhere),
        3 => (user.clone(), spot).prop_map(|(u, p)| Op::Login(u, p)),
        10 => (nth.clone(), prop::option::weighted(0.2, user), any::<bool>())
            .prop_map(|(n, by, source)| Op::TrustLogin(n, by, source)),
        9 => (nth.clone(), key_wish()).prop_map(|(n, w)| Op::Bind(n, w)),
        2 => (nth.clone(), key_wish()).prop_map(|(n, w)| Op::BindAnyway(n, w)),
        11 => nth.clone().prop_map(Op::Exchange),
        1 => nth.clone().prop_map(Op::Race),
        3 => (nth.clone(), any::<bool>()).prop_map(|(n, all)| Op::DeleteTrust(n, all)),
        2 => nth.clone().prop_map(Op::DeleteKeypair),
        1 => nth.clone().prop_map(Op::RevokeToken),
        3 => (nth, select(ACTS)).prop_map(|(n, act)| Op::Act(n, act)),
    ]
}

// ---------------------------------------------------------------------------------------------
// The laws

type Verdict = Result<(), String>;

macro_rules! must {
    ($cond:expr, $($why:tt)+) => {
        if !$cond {
            return Err(format!($($why)+));
        }
    };
}

type Law = fn(&World) -> Verdict;

const LAWS: &[(&str, Law)] = &[
    ("no_escalation", no_escalation),
    ("nothing_is_withheld_that_is_due", nothing_is_withheld_that_is_due),
    ("what_is_made_is_below_what_made_it", what_is_made_is_below_what_made_it),
    ("same_place", same_place),
    ("no_outliving", no_outliving),
    ("no_upgrade", no_upgrade),
    ("bounded_depth", bounded_depth),
    ("death_is_a_subtree", death_is_a_subtree),
    ("suspended_is_not_dead", suspended_is_not_dead),
    ("taken_tokens_stay_dead", taken_tokens_stay_dead),
    ("a_loss_is_final", a_loss_is_final),
    ("nothing_else_ends_a_token", nothing_else_ends_a_token),
    (
        "an_expired_token_is_shown_while_all_it_stands_on_lives",
        an_expired_token_is_shown_while_all_it_stands_on_lives,
    ),
    ("a_leaf_is_a_leaf", a_leaf_is_a_leaf),
    ("uses_are_exact", uses_are_exact),
    ("provenance_is_the_servers", provenance_is_the_servers),
    ("the_bearer_stays_in_his_lane", the_bearer_stays_in_his_lane),
    ("owners_see_all", owners_see_all),
    ("a_dead_thing_is_ended", a_dead_thing_is_ended),
];

/// "No escalation. roles(child) ⊆ roles(parent) ⊆ … ⊆ roles that the root trustor holds *now* on
/// that project. "⊆" is over the effective (implied-role) closure."
fn no_escalation(w: &World) -> Verdict {
    for (t, link) in w.trusts.iter().enumerate() {
        let Some(a) = w.live(t) else {
            continue;
        };
        let roles = mask(&a.roles);
        let held = w.held(w.root(t).trustor, link.project);
        must!(within(roles, held), "t{t} gives more than the root holds");
        for above in w.path(t) {
            must!(within(roles, w.closure(w.trusts[above].roles)), "t{t} gives more than t{above} delegates");
        }
        if let Some(p) = link.under {
            let parent = w.live(p).map_or(0, |a| mask(&a.roles));
            must!(within(roles, parent), "t{t} gives more than its parent t{p}");
        }
    }
    let trust_gives = |t: usize| w.live(t).map_or(0, |a| mask(&a.roles));
    for (k, y) in w.yields.iter().enumerate() {
        let (key, Some(y)) = (&w.keypairs[k], y) else {
            continue;
        };
        let held = match key.under {
            Some(t) => trust_gives(t),
            None => w.held(key.owner, key.project),
        };
        let narrowed = key.narrowed.map_or(ALL, |r| w.closure(r));
        must!(within(mask(&y.roles), held & narrowed), "keypair k{k} gives more than it was bound to");
    }
    for (n, roles) in w.valid.iter().enumerate() {
        let (token, Some(roles)) = (&w.tokens[n], *roles) else {
            continue;
        };
        let held = match token.trust {
            Some(t) => trust_gives(t),
            None => w.held_at(token.user, token.place),
        };
        let narrowed = token.keypair.and_then(|k| w.keypairs[k].narrowed).map_or(ALL, |r| w.closure(r));
        must!(within(roles, held & narrowed), "token a{n} carries more");
    }
    Ok(())
}

/// The other half of "No escalation": what stands gives its roles in full, neither fewer nor, as a
/// keypair, fewer than it was narrowed to.
fn nothing_is_withheld_that_is_due(w: &World) -> Verdict {
    for (t, link) in w.trusts.iter().enumerate() {
        if let Some(a) = w.live(t) {
            must!(
                mask(&a.roles) == w.closure(link.roles)
                    && a.impersonate == link.imp
                    && a.hops == link.row.hops,
                "t{t} gives less than it should"
            );
        }
    }
    for (k, key) in w.keypairs.iter().enumerate() {
        if let (Some(y), Some(t)) = (&w.yields[k], key.under) {
            let narrowed = key.narrowed.map_or(ALL, |r| w.closure(r));
            let due = narrowed & w.closure(w.trusts[t].roles);
            must!(mask(&y.roles) == due, "keypair k{k} gives less than it should");
        }
        must!(
            w.yields[k].is_some() == w.keypair_yields(k),
            "keypair k{k} should yield: {}",
            w.keypair_yields(k)
        );
    }
    Ok(())
}

/// All of "No escalation", "Same place", "No outliving", "No upgrade" and "Bounded depth" at the
/// moment of making: what is [`grant`]ed is what was asked, and child ≤ parent as authorities.
fn what_is_made_is_below_what_made_it(w: &World) -> Verdict {
    if let Some((t, above)) = &w.last.made {
        let link = &w.trusts[*t];
        let row = &link.row;
        must!(
            row.trustor == USERS[link.trustor]
                && row.trustee == USERS[link.trustee]
                && row.impersonation == link.imp
                && mask(&row.roles) == link.roles
                && row.deleted_at.is_none(),
            "t{t} is not what was asked"
        );
        must!(!row.until.passed(w.now), "t{t} was born dead");
        must!(link.roles != 0, "t{t} delegates nothing");
        must!(
            within(w.closure(link.roles), w.held(w.root(*t).trustor, link.project)),
            "t{t} was made of roles that are not held"
        );
        must!(link.under.is_some() == above.is_some(), "t{t} was made below what gives nothing");
        if let Some(p) = link.under {
            must!(link.trustor == w.speaks_for(p), "t{t} delegates in a foreign name");
        }
        let own = Authority {
            until: row.until,
            roles: set(w.closure(link.roles)).clone(),
            project: PROJECTS[link.project].to_owned(),
            impersonate: row.impersonation,
            hops: row.hops,
        };
        must!(
            above.as_ref().is_none_or(|a| own.le(a)),
            "t{t} is wider than its parent: {own:?} under {above:?}"
        );
    }
    if let Some((k, above)) = &w.last.bound {
        let key = &w.keypairs[*k];
        must!(key.under.is_some() == above.is_some(), "k{k} was bound to what gives nothing");
        must!(!key.bound.until().passed(w.now), "k{k} was born dead");
        must!(
            key.bound.roles().map(mask) == key.narrowed && key.bound.until() == key.until,
            "k{k} is not what was asked"
        );
        if let Some(a) = above {
            let narrowed = key.narrowed.map_or(0, |r| w.closure(r));
            must!(key.narrowed != Some(0), "k{k} was narrowed to nothing");
            must!(within(narrowed, mask(&a.roles)), "k{k} was widened");
            must!(key.bound.until() == Until::Never || key.bound.until() <= a.until, "k{k} outlives");
        }
    }
    Ok(())
}

/// "Same place. A child trust, and every keypair and token under it, is on its parent's project."
fn same_place(w: &World) -> Verdict {
    for (t, link) in w.trusts.iter().enumerate() {
        let here = PROJECTS[w.root(t).project];
        must!(link.row.project.as_deref() == Some(here), "t{t} left its root's project");
        must!(w.live(t).is_none_or(|a| a.project == here), "t{t} gives something elsewhere");
    }
    for (k, key) in w.keypairs.iter().enumerate() {
        if let Some(t) = key.under {
            let here = w.trusts[t].project;
            must!(key.project == here, "keypair k{k} left its trust's project");
            must!(
                w.yields[k].as_ref().is_none_or(|y| y.project == PROJECTS[here]),
                "keypair k{k} yields something elsewhere"
            );
        }
    }
    for (n, token) in w.tokens.iter().enumerate() {
        let at = token.place;
        let trust_at = token.trust.map_or(at, |t| Spot::Project(w.trusts[t].project));
        let key_at = token.keypair.map_or(at, |k| Spot::Project(w.keypairs[k].project));
        must!(at == trust_at && at == key_at, "token a{n} is elsewhere");
    }
    Ok(())
}

/// "No outliving. expires(child) ≤ expires(parent); expires(token) ≤ expires(of everything that it
/// came from). Rescoping or exchanging never moves an expiry later."
fn no_outliving(w: &World) -> Verdict {
    let end = |t: usize| w.trusts[t].row.until;
    for t in 0..w.trusts.len() {
        let live = w.live(t).map(|a| a.until);
        for above in w.path(t) {
            must!(end(t) <= end(above), "t{t} outlives t{above}");
            must!(live.is_none_or(|u| u <= end(above)), "t{t} gives for longer than t{above} stands");
        }
    }
    for (k, y) in w.yields.iter().enumerate() {
        let (key, Some(y)) = (&w.keypairs[k], y) else {
            continue;
        };
        must!(
            y.until <= key.until && key.under.is_none_or(|t| y.until <= end(t)),
            "keypair k{k} yields for too long"
        );
    }
    for (n, token) in w.tokens.iter().enumerate() {
        let expires = Until::At(token.expires);
        for t in token.trust.map(|t| w.path(t)).unwrap_or_default() {
            must!(expires <= end(t), "token a{n} outlives t{t}");
        }
        if let Some(k) = token.keypair {
            must!(expires <= w.keypairs[k].until, "token a{n} outlives its keypair");
        }
        if let Some(s) = token.source {
            must!(token.expires <= w.tokens[s].expires, "token a{n} outlives its source");
        }
    }
    Ok(())
}

/// "No upgrade. Imp may stay or be dropped along a chain, never gained."
fn no_upgrade(w: &World) -> Verdict {
    for (t, link) in w.trusts.iter().enumerate() {
        let live = w.live(t).is_some_and(|a| a.impersonate);
        for above in w.path(t) {
            let may = w.trusts[above].row.impersonation;
            must!(link.row.impersonation <= may && live <= may, "t{t} gained impersonation over t{above}");
        }
    }
    for (k, key) in w.keypairs.iter().enumerate() {
        if let (Some(y), Some(t)) = (&w.yields[k], key.under) {
            must!(y.impersonate == w.trusts[t].imp, "keypair k{k} changed impersonation");
        }
    }
    Ok(())
}

/// "Bounded depth. The remaining depth strictly decreases; a trust made with
/// `allow_redelegation: false` has no children."
fn bounded_depth(w: &World) -> Verdict {
    for (t, link) in w.trusts.iter().enumerate() {
        must!(link.redelegable || link.row.hops == 0, "t{t} allows redelegation that was not asked for");
        if let Some(p) = link.under {
            let parent = &w.trusts[p];
            must!(link.row.hops < parent.row.hops, "t{t} has no less depth than t{p}");
            must!(parent.redelegable, "t{t} is below a trust that forbade it");
        }
        let path = w.path(t);
        let root = &w.trusts[path[0]];
        must!(
            path.len() - 1 + link.row.hops as usize <= root.row.hops as usize,
            "t{t} is deeper than its root allows"
        );
        must!(root.row.hops <= root.maximum, "the root of t{t} is above the maximum");
    }
    Ok(())
}

/// "Death is a subtree. When a trust ends for whatever reason (deleted, expired, used up, its
/// project or one of its agents deleted), every descendant trust, every keypair born from any of
/// them, and every token from any of these is dead in the same instant, in one transaction, whoever
/// the trustor of each link is, Imp or not."
fn death_is_a_subtree(w: &World) -> Verdict {
    for t in 0..w.trusts.len() {
        for above in w.path(t) {
            must!(
                !w.dead_itself(above) || w.standing(t).ended(),
                "t{above} ended, t{t} below it did not: {:?}",
                w.standing(t)
            );
        }
    }
    for (k, key) in w.keypairs.iter().enumerate() {
        must!(
            !key.under.is_some_and(|t| w.dead(t)) || w.yields[k].is_none(),
            "keypair k{k} survived its chain"
        );
    }
    for (n, token) in w.tokens.iter().enumerate() {
        must!(
            !token.trust.is_some_and(|t| w.dead(t)) || w.valid[n].is_none(),
            "token a{n} survived its chain"
        );
    }
    // What a deletion takes with it is exactly what is below: all of it, and nothing else.
    let one = (!w.trusts.is_empty()).then(|| w.step % w.trusts.len());
    for top in one.into_iter().chain(w.last.deleted_trust) {
        let falls = w.subtree(top);
        for t in 0..w.trusts.len() {
            must!(
                falls.contains(w.trusts[t].row.id.as_str()) == w.below(top, t),
                "the subtree of t{top} is wrong about t{t}"
            );
        }
    }
    if let Some(top) = w.last.deleted_trust {
        for t in (0..w.trusts.len()).filter(|t| w.below(top, *t)) {
            must!(w.trusts[t].row.deleted_at.is_some(), "t{t} is not deleted with t{top}");
            must!(
                w.keypairs.iter().all(|k| k.under != Some(t) || k.deleted),
                "a keypair of t{t} is not deleted with t{top}"
            );
        }
    }
    Ok(())
}

/// "Suspended is not dead, but its tokens are. While an agent, the project or a domain is disabled
/// or a delegated role is not held, the chain yields nothing. […] giving it back revives the
/// trust".
fn suspended_is_not_dead(w: &World) -> Verdict {
    for t in 0..w.trusts.len() {
        let said = w.standing(t);
        if w.dead(t) {
            continue;
        }
        if w.withheld(t) {
            let true_reason = match said {
                Standing::Suspended(Suspended::Agent(u)) => {
                    USERS.iter().position(|x| x == u).is_some_and(|u| !w.user_on(u))
                }
                Standing::Suspended(Suspended::Project) => !w.project_on(w.trusts[t].project),
                Standing::Suspended(Suspended::Role(r)) => ROLES.contains(&r.as_str()),
                Standing::Live(_) | Standing::Ended(_) => false,
            };
            must!(true_reason, "t{t} is suspended, not {said:?}");
        } else {
            must!(said.live().is_some(), "t{t} gives something, not {said:?}");
        }
    }
    for (k, key) in w.keypairs.iter().enumerate() {
        must!(
            !key.under.is_some_and(|t| w.withheld(t)) || w.yields[k].is_none(),
            "keypair k{k} yields while its chain is suspended"
        );
    }
    for (n, token) in w.tokens.iter().enumerate() {
        must!(
            !token.trust.is_some_and(|t| w.withheld(t)) || w.valid[n].is_none(),
            "token a{n} is valid while its chain is suspended"
        );
    }
    Ok(())
}

/// "What was taken away by name is recorded as a revocation: giving it back revives the trust, never
/// a token issued before."
fn taken_tokens_stay_dead(w: &World) -> Verdict {
    for n in 0..w.tokens.len() {
        must!(w.valid[n].is_none() || w.should_be_valid(n), "token a{n} lives on");
    }
    Ok(())
}

/// "A token dies for good when, by an act, its user (for a chain: the root trustor) loses in its place
/// an effective role that the token carries": whatever is given later is for new tokens.
fn a_loss_is_final(w: &World) -> Verdict {
    for (n, token) in w.tokens.iter().enumerate() {
        must!(!token.lost || w.valid[n].is_none(), "token a{n} outlived the loss of a role");
    }
    Ok(())
}

/// "… and by nothing else": neither what is taken in another place or from another user, nor what is
/// still held in another way, nor a role that the token does not carry ends it.
fn nothing_else_ends_a_token(w: &World) -> Verdict {
    for (n, token) in w.tokens.iter().enumerate() {
        let due = w.should_be_valid(n) && !token.unsure;
        must!(w.valid[n].is_some() || !due, "token a{n} is dead for nothing");
    }
    Ok(())
}

/// "`allow_expired` shows an expired token of a trust or keypair only while all that it stands on
/// lives, nothing revoked it, and no own end of a link or keypair has passed; never later than any of
/// these."
fn an_expired_token_is_shown_while_all_it_stands_on_lives(w: &World) -> Verdict {
    for (n, token) in w.tokens.iter().enumerate() {
        let due = w.now < token.expires + WINDOW && w.holds(n);
        let shown = w.shown[n].is_some();
        must!(!shown || due, "token a{n} is shown, expired or not");
        must!(shown || !due || token.unsure, "token a{n} is not shown to who finishes something");
        let links = token.trust.map(|t| w.path(t)).unwrap_or_default().into_iter();
        let mut ends = links.map(|t| w.trusts[t].row.until).chain(token.keypair.map(|k| w.keypairs[k].until));
        must!(!shown || ends.all(|end| !end.passed(w.now)), "token a{n} is shown after an end");
    }
    Ok(())
}

/// "A leaf is a leaf. Deleting a keypair leaves its trust alone, and kills the tokens that were
/// minted with that keypair. A keypair or its token can create nothing, rescope nothing, and read
/// no secret."
fn a_leaf_is_a_leaf(w: &World) -> Verdict {
    use ScopeKind::{Domain, Project, System, Unscoped};
    must!(w.last.leaf_did.is_none(), "an EC2 token was allowed to act");
    for (n, token) in w.tokens.iter().enumerate() {
        let Some(k) = token.keypair else { continue };
        must!(token.kind() == Kind::Ec2, "token a{n} hides its keypair");
        for act in ACTS {
            must!(may(token.kind(), *act, Switches::default()).is_err(), "token a{n} may {act:?}");
        }
        for to in [Unscoped, Project, Domain, System, ScopeKind::Trust] {
            let from = token.trust.map_or(Project, |_| ScopeKind::Trust);
            must!(rescope(token.kind(), from, to, true).is_err(), "token a{n} may be rescoped");
        }
        must!(!w.keypairs[k].deleted || w.valid[n].is_none(), "token a{n} survived its keypair k{k}");
    }
    for (k, y) in w.yields.iter().enumerate() {
        must!(y.as_ref().is_none_or(|y| y.hops == 0), "keypair k{k} could redelegate");
    }
    if let Some(k) = w.last.deleted_keypair {
        must!(
            w.evaluated.iter().map(Evaluated::standing).eq(&w.standings_before),
            "deleting keypair k{k} changed a trust"
        );
        for (n, token) in w.tokens.iter().enumerate() {
            must!(
                token.keypair == Some(k) || w.valid[n] == w.valid_before[n],
                "deleting keypair k{k} changed token a{n}"
            );
        }
    }
    Ok(())
}

/// "Uses are exact. A trust with k uses yields exactly k successes, over all doors (token login and
/// EC2 exchange) […]. A failed attempt costs nothing."
fn uses_are_exact(w: &World) -> Verdict {
    for (t, link) in w.trusts.iter().enumerate() {
        let left = link.row.remaining_uses.map(i64::from);
        must!(
            left == link.uses.map(|k| k - link.spent),
            "t{t} had {:?} uses, {} were taken, {left:?} are left",
            link.uses,
            link.spent
        );
        must!(link.uses.is_none_or(|k| k >= 1 && link.spent <= k), "t{t} was used too often");
    }
    for (t, due, done) in &w.last.uses {
        must!(due == done, "a use of t{t}: due {due}, done {done}");
    }
    Ok(())
}

/// "Provenance is the server's. Which trust a keypair or a child trust comes from is taken from the
/// presented token alone, never from client input, and never changes."
fn provenance_is_the_servers(w: &World) -> Verdict {
    let id = |t: Option<usize>| t.map(|t| w.trusts[t].row.id.as_str());
    for (t, link) in w.trusts.iter().enumerate() {
        must!(
            link.row.parent.as_deref() == id(link.under),
            "t{t} comes from {:?}, not {:?}",
            link.under,
            link.row.parent
        );
        let told = w.chain(t).links().iter().map(|l| l.id.as_str());
        must!(
            told.eq(w.path(t).into_iter().map(|x| w.trusts[x].row.id.as_str())),
            "the chain of t{t} is told wrongly"
        );
    }
    for (k, key) in w.keypairs.iter().enumerate() {
        must!(key.bound.trust() == id(key.under), "keypair k{k} comes from {:?}", key.under);
    }
    Ok(())
}

/// "The bearer stays in his lane. A trust-scoped token sees and manages its own chain only: it can
/// read, and end, its own link and what it made below; never Alice's other trusts, her passwords,
/// her sessions, her other credentials."
fn the_bearer_stays_in_his_lane(w: &World) -> Verdict {
    const CLOSED: &[Act] =
        &[Act::Rescope, Act::OtherCredentials, Act::OtherDelegations, Act::Password, Act::RevokeAll];
    for (n, token) in w.tokens.iter().enumerate() {
        let (Some(t), None) = (token.trust, token.keypair) else {
            continue;
        };
        must!(token.kind() == Kind::Trust, "token a{n} hides its trust");
        for act in CLOSED {
            must!(may(Kind::Trust, *act, Switches::default()).is_err(), "token a{n} may {act:?}");
        }
        must!(token.user == w.speaks_for(t), "token a{n} speaks for a stranger");
        let chain = w.chain(t);
        must!(chain.speaks_for() == USERS[token.user], "the chain of a{n} speaks for another");
        // Either the root's own name, by impersonation all along, or the bearer's.
        let all_imp = w.path(t).into_iter().all(|x| w.trusts[x].imp);
        must!(
            token.user == w.trusts[t].trustee || (all_imp && token.user == w.root(t).trustor),
            "token a{n} speaks for somebody in between"
        );
    }
    // One token's reach a step: its own link and below, nothing above, beside or elsewhere.
    let with_trust = w.tokens.iter().filter_map(|t| t.trust);
    if let Some(own) = with_trust.clone().nth(w.step % w.tokens.len().max(1)) {
        let reach = w.subtree(own);
        for t in 0..w.trusts.len() {
            let lane = t == own || w.path(t).contains(&own);
            must!(reach.contains(w.trusts[t].row.id.as_str()) == lane, "the bearer of t{own} reaches t{t}");
        }
    }
    Ok(())
}

/// "Owners see all. Alice can list and end everything below her own trust, at any depth. Reading
/// and deleting never depend on liveness: a broken chain can always be looked at and cleaned up."
fn owners_see_all(w: &World) -> Verdict {
    use policy::Op::{DeleteTrust, GetTrust, GetTrustLineage, RenounceTrust};
    for t in 0..w.trusts.len() {
        let owners: BTreeSet<usize> = w.path(t).into_iter().map(|x| w.trusts[x].trustor).collect();
        for (u, name) in USERS.iter().enumerate() {
            must!(
                w.chain(t).has_trustor(name) == owners.contains(&u),
                "t{t} is wrong about its owner {name}"
            );
        }
        if t != w.step % w.trusts.len() {
            continue;
        }
        let chain = w.chain(t);
        let facts = policy::Facts::none()
            .with_all(Fact::TrustTrustor, chain.links().iter().map(|l| l.trustor.as_str()))
            .with(Fact::TrustTrustee, chain.leaf().trustee.as_str());
        for (u, name) in USERS.iter().enumerate() {
            let subject = Subject {
                user: (*name).to_owned(),
                roles: Vec::new(),
                scope: Scope::Unscoped,
                admin_token: false,
            };
            let allowed = |op| POLICY.allows(op, &subject, &facts);
            let owner = owners.contains(&u);
            let trustee = u == w.trusts[t].trustee;
            must!(
                allowed(GetTrust) == (owner || trustee)
                    && allowed(GetTrustLineage) == (owner || trustee)
                    && allowed(DeleteTrust) == owner
                    && allowed(RenounceTrust) == trustee,
                "{name} and t{t}, which is {}",
                w.standing(t).word()
            );
        }
    }
    Ok(())
}

/// "A dead thing is 404 or 401, never 403 and never 5xx": the rules call it ended, for a true
/// reason and for ever, and refuse what is tried below it as absent, not as forbidden.
fn a_dead_thing_is_ended(w: &World) -> Verdict {
    for (t, said) in w.evaluated.iter().map(Evaluated::standing).enumerate() {
        must!(said.ended() == w.dead(t), "t{t} is dead: {}, but the rules say {said:?}", w.dead(t));
        let before = w.standings_before.get(t);
        must!(!before.is_some_and(Standing::ended) || said.ended(), "t{t} rose from the dead");
        let Standing::Ended(how) = said else { continue };
        let row = &w.trusts[t].row;
        let true_reason = match how {
            Ended::Deleted => row.deleted_at.is_some(),
            Ended::Expired => row.until.passed(w.now),
            Ended::Exhausted => row.remaining_uses == Some(0),
            Ended::Broken(Broken::AncestorEnded(id)) => {
                w.path(t).into_iter().any(|x| w.trusts[x].row.id == *id && w.dead_itself(x))
            }
            Ended::Broken(Broken::AgentGone(id)) => {
                USERS.contains(&id.as_str()) && !w.exists(id) && {
                    let is = |x: usize| {
                        let row = &w.trusts[x].row;
                        row.trustor == *id || row.trustee == *id
                    };
                    w.path(t).into_iter().any(is)
                }
            }
            Ended::Broken(Broken::ProjectGone) => w.projects[w.trusts[t].project] == State::Gone,
            // Rows that the rules made never contradict the rules.
            Ended::Broken(Broken::AncestorMissing(_) | Broken::Unlawful(_)) => false,
        };
        must!(true_reason, "t{t} did not end as {how:?}");
        must!(
            said.live().is_none() && said.word() != "live" && said.word() != "suspended",
            "t{t} is dead and called {}",
            said.word()
        );
    }
    if w.last.below_dead {
        must!(
            w.last.refused.as_ref().is_some_and(|r| r.class() == Class::Absent),
            "below what gives nothing: {:?}",
            w.last.refused
        );
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------
// What the histories reached

#[derive(Debug, Default)]
struct Reached {
    steps: usize,
    histories: usize,
    seen: BTreeMap<String, usize>,
}

impl Reached {
    fn note(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    fn look(&mut self, w: &World) {
        self.steps += 1;
        if let Some((t, _)) = &w.last.made {
            self.note(match w.path(*t).len() - 1 {
                0 => "granted",
                1 => "redelegated to depth 1",
                2 => "redelegated to depth 2",
                _ => "redelegated to depth 3 or more",
            });
            let link = &w.trusts[*t];
            if let Some(p) = link.under {
                if w.trusts[p].imp && !link.imp {
                    self.note("impersonation dropped");
                }
                if link.trustee == w.root(*t).trustor {
                    self.note("redelegated back to the root trustor");
                }
            }
        }
        if let Some((k, _)) = &w.last.bound {
            let key = &w.keypairs[*k];
            self.note(match (key.under, key.narrowed) {
                (None, _) => "keypair of a login",
                (Some(_), None) => "keypair of a trust",
                (Some(_), Some(_)) => "keypair narrowed",
            });
        }
        if let Some(refusal) = &w.last.refused {
            let name = format!("{refusal:?}");
            let name = name.split(['(', ' ']).next().unwrap_or_default();
            self.note(format!("refused: {name}"));
        }
        for (t, due, _) in &w.last.uses {
            let counted = w.trusts[*t].uses.is_some();
            self.note(match (due, counted) {
                (true, true) => "use of a counted trust",
                (true, false) => "use",
                (false, _) => "use failed",
            });
            if !due && counted && w.last.uses.len() > 1 {
                self.note("one bearer too many");
            }
        }
        let minted = w.tokens.last().filter(|t| t.issued == w.now);
        if w.valid.len() > w.valid_before.len() {
            self.note(match minted.and_then(|t| t.keypair) {
                Some(_) => "keypair exchanged",
                None => "token minted",
            });
        }
        if let Some(top) = w.last.deleted_trust
            && (0..w.trusts.len()).any(|t| t != top && w.below(top, t))
        {
            self.note("deleted with descendants");
        }
        for (before, after) in w.standings_before.iter().zip(&w.evaluated) {
            match (before, after.standing()) {
                (Standing::Live(_), Standing::Suspended(_)) => self.note("suspended"),
                (Standing::Suspended(_), Standing::Live(_)) => self.note("revived"),
                (Standing::Live(_) | Standing::Suspended(_), Standing::Ended(how)) => {
                    let how = format!("{how:?}");
                    self.note(format!("ended: {}", how.split('"').next().unwrap_or_default()));
                }
                _ => {}
            }
        }
        if let Some((kind, fate)) = w.last.lost {
            self.note(match fate {
                Fate::StillHeld => format!("{kind} taken, all still held"),
                Fate::Elsewhere => format!("{kind} taken, no token lost"),
                Fate::Ended => format!("{kind} taken, token lost"),
            });
        }
        for (n, token) in w.tokens.iter().enumerate().filter(|(_, t)| t.expires <= w.now) {
            let name = match token.kind() {
                Kind::Ec2 => "keypair's token",
                Kind::Trust => "trust's token",
                _ => "login",
            };
            if w.shown[n].is_some() {
                self.note(format!("expired {name} shown"));
            } else if w.now < token.expires + WINDOW {
                self.note(format!("expired {name} not shown"));
            }
        }
        let given_again =
            |t: &Token| t.lost && t.trust.is_none() && t.expires > w.now && w.held_at(t.user, t.place) != 0;
        if w.tokens.iter().any(given_again) {
            self.note("login that stays dead although its user holds roles");
        }
        let haunted =
            |t: &Token| t.doomed && t.expires > w.now && t.trust.is_some_and(|x| w.live(x).is_some());
        if w.tokens.iter().any(haunted) {
            self.note("revived trust with a token that stays dead");
        }
    }
}

/// What a run of [`STEPS`] must at least have seen, far below what it usually sees.
const AT_LEAST: &[(&str, usize)] = &[
    ("granted", 5_000),
    ("redelegated to depth 1", 2_000),
    ("redelegated to depth 2", 700),
    ("redelegated to depth 3 or more", 150),
    ("redelegated back to the root trustor", 100),
    ("impersonation dropped", 100),
    ("keypair of a login", 60),
    ("keypair of a trust", 300),
    ("keypair narrowed", 300),
    ("keypair exchanged", 700),
    ("use", 5_000),
    ("use of a counted trust", 500),
    ("use failed", 1_000),
    ("one bearer too many", 100),
    ("suspended", 1_000),
    ("revived", 300),
    ("revived trust with a token that stays dead", 300),
    ("login that stays dead although its user holds roles", 300),
    ("a grant taken, all still held", 100),
    ("a grant taken, no token lost", 300),
    ("a grant taken, token lost", 100),
    ("a group's grant taken, all still held", 50),
    ("a group's grant taken, no token lost", 60),
    ("a group's grant taken, token lost", 8),
    ("an inherited grant taken, all still held", 150),
    ("an inherited grant taken, no token lost", 100),
    ("an inherited grant taken, token lost", 25),
    ("a grant on a domain taken, all still held", 12),
    ("a grant on a domain taken, no token lost", 150),
    ("a grant on a domain taken, token lost", 25),
    ("a grant on the system taken, all still held", 8),
    ("a grant on the system taken, no token lost", 80),
    ("a grant on the system taken, token lost", 15),
    ("a membership taken, all still held", 400),
    ("a membership taken, no token lost", 200),
    ("a membership taken, token lost", 40),
    ("a group taken, token lost", 10),
    ("an implication taken, all still held", 50),
    ("an implication taken, token lost", 30),
    ("a role taken, token lost", 30),
    ("expired login shown", 150),
    ("expired login not shown", 150),
    ("expired trust's token shown", 300),
    ("expired trust's token not shown", 2000),
    ("expired keypair's token shown", 50),
    ("expired keypair's token not shown", 500),
    ("deleted with descendants", 80),
    ("ended: Deleted", 500),
    ("ended: Expired", 500),
    ("ended: Exhausted", 300),
    ("ended: Broken(AncestorEnded(", 100),
    ("ended: Broken(AgentGone(", 100),
    ("ended: Broken(ProjectGone)", 50),
    ("refused: NotTheTrustor", 50),
    ("refused: TrusteeUnknown", 50),
    ("refused: NoRoles", 50),
    ("refused: RolesWithoutProject", 50),
    ("refused: NothingDelegated", 50),
    ("refused: ProjectUnknown", 50),
    ("refused: RoleNotHeld", 50),
    ("refused: UsesNotPositive", 50),
    ("refused: UsesOnRedelegable", 50),
    ("refused: ExpiryPast", 50),
    ("refused: DepthAboveMaximum", 50),
    ("refused: RedelegationOff", 50),
    ("refused: DepthExhausted", 50),
    ("refused: DepthStated", 30),
    ("refused: OutlivesParent", 30),
    ("refused: RoleOutsideParent", 30),
    ("refused: OtherProject", 50),
    ("refused: ImpersonationGained", 30),
    ("refused: ParentNotLive", 50),
    ("refused: KeypairOtherProject", 30),
    ("refused: KeypairRoleOutside", 30),
    ("refused: KeypairOutlives", 30),
    ("refused: NarrowingNeedsTrust", 30),
    ("refused: DelegatedToken", 50),
];

#[test]
fn laws() {
    let asked = std::env::var("VICAR_LAWS_STEPS").ok();
    let target = asked.and_then(|s| s.parse().ok()).unwrap_or(STEPS);
    let reached = RefCell::new(Reached::default());
    let history = (genesis(), vec(op(), 1..=100));
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let mut seed = match config.rng_seed {
        RngSeed::Fixed(n) => n,
        RngSeed::Random => RandomState::new().hash_one(0),
    };
    println!("laws: PROPTEST_RNG_SEED={seed}");
    while reached.borrow().steps < target {
        let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), ..config.clone() });
        seed = seed.wrapping_add(1);
        let run = runner.run(&history, |(genesis, ops)| {
            reached.borrow_mut().histories += 1;
            let mut w = World::new(&genesis);
            for (n, op) in ops.iter().enumerate() {
                w.apply(op);
                let broken: Vec<String> = LAWS
                    .iter()
                    .filter_map(|(name, law)| Some(format!("{name}: {}", law(&w).err()?)))
                    .collect();
                if !broken.is_empty() {
                    let laws = broken.join("\n  law ");
                    return Err(TestCaseError::fail(format!("step {n}, {op:?}:\n  law {laws}")));
                }
                reached.borrow_mut().look(&w);
            }
            Ok(())
        });
        match run {
            Ok(()) => {}
            Err(TestError::Fail(why, (genesis, ops))) => {
                let ops: Vec<String> = ops.iter().map(|op| format!("{op:?}")).collect();
                panic!("{why}\n{genesis:?}\n{}", ops.join("\n"))
            }
            Err(TestError::Abort(why)) => panic!("{why}"),
        }
    }
    let reached = reached.into_inner();
    for (what, times) in &reached.seen {
        println!("{times:>8}  {what}");
    }
    println!("laws: {} histories, {} laws", reached.histories, LAWS.len());
    // Past the harness, which swallows what a passing test prints.
    let _ = writeln!(std::io::stderr(), "laws: {} steps", reached.steps);
    assert!(reached.steps >= target);
    for (what, least) in AT_LEAST {
        let times = reached.seen.get(*what).copied().unwrap_or_default();
        let least = least * target / STEPS;
        assert!(times >= least, "reached `{what}` {times} times, not {least}");
    }
}

// ---------------------------------------------------------------------------------------------
// Rows that nobody could have made

/// One wrong cell, or a missing row.
#[derive(Debug, Clone)]
enum Tamper {
    Ends(Option<Micros>),
    Roles(Mask),
    Project(Option<usize>),
    Imp(bool),
    Hops(u32),
    Trustor(usize),
    Trustee(usize),
    Parent(Option<usize>),
    Uses(Option<u32>),
    Deleted,
    Lost,
}

#[derive(Debug, Clone)]
struct Ruin {
    length: usize,
    imp: usize,
    tampers: Vec<(usize, Tamper)>,
    pairs: Vec<(usize, usize)>,
    root_roles: Mask,
    absent: Vec<(usize, Presence)>,
    project: Presence,
    keypair: (Option<Mask>, Option<Micros>),
}

const NOW: Micros = 100;

fn ruin() -> impl Strategy<Value = Ruin> {
    let not_there = select(&[Presence::Disabled, Presence::DomainDisabled, Presence::Missing][..]);
    let ends = prop::option::of(NOW - 2..NOW + 8);
    let tamper = prop_oneof![
        3 => ends.clone().prop_map(Tamper::Ends),
        3 => (0..=ALL).prop_map(Tamper::Roles),
        1 => prop::option::of(0..PROJECTS.len()).prop_map(Tamper::Project),
        1 => any::<bool>().prop_map(Tamper::Imp),
        1 => (0..6_u32).prop_map(Tamper::Hops),
        1 => (0..USERS.len()).prop_map(Tamper::Trustor),
        1 => (0..USERS.len()).prop_map(Tamper::Trustee),
        2 => prop::option::of(0..6_usize).prop_map(Tamper::Parent),
        1 => prop::option::of(0..3_u32).prop_map(Tamper::Uses),
        1 => Just(Tamper::Deleted),
        1 => Just(Tamper::Lost),
    ];
    (
        (1..=4_usize, 0..=4_usize),
        vec((0..4_usize, tamper), 0..4),
        vec((0..ROLES.len(), 0..ROLES.len()), 0..3),
        prop_oneof![2 => Just(ALL), 1 => 0..=ALL],
        vec((0..USERS.len(), not_there.clone()), 0..2),
        prop_oneof![9 => Just(Presence::Active), 1 => not_there],
        (prop::option::of(0..=ALL), ends),
    )
        .prop_map(|((length, imp), tampers, pairs, root_roles, absent, project, keypair)| Ruin {
            length,
            imp,
            tampers,
            pairs,
            root_roles,
            absent,
            project,
            keypair,
        })
}

/// A lawful chain, then the wrong cells.
fn ruined(r: &Ruin) -> Vec<Trust> {
    let mut rows: Vec<Trust> = Vec::new();
    for n in 0..r.length {
        let above = rows.last();
        let imp = n < r.imp;
        rows.push(Trust {
            id: format!("t{n}"),
            trustor: above.map_or(USERS[0].to_owned(), |a| {
                let speaks = if a.impersonation { &a.trustor } else { &a.trustee };
                speaks.clone()
            }),
            trustee: USERS[n + 1].to_owned(),
            project: Some(PROJECTS[0].to_owned()),
            impersonation: imp,
            roles: set(ALL >> n).clone(),
            until: Until::At(NOW + 6 - n as Micros),
            remaining_uses: None,
            hops: 4 - n as u32,
            parent: above.map(|a| a.id.clone()),
            deleted_at: None,
        });
    }
    let mut lost = BTreeSet::new();
    for (n, tamper) in &r.tampers {
        let n = n % r.length;
        let row = &mut rows[n];
        match tamper {
            Tamper::Ends(at) => row.until = Until::from_option(*at),
            Tamper::Roles(m) => row.roles = set(*m).clone(),
            Tamper::Project(p) => row.project = p.map(|p| PROJECTS[p].to_owned()),
            Tamper::Imp(imp) => row.impersonation = *imp,
            Tamper::Hops(hops) => row.hops = *hops,
            Tamper::Trustor(u) => row.trustor = USERS[*u].to_owned(),
            Tamper::Trustee(u) => row.trustee = USERS[*u].to_owned(),
            Tamper::Parent(p) => row.parent = p.map(|p| format!("t{p}")),
            Tamper::Uses(n) => row.remaining_uses = *n,
            Tamper::Deleted => row.deleted_at = Some(NOW - 1),
            Tamper::Lost => {
                lost.insert(format!("t{n}"));
            }
        }
    }
    rows.retain(|row| !lost.contains(&row.id));
    rows
}

/// The links above and with `leaf`, leaf first; nothing on a circle or when one is missing.
fn walk<'a>(leaf: &'a Trust, rows: &'a [Trust]) -> Option<Vec<&'a Trust>> {
    let mut up = vec![leaf];
    while let Some(id) = &up[up.len() - 1].parent {
        let above = rows.iter().find(|r| r.id == *id)?;
        if up.iter().any(|l| l.id == *id) {
            return None;
        }
        up.push(above);
    }
    Some(up)
}

/// Whatever the rows say, they can only narrow: what a chain gives is no more than the root holds
/// now and no more than each link gives ("No escalation" … "No upgrade", without trusting the
/// store), and looking at it never fails ("Owners see all").
fn wrong_rows_only_narrow(r: &Ruin, note: &dyn Fn(&str)) -> Verdict {
    let pairs: BTreeSet<(usize, usize)> = r.pairs.iter().copied().collect();
    let implications = implications(&pairs);
    let agents: BTreeMap<String, Presence> = USERS
        .iter()
        .enumerate()
        .map(|(u, name)| {
            let absent = r.absent.iter().find(|(a, _)| *a == u);
            ((*name).to_owned(), absent.map_or(Presence::Active, |a| a.1))
        })
        .collect();
    let rows = ruined(r);
    let facts = Facts {
        now: NOW,
        implications: &implications,
        // Not even closed under implication.
        root_roles: set(r.root_roles),
        agents: &agents,
        project: r.project,
    };
    for leaf in &rows {
        let chain = Chain::assemble(&leaf.id, rows.iter().cloned()).expect("the leaf is there");
        let evaluated = evaluate(chain, &facts);
        let (chain, said) = (evaluated.chain(), evaluated.standing());
        let (_, _) = (said.word(), said.reason());
        let falls = subtree(&leaf.id, &rows);
        let once: BTreeSet<&str> = falls.iter().map(|t| t.id.as_str()).collect();
        must!(falls.first() == Some(&leaf), "{} survives itself", leaf.id);
        must!(once.len() == falls.len(), "a row below {} comes twice", leaf.id);
        for (n, t) in falls.iter().enumerate().skip(1) {
            let above = falls[..n].iter().any(|a| Some(&a.id) == t.parent.as_ref());
            must!(above, "{} comes before its parent", t.id);
        }
        let up = walk(leaf, &rows);
        for link in up.iter().flatten() {
            must!(chain.has_trustor(&link.trustor), "an owner is overlooked");
            must!(subtree(&link.id, &rows).contains(&leaf), "{} would survive {}", leaf.id, link.id);
        }
        let Standing::Live(a) = said else {
            note(said.word());
            if up.is_none() {
                note("circle or missing link");
            }
            continue;
        };
        let Some(up) = up else {
            return Err(format!("{} stands on a broken chain", leaf.id));
        };
        note("live");
        // Otherwise its token would speak for a trustor who never let it.
        must!(a.impersonate == leaf.impersonation, "{} speaks for another", leaf.id);
        must!(within(mask(&a.roles), r.root_roles), "more than the root");
        must!(r.project == Presence::Active, "on no active project");
        for link in &up {
            let own = mask(&link.roles);
            must!(within(mask(&a.roles), close(&pairs, own)), "more roles than {}", link.id);
            must!(a.until <= link.until && !link.until.passed(NOW), "{} ends earlier", link.id);
            must!(a.impersonate <= link.impersonation, "{} does not impersonate", link.id);
            must!(a.hops <= link.hops, "deeper than {}", link.id);
            must!(link.project.as_deref() == Some(a.project.as_str()), "{} is elsewhere", link.id);
            must!(link.deleted_at.is_none() && link.remaining_uses != Some(0), "{} has ended", link.id);
            for user in [&link.trustor, &link.trustee] {
                must!(agents.get(user) == Some(&Presence::Active), "{user} of {} is not active", link.id);
            }
        }
        for pair in up.windows(2) {
            let (below, above) = (pair[0], pair[1]);
            if below.until > above.until {
                note("live although a row outlives its parent");
            }
            let speaks = if above.impersonation { &above.trustor } else { &above.trustee };
            must!(below.trustor == *speaks, "{} is in a foreign name", below.id);
            must!(below.hops < above.hops, "{} gained depth", below.id);
        }
        // A keypair row may be as wrong.
        let (roles, until) = (r.keypair.0.map(set), Until::from_option(r.keypair.1));
        let yielded = exchange(a, roles, until, &implications, NOW);
        if let Some(y) = &yielded {
            note("keypair of a wrong row yields");
            let narrowed = r.keypair.0.map_or(ALL, |m| close(&pairs, m));
            must!(y.le(a) && y.until <= until && y.hops == 0 && !y.roles.is_empty(), "a keypair widens");
            must!(within(mask(&y.roles), narrowed), "a keypair ignores its roles");
            must!(!until.passed(NOW), "a keypair outlives itself");
        }
    }
    Ok(())
}

#[test]
fn corrupt_rows() {
    let seen = RefCell::new(BTreeMap::<String, usize>::new());
    let note = |what: &str| *seen.borrow_mut().entry(what.to_owned()).or_default() += 1;
    let mut runner =
        TestRunner::new(Config { cases: 20_000, failure_persistence: None, ..Config::default() });
    let run = runner.run(&ruin(), |r| {
        wrong_rows_only_narrow(&r, &note).map_err(|why| {
            let rows = ruined(&r);
            TestCaseError::fail(format!("{why}\n{rows:#?}"))
        })
    });
    if let Err(why) = run {
        panic!("{why}");
    }
    let seen = seen.into_inner();
    println!("corrupt rows: {seen:?}");
    for (what, least) in [
        ("live", 5_000),
        ("suspended", 1_000),
        ("broken", 1_000),
        ("circle or missing link", 1_000),
        ("live although a row outlives its parent", 100),
        ("keypair of a wrong row yields", 1_000),
    ] {
        assert!(seen.get(what).copied().unwrap_or_default() >= least, "too few: {what}");
    }
}

// ---------------------------------------------------------------------------------------------
// Authority is a meet-semilattice

fn authority() -> impl Strategy<Value = Authority> {
    (
        prop::option::of(0..3_i64),
        0..8_u8,
        prop_oneof![4 => Just(0_usize), 1 => Just(1)],
        any::<bool>(),
        0..3_u32,
    )
        .prop_map(|(until, roles, project, impersonate, hops)| Authority {
            until: Until::from_option(until),
            roles: set(roles).clone(),
            project: PROJECTS[project].to_owned(),
            impersonate,
            hops,
        })
}

/// One that is below `a`, so that the laws about lower bounds have something to say.
fn lower(a: &Authority, by: &Authority) -> Authority {
    Authority {
        project: a.project.clone(),
        until: a.until.min(by.until),
        roles: a.roles.intersection(&by.roles).cloned().collect(),
        impersonate: a.impersonate && by.impersonate,
        hops: a.hops.min(by.hops),
    }
}

proptest! {
    #![proptest_config(Config { cases: 4_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn le_is_a_partial_order(a in authority(), b in authority(), c in authority()) {
        prop_assert!(a.le(&a));
        prop_assert!(!(a.le(&b) && b.le(&a)) || a == b);
        prop_assert!(!(a.le(&b) && b.le(&c)) || a.le(&c));
        let (b, c) = (lower(&a, &b), lower(&lower(&a, &b), &c));
        prop_assert!(b.le(&a) && c.le(&b) && c.le(&a));
        prop_assert!(!a.le(&b) || a == b);
    }

    #[test]
    fn meet_is_commutative_associative_and_idempotent(
        a in authority(), b in authority(), c in authority()
    ) {
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        prop_assert_eq!(a.meet(&a), Some(a.clone()));
        let left = a.meet(&b).and_then(|m| m.meet(&c));
        let right = b.meet(&c).and_then(|m| a.meet(&m));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn meet_is_the_greatest_lower_bound(a in authority(), b in authority(), c in authority()) {
        match a.meet(&b) {
            Some(m) => {
                prop_assert!(m.le(&a) && m.le(&b));
                for c in [c.clone(), lower(&a, &c), lower(&m, &c)] {
                    prop_assert_eq!(c.le(&a) && c.le(&b), c.le(&m));
                }
            }
            // On different projects nothing is below both.
            None => prop_assert!(!(c.le(&a) && c.le(&b)) && a.project != b.project),
        }
        prop_assert_eq!(a.le(&b), a.meet(&b) == Some(a.clone()));
    }
}
