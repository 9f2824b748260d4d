//! Queries whose conditions depend on what is asked for.

use super::{Result, Row, Tx, Value, placeholders};

/// Builds the variable part of a query: conditions, order, page.
#[derive(Debug, Clone)]
pub struct Select {
    sql: String,
    args: Vec<Value>,
    has_where: bool,
}

impl Select {
    /// From the constant part, up to but without `WHERE`.
    pub fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), args: Vec::new(), has_where: false }
    }

    fn condition(&mut self) {
        self.sql.push_str(if self.has_where { " AND " } else { " WHERE " });
        self.has_where = true;
    }

    /// `AND <condition>` with its arguments.
    pub fn and(&mut self, condition: &str, args: &[Value]) -> &mut Self {
        self.condition();
        self.sql.push_str(condition);
        self.args.extend_from_slice(args);
        self
    }

    /// `AND <column> = ?`, when there is a value.
    pub fn eq(&mut self, column: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(v) = value {
            self.condition();
            self.sql.push_str(column);
            self.sql.push_str(" = ?");
            self.args.push(v.into());
        }
        self
    }

    /// `AND <column> = ?`, compared byte by byte on every engine, when there is a value: for ids.
    pub fn id(&mut self, column: &str, value: Option<impl Into<Value>>) -> &mut Self {
        self.eq(column, value.map(|v| v.into().into_id()))
    }

    /// `AND <column> IN (…)`; an empty list matches nothing.
    pub fn is_in<V: Into<Value>>(&mut self, column: &str, values: impl IntoIterator<Item = V>) -> &mut Self {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        self.condition();
        if values.is_empty() {
            self.sql.push_str("1 = 0");
        } else {
            self.sql.push_str(column);
            self.sql.push_str(" IN (");
            self.sql.push_str(&placeholders(values.len()));
            self.sql.push(')');
            self.args.extend(values);
        }
        self
    }

    /// The same of ids, compared byte by byte on every engine.
    pub fn id_in<V: Into<Value>>(&mut self, column: &str, ids: impl IntoIterator<Item = V>) -> &mut Self {
        self.is_in(column, ids.into_iter().map(|id| id.into().into_id()))
    }

    /// What comes last: order, limit.
    pub fn end(&mut self, tail: &str) -> &mut Self {
        self.sql.push(' ');
        self.sql.push_str(tail);
        self
    }

    /// At most so many rows.
    pub fn limit(&mut self, rows: usize) -> &mut Self {
        self.args.push(Value::Int(i64::try_from(rows).unwrap_or(i64::MAX)));
        self.end("LIMIT ?")
    }

    /// Runs it.
    pub async fn map<T>(&self, tx: &mut Tx, read: impl Fn(&mut Row) -> Result<T>) -> Result<Vec<T>> {
        tx.map(&self.sql, &self.args, read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_a_name() {
        let mut q = Select::new("SELECT 1 FROM t");
        q.id("t.id", Some("i")).eq("t.name", Some("n")).id("t.other", None::<&str>).id_in("t.x", ["a"]);
        assert_eq!(q.sql, "SELECT 1 FROM t WHERE t.id = ? AND t.name = ? AND t.x IN (?)");
        assert_eq!(q.args, [Value::Id("i".into()), "n".into(), Value::Id("a".into())]);
    }
}
