//! A copy of a SQLite database while it is in use.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::{Error, Result};

/// Copies a database, as of one instant, into a file that is there and empty. Its mode stays as it is. Writers go on
/// meanwhile.
///
/// # Errors
/// One of the files cannot be used, or somebody else holds the database for longer than ten seconds.
pub fn sqlite(from: &Path, into: &Path) -> Result<()> {
    let broken = |e: rusqlite::Error| Error::Broken(e.to_string());
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source =
        Connection::open_with_flags(from, flags | OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(broken)?;
    source.busy_timeout(std::time::Duration::from_secs(10)).map_err(broken)?;
    let mut copy =
        Connection::open_with_flags(into, flags | OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(broken)?;
    let backup = Backup::new(&source, &mut copy).map_err(broken)?;
    // All pages in one step, so that it is one instant.
    match backup.step(-1).map_err(broken)? {
        StepResult::Done => Ok(()),
        other => Err(Error::Unavailable(format!("the database is in use by somebody else ({other:?})"))),
    }
}
