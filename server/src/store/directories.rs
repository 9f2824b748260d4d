//! What transactions know of directories: which domains have one, for how long what was read of one counts, and what has to be
//! read before a handler can go on. Nothing is asked of a directory in a transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vicar_rules::Micros;

use super::{Tx, WriteTx};

/// Which domains have a directory, and for how long what was read of it counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directories {
    /// The names of those that have one by their files.
    pub names: BTreeSet<String>,
    /// Whether others have one by what is stored for them.
    pub are_stored: bool,
    /// How long a reading counts.
    pub span: Micros,
}

/// What has to be read before the same is done again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// Some users, by their ids here.
    Users(Vec<String>),
    /// All users and groups of a domain.
    Whole(String),
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, and the answer is stored.
    Read,
    /// No directory is responsible.
    Nobodys,
    /// Nothing is known.
    Away,
}

/// What was asked for one request.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Users.
    pub users: BTreeMap<String, Outcome>,
    /// Domains, as a whole.
    pub domains: BTreeMap<String, Outcome>,
}

impl Tx {
    /// Which domains have a directory; nothing when none can have one.
    pub fn directories(&self) -> Option<&Arc<Directories>> {
        self.directories.as_ref()
    }

    /// What was asked of directories for the request; nothing where nobody can ask.
    pub fn asked(&self) -> Option<&Arc<Asked>> {
        self.asked.as_ref()
    }

    /// Has what is not known of a directory asked for, besides what was.
    #[must_use]
    pub fn asking(self, asked: &Arc<Asked>) -> Self {
        Self { asked: Some(Arc::clone(asked)), ..self }
    }
}

impl WriteTx {
    /// As [`Tx::asking`].
    #[must_use]
    pub fn asking(self, asked: &Arc<Asked>) -> Self {
        Self { tx: self.tx.asking(asked), ..self }
    }
}
