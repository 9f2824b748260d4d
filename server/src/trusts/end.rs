//! Ends of trusts. Whatever the reason, a subtree ends in the caller's transaction: its trusts, the
//! keypairs born from them, and every token of either.

use vicar_rules::Micros;

use crate::error::Result;
use crate::http::Permit;
use crate::store::Tx;

/// A user is about to be deleted: ends every trust in which he takes part, with all below, and
/// removes his credentials.
pub async fn user_gone(_tx: &mut Tx, _user: &str, _now: Micros, _permit: &Permit) -> Result<()> {
    Ok(())
}

/// A project is about to be deleted: ends every trust on it and removes its credentials.
pub async fn project_gone(_tx: &mut Tx, _project: &str, _now: Micros, _permit: &Permit) -> Result<()> {
    Ok(())
}
