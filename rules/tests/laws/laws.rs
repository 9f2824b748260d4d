//! The laws: what must hold after every step, whatever happened.

use std::collections::BTreeSet;

use vicar_rules::delegation::{Authority, Broken, Ended, Evaluated, Suspended, TrustStatus, Until};
use vicar_rules::policy::{self, Fact, Scope, Subject};
use vicar_rules::refusal::Class;
use vicar_rules::token::{Act, Kind, ScopeKind, Switches, may, rescope};

use crate::Verdict;
use crate::names::*;
use crate::ops::ACTS;
use crate::world::*;

pub type Law = fn(&World) -> Verdict;

pub const LAWS: &[(&str, Law)] = &[
    ("no_escalation", no_escalation),
    ("nothing_is_withheld_that_is_due", nothing_is_withheld_that_is_due),
    ("what_is_made_is_below_what_made_it", what_is_made_is_below_what_made_it),
    ("same_place", same_place),
    ("no_outliving", no_outliving),
    ("no_upgrade", no_upgrade),
    ("bounded_depth", bounded_depth),
    ("no_link_is_above_a_ceiling", no_link_is_above_a_ceiling),
    ("death_is_a_subtree", death_is_a_subtree),
    ("suspended_is_not_dead", suspended_is_not_dead),
    ("nobody_resumes_what_was_suspended_above_them", nobody_resumes_what_was_suspended_above_them),
    ("what_is_adopted_rests_on_the_adopter", what_is_adopted_rests_on_the_adopter),
    ("the_origin_is_said_once", the_origin_is_said_once),
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
    ("a_bound_trust_has_no_keypairs", a_bound_trust_has_no_keypairs),
];

/// Whoever has a keypair could be anybody, so a trust that is bound to a workload has none; one below it may have.
fn a_bound_trust_has_no_keypairs(w: &World) -> Verdict {
    let Some((n, _)) = &w.last.bound else { return Ok(()) };
    let of = w.keypairs[*n].under;
    must!(of.is_none_or(|t| w.trusts[t].row.binding.is_none()), "k{n} is of a bound trust");
    Ok(())
}

/// "No escalation. roles(child) ⊆ roles(parent) ⊆ … ⊆ roles that the root trustor holds *now* on
/// that project. "⊆" is over the effective (implied-role) closure."
fn no_escalation(w: &World) -> Verdict {
    for (t, link) in w.trusts.iter().enumerate() {
        let Some(a) = w.live(t) else {
            continue;
        };
        let roles = mask(&a.roles);
        let held = w.held(w.root(t).holder, link.project);
        must!(within(roles, held), "t{t} gives more than the root holds");
        let allowed = requests(&a.terms.access);
        for above in w.path(t) {
            must!(within(roles, w.closure(w.trusts[above].roles)), "t{t} gives more than t{above} delegates");
            must!(within(allowed, w.trusts[above].requests), "t{t} is good for more requests than t{above}");
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
        let due = key.requests & key.under.map_or(EVERY_REQUEST, |t| w.requests_of(t));
        must!(requests(&y.terms.access) == due, "keypair k{k} is good for other requests than it should");
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
        let less = token.less.as_ref().and_then(|(_, roles, _)| *roles).map_or(ALL, |r| w.closure(r));
        must!(within(roles, held & narrowed & less), "token a{n} carries more");
        if let (Some((_, _, asked)), Some(t)) = (&token.less, token.trust) {
            let worth = w.worth(n).and_then(|worth| worth.live().cloned());
            let allowed = worth.map_or(0, |a| requests(&a.terms.access));
            must!(
                allowed == asked & w.requests_of(t),
                "token a{n} is good for other requests than it should"
            );
            must!(roles == held & less, "token a{n} carries too little");
        }
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
            must!(requests(&a.terms.access) == w.requests_of(t), "t{t} is good for too few requests");
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
            within(w.closure(link.roles), w.held(w.root(*t).holder, link.project)),
            "t{t} was made of roles that are not held"
        );
        must!(link.under.is_some() == above.is_some(), "t{t} was made below what gives nothing");
        if let Some(p) = link.under {
            must!(link.trustor == w.speaks_for(p), "t{t} delegates in a foreign name");
        }
        let terms = row.terms.clone().unwrap_or_default();
        let mut told = terms.access.rules().into_iter().flatten().map(|rule| rule.path);
        must!(
            requests(&terms.access) == w.requests_of(*t)
                && told.all(|path| RULES.iter().any(|(p, _)| *p == path)),
            "t{t} is not limited as it was asked"
        );
        let own = Authority {
            until: row.until,
            roles: set(w.closure(link.roles)).clone(),
            project: PROJECTS[link.project].to_owned(),
            impersonate: row.impersonation,
            hops: row.hops,
            keypairs: above.as_ref().is_none_or(|a| a.keypairs),
            terms,
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
            let longest = w.trusts[t].longest.unwrap_or(i64::MAX);
            must!(token.expires - token.issued <= longest, "token a{n} lives longer than t{t} lets it");
            let life = token.less.as_ref().and_then(|(own, ..)| own.life).unwrap_or(i64::MAX);
            must!(token.expires - token.issued <= life, "token a{n} lives longer than it asked");
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

/// "Ceilings": what is made is within all that hold for it, and so is what gives something within those that are for what
/// exists.
fn no_link_is_above_a_ceiling(w: &World) -> Verdict {
    if let Some((t, _)) = w.last.made {
        let path = w.path(t);
        let n = path.len() - 1;
        let made = w.made(&path, n);
        for roof in w.roofs_of(&path, n) {
            must!(!roof.is_below(&made, w.now), "t{t} was made above {roof:?}");
            let deepest = n + w.trusts[t].row.hops as usize;
            must!(roof.depth.is_none_or(|d| deepest <= d as usize), "t{t} may be redelegated above {roof:?}");
        }
    }
    if let Some((k, Some(above))) = &w.last.bound {
        let key = &w.keypairs[*k];
        let path = key.under.map(|t| w.path(t)).unwrap_or_default();
        let roles = key.narrowed.map_or(mask(&above.roles), |roles| w.closure(roles));
        let made = Made { roles, until: key.until.min(above.until), imp: above.impersonate, link: None };
        for roof in w.roofs_of(&path, path.len() - 1) {
            must!(!roof.is_below(&made, w.now), "k{k} was made above {roof:?}");
        }
    }
    for t in 0..w.trusts.len() {
        must!(w.live(t).is_none() || w.above_a_roof(t).is_none(), "t{t} gives something above a ceiling");
    }
    for (k, key) in w.keypairs.iter().enumerate() {
        let off = key.under.is_some_and(|t| w.keypairs_are_off(t));
        must!(!off || w.yields[k].is_none(), "keypair k{k} yields something above a ceiling");
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
                !w.dead_itself(above) || w.status(t).ended(),
                "t{above} ended, t{t} below it did not: {:?}",
                w.status(t)
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
        let said = w.status(t);
        if w.dead(t) {
            continue;
        }
        if w.withheld(t) {
            let true_reason = match said {
                TrustStatus::Suspended(Suspended::Agent(u)) => {
                    USERS.iter().position(|x| x == u).is_some_and(|u| !w.user_on(u))
                }
                TrustStatus::Suspended(Suspended::Project) => !w.project_on(w.trusts[t].project),
                TrustStatus::Suspended(Suspended::Role(r)) => ROLES.contains(&r.as_str()),
                TrustStatus::Suspended(Suspended::Early(id)) => {
                    w.path(t).into_iter().any(|x| w.trusts[x].row.id == *id && begins(w, x) > Some(w.now))
                }
                TrustStatus::Suspended(Suspended::Held(id)) => {
                    w.path(t).into_iter().any(|x| w.trusts[x].row.id == *id && w.trusts[x].held.is_some())
                }
                // Rows that the rules made can be read; application credentials have laws of their own.
                TrustStatus::Suspended(Suspended::Terms(_) | Suspended::Credential(_)) => false,
                TrustStatus::Suspended(Suspended::Ceiling(id, _)) => {
                    w.above_a_roof(t).is_some_and(|x| w.trusts[x].row.id == *id)
                }
                TrustStatus::Live(_) | TrustStatus::Ended(_) => false,
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

/// A trust is suspended and resumed by whoever has a part in its chain from above, and stays suspended while somebody further up
/// wants it to be.
fn nobody_resumes_what_was_suspended_above_them(w: &World) -> Verdict {
    if let Some((due, done)) = w.last.paused {
        must!(due == done, "a suspension, or the end of one, was due: {due}, and done: {done}");
    }
    Ok(())
}

/// Who adopts a trust holds its roles and is not its trustee; from then on it is worth what they hold. The name stays.
fn what_is_adopted_rests_on_the_adopter(w: &World) -> Verdict {
    if let Some((t, due, done)) = w.last.adopted {
        must!(due == done, "the adoption of t{t} was due: {due}, and done: {done}");
        let link = &w.trusts[t];
        must!(!done || link.row.trustor == USERS[link.trustor], "t{t} shows another name");
    }
    for t in 0..w.trusts.len() {
        let chain = w.chain(t);
        must!(chain.holder() == USERS[w.root(t).holder], "t{t} rests on {}", chain.holder());
        let mut agents: BTreeSet<usize> = w.path(t).into_iter().filter_map(|x| w.trustor_of(x)).collect();
        agents.extend(w.path(t).into_iter().map(|x| w.trusts[x].trustee));
        agents.insert(w.root(t).holder);
        must!(
            chain.agents() == agents.iter().map(|u| USERS[*u]).collect(),
            "t{t} is wrong about whom it rests on"
        );
        let name = w.root(t).trustor;
        must!(
            chain.named() == (!agents.contains(&name)).then_some(USERS[name]),
            "t{t} is wrong about its name"
        );
    }
    Ok(())
}

/// What is said of the beginning of a chain is said by the first who says it, and never changed below.
fn the_origin_is_said_once(w: &World) -> Verdict {
    for t in 0..w.trusts.len() {
        must!(*w.evaluated[t].origin() == w.said(t), "t{t} tells another origin");
        // It is copied down, so that each row tells it by itself.
        must!(w.trusts[t].row.origin == w.said(t), "the row of t{t} tells another origin");
    }
    Ok(())
}

/// The latest beginning of a trust and those above it.
fn begins(w: &World, t: usize) -> Option<i64> {
    w.path(t).into_iter().filter_map(|x| w.trusts[x].not_before).max()
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
            w.evaluated.iter().map(Evaluated::status).eq(&w.statuses_before),
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

/// "The bearer stays in their lane. A trust-scoped token sees and manages its own chain only: it can
/// read, and end, its own link and what it made below; never Alice's other trusts, her passwords,
/// her sessions, her other credentials."
fn the_bearer_stays_in_his_lane(w: &World) -> Verdict {
    const CLOSED: &[Act] = &[
        Act::Rescope,
        Act::OtherCredentials,
        Act::OtherDelegations,
        Act::Password,
        Act::RevokeAll,
        Act::Ceilings,
    ];
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
        let mut owners: BTreeSet<usize> = w.path(t).into_iter().map(|x| w.trusts[x].trustor).collect();
        owners.insert(w.root(t).holder);
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
            .with(Fact::TrustTrustor, chain.holder())
            .with(Fact::TrustTrustee, chain.leaf().trustee.as_str());
        for (u, name) in USERS.iter().enumerate() {
            let subject = Subject::new(*name, Vec::new(), Scope::Unscoped);
            let allowed = |op| POLICY.allows(op, &subject, &facts);
            let owner = owners.contains(&u);
            let trustee = u == w.trusts[t].trustee;
            must!(
                allowed(GetTrust) == (owner || trustee)
                    && allowed(GetTrustLineage) == (owner || trustee)
                    && allowed(DeleteTrust) == owner
                    && allowed(RenounceTrust) == trustee,
                "{name} and t{t}, which is {}",
                w.status(t).word()
            );
        }
    }
    Ok(())
}

/// "A dead thing is 404 or 401, never 403 and never 5xx": the rules call it ended, for a true
/// reason and for good, and refuse what is tried below it as absent, not as forbidden.
fn a_dead_thing_is_ended(w: &World) -> Verdict {
    for (t, said) in w.evaluated.iter().map(Evaluated::status).enumerate() {
        must!(said.ended() == w.dead(t), "t{t} is dead: {}, but the rules say {said:?}", w.dead(t));
        let before = w.statuses_before.get(t);
        must!(!before.is_some_and(TrustStatus::ended) || said.ended(), "t{t} rose from the dead");
        let TrustStatus::Ended(how) = said else { continue };
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
                        let trustor = w.trustor_of(x).unwrap_or(w.root(x).holder);
                        USERS[trustor] == *id || w.trusts[x].row.trustee == *id
                    };
                    w.path(t).into_iter().any(is)
                }
            }
            Ended::Broken(Broken::ProjectGone) => w.projects[w.trusts[t].project] == State::Gone,
            // Rows that the rules made never contradict the rules.
            Ended::Broken(Broken::AncestorMissing(_) | Broken::Unlawful(_) | Broken::CredentialGone(_)) => {
                false
            }
        };
        must!(true_reason, "t{t} did not end as {how:?}");
        must!(
            said.live().is_none() && said.word() != "live" && said.word() != "suspended",
            "t{t} is dead and called {}",
            said.word()
        );
    }
    if w.last.unpresented {
        must!(w.last.made.is_none(), "made below what is bound, without what it is bound to");
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
