//! Projects, and domains, which are projects too.

use serde_json::Value;

use crate::error::Result;
use crate::http::{Caller, Req};
use crate::store::Tx;

/// What to list of what somebody holds roles on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Projects.
    Projects,
    /// Domains.
    Domains,
}

/// Projects or domains on which the caller's user holds a role, directly, by a group or inherited.
pub async fn held_by(_tx: &mut Tx, _req: &Req, _caller: &Caller, _what: Held) -> Result<Vec<Value>> {
    Ok(Vec::new())
}
