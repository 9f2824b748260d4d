//! `/v3/registered_limits` and `/v3/limits`: what each project may use of a resource by default, and what some
//! may instead. Services ask for them and count; those of the identity service itself are enforced here ([`check_room`]).

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::policy::{Fact, Facts, Op, Scope};

use crate::args;
use crate::authz::{Authorized, Caller, NoObject, Proposed, Reading, Writing};
use crate::config::LimitModel;
use crate::error::{Error, Result};
use crate::http::request::one;
use crate::http::schema;
use crate::living;
use crate::resource::{Field, Look, Order, Plain, Record, Resource};
use crate::resources::catalog::{regions, services::Service};
use crate::store::{CHUNK, Id, Row, Select, Tx};

/// Registered limits: the defaults.
#[derive(Debug)]
pub struct RegisteredLimit;

static REGISTERED_LIMIT: Resource = Resource::new(
    "registered_limit",
    "registered_limits",
    &[
        Field::of("service_id").required().must_exist().filters(),
        Field::of("region_id").not_empty().must_exist().filters_checked(),
        Field::of("resource_name").required().not_empty().matching(r"\S").filters_checked(),
        Field::of("default_limit").required().at_least(-1),
        Field::of("description").at_most(255),
    ],
)
.closed();

impl Plain for RegisteredLimit {
    fn of() -> &'static Resource {
        &REGISTERED_LIMIT
    }

    /// There is no other for the same, and nothing changes under limits that go by it.
    async fn prepare(
        s: &mut Writing<'_>,
        before: Option<&Record<Self>>,
        after: &mut Record<Self>,
    ) -> Result<()> {
        if before.is_some() {
            after.check_unused(&mut s.tx).await?;
        }
        match registered(
            &mut s.tx,
            after.text("service_id"),
            after.text("region_id"),
            after.text("resource_name"),
        )
        .await?
        {
            Some(other) if other.id != after.id => Err(duplicate::<Self>()),
            _ => Ok(()),
        }
    }

    async fn together(_s: &mut Writing<'_>, all: &[Authorized<Proposed<Record<Self>>>]) -> Result<()> {
        differ(all, |r| ["service_id", "region_id", "resource_name"].map(|name| r.get(name).clone()))
    }
}

/// Limits of projects and domains.
#[derive(Debug)]
pub struct Limit;

static LIMIT: Resource = Resource::new(
    "limit",
    "limits",
    &[
        Field::of("project_id").set_once().not_empty().matching(schema::ID).must_exist().filters_checked(),
        Field::of("domain_id").set_once().not_empty().matching(schema::ID).must_exist().filters_checked(),
        Field::elsewhere(
            "service_id",
            "SELECT r.service_id FROM registered_limit r WHERE r.id = t.registered_limit_id",
        )
        .set_once()
        .required()
        .at_most(255)
        .filters(),
        Field::elsewhere(
            "region_id",
            "SELECT r.region_id FROM registered_limit r WHERE r.id = t.registered_limit_id",
        )
        .set_once()
        .or_null()
        .not_empty()
        .at_most(255)
        .filters_checked(),
        Field::elsewhere(
            "resource_name",
            "SELECT r.resource_name FROM registered_limit r WHERE r.id = t.registered_limit_id",
        )
        .set_once()
        .required()
        .not_empty()
        .at_most(255)
        .matching(r"\S")
        .filters_checked(),
        Field::of("resource_limit").required().at_least(-1),
        Field::of("description").at_most(255),
        Field::of("registered_limit_id").hidden(),
        Field::elsewhere("project_domain_id", "SELECT p.domain_id FROM project p WHERE p.id = t.project_id")
            .hidden(),
    ],
)
.closed()
.looks(Order { create: Look::Last, ..Order::always(Look::Quietly) });

impl Plain for Limit {
    fn of() -> &'static Resource {
        &LIMIT
    }

    fn facts(limit: &Record<Self>, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none()
            .with(Fact::LimitId, &limit.id)
            .with_opt(Fact::LimitProject, limit.text("project_id"))
            .with_opt(Fact::LimitOfDomain, limit.text("domain_id"))
            .with_opt(Fact::LimitService, limit.text("service_id"))
            .with_opt(Fact::LimitRegion, limit.text("region_id"))
            .with_known(Fact::LimitResource, limit.text("resource_name"))
            // The project or the domain as an object: one of them is there.
            .with_known(Fact::LimitProjectId, limit.text("project_id"))
            .with_known(Fact::LimitProjectDomain, limit.text("project_domain_id"))
            .with_known(Fact::LimitDomain, limit.text("domain_id")))
    }

    /// Administrators, services and who is on the system see all; others those of their scope, and of the projects
    /// of their domain.
    fn narrow(s: &Reading<'_>, found: &mut Select) -> Result<()> {
        s.authorize(Op::ListLimits, NoObject)?;
        let subject = s.caller()?.subject();
        let sees_all = |role: &String| role == "admin" || role == "service";
        if subject.admin_token || subject.roles.iter().any(sees_all) {
            return Ok(());
        }
        match &subject.scope {
            Scope::System => {}
            Scope::Domain(id) => {
                let of_domain =
                    "(t.domain_id = ? OR t.project_id IN (SELECT p.id FROM project p WHERE p.domain_id = ?))";
                found.and(of_domain, args![Id(id), Id(id)]);
            }
            Scope::Project { id, .. } => {
                found.id("t.project_id", Some(id));
            }
            Scope::Unscoped => {
                found.and("1 = 0", &[]);
            }
        }
        Ok(())
    }

    /// Of a project or of a domain.
    fn accept(body: &mut Map<String, Value>, before: Option<&Record<Self>>) -> Result<()> {
        let owners =
            ["project_id", "domain_id"].iter().filter(|name| body.get(**name).is_some_and(Value::is_string));
        if before.is_none() && owners.count() != 1 {
            return Err(Error::BadRequest(
                "limits: each needs a project_id or a domain_id, and not both".into(),
            ));
        }
        Ok(())
    }

    async fn prepare(
        s: &mut Writing<'_>,
        before: Option<&Record<Self>>,
        after: &mut Record<Self>,
    ) -> Result<()> {
        if before.is_some() {
            return check_tree(s, &[after]).await;
        }
        let (service, region) = (after.text("service_id").unwrap_or_default(), after.text("region_id"));
        if Record::<Service>::load(&mut s.tx, service).await?.is_none() {
            return Err(Error::field("service_id", "there is no such service"));
        }
        if let Some(region) = region
            && !regions::exists(&mut s.tx, region).await?
        {
            return Err(Error::field("region_id", "there is no such region"));
        }
        let by = registered(&mut s.tx, Some(service), region, after.text("resource_name")).await?;
        let by = by.ok_or_else(|| {
            Error::Forbidden("Unable to create a limit that has no corresponding registered limit.".into())
        })?;
        if let Some(project) = after.text("project_id").map(str::to_owned) {
            let sql = "SELECT domain_id FROM project WHERE id = ? AND is_domain = ?";
            let domain = s.tx.first(sql, args![Id(&project), false], |r| r.take::<String>()).await?;
            match domain {
                Some(domain) => after.set("project_domain_id", domain),
                // The project is a domain.
                None => {
                    after.set("domain_id", project);
                    after.set("project_id", Value::Null);
                }
            }
        }
        after.set("registered_limit_id", by.id.clone());
        let others = Record::<Self>::find(&mut s.tx, |q| {
            q.id("t.registered_limit_id", Some(&by.id))
                .id("t.project_id", after.text("project_id"))
                .id("t.domain_id", after.text("domain_id"));
        });
        if others.await?.is_empty() { Ok(()) } else { Err(duplicate::<Self>()) }
    }

    async fn together(s: &mut Writing<'_>, all: &[Authorized<Proposed<Record<Self>>>]) -> Result<()> {
        differ(all, |l| ["registered_limit_id", "project_id", "domain_id"].map(|name| l.get(name).clone()))?;
        let all: Vec<&Record<Self>> = all.iter().map(|l| &l.0).collect();
        check_tree(s, &all).await
    }
}

fn duplicate<R: Plain>() -> Error {
    Error::taken(R::of().one, "Duplicate entry")
}

/// Checks that no two of new objects are for the same.
fn differ<R: Plain>(
    all: &[Authorized<Proposed<Record<R>>>],
    key: impl Fn(&Record<R>) -> [Value; 3],
) -> Result<()> {
    let mut keys: Vec<String> = all.iter().map(|r| json!(key(r)).to_string()).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() == all.len() { Ok(()) } else { Err(duplicate::<R>()) }
}

/// The registered limit for this.
async fn registered(
    tx: &mut Tx,
    service: Option<&str>,
    region: Option<&str>,
    resource: Option<&str>,
) -> Result<Option<Record<RegisteredLimit>>> {
    let found = Record::find(tx, |q| {
        q.id("t.service_id", service).id("t.resource_name", resource).id("t.region_id", region);
        if region.is_none() {
            q.and("t.region_id IS NULL", &[]);
        }
    });
    Ok(found.await?.into_iter().next())
}

/// Checks, where the model is of two levels, that no project may use more than its domain. Among new limits their
/// own domain's counts, otherwise the stored one, otherwise the default.
async fn check_tree(s: &mut Writing<'_>, all: &[&Record<Limit>]) -> Result<()> {
    if s.app.config.limit_model == LimitModel::Flat {
        return Ok(());
    }
    for limit in all {
        let (by, value) =
            (limit.text("registered_limit_id"), limit.number("resource_limit").unwrap_or_default());
        let exceeded = if let Some(domain) = limit.text("domain_id") {
            let sql = "SELECT p.id, l.resource_limit FROM \"limit\" l JOIN project p ON p.id = l.project_id
                        WHERE p.domain_id = ? AND l.registered_limit_id = ? AND l.resource_limit > ?
                        ORDER BY l.resource_limit DESC, p.id LIMIT 1";
            let above = |r: &mut Row| {
                let (project, limit): (String, i64) = (r.take()?, r.take()?);
                Ok(format!("the limit of project {project} is {limit}"))
            };
            s.tx.first(sql, args![Id(domain), Id(by), value], above).await?
        } else {
            let domain = limit.text("project_domain_id");
            let same = |other: &&&Record<Limit>| {
                other.text("domain_id") == domain && other.text("registered_limit_id") == by
            };
            let most = match all.iter().find(same) {
                Some(new) => new.number("resource_limit").map(Bound::Domain),
                None => most_of_domain(&mut s.tx, domain, by).await?,
            };
            most.filter(|most| most.is_below(value)).map(|most| most.to_string())
        };
        if let Some(bound) = exceeded {
            let of = limit.text("project_id").map_or_else(
                || format!("domain_id: {}", limit.text("domain_id").unwrap_or_default()),
                |project| format!("project_id: {project}"),
            );
            return Err(Error::Forbidden(format!(
                "Invalid resource limit: The resource limit ({of}, resource_name: {}, resource_limit: {value}) \
                 doesn't satisfy current hierarchy model: {bound}.",
                limit.text("resource_name").unwrap_or_default()
            )));
        }
    }
    Ok(())
}

/// What no project of a domain may be above.
enum Bound {
    /// The domain's own limit.
    Domain(i64),
    /// The default, where the domain has none.
    Registered(i64),
}

impl Bound {
    /// Whether it forbids this. Keystone takes 0 for no bound.
    fn is_below(&self, value: i64) -> bool {
        let (Self::Domain(most) | Self::Registered(most)) = *self;
        most != 0 && value > most
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Domain(most) => write!(f, "the limit of the domain is {most}"),
            Self::Registered(most) => {
                write!(f, "the registered limit is {most}, and the domain has none of its own")
            }
        }
    }
}

async fn most_of_domain(tx: &mut Tx, domain: Option<&str>, by: Option<&str>) -> Result<Option<Bound>> {
    let sql = "SELECT resource_limit FROM \"limit\" WHERE domain_id = ? AND registered_limit_id = ?";
    if let Some(most) = tx.first(sql, args![Id(domain), Id(by)], |r| r.take()).await? {
        return Ok(Some(Bound::Domain(most)));
    }
    let sql = "SELECT default_limit FROM registered_limit WHERE id = ?";
    Ok(tx.first(sql, args![Id(by)], |r| r.take()).await?.map(Bound::Registered))
}

/// The limits of some projects, by project, as they are shown with a project: without links.
///
/// # Errors
/// When the database fails.
pub async fn of_projects(tx: &mut Tx, projects: &[&str]) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for some in projects.chunks(CHUNK) {
        let limits = Record::<Limit>::find(tx, |q| {
            q.id_in("t.project_id", some.iter().copied());
        });
        for limit in limits.await? {
            let project = limit.text("project_id").unwrap_or_default().to_owned();
            found.entry(project).or_default().push(limit.shown().into());
        }
    }
    Ok(found)
}

/// What the identity service counts of its own, by project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Living trusts, of whatever depth.
    Trusts,
    /// Living EC2 keypairs, of logins and of trusts.
    Keypairs,
    /// Living application credentials.
    ApplicationCredentials,
}

impl Counted {
    /// The `resource_name` of its limits, and the words for several.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Trusts => ("trust", "living trusts"),
            Self::Keypairs => ("keypair", "living keypairs"),
            Self::ApplicationCredentials => ("application_credential", "living application credentials"),
        }
    }

    /// The rows of a project that live at an instant; for few of them an index tells, without their rows.
    fn rows(self) -> [String; 2] {
        let (all, living) = match self {
            Self::Trusts => (
                "t.id FROM trust t WHERE t.project_id = ?",
                concat!(
                    living!("t"),
                    " AND (t.remaining_uses IS NULL OR t.remaining_uses > 0)
                      AND (COALESCE(t.expires_at_int, 0) = 0 OR t.expires_at_int > ?)"
                ),
            ),
            Self::Keypairs => (
                "c.id FROM credential c LEFT JOIN vicar_keypair k ON k.credential_id = c.id
                  WHERE c.project_id = ?",
                "(c.type = 'ec2' OR k.credential_id IS NOT NULL) AND (k.expires_at IS NULL OR k.expires_at > ?)",
            ),
            Self::ApplicationCredentials => (
                "a.id FROM application_credential a WHERE a.project_id = ?",
                "(a.expires_at IS NULL OR a.expires_at > ?)",
            ),
        };
        [format!("SELECT {all}"), format!("SELECT {all} AND {living}")]
    }
}

/// Checks that a project may have one more. Its own limit counts, else the registered one; of several services of the type
/// `identity`, or regions, the lowest. Without any nothing is counted.
///
/// # Errors
/// 403 when it has as many as it may.
pub async fn check_room(tx: &mut Tx, project: &str, what: Counted, now: Micros) -> Result<()> {
    let (resource, words) = what.words();
    let sql = "SELECT COALESCE(l.resource_limit, r.default_limit)
                 FROM registered_limit r JOIN service s ON s.id = r.service_id
                 LEFT JOIN \"limit\" l ON l.registered_limit_id = r.id AND (l.project_id = ? OR l.domain_id = ?)
                WHERE s.type = 'identity' AND r.resource_name = ?";
    let limits: Vec<i64> = tx.column(sql, args![Id(project), Id(project), Id(resource)]).await?;
    // A negative one is none.
    let Some(limit) = limits.into_iter().filter(|limit| *limit >= 0).min() else { return Ok(()) };
    let is_full = match limit.checked_sub(1).filter(|rest| *rest >= 0) {
        None => true,
        Some(rest) => {
            let [all, living] = what.rows().map(|rows| format!("{rows} LIMIT 1 OFFSET {rest}"));
            tx.exists(&all, args![Id(project)]).await? && tx.exists(&living, args![Id(project), now]).await?
        }
    };
    match is_full {
        false => Ok(()),
        true => Err(Error::Forbidden(format!(
            "The project may have {limit} {words}, and has as many or more (limit of the identity service on {resource})."
        ))),
    }
}

/// `GET /v3/limits/model`
pub async fn model(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetLimitModel, NoObject)?;
    let (name, description) = match s.app.config.limit_model {
        LimitModel::Flat => {
            ("flat", "Limit enforcement and validation does not take project hierarchy into consideration.")
        }
        LimitModel::StrictTwoLevel => {
            ("strict_two_level", "This model requires project hierarchy never exceeds a depth of two")
        }
    };
    Ok(one("model", json!({"name": name, "description": description})))
}
