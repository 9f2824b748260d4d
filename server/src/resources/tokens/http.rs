//! `/v3/auth`: login, validation, revocation, and what a token opens.

use std::sync::Arc;

use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::delegation::Until;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::revocation::Event;
use vicar_rules::token::{Act, Kind, is_factor};

use super::federated::{Came, arrive};
use super::scope::{self, domain, reference};
use crate::app::App;
use crate::auth::application_credential;
use crate::auth::external::{self, Remote, Shown};
use crate::auth::issue::{self, Identity, ScopeRequest, may_rescope};
use crate::auth::lockout::Epoch;
use crate::auth::login::{self, Login, Passed};
use crate::auth::oauth1;
use crate::auth::render::{self, render};
use crate::auth::token::{self, Known, Token, TokenScope, ValidateOptions};
use crate::auth::totp::{self, Entered};
use crate::auth::{factors, receipt};
use crate::authz::{self, Caller, NoObject, Object, Reading, SlowWork, Writing};
use crate::clock;
use crate::error::{Error, RECEIPT, Result};
use crate::extra;
use crate::facts::{self, Place, evidence};
use crate::http::Request;
use crate::http::request::{AUTH_TOKEN, SUBJECT_TOKEN, no_content, ok, rendered, with_header};
use crate::reason::Reason;
use crate::resources::federation::arrivals::Arrived;
use crate::resources::oauth1::signed_login;
use crate::resources::projects::{Held, list_held};
use crate::schema;
use crate::store::{CHUNK, Tx};

/// The header with the versions of access rules that a middleware enforces.
const ACCESS_RULES: HeaderName = HeaderName::from_static("openstack-identity-access-rules");

// The body of a login is read step by step, since some of what is wrong with it is a 401. These are for readers;
// the tests compare them with every login that they make.
/// A user with what proves them.
fn user(proof: &str) -> Value {
    let mut known = domain();
    extra::set(&mut known, proof, json!({"type": "string"}));
    let mut user = reference(&known);
    extra::set(&mut user, "required", json!([proof]));
    user
}

fn credential() -> Value {
    let owner = reference(&domain());
    reference(&json!({"secret": {"type": ["string", "null"]}, "user": owner}))
}

schema!(LOGIN, {
    "type": "object",
    "required": ["identity"],
    "properties": {
        "identity": {
            "type": "object",
            "required": ["methods"],
            "properties": {
                "methods": {"type": "array", "items": {"type": "string"}},
                "oauth1": {"type": "object"},
                "password": {
                    "type": "object",
                    "required": ["user"],
                    "properties": {"user": user("password")},
                },
                "totp": {
                    "type": "object",
                    "required": ["user"],
                    "properties": {"user": user("passcode")},
                },
                "application_credential": credential(),
                "token": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"id": {"type": "string"}},
                },
                "mapped": {
                    "type": "object",
                    "description": "Who came through an identity provider. Other methods of the kind, `openid` or `saml2`, have the same",
                    "properties": {
                        "identity_provider": {"type": "string"},
                        "protocol": {"type": "string"},
                        "id": {"type": "string", "description": "A token, to be exchanged for another"},
                    },
                },
                "external": {"type": "object"},
                "kerberos": {"type": "object"},
            },
        },
        "scope": scope::schema(),
    },
});
schema!(ISSUE_QUERY, {"type": "object", "properties": {"nocatalog": {"type": "string"}}});
schema!(VALIDATE_QUERY, {
    "type": "object",
    "properties": {"nocatalog": {"type": "string"}, "allow_expired": {"type": "string"}},
});
schema!(REVOKE_QUERY, {"type": "object", "properties": {"cascade": {"type": "string"}}});
schema!(EVENTS_QUERY, {
    "type": "object",
    "properties": {"since": {"type": "string", "description": "A UTC time without an offset"}},
});

/// `POST /v3/auth/tokens`
pub async fn issue(s: &mut Writing<'_>) -> Result<Response> {
    let auth = match s.request.json()?.remove("auth") {
        Some(Value::Object(map)) => map,
        _ => {
            return Err(Error::field("auth", "is required in the request body and must be an object"));
        }
    };
    let (text, token) = match log_in(s, auth).await? {
        LoggedIn::Whole(text, token) => (text, token),
        LoggedIn::Started(answer) => return Ok(answer),
    };
    let with_catalog = !s.query()?.has("nocatalog");
    let shown = render(&mut s.tx, &s.app.config, &token, with_catalog).await?;
    Ok(with_header(rendered(StatusCode::CREATED, shown.body()), SUBJECT_TOKEN, &text))
}

/// What a login came to.
pub enum LoggedIn {
    /// The text of a token, and the token.
    Whole(String, Box<Token>),
    /// The answer to a login that needs more methods.
    Started(Response),
}

/// Issues what an `auth` object asks for.
///
/// # Errors
/// 400 that names the field, 401, or 403.
pub async fn log_in(s: &mut Writing<'_>, mut auth: Map<String, Value>) -> Result<LoggedIn> {
    let scope = auth.remove("scope").filter(|scope| !scope.is_null());
    let (mut who, proofs) = identify(s, auth, scope.is_some()).await?;
    let options = proofs.passed.as_ref().map(Passed::options);
    match factors::check(&mut s.tx, s.app.auth(), &who, options, s.now).await {
        Ok(()) => {}
        // Who the front server names may have been what is lacking.
        Err(Error::Started(_)) if proofs.is_unasked => return Err(Error::DirectoryAway),
        // The passcode is used up by the receipt, which has to be stored.
        Err(e @ Error::Started(_)) => {
            if let Some(entered) = &proofs.entered {
                entered.use_up(&mut s.tx, s.app.auth()).await?;
            }
            s.request.line.refused(&e, None);
            return Ok(LoggedIn::Started(e.into_response()));
        }
        Err(e) => return Err(e),
    }
    let wanted = match &proofs.credential {
        Some(credential) => Ok(credential.scope()),
        None => scope::read(&mut s.tx, scope.as_ref()).await,
    };
    let wanted = match wanted {
        // Its own scope, whatever the body asks for.
        Ok(wanted) => proofs.access_token.as_ref().map_or(wanted, oauth1::Passed::scope),
        // A delegated token is refused before its scope is looked at.
        Err(e) => {
            may_rescope(s.app.config.allow_rescope_scoped_token, &who, &ScopeRequest::Unscoped)?;
            return Err(e);
        }
    };
    if let ScopeRequest::Trust(..) = wanted {
        who.certificate = s.thumbprint()?;
    }
    let rehash = match &proofs.passed {
        Some(passed) => passed.rehash(&s.app.passwords, s.slow)?,
        None => None,
    };
    let (text, token) = issue::issue(&mut s.tx, s.app.auth(), who, &wanted, s.now).await?;
    proofs.record(s, rehash).await?;
    s.request.line.subject(token.ids());
    note_uses(s, &token, None);
    s.after_commit(|metrics| {
        metrics.tokens_issued.inc();
    });
    Ok(LoggedIn::Whole(text, Box::new(token)))
}

/// Notes, for the time after the commit, that the delegations of a token were used to get it; `exchanged` is the id of the keypair
/// that it was exchanged for, and the one who validated it is the caller then.
pub fn note_uses(s: &mut Writing<'_>, token: &Token, exchanged: Option<&str>) {
    let used: Vec<(evidence::Kind, String)> =
        token.delegations().map(|(kind, key)| (kind, key.to_owned())).collect();
    if used.is_empty() {
        return;
    }
    let keypair = exchanged.map(str::to_owned);
    let asker = s.caller().ok().and_then(Caller::token).filter(|_| exchanged.is_some());
    let asker = asker.map(|asker| asker.user.id.clone());
    let (uses, now) = (s.app.uses.clone(), s.now);
    s.after_commit(move |_| {
        for (kind, key) in used {
            uses.used(kind, &key, keypair.as_deref().filter(|_| kind == evidence::Kind::Keypair), now);
            if let Some(asker) = &asker {
                uses.validated(kind, &key, asker, now);
            }
        }
    });
}

/// What was proven by methods that somebody has to be told of once the login is through.
#[derive(Debug, Default)]
struct Proofs {
    passed: Option<Passed>,
    entered: Option<Entered>,
    shown: Option<Shown>,
    /// An application credential whose secret was right.
    credential: Option<application_credential::Passed>,
    /// An OAuth1 access token whose consumer signed.
    access_token: Option<oauth1::Passed>,
    /// Who came through an identity provider.
    arrived: Option<Arrived>,
    /// Whether the directory is away of whom a front server names. Nothing is known of them then.
    is_unasked: bool,
}

impl Proofs {
    /// Notes a login that has got its token.
    async fn record(&self, s: &mut Writing<'_>, rehash: Option<String>) -> Result<()> {
        if let Some(passed) = &self.passed {
            passed.record(&mut s.tx, s.app.auth(), rehash, s.now).await?;
        }
        if let Some(entered) = &self.entered {
            entered.record(&mut s.tx, s.app.auth(), s.now).await?;
        }
        if let Some(shown) = &self.shown {
            shown.record(&mut s.tx, s.app.auth(), s.now).await?;
        }
        if let Some(arrived) = &self.arrived {
            arrived.record(s).await?;
        }
        Ok(())
    }
}

/// What a front server that is believed says of whom it has authenticated.
fn remote(s: &Writing<'_>) -> Result<Option<Remote>> {
    let Some(told) = &s.app.config.remote_user else { return Ok(None) };
    let say = |name: Option<&HeaderName>| match name {
        Some(name) => s.request.told_by(&told.from, name),
        None => Ok(None),
    };
    let Some(user) = say(Some(&told.user))? else { return Ok(None) };
    let is_negotiated = say(told.auth_type.as_ref())?.is_some_and(|kind| kind == "Negotiate");
    let (domain, kerberos_domain) = (say(told.domain.as_ref())?, say(told.kerberos_domain.as_ref())?);
    Ok(Some(Remote { user, domain, kerberos_domain, is_negotiated }))
}

/// Runs the login methods, each once however often it is named. A token that comes along with another method
/// adds its methods, and its end and its chain stay in force; so does a receipt its methods. Whom a front server has
/// authenticated has a method without naming it, as in Keystone.
async fn identify(
    s: &mut Writing<'_>,
    mut auth: Map<String, Value>,
    is_scoped: bool,
) -> Result<(Identity, Proofs)> {
    let Some(Value::Object(mut identity)) = auth.remove("identity") else {
        return Err(Error::field("auth.identity", "is required and must be an object"));
    };
    let remote = remote(s)?;
    let mut proofs = Proofs::default();
    // Whom each method proved.
    let mut users: Vec<(String, String)> = Vec::new();
    let mut text = None;
    let (mut is_theirs, mut came) = (false, Came::default());
    if remote.is_some() && s.app.config.auth_methods.iter().any(|m| m == "external") {
        let (parts, line) = (s.app.auth(), &s.request.line);
        let shown = external::shown(&mut s.tx, parts, s.slow, remote.as_ref(), "external", line).await;
        match shown {
            Ok(shown) => {
                users.push(("external".into(), shown.user().to_owned()));
                proofs.shown = Some(shown);
            }
            // The login may have something better.
            Err(Error::Unauthorized(_)) => {}
            Err(Error::DirectoryAway) => proofs.is_unasked = true,
            Err(e) => return Err(e),
        }
    }
    let methods = methods(&mut identity, proofs.is_unasked || !users.is_empty())?;
    // Whoever has nothing else waits for the directory.
    if proofs.is_unasked && methods.is_empty() {
        return Err(Error::DirectoryAway);
    }
    if is_scoped && methods.iter().any(|m| m == application_credential::METHOD) {
        return Err(OWN_SCOPE);
    }
    // Each has a scope of its own.
    if [application_credential::METHOD, oauth1::METHOD].iter().all(|own| methods.iter().any(|m| m == own)) {
        return Err(UNSUPPORTED);
    }
    for method in methods {
        if !s.app.config.auth_methods.contains(&method) {
            return Err(UNSUPPORTED);
        }
        match method.as_str() {
            "password" => {
                let data = data(&mut identity, "password")?;
                let login = proof(s.app, s.request, s.slow, s.now, s.epoch);
                let passed = login::password(&mut s.tx, login, data).await?;
                users.push((method, passed.user().to_owned()));
                proofs.passed = Some(passed);
            }
            "totp" => {
                let data = data(&mut identity, "totp")?;
                let login = proof(s.app, s.request, s.slow, s.now, s.epoch);
                let entered = totp::totp(&mut s.tx, login, data).await?;
                users.push((method, entered.user().to_owned()));
                proofs.entered = Some(entered);
            }
            oauth1::METHOD => {
                data(&mut identity, oauth1::METHOD)?;
                let signed = signed_login(s.request)?;
                let signer = oauth1::login(&mut s.tx, &signed, &s.request.line, s.now).await?;
                users.push((method, signer.user.clone()));
                proofs.access_token = Some(signer);
            }
            application_credential::METHOD => {
                let data = data(&mut identity, application_credential::METHOD)?;
                let login = proof(s.app, s.request, s.slow, s.now, s.epoch);
                let credential = application_credential::login(&mut s.tx, login, data).await?;
                users.push((method, credential.user.clone()));
                proofs.credential = Some(credential);
            }
            "external" | "kerberos" => {
                data(&mut identity, &method)?;
                let (parts, remote, line) = (s.app.auth(), remote.as_ref(), &s.request.line);
                let shown = external::shown(&mut s.tx, parts, s.slow, remote, &method, line).await?;
                users.push((method, shown.user().to_owned()));
                proofs.shown = Some(shown);
            }
            "token" => match data(&mut identity, "token")?.remove("id") {
                Some(Value::String(id)) => text = Some(id),
                _ => {
                    return Err(Error::field("auth.identity.token.id", "is required and must be a string"));
                }
            },
            _ if s.app.config.federation.methods.contains(&method) => {
                let mut data = data(&mut identity, &method)?;
                match data.remove("id") {
                    Some(Value::String(id)) => (text, is_theirs) = (Some(id), true),
                    Some(_) => {
                        return Err(Error::BadRequest(format!(
                            "auth.identity.{method}.id: must be a string"
                        )));
                    }
                    None => {
                        let arrived;
                        (arrived, came) = arrive(s, &method, data, remote.as_ref()).await?;
                        users.push((method, arrived.user.clone()));
                        proofs.arrived = Some(arrived);
                    }
                }
            }
            _ => return Err(UNSUPPORTED),
        }
    }
    // A token has come from somewhere already.
    if text.is_some() && proofs.arrived.is_some() {
        return Err(UNSUPPORTED);
    }
    let mut who = match &text {
        Some(text) => issue::from_token(&mut s.tx, s.app.auth(), text, &s.request.line, s.now).await?,
        None => Identity {
            user: users
                .first()
                .map(|(_, user)| user.clone())
                .ok_or(Error::Unauthorized(Reason::NoSuchMethod))?,
            methods: Vec::new(),
            until: Until::Never,
            root_audit_id: None,
            source: None,
            known: Known::default(),
            federated: None,
            logged_in: None,
            workload: None,
            certificate: None,
        },
    };
    if came.federated.is_some() {
        who.federated = came.federated;
    }
    who.workload = came.workload;
    // By these methods a token of those is exchanged who came so.
    if is_theirs && who.federated.is_none() {
        return Err(UNSUPPORTED);
    }
    let can_be_added_to = users.iter().all(|(m, _)| is_factor(m, &s.app.config.additional_primary));
    for (method, user) in users {
        if user != who.user {
            return Err(Error::Unauthorized(Reason::OtherUser));
        }
        add(&mut who.methods, method);
    }
    if let Some(access_token) = &proofs.access_token {
        who.until = who.until.min(access_token.until);
        who.root_audit_id.get_or_insert_with(|| oauth1::audit_chain(&access_token.id));
    }
    if let Some(credential) = &proofs.credential {
        who.until = who.until.min(credential.until);
        who.root_audit_id.get_or_insert_with(|| application_credential::audit_chain(&credential.id));
    }
    if let Some(receipt) = s.request.header(&RECEIPT)?.filter(|text| !text.is_empty()) {
        if !can_be_added_to {
            return Err(Error::Unauthorized(Reason::NotAReceipt));
        }
        for method in receipt::accept(&mut s.tx, s.app.auth(), receipt, &who.user, s.now).await? {
            add(&mut who.methods, method);
        }
    }
    Ok((who, proofs))
}

/// What a method needs that counts failures.
fn proof<'a>(
    app: &'a App,
    request: &'a Request,
    slow: &'a mut SlowWork,
    now: Micros,
    epoch: Epoch,
) -> Login<'a> {
    Login { parts: app.auth(), now, slow, epoch, line: &request.line }
}

fn add(methods: &mut Vec<String>, method: String) {
    if !methods.contains(&method) {
        methods.push(method);
    }
}

const OWN_SCOPE: Error = Error::UnauthorizedBecause(
    Reason::NoSuchScope,
    "Error authenticating with application credential: Application credentials cannot request a scope.",
);

pub(super) const UNSUPPORTED: Error =
    Error::UnauthorizedBecause(Reason::NoSuchMethod, "Attempted to authenticate with an unsupported method.");

/// The methods of a login, each once. There may be none where somebody is known without.
fn methods(identity: &mut Map<String, Value>, may_be_none: bool) -> Result<Vec<String>> {
    let Some(Value::Array(methods)) = identity.remove("methods") else {
        return Err(Error::field("auth.identity.methods", "is required and must be a list"));
    };
    let mut seen: Vec<String> = Vec::new();
    for method in methods {
        let Value::String(method) = method else {
            return Err(Error::field("auth.identity.methods", "must be a list of names"));
        };
        if !seen.contains(&method) {
            if seen.len() >= 8 {
                return Err(Error::field("auth.identity.methods", "more methods than there are"));
            }
            seen.push(method);
        }
    }
    if seen.is_empty() && !may_be_none { Err(Error::Unauthorized(Reason::NoSuchMethod)) } else { Ok(seen) }
}

fn data(identity: &mut Map<String, Value>, method: &str) -> Result<Map<String, Value>> {
    match identity.remove(method) {
        Some(Value::Object(map)) => Ok(map),
        _ => Err(Error::BadRequest(format!("auth.identity.{method}: is required and must be an object"))),
    }
}

/// Whether the asker says that it enforces access rules.
///
/// # Errors
/// 400 when the header is no text.
pub fn enforces_access_rules(request: &Request) -> Result<bool> {
    let version = request.header(&ACCESS_RULES)?.and_then(|v| v.trim().parse::<f64>().ok());
    Ok(version.is_some_and(|v| v >= 1.0))
}

/// The token that a call is about, as it is named.
struct Named<'a> {
    text: &'a str,
    options: ValidateOptions,
}

impl<'a> Named<'a> {
    fn by(request: &'a Request, window: Micros) -> Result<Self> {
        let text = request
            .token_header(&SUBJECT_TOKEN)?
            .ok_or_else(|| Error::field("X-Subject-Token", "the header is required"))?;
        let understands_access_rules = enforces_access_rules(request)?;
        Ok(Self { text, options: ValidateOptions { window, understands_access_rules } })
    }
}

/// A token as it was shown.
struct Rendered {
    token: Arc<Token>,
    shown: render::Shown,
}

/// A token that a call is about, and the caller's part in it.
#[derive(Debug)]
pub struct Subject {
    text: String,
    token: Arc<Token>,
}

impl Object for Subject {
    /// Whose a token is: its user's; of a trust also the trustee's and every trustor's above. A delegated
    /// caller is the subject of its own token only: the bearer stays in its lane.
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        let token = &self.token;
        let own = caller.token().is_some_and(|c| c.payload.audit_ids == token.payload.audit_ids);
        // The bearer of a trust sees and ends no session but its own, whatever roles it carries.
        if caller.kind() == Kind::Trust && !own {
            return Err(Refusal::DelegatedToken("see or end another token").into());
        }
        if caller.token().is_some_and(|c| c.kind != Kind::Login) && !own {
            return Ok(Facts::none());
        }
        let mut facts = Facts::none().with(Fact::TokenUser, &token.user.id);
        if let Some(trust) = &token.trust {
            facts = facts
                .with(Fact::TokenUser, &trust.chain().leaf().trustee)
                .with_all(Fact::TokenUser, trust.chain().delegators());
        }
        Ok(facts
            .with(Fact::UserDomain, &token.user.domain_id)
            .with(Fact::TokenUserDomain, &token.user.domain_id))
    }
}

/// The subject token of a call. A dead one is 404 for everybody.
async fn subject(
    tx: &mut Tx,
    app: &App,
    request: &Request,
    caller: &Caller,
    now: Micros,
    named: &Named<'_>,
) -> Result<Subject> {
    let own = caller.shared_token().filter(|token| {
        let is_shown = named.options.understands_access_rules || !token.access.is_limited();
        is_shown && request.token_header(&AUTH_TOKEN).is_ok_and(|t| t == Some(named.text))
    });
    let token = match own {
        // What is valid by default is valid for every asker. What is remembered is found again, and noted.
        Some(token) if !tx.is_noting() => Ok(Arc::clone(token)),
        Some(_) | None => {
            let known = Known::of_caller(caller.token());
            token::validate(tx, app.auth(), named.text, known, now, named.options).await?
        }
    };
    let token = token.map_err(|dead| dead.absent(&request.line))?;
    Ok(Subject { text: named.text.to_owned(), token })
}

/// `GET /v3/auth/tokens`
pub async fn validate(s: &mut Reading<'_>) -> Result<Response> {
    show(s, Op::ValidateToken).await
}

/// `HEAD /v3/auth/tokens`
pub async fn check(s: &mut Reading<'_>) -> Result<Response> {
    show(s, Op::CheckToken).await
}

async fn show(s: &mut Reading<'_>, op: Op) -> Result<Response> {
    let query = s.query()?;
    let window = if query.flag("allow_expired") { s.app.config.allow_expired_window } else { 0 };
    let with_catalog = !query.has("nocatalog");
    let caller = s.caller()?;
    let named = Named::by(s.request, window)?;
    let kind = if with_catalog { "token with catalog" } else { "token without catalog" };
    let key = token::answer_key(s.app.auth(), kind, named.text, named.options)?;
    let known: Option<Arc<Rendered>> = match &key {
        Some(key) => s.tx.known(key, s.now).await?,
        None => None,
    };
    let mark = if known.is_none() && key.is_some() { s.tx.begin_answer() } else { None };
    let subject = match &known {
        Some(known) => Subject { text: named.text.to_owned(), token: Arc::clone(&known.token) },
        None => subject(&mut s.tx, s.app, s.request, caller, s.now, &named).await?,
    };
    let subject = s.authorize(op, subject)?;
    s.request.line.subject(subject.token.ids());
    let body = match known {
        Some(known) => known.shown.body(),
        None => {
            let token = Arc::clone(&subject.token);
            let shown = render(&mut s.tx, &s.app.config, &token, with_catalog).await?;
            // It keeps the token, also when that is remembered no more by itself.
            let (body, size) = (shown.body(), shown.size() + token.size());
            if let Some(key) = key {
                s.tx.remember(mark, key, (&Arc::new(Rendered { token, shown }), size));
            }
            body
        }
    };
    if let Some(asker) =
        caller.token().filter(|own| own.payload.audit_id() != subject.token.payload.audit_id())
        && !authz::is_watched()
    {
        for (kind, key) in subject.token.delegations() {
            s.app.uses.validated(kind, key, &asker.user.id, s.now);
        }
    }
    Ok(with_header(rendered(StatusCode::OK, body), SUBJECT_TOKEN, &subject.text))
}

/// `DELETE /v3/auth/tokens`: the token, and what was exchanged for it unless `?cascade=false`. As in Keystone, a token
/// names the first of its session alone: the first ends with all of them, one in the middle ends by itself.
pub async fn revoke(s: &mut Writing<'_>) -> Result<Response> {
    let caller = s.caller()?;
    let mut named = Named::by(s.request, 0)?;
    // Nothing is shown, so nobody has to enforce anything.
    named.options.understands_access_rules = true;
    let subject = subject(&mut s.tx, s.app, s.request, caller, s.now, &named).await?;
    let subject = s.authorize(Op::RevokeToken, subject)?;
    s.request.line.subject(subject.token.ids());
    let audit = subject.token.payload.audit_id().to_owned();
    let query = s.query()?;
    let by_id = Event { audit: Some(audit.clone()), ..Event::default() };
    facts::revoke(&mut s.tx, &subject, by_id).await?;
    if query.get("cascade").is_none() || query.flag("cascade") {
        let below = Event { audit_chain: Some(audit), ..Event::default() };
        facts::revoke(&mut s.tx, &subject, below).await?;
    }
    Ok(no_content())
}

/// `DELETE /v3/users/{id}/tokens`
pub async fn revoke_for_user(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::RevokeAll)?;
    let user = s.param("user_id")?;
    let found = facts::user(&mut s.tx, user).await?;
    let proof = s.authorize(Op::RevokeTokensForUser, NoObject)?;
    if found.is_none() {
        return Err(Error::NotFound("user", user.to_owned()));
    }
    let event = Event { user: Some(user.to_owned()), ..Event::default() };
    facts::revoke(&mut s.tx, &proof, event).await?;
    Ok(no_content())
}

/// `GET /v3/auth/catalog`
pub async fn catalog(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetAuthCatalog, NoObject)?;
    let token = s.caller()?.token().filter(|t| !matches!(t.scope, TokenScope::Unscoped));
    // A catalog is a scope's: without one there is none to show.
    let token =
        token.ok_or_else(|| Error::Forbidden("The token has no scope, so it has no catalog.".into()))?;
    let catalog = render::catalog(&mut s.tx, &s.app.config, token).await?;
    let links = json!({"next": null, "self": s.links().to("/auth/catalog"), "previous": null});
    Ok(rendered(StatusCode::OK, format!("{{\"catalog\":{catalog},\"links\":{links}}}").into()))
}

/// `GET /v3/auth/projects`: the projects that the user could get a token for. A delegated token goes nowhere
/// else.
pub async fn projects(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetAuthProjects, NoObject)?;
    list_held(s, Held::Projects).await
}

/// `GET /v3/auth/domains`
pub async fn domains(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetAuthDomains, NoObject)?;
    list_held(s, Held::Domains).await
}

/// `GET /v3/auth/system`
pub async fn system(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetAuthSystem, NoObject)?;
    let caller = s.caller()?;
    let implications = caller.implications(&mut s.tx).await?;
    let mut held = facts::effective_roles(&mut s.tx, caller.user_id(), Place::System, &implications).await?;
    if caller.kind() != Kind::Login {
        // A delegated token goes nowhere else.
        held.clear();
    }
    let system = if held.is_empty() { vec![] } else { vec![json!({"all": true})] };
    Ok(ok(json!({"system": system, "links": {"self": s.links().to("/auth/system")}})))
}

/// `GET /v3/OS-REVOKE/events`, with `?since=`: what services need to drop remembered tokens.
pub async fn events(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::ListRevokeEvents, NoObject)?;
    let since = match s.query()?.get("since") {
        None => None,
        Some(text) => Some(
            clock::from_client(text)
                .ok_or_else(|| Error::field("since", "must be a UTC time without an offset"))?,
        ),
    };
    let mut found = facts::events_since(&mut s.tx, since, 0).await?;
    let mut more = found.len() == CHUNK;
    while more {
        s.take_long().await?;
        let last = found.last().map_or(0, |(_, row, _)| *row);
        let next = facts::events_since(&mut s.tx, since, last).await?;
        more = next.len() == CHUNK;
        found.extend(next);
    }
    found.sort_by_key(|(at, row, _)| (*at, *row));
    let items = found.into_iter().map(|(at, _, e)| {
        // With an expiry, the domain is the one that the tokens are scoped to.
        let (domain, scope) = if e.expires.is_some() { (None, e.domain) } else { (e.domain, None) };
        let fields = [
            ("user_id", e.user),
            ("role_id", e.role),
            ("domain_id", domain),
            ("domain_scope_id", scope),
            ("project_id", e.project),
            ("audit_id", e.audit),
            ("audit_chain_id", e.audit_chain),
            ("OS-TRUST:trust_id", e.trust),
            ("OS-OAUTH1:consumer_id", e.consumer),
            ("OS-OAUTH1:access_token_id", e.access_token),
            ("expires_at", e.expires.map(clock::iso)),
            ("issued_before", Some(clock::iso(e.issued_before))),
            ("revoked_at", Some(clock::iso(at))),
        ];
        fields
            .into_iter()
            .filter_map(|(k, v)| Some((k.to_owned(), Value::from(v?))))
            .collect::<Map<_, _>>()
            .into()
    });
    Ok(s.request.whole_list("events", items.collect()))
}
