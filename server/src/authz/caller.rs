//! Who calls.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;
use vicar_rules::Micros;
use vicar_rules::application_credential::ApplicationCredential;
use vicar_rules::policy::{Scope, Subject};
use vicar_rules::refusal::Refusal;
use vicar_rules::roles::Implications;
use vicar_rules::token::{Act, Kind};

use crate::app::App;
use crate::auth::application_credential;
use crate::auth::render;
use crate::auth::token::{Known, Token, ValidateOptions, validate};
use crate::error::{Error, Result};
use crate::http::Request;
use crate::http::request::{AUTH_TOKEN, SERVICE_TOKEN, SUBJECT_TOKEN};
use crate::line::Line;
use crate::reason::Reason;
use crate::store::Tx;

/// The role of services.
const SERVICE_ROLE: &str = "service";

/// A caller with a valid token, or with the configured admin token.
#[derive(Debug)]
pub struct Caller(Who);

#[derive(Debug)]
enum Who {
    Bearer(Arc<Token>),
    /// With the admin token.
    Admin(Subject),
}

impl Caller {
    /// The caller behind the text of a token.
    ///
    /// # Errors
    /// 401 when it is not valid.
    pub async fn authenticate(tx: &mut Tx, app: &App, text: &str, line: &Line, now: Micros) -> Result<Self> {
        if let Some(admin) = &app.config.admin_token
            && bool::from(admin.0.as_bytes().ct_eq(text.as_bytes()))
        {
            return Ok(Self::admin_token());
        }
        // Access rules are enforced on every request, by `dispatch`.
        let options = ValidateOptions { window: 0, understands_access_rules: true };
        let token = validate(tx, app.auth(), text, Known::default(), now, options).await?;
        Ok(Self::with(token.map_err(|dead| dead.refused(line))?))
    }

    /// Checks that the access rules of the token's application credential allow the request. A service may pass on
    /// what they do not, for its own part in a request that it was allowed: with its own token beside, which has
    /// the role `service`.
    ///
    /// # Errors
    /// 401 when they do not, as keystonemiddleware does.
    pub async fn may_ask(&self, tx: &mut Tx, app: &App, request: &Request, now: Micros) -> Result<()> {
        let Some(token) = self.token() else { return Ok(()) };
        // Whoever bears a trust's token may ask about it and end it (rule 26); that of an application credential, as in Keystone.
        let own = request.token_header(&SUBJECT_TOKEN)?.filter(|_| token.trust.is_some());
        let own = own.is_some() && own == request.token_header(&AUTH_TOKEN)?;
        let is_about = [Method::DELETE, Method::HEAD].contains(&request.method);
        if own && is_about && request.path == "/v3/auth/tokens" {
            return Ok(());
        }
        // A delegated token asks why about itself alone.
        if self.kind() != Kind::Login && request.method == Method::POST && request.path == "/v3/auth/explain"
        {
            return Ok(());
        }
        if application_credential::allows(tx, &app.config, token, &request.method, &request.path).await? {
            return Ok(());
        }
        if let Some(text) = request.token_header(&SERVICE_TOKEN)? {
            let options = ValidateOptions::default();
            let known = Known::of_caller(Some(token));
            let service = validate(tx, app.auth(), text, known, now, options).await?;
            if service.is_ok_and(|t| t.kind != Kind::Ec2 && t.roles.iter().any(|r| r.name == SERVICE_ROLE)) {
                return Ok(());
            }
        }
        Err(Error::Unauthorized(Reason::AccessRules))
    }

    /// With a token.
    pub fn with(token: Arc<Token>) -> Self {
        Self(Who::Bearer(token))
    }

    /// With `[DEFAULT] admin_token`.
    pub fn admin_token() -> Self {
        Self(Who::Admin(Subject::admin_token()))
    }

    /// The token; there is none behind the admin token.
    pub fn token(&self) -> Option<&Token> {
        self.shared_token().map(|token| &**token)
    }

    /// Who acts for whom, for those who keep an audit trail; nothing but of a token of a trust.
    pub fn delegation(&self) -> Option<Map<String, Value>> {
        self.token().and_then(render::delegation)
    }

    /// The application credential of a token that may delegate, and sees and ends what it delegated.
    pub fn delegating_credential(&self) -> Option<&ApplicationCredential> {
        let own = &self.token()?.application_credential.as_ref()?.credential;
        own.may_delegate.as_ref().map(|_| own)
    }

    /// The token, to be kept.
    pub fn shared_token(&self) -> Option<&Arc<Token>> {
        match &self.0 {
            Who::Bearer(token) => Some(token),
            Who::Admin(_) => None,
        }
    }

    /// The implied-role relation. It was read for the caller's token, in the same transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn implications(&self, tx: &mut Tx) -> Result<Arc<Implications>> {
        Known::of_caller(self.token()).implications(tx).await
    }

    /// The caller, as policy sees them.
    pub fn subject(&self) -> &Subject {
        match &self.0 {
            Who::Bearer(token) => token.subject(),
            Who::Admin(subject) => subject,
        }
    }

    /// The id of the user that the token speaks for.
    pub fn user_id(&self) -> &str {
        &self.subject().user
    }

    /// What the token rests on; the admin token rests on no delegation.
    pub fn kind(&self) -> Kind {
        self.token().map_or(Kind::Login, |t| t.kind)
    }

    /// The domain of what the caller creates without naming one: that of the token's scope, else the
    /// configured default.
    ///
    /// # Errors
    /// 400 for the admin token, which is in no domain and must name one.
    pub fn home_domain(&self, app: &App) -> Result<String> {
        match &self.subject().scope {
            _ if self.subject().admin_token => {
                Err(Error::field("domain_id", "is required with the admin token, which is in no domain"))
            }
            Scope::Domain(id) => Ok(id.clone()),
            Scope::Unscoped | Scope::Project { .. } | Scope::System => {
                Ok(app.config.default_domain_id.clone())
            }
        }
    }

    /// The domain that the token is scoped to: its lists show nothing of others.
    pub fn domain_scope(&self) -> Option<&str> {
        match &self.subject().scope {
            Scope::Domain(id) => Some(id),
            Scope::Unscoped | Scope::Project { .. } | Scope::System => None,
        }
    }

    /// The domain of the token, or of its project.
    pub fn own_domain(&self) -> Option<&str> {
        match &self.subject().scope {
            Scope::Project { domain, .. } => domain.as_deref(),
            _ => self.domain_scope(),
        }
    }

    /// Whether a token of this kind may do this at all.
    pub fn may(&self, app: &App, act: Act) -> Result<(), Refusal> {
        let mut switches = app.switches();
        switches.application_credential_trusts |= self.delegating_credential().is_some();
        let answer = vicar_rules::token::may(self.kind(), act, switches);
        super::watch::acted(act, &answer);
        answer
    }
}
