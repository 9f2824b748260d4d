//! What is told: one thing that was done, by whom.

use serde_json::Value;
use vicar_rules::Micros;

use crate::config::messaging::Format;

macro_rules! kinds {
    ($($kind:ident, $word:literal, $uri:literal;)*) => {
        /// What something was done to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ObjectKind {
            $(#[doc = $word] $kind,)*
        }

        impl ObjectKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its name in event types.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)*
                }
            }

            /// Its type in CADF.
            pub fn uri(self) -> &'static str {
                match self {
                    $(Self::$kind => $uri,)*
                }
            }
        }
    };
}

kinds! {
    User, "user", "data/security/account/user";
    Group, "group", "data/security/group";
    Project, "project", "data/security/project";
    ProjectTag, "project tag", "unknown";
    Domain, "domain", "data/security/domain";
    Role, "role", "data/security/role";
    Region, "region", "data/security/region";
    Service, "service", "data/security/service";
    Endpoint, "endpoint", "data/security/endpoint";
    Policy, "policy", "data/security/policy";
    Trust, "OS-TRUST:trust", "data/security/trust";
    Credential, "credential", "unknown";
    ApplicationCredential, "application_credential", "data/security/credential";
    AccessRule, "access_rule", "unknown";
    Consumer, "OS-OAUTH1:consumer", "data/security/account";
    RequestToken, "OS-OAUTH1:request_token", "data/security/credential";
    AccessToken, "OS-OAUTH1:access_token", "data/security/credential";
}

/// What was done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It was deleted.
    Deleted,
}

impl Action {
    /// Its name in event types.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// What went with something else.
pub type Gone = (ObjectKind, String);

/// Who came into a group, or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user: String,
    /// Whether they came.
    pub came: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Something was done to an object.
    Object {
        /// What it is.
        kind: ObjectKind,
        /// What was done.
        action: Action,
        /// Its id.
        id: String,
        /// Whose coming or leaving changed it.
        actor: Option<Actor>,
    },
    /// A role was granted on a project or domain, or taken away.
    Grant {
        /// Whether it was granted.
        action: Action,
        /// Who, what and where: `role`, `user` or `group`, `project` or `domain`.
        parts: Vec<(&'static str, String)>,
        /// Whether it is for the projects below.
        inherited: bool,
    },
    /// A trust gives nothing soon, as a membership ends on which it rests.
    Lapse {
        /// The trust.
        trust: String,
        /// On whom it rests.
        user: String,
        /// Its project.
        project: String,
        /// When.
        at: Micros,
    },
    /// A user proved who they are with their password, or could not.
    Authenticate,
    /// Who came through an identity provider, or could not.
    Arrival(Came),
}

/// What an identity provider said at a login, or a token of such a login that is exchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Came {
    /// The identity provider.
    pub provider: String,
    /// The user, where somebody of the provider came.
    pub user: Option<String>,
    /// The groups that their token names.
    pub groups: Vec<String>,
    /// The audit id of the token that is exchanged.
    pub token: Option<String>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was not.
    Failure,
}

impl Outcome {
    /// Its word in CADF.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// In words.
    pub text: String,
    /// The status that a Keystone has for it.
    pub code: u16,
}

/// Who did it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Initiator {
    /// The user, by id.
    pub user: Option<String>,
    /// The same by name.
    pub name: Option<String>,
    /// The project of their token.
    pub project: Option<String>,
    /// The domain of their token, or the one in which a user is not who was named.
    pub domain: Option<String>,
    /// The name of that one.
    pub domain_name: Option<String>,
    /// Whether there is no such user.
    pub tried: bool,
    /// The request's id.
    pub request: String,
    /// The id that the client gave to it.
    pub global_request: Option<String>,
    /// The client's address.
    pub address: Option<String>,
    /// What the client says that it is.
    pub agent: String,
    /// Who acts for whom, of a token of a trust.
    pub delegation: Option<Value>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub what: What,
    /// By whom; nothing for what only follows from something else.
    pub initiator: Option<Initiator>,
    /// How it went.
    pub outcome: Outcome,
    /// Why not.
    pub reason: Option<Reason>,
    /// A part of a hash of the wrong password, where the configuration asks for it.
    pub password_hash: Option<String>,
    /// When.
    pub at: Micros,
}

impl Notice {
    /// Its event type.
    pub fn event_type(&self) -> String {
        match &self.what {
            What::Object { kind, action, .. } => format!("identity.{}.{}", kind.word(), action.word()),
            What::Grant { action, .. } => format!("identity.role_assignment.{}", action.word()),
            What::Lapse { .. } => format!("identity.{}.lapsing", ObjectKind::Trust.word()),
            What::Authenticate | What::Arrival(_) => "identity.authenticate".to_owned(),
        }
    }

    /// Its name in `notification_opt_out`.
    pub fn opted_out_as(&self) -> String {
        match self.what {
            What::Authenticate | What::Arrival(_) => {
                format!("{}.{}", self.event_type(), self.outcome.word())
            }
            What::Object { .. } | What::Grant { .. } | What::Lapse { .. } => self.event_type(),
        }
    }

    /// Whether a format has it. A refused change is none of an object, and only CADF can say so.
    pub fn is_told(&self, format: Format) -> bool {
        format == Format::Cadf || self.reason.is_none() || !self.is_of_object()
    }

    /// Whether it is about an object: such notices have two formats, the others are CADF in both, as in Keystone.
    pub fn is_of_object(&self) -> bool {
        matches!(self.what, What::Object { .. } | What::Lapse { .. })
    }
}
