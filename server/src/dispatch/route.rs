//! A route, said once: method, path, operations, handler.

use std::pin::Pin;

use axum::http::Method;
use axum::response::Response;
use vicar_rules::policy::Op;

use crate::authz::{Reading, Writing};
use crate::error::Result;
use crate::http::Request;

/// What a handler will answer.
pub type Outcome<'s> = Pin<Box<dyn Future<Output = Result<Response>> + Send + 's>>;

/// A handler, by what its transaction may do.
#[derive(Clone, Copy)]
pub enum Handler {
    /// It reads.
    Read(for<'s, 'r> fn(&'s mut Reading<'r>) -> Outcome<'s>),
    /// It needs no transaction, and no caller.
    Plain(fn(&Request) -> Result<Response>),
    /// It may write.
    Write(for<'s, 'r> fn(&'s mut Writing<'r>) -> Outcome<'s>),
}

/// Whether a route wants a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// A valid token is required.
    Required,
    /// A token may come along; it must be valid then.
    Optional,
    /// Nobody is asked who they are. A failed proof is answered on a grid of time, so that what it cost
    /// does not show.
    Login,
    /// Nobody is asked who they are.
    Public,
}

/// A route.
#[derive(Clone)]
pub struct Route {
    /// The method. `GET` serves `HEAD` too unless that has a route of its own.
    pub method: Method,
    /// The path, with `{name}` for its variable parts.
    pub path: &'static str,
    /// The operations that its handler may ask the policy for.
    pub ops: &'static [Op],
    /// Whether it wants a caller.
    pub auth: Auth,
    /// The handler.
    pub handler: Handler,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A list of routes, one a line: `GET "/v3/regions" [ListRegions] read regions::list;`. `write` is for
/// handlers that may write; a word in front of it says who is asked for a token (`required` when absent).
#[macro_export]
macro_rules! routes {
    ($($method:ident $path:literal [$($op:ident),*] $($auth:ident)? : $kind:ident $handler:expr;)*) => {
        &[$($crate::dispatch::Route {
            method: axum::http::Method::$method,
            path: $path,
            ops: &[$(vicar_rules::policy::Op::$op),*],
            auth: $crate::routes!(@auth $($auth)?),
            handler: $crate::routes!(@handler $kind $handler),
        }),*]
    };
    (@auth) => { $crate::dispatch::Auth::Required };
    (@auth optional) => { $crate::dispatch::Auth::Optional };
    (@auth login) => { $crate::dispatch::Auth::Login };
    (@auth public) => { $crate::dispatch::Auth::Public };
    (@handler plain $handler:expr) => { $crate::dispatch::Handler::Plain($handler) };
    (@handler read $handler:expr) => { $crate::dispatch::Handler::Read(|s| Box::pin($handler(s))) };
    (@handler write $handler:expr) => { $crate::dispatch::Handler::Write(|s| Box::pin($handler(s))) };
}
