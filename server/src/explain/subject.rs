//! About whom a question is: a token as it was presented, or one that somebody would be given for a trust; and what it rests on.

use std::sync::Arc;

use serde_json::{Value, json};
use vicar_rules::binding::Binding;
use vicar_rules::delegation::{Authority, Passes, Trust, TrustStatus};
use vicar_rules::policy::{Op, Scope};
use vicar_rules::refusal::Refusal;
use vicar_rules::revocation::Event;
use vicar_rules::roles::RoleSet;
use vicar_rules::token::Kind;

use super::step::Words;
use super::{About, Desk};
use crate::auth::token::{self, Dead, Known, Token, ValidateOptions};
use crate::authz::{Caller, Object};
use crate::clock;
use crate::error::{Error, Result};
use crate::facts::{self, EvaluatedTrust};
use crate::resources::roles::named;
use crate::store::Tx;

/// Whom the question is about, alive.
#[derive(Debug)]
pub(super) struct Subject {
    /// As they would call.
    pub(super) caller: Caller,
    /// The token's text, where there is one.
    pub(super) text: Option<String>,
    /// Whether who asks has the token itself, so that they can do what it can.
    pub(super) is_held: bool,
}

impl Subject {
    /// The token; nothing of `[DEFAULT] admin_token`.
    pub(super) fn token(&self) -> Option<&Token> {
        self.caller.token()
    }
}

/// Finds it, and says what it rests on. Nothing when it is dead.
///
/// # Errors
/// 403 or 404 when the asker may not ask about it.
pub(super) async fn find(
    desk: Desk<'_>,
    tx: &mut Tx,
    about: &About,
    words: &mut Words,
) -> Result<Option<Subject>> {
    let own = desk.asker.and_then(Caller::shared_token);
    let delegated = desk.asker.is_some_and(|asker| asker.kind() != Kind::Login);
    match about {
        About::Asker => {
            let caller = match (own, desk.asker) {
                (Some(token), _) => Caller::with(Arc::clone(token)),
                (None, Some(_)) => Caller::admin_token(),
                (None, None) => return Err(Error::field("explain.subject", "is required")),
            };
            alive(desk, tx, caller, desk.presents.map(str::to_owned), words).await.map(Some)
        }
        About::Token(text) if desk.presents == Some(text) => {
            Box::pin(find(desk, tx, &About::Asker, words)).await
        }
        _ if delegated && !desk.is_operator => {
            Err(Refusal::DelegatedToken("ask about another token or trust than its own").into())
        }
        About::Token(text) => of_token(desk, tx, text, words).await,
        About::Trust(id) => of_trust(desk, tx, id, words).await,
    }
}

/// Checks that a question may name a token: who is no operator asks about their own alone, and a delegated token about itself.
///
/// # Errors
/// 404, the same for whatever is not theirs and for what is no token.
pub(super) async fn may_name(desk: Desk<'_>, tx: &mut Tx, text: &str) -> Result<()> {
    if desk.is_operator || desk.presents == Some(text) {
        return Ok(());
    }
    let is_login = desk.asker.is_some_and(|asker| asker.kind() == Kind::Login);
    match validate(desk, tx, text).await? {
        Ok(token) if is_login && is_theirs(desk, &token) => Ok(()),
        _ => Err(no_token("target")),
    }
}

async fn validate(desk: Desk<'_>, tx: &mut Tx, text: &str) -> Result<std::result::Result<Arc<Token>, Dead>> {
    let options = ValidateOptions { window: 0, understands_access_rules: true };
    token::validate(tx, desk.stage.app.auth(), text, Known::default(), desk.now(), options).await
}

/// Whether the token is the asker's, or speaks for them.
fn is_theirs(desk: Desk<'_>, token: &Token) -> bool {
    let asker = desk.asker.map(Caller::user_id);
    asker == Some(token.payload.user.as_str()) || asker == Some(token.user.id.as_str())
}

async fn of_token(desk: Desk<'_>, tx: &mut Tx, text: &str, words: &mut Words) -> Result<Option<Subject>> {
    match validate(desk, tx, text).await? {
        Ok(token) => {
            if !desk.is_operator && !is_theirs(desk, &token) {
                return Err(no_token("subject"));
            }
            desk.line.subject(token.ids());
            let caller = Caller::with(token);
            alive(desk, tx, caller, Some(text.to_owned()), words).await.map(Some)
        }
        Err(_) if !desk.is_operator => Err(no_token("subject")),
        Err(dead) => {
            say_dead(desk, tx, text, &dead, words).await?;
            Ok(None)
        }
    }
}

async fn of_trust(desk: Desk<'_>, tx: &mut Tx, id: &str, words: &mut Words) -> Result<Option<Subject>> {
    let implications = facts::implications(tx).await?;
    let found = facts::explained_trust(tx, id, desk.now(), &implications).await?;
    let may_see = |trust: &EvaluatedTrust, asker: &Caller| {
        let facts = trust.facts(asker)?;
        Ok::<bool, Error>(desk.stage.policy.allows(Op::GetTrustLineage, asker.subject(), &facts))
    };
    let found = match (found, desk.asker) {
        (Some((trust, _)), Some(asker)) if !desk.is_operator && !may_see(&trust, asker)? => None,
        (found, _) => found,
    };
    let Some((trust, passes)) = found else { return Err(Error::NotFound("trust", id.to_owned())) };
    say_trust(tx, &trust, &passes, words).await?;
    let Some(authority) = trust.status().live() else { return Ok(None) };
    say_conditions(trust.chain().leaf(), authority, words);
    let made = token::of_trust(tx, desk.stage.app.auth(), Arc::new(trust), desk.now()).await?;
    match made {
        Ok(token) => {
            let caller = Caller::with(Arc::new(token));
            Ok(Some(Subject { caller, text: None, is_held: false }))
        }
        Err(reason) => {
            words.say("token", Some(false), format!("it gives no token now: {}", reason.meaning()));
            Ok(None)
        }
    }
}

/// What a token that is valid rests on.
async fn alive(
    desk: Desk<'_>,
    tx: &mut Tx,
    caller: Caller,
    text: Option<String>,
    words: &mut Words,
) -> Result<Subject> {
    let Some(token) = caller.token() else {
        words.say("token", Some(true), "it is [DEFAULT] admin_token, which may do everything");
        return Ok(Subject { caller, text, is_held: true });
    };
    let roles: Vec<&str> = token.roles.iter().map(|role| role.name.as_str()).collect();
    let said =
        if roles.is_empty() { "without roles".to_owned() } else { format!("with {}", roles.join(", ")) };
    let place = match &token.subject().scope {
        Scope::Unscoped => "without a scope".to_owned(),
        Scope::Project { id, .. } => format!("on project {id}"),
        Scope::Domain(id) => format!("on domain {id}"),
        Scope::System => "on the system".to_owned(),
    };
    let actor = match &token.payload.user {
        actor if *actor != token.user.id => format!(", for whom user {actor} acts"),
        _ => String::new(),
    };
    let (kind, end) = (token.kind.in_words(), clock::iso(token.payload.expires));
    let user = &token.user.id;
    words.say_with(
        "token",
        Some(true),
        format!("it is valid until {end}: a token of {kind}, of user {user}{actor}, {place}, {said}"),
        json!({
            "user_id": user,
            "project_id": token.project().map(|project| &project.id),
            "roles": roles,
            "expires_at": end,
        }),
    );
    if let Some(trust) = &token.trust {
        let id = &trust.chain().leaf().id;
        let found = facts::explained_trust(tx, id, desk.now(), &token.implications).await?;
        if let Some((whole, passes)) = found {
            say_trust(tx, &whole, &passes, words).await?;
        }
        if trust.evaluated.is_narrowed() {
            words.say(
                "narrowed",
                None,
                format!("the token asked for less than its trust gives: it is left {said}"),
            );
        } else if token.kind == Kind::Ec2 {
            words.say(
                "narrowed",
                None,
                format!("the keypair may be narrower than its trust: it is left {said}"),
            );
        }
    }
    if let Some(stored) = &token.application_credential {
        let own = &stored.credential;
        let may = match (&own.may_delegate, own.unrestricted) {
            (Some(_), _) => "it may delegate, within what it was allowed",
            (None, true) => "it is unrestricted, so it makes and deletes further ones",
            (None, false) => "it is restricted",
        };
        let text = format!("application credential {}: {may}", own.id);
        words.say_with("application_credential", None, text, json!({"application_credential_id": own.id}));
    }
    Ok(Subject { caller, text, is_held: true })
}

/// Why a token is dead, for an operator.
async fn say_dead(desk: Desk<'_>, tx: &mut Tx, text: &str, dead: &Dead, words: &mut Words) -> Result<()> {
    let reason = dead.reason();
    let by = match dead.ending() {
        None => String::new(),
        Some(ending) => {
            let what = match &ending.event {
                None => "a role that it carries was taken away".to_owned(),
                Some(event) => event_in_words(event),
            };
            format!(" ({what}, for tokens issued until {})", clock::iso(ending.at))
        }
    };
    let payload = token::read(desk.stage.app.auth(), text)?;
    let mut more = json!({"reason": reason.word()});
    if let (Some(payload), Some(more)) = (&payload, more.as_object_mut()) {
        more.insert("user_id".into(), payload.user.clone().into());
        more.insert("issued_at".into(), clock::iso(payload.issued).into());
        more.insert("expires_at".into(), clock::iso(payload.expires).into());
        more.insert("audit_ids".into(), json!(payload.audit_ids));
    }
    words.say_with("token", Some(false), format!("it is not valid: {}{by}", reason.meaning()), more);
    if let Some(trust) = payload.as_ref().and_then(|payload| payload.scope.trust()) {
        let implications = facts::implications(tx).await?;
        match facts::explained_trust(tx, trust, desk.now(), &implications).await? {
            Some((trust, passes)) => say_trust(tx, &trust, &passes, words).await?,
            None => words.say("trust", Some(false), format!("trust {trust} is not stored any more")),
        }
    }
    Ok(())
}

/// Which tokens a revocation ends.
fn event_in_words(event: &Event) -> String {
    let parts = [
        ("user", &event.user),
        ("domain", &event.domain),
        ("project", &event.project),
        ("role", &event.role),
        ("trust", &event.trust),
        ("consumer", &event.consumer),
        ("access token", &event.access_token),
        ("audit id", &event.audit),
        ("audit chain", &event.audit_chain),
    ];
    let parts: Vec<String> =
        parts.iter().filter_map(|(name, id)| Some(format!("{name} {}", id.as_ref()?))).collect();
    format!("a revocation of the tokens of {}", parts.join(" and "))
}

/// What a trust is worth, and what each link of its chain does.
async fn say_trust(tx: &mut Tx, trust: &EvaluatedTrust, passes: &[Passes], words: &mut Words) -> Result<()> {
    let chain = trust.chain();
    let leaf = chain.leaf();
    let of_passes = passes.iter().flat_map(|p| p.passes.iter().chain(&p.withholds).chain(&p.lacks));
    let names =
        named::names(tx, of_passes.chain(chain.links().iter().flat_map(|t| &t.roles)).collect()).await?;
    let list = |roles: &RoleSet| {
        let all: Vec<&str> =
            roles.iter().map(|id| names.get(id).map_or(id.as_str(), String::as_str)).collect();
        if all.is_empty() { "no role".to_owned() } else { all.join(", ") }
    };
    let status = trust.status();
    let why = status.reason().map(|why| format!(": {why}")).unwrap_or_default();
    words.say_with(
        "trust",
        Some(status.live().is_some()),
        format!("trust {} is {}{why}", leaf.id, status.word()),
        json!({"trust_id": leaf.id, "state": status.word(), "reason": status.reason()}),
    );
    for (depth, link) in chain.links().iter().enumerate() {
        let mut text =
            format!("link {depth}, trust {}: user {} delegates {}", link.id, link.trustor, list(&link.roles));
        text += &format!(" to user {} on project {}", link.trustee, link.project.as_deref().unwrap_or("-"));
        if let Some(adoption) = link.adoption.as_ref().filter(|_| depth == 0) {
            text += &format!("; it rests on user {}, who adopted it", adoption.by);
        }
        if let Some(id) = link.credential.as_ref().filter(|_| depth == 0) {
            text += &format!("; application credential {id} made it");
        }
        let mut more = link_to_json(link, depth);
        let mut allows = None;
        if let Some(own) = passes.get(depth).filter(|own| own.trust == link.id) {
            text += &format!("; passes on {}", list(&own.passes));
            if !own.withholds.is_empty() && depth > 0 {
                text += &format!("; keeps back {}", list(&own.withholds));
            }
            if !own.lacks.is_empty() {
                let holder =
                    if depth == 0 { format!("user {}", chain.holder()) } else { "the link above".into() };
                text += &format!("; {holder} does not have {}", list(&own.lacks));
                allows = Some(false);
            }
            let ids = [("passes_on", &own.passes), ("lacks", &own.lacks)];
            for (name, roles) in ids {
                more.as_object_mut().into_iter().for_each(|more| {
                    more.insert(name.to_owned(), json!(roles));
                });
            }
        }
        if let Some(held) = &link.suspension {
            text += &format!("; user {} suspended it: {}", held.by, held.reason);
            allows = Some(false);
        }
        words.say_with("link", allows, text, more);
    }
    Ok(())
}

fn link_to_json(link: &Trust, depth: usize) -> Value {
    json!({
        "trust_id": link.id,
        "depth": depth,
        "trustor_user_id": link.trustor,
        "trustee_user_id": link.trustee,
        "roles": link.roles,
        "impersonation": link.impersonation,
        "expires_at": link.until.to_option().map(clock::iso),
        "redelegation_count": link.hops,
    })
}

/// What whoever uses a living trust has to fulfil.
fn say_conditions(leaf: &Trust, authority: &Authority, words: &mut Words) {
    let terms = &authority.terms;
    let seconds = |span: i64| span / clock::SECOND;
    let mut all =
        vec![format!("user {} uses it, with a login or an undelegated token of theirs", leaf.trustee)];
    if let Some(age) = terms.max_login_age {
        all.push(format!("they logged in at most {} seconds ago (max_login_age)", seconds(age)));
    }
    if !terms.required_methods.is_empty() {
        let methods: Vec<&str> = terms.required_methods.iter().map(String::as_str).collect();
        all.push(format!("by {} (required_methods)", methods.join(" and ")));
    }
    if leaf.external_id.is_some() {
        all.push("they present its external_id".to_owned());
    }
    if let Some(binding) = &leaf.binding {
        all.push(match binding {
            Binding::Signed { issuer, subject, .. } => {
                format!("they logged in as the workload {subject} of {issuer} (trustee_binding)")
            }
            Binding::Certificate(thumbprint) => {
                format!("their connection has the certificate {thumbprint} (trustee_binding)")
            }
        });
    }
    if let Some(uses) = leaf.remaining_uses {
        all.push(format!("{uses} uses are left"));
    }
    if let Some(longest) = terms.max_token_ttl {
        all.push(format!("its tokens live {} seconds at most (max_token_ttl)", seconds(longest)));
    }
    words.say("condition", None, all.join("; "));
}

/// The trust's state, where it gives nothing.
pub(super) fn gives_nothing(status: &TrustStatus) -> Option<String> {
    let why = status.reason().map(|why| format!(": {why}")).unwrap_or_default();
    status.live().is_none().then(|| format!("the trust is {}{why}", status.word()))
}

/// The one answer for whatever is no token of the asker's.
fn no_token(of: &str) -> Error {
    Error::NotFoundBecause(format!("explain.{of}.token: there is no such token, or it is not yours."))
}
