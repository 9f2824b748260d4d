//! What a token is, and what a token of each kind may do on this server.

use crate::Micros;
use crate::delegation::Until;
use crate::policy::Op;
use crate::refusal::Refusal;

/// Login methods by which users prove themselves. Everything else, the unknown included, is delegated.
pub const PRIMARY_METHODS: &[&str] =
    &["external", "kerberos", "mapped", "openid", "password", "saml2", "token", "totp", "x509"];

/// Methods whose proof can wait in a receipt for the others that a user's multi-factor rules ask for: each proves a user,
/// and nothing else comes with it. A token has an end, and a federated login groups, of which a receipt tells nothing.
const FACTORS: &[&str] = &["external", "kerberos", "password", "totp"];

/// The marker method of tokens that a keypair was exchanged for.
pub const EC2_METHOD: &str = "ec2credential";

/// The method of tokens that a client's certificate got. It has no plugin, and so no bit in a token: those tokens name no
/// method at all.
pub const CERTIFICATE_METHOD: &str = "oauth2_credential";

/// What a token's method is called when this server does not know it. It makes the token
/// [`Kind::Unreviewed`].
pub const UNKNOWN_METHOD: &str = "unknown";

/// Whether what a method proved can wait in a receipt. `additional_primary` is `[auth] additional_primary_auth_methods`.
pub fn is_factor(method: &str, additional_primary: &[String]) -> bool {
    // Whatever a configuration says of them.
    const NEVER: &[&str] =
        &["application_credential", "oauth1", EC2_METHOD, CERTIFICATE_METHOD, UNKNOWN_METHOD];
    let is_known = PRIMARY_METHODS.contains(&method) || NEVER.contains(&method);
    FACTORS.contains(&method) || !is_known && additional_primary.iter().any(|m| m == method)
}

/// What a token stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user's own login, at any scope but a trust.
    Login,
    /// A trust, consumed after a primary login.
    Trust,
    /// An exchanged EC2 or S3 keypair, whatever it is bound to.
    Ec2,
    /// An application credential.
    ApplicationCredential,
    /// The same of one that may make and delete further ones.
    UnrestrictedApplicationCredential,
    /// An OAuth1 access token.
    OAuth1,
    /// A client's certificate, to which the token is bound (OAuth 2.0, RFC 8705).
    Certificate,
    /// A method that nobody has reviewed, or none at all.
    Unreviewed,
}

impl Kind {
    /// What a token of this kind is of, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Login => "a login",
            Self::Trust => "a trust",
            Self::Ec2 => "an EC2 keypair",
            Self::ApplicationCredential => "an application credential",
            Self::UnrestrictedApplicationCredential => "an unrestricted application credential",
            Self::OAuth1 => "an OAuth1 access token",
            Self::Certificate => "a client's certificate",
            Self::Unreviewed => "a login by methods that this server does not know",
        }
    }
}

/// What the kind is derived from; all of it is read from the token itself.
#[derive(Debug, Clone, Copy)]
pub struct TokenTraits<'a> {
    /// The token's methods.
    pub methods: &'a [String],
    /// Whether it is scoped to a trust.
    pub trust: bool,
    /// Whether it names an application credential.
    pub application_credential: bool,
    /// Whether it names an OAuth1 access token.
    pub access_token: bool,
    /// Whether it is bound to a client's certificate.
    pub certificate: bool,
    /// `[auth] additional_primary_auth_methods`
    pub additional_primary: &'a [String],
}

/// The kind of a token. The narrowest mark wins: an EC2 token of a trust is an EC2 token.
pub fn kind(marks: TokenTraits<'_>) -> Kind {
    let has = |m: &str| marks.methods.iter().any(|x| x == m);
    // The markers stay delegated even if a configuration calls them primary.
    let primary = |m: &String| {
        m != EC2_METHOD
            && m != UNKNOWN_METHOD
            && (PRIMARY_METHODS.contains(&m.as_str()) || marks.additional_primary.contains(m))
    };
    if has(EC2_METHOD) {
        Kind::Ec2
    } else if marks.application_credential || has("application_credential") {
        Kind::ApplicationCredential
    } else if marks.access_token || has("oauth1") {
        Kind::OAuth1
    } else if marks.certificate || has(CERTIFICATE_METHOD) {
        Kind::Certificate
    } else if marks.methods.is_empty() || !marks.methods.iter().all(primary) {
        Kind::Unreviewed
    } else if marks.trust {
        Kind::Trust
    } else {
        Kind::Login
    }
}

/// The kind once its application credential is known.
pub fn with_credential(kind: Kind, unrestricted: bool) -> Kind {
    match kind {
        Kind::ApplicationCredential if unrestricted => Kind::UnrestrictedApplicationCredential,
        // An exchanged keypair is a leaf, whatever it stands on.
        other => other,
    }
}

/// Acts that are not for all tokens, apart from the policy on roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Presenting the token as `X-Auth-Token` at all.
    Use,
    /// Any route below `/v3/OS-TRUST`.
    Trusts,
    /// Exchanging it for another token.
    Rescope,
    /// Making, reading, deleting EC2 keypairs.
    Keypairs,
    /// Credentials of other types.
    OtherCredentials,
    /// Making and deleting application credentials.
    ApplicationCredentials,
    /// Reading application credentials; reading and deleting access rules, which nothing uses any more.
    ReadApplicationCredentials,
    /// OAuth1.
    OtherDelegations,
    /// Setting a password, or changing otherwise how a user logs in.
    Password,
    /// Ending all tokens of a user.
    RevokeAll,
    /// Saying how much may be delegated.
    Ceilings,
}

impl Act {
    /// What is done, in words that follow "to".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Use => "use the identity service",
            Self::Trusts => "see or manage trusts",
            Self::Rescope => "get another token",
            Self::Keypairs => "see or manage EC2 keypairs",
            Self::OtherCredentials => "see or manage credentials of other types",
            Self::ApplicationCredentials => "make or delete application credentials",
            Self::ReadApplicationCredentials => "see application credentials",
            Self::OtherDelegations => "manage other kinds of delegation",
            Self::Password => "change how somebody logs in",
            Self::RevokeAll => "end all tokens of a user",
            Self::Ceilings => "say how much may be delegated",
        }
    }
}

/// Switches that move single cells of the table.
#[derive(Debug, Clone, Copy, Default)]
pub struct Switches {
    /// `[delegation] ec2_keys = refuse`: Keystone 30.0.0's behaviour.
    pub refuse_ec2_keys: bool,
    /// `[security_compliance] allow_insecure_application_credential_trust_escalation`
    pub application_credential_trusts: bool,
}

/// What an operation is besides itself, whatever its policy says: these decide who logs in as whom, for good, or what a delegated
/// token could never let itself have.
pub fn needs(op: Op) -> Option<Act> {
    match op {
        Op::CreateIdentityProvider
        | Op::UpdateIdentityProvider
        | Op::DeleteIdentityProvider
        | Op::CreateProtocol
        | Op::UpdateProtocol
        | Op::DeleteProtocol
        | Op::CreateMapping
        | Op::UpdateMapping
        | Op::DeleteMapping
        | Op::CreateDomainConfig
        | Op::UpdateDomainConfig
        | Op::DeleteDomainConfig => Some(Act::Password),
        Op::SetDomainDelegationPolicy
        | Op::SetProjectDelegationPolicy
        | Op::SetUserDelegationPolicy
        | Op::SetTrustService => Some(Act::Ceilings),
        _ => None,
    }
}

/// The table of kinds and acts. No wildcard: a new kind does not compile until someone decides.
pub fn may(kind: Kind, act: Act, switches: Switches) -> Result<(), Refusal> {
    let no = |what| Err(Refusal::DelegatedToken(what));
    match kind {
        // A login is limited by its roles alone.
        Kind::Login => Ok(()),
        Kind::Trust => match act {
            // Its own chain; that limit is checked on the object.
            Act::Use | Act::Trusts => Ok(()),
            Act::Keypairs if switches.refuse_ec2_keys => no("access credentials"),
            Act::Keypairs => Ok(()),
            Act::Rescope => no("create another token"),
            Act::OtherCredentials => no("access credentials other than its own keypairs"),
            Act::ApplicationCredentials | Act::ReadApplicationCredentials => {
                no("manage application credentials")
            }
            Act::OtherDelegations => no("manage other kinds of delegation"),
            Act::Password => no("set a password or change how a user logs in"),
            Act::RevokeAll => no("end all tokens of a user"),
            Act::Ceilings => no("say how much may be delegated"),
        },
        // A leaf is a leaf: services may validate it, here it does nothing.
        Kind::Ec2 => match act {
            Act::Use | Act::Trusts | Act::Keypairs | Act::OtherCredentials => no("use the identity service"),
            Act::ApplicationCredentials | Act::ReadApplicationCredentials => no("use the identity service"),
            Act::OtherDelegations | Act::Password | Act::RevokeAll | Act::Ceilings => {
                no("use the identity service")
            }
            Act::Rescope => no("create another token"),
        },
        Kind::ApplicationCredential | Kind::UnrestrictedApplicationCredential => match act {
            // As in Keystone, a restricted one may see them.
            Act::Use | Act::ReadApplicationCredentials => Ok(()),
            Act::ApplicationCredentials if kind == Kind::UnrestrictedApplicationCredential => Ok(()),
            Act::ApplicationCredentials => no("manage application credentials"),
            Act::Trusts if switches.application_credential_trusts => Ok(()),
            Act::Trusts => no("manage trusts"),
            Act::Rescope => no("create another token"),
            Act::Keypairs | Act::OtherCredentials => no("access credentials"),
            Act::OtherDelegations => no("manage other kinds of delegation"),
            Act::Password => no("set a password or change how a user logs in"),
            Act::RevokeAll => no("end all tokens of a user"),
            Act::Ceilings => no("say how much may be delegated"),
        },
        // As a Keystone treats one of a certificate, whose methods are unknown to it: exchanged, it would be bound no more.
        Kind::OAuth1 | Kind::Certificate | Kind::Unreviewed => match act {
            Act::Use => Ok(()),
            Act::Trusts => no("manage trusts"),
            Act::Rescope => no("create another token"),
            Act::Keypairs | Act::OtherCredentials => no("access credentials"),
            Act::ApplicationCredentials | Act::ReadApplicationCredentials => {
                no("manage application credentials")
            }
            Act::OtherDelegations => no("manage other kinds of delegation"),
            Act::Password => no("set a password or change how a user logs in"),
            Act::RevokeAll => no("end all tokens of a user"),
            Act::Ceilings => no("say how much may be delegated"),
        },
    }
}

/// The instant from which on a token is not shown any more, even to a service that finishes a long
/// operation and asks with `allow_expired`. `asked` is how long after the token's own end that service
/// may see it; 0 when it did not ask. `ends` are the own ends of all that the token stands on: each
/// trust of its chain, its keypair, its application credential.
///
/// This bounds the time only. An expired token is shown while everything else about it holds: what it
/// stands on lives, and nothing revoked it.
pub fn shown_until(
    kind: Kind,
    expires: Micros,
    asked: Micros,
    ends: impl IntoIterator<Item = Until>,
) -> Micros {
    let asked = match kind {
        Kind::Login
        | Kind::Trust
        | Kind::Ec2
        | Kind::ApplicationCredential
        | Kind::UnrestrictedApplicationCredential => asked.max(0),
        // These end with their own end.
        Kind::OAuth1 | Kind::Certificate | Kind::Unreviewed => 0,
    };
    let latest = expires.saturating_add(asked);
    ends.into_iter().filter_map(Until::to_option).fold(latest, Micros::min)
}

/// The scope of a source token, as far as rescoping cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    /// No scope.
    Unscoped,
    /// A project.
    Project,
    /// A domain.
    Domain,
    /// The system.
    System,
    /// A trust.
    Trust,
}

/// Whether a token of this kind and scope may be exchanged for one with the wanted scope.
/// `allow_scoped` is `[token] allow_rescope_scoped_token`.
pub fn rescope(kind: Kind, from: ScopeKind, to: ScopeKind, allow_scoped: bool) -> Result<(), Refusal> {
    may(kind, Act::Rescope, Switches::default())?;
    let no = |what| Err(Refusal::DelegatedToken(what));
    match (from, to) {
        (ScopeKind::Trust, _) => no("create another token"),
        (ScopeKind::Unscoped, _) => Ok(()),
        // The system is no way down into projects and domains.
        (ScopeKind::System, ScopeKind::Project | ScopeKind::Domain) => {
            no("be exchanged from the system to a project or domain")
        }
        (ScopeKind::System | ScopeKind::Project | ScopeKind::Domain, _) => {
            if allow_scoped {
                Ok(())
            } else {
                no("be rescoped while it is scoped")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(methods: &[String], trust: bool) -> TokenTraits<'_> {
        TokenTraits {
            methods,
            trust,
            application_credential: false,
            access_token: false,
            certificate: false,
            additional_primary: &[],
        }
    }

    #[test]
    fn whatever_is_not_all_primary_is_delegated() {
        let m = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(kind(marks(&m(&["password", "token"]), false)), Kind::Login);
        assert_eq!(kind(marks(&m(&["password"]), true)), Kind::Trust);
        assert_eq!(kind(marks(&m(&[]), false)), Kind::Unreviewed);
        assert_eq!(kind(marks(&m(&[]), true)), Kind::Unreviewed);
        assert_eq!(kind(marks(&m(&["password", "brand_new"]), true)), Kind::Unreviewed);
        assert_eq!(kind(marks(&m(&["ec2credential", "password"]), true)), Kind::Ec2);
        assert_eq!(kind(marks(&m(&["application_credential"]), false)), Kind::ApplicationCredential);
        assert_eq!(kind(marks(&m(&["oauth1"]), true)), Kind::OAuth1);
        let password = m(&["password"]);
        let named = TokenTraits { application_credential: true, ..marks(&password, false) };
        assert_eq!(kind(named), Kind::ApplicationCredential);
        let named = TokenTraits { access_token: true, ..marks(&password, false) };
        assert_eq!(kind(named), Kind::OAuth1);
        let bound = TokenTraits { certificate: true, ..marks(&[], false) };
        assert_eq!(kind(bound), Kind::Certificate);
        let bound =
            TokenTraits { certificate: true, additional_primary: &password, ..marks(&password, true) };
        assert_eq!(kind(bound), Kind::Certificate);
        let certificate = m(&[CERTIFICATE_METHOD]);
        let lied = TokenTraits { additional_primary: &certificate, ..marks(&certificate, false) };
        assert_eq!(kind(lied), Kind::Certificate);
        let ec2 = m(&["ec2credential"]);
        let lied = TokenTraits { additional_primary: &ec2, ..marks(&ec2, false) };
        assert_eq!(kind(lied), Kind::Ec2);
        let unknown = m(&["password", UNKNOWN_METHOD]);
        let lied = TokenTraits { additional_primary: &unknown, ..marks(&unknown, false) };
        assert_eq!(kind(lied), Kind::Unreviewed);
    }

    #[test]
    fn only_what_proves_a_user_and_nothing_else_waits_in_a_receipt() {
        for method in ["password", "totp", "external", "kerberos"] {
            assert!(is_factor(method, &[]), "{method}");
        }
        let others = [
            "token",
            "mapped",
            "openid",
            "saml2",
            "x509",
            "application_credential",
            "oauth1",
            EC2_METHOD,
            CERTIFICATE_METHOD,
            UNKNOWN_METHOD,
        ];
        let lied = others.map(str::to_owned);
        for method in others {
            assert!(!is_factor(method, &[]) && !is_factor(method, &lied), "{method}");
        }
        assert!(!is_factor("retina", &[]) && is_factor("retina", &["retina".to_owned()]));
    }

    #[test]
    fn only_an_application_credentials_own_token_is_unrestricted() {
        for (kind, then) in [
            (Kind::Login, Kind::Login),
            (Kind::Trust, Kind::Trust),
            (Kind::Ec2, Kind::Ec2),
            (Kind::ApplicationCredential, Kind::UnrestrictedApplicationCredential),
            (Kind::OAuth1, Kind::OAuth1),
            (Kind::Certificate, Kind::Certificate),
            (Kind::Unreviewed, Kind::Unreviewed),
        ] {
            assert_eq!(with_credential(kind, true), then);
            assert_eq!(with_credential(kind, false), kind);
        }
    }

    #[test]
    fn a_switch_moves_one_cell() {
        let all = [
            Act::Use,
            Act::Trusts,
            Act::Rescope,
            Act::Keypairs,
            Act::OtherCredentials,
            Act::OtherDelegations,
            Act::Password,
            Act::RevokeAll,
            Act::ApplicationCredentials,
            Act::ReadApplicationCredentials,
            Act::Ceilings,
        ];
        let may_all = |kind, switches| all.map(|act| may(kind, act, switches).is_ok());
        let off = Switches::default();
        let refuse = Switches { refuse_ec2_keys: true, ..off };
        let escalate = Switches { application_credential_trusts: true, ..off };
        let (y, n) = (true, false);
        let none = [y, n, n, n, n, n, n, n, n, n, n];
        let trust = [y, y, n, y, n, n, n, n, n, n, n];
        let restricted = [y, n, n, n, n, n, n, n, n, y, n];
        let unrestricted = [y, n, n, n, n, n, n, n, y, y, n];
        let with_trusts = |mut cells: [bool; 11]| {
            cells[1] = y;
            cells
        };
        for (kind, cells, refused, escalated) in [
            (Kind::Login, [y; 11], [y; 11], [y; 11]),
            (Kind::Trust, trust, [y, y, n, n, n, n, n, n, n, n, n], trust),
            (Kind::Ec2, [n; 11], [n; 11], [n; 11]),
            (Kind::ApplicationCredential, restricted, restricted, with_trusts(restricted)),
            (Kind::UnrestrictedApplicationCredential, unrestricted, unrestricted, with_trusts(unrestricted)),
            (Kind::OAuth1, none, none, none),
            (Kind::Certificate, none, none, none),
            (Kind::Unreviewed, none, none, none),
        ] {
            assert_eq!(may_all(kind, off), cells, "{kind:?}");
            assert_eq!(may_all(kind, refuse), refused, "{kind:?}");
            assert_eq!(may_all(kind, escalate), escalated, "{kind:?}");
        }
    }

    #[test]
    fn rule_46_an_expired_token_is_shown_no_longer_than_asked_and_than_what_it_stands_on() {
        let kinds = [
            Kind::Login,
            Kind::Trust,
            Kind::Ec2,
            Kind::ApplicationCredential,
            Kind::UnrestrictedApplicationCredential,
            Kind::OAuth1,
            Kind::Certificate,
            Kind::Unreviewed,
        ];
        for kind in kinds {
            let asked = !matches!(kind, Kind::OAuth1 | Kind::Certificate | Kind::Unreviewed);
            let shown = |window, ends: &[Until]| shown_until(kind, 100, window, ends.iter().copied());
            assert_eq!(shown(50, &[]), if asked { 150 } else { 100 }, "{kind:?}");
            assert_eq!(shown(50, &[Until::Never]), if asked { 150 } else { 100 });
            let ends = [Until::At(170), Until::At(120), Until::Never];
            assert_eq!(shown(50, &ends), if asked { 120 } else { 100 });
            for window in [0, -1, Micros::MIN] {
                assert_eq!(shown(window, &ends), 100);
            }
            // Earlier than the token's own end, if a row says so.
            assert_eq!(shown(50, &[Until::At(80)]), 80);
            assert_eq!(shown_until(kind, Micros::MAX, Micros::MAX, []), Micros::MAX);
        }
    }

    #[test]
    fn no_delegated_kind_rescopes_anywhere() {
        use ScopeKind::*;
        for kind in [
            Kind::Trust,
            Kind::Ec2,
            Kind::ApplicationCredential,
            Kind::UnrestrictedApplicationCredential,
            Kind::OAuth1,
            Kind::Certificate,
            Kind::Unreviewed,
        ] {
            for from in [Unscoped, Project, Domain, System, Trust] {
                for to in [Unscoped, Project, Domain, System, Trust] {
                    assert!(rescope(kind, from, to, true).is_err());
                }
            }
        }
    }
}
