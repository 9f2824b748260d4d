//! `vicar why`: why a token or a trust may do something or not, for the operator at the machine.

use std::io::Read;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use clap::Args;
use serde_json::Value;
use vicar_rules::policy::OPERATIONS;

use super::explain::{method_and_path, pairs};
use super::failure::Failure;
use super::installation::{self, Installation};
use super::{EXIT_CODES, before, nearest, print};
use crate::app::App;
use crate::authz::SlowWork;
use crate::dispatch::Stage;
use crate::error::Error;
use crate::explain::{About, Ask, Desk, Explanation, Question, Step, explain};
use crate::http::Links;
use crate::line::Line;
use crate::routes::ROUTES;

/// `vicar why`
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Why {
    #[command(flatten)]
    at: Installation,
    /// A trust's id; or a token: `-` reads it from standard input, `@FILE` from a file. Others on this machine can see one that is
    /// given here
    subject: String,
    /// An operation (`identity:create_trust`), or a request (`DELETE /v3/users/8f1c`). Without it only what the token or the trust
    /// rests on is looked at. Nothing is written
    operation: Option<String>,
    /// The type of another service, of which the request is
    #[arg(long, requires = "operation")]
    service: Option<String>,
    /// An id that the operation is about, by its name in the path or the body: `user_id=8f1c`. May be given several times
    #[arg(long, value_name = "NAME=ID")]
    target: Vec<String>,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

const UNREAD: &str = "it depends on a user of a directory (LDAP), of whom nothing was read lately: ask the server, by POST /v3/auth/explain";

/// So much is read of a token.
const LONGEST_TOKEN: u64 = 64 << 10;

/// The longest trust id; tokens are longer.
const LONGEST_ID: usize = 64;

impl Why {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let question = Question { about: self.about()?, ask: self.ask()?, target: self.target()? };
        let mut config = self.at.config()?;
        before::check_files(&config)?;
        config.remembers = false;
        let store = installation::open_current_read_only(&config.database).await?;
        let app = App::new(config, store, installation::clock()).map_err(Failure::Config)?;
        app.token_keys.current().map_err(Failure::Keys)?;
        let (rules, links, line) = (app.rules(), Links::default(), Line::default());
        let mut slow = SlowWork::default();
        let told = loop {
            let at = (app.clock.now(), app.failures.epoch());
            let desk = Desk {
                routes: ROUTES,
                stage: Stage { app: &app, policy: &rules.loaded.policy, at },
                asker: None,
                is_operator: true,
                presents: None,
                links: &links,
                line: &line,
            };
            let tx = app.store.read().await?.asking(&Arc::default());
            match explain(desk, tx, &mut slow, &question).await {
                Ok((_, told)) => break told,
                Err(Error::Pending) => slow.perform(app.workers(&rules)).await?,
                // To ask it is to write down what it says.
                Err(Error::Unread(_)) => return Err(Failure::Failed(UNREAD.into())),
                // A token would be one of this second, which something has ended.
                Err(Error::RevokedThisSecond) => tokio::time::sleep(Duration::from_secs(1)).await,
                Err(Error::BadRequest(text)) => return Err(Failure::Usage(text.replace("explain.", ""))),
                Err(e) => return Err(e.into()),
            }
        };
        if self.json {
            print(format_args!("{:#}", told.to_json()));
        } else {
            show(&told);
        }
        if told.allowed { Ok(()) } else { Err(Failure::Refused) }
    }

    fn about(&self) -> Result<About, Failure> {
        let wrong = |e: std::io::Error| Failure::Io(format!("the token cannot be read: {e}"));
        let mut text = String::new();
        match (self.subject.as_str(), self.subject.strip_prefix('@')) {
            ("-", _) => {
                std::io::stdin().take(LONGEST_TOKEN).read_to_string(&mut text).map_err(wrong)?;
            }
            (_, Some(file)) => {
                let wrong = |e: std::io::Error| Failure::Io(format!("{file}: {e}"));
                let opened = std::fs::File::open(file).map_err(wrong)?;
                opened.take(LONGEST_TOKEN).read_to_string(&mut text).map_err(wrong)?;
            }
            (id, None) if id.len() <= LONGEST_ID => return Ok(About::Trust(id.to_owned())),
            (token, None) => token.clone_into(&mut text),
        }
        match text.trim() {
            "" => Err(Failure::Usage("there is no token".into())),
            token => Ok(About::Token(token.to_owned())),
        }
    }

    fn ask(&self) -> Result<Ask, Failure> {
        let Some(what) = &self.operation else { return Ok(Ask::Nothing) };
        let Some((method, path)) = method_and_path(what) else {
            if self.service.is_some() {
                return Err(Failure::Usage("--service is of a request like `GET /v2.1/servers`".into()));
            }
            let found = OPERATIONS.iter().find(|row| row.name == what);
            return found.map(Ask::Operation).ok_or_else(|| {
                Failure::Usage(match nearest::operation(what) {
                    Some(name) => format!("no operation is named `{what}`; did you mean {name}?"),
                    None => format!("no operation is named `{what}`; `vicar policy show` names all"),
                })
            });
        };
        let method = method.unwrap_or("GET").to_uppercase();
        if let Some(service) = &self.service {
            return Ok(Ask::Elsewhere { service: service.clone(), method, path: path.to_owned() });
        }
        let method =
            Method::from_str(&method).map_err(|_| Failure::Usage(format!("`{what}` has no method")))?;
        Ok(Ask::Request(method, path.to_owned()))
    }

    fn target(&self) -> Result<std::collections::BTreeMap<String, String>, Failure> {
        Ok(pairs(&self.target)?.into_iter().map(|(name, id)| (name.to_owned(), id.to_owned())).collect())
    }
}

/// `yes`, `no`, or nothing.
fn word(allows: Option<bool>) -> &'static str {
    match allows {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    }
}

fn show(told: &Explanation) {
    print(if told.allowed { "allowed" } else { "refused" });
    for Step { about, allows, text, more } in &told.because {
        print(visible(&format!("  {:<4}{about}: {text}", word(*allows))));
        if let Some(rule) = more.get("rule") {
            print_rule(rule, 3);
        }
    }
}

/// A line in which names that somebody gave make no other lines and move nothing on a terminal.
fn visible(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A rule as a tree of checks.
fn print_rule(rule: &Value, depth: usize) {
    let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
    let word = match rule.get("holds").and_then(Value::as_bool) {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    let own = rule.get("overridden").and_then(Value::as_bool).map(|own| if own { " (yours)" } else { "" });
    let because = if text("because").is_empty() { String::new() } else { format!(": {}", text("because")) };
    let check = text("check");
    let indent = depth * 2;
    let own = own.unwrap_or_default();
    print(visible(&format!("{:indent$}{word:<4}{check}{own}{because}", "")));
    for below in rule.get("of").and_then(Value::as_array).into_iter().flatten() {
        print_rule(below, depth + 1);
    }
}
