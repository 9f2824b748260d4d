//! Who calls, and the proof that he may.

use vicar_rules::policy::{Facts, Op, Scope, Subject};
use vicar_rules::refusal::Refusal;
use vicar_rules::token::{Act, Kind};

use crate::app::App;
use crate::auth::token::Token;
use crate::error::{Error, Result};

/// A caller with a valid token, or with the configured admin token.
#[derive(Debug)]
pub struct Caller {
    token: Option<Token>,
    subject: Subject,
}

impl Caller {
    /// With a token.
    pub fn with(token: Token) -> Self {
        Self { subject: token.subject(), token: Some(token) }
    }

    /// With `[DEFAULT] admin_token`.
    pub fn admin_token() -> Self {
        Self {
            token: None,
            subject: Subject {
                user: String::new(),
                roles: Vec::new(),
                scope: Scope::Unscoped,
                admin_token: true,
            },
        }
    }

    /// The token; there is none behind the admin token.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// The caller, as policy sees him.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The id of the user that the token speaks for.
    pub fn user_id(&self) -> &str {
        &self.subject.user
    }

    /// What the token stands on; the admin token is nobody's delegation.
    pub fn kind(&self) -> Kind {
        self.token.as_ref().map_or(Kind::Login, |t| t.kind)
    }

    /// The domain of what he makes without naming one: his scope's, else the configured default. The
    /// admin token is nowhere at home, so it must name one.
    pub fn home_domain(&self, app: &App) -> Result<String> {
        match &self.subject.scope {
            _ if self.subject.admin_token => {
                Err(Error::field("domain_id", "is required with the admin token, which is in no domain"))
            }
            Scope::Domain(id) => Ok(id.clone()),
            Scope::Unscoped | Scope::Project { .. } | Scope::System => {
                Ok(app.config.default_domain_id.clone())
            }
        }
    }

    /// The domain that his token is scoped to: its lists show nothing of others.
    pub fn domain_scope(&self) -> Option<&str> {
        match &self.subject.scope {
            Scope::Domain(id) => Some(id),
            Scope::Unscoped | Scope::Project { .. } | Scope::System => None,
        }
    }

    /// May a token of this kind do this at all?
    pub fn may(&self, app: &App, act: Act) -> Result<(), Refusal> {
        vicar_rules::token::may(self.kind(), act, app.switches())
    }

    /// Asks the policy. The permit is what writing functions of the store want to see.
    pub fn permit(&self, app: &App, op: Op, facts: &Facts) -> Result<Permit> {
        if app.policy.allows(op, &self.subject, facts) {
            Ok(Permit(()))
        } else {
            Err(Error::not_permitted(op.row().name))
        }
    }

    /// Asks the rule of a sibling operation, after the operation's own was asked: its kinds of scope do
    /// not matter then.
    pub fn permit_beside(&self, app: &App, op: Op, facts: &Facts) -> Result<Permit> {
        if app.policy.allows_in_any_scope(op, &self.subject, facts) {
            Ok(Permit(()))
        } else {
            Err(Error::not_permitted(op.row().name))
        }
    }

    /// Whether the policy allows it, for filtering lists.
    pub fn allowed(&self, app: &App, op: Op, facts: &Facts) -> bool {
        app.policy.allows(op, &self.subject, facts)
    }
}

/// The proof that somebody was asked and said yes. Functions that change anything take one, so that
/// code which has not asked cannot call them.
#[derive(Debug)]
pub struct Permit(());

impl Permit {
    /// For what the server does of itself: bootstrap, reaping, the consequences of a login.
    /// The reason stands in the code that asks for it, never in a request.
    pub fn own(_reason: &'static str) -> Self {
        Self(())
    }
}
