//! The statements of plain resources. The resource's own row is `t`.

use serde_json::{Map, Value as Json, json};

use super::field::{Field, Home, Set};
use super::{Plain, Record, Resource};
use crate::args;
use crate::authz::{Authorized, Proposed};
use crate::error::{Error, Result};
use crate::extra;
use crate::store::schema::{self, Comparison, Type};
use crate::store::{self, Batch, Delete, Insert, Proof, Row, Select, Tx, Update, Value, WriteTx, cascade};

/// Proofs that cover the creation of an object of `R`: its own, and those of acts that create one besides.
pub trait Creates<R>: Proof {}

/// Proofs that cover the deletion of an object of `R`: its own, and those of what it falls with.
pub trait Deletes<R>: Proof {}

impl<R: Plain> Creates<R> for Authorized<Proposed<Record<R>>> {}
impl<R: Plain> Deletes<R> for Authorized<Record<R>> {}

/// `role_option.option_id` and its like of the option `immutable`.
const IMMUTABLE: &str = "IMMU";

impl Field {
    /// What a query reads or compares; nothing for what is in no column.
    pub(super) fn expression(&self, table: &str) -> Option<String> {
        match self.home {
            Home::Column => Some(format!("t.\"{}\"", self.name)),
            Home::Elsewhere(expression) => Some(format!("({expression})")),
            Home::Options => Some(format!(
                "(SELECT o.option_value FROM \"{table}_option\" o
                   WHERE o.{table}_id = t.id AND o.option_id = '{IMMUTABLE}')"
            )),
            Home::Extra | Home::Request => None,
        }
    }

    fn read(&self, table: &str, row: &mut Row) -> store::Result<Json> {
        if self.home == Home::Options {
            let immutable: Option<String> = row.take()?;
            return Ok(match immutable.as_deref() {
                Some("true" | "1") => json!({"immutable": true}),
                Some("false" | "0") => json!({"immutable": false}),
                _ => json!({}),
            });
        }
        if self.json.is_some() {
            let text: String = row.take::<Option<String>>()?.unwrap_or_default();
            // What is no JSON was written by hand.
            return Ok(serde_json::from_str(&text).unwrap_or_else(|_| text.into()));
        }
        let value: Json = match self.ty(table) {
            Type::Boolean => row.take::<Option<bool>>()?.into(),
            Type::Integer | Type::BigInt | Type::Serial => row.take::<Option<i64>>()?.into(),
            _ => row.take::<Option<String>>()?.into(),
        };
        Ok(match (self.null_means, self.null_kept_as) {
            (Some(text), _) if value.is_null() => text.into(),
            (_, Some(text)) if value == text => Json::Null,
            _ => value,
        })
    }

    /// A value on its way into the column.
    fn stored(&self, value: &Json) -> Value {
        match value {
            value if self.json.is_some() => value.to_string().into(),
            Json::Null => self.null_kept_as.into(),
            Json::Bool(b) => (*b).into(),
            Json::Number(n) => n.as_i64().into(),
            Json::String(text) => text.into(),
            other => other.to_string().into(),
        }
    }

    /// Whether the database compares it as its collation has it, and not by bytes.
    pub(super) fn is_collated(&self, table: &str) -> bool {
        self.column(table).is_some_and(|c| c.compared == Comparison::Collation)
    }

    /// Adds the condition that the field has a query's value, which means yes or no to a flag.
    pub(super) fn add_condition(&self, table: &str, value: &str, is_on: bool, found: &mut Select) {
        let Some(expression) = self.expression(table) else { return };
        match self.ty(table) {
            Type::Boolean => found.eq(&expression, Some(is_on)),
            _ if self.is_collated(table) => found.eq(&expression, Some(value)),
            _ => found.id(&expression, Some(value)),
        };
    }
}

impl Resource {
    /// The fields that are in columns of the resource's own table, without the id.
    fn columns(&self) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().filter(|f| f.home == Home::Column && f.name != "id")
    }

    /// The table of the resource's options, and its column with the id.
    fn options_table(&self) -> Option<(&'static str, &'static str)> {
        self.field("options").filter(|f| f.home == Home::Options)?;
        let table = schema::table(&format!("{}_option", self.table))?;
        let owner = format!("{}_id", self.table);
        Some((table.name, table.columns.iter().find(|c| c.name == owner)?.name))
    }

    /// The beginning of every query, up to but without `WHERE`.
    pub(super) fn select(&self) -> String {
        let others = self.fields.iter().filter(|f| f.name != "id").filter_map(|f| f.expression(self.table));
        let extra = self.has_extra.then(|| "t.extra".to_owned());
        let columns: Vec<String> = ["t.id".to_owned()].into_iter().chain(others).chain(extra).collect();
        format!("SELECT {} FROM \"{}\" t", columns.join(", "), self.table)
    }

    /// Limits a query to the rows of a batch, in the order of lists.
    pub(super) async fn batch(&self, tx: &mut Tx, found: &mut Select, batch: &Batch) -> store::Result<()> {
        let Some(column) = self.sorted_by else {
            found.batch("t.id", batch);
            return Ok(());
        };
        let column = format!("t.\"{column}\"");
        let mut last: Option<String> = None;
        if let Some(id) = batch.follows() {
            let sql = format!("SELECT {column} FROM \"{}\" t WHERE t.id = ?", self.table);
            last = tx.first(&sql, args![store::Id(id)], |r| r.take()).await?;
        }
        found.batch_sorted(&column, "t.id", last.as_deref().unwrap_or_default(), batch);
        Ok(())
    }

    /// The order of lists.
    fn order_by(&self) -> String {
        let first = self.sorted_by.map(|name| format!("t.\"{name}\", ")).unwrap_or_default();
        format!("ORDER BY {first}t.id")
    }
}

impl<R: Plain> Record<R> {
    pub(super) fn read(row: &mut Row) -> store::Result<Self> {
        let of = R::of();
        let id = row.take()?;
        let mut values = Map::new();
        for field in of.fields.iter().filter(|f| f.name != "id" && f.expression(of.table).is_some()) {
            values.insert(field.name.to_owned(), field.read(of.table, row)?);
        }
        let extra = if of.has_extra { extra::read(row.take()?) } else { Map::new() };
        Ok(Self::with(id, values, extra))
    }

    /// Objects that fit conditions on `t`, in the order of lists.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Self>> {
        let of = R::of();
        let mut found = Select::new(&of.select());
        build(&mut found);
        Ok(found.end(&of.order_by()).map(tx, Self::read).await?)
    }

    /// The object with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(tx: &mut Tx, id: &str) -> Result<Option<Self>> {
        let found = Self::find(tx, |q| {
            q.id("t.id", Some(id));
        });
        Ok(found.await?.pop())
    }

    /// The object with this id.
    ///
    /// # Errors
    /// 404 when there is none.
    pub async fn require(tx: &mut Tx, id: &str) -> Result<Self> {
        Self::load(tx, id).await?.ok_or_else(|| Self::missing(id))
    }

    /// Checks that the rows exist that fields name, of those that differ from `before`.
    ///
    /// # Errors
    /// 400 for one that does not.
    pub(super) async fn check_references(&self, tx: &mut Tx, before: Option<&Self>) -> Result<()> {
        let of = R::of();
        for field in of.fields.iter().filter(|f| f.must_exist) {
            let Some(id) = self.text(field.name) else { continue };
            if before.is_some_and(|b| b.text(field.name) == Some(id)) {
                continue;
            }
            let Some(reference) = field.column(of.table).and_then(|c| c.references().next()) else {
                continue;
            };
            // A domain is a project that is one.
            let (table, when) = match reference.table {
                cascade::DOMAIN => ("project", " AND is_domain = ?"),
                table => (table, ""),
            };
            let sql = format!("SELECT 1 FROM \"{table}\" WHERE \"{}\" = ?{when}", reference.column);
            let args: &[Value] = args![store::Id(id), true];
            let args = if when.is_empty() { args.get(..1).unwrap_or(args) } else { args };
            if !tx.exists(&sql, args).await? {
                return Err(Error::field(field.name, &format!("there is no such {}", reference.table)));
            }
        }
        Ok(())
    }

    fn duplicate(&self, e: store::Error) -> Error {
        match e {
            store::Error::Duplicate => Error::taken(R::of().one, &R::taken(self)),
            other => other.into(),
        }
    }

    /// Stores it as a new one.
    ///
    /// # Errors
    /// 409 when there is one like it.
    pub async fn insert(&self, tx: &mut WriteTx, proof: &impl Creates<R>) -> Result<()> {
        let of = R::of();
        let mut insert = Insert::into(of.table).set("id", &self.id);
        for field in of.columns() {
            insert = insert.set(field.name, field.stored(self.get(field.name)));
        }
        if of.has_extra {
            insert = insert.set("extra", extra::to_column(&self.extra));
        }
        tx.execute(proof, &insert).await.map_err(|e| self.duplicate(e))?;
        self.write_options(tx, proof, &self.id).await
    }

    /// Stores what can change of it over the stored one.
    ///
    /// # Errors
    /// 409 when there is one like it.
    pub async fn save(&self, tx: &mut WriteTx, stored: &Authorized<Self>) -> Result<()> {
        let of = R::of();
        let mut update = Update::of(of.table).key("id", &stored.id);
        for field in of.columns().filter(|f| f.set != Set::Once) {
            update = update.set(field.name, field.stored(self.get(field.name)));
        }
        if of.has_extra {
            update = update.set("extra", extra::to_column(&self.extra));
        }
        tx.execute(stored, &update).await.map_err(|e| self.duplicate(e))?;
        if self.get("options") == stored.get("options") {
            return Ok(());
        }
        self.write_options(tx, stored, &stored.id).await
    }

    async fn write_options(&self, tx: &mut WriteTx, proof: &impl Proof, id: &str) -> Result<()> {
        let of = R::of();
        let Some((table, owner)) = of.options_table() else { return Ok(()) };
        let delete = Delete::from(table).key(owner, id).key("option_id", IMMUTABLE);
        tx.execute(proof, &delete).await?;
        if let Some(immutable) = self.get("options")["immutable"].as_bool() {
            let insert = Insert::into(table)
                .set(owner, id)
                .set("option_id", IMMUTABLE)
                .set("option_value", immutable.to_string());
            tx.execute(proof, &insert).await?;
        }
        Ok(())
    }

    /// Checks that nothing keeps it from being deleted.
    ///
    /// # Errors
    /// 403 when something does.
    pub async fn check_unused(&self, tx: &mut Tx) -> Result<()> {
        let of = R::of();
        for refusal in cascade::refusals(of.table) {
            if tx.exists(&refusal.query, args![store::Id(&self.id)]).await? {
                return Err(Error::Forbidden(format!(
                    "Unable to delete {} {}: there is a {} that refers to it.",
                    of.one, self.id, refusal.table
                )));
            }
        }
        Ok(())
    }

    /// Deletes one with all that falls with it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete(tx: &mut WriteTx, proof: &impl Deletes<R>, id: &str) -> Result<()> {
        Ok(cascade::delete(tx, proof, R::of().table, id).await?)
    }
}
