//! What a description says of one attribute.

use serde_json::{Map, Value, json};

use crate::http::schema::flag;
use crate::store::schema::{self, Column, Type};

/// Where the value of a field is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// In the column of the field's name.
    Column,
    /// Among the attributes in the column `extra`.
    Extra,
    /// In another table: an SQL expression over `t`, the resource's own row. It is never written.
    Elsewhere(&'static str),
    /// `options.immutable`, in the table of the resource's options.
    Options,
    /// Nowhere: a client sends it, and a hook makes something of it.
    Request,
}

/// Who sets a field, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// The server.
    Server,
    /// A client, when the object is created. A change may repeat the value.
    Once,
    /// A client.
    Always,
}

/// What a list does with a field's name in its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    No,
    Yes,
    /// The query's value must be one that the field could have.
    Checked,
}

/// The value of a field that a new object's body does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    Null,
    Text(&'static str),
    True,
    /// None at all, for what is kept in `extra`.
    Absent,
}

/// An attribute. Its type, its length and whether it takes null are those of the column, unless it says
/// otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The attribute's name, and the column's.
    pub name: &'static str,
    pub(super) home: Home,
    pub(super) set: Set,
    pub(super) filter: Filter,
    pub(super) default: Default,
    pub(super) is_shown: bool,
    pub(super) must_exist: bool,
    pub(super) null_means: Option<&'static str>,
    pub(super) null_kept_as: Option<&'static str>,
    is_required: bool,
    takes_null: Option<bool>,
    min_length: u16,
    max_length: Option<u16>,
    pattern: Option<&'static str>,
    words: &'static [&'static str],
    least: Option<i64>,
    pub(super) json: Option<fn() -> Value>,
}

impl Field {
    /// A column of this name.
    pub const fn of(name: &'static str) -> Self {
        Self {
            name,
            home: Home::Column,
            set: Set::Always,
            filter: Filter::No,
            default: Default::Null,
            is_shown: true,
            must_exist: false,
            null_means: None,
            null_kept_as: None,
            is_required: false,
            takes_null: None,
            min_length: 0,
            max_length: None,
            pattern: None,
            words: &[],
            least: None,
            json: None,
        }
    }

    /// The id, which the server makes.
    pub const fn id() -> Self {
        Self::of("id").by_server()
    }

    /// The option `immutable`, in the table `<table>_option`. While it is set nothing changes but the option.
    pub const fn options() -> Self {
        Self { home: Home::Options, ..Self::of("options") }
    }

    /// An attribute that has no column but does have rules; it is kept in `extra`.
    pub const fn in_extra(name: &'static str) -> Self {
        Self { home: Home::Extra, takes_null: Some(false), default: Default::Absent, ..Self::of(name) }
    }

    /// An attribute that is in another row: an SQL expression over `t`, the resource's own.
    pub const fn elsewhere(name: &'static str, expression: &'static str) -> Self {
        Self { home: Home::Elsewhere(expression), ..Self::of(name) }
    }

    /// An attribute that is in requests only.
    pub const fn in_requests(name: &'static str) -> Self {
        Self { home: Home::Request, is_shown: false, default: Default::Absent, ..Self::of(name) }
    }

    /// The server sets it, and no client.
    #[must_use]
    pub const fn by_server(mut self) -> Self {
        self.set = Set::Server;
        self
    }

    /// A client sets it at creation and never again. Of an id: may set it, else the server makes one.
    #[must_use]
    pub const fn set_once(mut self) -> Self {
        self.set = Set::Once;
        self
    }

    /// A client must set it at creation.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.is_required = true;
        self.not_null()
    }

    /// A client may send null.
    #[must_use]
    pub const fn or_null(mut self) -> Self {
        self.takes_null = Some(true);
        self
    }

    /// A client may not send null, though the column takes it.
    #[must_use]
    pub const fn not_null(mut self) -> Self {
        self.takes_null = Some(false);
        self
    }

    /// Null is this string: in requests and in the database.
    #[must_use]
    pub const fn null_means(mut self, text: &'static str) -> Self {
        self.null_means = Some(text);
        self.or_null()
    }

    /// Null is this string in the database, and null for clients.
    #[must_use]
    pub const fn null_kept_as(mut self, text: &'static str) -> Self {
        self.null_kept_as = Some(text);
        self.or_null()
    }

    /// A new object has this string unless it says otherwise.
    #[must_use]
    pub const fn default_text(mut self, text: &'static str) -> Self {
        self.default = Default::Text(text);
        self
    }

    /// A new object has `true` unless it says otherwise.
    #[must_use]
    pub const fn default_true(mut self) -> Self {
        self.default = Default::True;
        self
    }

    /// No client sees it.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.is_shown = false;
        self.by_server()
    }

    /// It is not empty.
    #[must_use]
    pub const fn not_empty(mut self) -> Self {
        self.min_length = 1;
        self
    }

    /// At most so many characters: for what is kept in `extra` or in a column without a length.
    #[must_use]
    pub const fn at_most(mut self, characters: u16) -> Self {
        self.max_length = Some(characters);
        self
    }

    /// A regular expression that it matches.
    #[must_use]
    pub const fn matching(mut self, pattern: &'static str) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// It is one of these words.
    #[must_use]
    pub const fn one_of(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    /// The least number that it can be; the largest is the column's.
    #[must_use]
    pub const fn at_least(mut self, number: i64) -> Self {
        self.least = Some(number);
        self
    }

    /// It is kept as JSON, in a column of characters; this is the schema of what a client sends.
    #[must_use]
    pub const fn as_json(mut self, schema: fn() -> Value) -> Self {
        self.json = Some(schema);
        self
    }

    /// It names a row of the table that the schema says, which must be there: otherwise 400.
    #[must_use]
    pub const fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Lists can be filtered by it.
    #[must_use]
    pub const fn filters(mut self) -> Self {
        self.filter = Filter::Yes;
        self
    }

    /// The same; a value that it cannot have is 400.
    #[must_use]
    pub const fn filters_checked(mut self) -> Self {
        self.filter = Filter::Checked;
        self
    }

    /// The column in a table.
    pub(super) fn column(&self, table: &str) -> Option<&'static Column> {
        let columns = schema::table(table)?.columns;
        columns.iter().find(|c| c.name == self.name)
    }

    pub(super) fn ty(&self, table: &str) -> Type {
        self.column(table).map_or(Type::Text, |c| c.ty)
    }

    /// Whether its values are strings.
    pub(super) fn is_string(&self, table: &str) -> bool {
        matches!(self.ty(table), Type::Text | Type::Varchar(_))
    }

    pub(super) fn is_required(&self) -> bool {
        self.is_required
    }

    /// The JSON schema of a value that a client sends.
    pub(super) fn schema(&self, table: &str) -> Value {
        if self.home == Home::Options {
            return json!({
                "type": "object",
                "properties": {"immutable": {"type": ["boolean", "null"]}},
                "additionalProperties": false,
            });
        }
        if let Some(schema) = self.json {
            return schema();
        }
        let column = self.column(table);
        let of_column = || column.is_some_and(|c| c.nullable) || self.home == Home::Request;
        let takes_null = self.takes_null.unwrap_or_else(of_column);
        if !self.words.is_empty() {
            let null = takes_null.then_some(Value::Null);
            let words: Vec<Value> = self.words.iter().map(|w| (*w).into()).chain(null).collect();
            return json!({"enum": words});
        }
        let mut rules = Map::new();
        let name = match self.ty(table) {
            Type::Boolean => "boolean",
            Type::Integer | Type::BigInt | Type::Serial => {
                rules.insert("minimum".into(), self.least.unwrap_or(i32::MIN.into()).into());
                rules.insert("maximum".into(), i32::MAX.into());
                "integer"
            }
            _ => {
                self.add_rules_of_strings(table, &mut rules);
                "string"
            }
        };
        rules.insert("type".into(), if takes_null { json!([name, "null"]) } else { name.into() });
        rules.into()
    }

    /// A value that fits the schema, as it is stored: for JSON `10.0` is a whole number too.
    pub(super) fn whole(&self, table: &str, value: Value) -> Value {
        let is_number = matches!(self.ty(table), Type::Integer | Type::BigInt | Type::Serial);
        match value.as_f64() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the schema says that it is whole, and of 32 bits"
            )]
            Some(number) if is_number && value.is_f64() => (number as i64).into(),
            _ => value,
        }
    }

    /// Whether every object that clients see has it.
    pub(super) fn is_always_shown(&self) -> bool {
        self.is_shown && self.home != Home::Extra
    }

    /// The JSON schema of the value that clients see. What is kept in `extra` was checked by nobody if a Keystone
    /// stored it.
    pub(super) fn shown_schema(&self, table: &str) -> Value {
        let column = self.column(table);
        let may_be_null = match (self.home, self.null_means) {
            (Home::Options, _) => return json!({"$ref": "#/components/schemas/Options"}),
            (Home::Extra, _) => return json!({}),
            _ if self.json.is_some() => return self.json.map_or(Value::Null, |schema| schema()),
            (_, Some(_)) => false,
            _ => self.null_kept_as.is_some() || column.is_none_or(|c| c.nullable),
        };
        let name = match self.ty(table) {
            Type::Boolean => "boolean",
            Type::Integer | Type::BigInt | Type::Serial => "integer",
            _ => "string",
        };
        if may_be_null { json!({"type": [name, "null"]}) } else { json!({"type": name}) }
    }

    /// The most characters that it can have.
    pub(super) fn most(&self, table: &str) -> Option<u16> {
        let of_column = match self.ty(table) {
            Type::Varchar(n) => Some(n),
            _ => None,
        };
        self.max_length.or(of_column)
    }

    fn add_rules_of_strings(&self, table: &str, rules: &mut Map<String, Value>) {
        if self.min_length > 0 {
            rules.insert("minLength".into(), self.min_length.into());
        }
        if let Some(most) = self.most(table) {
            rules.insert("maxLength".into(), most.into());
        }
        if let Some(pattern) = self.pattern {
            rules.insert("pattern".into(), pattern.into());
        }
    }

    /// The JSON schema of a query's value, which is a string always.
    pub(super) fn query_schema(&self, table: &str) -> Value {
        if !self.words.is_empty() {
            return json!({"enum": self.words});
        }
        if self.ty(table) == Type::Boolean {
            return flag();
        }
        let mut rules = Map::new();
        self.add_rules_of_strings(table, &mut rules);
        rules.into()
    }
}
