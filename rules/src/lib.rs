//! The rules of delegated authority, as pure functions over plain data.
//!
//! Nothing here reads a clock, a database, the network or a random source: time and facts are
//! arguments, a refusal is a value. The server is thin around these functions.
//!
//! | question | file |
//! |---|---|
//! | What may a trust give away, and what is it worth now? | [`delegation`] |
//! | What else can narrow a delegation? | [`terms`] |
//! | Which requests may a delegation be used for? | [`access_rule`] |
//! | What is said of the beginning of a chain? | [`origin`] |
//! | What is an OAuth1 access token worth now? | [`access_token`] |
//! | What does a keypair born from a token carry? | [`keypair`] |
//! | What may an application credential carry, and what is it worth now? | [`application_credential`] |
//! | What may a token of this kind do on this server? | [`token`] |
//! | Which tokens does a revocation event end? | [`revocation`] |
//! | Which tokens end with a role that is taken away? | [`loss`] |
//! | Who may call an operation? | [`policy`] |
//! | Who is somebody here whom an identity provider describes? | [`mapping`] |
//! | Which user, groups and grants follow when they arrive? | [`arrival`] |
//! | Which workload alone may use a trust? | [`binding`] |
//! | Who is an entry of a directory here, and for how long is that so? | [`directory`] |
//! | Which roles follow from which? | [`roles`] |
//! | On what does a role rest, and for how long? | [`basis`] |
//! | Is this signed request genuine? | [`signature`] |
//! | How is a refusal named? | [`refusal`] |

pub mod access_rule;
pub mod access_token;
pub mod application_credential;
pub mod arrival;
pub mod basis;
pub mod binding;
pub mod ceiling;
pub mod delegation;
pub mod directory;
pub mod keypair;
pub mod loss;
pub mod mapping;
pub mod origin;
pub mod policy;
pub mod refusal;
pub mod revocation;
pub mod roles;
pub mod signature;
pub mod terms;
pub mod token;

/// Microseconds since the Unix epoch, UTC. Keystone stores expiries with this precision.
pub type Micros = i64;
