//! A request that is played for who wants to know how it would be answered: by its own handler, in a transaction that can only
//! be read, up to its first write.

use axum::response::Response;
use vicar_rules::Micros;
use vicar_rules::policy::Policy;

use super::route::{Auth, Handler, Route};
use super::run::admit;
use crate::app::App;
use crate::authz::{Caller, Epoch, Session, SlowWork, Watched, watch};
use crate::error::{Error, Result};
use crate::http::Request;
use crate::store::Tx;

/// How a request would be answered.
#[derive(Debug)]
pub enum End {
    /// It is served, as far as it was played.
    Served,
    /// It is not.
    Refused(Error),
}

/// What all requests of one play have in common.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a> {
    /// The server's parts.
    pub app: &'a App,
    /// The rules.
    pub policy: &'a Policy,
    /// The instant, and what was written of failed logins before.
    pub at: (Micros, Epoch),
}

/// Plays a request of a caller's, and returns the transaction for what follows in the same snapshot, how it ended, and what it
/// asked on its way. A login needs no caller.
///
/// # Errors
/// When it is to be played again from the beginning, or the database fails.
pub async fn rehearse(
    route: &'static Route,
    stage: Stage<'_>,
    request: &Request,
    caller: &Caller,
    mut tx: Tx,
    slow: &mut SlowWork,
) -> Result<(Tx, End, Watched)> {
    let Stage { app, policy, at } = stage;
    let caller = Some(caller).filter(|_| route.auth != Auth::Login);
    let play = async {
        if let Some(caller) = caller
            && let Err(e) = admit(caller, app, request, &mut tx, at.0).await
        {
            return Ok((tx, Err(e)));
        }
        let declared = (&route.declared, policy);
        match route.handler {
            Handler::Plain(handler) => Ok((tx, handler(request))),
            Handler::Read(handler) => {
                let mut s = Session::new(app, request, tx, at, slow, caller, declared);
                let answer = handler(&mut s).await;
                Ok((s.finish().0, answer))
            }
            Handler::Write(handler) => {
                let tx = app.store.rehearse_in(tx);
                let mut s = Session::new(app, request, tx, at, slow, caller, declared);
                let answer = handler(&mut s).await;
                Ok((s.finish().0.into_read()?, answer))
            }
        }
    };
    let (done, watched): (Result<(Tx, Result<Response>)>, _) = Box::pin(watch(play)).await;
    let (tx, answer) = done?;
    let end = match answer {
        // A login's token goes nowhere. Whoever comes to a write, or to what takes long, may do it.
        Ok(_) | Err(Error::NeedsWriter | Error::TakesLong) => End::Served,
        Err(
            e @ (Error::Pending
            | Error::Unread(_)
            | Error::DirectoryAway
            | Error::Retry(_)
            | Error::RevokedThisSecond
            | Error::Unavailable(..)
            | Error::Busy
            | Error::Internal(_)),
        ) => return Err(e),
        Err(e) => End::Refused(e),
    };
    Ok((tx, end, watched))
}
