//! Evidence of use: when a trust, keypair or application credential was made and by which token, when and how often it was
//! used, and who validated a token of it last. No decision rests on it. How it comes into the database is in `evidence.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vicar_rules::Micros;

use super::users::users;
use crate::clock;
use crate::store::{CHUNK, Insert, Result, Row, Select, Tx};

/// What evidence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A trust.
    Trust,
    /// An EC2 keypair, of a trust or of a login.
    Keypair,
    /// An application credential.
    ApplicationCredential,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Trust, Self::Keypair, Self::ApplicationCredential];

    /// The word that is stored, and that operators see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Keypair => "keypair",
            Self::ApplicationCredential => "application_credential",
        }
    }

    /// The table of what it is about, which has the same id.
    pub fn table(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Keypair => "credential",
            Self::ApplicationCredential => "application_credential",
        }
    }
}

/// What is known of one. What is not known is left out, and so is all of what a Keystone did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// When it was made.
    pub created_at: Option<Micros>,
    /// The audit ids of the token that made it: its own, and that of the first of its session. With spaces in between.
    pub created_by: Option<String>,
    /// From which the tokens of a keypair tell it.
    pub audit_chain: Option<String>,
    /// When it was last used.
    pub last_used_at: Option<Micros>,
    /// How often it was used.
    pub use_count: Option<i64>,
    /// When a token of it was last validated.
    pub validated_at: Option<Micros>,
    /// The user who did.
    pub validated_by: Option<String>,
}

/// The columns of `vicar_use u`, for [`Evidence::read`].
pub const COLUMNS: &str = "u.created_at, u.created_by, u.audit_chain_id, u.last_used_at, u.use_count, u.validated_at, u.validated_by";

impl Evidence {
    /// Of what a token with these audit ids makes now.
    pub fn new(audit_ids: Option<&[String]>, audit_chain: Option<String>, now: Micros) -> Self {
        Self {
            created_at: Some(now),
            created_by: audit_ids.map(|ids| ids.join(" ")),
            audit_chain,
            use_count: Some(0),
            ..Self::default()
        }
    }

    /// Reads [`COLUMNS`].
    ///
    /// # Errors
    /// When they are of another type.
    pub fn read(r: &mut Row) -> Result<Self> {
        Ok(Self {
            created_at: r.take()?,
            created_by: r.take()?,
            audit_chain: r.take()?,
            last_used_at: r.take()?,
            use_count: r.take()?,
            validated_at: r.take()?,
            validated_by: r.take()?,
        })
    }

    /// Adds its row to a statement of several.
    pub fn insert(&self, rows: Insert, kind: Kind, id: &str) -> Insert {
        rows.row()
            .set("id", id)
            .set("type", kind.word())
            .set("created_at", self.created_at)
            .set("created_by", &self.created_by)
            .set("audit_chain_id", &self.audit_chain)
            .set("last_used_at", self.last_used_at)
            .set("use_count", self.use_count)
            .set("validated_at", self.validated_at)
            .set("validated_by", &self.validated_by)
    }

    /// The statement that stores it.
    pub fn row(&self, kind: Kind, id: &str) -> Insert {
        self.insert(Insert::into(TABLE), kind, id)
    }

    /// As clients see it; `name` is that of the user who validated.
    pub fn to_json(&self, name: Option<&str>) -> Value {
        let by = self.created_by.as_ref().map(|ids| ids.split(' ').collect::<Vec<_>>());
        json!({
            "created_at": self.created_at.map(clock::iso),
            "created_by": by,
            "last_used_at": self.last_used_at.map(clock::iso),
            "use_count": self.use_count,
            "last_validated_at": self.validated_at.map(clock::iso),
            "last_validated_by": self.validated_by.as_ref().map(|id| json!({"id": id, "name": name})),
        })
    }
}

/// Where it is stored.
pub const TABLE: &str = "vicar_use";

/// How many columns a row has.
pub const WIDTH: usize = 9;

/// The attribute that shows it. It is the server's.
pub const ATTRIBUTE: &str = "evidence";

/// The evidence of several of a kind.
#[derive(Debug, Default)]
pub struct Evidences {
    all: BTreeMap<String, Evidence>,
    /// Of those who validated.
    names: BTreeMap<String, String>,
}

impl Evidences {
    /// Of some of a kind, in one query, and the names of who validated, in another.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(tx: &mut Tx, kind: Kind, ids: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let ids: BTreeSet<String> = ids.into_iter().map(|id| id.as_ref().to_owned()).collect();
        let mut all = BTreeMap::new();
        for part in ids.into_iter().collect::<Vec<_>>().chunks(CHUNK - 1) {
            let mut q = Select::new(&format!("SELECT u.id, {COLUMNS} FROM {TABLE} u"));
            q.id_in("u.id", part).id("u.type", Some(kind.word()));
            all.extend(q.map(tx, |r| Ok((r.take::<String>()?, Evidence::read(r)?))).await?);
        }
        let who: BTreeSet<&str> = all.values().filter_map(|seen| seen.validated_by.as_deref()).collect();
        let users = if who.is_empty() { BTreeMap::new() } else { users(tx, who).await? };
        let names = users.into_iter().map(|(id, user)| (id, user.name)).collect();
        Ok(Self { all, names })
    }

    /// That of one, if anything is known.
    pub fn get(&self, id: &str) -> Option<&Evidence> {
        self.all.get(id)
    }

    /// That of one as clients see it.
    pub fn to_json(&self, id: &str) -> Value {
        let Some(seen) = self.all.get(id) else { return Evidence::default().to_json(None) };
        let name = seen.validated_by.as_ref().and_then(|id| self.names.get(id));
        seen.to_json(name.map(String::as_str))
    }
}

/// `AND` the condition that nothing says of what has the id in `column` that it was used or made since an instant.
pub fn unused(q: &mut Select, kind: Kind, column: &str, since: Micros) {
    // Looked for by its key, row by row: see `BROKEN` in resources/trusts/flush.rs.
    let seen = format!(
        "(SELECT 1 FROM {TABLE} u WHERE u.id = {column} AND u.type = '{}' AND COALESCE(u.last_used_at, u.created_at) >= ?) IS NULL",
        kind.word()
    );
    q.and(&seen, &[since.into()]);
}
