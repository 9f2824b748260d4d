//! Values on their way into and out of a database.

use std::borrow::Cow;

use vicar_rules::Micros;

use super::{Error, Result};
use crate::clock;

/// A value of a column or an argument.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// NULL
    Null,
    /// A number.
    Int(i64),
    /// Characters. Comparing them is the database's business: MariaDB and MySQL take letters of another case
    /// for the same.
    Text(String),
    /// An id, or another string that is compared byte by byte on every engine. No column is read as one.
    Id(String),
    /// True or false.
    Bool(bool),
    /// A DATETIME.
    DateTime(Micros),
    /// A DATE, as `YYYY-MM-DD`.
    Date(String),
}

/// A DATETIME column, as microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime(pub Micros);

/// A DATE column, as `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub String);

impl Value {
    /// A string as one that is compared byte by byte; anything else as it is.
    #[must_use]
    pub fn into_id(self) -> Self {
        match self {
            Self::Text(text) => Self::Id(text),
            other => other,
        }
    }

    /// The characters, if it has any.
    pub(super) fn characters(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Id(text) => Some(text),
            _ => None,
        }
    }
}

/// An id among the arguments of a statement: `args![Id(&user)]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id<T>(pub T);

impl<T: Into<Value>> From<Id<T>> for Value {
    fn from(v: Id<T>) -> Self {
        v.0.into().into_id()
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(v.to_owned())
    }
}

impl From<String> for Value {
    fn from(v: String) -> Self {
        Self::Text(v)
    }
}

impl From<&String> for Value {
    fn from(v: &String) -> Self {
        Self::Text(v.clone())
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}

impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Self::Int(v.into())
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}

impl From<DateTime> for Value {
    fn from(v: DateTime) -> Self {
        Self::DateTime(v.0)
    }
}

impl From<Date> for Value {
    fn from(v: Date) -> Self {
        Self::Date(v.0)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::Null, Into::into)
    }
}

impl From<&Option<String>> for Value {
    fn from(v: &Option<String>) -> Self {
        v.clone().into()
    }
}

/// What is asked for with a NUL is nowhere, and PostgreSQL would not even look: null is equal to nothing.
pub(super) fn findable(args: &[Value]) -> Cow<'_, [Value]> {
    let odd = |arg: &Value| arg.characters().is_some_and(|t| t.contains('\0'));
    if !args.iter().any(odd) {
        return Cow::Borrowed(args);
    }
    args.iter().map(|arg| if odd(arg) { Value::Null } else { arg.clone() }).collect()
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// Converts, or says what was found instead.
    fn from_value(v: Value) -> Result<Self>;
}

fn wrong(wanted: &str, found: &Value) -> Error {
    // The kind only: a value may be a secret.
    let kind = match found {
        Value::Null => "null",
        Value::Int(_) => "a number",
        Value::Text(_) | Value::Id(_) => "text",
        Value::Bool(_) => "a boolean",
        Value::DateTime(_) => "a time",
        Value::Date(_) => "a date",
    };
    Error::Broken(format!("expected {wanted}, found {kind}"))
}

impl FromValue for Value {
    fn from_value(v: Value) -> Result<Self> {
        Ok(v)
    }
}

impl FromValue for String {
    fn from_value(v: Value) -> Result<Self> {
        match v {
            Value::Text(t) | Value::Id(t) => Ok(t),
            // SQLite keeps what it was given: a name of digits may come back as a number.
            Value::Int(i) => Ok(i.to_string()),
            other => Err(wrong("text", &other)),
        }
    }
}

impl FromValue for i64 {
    fn from_value(v: Value) -> Result<Self> {
        match v {
            Value::Int(i) => Ok(i),
            other => Err(wrong("a number", &other)),
        }
    }
}

impl FromValue for u32 {
    fn from_value(v: Value) -> Result<Self> {
        // A negative or huge count can only be a damaged row; nothing is the safe reading.
        i64::from_value(v).map(|i| u32::try_from(i).unwrap_or(0))
    }
}

impl FromValue for bool {
    fn from_value(v: Value) -> Result<Self> {
        match v {
            Value::Bool(b) => Ok(b),
            Value::Int(i) => Ok(i != 0),
            other => Err(wrong("a boolean", &other)),
        }
    }
}

impl FromValue for DateTime {
    fn from_value(v: Value) -> Result<Self> {
        match &v {
            Value::DateTime(t) => Ok(Self(*t)),
            Value::Text(t) => clock::from_sql_datetime(t).map(Self).ok_or_else(|| wrong("a time", &v)),
            _ => Err(wrong("a time", &v)),
        }
    }
}

impl FromValue for Date {
    fn from_value(v: Value) -> Result<Self> {
        match v {
            Value::Date(d) | Value::Text(d) => Ok(Self(d)),
            other => Err(wrong("a date", &other)),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(v: Value) -> Result<Self> {
        match v {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

/// A row; its columns are taken in the order of the query.
#[derive(Debug)]
pub struct Row {
    values: std::vec::IntoIter<Value>,
}

impl Row {
    pub(super) fn new(values: Vec<Value>) -> Self {
        Self { values: values.into_iter() }
    }

    /// The columns that were not taken yet.
    pub(super) fn values(&self) -> &[Value] {
        self.values.as_slice()
    }

    /// The next column.
    pub fn take<T: FromValue>(&mut self) -> Result<T> {
        let v = self.values.next().ok_or_else(|| Error::Broken("the row has fewer columns".into()))?;
        T::from_value(v)
    }
}
