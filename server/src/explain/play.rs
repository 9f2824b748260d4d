//! Plays the request that a question comes to, and says what decided. Of objects that the asker may not read nothing is said but
//! what would be said of objects that are not there: the request is played with ids that nobody has.

use axum::body::Bytes;
use axum::http::{Method, Request as HttpRequest, header};
use vicar_rules::ceiling::{Above, Holder};
use vicar_rules::policy::{Decision, Facts};
use vicar_rules::refusal::Refusal;
use vicar_rules::roles::RoleSet;
use vicar_rules::token::{Kind, needs};

use super::Desk;
use super::act::{self, Act, TRUSTEE};
use super::step::{Detail, Words};
use super::subject::{Subject, gives_nothing, may_name};
use crate::authz::{Caller, SlowWork, Watched};
use crate::dispatch::{End, Route, Shape, rehearse};
use crate::error::{Error, Result};
use crate::facts::{self, Place};
use crate::http::Request;
use crate::http::request::{AUTH_TOKEN, Read, SUBJECT_TOKEN};
use crate::ids;
use crate::line::Line;
use crate::reason::Reason;
use crate::store::Tx;

/// Whether it is allowed, and what was asked.
struct Played {
    end: End,
    watched: Watched,
    /// To whom a trust would go is open: the asker named nobody whom they may see.
    is_trustee_open: bool,
}

/// Plays it, and tells. Returns whether it is allowed.
///
/// # Errors
/// 400 that names the field, as [`rehearse`].
pub(super) async fn play(
    desk: Desk<'_>,
    mut tx: Tx,
    slow: &mut SlowWork,
    subject: &Subject,
    act: Act,
    words: &mut Words,
) -> Result<(Tx, bool)> {
    if let Some(text) = act.target.get("token") {
        may_name(desk, &mut tx, text).await?;
    }
    // What a trust lets its trustee see may be more than the asker may; and what a body names may be found out by what it leads to.
    let mut unseen = Vec::new();
    if !desk.is_operator {
        let first = if subject.is_held { Which::InBody } else { Which::All };
        (tx, unseen) = all_unseen(desk, tx, slow, subject, &act, first).await?;
    }
    if !unseen.is_empty() {
        return unknown(desk, tx, slow, subject, (&act, &unseen), words).await;
    }
    let played;
    (tx, played) = once(desk, tx, slow, subject, &act).await?;
    if subject.is_held && !desk.is_operator {
        (tx, unseen) = all_unseen(desk, tx, slow, subject, &act, Which::All).await?;
    }
    // What is wrong with a request may depend on what is there, too.
    let is_refused = match &played.end {
        End::Served => false,
        End::Refused(e) => is_of_authority(e) || !policy_allows(&played),
    };
    if is_refused && !unseen.is_empty() {
        return unknown(desk, tx, slow, subject, (&act, &unseen), words).await;
    }
    let is_list = act.route.answers.iter().any(|a| matches!(a.shape, Shape::Page(_) | Shape::Whole(_)));
    // A trust is judged by more than it shows: by the domain of its project, for example.
    let is_of_trust = act.named().any(|(name, _)| kind_of(name) == "trust_id");
    let hides = !desk.is_operator && (is_list || is_of_trust || !unseen.is_empty());
    tell(desk, subject, &act, &played, if hides { Shown::Checks } else { Shown::All }, words);
    conclude(desk, tx, slow, subject, &act, &played, words).await
}

/// What is said where the asker does not see some of the objects: what would be said if nobody had those ids.
async fn unknown(
    desk: Desk<'_>,
    tx: Tx,
    slow: &mut SlowWork,
    subject: &Subject,
    (act, unseen): (&Act, &[String]),
    words: &mut Words,
) -> Result<(Tx, bool)> {
    let other = act.with_others(unseen, ids::uuid);
    let (tx, played) = once(desk, tx, slow, subject, &other).await?;
    tell(desk, subject, &other, &played, Shown::Nothing, words);
    let text = format!(
        "{} {}: it is not allowed on this object, or there is none of that id, or it is not for you to see",
        act.method, act.route.path
    );
    words.say("target", Some(false), text);
    Ok((tx, false))
}

/// How much is told of what was compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    All,
    Checks,
    Nothing,
}

/// What the request asked on its way.
fn tell(desk: Desk<'_>, subject: &Subject, act: &Act, played: &Played, shown: Shown, words: &mut Words) {
    if let Some(token) = subject.token()
        && token.access.is_limited()
        && act.route.path != "/v3/auth/tokens"
    {
        let allows = !matches!(played.end, End::Refused(Error::Unauthorized(Reason::AccessRules)));
        let rules = super::step::verdict("the access rules", allows);
        let of = if shown == Shown::Nothing { act.route.path.to_owned() } else { act.uri() };
        words.rules(Some(allows), format!("{rules}: {} {of} of identity", act.method), subject);
    }
    words.kinds(subject.caller.kind(), &played.watched);
    // What the policy says of an id that nobody has would be taken for what it says of theirs.
    if shown == Shown::Nothing {
        return;
    }
    let policy = desk.stage.policy;
    words.policy(policy, &played.watched, |op| match shown {
        _ if !desk.is_operator && !policy.is_shipped(op) => Detail::Verdict,
        Shown::All => Detail::All,
        Shown::Checks | Shown::Nothing => Detail::Checks,
    });
}

/// How it ends, in words.
async fn conclude(
    desk: Desk<'_>,
    mut tx: Tx,
    slow: &mut SlowWork,
    subject: &Subject,
    act: &Act,
    played: &Played,
    words: &mut Words,
) -> Result<(Tx, bool)> {
    let request = format!("{} {}", act.method, act.uri());
    let policy_allows = policy_allows(played);
    let allowed = match &played.end {
        End::Served => true,
        End::Refused(e) if played.is_trustee_open && e.message().starts_with(TRUSTEE) => true,
        // What is missing is of the made-up body, unless it is what the path names.
        End::Refused(e @ (Error::NotFound(..) | Error::NotFoundBecause(_)))
            if act.has_made_up_body() && policy_allows && !act.path_names(e) =>
        {
            true
        }
        End::Refused(Error::AboveCeiling(above)) => {
            let is_seen;
            (tx, is_seen) = is_ceiling_seen(desk, tx, slow, subject, above).await?;
            let text = if is_seen {
                above.to_string()
            } else {
                "a delegation policy refuses it, which is not for you to see".into()
            };
            words.say("rule", Some(false), text);
            false
        }
        End::Refused(e) if is_of_authority(e) => {
            tx = refused(desk, tx, act, played, e, words).await?;
            false
        }
        // Nothing that has to do with authority: what is in the body is made up.
        End::Refused(_) if policy_allows => true,
        End::Refused(_) => return Ok((tx, by_row(desk, subject, act, words)?)),
    };
    if allowed {
        if played.is_trustee_open && act.is_trust() {
            let text = match &played.end {
                End::Served => {
                    "to whom is not looked at: there may be no such user, or they may not be a trustee"
                }
                End::Refused(_) => {
                    "to whom is not looked at, and not everybody may be a trustee: a delegation policy names some, or the registry"
                }
            };
            words.say("trustee", None, text);
        }
        words.say("request", Some(true), format!("{request} is allowed"));
    }
    Ok((tx, allowed))
}

/// Whether the policy has allowed something of it.
fn policy_allows(played: &Played) -> bool {
    played.watched.asked.iter().any(|asked| asked.explanation.decision == Decision::Allowed)
}

/// Whether somebody is refused, and not only their request.
fn is_of_authority(e: &Error) -> bool {
    matches!(
        e,
        Error::Unauthorized(_)
            | Error::UnauthorizedBecause(..)
            | Error::Forbidden(_)
            | Error::AboveCeiling(_)
            | Error::NotPermitted(_)
            | Error::NotFound(..)
            | Error::NotFoundBecause(_)
            | Error::RefusedAsAbsent(..)
    )
}

async fn refused(
    desk: Desk<'_>,
    mut tx: Tx,
    act: &Act,
    played: &Played,
    e: &Error,
    words: &mut Words,
) -> Result<Tx> {
    // A trust that is there may be why.
    let trust = act.named().find(|(name, _)| *name == "trust_id").map(|(_, id)| id.to_owned());
    let mut of_trust = None;
    if let (Some(id), false) = (trust, matches!(e, Error::NotPermitted(_))) {
        let implications = facts::implications(&mut tx).await?;
        let found = facts::evaluated_trust(&mut tx, &id, desk.now(), &implications).await?;
        of_trust = found.and_then(|trust| gives_nothing(trust.status()));
    }
    match e {
        // The trust tells more exactly why.
        Error::Unauthorized(Reason::TrustSuspended | Reason::TrustOver) if of_trust.is_some() => {}
        // The policy has been told.
        Error::NotPermitted(_) => {}
        Error::Unauthorized(Reason::AccessRules) if act.route.path != "/v3/auth/tokens" => {}
        Error::Forbidden(text) => {
            let is_told =
                |answer: &Result<(), Refusal>| answer.as_ref().is_err_and(|r| r.to_string() == *text);
            if !played.watched.acts.iter().any(|(_, answer)| is_told(answer)) {
                words.say("rule", Some(false), text.as_str());
            }
        }
        Error::Unauthorized(reason)
        | Error::UnauthorizedBecause(reason, _)
        | Error::RefusedAsAbsent(reason, _) => {
            words.say("rule", Some(false), reason.meaning());
        }
        other => words.say("target", Some(false), other.message()),
    }
    if let Some(why) = of_trust {
        words.say("target", Some(false), why);
    }
    Ok(tx)
}

/// What the row of the operation alone says, where the request does not come so far without its real body.
fn by_row(desk: Desk<'_>, subject: &Subject, act: &Act, words: &mut Words) -> Result<bool> {
    let unknown = || {
        Error::field(
            "explain.operation",
            "depends on the body of the request, so it cannot be explained by ids",
        )
    };
    let op = act.operation.ok_or_else(unknown)?.op;
    let policy = desk.stage.policy;
    let facts = Facts::none();
    let decided = policy.explain(op, subject.caller.subject(), &facts, &|_| Some(None));
    if decided.rule.holds.is_none() && decided.before.is_none() && policy.is_shipped(op) {
        return Err(unknown());
    }
    let is_hidden = !desk.is_operator && !policy.is_shipped(op);
    words.decided(policy, op, &facts, &decided, if is_hidden { Detail::Verdict } else { Detail::All });
    let mut allowed = decided.decision == Decision::Allowed;
    if let (true, Some(need)) = (allowed, needs(op)) {
        let answer = subject.caller.may(desk.stage.app, need);
        allowed = answer.is_ok();
        words.kind(subject.caller.kind(), need, &answer);
    }
    if allowed {
        words.say("request", None, "what else it depends on is in the body of the request");
    }
    Ok(allowed)
}

/// Plays it once.
async fn once(
    desk: Desk<'_>,
    mut tx: Tx,
    slow: &mut SlowWork,
    subject: &Subject,
    act: &Act,
) -> Result<(Tx, Played)> {
    let own = subject.caller.user_id();
    let mut trustee = None;
    if act.is_trust()
        && let Some(id) = act.target.get(TRUSTEE)
    {
        let is_seen;
        (tx, is_seen) = is_trustee_seen(desk, tx, slow, subject, id).await?;
        trustee = Some(id.as_str()).filter(|_| is_seen);
    }
    let body = act::body(desk, subject, act, trustee.unwrap_or(own))?;
    let body = body.map(|body| body.to_string().into()).unwrap_or_default();
    let about = match act.route.header {
        Some(_) => act.target.get("token").or(subject.text.as_ref()),
        None => None,
    };
    let text = (subject.text.as_deref(), about.map(String::as_str));
    let request = request(desk, &act.method, &act.uri(), text, body, &act.params)?;
    let (tx, end, watched) = rehearse(act.route, desk.stage, &request, &subject.caller, tx, slow).await?;
    Ok((tx, Played { end, watched, is_trustee_open: act.is_trust() && trustee.is_none() }))
}

fn request(
    desk: Desk<'_>,
    method: &Method,
    uri: &str,
    (text, about): (Option<&str>, Option<&str>),
    body: Bytes,
    params: &[(&'static str, String)],
) -> Result<Request> {
    let mut made =
        HttpRequest::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in [(AUTH_TOKEN, text), (SUBJECT_TOKEN, about)] {
        if let Some(value) = value {
            made = made.header(name, value);
        }
    }
    let made = made.body(()).map_err(|_| Error::field("explain.path", "is no path"))?;
    let (parts, ()) = made.into_parts();
    let encoded = params.iter().map(|(name, id)| (*name, crate::http::link::path_segment(id).to_string()));
    // What it notes is noted nowhere.
    let read = Read { parts, body, links: desk.links.clone(), line: Line::default(), id: String::new() };
    Request::new(read, encoded)
}

/// Which ids are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those that are in no path.
    InBody,
}

/// The ids that the asker may not see, by nothing that they have.
async fn all_unseen(
    desk: Desk<'_>,
    mut tx: Tx,
    slow: &mut SlowWork,
    subject: &Subject,
    act: &Act,
    which: Which,
) -> Result<(Tx, Vec<String>)> {
    let mut unseen = Vec::new();
    let askers: Vec<&Caller> =
        desk.asker.into_iter().chain(Some(&subject.caller).filter(|_| subject.is_held)).collect();
    for (name, id) in act.named().filter(|(name, _)| which == Which::All || act.target.contains_key(*name)) {
        let mut seen = false;
        for asker in &askers {
            if !seen {
                (tx, seen) = is_seen(desk, tx, slow, (asker, subject), act, name, id).await?;
            }
        }
        if !seen {
            unseen.push(id.to_owned());
        }
    }
    Ok((tx, unseen))
}

/// Whether somebody may see a trustee: they are registered, or may be read.
async fn is_trustee_seen(
    desk: Desk<'_>,
    mut tx: Tx,
    slow: &mut SlowWork,
    subject: &Subject,
    id: &str,
) -> Result<(Tx, bool)> {
    if desk.is_operator || facts::ceilings::is_registered(&mut tx, id).await? {
        return Ok((tx, true));
    }
    let askers = desk.asker.into_iter().chain(Some(&subject.caller).filter(|_| subject.is_held));
    for asker in askers {
        if asker.user_id() == id {
            return Ok((tx, true));
        }
        let seen;
        (tx, seen) =
            can_get(desk, tx, slow, (asker, subject), "/v3/users/{user_id}", &[("user_id", id)]).await?;
        if seen {
            return Ok((tx, true));
        }
    }
    Ok((tx, false))
}

/// Whether somebody may see what a ceiling is: the token is theirs, or the trust is for them, so that they are told when
/// they try; or they may read the delegation policy.
async fn is_ceiling_seen(
    desk: Desk<'_>,
    tx: Tx,
    slow: &mut SlowWork,
    subject: &Subject,
    above: &Above,
) -> Result<(Tx, bool)> {
    let Some(asker) = desk.asker.filter(|_| !subject.is_held && !desk.is_operator) else {
        return Ok((tx, true));
    };
    let trust = subject.token().and_then(|token| token.trust.as_ref());
    if trust.is_some_and(|trust| trust.chain().leaf().trustee == asker.user_id()) {
        return Ok((tx, true));
    }
    let (path, name, id) = match &above.holder {
        Holder::Domain(id) => ("/v3/domains/{domain_id}/delegation_policy", "domain_id", id),
        Holder::Project(id) => ("/v3/projects/{project_id}/delegation_policy", "project_id", id),
        Holder::User(id) => ("/v3/users/{user_id}/delegation_policy", "user_id", id),
        Holder::Trustee(id) => ("/v3/OS-TRUST/services", "user_id", id),
    };
    can_get(desk, tx, slow, (asker, subject), path, &[(name, id)]).await
}

/// The roles that a user holds in a place.
async fn held(tx: &mut Tx, user: &Caller, place: Place<'_>) -> Result<RoleSet> {
    let implications = user.implications(tx).await?;
    Ok(facts::effective_roles(tx, user.user_id(), place, &implications).await?)
}

/// Whether somebody may see an object: it is their own, or a request that reads it is served.
async fn is_seen(
    desk: Desk<'_>,
    mut tx: Tx,
    slow: &mut SlowWork,
    (asker, subject): (&Caller, &Subject),
    act: &Act,
    name: &str,
    id: &str,
) -> Result<(Tx, bool)> {
    let kind = kind_of(name);
    let token = asker.token();
    let own_project = token.and_then(|t| t.project()).map(|project| project.id.as_str());
    let is_login = asker.kind() == Kind::Login;
    let seen = match kind {
        "user_id" => asker.user_id() == id,
        "role_id" if token.is_some_and(|t| t.roles.iter().any(|role| role.id == id)) => true,
        // On the project that the request is about.
        "role_id" if is_login => match act.target.get("project_id") {
            Some(project) => held(&mut tx, asker, Place::Project(project)).await?.contains(id),
            None => false,
        },
        "project_id" if own_project == Some(id) => true,
        // They find it among those that they can get a token for.
        "project_id" if is_login => !held(&mut tx, asker, Place::Project(id)).await?.is_empty(),
        "domain_id" if is_login => !held(&mut tx, asker, Place::Domain(id)).await?.is_empty(),
        _ => false,
    };
    if seen {
        return Ok((tx, true));
    }
    let known = [(kind, id)];
    let path = match kind {
        "user_id" => "/v3/users/{user_id}",
        "project_id" => "/v3/projects/{project_id}",
        "domain_id" => "/v3/domains/{domain_id}",
        "role_id" => "/v3/roles/{role_id}",
        "trust_id" => "/v3/OS-TRUST/trusts/{trust_id}/lineage",
        _ => {
            let all: Vec<(&str, &str)> = act.named().collect();
            return match reads(desk.routes, act.route, name, &all) {
                Some(path) => can_get(desk, tx, slow, (asker, subject), path, &all).await,
                None => Ok((tx, false)),
            };
        }
    };
    can_get(desk, tx, slow, (asker, subject), path, &known).await
}

/// What an id of this name is of: of several names of one kind of object, the first.
fn kind_of(name: &str) -> &str {
    let kinds = [
        ("user_id", "user_id"),
        ("project_id", "project_id"),
        ("parent_id", "project_id"),
        ("domain_id", "domain_id"),
        ("role_id", "role_id"),
        ("trust_id", "trust_id"),
    ];
    kinds.iter().find(|(end, _)| name.ends_with(end)).map_or(name, |(_, kind)| *kind)
}

/// The path that shows an object of this name: the played one or one above it, else the shortest.
fn reads(
    routes: &'static [Route],
    played: &Route,
    name: &str,
    known: &[(&str, &str)],
) -> Option<&'static str> {
    let last = format!("/{{{name}}}");
    let fits = |route: &&Route| {
        route.method == Method::GET
            && route.path.ends_with(&last)
            && route.params().all(|param| known.iter().any(|(known, _)| *known == param))
    };
    let above = |route: &&Route| played.path.starts_with(route.path);
    let all = routes.iter().filter(fits);
    all.min_by_key(|route| (!above(route), route.path.split('/').count())).map(|route| route.path)
}

/// Whether somebody may read what is at a path.
async fn can_get(
    desk: Desk<'_>,
    tx: Tx,
    slow: &mut SlowWork,
    (asker, subject): (&Caller, &Subject),
    path: &'static str,
    known: &[(&str, &str)],
) -> Result<(Tx, bool)> {
    let Some(route) = desk.routes.iter().find(|route| route.method == Method::GET && route.path == path)
    else {
        return Ok((tx, false));
    };
    let params = route.params().filter_map(|name| {
        known.iter().find(|(known, _)| *known == name).map(|(_, id)| (name, (*id).to_owned()))
    });
    let act = Act {
        route,
        operation: None,
        method: Method::GET,
        params: params.collect(),
        written: None,
        query: String::new(),
        target: Default::default(),
    };
    let text =
        if std::ptr::eq(asker, &raw const subject.caller) { subject.text.as_deref() } else { desk.presents };
    let request = request(desk, &Method::GET, &act.uri(), (text, None), Bytes::new(), &act.params)?;
    let (tx, end, _) = rehearse(route, desk.stage, &request, asker, tx, slow).await?;
    Ok((tx, matches!(end, End::Served)))
}
