//! The proof that writes ask for: an operation on an object, allowed by the policy.

use std::ops::Deref;

use vicar_rules::policy::{Facts, Op};

use super::Caller;
use crate::error::Result;
use crate::store::Proof;

/// What policy may know of an object.
pub trait Object {
    /// The facts that rules are judged by, from stored rows.
    ///
    /// # Errors
    /// 403 when the object is out of reach for this kind of token, whatever the policy says.
    fn facts(&self, caller: &Caller) -> Result<Facts>;
}

/// No object, or the collection as a whole.
#[derive(Debug, Clone, Copy)]
pub struct NoObject;

impl Object for NoObject {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl Object for Facts {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(self.clone())
    }
}

/// An object that a request proposes and that is not stored yet. Its facts are the only ones that come from
/// a request's body: nothing else is known of it.
#[derive(Debug, Clone)]
pub struct Proposed<T>(pub T);

impl<T> Deref for Proposed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// An object with the proof that the policy allows an operation on it. Made by
/// [`Session::authorize`](super::Session::authorize) and its like, and by nothing else.
#[derive(Debug)]
pub struct Authorized<T> {
    op: Op,
    object: T,
}

impl<T> Authorized<T> {
    pub(super) fn new(op: Op, object: T) -> Self {
        Self { op, object }
    }

    /// The operation that was allowed.
    pub fn op(&self) -> Op {
        self.op
    }

    /// The object alone; the proof ends.
    pub fn into_inner(self) -> T {
        self.object
    }
}

impl<T> Deref for Authorized<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T: Sync> Proof for Authorized<T> {}
