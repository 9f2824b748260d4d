//! What the server does by itself, without anybody to ask: the one other source of proofs beside the policy.

use crate::store::{Proof, Unattended};

/// What the server does by itself, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// `vicar bootstrap` and the first start: the operator at the console.
    Bootstrap,
    /// Another command of the operator at the console.
    CommandLine,
    /// The reaper ends what is over by its own terms.
    Reaper,
    /// What was noted of the use of delegations is written.
    Evidence,
    /// What was read of a directory is written.
    Directory,
    /// The consequence of a login: a use of a counted trust, a counted failure, the day of the last login.
    Login,
    /// A consumer signed for what it gets (OAuth1).
    Signature,
    /// The original password is the proof for a new one.
    OriginalPassword,
}

impl Proof for System {}
impl Unattended for System {}

/// What the operator's mapping provides for who logs in, before it is stored.
#[derive(Debug)]
pub struct Provided<T>(pub T);

impl<T: Sync> Proof for Provided<T> {}
