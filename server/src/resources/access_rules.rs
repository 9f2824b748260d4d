//! Access rules as bodies of trusts, keypairs and logins have them.

use serde_json::Value;
use vicar_rules::access_rule::Access;

use crate::error::{Error, Result};
use crate::facts::terms::{length, rules_of};

/// So many bytes of access rules a trust or a keypair has at most. Lists are compared rule by rule, at every use.
const LONGEST: usize = 2_048;

/// The access rules of a body, whose schema was checked; without them nothing is limited.
///
/// # Errors
/// 400 when they are too long together.
pub fn from_body(given: Option<&Value>) -> Result<Access> {
    let Some(rules) = given.and_then(rules_of) else { return Ok(Access::default()) };
    if length(&rules) > LONGEST {
        return Err(Error::field("access_rules", "longer than 2048 bytes together"));
    }
    Ok(Access::only(&rules))
}
