//! The handlers that plain resources have in common.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vicar_rules::policy::Op;

use super::field::{Filter, Set};
use super::{Field, Look, Plain, Record, Resource};
use crate::authz::{Authorized, NoObject, Object, Proposed, Reading, Session, Writing};
use crate::error::{Error, Result};
use crate::extra;
use crate::http::page::Paging;
use crate::http::request::{created, no_content, ok, one};
use crate::store::Select;

/// Asks the policy without an object, where it does not look at one: so it is asked before the body is read.
fn ask_first<T>(s: &Session<'_, T>, look: Look) -> Result<()> {
    if look == Look::Last {
        s.authorize(s.op()?, NoObject)?;
    }
    Ok(())
}

/// Asks the policy about an object.
fn ask<R: Plain, T, O>(s: &Session<'_, T>, object: O) -> Result<Authorized<O>>
where
    O: Object + AsRef<Record<R>>,
{
    let op: Option<Op> = R::op(s.ops(), object.as_ref());
    let op = op.ok_or_else(|| Error::Internal("the route declares no such operation".into()))?;
    s.authorize(op, object)
}

/// Asks the policy about what was looked for.
fn ask_about<R: Plain, T>(
    s: &Session<'_, T>,
    look: Look,
    found: Option<Record<R>>,
    id: &str,
) -> Result<Authorized<Record<R>>> {
    match found {
        Some(found) => ask::<R, _, _>(s, found),
        None if look == Look::Quietly => {
            s.authorize_found(s.op()?, None::<Record<R>>, || Record::<R>::missing(id))
        }
        None => Err(Record::<R>::missing(id)),
    }
}

/// `POST`: a new object.
///
/// # Errors
/// 400, 403 or 409, as the description and the hooks have it.
pub async fn create<R: Plain>(s: &mut Writing<'_>) -> Result<Response> {
    ask_first(s, R::of().order.create)?;
    let body = new_body::<R>(s)?;
    create_from::<R>(s, body).await
}

/// The body of a new object, checked.
///
/// # Errors
/// 400 that names the field.
pub fn new_body<R: Plain>(s: &Writing<'_>) -> Result<Map<String, Value>> {
    s.member(R::of().one, &R::of().schemas().create)
}

/// A new object from a body that was checked.
///
/// # Errors
/// As [`create`].
pub async fn create_from<R: Plain>(s: &mut Writing<'_>, body: Map<String, Value>) -> Result<Response> {
    let new = propose::<R>(s, body, None).await?;
    R::insert(s, &new).await?;
    Ok(created(R::of().one, new.to_json(s.links())))
}

/// `PUT`: a new object with the id that the URL has. It never replaces one.
///
/// # Errors
/// As [`create`]; 400 for an id that is too long.
pub async fn put<R: Plain>(s: &mut Writing<'_>) -> Result<Response> {
    let of = R::of();
    ask_first(s, of.order.create)?;
    let body = new_body::<R>(s)?;
    let id = s.param(&of.param())?;
    if Field::id().most(of.table).is_some_and(|most| id.chars().count() > most.into()) {
        return Err(Error::field("id", "is too long"));
    }
    let new = propose::<R>(s, body, Some(id)).await?;
    R::insert(s, &new).await?;
    Ok(created(of.one, new.to_json(s.links())))
}

/// `POST` of a list of new objects: all of them are stored, or none.
///
/// # Errors
/// As [`create`].
pub async fn create_many<R: Plain>(s: &mut Writing<'_>) -> Result<Response> {
    let of = R::of();
    ask_first(s, of.order.create)?;
    let mut all = Vec::new();
    for body in s.body_list()? {
        if let Value::Object(body) = body {
            all.push(propose::<R>(s, body, None).await?);
        }
    }
    R::together(s, &all).await?;
    let mut shown = Vec::new();
    for new in &all {
        R::insert(s, new).await?;
        shown.push(new.to_json(s.links()));
    }
    Ok((StatusCode::CREATED, ok(json!({ of.many: shown }))).into_response())
}

async fn propose<R: Plain>(
    s: &mut Writing<'_>,
    mut body: Map<String, Value>,
    id: Option<&str>,
) -> Result<Authorized<Proposed<Record<R>>>> {
    R::accept(&mut body, None)?;
    // First with what the client says and nothing else: who may not name another domain may not leave it out.
    let mut new = Record::of_body(body);
    if let Some(id) = id {
        new.id = id.to_owned();
    }
    let new = ask::<R, _, _>(s, Proposed(new))?;
    let mut new = new.into_inner().0;
    new.check_references(&mut s.tx, None).await?;
    R::prepare(s, None, &mut new).await?;
    ask::<R, _, _>(s, Proposed(new))
}

/// `GET` of one.
///
/// # Errors
/// 403 or 404.
pub async fn get<R: Plain>(s: &mut Reading<'_>) -> Result<Response> {
    let of = R::of();
    ask_first(s, of.order.get)?;
    let id = s.param(&of.param())?;
    let found = Record::<R>::load(&mut s.tx, id).await?;
    let found = ask_about(s, of.order.get, found, id)?;
    Ok(one(of.one, found.to_json(s.links())))
}

/// `PATCH`
///
/// # Errors
/// 400, 403, 404 or 409, as the description and the hooks have it.
pub async fn update<R: Plain>(s: &mut Writing<'_>) -> Result<Response> {
    let of = R::of();
    let id = s.param(&of.param())?;
    ask_first(s, of.order.update)?;
    let (stored, mut body) = if of.order.update == Look::Last {
        let body = changes(s, of, id)?;
        let found = Record::<R>::load(&mut s.tx, id).await?;
        (ask_about(s, of.order.update, found, id)?, body)
    } else {
        let found = Record::<R>::load(&mut s.tx, id).await?;
        let stored = ask_about(s, of.order.update, found, id)?;
        (stored, changes(s, of, id)?)
    };
    if stored.is_immutable() && !only_unlocks(&body) {
        return Err(immutable(&stored));
    }
    for field in of.fields.iter().filter(|f| f.set == Set::Once && f.name != "id") {
        if body.get(field.name).is_some_and(|given| given != stored.get(field.name)) {
            return Err(Error::field(&format!("{}.{}", of.one, field.name), "cannot be changed"));
        }
    }
    R::accept(&mut body, Some(&stored))?;
    let mut new = Record::clone(&stored);
    new.apply(body);
    new.check_references(&mut s.tx, Some(&stored)).await?;
    R::prepare(s, Some(&stored), &mut new).await?;
    R::save(s, &stored, &new).await?;
    Ok(one(of.one, new.to_json(s.links())))
}

fn changes(s: &Writing<'_>, of: &Resource, id: &str) -> Result<Map<String, Value>> {
    let body = s.member(of.one, &of.schemas().update)?;
    extra::same_id(&body, id)?;
    Ok(body)
}

fn immutable<R: Plain>(stored: &Record<R>) -> Error {
    let mut kind = R::of().one.to_owned();
    if let Some(first) = kind.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Error::Forbidden(format!(
        "{kind} {} is immutable: its option `immutable` must be switched off first, by a change of nothing else.",
        stored.id
    ))
}

/// Whether a change only switches `immutable` off.
fn only_unlocks(body: &Map<String, Value>) -> bool {
    let option = body.get("options").and_then(|o| o.get("immutable"));
    body.len() == 1 && option.is_some_and(|v| v.as_bool() != Some(true))
}

/// `DELETE`
///
/// # Errors
/// 403 or 404.
pub async fn delete<R: Plain>(s: &mut Writing<'_>) -> Result<Response> {
    let of = R::of();
    ask_first(s, of.order.delete)?;
    let id = s.param(&of.param())?;
    let found = Record::<R>::load(&mut s.tx, id).await?;
    let stored = ask_about(s, of.order.delete, found, id)?;
    if stored.is_immutable() {
        return Err(immutable(&stored));
    }
    R::delete(s, &stored).await?;
    Ok(no_content())
}

/// `GET` of all that the caller may see: filtered by equality and read in batches by the database, compared with
/// other filters here.
///
/// # Errors
/// 400 for a filter or a page that cannot be, 403.
pub async fn list<R: Plain>(s: &mut Reading<'_>) -> Result<Response> {
    let of = R::of();
    let mut found = Select::new(&of.select());
    R::narrow(s, &mut found)?;
    let query = &s.request.query;
    query.check(&of.schemas().query)?;
    let filters = of.fields.iter().filter(|f| f.filter != Filter::No);
    for field in filters.clone() {
        for value in query.all(field.name) {
            field.add_condition(of.table, value, query.flag(field.name), &mut found);
        }
        if let Some(expression) = field.expression(of.table).filter(|_| field.is_string(of.table)) {
            query.narrow(field.name, &expression, &mut found);
        }
    }
    // What a collation found is not compared again: it may be written otherwise.
    let (collated, exact): (Vec<&Field>, Vec<&Field>) = filters.partition(|f| f.is_collated(of.table));
    let names = |fields: Vec<&Field>| fields.iter().map(|f| f.name).collect::<Vec<_>>();
    let (collated, exact) = (names(collated), names(exact));
    let mut paging = s.paging(&collated, &exact)?;
    if let Some(limit) = R::longest(s).await? {
        paging.limit_to(limit);
    }
    pages(s, &found, paging, |_: &Record<R>| true).await
}

/// `GET` of those for which a condition holds that the database cannot judge: of something else's, that the caller
/// may see.
///
/// # Errors
/// 400 for a page that cannot be.
pub async fn list_those<R: Plain>(
    s: &mut Reading<'_>,
    build: impl FnOnce(&mut Select),
    is_one: impl Fn(&Record<R>) -> bool + Send,
) -> Result<Response> {
    let mut found = Select::new(&R::of().select());
    build(&mut found);
    let paging = s.paging(&[], &[])?;
    pages(s, &found, paging, is_one).await
}

async fn pages<R: Plain>(
    s: &mut Reading<'_>,
    found: &Select,
    mut paging: Paging<'_>,
    is_one: impl Fn(&Record<R>) -> bool + Send,
) -> Result<Response> {
    let of = R::of();
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let mut some = found.clone();
        of.batch(&mut s.tx, &mut some, &batch).await?;
        let rows = some.map(&mut s.tx, Record::<R>::read).await?;
        paging.read(&batch, rows.len(), rows.last().map(|r| r.id.as_str()));
        for row in rows.iter().filter(|row| is_one(row)) {
            paging.push(row.to_json(s.links()));
        }
    }
    Ok(s.page(of.many, paging))
}
