//! Who may do what: the caller, the session with its one transaction, and the proof that writes ask for.

mod authorized;
mod caller;
mod question;
mod session;
mod watch;

pub use crate::auth::lockout::Epoch;
pub use crate::auth::slow::SlowWork;
pub use authorized::{Authorized, NoObject, Object, Proposed};
pub use caller::Caller;
use question::question;
pub use session::{Declared, Reading, Session, Told, Writing};
pub use watch::{Asked, Watched, is_watched, watch};

pub use crate::system::System;
