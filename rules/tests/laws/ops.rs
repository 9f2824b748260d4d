//! What can happen: the doors of the world, and random histories of it.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use vicar_rules::Micros;
use vicar_rules::access_rule::Access;
use vicar_rules::binding::Binding;
use vicar_rules::delegation::{
    Adoption, Evaluated, Limits, Name, Narrower, Part, Parties, Presence, Presented, Spent, Succession,
    Trust, TrustRequest, Until, Use, adopt, consume, grant, redelegate, resume, subtree, suspend,
};
use vicar_rules::keypair::{KeypairRequest, bind};
use vicar_rules::origin::Origin;
use vicar_rules::refusal::Refusal;
use vicar_rules::roles::RoleSet;
use vicar_rules::terms::Terms;
use vicar_rules::token::{self, Act, Kind, Switches, may};

use crate::names::*;
use crate::world::*;

impl World {
    // The doors.

    pub fn mint(&mut self, mut t: Token) -> usize {
        let n = self.tokens.len();
        t.audit = format!("a{n}");
        t.issued = self.now;
        t.unsure = self.now / SECOND == self.event_second;
        self.tokens.push(t);
        self.look();
        n
    }

    pub fn capped(&self, ends: impl IntoIterator<Item = Until>) -> Micros {
        let life = TOKEN_LIVES[self.step % TOKEN_LIVES.len()];
        ends.into_iter().filter_map(Until::to_option).fold(self.now + life, Micros::min)
    }

    pub fn login(&mut self, user: usize, place: Spot) -> Option<usize> {
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
                less: None,
                doomed: false,
                lost: false,
                unsure: false,
            })
        })
    }

    /// Several bearers at once: all of them are judged, and have read the row, before the first one
    /// takes a use.
    pub fn race(&mut self, trust: usize) {
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
    pub fn spend(&mut self, trust: usize, seen: &Trust, allowed: bool, expected: bool) -> bool {
        let taken = allowed && self.take_use(trust, seen.clone());
        self.last.uses.push((trust, expected, taken));
        if taken {
            self.trusts[trust].spent += 1;
            self.stale = true;
        }
        taken
    }

    /// The store's conditional write, until it succeeds or nothing is left.
    pub fn take_use(&mut self, trust: usize, mut seen: Trust) -> bool {
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

    pub fn trust_login(
        &mut self,
        trust: usize,
        by: usize,
        source: Option<usize>,
        less: Option<Less>,
    ) -> Option<usize> {
        let less = less.map(|(roles, rules, life)| {
            let access = rules.map_or_else(Access::default, access);
            let requests = requests_asked(&access);
            let roles_asked = roles.map(|r| set(r).clone());
            (Narrower { roles: roles_asked, access, life, ..Narrower::default() }, roles, requests)
        });
        if let Some((own, ..)) = &less
            && let Err(refusal) = own.check(&self.evaluated[trust], &self.implications)
        {
            self.last.refused = Some(refusal);
            return None;
        }
        let source = source.filter(|s| {
            let t = &self.tokens[*s];
            t.user == by && t.kind() == Kind::Login && self.valid[*s].is_some()
        });
        let until = self.live(trust).map(|a| a.until);
        let terms = self.live(trust).map(|a| a.terms.clone()).unwrap_or_default();
        let allowed = self.chain(trust).leaf().trustee == USERS[by] && until.is_some();
        let expected = self.trusts[trust].trustee == by && self.gives(trust);
        let seen = self.trusts[trust].row.clone();
        if !self.spend(trust, &seen, allowed, expected) {
            return None;
        }
        let mut methods = vec!["password".to_owned()];
        methods.extend(source.map(|_| "token".to_owned()));
        let from_source = source.map(|s| Until::At(self.tokens[s].expires));
        let life = less.as_ref().and_then(|(own, ..)| own.life).map(|life| Until::At(self.now + life));
        let ends = until.into_iter().chain(from_source).chain(life);
        let expires = terms.token_end(self.now, self.capped(ends));
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
            less,
            doomed: false,
            lost: false,
            unsure: false,
        }))
    }

    /// Some roles, some requests, a shorter life: mostly less than the trust gives.
    fn lawful_less(&self, trust: usize, [roles, rules, what, bend]: [u8; 4]) -> Less {
        let Some(above) = self.live(trust) else { return (None, None, None) };
        let base = mask(&above.roles);
        let some = if roles & base == 0 { base } else { roles & base };
        let within = rules_below(&above.terms, rules).rules().map(|_| rules);
        let lawful = |n: &usize| access(1 << n).outside(&above.terms.access).is_none();
        let within = within.map(|r| (0..RULES.len()).filter(lawful).fold(0, |all, n| all | (1 << n & r)));
        match bend {
            0..8 => (Some(roles & ALL), None, None),
            8..16 => (None, Some(rules), None),
            16..24 => (None, None, Some(1_000 * SECOND)),
            _ => (
                (what & 1 == 0).then_some(some),
                within.filter(|_| what & 2 == 0),
                (what & 12 == 0).then_some(2 * SECOND),
            ),
        }
    }

    pub fn exchange_keypair(&mut self, keypair: usize) -> Option<usize> {
        let k = &self.keypairs[keypair];
        let (owner, project, under) = (k.owner, k.project, k.under);
        let chain = Some(k.audit.clone());
        let authority = self.yields[keypair].clone();
        if let Some(t) = under {
            let expected = self.keypair_yields(keypair);
            let seen = self.trusts[t].row.clone();
            if !self.spend(t, &seen, authority.is_some(), expected) {
                return None;
            }
        }
        let authority = authority?;
        let expires = authority.terms.token_end(self.now, self.capped([authority.until]));
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
            less: None,
            doomed: false,
            lost: false,
            unsure: false,
        }))
    }

    /// A valid token of the trust, made if there is none.
    pub fn token_of(&mut self, trust: usize) -> Option<usize> {
        let has = (0..self.tokens.len()).find(|i| {
            let t = &self.tokens[*i];
            t.trust == Some(trust) && t.kind() == Kind::Trust && self.valid[*i].is_some()
        });
        has.or_else(|| {
            let by = self.trusts[trust].trustee;
            // The last use of a trust ends it, and with it the token.
            self.trust_login(trust, by, None, None).filter(|t| self.valid[*t].is_some())
        })
    }

    /// Whether this token is allowed to act. An EC2 token never is.
    pub fn admitted(&mut self, token: usize, act: Act) -> bool {
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

    pub fn remember(
        &mut self,
        made: Result<Trust, Refusal>,
        ask: &TrustRequest,
        under: Option<(usize, Option<usize>)>,
    ) {
        let (under, token) = under.map_or((None, None), |(parent, token)| (Some(parent), token));
        // The token may have asked for less than its trust gives.
        let above = match token {
            Some(token) => self.worth(token).and_then(|w| w.live().cloned()),
            None => under.and_then(|p| self.live(p).cloned()),
        };
        let carried = token.and_then(|t| self.tokens[t].less.as_ref()).map_or(EVERY_REQUEST, |(.., r)| *r);
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
                    requests: requests_asked(&ask.terms.access) & carried,
                    not_before: ask.terms.not_before,
                    longest: ask.terms.max_token_ttl,
                    said: ask.origin.clone(),
                    holder: user(&ask.trustor),
                    held: None,
                });
                self.last.made = Some((n, above));
                self.stale = true;
            }
        }
    }

    pub fn grant(&mut self, trustor: usize, project: usize, wish: &Wish) {
        let held = self.held(trustor, project);
        let ask = self.ask(USERS[trustor], project, held, None, wish);
        // The ask may name another project than the one that it was made for.
        let held = Self::named(&ask).map_or(0, |p| self.held(trustor, p));
        let ceilings = Self::named(&ask).map(|p| self.ceilings(trustor, p)).unwrap_or_default();
        let made = grant(
            &ask,
            &Parties {
                token_user: USERS[trustor],
                trustee_exists: self.exists(&ask.trustee),
                project: self.presence_of(&ask),
                root_roles: set(held),
                implications: &self.implications,
                ceilings: &ceilings,
                presented: Presented::default(),
                now: self.now,
            },
            self.limits,
        );
        self.remember(made.map(|g| g.trust().clone()), &ask, None);
    }

    pub fn redelegate(&mut self, parent: usize, wish: &Wish) {
        // The parent comes from the token alone. Without a valid one the rules must refuse by
        // themselves: the chain may have ended after the token was looked at.
        let token = self.token_of(parent);
        if token.is_some_and(|t| !self.admitted(t, Act::Trusts)) {
            return;
        }
        let Some(above) = token.map_or_else(|| Some(self.evaluated[parent].clone()), |t| self.worth(t))
        else {
            return;
        };
        let chain = above.chain();
        let user = token.map_or(chain.speaks_for(), |t| USERS[self.tokens[t].user]);
        let root = self.root(parent).holder;
        let ask = self.ask(user, self.trusts[parent].project, 0, Some((parent, &above)), wish);
        let held = self.held(root, self.trusts[parent].project);
        let ceilings = self.ceilings(root, self.trusts[parent].project);
        // All that are bound are bound to this one.
        let certificate = (wish.terms % 4 != 3).then_some("A");
        let made = redelegate(
            &ask,
            &above,
            &Parties {
                token_user: if wish.bend == Bend::ForeignToken { &ask.trustor } else { user },
                trustee_exists: self.exists(&ask.trustee),
                project: self.presence_of(&ask),
                root_roles: set(held),
                implications: &self.implications,
                ceilings: &ceilings,
                presented: Presented { certificate, ..Presented::default() },
                now: self.now,
            },
            self.limits,
        );
        self.last.unpresented = chain.leaf().binding.is_some() && certificate.is_none();
        self.last.below_dead = !self.gives(parent);
        self.remember(made.map(|g| g.trust().clone()), &ask, Some((parent, token)));
    }

    pub fn exists(&self, user: &str) -> bool {
        USERS.iter().position(|u| *u == user).is_some_and(|u| self.users[u] != State::Gone)
    }

    pub fn named(ask: &TrustRequest) -> Option<usize> {
        let name = ask.project.as_deref()?;
        PROJECTS.iter().position(|p| *p == name)
    }

    pub fn presence_of(&self, ask: &TrustRequest) -> Presence {
        Self::named(ask).map_or(Presence::Missing, |p| self.project_presence(p))
    }

    /// A lawful ask, bent in one place.
    pub fn ask(
        &self,
        trustor: &str,
        project: usize,
        held: Mask,
        parent: Option<(usize, &Evaluated)>,
        wish: &Wish,
    ) -> TrustRequest {
        let above = parent.and_then(|(_, worth)| worth.live());
        let parent = parent.map(|(p, _)| p);
        let base = match (parent, above) {
            (Some(_), Some(above)) => mask(&above.roles),
            (Some(p), None) => self.closure(self.trusts[p].roles),
            (None, _) => held,
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
        let mut ask = TrustRequest {
            trustor: trustor.to_owned(),
            trustee: USERS[wish.trustee % USERS.len()].to_owned(),
            project: Some(PROJECTS[project].to_owned()),
            impersonation: wish.imp && above.is_none_or(|a| a.impersonate),
            roles: set(some).clone(),
            until: until.filter(|t| Until::At(*t) <= latest),
            uses: (leaf && !wish.uses.is_multiple_of(4)).then_some(i64::from(wish.uses % 4)),
            allow_redelegation,
            count,
            terms: Terms::default(),
            external_id: None,
            binding: (wish.terms % 16 == 5).then(|| Binding::Certificate("A".into())),
            origin: Origin::default(),
        };
        ask.terms = self.lawful_terms(&ask, above.map(|a| &a.terms), wish);
        // Mostly nothing, or what was said above.
        if wish.terms.is_multiple_of(8) {
            let said = parent.map(|p| self.said(p)).filter(|said| !said.is_empty());
            ask.origin = said.unwrap_or_else(|| origin(wish.other));
        }
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
                let root = parent.map_or(held, |p| self.held(self.root(p).holder, project));
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
            Bend::AnyRules => ask.terms.access = access(wish.rules),
            Bend::BeginsEarlier => ask.terms.not_before = Some(0),
            Bend::BeginsNever => {
                ask.until = Some(self.now + 5 * SECOND).filter(|t| Until::At(*t) <= latest);
                ask.terms.not_before = Some(self.now + 500_000 * SECOND);
            }
            Bend::LongerTokens => ask.terms.max_token_ttl = Some(1_000 * SECOND),
            Bend::OtherOrigin => ask.origin = origin(wish.other),
        }
        ask
    }

    /// Terms that are no wider than those above.
    fn lawful_terms(&self, ask: &TrustRequest, above: Option<&Terms>, wish: &Wish) -> Terms {
        let top = Terms::default();
        let above = above.unwrap_or(&top);
        let begins = match wish.terms / 4 % 8 {
            0 => Some(self.now + 2 * SECOND),
            1 => Some(self.now - SECOND),
            _ => None,
        };
        let ends = Until::from_option(ask.until);
        let begins = begins.filter(|from| Some(*from) >= above.not_before && Until::At(*from) < ends);
        let longest = match wish.terms / 32 % 4 {
            0 => Some(3 * SECOND),
            1 => Some(20 * SECOND),
            _ => None,
        };
        Terms {
            access: if wish.terms.is_multiple_of(4) {
                rules_below(above, wish.rules)
            } else {
                Access::default()
            },
            not_before: begins,
            max_token_ttl: longest.filter(|own| above.max_token_ttl.is_none_or(|longest| *own <= longest)),
            ..Terms::default()
        }
    }

    pub fn bind(&mut self, token: usize, wish: &KeyWish) {
        if self.valid[token].is_none() || !self.admitted(token, Act::Keypairs) {
            return;
        }
        let (under, owner, at) = {
            let t = &self.tokens[token];
            (t.trust, t.user, t.place)
        };
        // With a login on a domain or the system it is for some project.
        self.bind_for(under, Some(token), owner, at.project().unwrap_or(wish.other), wish);
    }

    pub fn bind_for(
        &mut self,
        under: Option<usize>,
        token: Option<usize>,
        owner: usize,
        at: usize,
        wish: &KeyWish,
    ) {
        let on = match (under, token) {
            (Some(_), Some(token)) => self.worth(token),
            (Some(t), None) => Some(self.evaluated[t].clone()),
            (None, _) => None,
        };
        let above = on.as_ref().and_then(|on| on.live().cloned());
        let less = token.and_then(|t| self.tokens[t].less.clone());
        // A shorter life is no less for what is made.
        let less = less.filter(|(own, roles, _)| roles.is_some() || own.access.is_limited());
        let base = match (&less, under) {
            (Some(_), _) => above.as_ref().map_or(0, |a| mask(&a.roles)),
            (None, under) => under.map_or(0, |t| self.closure(self.trusts[t].roles)),
        };
        let narrower = match wish.roles & base {
            0 => base,
            some => some,
        };
        let latest = above.as_ref().map_or(Until::Never, |a| a.until);
        let soon = self.now + 6 * SECOND;
        let mut ask = KeypairRequest {
            project: PROJECTS[at].to_owned(),
            roles: (under.is_some() && wish.narrow).then(|| set(narrower).clone()),
            until: (under.is_some() && wish.end && Until::At(soon) <= latest).then_some(soon),
            access: match &above {
                Some(a) if wish.limit => rules_below(&a.terms, wish.rules),
                _ => Access::default(),
            },
        };
        match wish.bend {
            KeyBend::No => {}
            KeyBend::OtherProject => ask.project = PROJECTS[wish.other % 3].to_owned(),
            KeyBend::AnyRoles => ask.roles = Some(set(wish.roles).clone()),
            KeyBend::AnyRules => ask.access = access(wish.rules),
            KeyBend::NoRoles => ask.roles = Some(RoleSet::new()),
            KeyBend::EndsPast => ask.until = Some(self.now),
            KeyBend::EndsLater => {
                ask.until = Some(match latest {
                    Until::At(t) => t + 1,
                    Until::Never => self.now + 900 * SECOND,
                });
            }
        }
        let root = under.map_or(owner, |t| self.root(t).holder);
        let ceilings = self.ceilings(root, at);
        match bind(&ask, on.as_ref(), &self.implications, &ceilings, self.now) {
            Err(refusal) => self.last.refused = Some(refusal),
            Ok(bound) => {
                let n = self.keypairs.len();
                self.keypairs.push(Keypair {
                    // What its token asked for less of, it has less of for good.
                    narrowed: ask.roles.as_ref().map(mask).or_else(|| less.as_ref().map(|_| base)),
                    until: Until::from_option(ask.until),
                    requests: requests_asked(&ask.access)
                        & less.as_ref().map_or(EVERY_REQUEST, |(.., requests)| *requests),
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

    /// A part that somebody has in a chain: from outside, as a trustor, or as the bearer of one of its links. With the user and how
    /// far from the top it is, by the world's own count.
    fn part(&self, trust: usize, by: usize) -> (Part<'_>, &'static str, Option<u32>) {
        let path = self.path(trust);
        match by % 4 {
            0 => (Part::Administrator, USERS[by / 4 % USERS.len()], Some(0)),
            1 => (Part::Manager, USERS[by / 4 % USERS.len()], Some(1)),
            2 => {
                let user = by / 4 % USERS.len();
                let first = path.iter().position(|t| self.trustor_of(*t) == Some(user)).map(|n| n as u32 + 2);
                let rank = match user {
                    _ if self.root(trust).holder == user => Some(2),
                    // A trustor whom it does not rest on is a name.
                    _ if path.iter().any(|t| self.trusts[*t].trustor == user) => first.or(Some(u32::MAX)),
                    _ => None,
                };
                (Part::Trustor(USERS[user]), USERS[user], rank)
            }
            _ => {
                let link = by / 4 % path.len();
                let own = &self.trusts[path[link]];
                (Part::Bearer(&own.row.id), USERS[own.trustee], Some(link as u32 + 3))
            }
        }
    }

    fn suspend(&mut self, trust: usize, by: usize) {
        let (part, user, rank) = self.part(trust, by);
        let due = rank.is_some_and(|rank| self.trusts[trust].held.is_none_or(|old| rank < old));
        match suspend(&self.evaluated[trust], part, user, "why", self.now) {
            Ok(done) => {
                self.last.paused = Some((due, done.is_some()));
                if let Some(done) = done {
                    self.trusts[trust].row.suspension = Some(done.suspension().clone());
                    self.trusts[trust].held = rank;
                    self.take(Taken::Trust(trust));
                    self.stale = true;
                }
            }
            Err(refusal) => {
                self.last.paused = Some((due, false));
                self.last.refused = Some(refusal);
            }
        }
    }

    fn resume(&mut self, trust: usize, by: usize) {
        let (part, _, rank) = self.part(trust, by);
        let due = rank.is_some_and(|rank| self.trusts[trust].held.is_some_and(|old| rank <= old));
        match resume(&self.evaluated[trust], part) {
            Ok(done) => {
                self.last.paused = Some((due, done.is_some()));
                if done.is_some() {
                    self.trusts[trust].row.suspension = None;
                    self.trusts[trust].held = None;
                    self.stale = true;
                }
            }
            Err(refusal) => {
                self.last.paused = Some((due, false));
                self.last.refused = Some(refusal);
            }
        }
    }

    /// Somebody takes over a trust that lives or is suspended. The server asks for a login of theirs, so they are there.
    fn adopt(&mut self, trust: usize, by: usize, is_decided: bool) {
        let by = by % USERS.len();
        if self.users[by] != State::On {
            return;
        }
        let link = &self.trusts[trust];
        let roles = self.closure(link.roles);
        let (held, holders) = (self.held(by, link.project), self.held(link.holder, link.project));
        let is_left = !self.user_on(link.holder) || !within(roles, holders);
        let below: Vec<usize> = (0..self.trusts.len())
            .filter(|t| *t != trust && self.below(trust, *t) && !self.dead(*t))
            .collect();
        let is_above_a_roof = |t: &usize| {
            let path = self.path(*t);
            let n = path.len() - 1;
            let trustees: Vec<usize> = path.iter().map(|t| self.trusts[*t].trustee).collect();
            let made = self.made(&path, n);
            let deepest = n + self.trusts[*t].row.hops as usize;
            let above = |roof: &Roof| {
                roof.is_below(&made, self.now) || roof.depth.is_some_and(|depth| deepest > depth as usize)
            };
            self.roofs_over(by, link.project, &trustees).into_iter().any(above)
        };
        let is_in_one_name = |t: &usize| self.path(*t).into_iter().all(|x| self.trusts[x].imp);
        let due = link.under.is_none()
            && link.trustee != by
            && within(roles, held)
            && (is_decided || (is_left && link.held.is_none()))
            && !below.iter().any(|t| is_in_one_name(t) && self.trusts[*t].trustee == by)
            && !below.iter().chain([&trust]).any(is_above_a_roof);
        let ceilings = self.ceilings(by, link.project);
        let succession = Succession {
            adopter: USERS[by],
            held: set(held),
            is_decided,
            holder: Self::presence(self.users[link.holder], self.domains[domain_of(link.holder)]),
            holder_roles: set(holders),
            implications: &self.implications,
            ceilings: &ceilings,
            now: self.now,
        };
        let chains: Vec<_> = below.iter().map(|t| self.chain(*t)).collect();
        match adopt(self.chain(trust), chains, &succession) {
            Ok(done) => {
                self.last.adopted = Some((trust, due, true));
                self.trusts[trust].row.adoption = Some(adopted_by(done.adopter(), self.now));
                self.trusts[trust].holder = by;
                for k in 0..self.keypairs.len() {
                    let is_below = self.keypairs[k].under.is_some_and(|t| self.below(trust, t));
                    self.keypairs[k].deleted |= is_below;
                }
                self.take(Taken::Trust(trust));
                self.stale = true;
            }
            Err(refusal) => {
                self.last.adopted = Some((trust, due, false));
                self.last.refused = Some(refusal);
            }
        }
    }

    fn set_user(&mut self, user: usize, state: State) {
        if self.users[user] != State::Gone && self.users[user] != state {
            self.users[user] = state;
            if state != State::On {
                self.take(Taken::User(user));
            }
        }
    }

    pub fn subtree(&self, trust: usize) -> BTreeSet<&str> {
        let falls = subtree(&self.trusts[trust].row.id, self.trusts.iter().map(|t| &t.row));
        falls.into_iter().map(|t| t.id.as_str()).collect()
    }

    pub fn delete_trust(&mut self, trust: usize, thorough: bool) {
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

    pub fn apply(&mut self, op: &Op) {
        self.step += 1;
        self.last = Last::default();
        self.statuses_before = self.evaluated.iter().map(|e| e.status().clone()).collect();
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
            Op::Roof(n, roof) => self.roofs[*n] = Some(roof.clone()),
            Op::NoRoof(n) => {
                let set: Vec<usize> = (0..ROOFS).filter(|n| self.roofs[*n].is_some()).collect();
                if let Some(n) = set.get(n % set.len().max(1)) {
                    self.roofs[*n] = None;
                }
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
            Op::User(u, state) => self.set_user(*u, *state),
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
            Op::TrustLogin(n, by, source, less) => {
                if let Some(t) = living(self, *n, 0) {
                    // Mostly the trustee; with their own token, if they have one.
                    let by = by.unwrap_or(self.trusts[t].trustee);
                    let source = source.then(|| self.tokens.iter().position(|x| x.user == by)).flatten();
                    let less = less.map(|less| self.lawful_less(t, less));
                    self.trust_login(t, by, source, less);
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
                    self.bind_for(Some(t), None, owner, at, wish);
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
            Op::Suspend(n, by) => {
                if let Some(t) = living(self, *n, 0) {
                    self.suspend(t, *by);
                }
            }
            Op::Resume(n, by) => {
                let held: Vec<usize> =
                    (0..self.trusts.len()).filter(|t| self.trusts[*t].held.is_some()).collect();
                if let Some(t) = held.get(n % held.len().max(1)) {
                    self.resume(*t, *by);
                }
            }
            Op::Adopt(n, by, how) => {
                let lasting: Vec<usize> = (0..self.trusts.len()).filter(|t| !self.dead(*t)).collect();
                // Often the first one of the longest chain.
                let longest = lasting.iter().max_by_key(|t| self.path(**t).len()).map(|t| self.path(*t)[0]);
                let some = lasting.get(n / 2 % lasting.len().max(1)).copied();
                if let Some(t) = if n % 2 == 0 { longest } else { some } {
                    let holder = self.trusts[t].holder;
                    self.adopt(t, *by, *how != Adopting::Alone);
                    if *how == Adopting::HandedOver && self.last.adopted.is_some_and(|(_, _, done)| done) {
                        self.set_user(holder, State::Gone);
                    }
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

/// The requests that an ask names, by its own rules; all when it has none.
fn requests_asked(access: &Access) -> Mask {
    let Some(rules) = access.rules() else { return EVERY_REQUEST };
    let known = (0..RULES.len()).filter(|n| rules.iter().any(|rule| rule.path == RULES[*n].0));
    stand_for(known.fold(0, |all, n| all | 1 << n))
}

/// Those of some rules that may be asked for below `above`; none when none may.
fn rules_below(above: &Terms, rules: Mask) -> Access {
    let may = |n: &usize| rules >> n & 1 == 1 && access(1 << n).outside(&above.access).is_none();
    match (0..RULES.len()).filter(may).fold(0, |all, n| all | 1 << n) {
        0 => Access::default(),
        some => access(some),
    }
}

/// What a login asks for less of: roles, rules, life.
pub type Less = (Option<Mask>, Option<Mask>, Option<Micros>);

#[derive(Debug, Clone)]
pub struct Genesis {
    pub grants: [[Mask; PROJECTS.len()]; USERS.len()],
    /// Grants to groups, on domains and the system, inherited ones.
    pub others: Vec<(usize, Target, usize)>,
    pub members: Members,
    pub pairs: Vec<(usize, usize)>,
}

/// Where an ask leaves the lawful path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bend {
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
    AnyRules,
    BeginsEarlier,
    BeginsNever,
    LongerTokens,
    OtherOrigin,
}

pub const BENDS: &[Bend] = &[
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
    Bend::AnyRules,
    Bend::AnyRules,
    Bend::BeginsEarlier,
    Bend::BeginsNever,
    Bend::LongerTokens,
    Bend::OtherOrigin,
];

#[derive(Debug, Clone)]
pub struct Wish {
    pub trustee: usize,
    pub other: usize,
    pub roles: Mask,
    pub imp: bool,
    pub end: u8,
    pub uses: u8,
    pub depth: u8,
    pub terms: u8,
    pub rules: Mask,
    pub bend: Bend,
}

#[derive(Debug, Clone, Copy)]
pub enum KeyBend {
    No,
    OtherProject,
    AnyRoles,
    AnyRules,
    NoRoles,
    EndsPast,
    EndsLater,
}

#[derive(Debug, Clone)]
pub struct KeyWish {
    pub roles: Mask,
    pub narrow: bool,
    pub end: bool,
    pub other: usize,
    pub limit: bool,
    pub rules: Mask,
    pub bend: KeyBend,
}

#[derive(Debug, Clone)]
pub enum Op {
    Wait(Micros),
    Limit(bool, u32),
    Roof(usize, Roof),
    NoRoof(usize),
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
    TrustLogin(usize, Option<usize>, bool, Option<[u8; 4]>),
    Bind(usize, KeyWish),
    BindAnyway(usize, KeyWish),
    Exchange(usize),
    Race(usize),
    DeleteTrust(usize, bool),
    /// By which part: see [`World::part`].
    Suspend(usize, usize),
    Resume(usize, usize),
    Adopt(usize, usize, Adopting),
    DeleteKeypair(usize),
    RevokeToken(usize),
    Act(usize, Act),
}

/// Why somebody may take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopting {
    /// They alone want to.
    Alone,
    /// Who decides about the place wants it.
    Decided,
    /// The holder is deleted, and hands over.
    HandedOver,
}

/// What [`kind_of_grant`] says.
pub const GRANTS: &[&str] =
    &["a grant", "a group's grant", "an inherited grant", "a grant on a domain", "a grant on the system"];

pub const ACTS: &[Act] = &[
    Act::Use,
    Act::Trusts,
    Act::Rescope,
    Act::Keypairs,
    Act::OtherCredentials,
    Act::ApplicationCredentials,
    Act::ReadApplicationCredentials,
    Act::OtherDelegations,
    Act::Password,
    Act::RevokeAll,
    Act::Ceilings,
];

pub fn genesis() -> impl Strategy<Value = Genesis> {
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

pub fn any_target() -> impl Strategy<Value = Target> {
    (0..TARGETS).prop_map(Target::nth)
}

pub fn wish() -> impl Strategy<Value = Wish> {
    let bend = prop_oneof![3 => Just(Bend::No), 2 => select(BENDS)];
    (0..USERS.len(), 0..USERS.len(), 0..=ALL, any::<bool>(), any::<[u8; 5]>(), bend).prop_map(
        |(trustee, other, roles, imp, [end, uses, depth, terms, rules], bend)| Wish {
            trustee,
            other,
            roles,
            imp,
            end,
            uses,
            depth,
            terms,
            rules,
            bend,
        },
    )
}

pub fn key_wish() -> impl Strategy<Value = KeyWish> {
    let bend = prop_oneof![
        8 => Just(KeyBend::No),
        1 => Just(KeyBend::OtherProject),
        1 => Just(KeyBend::AnyRoles),
        1 => Just(KeyBend::NoRoles),
        1 => Just(KeyBend::AnyRules),
        1 => Just(KeyBend::EndsPast),
        1 => Just(KeyBend::EndsLater),
    ];
    (0..=ALL, any::<[bool; 3]>(), 0..3_usize, any::<u8>(), bend).prop_map(
        |(roles, [narrow, end, limit], other, rules, bend)| KeyWish {
            roles,
            narrow,
            end,
            other,
            limit,
            rules,
            bend,
        },
    )
}

/// A roof that limits one thing, or two.
pub fn roof() -> impl Strategy<Value = Roof> {
    let what = proptest::sample::subsequence(vec![0, 1, 2, 3, 4, 5, 6], 1..=2);
    let life = select(&[4 * SECOND, 60 * SECOND, 900 * SECOND][..]);
    (what, life, 0..3_u32, 0..ROLES.len(), any::<u8>(), any::<bool>()).prop_map(
        |(what, life, depth, role, users, existing)| {
            let has = |n: i32| what.contains(&n);
            Roof {
                life: has(0).then_some(life),
                depth: has(1).then_some(depth),
                never: if has(2) { 1 << role } else { 0 },
                trustees: has(3).then_some(users),
                own_name_only: has(4),
                end: has(5),
                no_keypairs: has(6),
                existing,
            }
        },
    )
}

pub fn op() -> impl Strategy<Value = Op> {
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
    let adopting = prop_oneof![
        2 => Just(Adopting::Alone),
        3 => Just(Adopting::Decided),
        1 => Just(Adopting::HandedOver),
    ];
    prop_oneof![
        12 => wait.prop_map(Op::Wait),
        2 => (prop::bool::weighted(0.8), 1..5_u32).prop_map(|(a, m)| Op::Limit(a, m)),
        3 => (0..ROOFS, roof()).prop_map(|(n, roof)| Op::Roof(n, roof)),
        5 => nth.clone().prop_map(Op::NoRoof),
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
        10 => (nth.clone(), prop::option::weighted(0.2, user), any::<bool>(), prop::option::weighted(0.4, any::<[u8; 4]>()))
            .prop_map(|(n, by, source, less)| Op::TrustLogin(n, by, source, less)),
        9 => (nth.clone(), key_wish()).prop_map(|(n, w)| Op::Bind(n, w)),
        2 => (nth.clone(), key_wish()).prop_map(|(n, w)| Op::BindAnyway(n, w)),
        11 => nth.clone().prop_map(Op::Exchange),
        1 => nth.clone().prop_map(Op::Race),
        3 => (nth.clone(), any::<bool>()).prop_map(|(n, all)| Op::DeleteTrust(n, all)),
        5 => (nth.clone(), 0..60_usize).prop_map(|(n, by)| Op::Suspend(n, by)),
        5 => (nth.clone(), 0..60_usize).prop_map(|(n, by)| Op::Resume(n, by)),
        4 => (nth.clone(), 0..USERS.len(), adopting).prop_map(|(n, by, how)| Op::Adopt(n, by, how)),
        2 => nth.clone().prop_map(Op::DeleteKeypair),
        1 => nth.clone().prop_map(Op::RevokeToken),
        3 => (nth, select(ACTS)).prop_map(|(n, act)| Op::Act(n, act)),
    ]
}

fn adopted_by(by: &str, at: Micros) -> Adoption {
    let trustor = Name { name: "Alice".into(), domain_id: "d0".into(), domain_name: "D".into() };
    Adoption { by: by.to_owned(), at, trustor }
}
