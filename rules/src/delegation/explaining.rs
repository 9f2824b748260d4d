//! What each link of a chain does to the roles that come from above: for whoever asks why a chain is worth what it is.

use super::{Chain, ChainFacts, Trust, above_root};
use crate::roles::{Implications, RoleSet};

/// One link, with the roles that it could pass on and those that it delegates.
#[derive(Debug)]
pub(super) struct Handing<'a> {
    pub(super) link: &'a Trust,
    /// What is given to it: by the link above, or what the root trustor holds.
    pub(super) above: RoleSet,
    /// What it delegates, with what that implies.
    pub(super) own: RoleSet,
}

impl Handing<'_> {
    /// The first role that it delegates and is not given. Then the chain gives nothing.
    pub(super) fn lacks(&self) -> Option<&String> {
        self.own.iter().find(|role| !self.above.contains(*role))
    }
}

/// All links, root first. Nothing when the application credential that made the first one gives nothing.
pub(super) fn handings<'a>(
    chain: &'a Chain,
    facts: &ChainFacts<'a>,
) -> Option<impl Iterator<Item = Handing<'a>> + use<'a>> {
    let mut above = facts.root_roles.clone();
    if chain.root().credential.is_some() {
        let credential = above_root(chain, facts)?;
        above.retain(|role| credential.roles.contains(role));
    }
    let implications: &Implications = facts.implications;
    // roles(child) ⊆ roles(parent) ⊆ … ⊆ roles that the root trustor holds now.
    Some(chain.links().iter().map(move |link| {
        let own = implications.closure(&link.roles);
        Handing { link, above: std::mem::replace(&mut above, own.clone()), own }
    }))
}

/// What a link does to the roles that come from above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passes {
    /// The link's id.
    pub trust: String,
    /// What it passes on, with what that implies.
    pub passes: RoleSet,
    /// What it is given and does not pass on.
    pub withholds: RoleSet,
    /// What it delegates and is not given, by the link above or by what the root trustor holds. While there is one, the chain gives nothing.
    pub lacks: RoleSet,
}

/// What each link of a chain does, root first. None when the application credential that made the first one gives nothing.
pub fn passes(chain: &Chain, facts: &ChainFacts<'_>) -> Vec<Passes> {
    let all = handings(chain, facts).into_iter().flatten();
    all.map(|handing| Passes {
        trust: handing.link.id.clone(),
        passes: &handing.own & &handing.above,
        withholds: &handing.above - &handing.own,
        lacks: &handing.own - &handing.above,
    })
    .collect()
}
