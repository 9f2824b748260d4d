//! What the file of a server's dialect and the pool of its connections tell each other.

use super::{Error, Row};

/// The statements that one engine has and the others have not.
pub(super) struct DialectSql {
    /// Begins a read, where that takes a statement.
    pub(super) begin_read: Option<&'static str>,
    /// Begins a write and takes the guard, leaving a number there: its holder is the only writer of all
    /// replicas, and sees all that earlier ones wrote.
    pub(super) begin_write: fn(i64) -> String,
    /// Fails when it is not the transaction that left this number at the guard. Nothing, where a server
    /// never takes a transaction back without saying so.
    pub(super) is_still: Option<fn(i64) -> String>,
    /// Begins a change of the schema.
    pub(super) begin_schema: &'static str,
    /// Names the tables that are there.
    pub(super) tables: &'static str,
}

/// What a statement gave.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) rows: Vec<Row>,
    pub(super) changed: u64,
    /// The server was made to prepare the statement first.
    pub(super) prepared: bool,
}

/// Why a statement failed, and what becomes of its connection.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) next: Next,
}

/// What becomes of a connection after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is used on.
    Kept,
    /// Nobody knows what it is worth: it is closed.
    Suspect,
    /// It is gone, and the others of its time most likely with it.
    Lost,
}

impl Failure {
    pub(super) fn kept(error: Error) -> Self {
        Self { error, next: Next::Kept }
    }

    pub(super) fn lost(error: Error) -> Self {
        Self { error, next: Next::Lost }
    }

    pub(super) fn suspect(error: Error) -> Self {
        Self { error, next: Next::Suspect }
    }

    /// The same of a connection that is no good any more, whatever the error was.
    pub(super) fn suspected_if(self, suspect: bool) -> Self {
        if suspect && self.next == Next::Kept { Self::suspect(self.error) } else { self }
    }

    /// An error that did not come from the server, but on the way to it.
    pub(super) fn of_connection(e: &sqlx::Error) -> Self {
        Self::lost(match e {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Error::Retry(e.to_string())
            }
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => Error::Unavailable(e.to_string()),
            other => Error::Broken(other.to_string()),
        })
    }
}
