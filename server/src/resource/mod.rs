//! Plain resources: each is a description of its fields, and code for what is special to it.
//!
//! A type implements [`Plain`]: [`Plain::of`] returns the description, a [`Resource`], and the other functions are
//! hooks with defaults. From the description come the JSON schemas, the SQL, what clients see, filters and pages.
//! `routes.rs` names the handlers: `read resource::list::<Region>`.
//!
//! What a column holds (type, length, null, how it is compared, what it refers to) is in
//! [`store::schema`](crate::store::schema) and nowhere else; what falls with an object, and what keeps it from
//! being deleted, in [`store::cascade`](crate::store::cascade).

mod field;
mod handlers;
mod record;
mod schemas;
mod sql;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use serde_json::{Map, Value};
use vicar_rules::policy::{Facts, Op};

use crate::authz::{Authorized, Caller, NoObject, Proposed, Reading, Writing};
use crate::error::Result;
use crate::store::Select;

pub use field::Field;
pub use handlers::{create, create_from, create_many, delete, get, list, new_body, update};
pub use record::Record;
pub use sql::{Creates, Deletes};

/// The description of a plain resource.
#[derive(Debug)]
pub struct Resource {
    /// The name of one, under which bodies hold it; also its table and, with `_id`, the part of its path.
    pub one: &'static str,
    /// The name of several.
    pub many: &'static str,
    /// Its fields, besides `links`.
    pub fields: &'static [Field],
    has_extra: bool,
    reserved: &'static [&'static str],
    order: Order,
    sorted_by: Option<&'static str>,
    schemas: OnceLock<schemas::Schemas>,
}

/// When a handler looks for the object: it decides which of 400, 403 and 404 a client sees first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// After the policy and the body. For policies that do not look at the object.
    Last,
    /// Before the policy: an object that does not exist is 404 for anybody with a token.
    First,
    /// Before the policy, which is asked before it is said that there is none.
    Quietly,
}

/// When the handlers of one object look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// `POST`, where there is none yet: [`Look::Last`] asks the policy before the body is read, too.
    pub create: Look,
    /// `GET`
    pub get: Look,
    /// `PATCH`
    pub update: Look,
    /// `DELETE`
    pub delete: Look,
}

impl Order {
    /// The same in all of them.
    pub const fn always(look: Look) -> Self {
        Self { create: look, get: look, update: look, delete: look }
    }
}

impl Resource {
    /// A resource whose objects keep what nobody knows in a column `extra`, are sorted by id, and are looked for
    /// last.
    pub const fn new(one: &'static str, many: &'static str, fields: &'static [Field]) -> Self {
        Self {
            one,
            many,
            fields,
            has_extra: true,
            reserved: &[],
            order: Order::always(Look::Last),
            sorted_by: None,
            schemas: OnceLock::new(),
        }
    }

    /// There is no column `extra`: an attribute that is not described is 400.
    #[must_use]
    pub const fn closed(mut self) -> Self {
        self.has_extra = false;
        self
    }

    /// Names that never get into `extra`.
    #[must_use]
    pub const fn reserves(mut self, names: &'static [&'static str]) -> Self {
        self.reserved = names;
        self
    }

    /// When an object is looked for.
    #[must_use]
    pub const fn looks(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Lists are sorted by this field, which is never null, and then by id. They are read as a whole: only for what
    /// there is little of.
    #[must_use]
    pub const fn sorted_by(mut self, field: &'static str) -> Self {
        self.sorted_by = Some(field);
        self
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The variable part of the path that is the object's id.
    fn param(&self) -> String {
        format!("{}_id", self.one)
    }
}

/// A plain resource: its description, and hooks for what is special to it. `Self` stands for the resource; an
/// object is a [`Record`] of it.
pub trait Plain: Send + Sync + Sized + 'static {
    /// The description.
    fn of() -> &'static Resource;

    /// What policy may know of an object.
    ///
    /// # Errors
    /// 403 when it is out of reach for this kind of token, whatever the policy says.
    fn facts(_object: &Record<Self>, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }

    /// The operation that an object is judged by, of those that the route declares. The first, unless there are
    /// objects of several kinds.
    fn op(ops: &'static [Op], _object: &Record<Self>) -> Option<Op> {
        ops.first().copied()
    }

    /// Asks the policy for a list, and limits it to what the caller may see.
    ///
    /// # Errors
    /// 403 when the list is not allowed.
    fn narrow(s: &Reading<'_>, _found: &mut Select) -> Result<()> {
        s.authorize(s.op()?, NoObject)?;
        Ok(())
    }

    /// Changes a body that fits its schema before it is taken over. `before` is the stored object of a change.
    ///
    /// # Errors
    /// 400 for what no schema says.
    fn accept(_body: &mut Map<String, Value>, _before: Option<&Record<Self>>) -> Result<()> {
        Ok(())
    }

    /// Completes a new or changed object, and refuses what cannot be stored, before anything is written. The
    /// policy is asked about a new one before this, and again after.
    fn prepare(
        _s: &mut Writing<'_>,
        _before: Option<&Record<Self>>,
        _after: &mut Record<Self>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Stores a new object.
    fn insert(
        s: &mut Writing<'_>,
        new: &Authorized<Proposed<Record<Self>>>,
    ) -> impl Future<Output = Result<()>> + Send {
        async move { new.insert(&mut s.tx, new).await }
    }

    /// Stores a changed object.
    fn save(
        s: &mut Writing<'_>,
        stored: &Authorized<Record<Self>>,
        new: &Record<Self>,
    ) -> impl Future<Output = Result<()>> + Send {
        async move { new.save(&mut s.tx, stored).await }
    }

    /// Deletes an object with all that falls with it; 403 when something keeps it from going.
    fn delete(
        s: &mut Writing<'_>,
        stored: &Authorized<Record<Self>>,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            stored.check_unused(&mut s.tx).await?;
            Record::<Self>::delete(&mut s.tx, stored, &stored.id).await
        }
    }

    /// Why there cannot be two of them, for a 409.
    fn taken(object: &Record<Self>) -> String {
        format!("there is a {} {}", Self::of().one, object.id)
    }

    /// Adds to what clients see of an object.
    fn show(_object: &Record<Self>, _shown: &mut Map<String, Value>) {}
}
