//! Every reference of the schema: the object is deleted through the API, and what named it is looked at.
//!
//! The rows are generated, one in each table, each of which names those of the others. A new reference comes with the
//! schema, and a table whose objects can be deleted by nobody has to say why here.

use vicar::args;
use vicar::store::cascade::DOMAIN;
use vicar::store::schema::{self, Column, KEYSTONE, OWN, OnDelete, Reference, Table, Type};
use vicar::store::{DateTime, Value, placeholders};

use crate::cascade::{NUMBER, empty, fill, tables};
use crate::support::{START, Server, count};

/// A column, the table that it is in, and what it names.
type Named = (&'static Table, &'static Column, &'static Reference);

/// Where objects of a table are deleted, or why nobody deletes them.
fn path(target: &str) -> Result<&'static str, &'static str> {
    Ok(match target {
        "user" => "/v3/users/x",
        "group" => "/v3/groups/x",
        "project" => "/v3/projects/x",
        DOMAIN => "/v3/domains/x",
        "role" => "/v3/roles/x",
        "region" => "/v3/regions/x",
        "service" => "/v3/services/x",
        "endpoint" => "/v3/endpoints/x",
        "endpoint_group" => "/v3/OS-EP-FILTER/endpoint_groups/x",
        "policy" => "/v3/policies/x",
        "registered_limit" => "/v3/registered_limits/x",
        "trust" => "/v3/OS-TRUST/trusts/x",
        "credential" => "/v3/credentials/x",
        "application_credential" => "/v3/users/x/application_credentials/x",
        "access_rule" => "/v3/users/x/access_rules/x",
        "consumer" => "/v3/OS-OAUTH1/consumers/x",
        "access_token" => "/v3/users/x/OS-OAUTH1/access_tokens/x",
        "identity_provider" => "/v3/OS-FEDERATION/identity_providers/x",
        "federation_protocol" => "/v3/OS-FEDERATION/identity_providers/x/protocols/x",
        "mapping" => "/v3/OS-FEDERATION/mappings/x",
        "local_user" => return Err("it is a part of a user, and is deleted as such"),
        "system" => return Err("there is one system, and it stays"),
        _ => return Err(""),
    })
}

/// What is refused as long as there is something that names it, though the schema would delete that too.
const REFUSED: [(&str, &str, &str); 1] = [(
    "application_credential_access_rule",
    "access_rule_id",
    "a rule that a credential has is kept, as in Keystone",
)];

fn references() -> impl Iterator<Item = Named> {
    let columns = KEYSTONE.iter().chain(OWN).flat_map(|t| t.columns.iter().map(move |c| (t, c)));
    columns.flat_map(|(t, c)| c.references().map(move |r| (t, c, r)))
}

fn is_refused((table, column, reference): &Named) -> bool {
    reference.on_delete == OnDelete::Refuses
        || REFUSED.iter().any(|(t, c, _)| (*t, *c) == (table.name, column.name))
}

/// The key of the object in a column that names it.
fn key(column: &Column) -> Value {
    match column.ty {
        Type::Integer | Type::BigInt | Type::Serial => NUMBER.into(),
        _ => Value::Id("x".into()),
    }
}

/// How many rows name the object, and fit a condition.
fn naming(s: &Server, (table, column, reference): &Named, and: &str) -> usize {
    let when = reference.when.map(|when| format!(" AND {when}")).unwrap_or_default();
    let sql = format!("SELECT 1 FROM \"{}\" WHERE \"{}\" = ?{when}{and}", table.name, column.name);
    count(s, &sql, &[key(column)])
}

/// A row that names the object where the usual one does not: of another type, or below one of the same table.
fn add(s: &Server, (table, column, reference): &Named) {
    let word = reference.when.and_then(|when| when.split('\'').nth(1));
    let value = |c: &Column| -> Value {
        match (c.name, c.ty) {
            (name, _) if name == column.name => key(c),
            // A project is below its domain.
            ("parent_id", _) if (table.name, column.name) == ("project", "domain_id") => "x".into(),
            (name, _) if reference.when.is_some_and(|when| when.starts_with(name)) => {
                word.unwrap_or_default().into()
            }
            ("id" | "name", _) if word.is_none() => "child".into(),
            ("is_domain" | "impersonation", _) => false.into(),
            (_, Type::Boolean) => true.into(),
            (_, Type::DateTime) => DateTime(START).into(),
            (_, Type::Integer | Type::BigInt | Type::Serial) => 2_i64.into(),
            ("parent_id" | "parent_region_id" | "redelegated_trust_id", _) => Value::Null,
            _ => "x".into(),
        }
    };
    let values: Vec<Value> = table.columns.iter().map(value).collect();
    let names: Vec<String> = table.columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
    let (names, marks) = (names.join(", "), placeholders(values.len()));
    s.sql_run(&format!("INSERT INTO \"{}\" ({names}) VALUES ({marks})", table.name), &values);
}

/// Everything names everything; what is deleted can be.
fn scene(target: &str, naming_it: &[Named]) -> Server {
    // Nobody is left whose token it could be.
    let s = Server::with("[DEFAULT]\nadmin_token = nobody\n");
    empty(&s);
    fill(&s);
    match target {
        "project" => s.sql_run("UPDATE project SET is_domain = ? WHERE id = 'x'", args![false]),
        DOMAIN => s.sql_run("UPDATE project SET enabled = ? WHERE id = 'x'", args![false]),
        _ => {}
    }
    s.sql_run("UPDATE trust SET redelegated_trust_id = NULL", &[]);
    s.sql_run("UPDATE mapping SET rules = '[]'", &[]);
    for each in naming_it {
        if naming(&s, each, "") == 0 {
            add(&s, each);
        }
    }
    s.sql_run("UPDATE trust SET deleted_at = NULL, expires_at = NULL, expires_at_int = NULL", &[]);
    s.sql_run("UPDATE vicar_trust_state SET ended_at = NULL, reason = NULL", &[]);
    s.sql_run("UPDATE vicar_keypair SET expires_at = NULL", &[]);
    for each in naming_it {
        assert_ne!(
            naming(&s, each, ""),
            0,
            "{}.{} names nothing in the scene of {target}",
            each.0.name,
            each.1.name
        );
    }
    s
}

/// What became of a row.
fn judge(s: &Server, target: &str, each: &Named) {
    let (table, column, reference) = each;
    let at = format!("{}.{}, when a {target} is deleted", table.name, column.name);
    match reference.on_delete {
        // The schema says why it does not matter.
        OnDelete::Kept(why) => assert!(!why.is_empty(), "{at}"),
        // A trust that ended stays for a while, with its parts, and gives nothing.
        OnDelete::Goes if target == "trust" => {
            assert_eq!(count(s, "SELECT 1 FROM trust WHERE deleted_at IS NULL", &[]), 0, "{at}: it lives");
        }
        OnDelete::ByRules(_) if table.name == "trust" => {
            assert_eq!(naming(s, each, " AND deleted_at IS NULL"), 0, "{at}: a trust lives");
        }
        _ => assert_eq!(naming(s, each, ""), 0, "{at}: it is still named"),
    }
}

#[test]
fn what_is_deleted_is_named_by_nothing_that_grants() {
    assert!(tables().count() > 40);
    let mut targets: Vec<&str> = references().map(|(_, _, r)| r.table).collect();
    targets.sort_unstable();
    targets.dedup();
    let mut looked_at = 0;
    for target in targets {
        let naming_it: Vec<Named> = references().filter(|(_, _, r)| r.table == target).collect();
        let path = match path(target) {
            Ok(path) => path,
            Err(why) => {
                assert!(!why.is_empty(), "{target} is named by others; where is it deleted, or why not?");
                continue;
            }
        };
        assert!(target == DOMAIN || schema::table(target).is_some(), "{target}");
        let s = scene(target, &naming_it);
        for each in naming_it.iter().filter(|each| is_refused(each)) {
            let refused = s.delete("nobody", path);
            assert!(matches!(refused.status, 403 | 409), "{path}: {}", refused.text);
            assert_ne!(naming(&s, each, ""), 0, "{target}: nothing is deleted by what is refused");
            s.sql_run(
                &format!("DELETE FROM \"{}\" WHERE \"{}\" = ?", each.0.name, each.1.name),
                &[key(each.1)],
            );
        }
        let answer = s.delete("nobody", path);
        assert_eq!(answer.status, 204, "{path}: {}", answer.text);
        for each in naming_it.iter().filter(|each| !is_refused(each)) {
            judge(&s, target, each);
            looked_at += 1;
        }
    }
    assert!(looked_at > 70, "{looked_at} references were looked at");
}
