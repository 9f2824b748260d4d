//! What the histories reached: a law that was never put to the test holds nothing.

use std::collections::BTreeMap;

use vicar_rules::delegation::{Suspended, TrustStatus};
use vicar_rules::refusal::Refusal;
use vicar_rules::token::Kind;

use crate::names::*;
use crate::world::*;

#[derive(Debug, Default)]
pub struct Reached {
    pub steps: usize,
    pub histories: usize,
    pub seen: BTreeMap<String, usize>,
}

impl Reached {
    pub fn note(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    pub fn look(&mut self, w: &World) {
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
        if let Some((t, _)) = &w.last.made {
            let deep = if w.path(*t).len() > 3 { " at depth 3 or more" } else { "" };
            let link = &w.trusts[*t];
            if link.requests != EVERY_REQUEST {
                self.note(format!("access rules{deep}"));
            }
            if link.not_before.is_some() {
                self.note(format!("a beginning{deep}"));
            }
            if link.longest.is_some() {
                self.note(format!("a longest life of tokens{deep}"));
            }
        }
        if let Some((t, _)) = &w.last.made
            && !w.trusts[*t].said.is_empty()
        {
            let deep = if w.path(*t).len() > 3 { " at depth 3 or more" } else { "" };
            self.note(format!("an origin{deep}"));
        }
        match w.last.paused {
            Some((true, _)) => self.note("suspended or resumed by somebody"),
            Some((false, _)) => self.note("suspended or resumed by somebody in vain"),
            None => {}
        }
        if let Some((t, _, done)) = w.last.adopted {
            self.note(if done { "adopted" } else { "adopted in vain" });
            if done && (0..w.trusts.len()).any(|x| w.path(x).len() > 3 && w.below(t, x) && !w.dead(x)) {
                self.note("adopted with depth 3 or more below");
            }
        }
        let named = |t: &usize| w.trustor_of(*t).is_none() && w.users[w.trusts[*t].trustor] == State::Gone;
        if (0..w.trusts.len()).any(|t| named(&t) && w.live(t).is_some()) {
            self.note("alive in the name of a deleted user");
        }
        for t in (0..w.trusts.len()).filter(|t| w.path(*t).len() > 3) {
            if w.path(t).into_iter().any(|x| w.trusts[x].held.is_some()) && !w.dead(t) {
                self.note("suspended by somebody at depth 3 or more");
                break;
            }
        }
        if let Some((k, _)) = &w.last.bound {
            let key = &w.keypairs[*k];
            if key.requests != EVERY_REQUEST {
                self.note("keypair with access rules");
            }
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
            if let Refusal::AboveCeiling(above) = refusal {
                let name = format!("{:?}", above.limit);
                self.note(format!("above a ceiling: {}", name.split('(').next().unwrap_or_default()));
            }
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
        if w.valid.len() > w.valid_before.len()
            && let Some(t) = minted.filter(|t| t.less.is_some()).and_then(|t| t.trust)
        {
            let deep = if w.path(t).len() > 3 { " at depth 3 or more" } else { "" };
            self.note(format!("token of less than its trust{deep}"));
        }
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
        for (t, (before, after)) in w.statuses_before.iter().zip(&w.evaluated).enumerate() {
            let by_ceiling = |s: &TrustStatus| matches!(s, TrustStatus::Suspended(Suspended::Ceiling(..)));
            let deep = if w.path(t).len() > 3 { " at depth 3 or more" } else { "" };
            if before.live().is_some() && by_ceiling(after.status()) {
                self.note(format!("suspended by a ceiling{deep}"));
            }
            if by_ceiling(before) && after.live().is_some() {
                self.note(format!("revived from below a ceiling{deep}"));
            }
            match (before, after.status()) {
                (TrustStatus::Live(_), TrustStatus::Suspended(_)) => self.note("suspended"),
                (TrustStatus::Suspended(_), TrustStatus::Live(_)) => self.note("revived"),
                (TrustStatus::Live(_) | TrustStatus::Suspended(_), TrustStatus::Ended(how)) => {
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
        let comes_back = |n: &usize| w.valid_before.get(*n) == Some(&None) && w.valid[*n].is_some();
        let was_above = |t: usize| {
            matches!(w.statuses_before.get(t), Some(TrustStatus::Suspended(Suspended::Ceiling(..))))
        };
        if (0..w.tokens.len()).filter(comes_back).any(|n| w.tokens[n].trust.is_some_and(was_above)) {
            self.note("token good again below a loosened ceiling");
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

/// What a run of [`STEPS`](crate::STEPS) must at least have seen, far below what it usually sees.
pub const AT_LEAST: &[(&str, usize)] = &[
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
    ("access rules", 500),
    ("access rules at depth 3 or more", 8),
    ("an origin", 300),
    ("an origin at depth 3 or more", 5),
    ("suspended or resumed by somebody", 300),
    ("suspended or resumed by somebody in vain", 300),
    ("suspended by somebody at depth 3 or more", 30),
    ("adopted", 100),
    ("adopted in vain", 100),
    ("adopted with depth 3 or more below", 2),
    ("alive in the name of a deleted user", 10),
    ("refused: OriginIsSet", 4),
    ("refused: NoPartInChain", 50),
    ("refused: SuspendedAbove", 30),
    ("refused: NotTheFirst", 20),
    ("refused: RoleNotOfAdopter", 20),
    ("refused: AdoptedByTrustee", 10),
    ("refused: HolderIsThere", 30),
    ("a beginning", 300),
    ("a beginning at depth 3 or more", 2),
    ("a longest life of tokens", 500),
    ("a longest life of tokens at depth 3 or more", 8),
    ("keypair with access rules", 60),
    ("token of less than its trust", 300),
    ("token of less than its trust at depth 3 or more", 5),
    ("refused: RuleOutsideParent", 30),
    ("refused: EarlierThanParent", 4),
    ("refused: LongerTokensThanParent", 20),
    ("refused: NeverBegins", 20),
    ("refused: NoAccessRules", 6),
    ("suspended by a ceiling", 100),
    ("suspended by a ceiling at depth 3 or more", 1),
    ("revived from below a ceiling", 25),
    ("token good again below a loosened ceiling", 6),
    ("above a ceiling: Life", 40),
    ("above a ceiling: Depth", 10),
    ("above a ceiling: Role", 25),
    ("above a ceiling: Trustee", 25),
    ("above a ceiling: Impersonation", 20),
    ("above a ceiling: End", 30),
    ("above a ceiling: Keypairs", 10),
    ("refused: KeypairOtherProject", 30),
    ("refused: KeypairOfWorkload", 30),
    ("refused: KeypairRoleOutside", 30),
    ("refused: KeypairOutlives", 30),
    ("refused: NarrowingNeedsTrust", 30),
    ("refused: DelegatedToken", 50),
];
