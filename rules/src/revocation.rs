//! Revocation events as Keystone stores them, and which tokens they end.

use crate::Micros;

/// One event. A field that is absent restricts nothing; all that are present must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Tokens of this domain: its users', its projects', its own.
    pub domain: Option<String>,
    /// Tokens on this project.
    pub project: Option<String>,
    /// Tokens in which this user takes any part; with `role` or `project`, tokens that rest on this user's
    /// roles.
    pub user: Option<String>,
    /// Tokens that carry this role.
    pub role: Option<String>,
    /// Tokens that stand on this trust, directly or further below.
    pub trust: Option<String>,
    /// Tokens of this OAuth1 consumer.
    pub consumer: Option<String>,
    /// Tokens of this OAuth1 access token.
    pub access_token: Option<String>,
    /// The one token with this audit id.
    pub audit: Option<String>,
    /// All tokens that descend from this audit id.
    pub audit_chain: Option<String>,
    /// Tokens that expire at this instant (whole seconds); with `domain`, only tokens scoped to it.
    pub expires: Option<Micros>,
    /// Tokens issued at or before this instant.
    pub issued_before: Micros,
}

/// What the matching needs to know of a token.
#[derive(Debug, Clone, Default)]
pub struct Claims<'a> {
    /// The user and, on a chain, every trustor and trustee of it.
    pub users: Vec<&'a str>,
    /// Whose roles it rests on: on a chain the first trustor, else the user.
    pub holder: &'a str,
    /// Domains of those users, and the domain that the token or its project is in.
    pub domains: Vec<&'a str>,
    /// The domain that it is scoped to.
    pub domain_scope: Option<&'a str>,
    /// Its project.
    pub project: Option<&'a str>,
    /// Its roles, now.
    pub roles: Vec<&'a str>,
    /// Every trust of its chain.
    pub trusts: Vec<&'a str>,
    /// The OAuth1 consumer of its access token.
    pub consumer: Option<&'a str>,
    /// Its OAuth1 access token.
    pub access_token: Option<&'a str>,
    /// Its own audit id.
    pub audit: &'a str,
    /// The audit id that it descends from, if any.
    pub audit_chain: Option<&'a str>,
    /// When it expires.
    pub expires: Micros,
    /// When it was issued (whole seconds, as Fernet tells it).
    pub issued: Micros,
}

const SECOND: Micros = 1_000_000;

/// Whether the event ends the token.
pub fn ends(event: &Event, token: &Claims<'_>) -> bool {
    let one_of = |field: &Option<String>, values: &[&str]| match field {
        None => true,
        Some(wanted) => values.contains(&wanted.as_str()),
    };
    let same = |field: &Option<String>, value: Option<&str>| match field {
        None => true,
        Some(wanted) => value == Some(wanted.as_str()),
    };
    let domain = match (&event.domain, event.expires) {
        // With an expiry, the event is about tokens scoped to the domain itself.
        (Some(d), Some(_)) => token.domain_scope == Some(d.as_str()),
        (Some(d), None) => token.domains.contains(&d.as_str()),
        (None, _) => true,
    };
    // An event about a user's roles, or all of them, in a project. What was taken from somebody in the middle of a
    // chain ends nothing: no token rests on it.
    let is_about_roles = event.role.is_some() || event.project.is_some();
    let user = match &event.user {
        Some(user) if is_about_roles => user == token.holder,
        user => one_of(user, &token.users),
    };
    token.issued <= event.issued_before
        && domain
        && user
        && one_of(&event.role, &token.roles)
        && one_of(&event.trust, &token.trusts)
        && same(&event.project, token.project)
        && same(&event.consumer, token.consumer)
        && same(&event.access_token, token.access_token)
        && same(&event.audit, Some(token.audit))
        && same(&event.audit_chain, token.audit_chain)
        && event.expires.is_none_or(|e| e / SECOND == token.expires / SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims<'a>() -> Claims<'a> {
        Claims {
            users: vec!["alice", "bob"],
            holder: "alice",
            domains: vec!["default"],
            project: Some("p"),
            roles: vec!["r"],
            trusts: vec!["t1", "t2"],
            audit: "a2",
            audit_chain: Some("a1"),
            expires: 90 * SECOND,
            issued: 10 * SECOND,
            ..Claims::default()
        }
    }

    #[test]
    fn all_present_fields_must_match() {
        let hit = Event { user: Some("bob".into()), issued_before: 10 * SECOND, ..Event::default() };
        assert!(ends(&hit, &claims()));
        assert!(!ends(&Event { issued_before: 9 * SECOND, ..hit.clone() }, &claims()));
        assert!(!ends(&Event { project: Some("q".into()), ..hit.clone() }, &claims()));
        assert!(ends(&Event { trust: Some("t1".into()), user: None, ..hit.clone() }, &claims()));
        assert!(ends(&Event { audit_chain: Some("a1".into()), ..hit.clone() }, &claims()));
        assert!(!ends(&Event { audit_chain: Some("a2".into()), ..hit }, &claims()));
    }

    #[test]
    fn an_access_token_and_its_consumer_end_their_tokens_alone() {
        let of = Claims { consumer: Some("c"), access_token: Some("a"), ..claims() };
        let event = Event { issued_before: 10 * SECOND, ..Event::default() };
        let consumer = |id: &str| Event { consumer: Some(id.into()), ..event.clone() };
        let access_token = |id: &str| Event { access_token: Some(id.into()), ..event.clone() };
        assert!(ends(&consumer("c"), &of) && ends(&access_token("a"), &of));
        assert!(!ends(&consumer("d"), &of) && !ends(&access_token("b"), &of));
        assert!(!ends(&consumer("c"), &claims()) && !ends(&access_token("a"), &claims()));
    }

    #[test]
    fn a_role_is_taken_from_the_holder_and_not_from_who_takes_part() {
        let all_on = |user: &str| Event {
            user: Some(user.into()),
            project: Some("p".into()),
            issued_before: 10 * SECOND,
            ..Event::default()
        };
        assert!(ends(&all_on("alice"), &claims()));
        assert!(!ends(&all_on("bob"), &claims()));
        let taken = |user: &str, role: Option<&str>| Event {
            user: Some(user.into()),
            role: role.map(str::to_owned),
            issued_before: 10 * SECOND,
            ..Event::default()
        };
        assert!(ends(&taken("alice", Some("r")), &claims()));
        assert!(!ends(&taken("alice", Some("other")), &claims()));
        assert!(!ends(&taken("bob", Some("r")), &claims()));
        assert!(ends(&taken("bob", None), &claims()));
        assert!(ends(&Event { user: None, ..taken("", Some("r")) }, &claims()));
    }

    #[test]
    fn with_an_expiry_a_domain_is_the_scope_and_not_the_home() {
        let event = |domain: &str, expires| Event {
            domain: Some(domain.into()),
            expires,
            issued_before: 10 * SECOND,
            ..Event::default()
        };
        let scoped = Claims { domain_scope: Some("d"), domains: vec!["default", "d"], ..claims() };
        let at = Some(90 * SECOND + 1);
        assert!(ends(&event("d", at), &scoped));
        assert!(!ends(&event("default", at), &scoped));
        assert!(!ends(&event("default", at), &claims()));
        assert!(!ends(&event("d", Some(91 * SECOND)), &scoped));
        assert!(ends(&event("default", None), &scoped));
        assert!(!ends(&event("e", None), &scoped));
    }
}
