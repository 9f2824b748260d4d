//! What is deleted with what, on engines that enforce foreign keys.

use vicar::store::cascade;
use vicar::store::migrate::ROOT_DOMAIN;
use vicar::store::schema::{Column, KEYSTONE, OWN, Table, Type};
use vicar::store::{Date, DateTime, Value, placeholders};

use crate::support::{START, Server};

/// Tables of the database itself.
const KEPT: [&str; 3] = ["alembic_version", "vicar_schema", "vicar_guard"];

/// The tables that rows are made in.
pub fn tables() -> impl DoubleEndedIterator<Item = &'static Table> {
    KEYSTONE.iter().chain(OWN).filter(|table| !KEPT.contains(&table.name))
}

/// No rows but what the schema comes with.
pub fn empty(s: &Server) {
    s.sql_run("DELETE FROM project WHERE parent_id IS NOT NULL", &[]);
    for table in tables().rev() {
        match table.name {
            "project" => s.sql_run("DELETE FROM project WHERE id <> ?", &[ROOT_DOMAIN.into()]),
            name => s.sql_run(&format!("DELETE FROM \"{name}\""), &[]),
        }
    }
}

/// The key where keys are numbers. The numbers that a database gives by itself do not reach it.
pub const NUMBER: i64 = 900_001;

/// One row in each table, each of which refers to those of the others.
pub fn fill(s: &Server) {
    for table in tables() {
        let value = |c: &Column| -> Value {
            match c.ty {
                _ if (table.name, c.name) == ("project", "domain_id") => ROOT_DOMAIN.into(),
                _ if (table.name, c.name) == ("project", "parent_id") => Value::Null,
                Type::Varchar(_) | Type::Text => "x".into(),
                Type::Integer | Type::BigInt | Type::Serial => NUMBER.into(),
                Type::Boolean => true.into(),
                Type::DateTime => DateTime(START).into(),
                Type::Date => Date("2027-01-15".into()).into(),
                Type::Enum { values, .. } => values[0].into(),
            }
        };
        let values: Vec<Value> = table.columns.iter().map(value).collect();
        let names: Vec<String> = table.columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
        let into = format!(
            "INSERT INTO \"{}\" ({}) VALUES ({})",
            table.name,
            names.join(", "),
            placeholders(values.len())
        );
        s.sql_run(&into, &values);
    }
}

#[test]
fn what_falls_falls_in_an_order_that_foreign_keys_allow() {
    let s = Server::start();
    for gone in [
        "user",
        "group",
        "role",
        "project",
        "endpoint",
        "service",
        "region",
        "trust",
        "credential",
        "consumer",
        "policy",
        "endpoint_group",
    ] {
        empty(&s);
        fill(&s);
        if gone == "region" {
            // It refuses while there is one.
            assert_eq!(cascade::refusals(gone).len(), 1);
            s.sql_run("DELETE FROM endpoint", &[]);
        }
        for (sql, args) in cascade::statements(s.app.store.dialect(), gone, "x") {
            s.sql_run(&sql, &args);
        }
        let left = s.sql_text(&format!("SELECT COUNT(*) FROM \"{gone}\" WHERE id = 'x'"), &[]);
        assert_eq!(left.as_deref(), Some("0"), "{gone}");
    }
}
