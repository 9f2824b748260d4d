//! What Keystone has no place for: our tables, and our indexes on its tables.

use super::*;

const LOSS: &str = "as an event of revocation";

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
    // What a key pair made for a trust carries besides its credential. `roles` is JSON, null for the trust's roles: see
    // `facts/credentials.rs`. Times are microseconds since 1970.
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
    // What narrows a trust beyond what Keystone's row can say, in JSON: see `facts/terms.rs`.
    Table {
        name: "vicar_trust_terms",
        columns: &[varchar("trust_id", 64).goes_with("trust"), text("terms")],
        primary_key: &["trust_id"],
        ..Table::EMPTY
    },
    // Trusts that rest on somebody else than the trustor whom their rows name: the adopted and those below in the same name.
    Table {
        name: "vicar_adoption",
        columns: &[
            varchar("trust_id", 64).goes_with("trust"),
            varchar("user_id", 64).by_rules("user", "the trust ends with them"),
        ],
        primary_key: &["trust_id"],
        indexes: &[index("ix_vicar_adoption_user_id", &["user_id"])],
        ..Table::EMPTY
    },
    // What the tokens of an application credential may delegate by trusts, in JSON: see `facts/application_credentials.rs`.
    Table {
        name: "vicar_may_delegate",
        columns: &[
            varchar("application_credential_id", 64).goes_with("application_credential"),
            text("terms"),
        ],
        primary_key: &["application_credential_id"],
        ..Table::EMPTY
    },
    // Trusts that an application credential made.
    Table {
        name: "vicar_trust_credential",
        columns: &[
            varchar("trust_id", 64).goes_with("trust"),
            varchar("application_credential_id", 64)
                .kept("application_credential", "the trust ends with it, and stays for a while"),
        ],
        primary_key: &["trust_id"],
        indexes: &[index("ix_vicar_trust_credential_credential", &["application_credential_id"])],
        ..Table::EMPTY
    },
    // Of which trusts it was told that they lapse with a membership, and of which end: see `resources/trusts/lapse.rs`. No decision
    // reads it, so it is not in the journal.
    Table {
        name: "vicar_lapse",
        columns: &[varchar("trust_id", 64).goes_with("trust"), bigint("lapses_at")],
        primary_key: &["trust_id"],
        ..Table::EMPTY
    },
    // How much a domain, a project or a user lets be delegated, and to a registered trustee (`kind`), in JSON: see
    // `facts/ceilings.rs`.
    Table {
        name: "vicar_delegation_policy",
        columns: &[
            varchar("holder_id", 64)
                .goes_with("user").when("kind IN ('user', 'trustee')")
                .goes_with("project").when("kind IN ('project', 'domain')"),
            varchar("kind", 16), text("policy"),
        ],
        primary_key: &["holder_id", "kind"],
        ..Table::EMPTY
    },
    // When a trust, keypair or application credential was made and by which token, and who used it: see `facts/evidence.rs`.
    // What is null is not known. `created_by` are audit ids with spaces in between, `audit_chain_id` is a keypair's, from which
    // its tokens tell it. No decision reads it, so it is not in the journal.
    Table {
        name: "vicar_use",
        columns: &[
            varchar("id", 64)
                .goes_with("trust").when("type = 'trust'")
                .goes_with("credential").when("type = 'keypair'")
                .goes_with("application_credential").when("type = 'application_credential'"),
            varchar("type", 32),
            bigint("created_at").null(), varchar("created_by", 255).null(), varchar("audit_chain_id", 32).null(),
            bigint("last_used_at").null(), bigint("use_count").null(),
            bigint("validated_at").null(), varchar("validated_by", 64).null(),
        ],
        primary_key: &["id", "type"],
        indexes: &[index("ix_vicar_use_audit_chain_id", &["audit_chain_id"])],
        ..Table::EMPTY
    },
    // When all users and groups of a domain's directory were read, and when single users were: microseconds since 1970. What was
    // read is in Keystone's tables; `gone_at` is when an entry was found to be there no more. See `directory/`.
    Table {
        name: "vicar_directory",
        columns: &[varchar("domain_id", 64).goes_with("domain"), bigint("read_at")],
        primary_key: &["domain_id"],
        ..Table::EMPTY
    },
    Table {
        name: "vicar_directory_entry",
        columns: &[
            varchar("public_id", 64).goes_with("user"),
            varchar("domain_id", 64).goes_with("domain"),
            bigint("read_at"), bigint("gone_at").null(),
        ],
        primary_key: &["public_id"],
        indexes: &[index("ix_vicar_directory_entry_domain_id", &["domain_id"])],
        ..Table::EMPTY
    },
    // Of which workload a login was, by the word of its identity provider, as long as a token of that login can live: by the first
    // audit id of these. `audiences` is a JSON list. See `facts/workloads.rs`.
    Table {
        name: "vicar_workload",
        columns: &[
            varchar("audit_chain_id", 32), varchar("idp_id", 64), text("issuer"), text("subject"),
            text("audiences"), bigint("ends_at"),
        ],
        primary_key: &["audit_chain_id"],
        indexes: &[index("ix_vicar_workload_ends_at", &["ends_at"])],
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
    // Changes, as triggers write them down: see `store/memory`. `n` is the number of the transaction (PostgreSQL), or
    // the place in the slot (MariaDB); `tab` the table, `k` the key of the row that was changed. On servers `id` has 64 bits.
    Table {
        name: "vicar_change",
        columns: &[
            serial("id"), integer("slot"), bigint("n").null(), varchar("tab", 64), varchar("k", 80),
        ],
        primary_key: &["id"],
        indexes: &[index("ix_vicar_change_n", &["slot", "n"])],
        ..Table::EMPTY
    },
    // The highest number of each slot (MariaDB); in the first, below which numbers rows were removed (PostgreSQL).
    Table {
        name: "vicar_tick",
        columns: &[integer("slot"), bigint("n")],
        primary_key: &["slot"],
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
    ("application_credential", index("ix_vicar_application_credential_user", &["user_id", "id"])),
    ("application_credential", index("ix_vicar_application_credential_id", &["id"])),
    ("access_rule", index("ix_vicar_access_rule_user", &["user_id", "external_id"])),
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
