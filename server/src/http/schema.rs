//! JSON schemas of request bodies and queries, as data beside their resource.

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;
use vicar_rules::origin::{LONGEST, MOST_LABELS};

use crate::error::{Error, Result};

/// A name: at least one character that is no space, and no NUL, which not every engine stores.
pub const NAME: &str = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";
/// Any string that every engine stores.
pub const TEXT: &str = r"^[^\u0000]*$";
/// What a string looks like that appears in log lines: without control characters, and not of spaces alone.
pub const PRINTABLE: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
/// An id of a domain or project, as Keystone makes and accepts them.
pub const ID: &str = "^[a-zA-Z0-9-]+$";

/// A schema, with what it compiles to.
#[derive(Debug)]
pub struct Schema {
    json: Value,
    validator: Result<Validator, String>,
}

/// A request body.
#[derive(Debug)]
pub struct Body {
    /// The member that the schema is about; the whole body if there is no name.
    pub member: Option<&'static str>,
    /// The schema, which is compiled when it is first asked for.
    pub schema: fn() -> &'static Schema,
}

impl Schema {
    /// Compiles; a schema that is wrong itself shows at its first use (and in every test that uses it).
    pub fn new(json: &Value) -> Self {
        let validator = jsonschema::draft7::new(json).map_err(|e| e.to_string());
        Self { json: json.clone(), validator }
    }

    /// The schema itself.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// Checks a value that is called `name`.
    ///
    /// # Errors
    /// 400 with the field and the rule, never with the value, which could be a secret; 500 when the schema is
    /// wrong itself.
    pub fn check(&self, name: &str, value: &Value) -> Result<()> {
        let validator =
            self.validator.as_ref().map_err(|e| Error::Internal(format!("schema of {name}: {e}")))?;
        match validator.validate(value) {
            Ok(()) => Ok(()),
            Err(e) => {
                let path = e.instance_path().to_string().replace('/', ".");
                let problem = match e.kind() {
                    ValidationErrorKind::Enum { options } => one_of(options),
                    _ => None,
                };
                let problem = problem.unwrap_or_else(|| e.masked().to_string());
                Err(Error::BadRequest(format!("Invalid input for {name}{path}: {problem}")))
            }
        }
    }
}

/// So many words of a list are named in a message.
const MOST_WORDS: usize = 20;

/// What is wrong with a value that is not in a short list, with all that is in it.
fn one_of(options: &Value) -> Option<String> {
    let (last, others) = options.as_array().filter(|all| all.len() <= MOST_WORDS)?.split_last()?;
    let others: Vec<String> = others.iter().map(Value::to_string).collect();
    Some(match others.as_slice() {
        [] => format!("value is not {last}"),
        others => format!("value is not one of {} or {last}", others.join(", ")),
    })
}

/// A schema that is compiled at its first use.
#[macro_export]
macro_rules! schema {
    ($name:ident, $($json:tt)+) => {
        #[doc = concat!("The schema ", stringify!($name), ".")]
        pub static $name: std::sync::LazyLock<$crate::http::schema::Schema> =
            std::sync::LazyLock::new(|| $crate::http::schema::Schema::new(&serde_json::json!($($json)+)));
    };
}

/// The schema of a list of roles by id or by name, as trusts and keypairs take it.
pub fn named_roles() -> Value {
    serde_json::json!({"type": ["array", "null"], "maxItems": 1000, "items": named_role()})
}

/// The schema of a role by id or by name.
pub fn named_role() -> Value {
    serde_json::json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "minLength": 1, "maxLength": 64},
            "name": {"type": "string", "minLength": 1, "maxLength": 255},
        },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
    })
}

/// The most access rules that a trust or a keypair is limited to. Two lists are compared rule by rule.
const MOST_RULES: usize = 32;

/// A word that an access rule is made of: the type of a service, an id.
pub const WORD: &str = "^[a-zA-Z0-9-]+$";

/// What an access rule says, as the properties of its schema.
pub fn access_rule() -> Value {
    serde_json::json!({
        "service": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": WORD},
        "path": {"type": "string", "maxLength": 128, "pattern": r"^/[^\u0000]*$"},
        "method": {"enum": ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]},
    })
}

/// The schema of the access rules of a trust or a keypair.
pub fn access_rules() -> Value {
    let rule = serde_json::json!({
        "type": "object",
        "required": ["service", "path", "method"],
        "properties": access_rule(),
        "additionalProperties": false,
    });
    serde_json::json!({"type": ["array", "null"], "maxItems": MOST_RULES, "items": rule})
}

/// The schema of the source identity of a chain.
pub fn source_identity() -> Value {
    serde_json::json!({"type": ["string", "null"], "minLength": 1, "maxLength": LONGEST, "pattern": PRINTABLE})
}

/// The schema of the labels of a chain.
pub fn labels() -> Value {
    let text =
        serde_json::json!({"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": PRINTABLE});
    serde_json::json!({
        "type": ["object", "null"],
        "maxProperties": MOST_LABELS,
        "propertyNames": text,
        "additionalProperties": text,
    })
}

/// The schema of a truth value in a query.
pub fn flag() -> Value {
    serde_json::json!({"enum": [
        "True", "TRUE", "true", "False", "FALSE", "false", "", "1", "0", "y", "Y", "n", "N", "on", "ON",
        "off", "OFF", "yes", "no",
    ]})
}
