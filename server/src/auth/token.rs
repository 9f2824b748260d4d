//! A token with everything that follows from it now, and its validation.

use std::sync::{Arc, OnceLock};

use vicar_rules::Micros;
use vicar_rules::access_rule::Access;
use vicar_rules::access_token::AccessToken;
use vicar_rules::delegation::Presence;
use vicar_rules::loss::{self, Carried, Carries};
use vicar_rules::origin::Origin;
use vicar_rules::policy::{Scope, Subject, Trait};
use vicar_rules::revocation::{self, Claims, Event};
use vicar_rules::roles::{Implications, RoleSet};
use vicar_rules::terms::Login;
use vicar_rules::token::{self, Kind, ScopeKind, TokenTraits};

use super::Parts;
use super::application_credential::{Worth, worth};
use super::fernet::{Payload, PayloadScope};
use super::keypair;
use super::oauth1;
use crate::clock::SECOND;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::facts::application_credentials::StoredCredential;
use crate::facts::evidence;
use crate::facts::{self, EvaluatedTrust, Place, ProjectFacts, RevocationQuery, RoleRef, UserFacts};
use crate::ids;
use crate::line::{Line, TokenIds, Tried};
use crate::reason::Reason;
use crate::store::Tx;
use crate::store::memory::AnswerKey;

/// Where a valid token is scoped.
#[derive(Debug, Clone)]
pub enum TokenScope {
    /// Nowhere.
    Unscoped,
    /// On a project.
    Project(ProjectFacts),
    /// On a domain.
    Domain(ProjectFacts),
    /// On the system.
    System,
}

/// A valid token. Only [`validate`] and the issuing of tokens make one.
#[derive(Debug, Clone)]
pub struct Token {
    /// What it says of itself.
    pub payload: Payload,
    /// What it stands on.
    pub kind: Kind,
    /// Whom it speaks for: with impersonation the trustor.
    pub user: UserFacts,
    /// Where.
    pub scope: TokenScope,
    /// Its roles, now.
    pub roles: Vec<RoleRef>,
    /// Its trust with all above, if it stands on one.
    pub trust: Option<Arc<EvaluatedTrust>>,
    /// Its application credential.
    pub application_credential: Option<StoredCredential>,
    /// Its OAuth1 access token.
    pub access_token: Option<AccessToken>,
    /// The requests that it is good for.
    pub access: Access,
    /// What is said of the beginning of its chain.
    pub origin: Origin,
    /// The implied-role relation, for what else is judged in the same transaction.
    pub implications: Arc<Implications>,
    /// Made when it is first asked for.
    subject: OnceLock<Subject>,
}

impl Token {
    /// The trust's id, if it stands on one.
    pub fn trust_id(&self) -> Option<&str> {
        self.trust.as_ref().map(|j| j.chain().leaf().id.as_str())
    }

    /// The project, if it has one.
    pub fn project(&self) -> Option<&ProjectFacts> {
        match &self.scope {
            TokenScope::Project(p) => Some(p),
            TokenScope::Unscoped | TokenScope::Domain(_) | TokenScope::System => None,
        }
    }

    /// The scope, as rescoping cares.
    pub fn scope_kind(&self) -> ScopeKind {
        match &self.scope {
            _ if self.trust.is_some() => ScopeKind::Trust,
            TokenScope::Unscoped => ScopeKind::Unscoped,
            TokenScope::Project(_) => ScopeKind::Project,
            TokenScope::Domain(_) => ScopeKind::Domain,
            TokenScope::System => ScopeKind::System,
        }
    }

    /// The caller, as policy sees them.
    pub fn subject(&self) -> &Subject {
        self.subject.get_or_init(|| self.to_subject())
    }

    fn to_subject(&self) -> Subject {
        let roles = self.roles.iter().map(|r| r.name.clone()).collect();
        let scope = match &self.scope {
            TokenScope::Unscoped => Scope::Unscoped,
            TokenScope::Project(p) => Scope::Project { id: p.id.clone(), domain: p.domain_id.clone() },
            TokenScope::Domain(d) => Scope::Domain(d.id.clone()),
            TokenScope::System => Scope::System,
        };
        let subject = Subject::new(&self.user.id, roles, scope)
            .with(Trait::UserName, [&self.user.name])
            .with(Trait::UserDomain, [&self.user.domain_id])
            .with(Trait::UserDomainName, [&self.user.domain_name])
            .with(Trait::RoleIds, self.roles.iter().map(|r| &r.id))
            .with(Trait::Methods, &self.payload.methods);
        let subject = match &self.scope {
            TokenScope::Project(p) => {
                let subject = subject.with(Trait::ProjectName, [&p.name]);
                let subject = match &p.domain_name {
                    Some(name) => subject.with(Trait::ProjectDomainName, [name]),
                    None => subject,
                };
                // Keystone says it of a login only.
                match self.trust {
                    None => subject.with_flag(Trait::ProjectIsDomain, p.is_domain),
                    Some(_) => subject,
                }
            }
            TokenScope::Domain(d) => subject.with(Trait::DomainName, [&d.name]),
            TokenScope::Unscoped | TokenScope::System => subject,
        };
        match &self.application_credential {
            Some(stored) => subject
                .with(Trait::ApplicationCredential, [&stored.credential.id])
                .with(Trait::ApplicationCredentialName, [&stored.name])
                .with_flag(Trait::ApplicationCredentialRestricted, !stored.credential.unrestricted),
            None => subject,
        }
    }

    /// The delegations that it is of, for their evidence: each trust of its chain, its application credential, and its keypair,
    /// which it tells by the audit chain.
    pub fn delegations(&self) -> impl Iterator<Item = (evidence::Kind, &str)> {
        let links = self.trust.iter().flat_map(|trust| trust.chain().links());
        let trusts = links.map(|trust| (evidence::Kind::Trust, trust.id.as_str()));
        let credential = self.application_credential.iter().map(|stored| stored.credential.id.as_str());
        let credential = credential.map(|id| (evidence::Kind::ApplicationCredential, id));
        let chain = if self.kind == Kind::Ec2 { self.payload.audit_ids.get(1) } else { None };
        let keypair = chain.map(|chain| (evidence::Kind::Keypair, chain.as_str()));
        trusts.chain(credential).chain(keypair)
    }

    /// Whose roles it rests on: for a trust's token those of the first trustor.
    pub fn holder(&self) -> &str {
        self.trust.as_ref().map_or(&self.payload.user, |t| t.chain().holder())
    }

    /// The thumbprint of the certificate that it is bound to. For a trust's token the trust says it.
    pub fn certificate(&self) -> Option<&str> {
        match &self.payload.scope {
            PayloadScope::Certificate(_, thumbprint) => Some(thumbprint),
            _ => self.trust.as_ref()?.chain().leaf().binding.as_ref()?.thumbprint(),
        }
    }

    /// How its bearer logged in, as far as it tells.
    pub fn login(&self, config: &Config) -> Login<'_> {
        Login { methods: &self.payload.methods, at: logged_in(&self.payload, config) }
    }

    /// Who is behind it, for the log line.
    pub fn ids(&self) -> TokenIds {
        let links = self.trust.as_ref().map(|t| t.chain().links());
        let chain = links.map(|links| {
            links
                .iter()
                .map(|t| format!("{}>{}({})", t.trustor, t.trustee, t.id))
                .collect::<Vec<_>>()
                .join(" ")
        });
        let chain = chain.or_else(|| {
            let a = self.access_token.as_ref()?;
            Some(format!("{}>{}({})", a.user, a.consumer, a.id))
        });
        let last = self.trust.as_ref().map(|t| t.chain().leaf());
        TokenIds {
            user: self.user.id.clone(),
            audit_ids: self.payload.audit_ids.join(" "),
            project: self.project().map(|p| p.id.clone()),
            chain,
            origin: facts::origin::in_a_line(&self.origin),
            actor: last.map_or(&self.user.id, |link| &link.trustee).clone(),
        }
    }

    /// About how many bytes it takes: whatever of it a client can make long is counted.
    pub fn size(&self) -> usize {
        let roles = self.roles.iter().map(|role| 200 + role.description.as_ref().map_or(0, String::len));
        let links = self.trust.as_ref().map_or(0, |trust| trust.chain().links().len());
        let groups = self.payload.federated.as_ref().map_or(0, |from| from.groups.len());
        let credential = self.application_credential.as_ref().map_or(0, StoredCredential::size);
        let own = match &self.payload.scope {
            PayloadScope::Less(_, _, own) => {
                100 * own.roles.as_ref().map_or(0, RoleSet::len)
                    + facts::terms::size(&own.access)
                    + facts::origin::size(&own.origin)
            }
            _ => 0,
        };
        let access = own + facts::terms::size(&self.access) + facts::origin::size(&self.origin);
        2_000 + roles.sum::<usize>() + 1_000 * links + 100 * groups + credential + access
    }

    /// The audit id that descends through exchanges: the root's.
    pub fn root_audit_id(&self) -> &str {
        self.payload.audit_ids.last().map_or("", String::as_str)
    }
}

/// When the login was, at the latest, that a token comes from. One that was exchanged tells of its own making only; but as an
/// exchange never moves an end, the login was as long before the end as a login's token lives. If its end was cut, the
/// login appears to be older than it was, never newer, unless `[token] expiration` was made shorter meanwhile.
fn logged_in(payload: &Payload, config: &Config) -> Micros {
    match payload.methods.iter().any(|method| method == "token") {
        false => payload.issued,
        true => payload.issued.min(payload.expires.saturating_sub(config.token_expiration)),
    }
}

/// How [`validate`] is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct ValidateOptions {
    /// How long after its end a token is still shown (`allow_expired`), in microseconds, if all that it rests
    /// on lives.
    pub window: Micros,
    /// Whether the asker enforces access rules.
    pub understands_access_rules: bool,
}

/// A token that is not valid: why not, and whose it was, if it was one of ours. For the log alone.
#[derive(Debug)]
pub struct Dead {
    reason: Reason,
    ending: Option<Box<Ending>>,
    tried: Tried,
}

/// The act that ended a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Tokens that were issued until then are ended by it.
    pub at: Micros,
    /// The revocation; nothing when a role that the token carries was taken away.
    pub event: Option<Event>,
}

impl Dead {
    /// Why it is not valid.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The act that ended it, if one did.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_deref()
    }

    /// 401, with a note of whose token it was.
    pub fn refused(self, line: &Line) -> Error {
        line.tried(self.tried);
        Error::Unauthorized(self.reason)
    }

    /// The same for a token that a call is about: 404.
    pub fn absent(self, line: &Line) -> Error {
        line.tried(self.tried);
        Error::RefusedAsAbsent(self.reason, "Failed to validate token")
    }
}

/// What an answer about a token is remembered under. What is shown after its end is asked for rarely, and not remembered.
///
/// # Errors
/// When the keys cannot be read.
pub fn answer_key(
    parts: Parts<'_>,
    kind: &'static str,
    text: &str,
    options: ValidateOptions,
) -> Result<Option<AnswerKey>> {
    let keys = parts.token_keys.current().map_err(Error::Internal)?;
    let of = || keys.seal(text, options.understands_access_rules.into());
    Ok((parts.config.remembers && options.window == 0).then(|| AnswerKey::new(kind, of())))
}

/// The token behind a string, if it is valid at this instant.
///
/// # Errors
/// When keys or database fail.
pub async fn validate(
    tx: &mut Tx,
    parts: Parts<'_>,
    text: &str,
    known: Known,
    now: Micros,
    options: ValidateOptions,
) -> Result<std::result::Result<Arc<Token>, Dead>> {
    // Before the keys: what is found with keys that are read meanwhile is kept where nobody looks any more, never what was
    // found with keys that are gone.
    let key = answer_key(parts, "token", text, options)?;
    let keys = parts.token_keys.current().map_err(Error::Internal)?;
    if let Some(key) = &key
        && let Some(known) = tx.known(key, now).await?
    {
        return Ok(Ok(known));
    }
    let decode = || Payload::decode(text, &keys, &parts.config.auth_methods);
    let Some(payload) = decode() else {
        return Ok(Err(Dead { reason: Reason::NotAToken, ending: None, tried: Tried::default() }));
    };
    let mark = tx.begin_answer();
    // What is remembered rests on what is read from here on, not on what somebody has at hand.
    let known = if mark.is_some() { Known::default() } else { known };
    let (reason, ending) = match evaluate(tx, parts, payload, known, now, options).await? {
        Outcome::Valid(token) => {
            let token: Arc<Token> = Arc::from(token);
            if let Some(key) = key {
                tx.remember(mark, key, (&token, token.size()));
            }
            return Ok(Ok(token));
        }
        Outcome::Dead(reason) => (reason, None),
        Outcome::Revoked(ending) => (Reason::TokenRevoked, Some(ending)),
    };
    // Once more, so that the many that are valid need no copy.
    let tried = decode().map_or_else(Tried::default, |payload| Tried {
        audit_ids: Some(payload.audit_ids.join(" ")),
        user: Some(payload.user),
        ..Tried::default()
    });
    Ok(Err(Dead { reason, ending, tried }))
}

/// What the text of a token says of itself, valid or not; nothing of what no key decrypts.
///
/// # Errors
/// When the keys cannot be read.
pub fn read(parts: Parts<'_>, text: &str) -> Result<Option<Payload>> {
    let keys = parts.token_keys.current().map_err(Error::Internal)?;
    Ok(Payload::decode(text, &keys, &parts.config.auth_methods))
}

/// The token that whoever uses a trust would be given, after a login as it asks for; or why there would be none. It is one of the
/// next second, so that nothing of this one ends it.
///
/// # Errors
/// When the database fails.
pub async fn of_trust(
    tx: &mut Tx,
    parts: Parts<'_>,
    trust: Arc<EvaluatedTrust>,
    now: Micros,
) -> Result<std::result::Result<Token, Reason>> {
    let leaf = trust.chain().leaf();
    let Some(project) = leaf.project.clone() else { return Ok(Err(Reason::NoSuchScope)) };
    let terms = trust.status().live().map(|authority| authority.terms.clone()).unwrap_or_default();
    let issued = (now.div_euclid(SECOND) + 1).saturating_mul(SECOND);
    let end = terms.token_end(issued, issued.saturating_add(parts.config.token_expiration));
    let mut methods = vec!["password".to_owned()];
    methods.extend(terms.required_methods.into_iter().filter(|method| method != "password"));
    let payload = Payload {
        user: leaf.trustee.clone(),
        methods,
        scope: PayloadScope::Trust(project, leaf.id.clone()),
        expires: trust.chain().until().to_option().map_or(end, |until| until.min(end)),
        issued,
        audit_ids: vec![ids::audit()],
        federated: None,
    };
    let known = Known { trust: Some(trust), is_new: true, ..Known::default() };
    let options = ValidateOptions { window: 0, understands_access_rules: true };
    Ok(match evaluate(tx, parts, payload, known, now, options).await? {
        Outcome::Valid(token) => Ok(*token),
        Outcome::Dead(reason) => Err(reason),
        Outcome::Revoked(_) => Err(Reason::TokenRevoked),
    })
}

/// What a payload turns out to be.
#[derive(Debug)]
pub enum Outcome {
    /// All that it rests on holds.
    Valid(Box<Token>),
    /// Something that it rests on is over, off or gone.
    Dead(Reason),
    /// A revocation of this instant or later ends it.
    Revoked(Box<Ending>),
}

/// Facts that were read in the same transaction already.
#[derive(Debug, Default)]
pub struct Known {
    /// The implied-role relation.
    pub implications: Option<Arc<Implications>>,
    /// The trust of the payload, evaluated.
    pub trust: Option<Arc<EvaluatedTrust>>,
    /// Whether the payload's first audit id was made a moment ago, so that no event can name it.
    pub is_new: bool,
}

impl Known {
    /// What was read for a caller's token.
    pub fn of_caller(caller: Option<&Token>) -> Self {
        Self { implications: caller.map(|token| Arc::clone(&token.implications)), ..Self::default() }
    }

    /// The implied-role relation, read when it is not known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn implications(&mut self, tx: &mut Tx) -> Result<Arc<Implications>> {
        if let Some(known) = &self.implications {
            return Ok(Arc::clone(known));
        }
        let read = facts::implications(tx).await?;
        self.implications = Some(Arc::clone(&read));
        Ok(read)
    }
}

/// Looks up everything that a payload rests on, and whether it holds now.
///
/// # Errors
/// When the database fails.
pub async fn evaluate(
    tx: &mut Tx,
    parts: Parts<'_>,
    payload: Payload,
    known: Known,
    now: Micros,
    options: ValidateOptions,
) -> Result<Outcome> {
    let trust_id = payload.scope.trust();
    let kind = token::kind(TokenTraits {
        methods: &payload.methods,
        trust: trust_id.is_some(),
        application_credential: matches!(payload.scope, PayloadScope::ApplicationCredential(..)),
        access_token: matches!(payload.scope, PayloadScope::AccessToken(..)),
        certificate: matches!(payload.scope, PayloadScope::Certificate(..)),
        additional_primary: &parts.config.additional_primary,
    });
    if is_over(tx, token::shown_until(kind, payload.expires, options.window, []), now) {
        return Ok(Outcome::Dead(Reason::TokenExpired));
    }
    let is_new = known.is_new;
    let (token, carries) = match resolve(tx, payload, kind, known, now, options).await? {
        Ok(resolved) => resolved,
        Err(reason) => return Ok(Outcome::Dead(reason)),
    };
    known_now(&token.user)?;
    if token.user.presence != Presence::Active {
        return Ok(Outcome::Dead(Reason::TokenUser));
    }
    Ok(match revoked_at(tx, &token, carries, is_new).await? {
        Some(ending) => Outcome::Revoked(Box::new(ending)),
        None => Outcome::Valid(Box::new(token)),
    })
}

/// Whether a token is not shown any more at an instant. If it is, then until that end at most.
fn is_over(tx: &mut Tx, until: Micros, now: Micros) -> bool {
    tx.holds_until(until);
    until <= now
}

/// The roles that the payload's user holds in a place, and those of the groups that it names.
async fn held(
    tx: &mut Tx,
    payload: &Payload,
    place: Place<'_>,
    implications: &Implications,
) -> Result<RoleSet> {
    let mut roles = facts::effective_roles(tx, &payload.user, place, implications).await?;
    if let Some(from) = &payload.federated {
        roles.extend(facts::roles_of_groups(tx, &from.groups, place, implications).await?);
    }
    Ok(roles)
}

/// Resolves the scope and the roles in it, and which of them, as stored, the token carries; or why it is dead.
async fn resolve(
    tx: &mut Tx,
    payload: Payload,
    mut kind: Kind,
    mut known: Known,
    now: Micros,
    options: ValidateOptions,
) -> Result<std::result::Result<(Token, Carries), Reason>> {
    let implications = known.implications(tx).await?;
    let mut application_credential = None;
    let mut access_token = None;
    let mut trust = None;
    let mut owner = None;
    let mut access = Access::default();
    let mut origin = Origin::default();
    let mut carries = Carries::All;
    if let Some(from) = &payload.federated
        && !facts::federation::has_provider(tx, &from.provider).await?
    {
        return Ok(Err(Reason::ProviderGone));
    }
    let user = &payload.user;
    let (scope, roles) = match &payload.scope {
        PayloadScope::Unscoped => (TokenScope::Unscoped, RoleSet::new()),
        PayloadScope::System(_) => {
            (TokenScope::System, held(tx, &payload, Place::System, &implications).await?)
        }
        PayloadScope::Domain(id) => {
            let Some(domain) = active(facts::domain(tx, id).await?) else {
                return Ok(Err(Reason::NoSuchScope));
            };
            (TokenScope::Domain(domain), held(tx, &payload, Place::Domain(id), &implications).await?)
        }
        PayloadScope::Project(id) | PayloadScope::Certificate(id, _) => {
            let Some(project) = active(facts::project(tx, id).await?) else {
                return Ok(Err(Reason::NoSuchScope));
            };
            (TokenScope::Project(project), held(tx, &payload, Place::Project(id), &implications).await?)
        }
        PayloadScope::ApplicationCredential(id, credential) => {
            let Some(project) = active(facts::project(tx, id).await?) else {
                return Ok(Err(Reason::NoSuchScope));
            };
            let held = held(tx, &payload, Place::Project(id), &implications).await?;
            let Some(user) = facts::user(tx, user).await? else { return Ok(Err(Reason::TokenUser)) };
            known_now(&user)?;
            let Worth { stored, authority } = match worth(tx, credential, &user, &project, &held, now).await?
            {
                Ok(worth) => worth,
                Err(reason) => return Ok(Err(reason)),
            };
            if is_over(tx, token::shown_until(kind, payload.expires, options.window, [authority.until]), now)
            {
                return Ok(Err(Reason::TokenExpired));
            }
            kind = token::with_credential(kind, stored.credential.unrestricted);
            carries = Carries::These(stored.credential.roles.clone());
            application_credential = Some(stored);
            owner = Some(user);
            access = authority.terms.access;
            (TokenScope::Project(project), authority.roles)
        }
        PayloadScope::AccessToken(project, id) => {
            let worth = match oauth1::worth(tx, id, (user, project), &implications, now).await? {
                Ok(worth) => worth,
                Err(reason) => return Ok(Err(reason)),
            };
            let until = token::shown_until(kind, payload.expires, options.window, [worth.authority.until]);
            if is_over(tx, until, now) {
                return Ok(Err(Reason::TokenExpired));
            }
            carries = Carries::These(worth.token.roles.clone());
            access_token = Some(worth.token);
            (TokenScope::Project(worth.project), worth.authority.roles)
        }
        PayloadScope::Trust(project, id)
        | PayloadScope::Narrowed(project, id)
        | PayloadScope::Less(project, id, _) => {
            let evaluated = match known.trust {
                Some(known) => Some(known),
                None => facts::evaluated_trust(tx, id, now, &implications).await?,
            };
            let Some(evaluated) = evaluated else { return Ok(Err(Reason::TrustOver)) };
            let leaf = evaluated.chain().leaf();
            if leaf.id != *id || leaf.trustee != *user || leaf.project.as_ref() != Some(project) {
                return Ok(Err(Reason::TrustOver));
            }
            let Some(mut authority) = evaluated.status().live().cloned() else {
                let over = evaluated.status().ended();
                return Ok(Err(if over { Reason::TrustOver } else { Reason::TrustSuspended }));
            };
            let mut own = leaf.roles.clone();
            origin.clone_from(evaluated.evaluated.origin());
            let mut less = None;
            if let PayloadScope::Less(_, _, asked) = &payload.scope {
                let narrowed = evaluated.evaluated.narrowed(asked, &implications);
                let Some(narrowed) = narrowed else { return Ok(Err(Reason::NoRoles)) };
                authority = narrowed.live().cloned().unwrap_or(authority);
                own = asked.roles.clone().unwrap_or(own);
                origin.clone_from(narrowed.origin());
                less = Some(EvaluatedTrust { evaluated: narrowed, ..EvaluatedTrust::clone(&evaluated) });
            }
            if kind == Kind::Ec2 {
                match keypair::narrow(tx, &payload, evaluated.chain(), &authority, &implications, now).await?
                {
                    Some((narrowed, keypair)) => {
                        authority = narrowed;
                        own = keypair.roles.unwrap_or(own);
                        origin = origin.or(&keypair.origin);
                    }
                    None => return Ok(Err(Reason::CredentialOver)),
                }
            }
            if is_over(tx, token::shown_until(kind, payload.expires, options.window, [authority.until]), now)
            {
                return Ok(Err(Reason::TokenExpired));
            }
            carries = Carries::These(own);
            let Some(project) = active(evaluated.project.clone()) else {
                return Ok(Err(Reason::NoSuchScope));
            };
            trust = Some(less.map_or(evaluated, Arc::new));
            access = authority.terms.access;
            (TokenScope::Project(project), authority.roles)
        }
    };
    // One that is limited to access rules may be shown only to who enforces them.
    if access.is_limited() && !options.understands_access_rules {
        return Ok(Err(Reason::AccessRules));
    }
    let roles = facts::token_roles(tx, &roles).await?;
    // A scope in which nothing is held gives no token, and ends those that were given.
    if roles.is_empty() && !matches!(scope, TokenScope::Unscoped) {
        return Ok(Err(Reason::NoRoles));
    }
    let user = match (&trust, owner) {
        (Some(evaluated), _) => evaluated.users.get(evaluated.chain().speaks_for()).cloned(),
        (None, Some(owner)) => Some(owner),
        (None, None) => facts::user(tx, user).await?,
    };
    let Some(user) = user else { return Ok(Err(Reason::TokenUser)) };
    let token = Token {
        payload,
        kind,
        user,
        scope,
        roles,
        trust,
        application_credential,
        access_token,
        access,
        origin,
        implications,
        subject: OnceLock::new(),
    };
    Ok(Ok((token, carries)))
}

/// A token is not dead because nobody can say how its user is: whoever asks is told to come back.
fn known_now(user: &UserFacts) -> Result<()> {
    if user.is_unknown { Err(Error::DirectoryAway) } else { Ok(()) }
}

fn active(project: Option<ProjectFacts>) -> Option<ProjectFacts> {
    project.filter(|p| p.presence == Presence::Active)
}

/// The latest act that ended the token: a revocation, or roles that were taken away.
async fn revoked_at(tx: &mut Tx, token: &Token, carries: Carries, is_new: bool) -> Result<Option<Ending>> {
    let event = ended_by_event(tx, token, is_new).await?;
    let event = event.map(|event| Ending { at: event.issued_before, event: Some(event) });
    let place = match &token.scope {
        TokenScope::Unscoped => return Ok(event),
        TokenScope::Project(p) => loss::Place::Project(p.id.clone()),
        TokenScope::Domain(d) => loss::Place::Domain(d.id.clone()),
        TokenScope::System => loss::Place::System,
    };
    let carried = Carried {
        holder: token.holder(),
        place: &place,
        above: &[],
        roles: carries,
        issued: token.payload.issued,
    };
    let mut lost = facts::lost_at(tx, &carried).await?;
    if let Some(from) = &token.payload.federated {
        for group in facts::losers_among(tx, &from.groups, carried.issued).await? {
            lost = lost.max(facts::lost_at(tx, &Carried { holder: &group, ..carried.clone() }).await?);
        }
    }
    let lost = lost.map(|at| Ending { at, event: None });
    Ok(event.into_iter().chain(lost).max_by_key(|ending| ending.at))
}

/// The latest revocation event that ends the token, if there is one.
async fn ended_by_event(tx: &mut Tx, token: &Token, is_new: bool) -> Result<Option<Event>> {
    let mut trusts = Vec::new();
    // What becomes of a user who is only named is nothing to the chain.
    let (users, mut domains): (Vec<&str>, Vec<&str>) = match &token.trust {
        None => (vec![&token.user.id], vec![&token.user.domain_id]),
        Some(judged) => {
            trusts.extend(judged.chain().links().iter().map(|t| t.id.as_str()));
            let agents = judged.chain().agents();
            let known = agents.iter().filter_map(|id| judged.users.get(*id)).map(|u| u.domain_id.as_str());
            (agents.iter().copied().collect(), known.collect())
        }
    };
    let domain_scope = match &token.scope {
        TokenScope::Domain(d) => Some(d.id.as_str()),
        _ => None,
    };
    domains.extend(domain_scope);
    domains.extend(token.project().and_then(|p| p.domain_id.as_deref()));
    let audit_ids: Vec<&str> = token.payload.audit_ids.iter().map(String::as_str).collect();
    let project = token.project().map(|p| p.id.as_str());
    let events = facts::events(
        tx,
        &RevocationQuery {
            users: users.clone(),
            trusts: trusts.clone(),
            project,
            audit_ids: audit_ids.iter().skip(is_new.into()).copied().collect(),
            issued: token.payload.issued,
        },
    )
    .await?;
    if events.is_empty() {
        return Ok(None);
    }
    let claims = Claims {
        users,
        holder: token.holder(),
        domains,
        domain_scope,
        project,
        roles: token.roles.iter().map(|r| r.id.as_str()).collect(),
        trusts,
        consumer: token.access_token.as_ref().map(|a| a.consumer.as_str()),
        access_token: token.access_token.as_ref().map(|a| a.id.as_str()),
        audit: token.payload.audit_id(),
        audit_chain: audit_ids.get(1).copied(),
        expires: token.payload.expires,
        issued: token.payload.issued,
    };
    let ending = events.iter().filter(|e| revocation::ends(e, &claims)).max_by_key(|e| e.issued_before);
    Ok(ending.cloned())
}
