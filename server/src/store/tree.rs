//! Rows that hang on each other by a column: regions, projects, trusts.

use super::{Id, Result, Tx};
use crate::args;

/// A table whose rows name the one above them.
#[derive(Debug, Clone, Copy)]
pub struct Tree {
    /// The table; its key is `id`.
    pub table: &'static str,
    /// The column that names the row above.
    pub parent: &'static str,
}

/// Regions below regions.
pub const REGIONS: Tree = Tree { table: "region", parent: "parent_region_id" };

/// Projects below projects and domains.
pub const PROJECTS: Tree = Tree { table: "project", parent: "parent_id" };

/// Trusts that were redelegated from trusts.
pub const TRUSTS: Tree = Tree { table: "trust", parent: "redelegated_trust_id" };

impl Tree {
    /// The beginning of a query: `WITH RECURSIVE below(id) AS (…)`, the rows of a condition and all that hang
    /// on them. Circles end too, as no row is looked at twice.
    pub fn below(self, condition: &str) -> String {
        let Self { table, parent } = self;
        format!(
            "WITH RECURSIVE below(id) AS (
                 SELECT id FROM {table} WHERE {condition}
                 UNION
                 SELECT t.id FROM {table} t JOIN below ON t.{parent} = below.id) "
        )
    }

    /// The same upwards: `WITH RECURSIVE above(id, parent) AS (…)`, the rows of a condition and all that they
    /// hang on.
    pub fn above(self, condition: &str) -> String {
        let Self { table, parent } = self;
        format!(
            "WITH RECURSIVE above(id, parent) AS (
                 SELECT id, {parent} FROM {table} WHERE {condition}
                 UNION
                 SELECT t.id, t.{parent} FROM {table} t JOIN above ON t.id = above.parent) "
        )
    }

    /// The ids of a row and of all that hang on it, in no order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ids_below(self, tx: &mut Tx, id: &str) -> Result<Vec<String>> {
        tx.column(&(self.below("id = ?") + "SELECT id FROM below"), args![Id(id)]).await
    }

    /// The ids of a row and of all that it hangs on, in no order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ids_above(self, tx: &mut Tx, id: &str) -> Result<Vec<String>> {
        tx.column(&(self.above("id = ?") + "SELECT id FROM above"), args![Id(id)]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Insert, Store, migrate, schema};
    use crate::system::System;

    #[test]
    fn trees_are_in_the_schema() {
        for tree in [REGIONS, PROJECTS, TRUSTS] {
            let table = schema::table(tree.table).expect("a table");
            let parent = table.columns.iter().find(|c| c.name == tree.parent).expect("a column");
            assert!(parent.references().any(|r| r.table == tree.table), "{tree:?}");
        }
    }

    #[tokio::test]
    async fn up_and_down_and_round() {
        let store = Store::memory().expect("opens");
        migrate::sync(&store, 0).await.expect("makes it");
        let mut tx = store.write().await.expect("begins");
        let mut regions = Insert::into("region");
        for (id, parent) in [
            ("a", None),
            ("b", Some("a")),
            ("c", Some("b")),
            ("d", Some("a")),
            ("x", Some("y")),
            ("y", Some("x")),
        ] {
            regions = regions.row().set("id", id).set("description", "").set("parent_region_id", parent);
        }
        tx.execute(&System::CommandLine, &regions).await.expect("inserts");
        for (id, below, above) in
            [("a", "abcd", "a"), ("b", "bc", "ab"), ("c", "c", "abc"), ("x", "xy", "xy"), ("nowhere", "", "")]
        {
            let sorted = |mut ids: Vec<String>| {
                ids.sort();
                ids.concat()
            };
            assert_eq!(sorted(REGIONS.ids_below(&mut tx, id).await.expect("reads")), below, "{id}");
            assert_eq!(sorted(REGIONS.ids_above(&mut tx, id).await.expect("reads")), above, "{id}");
        }
    }
}
