//! Why a token or a trust may do something or not.
//!
//! Nothing is judged here. Tokens and trusts are evaluated as for every request, and a request is played by its own handler up to
//! its first write ([`rehearse`](crate::dispatch::rehearse)); what that asked is told. So an explanation says what the request
//! would be answered. Who is no operator learns nothing of what they may not read; see docs/decisions/0019-explanations.md.

mod act;
pub mod http;
mod play;
mod step;
mod subject;

use std::collections::BTreeMap;

use vicar_rules::Micros;
use vicar_rules::access_rule::IDENTITY;

pub use act::Ask;
pub use step::{Explanation, Step};

use crate::authz::{Caller, SlowWork};
use crate::dispatch::{Route, Stage};
use crate::error::Result;
use crate::http::Links;
use crate::line::Line;
use crate::store::Tx;
use step::Words;

/// Ids of stored objects by their names: parts of a path, or of a body.
pub type Target = BTreeMap<String, String>;

/// Who or what the question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Who asks.
    Asker,
    /// The token with this text.
    Token(String),
    /// A token that somebody would be given for this trust.
    Trust(String),
}

/// A question.
#[derive(Debug)]
pub struct Question {
    /// About whom.
    pub about: About,
    /// What they want to do.
    pub ask: Ask,
    /// To what.
    pub target: Target,
}

/// The asker, and the rules by which they are answered.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    /// All routes.
    pub routes: &'static [Route],
    /// The server's parts, the rules, the instant.
    pub stage: Stage<'a>,
    /// Who asks; nothing for the operator at the machine.
    pub asker: Option<&'a Caller>,
    /// Whether they may know all.
    pub is_operator: bool,
    /// The token that the asker presents.
    pub presents: Option<&'a str>,
    /// What links begin with.
    pub links: &'a Links,
    /// The log line of the question.
    pub line: &'a Line,
}

impl Desk<'_> {
    fn now(&self) -> Micros {
        self.stage.at.0
    }
}

/// Answers a question, and returns the transaction.
///
/// # Errors
/// 400 that names the field, 403 or 404 for a token or trust that the asker may not ask about, as [`crate::dispatch::rehearse`].
pub async fn explain(
    desk: Desk<'_>,
    mut tx: Tx,
    slow: &mut SlowWork,
    question: &Question,
) -> Result<(Tx, Explanation)> {
    let mut words = Words::default();
    let Some(subject) = subject::find(desk, &mut tx, &question.about, &mut words).await? else {
        return Ok((tx, words.into_explanation(false)));
    };
    let allowed = match &question.ask {
        Ask::Nothing => true,
        Ask::Elsewhere { service, method, path } if service != IDENTITY => {
            words.elsewhere(&subject, service, method, path)
        }
        _ => {
            let act = act::find(desk, &subject, question)?;
            let allowed;
            (tx, allowed) = play::play(desk, tx, slow, &subject, act, &mut words).await?;
            allowed
        }
    };
    Ok((tx, words.into_explanation(allowed)))
}
