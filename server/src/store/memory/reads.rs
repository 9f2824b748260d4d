//! What a statement reads, found in its text: of each table the keys of the rows that it can depend on, or the whole table.
//!
//! A statement depends on a table's rows with a key when a condition that every row has to meet compares the key with an argument, or
//! with a column of which that is true. `LEFT JOIN project d ON d.id = u.domain_id` depends on the project that
//! each row of the result names, if `u.domain_id` is in the result. Whatever is not understood makes the dependency larger, never
//! smaller: a table as a whole, or no memory of the statement at all.

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    JoinConstraint, JoinOperator, LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, Value,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use super::super::places::numbered;
use super::super::schema;
use super::journal::{Journaled, Key, journaled_table};

/// A dependency of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Read {
    /// On all of a table.
    Table(&'static str),
    /// On the rows with a key of a kind: an argument, by its place.
    Argument(&'static str, usize),
    /// On the rows with a key of a kind: the values of a column of the result.
    Column(&'static str, usize),
    /// On the rows of a kind that have no more of a key than that.
    Kind(&'static str),
}

/// All that a statement depends on, or nothing when that is not understood, or when it reads what is not written down.
pub(super) fn reads(sql: &str) -> Option<Vec<Read>> {
    let statements = Parser::parse_sql(&GenericDialect {}, &numbered(sql)).ok()?;
    let [Statement::Query(query)] = statements.as_slice() else { return None };
    let mut found = Found { reads: Vec::new(), named: Vec::new() };
    found.query(query, None, true)?;
    found.reads.sort_unstable();
    found.reads.dedup();
    Some(found.reads)
}

/// Functions whose value follows from their arguments alone.
const PURE: [&str; 8] = ["COALESCE", "COUNT", "LENGTH", "LOWER", "MAX", "MIN", "SUM", "UPPER"];

/// A table with the name that a `SELECT` gives it.
struct Named<'a> {
    alias: &'a str,
    /// None for a query in its place.
    table: Option<&'static Journaled>,
    is_left_joined: bool,
}

/// A condition that every row has to meet.
struct Condition<'a> {
    expr: &'a Expr,
    /// Of a `LEFT JOIN`: it says something of the rows of this table alone.
    of: Option<&'a str>,
}

/// One `SELECT` within those around it.
struct Scope<'a> {
    tables: Vec<Named<'a>>,
    conditions: Vec<Condition<'a>>,
    /// The columns of the result, where they are known one by one and rows are not left out for what is in others.
    columns: Vec<&'a Expr>,
    outer: Option<&'a Scope<'a>>,
}

/// Where the values of a column come from.
#[derive(Clone, Copy)]
enum Source {
    Argument(usize),
    Column(usize),
}

struct Found {
    reads: Vec<Read>,
    /// Names of queries that `WITH` gives.
    named: Vec<String>,
}

impl Found {
    fn query(&mut self, query: &Query, outer: Option<&Scope<'_>>, is_top: bool) -> Option<()> {
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                self.named.push(cte.alias.name.value.clone());
                self.query(&cte.query, outer, false)?;
            }
        }
        let is_simple = query.limit_clause.is_none() && query.fetch.is_none();
        if !query.pipe_operators.is_empty() || query.fetch.is_some() {
            return None;
        }
        self.body(&query.body, outer, is_top && is_simple)?;
        // What an order or a limit says is looked through for queries; names there are those of the result.
        let scope = Scope { tables: Vec::new(), conditions: Vec::new(), columns: Vec::new(), outer };
        if let Some(order) = &query.order_by {
            let OrderByKind::Expressions(all) = &order.kind else { return None };
            for by in all {
                self.expr(&by.expr, &scope)?;
            }
        }
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                for expr in limit.iter().chain(offset.iter().map(|o| &o.value)) {
                    self.expr(expr, &scope)?;
                }
            }
            Some(_) => return None,
        }
        Some(())
    }

    fn body(&mut self, body: &SetExpr, outer: Option<&Scope<'_>>, is_top: bool) -> Option<()> {
        match body {
            SetExpr::Select(select) => self.select(select, outer, is_top),
            SetExpr::Query(query) => self.query(query, outer, is_top),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, outer, is_top)?;
                self.body(right, outer, is_top)
            }
            SetExpr::Values(values) => {
                let scope = Scope { tables: Vec::new(), conditions: Vec::new(), columns: Vec::new(), outer };
                values.rows.iter().flatten().try_for_each(|expr| self.expr(expr, &scope))
            }
            _ => None,
        }
    }

    fn select(&mut self, select: &Select, outer: Option<&Scope<'_>>, is_top: bool) -> Option<()> {
        let mut scope = Scope { tables: Vec::new(), conditions: Vec::new(), columns: Vec::new(), outer };
        let mut inside: Vec<&Expr> = Vec::new();
        for from in &select.from {
            self.factor(&from.relation, false, &mut scope)?;
            for join in &from.joins {
                let (constraint, is_left) = match &join.join_operator {
                    JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::CrossJoin(c) => (c, false),
                    JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (c, true),
                    _ => return None,
                };
                self.factor(&join.relation, is_left, &mut scope)?;
                let alias = scope.tables.last().map(|named| named.alias);
                match constraint {
                    JoinConstraint::On(expr) => {
                        inside.push(expr);
                        conjuncts(expr, &mut |expr| {
                            scope.conditions.push(Condition { expr, of: alias.filter(|_| is_left) });
                        });
                    }
                    JoinConstraint::None => {}
                    JoinConstraint::Using(_) | JoinConstraint::Natural => return None,
                }
            }
        }
        if let Some(expr) = &select.selection {
            inside.push(expr);
            conjuncts(expr, &mut |expr| scope.conditions.push(Condition { expr, of: None }));
        }
        let mut is_plain = is_top && select.having.is_none();
        match &select.group_by {
            GroupByExpr::Expressions(by, more) if more.is_empty() => {
                is_plain &= by.is_empty();
                inside.extend(by);
            }
            _ => return None,
        }
        match &select.distinct {
            None => {}
            Some(Distinct::Distinct) => is_plain = false,
            Some(_) => return None,
        }
        inside.extend(&select.having);
        let mut columns = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => columns.push(expr),
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => is_plain = false,
            }
        }
        inside.extend(&columns);
        if is_plain && !columns.iter().any(|expr| is_aggregate(expr)) {
            scope.columns = columns;
        }
        for named in &scope.tables {
            if let Some(table) = named.table {
                self.table(named.alias, table, &scope);
            }
        }
        inside.into_iter().try_for_each(|expr| self.expr(expr, &scope))
    }

    fn factor<'a>(
        &mut self,
        factor: &'a TableFactor,
        is_left_joined: bool,
        scope: &mut Scope<'a>,
    ) -> Option<()> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let [part] = name.0.as_slice() else { return None };
                let name = part.as_ident()?.value.as_str();
                let alias = alias.as_ref().map_or(name, |alias| alias.name.value.as_str());
                let table = match self.named.iter().any(|cte| cte == name) {
                    true => None,
                    false => Some(journaled_table(name)?),
                };
                scope.tables.push(Named { alias, table, is_left_joined });
                Some(())
            }
            TableFactor::Derived { lateral: false, subquery, alias: Some(alias), .. } => {
                self.query(subquery, None, false)?;
                scope.tables.push(Named { alias: &alias.name.value, table: None, is_left_joined });
                Some(())
            }
            _ => None,
        }
    }

    /// Notes what is read of a table: its rows with some key, or all.
    fn table(&mut self, alias: &str, table: &'static Journaled, scope: &Scope<'_>) {
        for key in table.keys {
            let Some(sources) = scope.key(alias, key) else { continue };
            self.above(table, Some(key.kind));
            self.reads.extend(sources.into_iter().map(|source| match source {
                None => Read::Kind(key.kind),
                Some(Source::Argument(n)) => Read::Argument(key.kind, n),
                Some(Source::Column(n)) => Read::Column(key.kind, n),
            }));
            return;
        }
        self.above(table, None);
        self.reads.push(Read::Table(table.table));
    }

    /// Notes the tables with whose rows those of a table go by a foreign key, of which MariaDB's triggers hear nothing: all of
    /// them, but for what has the same key.
    fn above(&mut self, table: &Journaled, kind: Option<&str>) {
        let keys = schema::table(table.table).map_or(&[][..], |described| described.foreign_keys);
        for key in keys.iter().filter(|key| key.on_delete_cascade || key.on_update_cascade) {
            let Some(parent) = journaled_table(key.table) else { continue };
            if kind.is_none_or(|kind| parent.keys.iter().all(|key| key.kind != kind)) {
                self.reads.push(Read::Table(parent.table));
                self.above(parent, None);
            }
        }
    }

    /// Looks for queries within an expression.
    fn expr(&mut self, expr: &Expr, scope: &Scope<'_>) -> Option<()> {
        let (inner, queries) = parts(expr)?;
        queries.into_iter().try_for_each(|query| self.query(query, Some(scope), false))?;
        inner.into_iter().try_for_each(|expr| self.expr(expr, scope))
    }
}

impl Scope<'_> {
    /// Where the values of a table's key come from. An entry without a source is a key that has no value.
    fn key(&self, alias: &str, key: &Key) -> Option<Vec<Option<Source>>> {
        let is_null = |column: &str| {
            self.conditions.iter().any(|condition| {
                let Expr::IsNull(of) = condition.expr else { return false };
                condition.of.is_none_or(|of| of == alias) && self.column(of) == Some((alias, column))
            })
        };
        if !key.when_null.iter().all(|column| is_null(column)) {
            return None;
        }
        if key.column.is_empty() {
            return Some(vec![None]);
        }
        let sources = match &key.by {
            None => self.sources(alias, key.column, &mut Vec::new()),
            Some(by) => {
                let other = self.equals(alias, key.column).into_iter().find(|(other, column)| {
                    *column == by.id
                        && self.named(other).is_some_and(|t| t.table.is_some_and(|t| t.table == by.table))
                })?;
                self.sources(other.0, by.value, &mut Vec::new())
            }
        };
        Some(sources?.into_iter().map(Some).collect())
    }

    /// The table of that name, here or around.
    fn named(&self, alias: &str) -> Option<&Named<'_>> {
        let here = self.tables.iter().find(|named| named.alias == alias);
        here.or_else(|| self.outer.and_then(|outer| outer.named(alias)))
    }

    /// The table and the column that an expression names.
    fn column<'e>(&'e self, expr: &'e Expr) -> Option<(&'e str, &'e str)> {
        match expr {
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [alias, column] => Some((&alias.value, &column.value)),
                _ => None,
            },
            Expr::Identifier(column) => match self.tables.as_slice() {
                [only] => Some((only.alias, &column.value)),
                _ => None,
            },
            Expr::Nested(inner) => self.column(inner),
            _ => None,
        }
    }

    /// The conditions that say something of the rows of a table.
    fn conditions_of<'s>(&'s self, alias: &'s str) -> impl Iterator<Item = &'s Expr> {
        self.conditions.iter().filter(move |c| c.of.is_none_or(|of| of == alias)).map(|c| c.expr)
    }

    /// The columns that a column is always equal to.
    fn equals<'s>(&'s self, alias: &'s str, column: &'s str) -> Vec<(&'s str, &'s str)> {
        let mut found = Vec::new();
        for condition in self.conditions_of(alias) {
            let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { continue };
            for (this, other) in [(left, right), (right, left)] {
                if self.column(this) == Some((alias, column)) {
                    found.extend(self.column(other));
                }
            }
        }
        found
    }

    /// Where the values of a column come from, if they all come from arguments or are in the result.
    fn sources<'s>(
        &'s self,
        alias: &'s str,
        column: &'s str,
        seen: &mut Vec<(String, String)>,
    ) -> Option<Vec<Source>> {
        if !self.tables.iter().any(|named| named.alias == alias) {
            return self.outer?.sources(alias, column, seen);
        }
        if seen.iter().any(|(a, c)| a == alias && c == column) {
            return None;
        }
        seen.push((alias.to_owned(), column.to_owned()));
        let direct = self.conditions_of(alias).find_map(|condition| self.compared(condition, alias, column));
        if direct.is_some() {
            return direct;
        }
        for (other, its) in self.equals(alias, column) {
            if let Some(found) = self.sources(other, its, seen) {
                return Some(found);
            }
            if let Some(n) = self.in_result(alias, other, its) {
                return Some(vec![Source::Column(n)]);
            }
        }
        None
    }

    /// The arguments that a condition compares a column with, whichever of its alternatives is true.
    fn compared(&self, condition: &Expr, alias: &str, column: &str) -> Option<Vec<Source>> {
        let is_it = |expr: &Expr| self.column(expr) == Some((alias, column));
        match condition {
            Expr::Nested(inner) => self.compared(inner, alias, column),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.compared(left, alias, column).or_else(|| self.compared(right, alias, column))
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                let mut both = self.compared(left, alias, column)?;
                both.extend(self.compared(right, alias, column)?);
                Some(both)
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                let value = if is_it(left) { right } else { is_it(right).then_some(left)? };
                Some(vec![argument(value)?])
            }
            Expr::InList { expr, list, negated: false } if is_it(expr) => list.iter().map(argument).collect(),
            _ => None,
        }
    }

    /// The place in the result of the column by which a table is joined, if no row is left out for what is in that table.
    fn in_result(&self, joined: &str, alias: &str, column: &str) -> Option<usize> {
        let is_left = self.tables.iter().any(|named| named.alias == joined && named.is_left_joined);
        let decides =
            |condition: &Condition<'_>| condition.of != Some(joined) && self.mentions(condition.expr, joined);
        if !is_left || self.conditions.iter().any(decides) {
            return None;
        }
        self.columns.iter().position(|expr| self.column(expr) == Some((alias, column)))
    }

    /// Whether an expression may name a column of a table.
    fn mentions(&self, expr: &Expr, alias: &str) -> bool {
        if let Some((of, _)) = self.column(expr) {
            return of == alias;
        }
        match parts(expr) {
            // A name without its table may be of any.
            _ if matches!(expr, Expr::Identifier(_)) => true,
            Some((inner, queries)) => {
                !queries.is_empty() || inner.into_iter().any(|e| self.mentions(e, alias))
            }
            None => true,
        }
    }
}

/// Calls with each part of what `AND` connects.
fn conjuncts<'a>(expr: &'a Expr, each: &mut impl FnMut(&'a Expr)) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, each);
            conjuncts(right, each);
        }
        Expr::Nested(inner) => conjuncts(inner, each),
        other => each(other),
    }
}

fn argument(expr: &Expr) -> Option<Source> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => {
                Some(Source::Argument(name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)?))
            }
            _ => None,
        },
        Expr::Nested(inner) => argument(inner),
        _ => None,
    }
}

fn is_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => !function.name.to_string().eq_ignore_ascii_case("COALESCE"),
        _ => parts(expr).is_none_or(|(inner, _)| inner.into_iter().any(is_aggregate)),
    }
}

/// What an expression is made of: expressions and queries. None for one that is not understood, or whose value does not follow from
/// its parts.
fn parts(expr: &Expr) -> Option<(Vec<&Expr>, Vec<&Query>)> {
    let of = |inner: Vec<_>| Some((inner, Vec::new()));
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) => of(Vec::new()),
        Expr::IsNull(e)
        | Expr::IsNotNull(e)
        | Expr::IsTrue(e)
        | Expr::IsFalse(e)
        | Expr::Nested(e)
        | Expr::UnaryOp { expr: e, .. }
        | Expr::Cast { expr: e, .. } => of(vec![e]),
        Expr::BinaryOp { left, right, .. } => of(vec![left, right]),
        Expr::Between { expr, low, high, .. } => of(vec![expr, low, high]),
        Expr::Like { expr, pattern, .. } => of(vec![expr, pattern]),
        Expr::InList { expr, list, .. } => of(std::iter::once(&**expr).chain(list).collect()),
        Expr::InSubquery { expr, subquery, .. } => Some((vec![expr], vec![subquery])),
        Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => Some((Vec::new(), vec![subquery])),
        Expr::Case { operand, conditions, else_result, .. } => {
            let whens = conditions.iter().flat_map(|when| [&when.condition, &when.result]);
            of(operand.iter().chain(else_result).map(|e| &**e).chain(whens).collect())
        }
        Expr::Function(function) => {
            if !PURE.iter().any(|pure| function.name.to_string().eq_ignore_ascii_case(pure)) {
                return None;
            }
            let FunctionArguments::List(list) = &function.args else { return None };
            let mut args = Vec::new();
            for arg in &list.args {
                match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => args.push(e),
                    FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {}
                    _ => return None,
                }
            }
            of(args)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Read::{Argument, Column, Kind, Table};
    use super::*;

    #[test]
    fn a_key_that_is_compared_is_what_is_read() {
        assert_eq!(reads("SELECT name FROM role WHERE id = ?"), Some(vec![Argument("r", 0)]));
        assert_eq!(
            reads("SELECT r.name FROM role r WHERE r.name = ? AND r.id IN (?, ?)"),
            Some(vec![Argument("r", 1), Argument("r", 2)])
        );
        // What is only one of two ways to be found is no limit.
        assert_eq!(reads("SELECT 1 FROM role r WHERE r.id = ? OR r.name = ?"), Some(vec![Table("role")]));
        assert_eq!(reads("SELECT 1 FROM role r WHERE NOT r.id = ?"), Some(vec![Table("role")]));
        assert_eq!(reads("SELECT 1 FROM role r WHERE r.id <> ?"), Some(vec![Table("role")]));
        assert_eq!(reads("SELECT 1 FROM role r WHERE r.id NOT IN (?)"), Some(vec![Table("role")]));
        assert_eq!(
            reads("SELECT 1 FROM role r WHERE (r.id = ? AND r.name = ?) OR (r.id IN (?, ?))"),
            Some(vec![Argument("r", 0), Argument("r", 2), Argument("r", 3)])
        );
        assert_eq!(reads("SELECT 1 FROM role r WHERE r.id = 'x'"), Some(vec![Table("role")]));
    }

    #[test]
    fn what_is_joined_is_found_by_what_it_is_joined_to() {
        let user = "SELECT u.id, u.domain_id, l.name, d.name FROM \"user\" u
                    LEFT JOIN local_user l ON l.user_id = u.id
                    LEFT JOIN project d ON d.id = u.domain_id";
        assert_eq!(reads(&format!("{user} WHERE u.id IN (?)")), Some(vec![Argument("u", 0), Column("p", 1)]));
        // A row could be left out for what is in the domain, which is not known then.
        assert_eq!(
            reads(&format!("{user} WHERE u.id IN (?) AND d.enabled = ?")),
            Some(vec![Table("project"), Argument("u", 0)])
        );
        assert_eq!(
            reads(&format!("{user} WHERE u.id IN (?)").replace("LEFT JOIN project", "JOIN project")),
            Some(vec![Table("project"), Argument("u", 0)])
        );
        assert_eq!(
            reads(&format!("{user} WHERE u.id IN (?) LIMIT 1")),
            Some(vec![Table("project"), Argument("u", 0)])
        );
        // What is joined on the left limits nothing on the right.
        assert_eq!(
            reads("SELECT u.id FROM \"user\" u LEFT JOIN role r ON r.id = ? AND u.id = ?"),
            Some(vec![Table("user"), Argument("r", 0)])
        );
    }

    #[test]
    fn queries_within_are_read_too() {
        assert_eq!(
            reads(
                "SELECT r.id, (SELECT o.option_value FROM role_option o WHERE o.role_id = r.id AND o.option_id = 'IMMU')
                   FROM role r WHERE r.id IN (?)"
            ),
            Some(vec![Argument("r", 0)])
        );
        assert_eq!(
            reads(
                "SELECT (SELECT p.expires_at_int FROM password p WHERE p.local_user_id = l.id
                          ORDER BY p.created_at_int DESC LIMIT 1)
                   FROM \"user\" u LEFT JOIN local_user l ON l.user_id = u.id WHERE u.id = ?"
            ),
            Some(vec![Argument("u", 0)])
        );
        assert_eq!(
            reads(
                "SELECT a.role_id FROM assignment a WHERE a.target_id = ? AND a.inherited = ?
                    AND (a.actor_id = ? OR a.actor_id IN (SELECT group_id FROM user_group_membership WHERE user_id = ?))"
            ),
            Some(vec![Argument("h", 0), Argument("u", 3)])
        );
        assert_eq!(
            reads(
                "WITH RECURSIVE below AS (SELECT id FROM trust WHERE id = ? UNION SELECT t.id FROM trust t JOIN below b ON t.redelegated_trust_id = b.id) SELECT id FROM below"
            ),
            Some(vec![Table("trust"), Argument("t", 0)])
        );
    }

    #[test]
    fn events_are_read_by_what_they_name() {
        let nobody = "user_id IS NULL AND audit_id IS NULL AND trust_id IS NULL AND audit_chain_id IS NULL";
        let found = reads(&format!(
            "SELECT id FROM revocation_event WHERE user_id IN (?, ?) AND issued_before >= ?
             UNION ALL SELECT id FROM revocation_event WHERE project_id = ? AND {nobody} AND issued_before >= ?
             UNION ALL SELECT id FROM revocation_event WHERE project_id IS NULL AND {nobody} AND issued_before >= ?"
        ));
        assert_eq!(found, Some(vec![Argument("rp", 3), Argument("ru", 0), Argument("ru", 1), Kind("r")]));
        // An event of a project that names somebody besides has another key.
        assert_eq!(
            reads("SELECT id FROM revocation_event WHERE project_id = ?"),
            Some(vec![Table("revocation_event")])
        );
    }

    #[test]
    fn what_goes_by_a_foreign_key_is_read_with_what_it_goes_with() {
        let option = "SELECT o.option_value FROM user_option o WHERE";
        assert_eq!(reads(&format!("{option} o.user_id = ?")), Some(vec![Argument("u", 0)]));
        let whole = Some(vec![Table("user"), Table("user_option")]);
        assert_eq!(reads(&format!("{option} o.option_id = ?")), whole);
        // By way of another table, too.
        let whole = Some(vec![Table("local_user"), Table("password"), Table("user")]);
        assert_eq!(reads("SELECT p.id FROM password p"), whole);
        assert_eq!(
            reads("SELECT f.display_name FROM federated_user f WHERE f.user_id = ?"),
            Some(vec![Table("federation_protocol"), Table("identity_provider"), Argument("u", 0)])
        );
        // Whatever has such a key to a table without a journal would not be known to go.
        for table in super::super::journal::JOURNALED {
            let described = schema::table(table.table).expect("it is in the schema");
            for key in described.foreign_keys.iter().filter(|key| key.on_delete_cascade) {
                assert!(journaled_table(key.table).is_some(), "{} refers to {}", table.table, key.table);
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_not_remembered() {
        for sql in [
            "PRAGMA quick_check(1)",
            "SELECT id FROM vicar_replay WHERE fingerprint = ?",
            "SELECT random() FROM role",
            "SELECT id FROM role WHERE expires > CURRENT_TIMESTAMP",
            "SELECT 1 FROM role r FULL JOIN trust t ON t.id = r.id",
            "SELECT 1 FROM main.role",
        ] {
            assert_eq!(reads(sql), None, "{sql}");
        }
    }
}
