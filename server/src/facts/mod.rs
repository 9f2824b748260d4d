//! The facts that authority is judged by: rows of one transaction as the rules' plain data.
//!
//! Every door (token login, validation, keypair exchange, redelegation) comes through here, so that
//! a rule holds at all of them or at none.

pub mod access_tokens;
pub mod application_credentials;
pub mod bases;
pub mod catalog;
pub mod ceilings;
pub mod credentials;
pub mod directories;
pub mod domain_options;
pub mod endpoint_filter;
pub mod endpoint_url;
pub mod evidence;
pub mod federation;
mod holdings;
mod losses;
pub mod options;
pub mod origin;
pub mod projects;
pub mod revocations;
pub mod roles;
pub mod terms;
pub mod trusts;
pub mod users;
pub mod workloads;

use vicar_rules::delegation::Presence;

pub use losses::{Holders, RoleLossGuard, holders_of, losers_among, lost_at};
pub use projects::{ProjectFacts, domain, domain_named, project, project_named, projects};
pub use revocations::{
    RevocationQuery, events, events_since, revoke, revoke_before, revoke_trusts, revoke_trusts_before,
};
pub use roles::{
    NO_DOMAIN, Place, RoleRef, domains_of_roles, effective_roles, implications, roles_of_groups, token_roles,
};
pub use trusts::{
    EvaluatedTrust, chain, chains, evaluate, evaluate_all, evaluate_keystones, evaluated_trust,
    explained_trust, subtree, trust_ids, trusts_where,
};
pub use users::{
    Activity, PASSWORD_END, UserFacts, email, is_inactive, read_activity, read_password_end, user,
};

pub(super) fn presence(enabled: Option<bool>, domain_enabled: Option<bool>) -> Presence {
    match (enabled, domain_enabled) {
        // Keystone reads a flag that is null as off.
        (None | Some(false), _) => Presence::Disabled,
        (_, Some(false)) => Presence::DomainDisabled,
        _ => Presence::Active,
    }
}
