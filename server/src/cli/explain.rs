//! `vicar policy show` and `vicar policy explain`: the rules in force as a table, and why one decides as it does.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use clap::Args;
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use vicar_rules::policy::{Decision, Explanation, Fact, Facts, OPERATIONS, Operation, Reason};

use super::failure::Failure;
use super::installation::{self, Installation};
use super::{nearest, policy, print};
use crate::app::App;
use crate::authz::{Asked, Caller, watch};
use crate::dispatch::Route;
use crate::http::link;
use crate::line::Line;
use crate::policy_file::Loaded;
use crate::routes::{self, ROUTES};

/// `vicar policy show`
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    at: Installation,
    /// Only operations of this name or with this in their names, or those that this path asks for, with a method before it
    /// or without: `get_user`, `/v3/users/{user_id}`, `DELETE /v3/users/8f1c`
    filter: Option<String>,
    /// A policy file, in the place of those that the configuration leads to
    #[arg(long)]
    file: Option<PathBuf>,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let loaded = policy::load(&self.at, self.file.as_deref())?;
        let filter = self.filter.as_deref().unwrap_or_default();
        let shown: Vec<&Operation> = OPERATIONS.iter().filter(|row| fits(row, filter)).collect();
        if shown.is_empty() {
            return Err(Failure::Usage(match nearest::operation(filter) {
                Some(name) => format!("no operation is named `{filter}`; did you mean {name}?"),
                None => match method_and_path(filter) {
                    Some((method, path)) => not_asked(method, path),
                    None => format!("no operation is named `{filter}`"),
                },
            }));
        }
        let rules = loaded.policy.effective();
        let rule =
            |row: &Operation| rules.iter().find(|rule| rule.name == row.name).map_or(row.rule, |r| r.text);
        if self.json {
            let all = shown.iter().map(|row| {
                json!({
                    "operation": row.name,
                    "rule": rule(row),
                    "scopes": row.scope_words().split(", ").collect::<Vec<_>>(),
                    "source": policy::source(&loaded, row.name),
                    "routes": asking(row).map(|route| format!("{route:?}")).collect::<Vec<_>>(),
                })
            });
            print(Value::Array(all.collect()));
            return Ok(());
        }
        for row in shown {
            print(row.name);
            print(format_args!("  rule    {}", rule(row)));
            print(format_args!("  scopes  {}", row.scope_words()));
            print(format_args!("  from    {}", policy::source(&loaded, row.name)));
            for (n, route) in asking(row).enumerate() {
                print(format_args!("  {:<6}  {route:?}", if n == 0 { "routes" } else { "" }));
            }
        }
        Ok(())
    }
}

/// The routes that ask for an operation.
fn asking(row: &Operation) -> impl Iterator<Item = &'static Route> {
    let op = row.op;
    ROUTES.iter().filter(move |route| route.declared.ops.contains(&op))
}

fn fits(row: &Operation, filter: &str) -> bool {
    match method_and_path(filter) {
        Some((method, path)) => asking(row).any(|route| serves(route, method, path)),
        None => row.name.contains(filter),
    }
}

/// Why no operation is asked for by this path: it is not served, or not with this method, or without being asked.
fn not_asked(method: Option<&str>, path: &str) -> String {
    let on_path: Vec<&Route> = ROUTES.iter().filter(|route| serves(route, None, path)).collect();
    let path = path.split('?').next().unwrap_or_default();
    match method {
        _ if on_path.is_empty() => format!("no route has this path: {path}"),
        Some(method) if !on_path.iter().any(|route| serves(route, Some(method), path)) => {
            format!("{path} is served with {}, and not with {method}", methods(&on_path).join(", "))
        }
        Some(method) => format!("no operation is asked for by {method} {path}"),
        None => format!("no operation is asked for by {path}"),
    }
}

/// The methods of routes. Each `GET` is a `HEAD` too.
fn methods<'a>(routes: &[&'a Route]) -> Vec<&'a str> {
    let mut all = Vec::new();
    for route in routes {
        let method = route.method.as_str();
        let more = (route.method == Method::GET).then_some("HEAD");
        for method in [method].into_iter().chain(more) {
            if !all.contains(&method) {
                all.push(method);
            }
        }
    }
    all
}

/// `GET /v3/users`, or a path alone.
pub(super) fn method_and_path(text: &str) -> Option<(Option<&str>, &str)> {
    match text.split_once(' ') {
        Some((method, path)) if path.starts_with('/') => Some((Some(method), path)),
        _ => text.starts_with('/').then_some((None, text)),
    }
}

/// Whether a route has this path, with its names or with ids.
fn serves(route: &Route, method: Option<&str>, path: &str) -> bool {
    let parts = |path: &'_ str| -> Vec<String> {
        let path = path.split('?').next().unwrap_or_default();
        path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (own, asked) = (parts(route.path), parts(path));
    let is_method = method.is_none_or(|m| {
        route.method.as_str().eq_ignore_ascii_case(m)
            || route.method == Method::GET && m.eq_ignore_ascii_case("HEAD")
    });
    is_method
        && own.len() == asked.len()
        && own.iter().zip(&asked).all(|(name, part)| name.starts_with('{') || name == part)
}

/// `vicar policy explain`
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    at: Installation,
    /// An operation (`identity:delete_user`), or a request (`DELETE /v3/users/8f1c`), which is judged by what is stored of
    /// its object. Nothing is written
    what: String,
    /// The token of the caller; others on this machine can see it. Without it and --token-file it is read from
    /// standard input
    #[arg(long, conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the token, `-` for standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A fact of an operation's object; may be given several times: `target.user.domain_id=default`. `null` is null
    #[arg(long, value_name = "KEY=VALUE")]
    target: Vec<String>,
    /// A part of the path of an operation's route, which leads to its object: `user_id=8f1c`. May be given several times
    #[arg(long = "object", value_name = "NAME=ID", conflicts_with = "target")]
    objects: Vec<String>,
    /// A file with the body of the request, where one is needed
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A policy file, in the place of those that the configuration leads to
    #[arg(long)]
    file: Option<PathBuf>,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

/// What there is to tell.
struct Told {
    caller: Caller,
    asked: Vec<Asked>,
    /// How the request would be answered, if one was made.
    answer: Option<(u16, String)>,
}

impl Explain {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut config = self.at.config()?;
        if let Some(file) = &self.file {
            config.policy.file =
                Some(std::path::absolute(file).unwrap_or_else(|_| file.clone()).display().to_string());
            config.policy.dirs.clear();
        }
        let store = installation::open_current_read_only(&config.database).await?;
        let app = App::new(config, store, installation::clock()).map_err(Failure::Config)?;
        let text = self.token()?;
        let caller = authenticate(&app, text.trim()).await?;
        let told = match self.request()? {
            Some((method, path)) => self.ask(&app, caller, text.trim(), &method, &path).await?,
            None => self.judge(&app, caller)?,
        };
        let rules = app.rules();
        if self.json {
            print(told.to_json(&rules.loaded))
        } else {
            told.print(&rules.loaded)
        }
        Ok(())
    }

    fn token(&self) -> Result<String, Failure> {
        let wrong = |e: std::io::Error| Failure::Io(format!("the token cannot be read: {e}"));
        match (&self.token, &self.token_file) {
            (Some(text), _) => Ok(text.clone()),
            (None, Some(file)) if file != Path::new("-") => {
                std::fs::read_to_string(file).map_err(|e| Failure::Io(format!("{}: {e}", file.display())))
            }
            _ => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map_err(wrong)?;
                Ok(text)
            }
        }
    }

    /// The request to make, if it is one that is asked for.
    fn request(&self) -> Result<Option<(Method, String)>, Failure> {
        if let Some((method, path)) = method_and_path(&self.what) {
            let method = Method::try_from(method.unwrap_or("GET").to_uppercase().as_str());
            let method = method.map_err(|_| Failure::Usage(format!("`{}` has no method", self.what)))?;
            return Ok(Some((method, path.to_owned())));
        }
        if self.objects.is_empty() {
            return Ok(None);
        }
        let row = self.operation()?;
        let given: Vec<(&str, &str)> = pairs(&self.objects)?;
        let has_all =
            |route: &&Route| route.params().all(|name| given.iter().any(|(given, _)| *given == name));
        let route = asking(row).filter(has_all).max_by_key(|route| route.params().count());
        let route = route.ok_or_else(|| {
            let routes: Vec<String> = asking(row).map(|route| format!("{route:?}")).collect();
            Failure::Usage(format!(
                "--object names not all that is in a path of {}: {}",
                row.name,
                routes.join(", ")
            ))
        })?;
        let path = given.iter().fold(route.path.to_owned(), |path, (name, id)| {
            path.replace(&format!("{{{name}}}"), &link::path_segment(id).to_string())
        });
        Ok(Some((route.method.clone(), path)))
    }

    fn operation(&self) -> Result<&'static Operation, Failure> {
        OPERATIONS.iter().find(|row| row.name == self.what).ok_or_else(|| {
            Failure::Usage(match nearest::operation(&self.what) {
                Some(name) => format!("no operation is named `{}`; did you mean {name}?", self.what),
                None => format!("no operation is named `{}`; `vicar policy show` names all", self.what),
            })
        })
    }

    /// Judges an operation by the facts that are given.
    fn judge(&self, app: &App, caller: Caller) -> Result<Told, Failure> {
        let row = self.operation()?;
        let mut facts = Facts::none();
        for (key, value) in pairs(&self.target)? {
            let fact = Fact::named(key)
                .ok_or_else(|| Failure::Usage(format!("`{key}` is no fact that policy can see here")))?;
            facts = facts.with_opt(fact, Some(value).filter(|value| *value != "null"));
        }
        let rules = app.rules();
        let explanation = rules.loaded.policy.explain(row.op, caller.subject(), &facts, &|_| None);
        Ok(Told { caller, asked: vec![Asked { op: row.op, facts, explanation }], answer: None })
    }

    /// Runs a request up to its first write, and looks what it asks.
    async fn ask(
        &self,
        app: &Arc<App>,
        caller: Caller,
        token: &str,
        method: &Method,
        path: &str,
    ) -> Result<Told, Failure> {
        if !ROUTES.iter().any(|route| serves(route, Some(method.as_str()), path)) {
            return Err(Failure::Usage(not_asked(Some(method.as_str()), path)));
        }
        let body = match &self.body {
            Some(file) => std::fs::read(file).map_err(|e| Failure::Io(format!("{}: {e}", file.display())))?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("X-Auth-Token", token)
            .header("Content-Type", "application/json")
            .body(Body::from(body))
            .map_err(|e| Failure::Usage(format!("{method} {path}: {e}")))?;
        let (answer, watched) = watch(routes::public(Arc::clone(app)).oneshot(request)).await;
        let asked = watched.asked;
        let Ok(answer) = answer;
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = match body.pointer("/error/message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None => status.canonical_reason().unwrap_or_default().to_owned(),
        };
        Ok(Told { caller, asked, answer: Some((status.as_u16(), text)) })
    }
}

/// The caller behind a token.
async fn authenticate(app: &App, text: &str) -> Result<Caller, Failure> {
    app.token_keys.current().map_err(Failure::Keys)?;
    let mut tx = app.store.read().await?;
    Caller::authenticate(&mut tx, app, text, &Line::default(), app.clock.now()).await.map_err(|e| {
        match e.reason() {
            Some(reason) => Failure::Failed(format!("the token is not valid: {}", reason.word())),
            None => Failure::from(e),
        }
    })
}

/// `NAME=VALUE`, several times.
pub(super) fn pairs(all: &[String]) -> Result<Vec<(&str, &str)>, Failure> {
    let pair = |text: &'_ String| -> Result<(usize, usize), Failure> {
        text.find('=')
            .map(|at| (at, at + 1))
            .ok_or_else(|| Failure::Usage(format!("`{text}` is not of the form NAME=VALUE")))
    };
    let mut out = Vec::new();
    for text in all {
        pair(text)?;
        out.extend(text.split_once('='));
    }
    Ok(out)
}

impl Told {
    fn print(&self, loaded: &Loaded) {
        print(format_args!("token: {}", self.caller_in_words()));
        for asked in &self.asked {
            let row = asked.op.row();
            print("");
            print(format_args!("{}: {}", row.name, decision(&asked.explanation)));
            if let Some(before) = &asked.explanation.before {
                print(format_args!("  because {before}"));
            }
            for (fact, values) in asked.facts.iter() {
                let values = if values.is_empty() { "null".to_owned() } else { values.join(" or ") };
                print(format_args!("  fact  {} = {values}", fact.key()));
            }
            print_reason(loaded, &asked.explanation.rule, 1);
        }
        match &self.answer {
            Some((status, text)) if self.asked.is_empty() => {
                print(format_args!("\nthe policy is not asked: {status} {text}"));
            }
            Some((202, _)) => print("\nthe request is allowed; it was ended before it wrote anything"),
            Some((status, text)) => print(format_args!("\nthe request is answered with {status}: {text}")),
            None => {}
        }
    }

    fn caller_in_words(&self) -> String {
        let subject = self.caller.subject();
        if subject.admin_token {
            return "[DEFAULT] admin_token".to_owned();
        }
        let roles = if subject.roles.is_empty() { "no role".to_owned() } else { subject.roles.join(", ") };
        format!("user {}, {:?}, {roles}", subject.user, self.caller.kind()) + &scope(&self.caller)
    }

    fn to_json(&self, loaded: &Loaded) -> Value {
        let subject = self.caller.subject();
        let decisions = self.asked.iter().map(|asked| {
            let facts: Map<String, Value> =
                asked.facts.iter().map(|(fact, values)| (fact.key().to_owned(), json!(values))).collect();
            json!({
                "operation": asked.op.row().name,
                "allowed": asked.explanation.decision == Decision::Allowed,
                "before_the_rule": asked.explanation.before,
                "facts": facts,
                "rule": reason_to_json(loaded, &asked.explanation.rule),
            })
        });
        let answer = self.answer.as_ref().map(|(status, text)| json!({"status": status, "message": text}));
        json!({
            "token": {"user_id": subject.user, "roles": subject.roles},
            "decisions": decisions.collect::<Vec<_>>(),
            "answer": answer,
        })
    }
}

fn scope(caller: &Caller) -> String {
    use vicar_rules::policy::Scope;
    match &caller.subject().scope {
        Scope::Unscoped => ", without a scope".into(),
        Scope::Project { id, .. } => format!(" on project {id}"),
        Scope::Domain(id) => format!(" on domain {id}"),
        Scope::System => " on the system".into(),
    }
}

fn decision(of: &Explanation) -> String {
    match &of.decision {
        Decision::Allowed => "allowed".into(),
        Decision::Refused => "refused".into(),
        Decision::Ask(url) => format!("{url} decides"),
    }
}

/// The file that a rule is from, beside a reference to it.
fn from(loaded: &Loaded, reason: &Reason) -> Option<String> {
    reason.check.strip_prefix("rule:").map(|name| policy::source(loaded, name))
}

fn print_reason(loaded: &Loaded, reason: &Reason, depth: usize) {
    let word = match reason.holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    let from = from(loaded, reason).map(|from| format!(" ({from})")).unwrap_or_default();
    let because = if reason.because.is_empty() { String::new() } else { format!(": {}", reason.because) };
    print(format_args!("{:indent$}{word:<4}{}{from}{because}", "", reason.check, indent = depth * 2));
    for below in &reason.of {
        print_reason(loaded, below, depth + 1);
    }
}

fn reason_to_json(loaded: &Loaded, reason: &Reason) -> Value {
    json!({
        "check": reason.check,
        "holds": reason.holds,
        "because": reason.because,
        "source": from(loaded, reason),
        "of": reason.of.iter().map(|below| reason_to_json(loaded, below)).collect::<Vec<_>>(),
    })
}
