//! The database schema, as data.
//!
//! [`KEYSTONE`] describes the tables of Keystone 30.0.0: the same names, types, nullability, keys
//! and indexes, so that a deployment can switch to this server and back on one database. [`OWN`]
//! holds what Keystone has no place for; its tables are prefixed `vicar_`, and Keystone never looks
//! at them. [`OWN_INDEXES`] are extra indexes on Keystone's tables, prefixed `ix_vicar_`.
//! `tests/keystone/schema.py` compares a database made from this file with one made by
//! `keystone-manage db_sync`, and leaves out exactly these two prefixes.
//!
//! The places where Keystone's schema differs between databases beyond the spelling of types carry
//! a [`Scope`].

use std::collections::HashMap;
use std::sync::LazyLock;

/// A database whose SQL we can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB, with InnoDB.
    Mysql,
}

/// The databases on which a constraint or an index exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// On every database.
    All,
    /// On one only.
    Only(Dialect),
    /// On every one but this.
    Except(Dialect),
}

impl Scope {
    /// Whether this covers `dialect`.
    pub fn covers(self, dialect: Dialect) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(only) => only == dialect,
            Scope::Except(except) => except != dialect,
        }
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Characters, at most so many.
    Varchar(u16),
    /// Characters without a limit; JSON is kept in these too.
    Text,
    /// 32 bits (SQLite: as many as it takes).
    Integer,
    /// 64 bits.
    BigInt,
    /// True or false; a number outside PostgreSQL.
    Boolean,
    /// A UTC date and time without a zone.
    DateTime,
    /// A date.
    Date,
    /// An integer the database assigns; always a table's whole primary key.
    Serial,
    /// One of a few words: a named type of its own in PostgreSQL, `ENUM` in MySQL, characters in
    /// SQLite.
    Enum {
        /// The name of PostgreSQL's type.
        name: &'static str,
        /// The words, in their order.
        values: &'static [&'static str],
    },
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether it may be null.
    pub nullable: bool,
    /// The value the database puts in when none is given, without quotes.
    pub default: Option<&'static str>,
    /// How its strings are compared.
    pub compared: Comparison,
    /// What its values name.
    pub references: [Option<Reference>; 2],
}

/// How two strings of a column are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// When their bytes are, on every database: ids, keys, words.
    Bytes,
    /// When the database's collation says so: names. In MySQL that is what makes them unique.
    Collation,
}

/// What a value of a column names, whether or not there is a foreign key.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// The table, or `domain` for a project that is a domain.
    pub table: &'static str,
    /// The column there.
    pub column: &'static str,
    /// Of which rows it is true, as a condition on this table.
    pub when: Option<&'static str>,
    /// What becomes of the row when the named one is deleted.
    pub on_delete: OnDelete,
}

/// What becomes of a row when a row that it names is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// It is deleted first.
    Goes,
    /// It is deleted, and before it the row that this other column of it names.
    Takes(&'static str),
    /// The column becomes null.
    Forgets,
    /// While it is there, the other is not deleted.
    Refuses,
    /// Code decides, for this reason; nothing is generated.
    ByRules(&'static str),
    /// It stays as it is, for this reason.
    Kept(&'static str),
    /// This other column of it names the same owner, and says what happens.
    Follows(&'static str),
}

/// A foreign key.
#[derive(Clone, Copy, Debug)]
pub struct ForeignKey {
    /// Its name, where it is not left to the database.
    pub name: Option<&'static str>,
    /// The columns that refer.
    pub columns: &'static [&'static str],
    /// The table referred to.
    pub table: &'static str,
    /// The columns referred to.
    pub references: &'static [&'static str],
    /// Whether rows go when the row they refer to goes.
    pub on_delete_cascade: bool,
    /// Whether rows follow when the row they refer to changes its key.
    pub on_update_cascade: bool,
    /// Where it exists.
    pub scope: Scope,
}

/// A unique constraint.
#[derive(Clone, Copy, Debug)]
pub struct Unique {
    /// Its name, where it is not left to the database.
    pub name: Option<&'static str>,
    /// Its columns.
    pub columns: &'static [&'static str],
    /// Where it exists.
    pub scope: Scope,
}

/// An index.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [&'static str],
    /// Whether no two rows may agree in the columns.
    pub unique: bool,
    /// The condition of the rows that are in it, where it is not all. MySQL has no such indexes.
    pub only: Option<&'static str>,
    /// Where it exists.
    pub scope: Scope,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    /// The columns of its primary key.
    pub primary_key: &'static [&'static str],
    /// The name of the primary key, where it is not left to the database.
    pub primary_key_name: Option<&'static str>,
    /// Its unique constraints.
    pub uniques: &'static [Unique],
    /// Its foreign keys.
    pub foreign_keys: &'static [ForeignKey],
    /// Its indexes.
    pub indexes: &'static [Index],
}

impl Table {
    /// What a table has unless it says otherwise.
    const EMPTY: Table = Table {
        name: "",
        columns: &[],
        primary_key: &[],
        primary_key_name: None,
        uniques: &[],
        foreign_keys: &[],
        indexes: &[],
    };
}

impl Column {
    const fn null(mut self) -> Column {
        self.nullable = true;
        self
    }

    const fn default_to(mut self, value: &'static str) -> Column {
        self.default = Some(value);
        self
    }

    const fn collated(mut self) -> Column {
        self.compared = Comparison::Collation;
        self
    }

    /// Adds what the column names. A third reference does not compile.
    const fn refers(mut self, table: &'static str, on_delete: OnDelete) -> Column {
        let new = Some(Reference { table, column: "id", when: None, on_delete });
        self.references = match self.references {
            [None, _] => [new, None],
            [first, None] => [first, new],
            [Some(_), Some(_)] => panic!("a column has two references at most"),
        };
        self
    }

    /// The row is deleted with the one that the column names.
    const fn goes_with(self, table: &'static str) -> Column {
        self.refers(table, OnDelete::Goes)
    }

    /// So is the row that `other`, a column of this table, names.
    const fn takes(self, table: &'static str, other: &'static str) -> Column {
        self.refers(table, OnDelete::Takes(other))
    }

    /// The column becomes null when the row that it names is deleted.
    const fn forgets(self, table: &'static str) -> Column {
        self.refers(table, OnDelete::Forgets)
    }

    /// The row that the column names is not deleted while there is one that names it.
    const fn refuses(self, table: &'static str) -> Column {
        self.refers(table, OnDelete::Refuses)
    }

    /// Code decides what becomes of the row.
    const fn by_rules(self, table: &'static str, why: &'static str) -> Column {
        self.refers(table, OnDelete::ByRules(why))
    }

    /// The row stays when what the column names is deleted.
    const fn kept(self, table: &'static str, why: &'static str) -> Column {
        self.refers(table, OnDelete::Kept(why))
    }

    /// The column repeats what the row that `other` names says.
    const fn follows(self, table: &'static str, other: &'static str) -> Column {
        self.refers(table, OnDelete::Follows(other))
    }

    const fn last_reference(&mut self) -> Option<&mut Reference> {
        match &mut self.references {
            [_, Some(last)] | [Some(last), None] => Some(last),
            [None, None] => None,
        }
    }

    /// The last reference is one to this column instead of `id`.
    const fn by(mut self, column: &'static str) -> Column {
        if let Some(last) = self.last_reference() {
            last.column = column;
        }
        self
    }

    /// The last reference is one of the rows of this condition only.
    const fn when(mut self, condition: &'static str) -> Column {
        if let Some(last) = self.last_reference() {
            last.when = Some(condition);
        }
        self
    }

    /// What its values name.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.references.iter().flatten()
    }
}

impl ForeignKey {
    const fn named(mut self, name: &'static str) -> ForeignKey {
        self.name = Some(name);
        self
    }

    const fn on_delete_cascade(mut self) -> ForeignKey {
        self.on_delete_cascade = true;
        self
    }

    const fn on_update_cascade(mut self) -> ForeignKey {
        self.on_update_cascade = true;
        self
    }

    const fn on(mut self, scope: Scope) -> ForeignKey {
        self.scope = scope;
        self
    }
}

impl Unique {
    const fn named(mut self, name: &'static str) -> Unique {
        self.name = Some(name);
        self
    }

    const fn on(mut self, scope: Scope) -> Unique {
        self.scope = scope;
        self
    }
}

impl Index {
    const fn only(mut self, condition: &'static str) -> Index {
        self.only = Some(condition);
        self
    }

    const fn on(mut self, scope: Scope) -> Index {
        self.scope = scope;
        self
    }
}

const fn column(name: &'static str, ty: Type) -> Column {
    Column { name, ty, nullable: false, default: None, compared: Comparison::Bytes, references: [None, None] }
}

const fn varchar(name: &'static str, length: u16) -> Column {
    column(name, Type::Varchar(length))
}

const fn text(name: &'static str) -> Column {
    column(name, Type::Text)
}

const fn integer(name: &'static str) -> Column {
    column(name, Type::Integer)
}

const fn bigint(name: &'static str) -> Column {
    column(name, Type::BigInt)
}

const fn boolean(name: &'static str) -> Column {
    column(name, Type::Boolean)
}

const fn datetime(name: &'static str) -> Column {
    column(name, Type::DateTime)
}

const fn date(name: &'static str) -> Column {
    column(name, Type::Date)
}

const fn serial(name: &'static str) -> Column {
    column(name, Type::Serial)
}

const fn enumeration(name: &'static str, ty: &'static str, values: &'static [&'static str]) -> Column {
    column(name, Type::Enum { name: ty, values })
}

const fn unique(columns: &'static [&'static str]) -> Unique {
    Unique { name: None, columns, scope: Scope::All }
}

const fn references(
    columns: &'static [&'static str],
    table: &'static str,
    referred: &'static [&'static str],
) -> ForeignKey {
    ForeignKey {
        name: None,
        columns,
        table,
        references: referred,
        on_delete_cascade: false,
        on_update_cascade: false,
        scope: Scope::All,
    }
}

const fn index(name: &'static str, columns: &'static [&'static str]) -> Index {
    Index { name, columns, unique: false, only: None, scope: Scope::All }
}

/// The heads that Keystone 30.0.0's migrations leave in `alembic_version`: one of the expand and
/// one of the contract branch.
pub const ALEMBIC_HEADS: &[&str] = &["742c857f1dfb", "c88cdce8f248"];

// Why a row is not deleted by a generated statement.
const EACH_BY_ITSELF: &str = "what a domain owns is deleted before, each by itself: tokens and trusts end";
const ENDED: &str = "a trust is ended with all below it, and its row stays for those who ask how";
const EVENT: &str = "an event outlives what it names, and is deleted when no token can be as old";
const LOSS: &str = "as an event of revocation";
const A_LIST: &str = "a list in a string; a role that is gone gives nothing";
const UNUSED: &str = "a table of former Keystones, which nobody reads";
const LIMITS_NOTHING: &str = "as Keystone does; it limits nothing any more";

/// Keystone's tables, each after the tables it refers to, so that they can be created in this order
/// on a database that checks foreign keys at once. `alembic_version` is among them; its rows are
/// [`ALEMBIC_HEADS`].
///
/// Two things Keystone's migrations make are not here. One is a row: the project that is the domain
/// of all domains, which `project.domain_id` of every domain refers to; whoever fills a new database
/// inserts it first. The other is four functions in PostgreSQL that no trigger calls.
#[rustfmt::skip] // which would spread it over a thousand lines
pub const KEYSTONE: &[Table] = &[
    // Migrations
    Table {
        name: "alembic_version",
        columns: &[varchar("version_num", 32)],
        primary_key: &["version_num"],
        primary_key_name: Some("alembic_version_pkc"),
        ..Table::EMPTY
    },
    // Identity
    Table {
        name: "user",
        columns: &[
            varchar("id", 64), text("extra").null(), boolean("enabled").null(),
            varchar("default_project_id", 64).null().forgets("project"),
            datetime("created_at").null(), date("last_active_at").null(),
            varchar("domain_id", 64).by_rules("domain", EACH_BY_ITSELF),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["id", "domain_id"]).named("ixu_user_id_domain_id")],
        indexes: &[
            index("ix_default_project_id", &["default_project_id"]),
            index("domain_id", &["domain_id"]).on(Scope::Only(Dialect::Mysql)),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "local_user",
        columns: &[
            serial("id"),
            varchar("user_id", 64).goes_with("user"),
            varchar("domain_id", 64).follows("domain", "user_id"),
            varchar("name", 255).collated(), integer("failed_auth_count").null(),
            datetime("failed_auth_at").null(),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["domain_id", "name"]), unique(&["user_id"])],
        foreign_keys: &[
            references(&["user_id", "domain_id"], "user", &["id", "domain_id"])
                .named("local_user_user_id_fkey")
                .on_delete_cascade()
                .on_update_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "nonlocal_user",
        columns: &[
            varchar("domain_id", 64).follows("domain", "user_id"),
            varchar("name", 255).collated(),
            varchar("user_id", 64).goes_with("user"),
        ],
        primary_key: &["domain_id", "name"],
        uniques: &[unique(&["user_id"]).named("ixu_nonlocal_user_user_id")],
        foreign_keys: &[
            references(&["user_id", "domain_id"], "user", &["id", "domain_id"])
                .named("nonlocal_user_user_id_fkey")
                .on_delete_cascade()
                .on_update_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "password",
        columns: &[
            serial("id"),
            integer("local_user_id").goes_with("local_user"),
            datetime("expires_at").null(), boolean("self_service").default_to("0"),
            varchar("password_hash", 255).null(), bigint("created_at_int").default_to("0"),
            bigint("expires_at_int").null(), datetime("created_at"),
        ],
        primary_key: &["id"],
        foreign_keys: &[references(&["local_user_id"], "local_user", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "user_option",
        columns: &[
            varchar("user_id", 64).goes_with("user"),
            varchar("option_id", 4), text("option_value").null(),
        ],
        primary_key: &["user_id", "option_id"],
        foreign_keys: &[references(&["user_id"], "user", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "group",
        columns: &[
            varchar("id", 64),
            varchar("domain_id", 64).by_rules("domain", EACH_BY_ITSELF),
            varchar("name", 64).collated(), text("description").null(), text("extra").null(),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["domain_id", "name"]).named("ixu_group_name_domain_id")],
        ..Table::EMPTY
    },
    Table {
        name: "user_group_membership",
        columns: &[varchar("user_id", 64).goes_with("user"), varchar("group_id", 64).goes_with("group")],
        primary_key: &["user_id", "group_id"],
        foreign_keys: &[
            references(&["user_id"], "user", &["id"]).named("fk_user_group_membership_user_id"),
            references(&["group_id"], "group", &["id"]).named("fk_user_group_membership_group_id"),
        ],
        indexes: &[index("group_id", &["group_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "id_mapping",
        columns: &[
            varchar("public_id", 64).goes_with("user").goes_with("group"),
            varchar("domain_id", 64).goes_with("domain"),
            varchar("local_id", 255), enumeration("entity_type", "entity_type", &["user", "group"]),
        ],
        primary_key: &["public_id"],
        uniques: &[unique(&["domain_id", "local_id", "entity_type"]).named("domain_id")],
        ..Table::EMPTY
    },
    // Projects, domains and domain configuration
    Table {
        name: "project",
        columns: &[
            varchar("id", 64), varchar("name", 64).collated(), text("extra").null(),
            text("description").null(), boolean("enabled").null(),
            varchar("domain_id", 64).by_rules("domain", EACH_BY_ITSELF),
            varchar("parent_id", 64).null().refuses("project"),
            boolean("is_domain").default_to("0"),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["domain_id", "name"]).named("ixu_project_name_domain_id")],
        foreign_keys: &[
            references(&["domain_id"], "project", &["id"]).named("project_domain_id_fkey"),
            references(&["parent_id"], "project", &["id"]).named("project_parent_id_fkey"),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "project_option",
        columns: &[
            varchar("project_id", 64).goes_with("project"),
            varchar("option_id", 4), text("option_value").null(),
        ],
        primary_key: &["project_id", "option_id"],
        foreign_keys: &[references(&["project_id"], "project", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "project_tag",
        columns: &[varchar("project_id", 64).goes_with("project"), varchar("name", 255).collated()],
        primary_key: &["project_id", "name"],
        uniques: &[unique(&["project_id", "name"]).on(Scope::Except(Dialect::Mysql))],
        foreign_keys: &[references(&["project_id"], "project", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "config_register",
        columns: &[varchar("type", 64), varchar("domain_id", 64).goes_with("domain")],
        primary_key: &["type"],
        ..Table::EMPTY
    },
    Table {
        name: "sensitive_config",
        columns: &[
            varchar("domain_id", 64).goes_with("domain"),
            varchar("group", 255), varchar("option", 255), text("value"),
        ],
        primary_key: &["domain_id", "group", "option"],
        ..Table::EMPTY
    },
    Table {
        name: "whitelisted_config",
        columns: &[
            varchar("domain_id", 64).goes_with("domain"),
            varchar("group", 255), varchar("option", 255), text("value"),
        ],
        primary_key: &["domain_id", "group", "option"],
        ..Table::EMPTY
    },
    // Roles and assignments
    Table {
        name: "role",
        columns: &[
            varchar("id", 64), varchar("name", 255).collated(), text("extra").null(),
            varchar("domain_id", 64).default_to("<<null>>").by_rules("domain", EACH_BY_ITSELF),
            varchar("description", 255).null(),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["name", "domain_id"]).named("ixu_role_name_domain_id")],
        ..Table::EMPTY
    },
    Table {
        name: "role_option",
        columns: &[
            varchar("role_id", 64).goes_with("role"),
            varchar("option_id", 4), text("option_value").null(),
        ],
        primary_key: &["role_id", "option_id"],
        foreign_keys: &[references(&["role_id"], "role", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "implied_role",
        columns: &[
            varchar("prior_role_id", 64).goes_with("role"),
            varchar("implied_role_id", 64).goes_with("role"),
        ],
        primary_key: &["prior_role_id", "implied_role_id"],
        foreign_keys: &[
            references(&["prior_role_id"], "role", &["id"])
                .named("implied_role_prior_role_id_fkey")
                .on_delete_cascade(),
            references(&["implied_role_id"], "role", &["id"])
                .named("implied_role_implied_role_id_fkey")
                .on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "assignment",
        columns: &[
            enumeration("type", "type", &["UserProject", "GroupProject", "UserDomain", "GroupDomain"]),
            varchar("actor_id", 64)
                .goes_with("user").when("type IN ('UserProject', 'UserDomain')")
                .goes_with("group").when("type IN ('GroupProject', 'GroupDomain')"),
            varchar("target_id", 64)
                .goes_with("project").when("type IN ('UserProject', 'GroupProject')")
                .goes_with("domain").when("type IN ('UserDomain', 'GroupDomain')"),
            varchar("role_id", 64).goes_with("role"),
            boolean("inherited"),
        ],
        primary_key: &["type", "actor_id", "target_id", "role_id", "inherited"],
        foreign_keys: &[
            references(&["role_id"], "role", &["id"])
                .named("fk_assignment_role_id")
                .on(Scope::Only(Dialect::Sqlite)),
        ],
        indexes: &[index("ix_actor_id", &["actor_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "system_assignment",
        columns: &[
            varchar("type", 64),
            varchar("actor_id", 64)
                .goes_with("user").when("type = 'UserSystem'")
                .goes_with("group").when("type = 'GroupSystem'"),
            varchar("target_id", 64).kept("system", "there is one system, and it stays"),
            varchar("role_id", 64).goes_with("role"),
            boolean("inherited"),
        ],
        primary_key: &["type", "actor_id", "target_id", "role_id", "inherited"],
        ..Table::EMPTY
    },
    // Catalog
    Table {
        name: "region",
        columns: &[
            varchar("id", 255), varchar("description", 255),
            varchar("parent_region_id", 255).null()
                .by_rules("region", "the regions below are deleted before, each by itself"),
            text("extra").null(),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "service",
        columns: &[
            varchar("id", 64), varchar("type", 255).null(), boolean("enabled").default_to("1"),
            text("extra").null(),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "endpoint",
        columns: &[
            varchar("id", 64),
            varchar("legacy_endpoint_id", 64).null()
                .kept("endpoint", "the id that a v2 API showed for several endpoints"),
            varchar("interface", 8),
            varchar("service_id", 64).goes_with("service"),
            text("url"), text("extra").null(), boolean("enabled").default_to("1"),
            varchar("region_id", 255).null().refuses("region"),
        ],
        primary_key: &["id"],
        foreign_keys: &[
            references(&["service_id"], "service", &["id"]).named("endpoint_service_id_fkey"),
            references(&["region_id"], "region", &["id"]).named("fk_endpoint_region_id"),
        ],
        indexes: &[index("service_id", &["service_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "endpoint_group",
        columns: &[
            varchar("id", 64), varchar("name", 255).collated(), text("description").null(), text("filters"),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "project_endpoint",
        columns: &[
            varchar("endpoint_id", 64).goes_with("endpoint"),
            varchar("project_id", 64).goes_with("project"),
        ],
        primary_key: &["endpoint_id", "project_id"],
        ..Table::EMPTY
    },
    Table {
        name: "project_endpoint_group",
        columns: &[
            varchar("endpoint_group_id", 64).goes_with("endpoint_group"),
            varchar("project_id", 64).goes_with("project"),
        ],
        primary_key: &["endpoint_group_id", "project_id"],
        foreign_keys: &[references(&["endpoint_group_id"], "endpoint_group", &["id"])],
        indexes: &[index("idx_project_id", &["project_id"])],
        ..Table::EMPTY
    },
    // Federation
    Table {
        name: "identity_provider",
        columns: &[
            varchar("id", 64), boolean("enabled"), text("description").null(),
            varchar("domain_id", 64).kept("domain", "a provider without its domain lets nobody in"),
            integer("authorization_ttl").null(),
        ],
        primary_key: &["id"],
        indexes: &[index("domain_id", &["domain_id"]).on(Scope::Only(Dialect::Mysql))],
        ..Table::EMPTY
    },
    Table {
        name: "idp_remote_ids",
        columns: &[varchar("idp_id", 64).null().goes_with("identity_provider"), varchar("remote_id", 255)],
        primary_key: &["remote_id"],
        foreign_keys: &[references(&["idp_id"], "identity_provider", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "federation_protocol",
        columns: &[
            varchar("id", 64),
            varchar("idp_id", 64).goes_with("identity_provider"),
            varchar("mapping_id", 64), varchar("remote_id_attribute", 64).null(),
        ],
        primary_key: &["id", "idp_id"],
        foreign_keys: &[references(&["idp_id"], "identity_provider", &["id"]).on_delete_cascade()],
        ..Table::EMPTY
    },
    Table {
        name: "mapping",
        columns: &[
            varchar("id", 64), text("rules"), varchar("schema_version", 5).default_to("1.0"),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "service_provider",
        columns: &[
            varchar("auth_url", 256), varchar("id", 64), boolean("enabled"),
            text("description").null(), varchar("sp_url", 256), varchar("relay_state_prefix", 256),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "federated_user",
        columns: &[
            serial("id"),
            varchar("user_id", 64).goes_with("user"),
            varchar("idp_id", 64).goes_with("identity_provider"),
            varchar("protocol_id", 64).follows("federation_protocol", "idp_id"),
            varchar("unique_id", 255), varchar("display_name", 255).null().collated(),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["idp_id", "protocol_id", "unique_id"])],
        foreign_keys: &[
            references(&["protocol_id", "idp_id"], "federation_protocol", &["id", "idp_id"])
                .named("federated_user_protocol_id_fkey")
                .on_delete_cascade(),
            references(&["user_id"], "user", &["id"]).on_delete_cascade(),
            references(&["idp_id"], "identity_provider", &["id"]).on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "expiring_user_group_membership",
        columns: &[
            varchar("user_id", 64).goes_with("user"),
            varchar("group_id", 64).goes_with("group"),
            varchar("idp_id", 64).goes_with("identity_provider"),
            datetime("last_verified"),
        ],
        primary_key: &["user_id", "group_id", "idp_id"],
        foreign_keys: &[
            references(&["user_id"], "user", &["id"]), references(&["group_id"], "group", &["id"]),
            references(&["idp_id"], "identity_provider", &["id"]).on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    // Credentials and application credentials
    Table {
        name: "credential",
        columns: &[
            varchar("id", 64),
            varchar("user_id", 64).goes_with("user"),
            varchar("project_id", 64).null().goes_with("project"),
            varchar("type", 255), text("extra").null(), varchar("key_hash", 64),
            text("encrypted_blob"),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "application_credential",
        columns: &[
            serial("internal_id"), varchar("id", 64), varchar("name", 255).collated(),
            varchar("secret_hash", 255), text("description").null(),
            varchar("user_id", 64).goes_with("user"),
            varchar("project_id", 64).null().goes_with("project"),
            bigint("expires_at").null(), varchar("system", 64).null(),
            boolean("unrestricted").null(),
        ],
        primary_key: &["internal_id"],
        uniques: &[unique(&["user_id", "name"]).named("duplicate_app_cred_constraint")],
        ..Table::EMPTY
    },
    Table {
        name: "application_credential_role",
        columns: &[
            integer("application_credential_id").goes_with("application_credential").by("internal_id"),
            varchar("role_id", 64).takes("role", "application_credential_id"),
        ],
        primary_key: &["application_credential_id", "role_id"],
        foreign_keys: &[
            references(&["application_credential_id"], "application_credential", &["internal_id"])
                .on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "access_rule",
        columns: &[
            serial("id"), varchar("service", 64).null(), varchar("path", 128).null(),
            varchar("method", 16).null(), varchar("external_id", 64).null(),
            varchar("user_id", 64).null().goes_with("user"),
        ],
        primary_key: &["id"],
        uniques: &[
            unique(&["user_id", "service", "path", "method"])
                .named("duplicate_access_rule_for_user_constraint"),
        ],
        indexes: &[index("external_id", &["external_id"]), index("user_id", &["user_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "application_credential_access_rule",
        columns: &[
            integer("application_credential_id").goes_with("application_credential").by("internal_id"),
            integer("access_rule_id").goes_with("access_rule"),
        ],
        primary_key: &["application_credential_id", "access_rule_id"],
        foreign_keys: &[
            references(&["application_credential_id"], "application_credential", &["internal_id"])
                .on_delete_cascade(),
            references(&["access_rule_id"], "access_rule", &["id"]).on_delete_cascade(),
        ],
        ..Table::EMPTY
    },
    // Trusts
    Table {
        name: "trust",
        columns: &[
            varchar("id", 64),
            varchar("trustor_user_id", 64).by_rules("user", ENDED),
            varchar("trustee_user_id", 64).by_rules("user", ENDED),
            varchar("project_id", 64).null().by_rules("project", ENDED),
            boolean("impersonation"), datetime("deleted_at").null(), datetime("expires_at").null(),
            integer("remaining_uses").null(), text("extra").null(), bigint("expires_at_int").null(),
            varchar("redelegated_trust_id", 64).null().by_rules("trust", ENDED),
            integer("redelegation_count").null(),
        ],
        primary_key: &["id"],
        uniques: &[
            unique(&["trustor_user_id", "trustee_user_id", "project_id", "impersonation", "expires_at"])
                .named("duplicate_trust_constraint"),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "trust_role",
        columns: &[
            varchar("trust_id", 64).goes_with("trust"),
            varchar("role_id", 64).kept("role", "nobody holds it any more, so the trust gives nothing"),
        ],
        primary_key: &["trust_id", "role_id"],
        ..Table::EMPTY
    },
    // OAuth 1.0a
    Table {
        name: "consumer",
        columns: &[
            varchar("id", 64), varchar("description", 64).null(), varchar("secret", 64),
            text("extra"),
        ],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "request_token",
        columns: &[
            varchar("id", 64), varchar("request_secret", 64), varchar("verifier", 64).null(),
            varchar("authorizing_user_id", 64).null().goes_with("user"),
            varchar("requested_project_id", 64).goes_with("project"),
            text("role_ids").null().kept("role", A_LIST),
            varchar("consumer_id", 64).goes_with("consumer"),
            varchar("expires_at", 64).null(),
        ],
        primary_key: &["id"],
        foreign_keys: &[references(&["consumer_id"], "consumer", &["id"])],
        indexes: &[index("ix_request_token_consumer_id", &["consumer_id"])],
        ..Table::EMPTY
    },
    Table {
        name: "access_token",
        columns: &[
            varchar("id", 64), varchar("access_secret", 64),
            varchar("authorizing_user_id", 64).goes_with("user"),
            varchar("project_id", 64).goes_with("project"),
            text("role_ids").kept("role", A_LIST),
            varchar("consumer_id", 64).goes_with("consumer"),
            varchar("expires_at", 64).null(),
        ],
        primary_key: &["id"],
        foreign_keys: &[references(&["consumer_id"], "consumer", &["id"])],
        indexes: &[
            index("ix_access_token_authorizing_user_id", &["authorizing_user_id"]),
            index("ix_access_token_consumer_id", &["consumer_id"]),
        ],
        ..Table::EMPTY
    },
    // Tokens and revocation
    Table {
        name: "token",
        columns: &[
            varchar("id", 64), datetime("expires").null(), text("extra").null(), boolean("valid"),
            varchar("trust_id", 64).null().kept("trust", UNUSED),
            varchar("user_id", 64).null().kept("user", UNUSED),
        ],
        primary_key: &["id"],
        indexes: &[
            index("ix_token_expires", &["expires"]),
            index("ix_token_expires_valid", &["expires", "valid"]),
            index("ix_token_trust_id", &["trust_id"]), index("ix_token_user_id", &["user_id"]),
        ],
        ..Table::EMPTY
    },
    Table {
        name: "revocation_event",
        columns: &[
            serial("id"),
            varchar("domain_id", 64).null().kept("domain", EVENT),
            varchar("project_id", 64).null().kept("project", EVENT),
            varchar("user_id", 64).null().kept("user", EVENT),
            varchar("role_id", 64).null().kept("role", EVENT),
            varchar("trust_id", 64).null().kept("trust", EVENT),
            varchar("consumer_id", 64).null(), varchar("access_token_id", 64).null(),
            datetime("issued_before"), datetime("expires_at").null(), datetime("revoked_at"),
            varchar("audit_id", 32).null(), varchar("audit_chain_id", 32).null(),
        ],
        primary_key: &["id"],
        indexes: &[
            index("ix_revocation_event_audit_id_issued_before", &["audit_id", "issued_before"]),
            index("ix_revocation_event_composite", &["issued_before", "user_id", "project_id", "audit_id"]),
            index("ix_revocation_event_issued_before", &["issued_before"]),
            index("ix_revocation_event_new_revoked_at", &["revoked_at"]),
            index("ix_revocation_event_project_id_issued_before", &["project_id", "issued_before"]),
            index("ix_revocation_event_project_id_user_id", &["project_id", "user_id"]),
            index("ix_revocation_event_user_id_issued_before", &["user_id", "issued_before"]),
        ],
        ..Table::EMPTY
    },
    // Policies
    Table {
        name: "policy",
        columns: &[varchar("id", 64), varchar("type", 255), text("blob"), text("extra").null()],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    Table {
        name: "policy_association",
        columns: &[
            varchar("id", 64),
            varchar("policy_id", 64).goes_with("policy"),
            varchar("endpoint_id", 64).null().goes_with("endpoint"),
            varchar("service_id", 64).null().goes_with("service"),
            varchar("region_id", 64).null().goes_with("region"),
        ],
        primary_key: &["id"],
        uniques: &[unique(&["endpoint_id", "service_id", "region_id"])],
        ..Table::EMPTY
    },
    // Limits
    Table {
        name: "registered_limit",
        columns: &[
            varchar("id", 64),
            varchar("service_id", 255).null().kept("service", LIMITS_NOTHING),
            varchar("region_id", 64).null().kept("region", LIMITS_NOTHING),
            varchar("resource_name", 255).null(), integer("default_limit"),
            text("description").null(), serial("internal_id"),
        ],
        primary_key: &["internal_id"],
        uniques: &[unique(&["id"]).named("registered_limit_id_key")],
        indexes: &[index("region_id", &["region_id"]).on(Scope::Only(Dialect::Mysql))],
        ..Table::EMPTY
    },
    Table {
        name: "limit",
        columns: &[
            varchar("id", 64),
            varchar("project_id", 64).null().goes_with("project"),
            integer("resource_limit"), text("description").null(), serial("internal_id"),
            varchar("registered_limit_id", 64).null().refuses("registered_limit"),
            varchar("domain_id", 64).null().goes_with("domain"),
        ],
        primary_key: &["internal_id"],
        uniques: &[unique(&["id"]).named("limit_id_key")],
        indexes: &[
            index("registered_limit_id", &["registered_limit_id"]).on(Scope::Only(Dialect::Mysql)),
        ],
        ..Table::EMPTY
    },
];

/// Our own tables, which Keystone never touches. They refer to Keystone's rows by id alone: a
/// foreign key would keep Keystone from deleting its rows after switching back.
#[rustfmt::skip]
pub const OWN: &[Table] = &[
    // Which of our own migrations have been applied.
    Table {
        name: "vicar_schema",
        columns: &[integer("version"), datetime("applied_at"), integer("serves_from").null()],
        primary_key: &["version"],
        ..Table::EMPTY
    },
    // One row, which a writer takes before anything else where a server is shared by replicas.
    Table {
        name: "vicar_guard",
        columns: &[integer("id"), bigint("turn")],
        primary_key: &["id"],
        ..Table::EMPTY
    },
    // What a key pair made for a trust carries besides its credential. `roles` is a JSON list of
    // role ids, null for the trust's roles; times are microseconds since 1970.
    Table {
        name: "vicar_keypair",
        columns: &[
            varchar("credential_id", 64).goes_with("credential"),
            varchar("access", 255),
            varchar("trust_id", 64)
                .by_rules("trust", "its credential is deleted with it when the trust ends"),
            varchar("audit_chain_id", 32), text("roles").null(), bigint("expires_at").null(),
            bigint("created_at"), varchar("creator_audit_id", 64).null(),
            bigint("last_used_at").null(),
        ],
        primary_key: &["credential_id"],
        uniques: &[unique(&["access"]).named("ixu_vicar_keypair_access")],
        indexes: &[index("ix_vicar_keypair_trust_id", &["trust_id"])],
        ..Table::EMPTY
    },
    // What is known of a trust besides Keystone's row, and remains after it has ended.
    Table {
        name: "vicar_trust_state",
        columns: &[
            varchar("trust_id", 64).goes_with("trust"),
            bigint("ended_at").null(), varchar("reason", 32).null(), integer("uses_granted").null(),
            bigint("created_at").null(), varchar("external", 255).null(),
        ],
        primary_key: &["trust_id"],
        ..Table::EMPTY
    },
    // Fingerprints of signed requests already seen, each until it could no longer be replayed.
    Table {
        name: "vicar_replay",
        columns: &[varchar("fingerprint", 64), bigint("seen_until")],
        primary_key: &["fingerprint"],
        indexes: &[index("ix_vicar_replay_seen_until", &["seen_until"])],
        ..Table::EMPTY
    },
    // Roles that a user lost in a place by one act: `place_type` is project, domain, system or below
    // (all projects below a domain or project), `roles` a JSON list of role ids, `lost_at`
    // microseconds since 1970.
    Table {
        name: "vicar_role_loss",
        columns: &[
            serial("id"), varchar("act", 32),
            varchar("user_id", 64).kept("user", LOSS),
            varchar("place_type", 16),
            varchar("place_id", 64).kept("project", LOSS),
            text("roles"), bigint("lost_at"),
        ],
        primary_key: &["id"],
        indexes: &[
            index("ix_vicar_role_loss_user_id_lost_at", &["user_id", "lost_at"]),
            index("ix_vicar_role_loss_lost_at", &["lost_at"]),
        ],
        ..Table::EMPTY
    },
];

/// Indexes of our own on Keystone's tables, as (table, index): lookups that we make often, or while others wait
/// to write (what is deleted with something), and Keystone
/// has no index for.
///
/// They are no part of [`KEYSTONE`], and every name is prefixed `ix_vicar_`: the parity test leaves
/// out exactly this prefix. An index too many never disturbs Keystone.
pub const OWN_INDEXES: &[(&str, Index)] = &[
    // MariaDB has these already, for the foreign keys, and would drop its own for ours.
    (
        "password",
        index("ix_vicar_password_local_user_id", &["local_user_id"]).on(Scope::Except(Dialect::Mysql)),
    ),
    (
        "federated_user",
        index("ix_vicar_federated_user_user_id", &["user_id"]).on(Scope::Except(Dialect::Mysql)),
    ),
    ("project", index("ix_vicar_project_parent", &["parent_id", "id"]).on(Scope::Except(Dialect::Mysql))),
    (
        "implied_role",
        index("ix_vicar_implied_role_implied_role_id", &["implied_role_id"])
            .on(Scope::Except(Dialect::Mysql)),
    ),
    (
        "expiring_user_group_membership",
        index("ix_vicar_expiring_user_group_membership_group_id", &["group_id"])
            .on(Scope::Except(Dialect::Mysql)),
    ),
    (
        "expiring_user_group_membership",
        index("ix_vicar_expiring_user_group_membership_idp_id", &["idp_id"])
            .on(Scope::Except(Dialect::Mysql)),
    ),
    (
        "application_credential_access_rule",
        index("ix_vicar_application_credential_access_rule_access_rule_id", &["access_rule_id"])
            .on(Scope::Except(Dialect::Mysql)),
    ),
    // By these the pages of lists are read: they have the rows of one owner in the order of their ids.
    ("user", index("ix_vicar_user_domain", &["domain_id", "id"])),
    ("project", index("ix_vicar_project_domain", &["domain_id", "id"])),
    ("project_tag", index("ix_vicar_project_tag_name", &["name", "project_id"])),
    ("role", index("ix_vicar_role_domain", &["domain_id", "name", "id"])),
    ("group", index("ix_vicar_group_domain", &["domain_id", "id"])),
    (
        // In MariaDB the index of `group_id` has the rest of the primary key.
        "user_group_membership",
        index("ix_vicar_user_group_membership_group", &["group_id", "user_id"])
            .on(Scope::Except(Dialect::Mysql)),
    ),
    ("trust", index("ix_vicar_trust_trustor", &["trustor_user_id", "id"])),
    ("trust", index("ix_vicar_trust_trustee", &["trustee_user_id", "id"])),
    ("credential", index("ix_vicar_credential_user", &["user_id", "id"])),
    // By these what has a name is found, in whichever domain.
    ("local_user", index("ix_vicar_local_user_name", &["name"])),
    ("nonlocal_user", index("ix_vicar_nonlocal_user_name", &["name"])),
    ("federated_user", index("ix_vicar_federated_user_display_name", &["display_name"])),
    ("group", index("ix_vicar_group_name", &["name", "id"])),
    ("project", index("ix_vicar_project_name", &["name", "id"])),
    ("assignment", index("ix_vicar_assignment_target_id", &["target_id"])),
    ("assignment", index("ix_vicar_assignment_role_id", &["role_id"])),
    ("trust", index("ix_vicar_trust_redelegated_trust_id", &["redelegated_trust_id"])),
    ("trust", index("ix_vicar_trust_project_id", &["project_id"])),
    ("trust_role", index("ix_vicar_trust_role_role_id", &["role_id"])),
    ("credential", index("ix_vicar_credential_project_id", &["project_id"])),
    ("application_credential", index("ix_vicar_application_credential_project_id", &["project_id"])),
    ("application_credential_role", index("ix_vicar_application_credential_role_role_id", &["role_id"])),
    // A token is validated against the events that may concern it, found by users, project, trusts, audit
    // ids, or by naming none of these (a domain's, a role's). Each is one seek that ends with the time, so
    // that others' events and older ones are not read, whatever statistics the engine has.
    (
        "revocation_event",
        index("ix_vicar_revocation_event_rest_of_place", &["project_id", "issued_before"])
            .only("user_id IS NULL AND audit_id IS NULL AND trust_id IS NULL AND audit_chain_id IS NULL")
            .on(Scope::Only(Dialect::Postgres)),
    ),
    (
        "revocation_event",
        index(
            "ix_vicar_revocation_event_place",
            &["project_id", "user_id", "audit_id", "trust_id", "audit_chain_id", "issued_before"],
        )
        .on(Scope::Except(Dialect::Postgres)),
    ),
    ("revocation_event", index("ix_vicar_revocation_event_trust", &["trust_id", "issued_before"])),
    ("revocation_event", index("ix_vicar_revocation_event_chain", &["audit_chain_id", "issued_before"])),
];

/// The table of that name, Keystone's or ours.
pub fn table(name: &str) -> Option<&'static Table> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static Table>> =
        LazyLock::new(|| KEYSTONE.iter().chain(OWN).map(|table| (table.name, table)).collect());
    BY_NAME.get(name).copied()
}

/// The statements that create `table`: in PostgreSQL the types it needs, then the table, then its
/// indexes. None ends with a semicolon.
pub fn ddl(table: &Table, dialect: Dialect) -> Vec<String> {
    let mut statements = Vec::new();
    let mut lines = Vec::new();
    for column in table.columns {
        if let (Dialect::Postgres, Type::Enum { name, values }) = (dialect, column.ty) {
            statements.push(format!("CREATE TYPE {} AS ENUM ({})", quoted(name, dialect), literals(values)));
        }
        lines.push(column_line(column, dialect));
    }
    lines.push(format!(
        "{}PRIMARY KEY ({})",
        constraint(table.primary_key_name, dialect),
        list(table.primary_key, dialect)
    ));
    for unique in table.uniques.iter().filter(|unique| unique.scope.covers(dialect)) {
        lines.push(format!("{}UNIQUE ({})", constraint(unique.name, dialect), list(unique.columns, dialect)));
    }
    for key in table.foreign_keys.iter().filter(|key| key.scope.covers(dialect)) {
        lines.push(format!(
            "{}FOREIGN KEY ({}) REFERENCES {} ({}){}{}",
            constraint(key.name, dialect),
            list(key.columns, dialect),
            quoted(key.table, dialect),
            list(key.references, dialect),
            if key.on_delete_cascade { " ON DELETE CASCADE" } else { "" },
            if key.on_update_cascade { " ON UPDATE CASCADE" } else { "" },
        ));
    }
    // Keystone names the character set on most tables and makes it the database's default for the
    // rest. Foreign keys need both sides to agree, so we name it on all.
    let options = if dialect == Dialect::Mysql { " ENGINE=InnoDB CHARSET=utf8" } else { "" };
    statements.push(format!(
        "CREATE TABLE {} (\n    {}\n){options}",
        quoted(table.name, dialect),
        lines.join(",\n    ")
    ));
    let indexes = table.indexes.iter().filter(|index| index.scope.covers(dialect));
    statements.extend(indexes.map(|index| index_ddl(table.name, index, dialect)));
    statements
}

/// The statement that creates `index` on the table of that name.
pub fn index_ddl(table: &str, index: &Index, dialect: Dialect) -> String {
    format!(
        "CREATE {}INDEX {} ON {} ({}){}",
        if index.unique { "UNIQUE " } else { "" },
        quoted(index.name, dialect),
        quoted(table, dialect),
        list(index.columns, dialect),
        index.only.map(|condition| format!(" WHERE {condition}")).unwrap_or_default()
    )
}

fn column_line(column: &Column, dialect: Dialect) -> String {
    let mut line = format!("{} {}", quoted(column.name, dialect), type_name(column.ty, dialect));
    if let Some(default) = column.default {
        line += &format!(" DEFAULT {}", literals(&[default]));
    }
    if !column.nullable {
        line += " NOT NULL";
    }
    if column.ty == Type::Serial && dialect == Dialect::Mysql {
        line += " AUTO_INCREMENT";
    }
    line
}

fn type_name(ty: Type, dialect: Dialect) -> String {
    match (ty, dialect) {
        (Type::Varchar(length), _) => format!("VARCHAR({length})"),
        (Type::Text, _) => "TEXT".to_owned(),
        (Type::Serial, Dialect::Postgres) => "SERIAL".to_owned(),
        // In SQLite a primary key of exactly this type is the row id, which it assigns.
        (Type::Integer | Type::Serial, _) => "INTEGER".to_owned(),
        (Type::BigInt, _) => "BIGINT".to_owned(),
        (Type::Boolean, Dialect::Mysql) => "BOOL".to_owned(),
        (Type::Boolean, _) => "BOOLEAN".to_owned(),
        (Type::DateTime, Dialect::Postgres) => "TIMESTAMP WITHOUT TIME ZONE".to_owned(),
        (Type::DateTime, _) => "DATETIME".to_owned(),
        (Type::Date, _) => "DATE".to_owned(),
        (Type::Enum { values, .. }, Dialect::Sqlite) => {
            format!("VARCHAR({})", values.iter().map(|value| value.len()).max().unwrap_or(0))
        }
        (Type::Enum { name, .. }, Dialect::Postgres) => quoted(name, dialect),
        (Type::Enum { values, .. }, Dialect::Mysql) => format!("ENUM({})", literals(values)),
    }
}

fn constraint(name: Option<&str>, dialect: Dialect) -> String {
    name.map(|name| format!("CONSTRAINT {} ", quoted(name, dialect))).unwrap_or_default()
}

/// A name as an identifier. Names in this file hold no quotes.
fn quoted(name: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Mysql => format!("`{name}`"),
        Dialect::Sqlite | Dialect::Postgres => format!("\"{name}\""),
    }
}

fn list(names: &[&str], dialect: Dialect) -> String {
    names.iter().map(|name| quoted(name, dialect)).collect::<Vec<_>>().join(", ")
}

/// Values as string literals; every database reads numbers and booleans from these too.
fn literals(values: &[&str]) -> String {
    values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const DIALECTS: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql];

    fn all() -> impl Iterator<Item = &'static Table> {
        KEYSTONE.iter().chain(OWN)
    }

    fn find(name: &str) -> &'static Table {
        all().find(|table| table.name == name).unwrap_or_else(|| panic!("no table {name}"))
    }

    fn has_columns(table: &Table, names: &[&str]) -> bool {
        !names.is_empty() && names.iter().all(|name| table.columns.iter().any(|column| column.name == *name))
    }

    #[test]
    fn every_table_renders_for_every_dialect() {
        for dialect in DIALECTS {
            for table in all() {
                let statements = ddl(table, dialect);
                let create = format!("CREATE TABLE {} (", quoted(table.name, dialect));
                let at =
                    statements.iter().position(|statement| statement.starts_with(&create)).expect("creates");
                assert!(statements[..at].iter().all(|statement| statement.starts_with("CREATE TYPE ")));
                assert!(statements[at + 1..].iter().all(|statement| statement.starts_with("CREATE INDEX ")));
                for column in table.columns {
                    assert!(statements[at].contains(&format!("\n    {} ", quoted(column.name, dialect))));
                }
                for statement in &statements {
                    assert_eq!(statement.matches('(').count(), statement.matches(')').count(), "{statement}");
                    assert_eq!(statement.contains('`'), dialect == Dialect::Mysql, "{statement}");
                    assert_eq!(statement.contains('"'), dialect != Dialect::Mysql, "{statement}");
                }
            }
        }
    }

    #[test]
    fn tables_read_as_expected() {
        let sqlite = ddl(find("assignment"), Dialect::Sqlite);
        let lines = [
            r#"CREATE TABLE "assignment" ("#,
            r#"    "type" VARCHAR(12) NOT NULL,"#,
            r#"    "actor_id" VARCHAR(64) NOT NULL,"#,
            r#"    "target_id" VARCHAR(64) NOT NULL,"#,
            r#"    "role_id" VARCHAR(64) NOT NULL,"#,
            r#"    "inherited" BOOLEAN NOT NULL,"#,
            r#"    PRIMARY KEY ("type", "actor_id", "target_id", "role_id", "inherited"),"#,
            r#"    CONSTRAINT "fk_assignment_role_id" FOREIGN KEY ("role_id") REFERENCES "role" ("id")"#,
            r#")"#,
        ];
        assert_eq!(sqlite[0], lines.join("\n"));
        assert_eq!(sqlite[1..], [r#"CREATE INDEX "ix_actor_id" ON "assignment" ("actor_id")"#]);
        let postgres = ddl(find("assignment"), Dialect::Postgres);
        assert!(postgres[0].starts_with(r#"CREATE TYPE "type" AS ENUM ('UserProject', 'Group"#));
        assert!(postgres[1].contains(r#""type" "type" NOT NULL"#));
        assert!(!postgres[1].contains("FOREIGN KEY"));
        let mysql = ddl(find("password"), Dialect::Mysql);
        assert!(mysql[0].contains("`id` INTEGER NOT NULL AUTO_INCREMENT,"));
        assert!(mysql[0].contains("`self_service` BOOL DEFAULT '0' NOT NULL,"));
        assert!(mysql[0].ends_with(") ENGINE=InnoDB CHARSET=utf8"));
    }

    #[test]
    fn names_are_unique() {
        for dialect in DIALECTS {
            // What shares one name space: in SQLite tables and indexes; in PostgreSQL constraints
            // that have an index too, and types; in MySQL tables, and by themselves foreign keys.
            let mut relations = HashSet::new();
            let mut keys = HashSet::new();
            for table in all() {
                assert!(relations.insert(table.name), "{}", table.name);
                let mut columns = HashSet::new();
                assert!(table.columns.iter().all(|column| columns.insert(column.name)), "{}", table.name);
                let mut local = HashSet::new();
                let indexes =
                    table.indexes.iter().filter(|index| index.scope.covers(dialect)).map(|index| index.name);
                let own = OWN_INDEXES.iter().filter(|own| own.0 == table.name).map(|own| own.1.name);
                let uniques = table.uniques.iter().filter(|unique| unique.scope.covers(dialect));
                for name in indexes.chain(own).chain(uniques.filter_map(|unique| unique.name)) {
                    let names = if dialect == Dialect::Mysql { &mut local } else { &mut relations };
                    assert!(names.insert(name), "{name} on {dialect:?}");
                }
                for name in table.foreign_keys.iter().filter_map(|key| key.name) {
                    assert!(keys.insert(name), "{name}");
                }
            }
        }
        let types = all().flat_map(|table| table.columns).filter_map(|column| match column.ty {
            Type::Enum { name, .. } => Some(name),
            _ => None,
        });
        let mut seen: HashSet<&str> = all().map(|table| table.name).collect();
        assert!(types.into_iter().all(|name| seen.insert(name)));
    }

    #[test]
    fn names_fit_every_database() {
        let fits = |name: &str| {
            let plain =
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            assert!(plain && (1..=63).contains(&name.len()), "{name}");
        };
        for table in all() {
            fits(table.name);
            table.columns.iter().for_each(|column| fits(column.name));
            table.indexes.iter().for_each(|index| fits(index.name));
            table.uniques.iter().filter_map(|unique| unique.name).for_each(fits);
            table.foreign_keys.iter().filter_map(|key| key.name).for_each(fits);
            table.primary_key_name.into_iter().for_each(fits);
        }
        OWN_INDEXES.iter().for_each(|own| fits(own.1.name));
    }

    #[test]
    fn keys_and_indexes_name_columns() {
        for table in all() {
            assert!(has_columns(table, table.primary_key), "{}", table.name);
            assert!(table.uniques.iter().all(|unique| has_columns(table, unique.columns)), "{}", table.name);
            assert!(table.indexes.iter().all(|index| has_columns(table, index.columns)), "{}", table.name);
            for column in table.columns {
                let key = table.primary_key.contains(&column.name);
                assert!(!(key && column.nullable), "{}.{}", table.name, column.name);
                if column.ty == Type::Serial {
                    assert_eq!(table.primary_key, [column.name], "{}", table.name);
                }
                // MySQL neither indexes a text column as a whole nor gives it a default.
                if column.ty == Type::Text {
                    let uniques = table.uniques.iter().map(|unique| unique.columns);
                    let indexes = table.indexes.iter().map(|index| index.columns);
                    assert!(!key && column.default.is_none(), "{}.{}", table.name, column.name);
                    assert!(
                        uniques.chain(indexes).all(|columns| !columns.contains(&column.name)),
                        "{}",
                        table.name
                    );
                }
            }
        }
    }

    #[test]
    fn foreign_keys_refer_to_keys_of_earlier_tables() {
        let mut created = HashSet::new();
        for table in all() {
            created.insert(table.name);
            for key in table.foreign_keys {
                assert!(created.contains(key.table), "{} refers to {}", table.name, key.table);
                let target = find(key.table);
                assert!(has_columns(table, key.columns) && key.columns.len() == key.references.len());
                let unique = target.uniques.iter().any(|unique| unique.columns == key.references);
                assert!(target.primary_key == key.references || unique, "{} to {}", table.name, key.table);
                for (from, to) in key.columns.iter().zip(key.references) {
                    let ty = |table: &Table, name: &str| {
                        let column =
                            table.columns.iter().find(|column| column.name == name).expect("a column");
                        if column.ty == Type::Serial { Type::Integer } else { column.ty }
                    };
                    assert_eq!(ty(table, from), ty(target, to), "{}.{from}", table.name);
                }
            }
        }
    }

    #[test]
    fn our_own_is_told_by_its_prefix() {
        assert!(KEYSTONE.iter().all(|table| !table.name.starts_with("vicar_")));
        let theirs = KEYSTONE.iter().flat_map(|table| table.indexes);
        assert!(theirs.into_iter().all(|index| !index.name.starts_with("ix_vicar_")));
        assert!(OWN.iter().all(|table| table.name.starts_with("vicar_")));
        for (table, index) in OWN_INDEXES {
            assert!(index.name.starts_with("ix_vicar_") && !index.unique);
            assert!(index.only.is_none() || !index.scope.covers(Dialect::Mysql), "{}", index.name);
            assert!(
                KEYSTONE.iter().any(|theirs| theirs.name == *table)
                    && has_columns(find(table), index.columns)
            );
        }
    }

    #[test]
    fn counts_are_keystone_s() {
        assert_eq!(KEYSTONE.len(), 49);
        assert!(has_columns(find("alembic_version"), &["version_num"]));
        assert!(ALEMBIC_HEADS.iter().all(|head| head.len() <= 32));
    }
}
