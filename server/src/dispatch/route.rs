//! A route, said once: method, path, operations, handler, body, query and answers.

use std::pin::Pin;

use axum::http::Method;
use axum::response::Response;

use crate::authz::{Declared, Reading, Writing};
use crate::error::Result;
use crate::http::Request;
use crate::http::schema::Schema;

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

/// What an answer without an error carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// No body.
    Empty,
    /// A JSON object that is described elsewhere.
    Document,
    /// A form of OAuth1: a token with its secret.
    Form,
    /// A page for a browser.
    Html,
    /// One object under its name.
    One(&'static str),
    /// A list under its name, in pages.
    Page(&'static str),
    /// A list under its name, always whole.
    Whole(&'static str),
}

impl Shape {
    /// The name of the member that carries it, if there is one.
    pub fn member(self) -> Option<&'static str> {
        match self {
            Self::Empty | Self::Document | Self::Form | Self::Html => None,
            Self::One(name) | Self::Page(name) | Self::Whole(name) => Some(name),
        }
    }
}

/// An answer without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub shape: Shape,
    /// A header that comes with it.
    pub header: Option<&'static str>,
}

/// A path's place in the JSON home document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// The relation's name in OpenStack's API reference.
    pub name: &'static str,
    /// The extension that it belongs to, if it is not of the API's core.
    pub extension: Option<&'static str>,
}

/// A route.
pub struct Route {
    /// The method. `GET` serves `HEAD` too unless that has a route of its own.
    pub method: Method,
    /// The path, with `{name}` for its variable parts.
    pub path: &'static str,
    /// What its handler may ask for.
    pub declared: Declared,
    /// Whether it wants a caller.
    pub auth: Auth,
    /// The handler.
    pub handler: Handler,
    /// A header that the request must have besides the token.
    pub header: Option<&'static str>,
    /// The schema of the form that its body is, where it is one.
    pub form: Option<fn() -> &'static Schema>,
    /// The answers without an error.
    pub answers: &'static [Answer],
    /// The path's relation, on one of its routes.
    pub relation: Option<Relation>,
}

impl Route {
    /// The names of the path's variable parts.
    pub fn params(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// The route that serves a path, and the variable parts as they are written. Where several fit, what is written out in a path goes
/// before what varies.
pub fn find<'a>(
    routes: &'static [Route],
    method: &Method,
    path: &'a str,
) -> Option<(&'static Route, Vec<(&'static str, &'a str)>)> {
    let asked: Vec<&str> = path.split('/').collect();
    let fits = |route: &&Route| {
        let own: Vec<&str> = route.path.split('/').collect();
        let same = |(own, asked): (&&str, &&str)| own == asked || own.starts_with('{') && !asked.is_empty();
        own.len() == asked.len() && own.iter().zip(&asked).all(same)
    };
    let written_out =
        |route: &&Route| route.path.split('/').map(|part| !part.starts_with('{')).collect::<Vec<_>>();
    let on_path = routes.iter().filter(fits).map(|route| written_out(&route)).max()?;
    let mut here = routes.iter().filter(fits).filter(|route| written_out(route) == on_path);
    let own = here.clone().find(|route| route.method == *method);
    let route = own.or_else(|| here.find(|route| *method == Method::HEAD && route.method == Method::GET))?;
    let parts = route.path.split('/').zip(asked);
    let params =
        parts.filter_map(|(name, part)| Some((name.strip_prefix('{')?.strip_suffix('}')?, part))).collect();
    Some((route, params))
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A list of routes, one a line:
///
/// ```text
/// POST "/v3/regions" [CreateRegion]: write regions::create, body region = regions::CREATE, answers 201 region;
/// ```
///
/// - After the operations, a word may say who is asked for a token: `optional`, `login` or `public`.
/// - The handler's kind is `read`, `write` or `plain`.
/// - `body NAME = SCHEMA` is what the request has under that name; `body = SCHEMA` is the whole body. A schema is a
///   static of the macro `schema!`, or what makes a `&'static Schema`.
/// - `form SCHEMA` is a body that is a form: the schema describes it and is not checked, for the handler reads it.
/// - `query SCHEMA` is the schema of the query.
/// - `header "NAME"` is a header that the request must have.
/// - `home "NAME"`, or `home "NAME" of "EXTENSION"`, is the path's relation in the JSON home document.
/// - `answers` lists the answers without an error, with `|` between them: a status, then `NAME` for an object,
///   `[NAME]` for a list in pages, `[NAME whole]` for a list without, `any` for another document, `form` for a form of
///   OAuth1, `html` for a page, or nothing;
///   then `+ "NAME"` for a header.
#[macro_export]
macro_rules! routes {
    ($($method:ident $path:literal [$($op:ident),*] $($auth:ident)? : $kind:ident $handler:expr
        $(, body $($member:ident)? = $body:expr)?
        $(, form $form:expr)?
        $(, query $query:expr)?
        $(, header $header:literal)?
        $(, home $relation:literal $(of $extension:literal)?)?
        , answers $($status:literal $($one:ident)? $([$($list:ident)+])? $(+ $with:literal)?)|+;)*) => {
        &[$($crate::dispatch::Route {
            method: axum::http::Method::$method,
            path: $path,
            declared: $crate::authz::Declared {
                ops: &[$(vicar_rules::policy::Op::$op),*],
                body: $crate::routes!(@option $($crate::http::schema::Body {
                    member: $crate::routes!(@option $(stringify!($member))?),
                    schema: || &*$body,
                })?),
                query: $crate::routes!(@query $($query)?),
            },
            auth: $crate::routes!(@auth $($auth)?),
            handler: $crate::routes!(@handler $kind $handler),
            header: $crate::routes!(@option $($header)?),
            form: $crate::routes!(@query $($form)?),
            answers: &[$($crate::dispatch::Answer {
                status: $status,
                shape: $crate::routes!(@shape $($one)? $([$($list)+])?),
                header: $crate::routes!(@option $($with)?),
            }),+],
            relation: $crate::routes!(@option $($crate::dispatch::Relation {
                name: $relation,
                extension: $crate::routes!(@option $($extension)?),
            })?),
        }),*]
    };
    (@query) => { None };
    (@query $query:expr) => { Some(|| &*$query) };
    (@option) => { None };
    (@option $some:expr) => { Some($some) };
    (@auth) => { $crate::dispatch::Auth::Required };
    (@auth optional) => { $crate::dispatch::Auth::Optional };
    (@auth login) => { $crate::dispatch::Auth::Login };
    (@auth public) => { $crate::dispatch::Auth::Public };
    (@handler plain $handler:expr) => { $crate::dispatch::Handler::Plain($handler) };
    (@handler read $handler:expr) => { $crate::dispatch::Handler::Read(|s| Box::pin($handler(s))) };
    (@handler write $handler:expr) => { $crate::dispatch::Handler::Write(|s| Box::pin($handler(s))) };
    (@shape) => { $crate::dispatch::Shape::Empty };
    (@shape any) => { $crate::dispatch::Shape::Document };
    (@shape form) => { $crate::dispatch::Shape::Form };
    (@shape html) => { $crate::dispatch::Shape::Html };
    (@shape $name:ident) => { $crate::dispatch::Shape::One(stringify!($name)) };
    (@shape [$name:ident]) => { $crate::dispatch::Shape::Page(stringify!($name)) };
    (@shape [$name:ident whole]) => { $crate::dispatch::Shape::Whole(stringify!($name)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    #[test]
    fn every_route_is_found_by_its_path() {
        for route in ROUTES {
            let path = route.params().fold(route.path.to_owned(), |path, name| {
                path.replace(&format!("{{{name}}}"), &format!("x-{name}"))
            });
            let (found, params) = find(ROUTES, &route.method, &path).expect("it is there");
            assert_eq!((found.method.clone(), found.path), (route.method.clone(), route.path));
            assert!(params.iter().all(|(name, value)| *value == format!("x-{name}")), "{path}: {params:?}");
            assert_eq!(params.len(), route.params().count());
        }
        let at = |method, path| find(ROUTES, &method, path).map(|(route, _)| route.path);
        assert_eq!(at(Method::HEAD, "/v3/users/x"), Some("/v3/users/{user_id}"));
        assert_eq!(at(Method::GET, "/v3/limits/model"), Some("/v3/limits/model"));
        assert_eq!(at(Method::PUT, "/v3/users/x"), None);
        assert_eq!(at(Method::GET, "/v3/users//projects"), None);
        assert_eq!(at(Method::GET, "/v4"), None);
    }
}
