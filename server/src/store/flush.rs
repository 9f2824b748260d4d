//! Units of several writers that are committed together (docs/decisions/0007-one-writer.md).

use tokio::sync::watch;

use super::{Error, Result};

/// So many units share a commit at most: the first of them waits for all others.
pub(super) const MOST: usize = 32;

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    Durable,
    /// It never was.
    Undone,
    /// Nobody knows whether it was done.
    Unknown(String),
}

/// Units that are done, and go to the disk together.
#[derive(Debug)]
pub(super) struct Flush {
    units: usize,
    ended: watch::Sender<Option<Ended>>,
}

impl Flush {
    pub(super) fn new() -> Self {
        Self { units: 0, ended: watch::Sender::new(None) }
    }

    /// One unit more. Returns what its answer waits for.
    pub(super) fn add(&mut self) -> Earlier {
        self.units += 1;
        self.wait()
    }

    pub(super) fn is_full(&self) -> bool {
        self.units >= MOST
    }

    pub(super) fn wait(&self) -> Earlier {
        Earlier(self.ended.subscribe())
    }

    /// Wakes everybody who waits for it.
    pub(super) fn tell(self, ended: Ended) {
        self.ended.send_replace(Some(ended));
    }
}

/// A commit that is still to come, and what was read before it: no answer that hangs on that is given before.
#[derive(Debug, Clone)]
pub(super) struct Earlier(watch::Receiver<Option<Ended>>);

impl Earlier {
    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits for it.
    ///
    /// # Errors
    /// [`Error::Retry`] when it never was, [`Error::Unavailable`] when nobody knows.
    pub(super) async fn settled(mut self) -> Result<()> {
        let ended = self.0.wait_for(Option::is_some).await.map(|ended| ended.clone());
        match ended {
            Ok(Some(Ended::Durable)) => Ok(()),
            Ok(Some(Ended::Undone)) => Err(Error::Retry("a transaction before it failed".into())),
            Ok(Some(Ended::Unknown(why))) => Err(at_end(why)),
            // The store is gone.
            Ok(None) | Err(_) => Err(at_end("it was not told")),
        }
    }
}

/// A commit of which nobody knows whether it was done.
pub(super) fn at_end(why: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("at the end of a transaction: {why}"))
}
