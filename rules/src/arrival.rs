//! Who arrives through an identity provider: what a mapping has made of them, as the user, groups and grants that are to
//! be here. As in Keystone 30.0.0; where that would fail with an error of its own, nobody arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::mapping::Mapped;
use crate::roles::RoleSet;

/// Something by its id, or by its name where that is unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// The id.
    Id(String),
    /// The name.
    Name(String),
}

/// The user who arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// A user of the provider's, who is here because they came.
    Shadow {
        /// Who they are at the provider; percent-encoded, as a Keystone stores it.
        unique_id: String,
        /// The name that is shown.
        name: String,
        /// Their address.
        email: Option<String>,
        /// Their domain; the provider's if there is none.
        domain: Option<Named>,
    },
    /// A user who is here already: by their id, or by their name in a domain.
    Local {
        /// The user.
        user: Named,
        /// The domain of the name.
        domain: Option<Named>,
    },
}

/// A project that a mapping provides for, with roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name.
    pub name: String,
    /// Its domain; the provider's if there is none.
    pub domain: Option<Named>,
    /// The names of the roles.
    pub roles: BTreeSet<String>,
}

/// What a login comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The user.
    pub person: Person,
    /// Ids of groups, all of which have to be there.
    pub group_ids: BTreeSet<String>,
    /// Groups by their names and domains; those that are not there do not count.
    pub groups: BTreeSet<(String, Named)>,
    /// Projects with roles.
    pub places: Vec<Place>,
}

/// Why nobody arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nobody {
    /// There is neither an id nor a name of a user.
    NoUser,
    /// A local user by a name without a domain.
    NoDomain,
    /// A group or a project without a name, or of no domain, or something in the place of an id or a name that is none.
    Odd,
}

/// Reads what a mapping has made. `remote_user` is whom the front server names, who is the user where the mapping names none.
///
/// # Errors
/// [`Nobody`] when it is nobody in particular.
pub fn arrival(mapped: &Mapped, remote_user: Option<&str>) -> Result<Arrival, Nobody> {
    Ok(Arrival {
        person: person(&mapped.user, remote_user)?,
        group_ids: mapped.group_ids.iter().map(text).collect::<Result<_, _>>()?,
        groups: mapped.group_names.iter().map(group).collect::<Result<_, _>>()?,
        places: mapped.projects.iter().map(place).collect::<Result<_, _>>()?,
    })
}

fn text(value: &Value) -> Result<String, Nobody> {
    value.as_str().map(str::to_owned).ok_or(Nobody::Odd)
}

/// A member that is a string and not empty.
fn said(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A domain, by its id before its name.
fn domain(of: &Map<String, Value>) -> Option<Named> {
    let domain = of.get("domain")?.as_object()?;
    said(domain, "id").map(Named::Id).or_else(|| said(domain, "name").map(Named::Name))
}

fn person(user: &Map<String, Value>, remote_user: Option<&str>) -> Result<Person, Nobody> {
    let (id, name) = (said(user, "id"), said(user, "name"));
    if user.get("type").and_then(Value::as_str) == Some("local") {
        return match (name, id) {
            (Some(name), _) => {
                let domain = Some(domain(user).ok_or(Nobody::NoDomain)?);
                Ok(Person::Local { user: Named::Name(name), domain })
            }
            (None, Some(id)) => Ok(Person::Local { user: Named::Id(id), domain: None }),
            (None, None) => Err(Nobody::NoUser),
        };
    }
    let name = name.or_else(|| remote_user.filter(|name| !name.is_empty()).map(str::to_owned));
    let (id, name) = match (id, name) {
        (Some(id), Some(name)) => (id, name),
        (Some(one), None) | (None, Some(one)) => (one.clone(), one),
        (None, None) => return Err(Nobody::NoUser),
    };
    Ok(Person::Shadow { unique_id: quoted(&id), name, email: said(user, "email"), domain: domain(user) })
}

fn group(value: &Value) -> Result<(String, Named), Nobody> {
    let group = value.as_object().ok_or(Nobody::Odd)?;
    let name = group.get("name").and_then(Value::as_str).ok_or(Nobody::Odd)?;
    Ok((name.to_owned(), domain(group).ok_or(Nobody::Odd)?))
}

fn place(value: &Value) -> Result<Place, Nobody> {
    let project = value.as_object().ok_or(Nobody::Odd)?;
    let roles = project.get("roles").and_then(Value::as_array).into_iter().flatten();
    let roles = roles.map(|role| text(&role["name"])).collect::<Result<_, _>>()?;
    Ok(Place { name: said(project, "name").ok_or(Nobody::Odd)?, domain: domain(project), roles })
}

/// As `urllib.parse.quote` of Python: all but letters, digits and `_.-~/`.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Grants on projects: a project, a role.
pub type Grants = Vec<(String, String)>;

/// Which grants on projects are to be made and which to be taken, of a user who holds some and is to have some. Those that the
/// mapping says no more go only where it `decides_alone`: from version 3.0 on.
pub fn grants(
    held: &BTreeMap<String, RoleSet>,
    wanted: &BTreeMap<String, RoleSet>,
    decides_alone: bool,
) -> (Grants, Grants) {
    let beyond = |these: &BTreeMap<String, RoleSet>, those: &BTreeMap<String, RoleSet>| -> Grants {
        let all = these.iter().flat_map(|(project, roles)| roles.iter().map(move |role| (project, role)));
        all.filter(|(project, role)| !those.get(*project).is_some_and(|roles| roles.contains(*role)))
            .map(|(project, role)| (project.clone(), role.clone()))
            .collect()
    };
    (beyond(wanted, held), if decides_alone { beyond(held, wanted) } else { Grants::new() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(user: Value) -> Result<Person, Nobody> {
        person(user.as_object().expect("an object"), Some("remote"))
    }

    fn shadow(unique_id: &str, name: &str) -> Person {
        Person::Shadow { unique_id: unique_id.into(), name: name.into(), email: None, domain: None }
    }

    #[test]
    fn a_user_is_told_by_an_id_a_name_or_the_front_server() {
        assert_eq!(of(json!({"id": "a b", "name": "ann"})), Ok(shadow("a%20b", "ann")));
        assert_eq!(of(json!({"name": "é@x/~"})), Ok(shadow("%C3%A9%40x/~", "é@x/~")));
        assert_eq!(of(json!({"id": "u"})), Ok(shadow("u", "remote")));
        assert_eq!(of(json!({"id": "", "name": ""})), Ok(shadow("remote", "remote")));
        assert_eq!(person(&Map::new(), None), Err(Nobody::NoUser));
        assert_eq!(person(&Map::new(), Some("")), Err(Nobody::NoUser));
        for (domain, wanted) in [
            (json!({"id": "d", "name": "n"}), Some(Named::Id("d".into()))),
            (json!({"name": "n"}), Some(Named::Name("n".into()))),
            (json!({}), None),
            (Value::Null, None),
        ] {
            let Ok(Person::Shadow { domain: is, email, .. }) =
                of(json!({"name": "ann", "email": "a@x", "domain": domain}))
            else {
                panic!("a user")
            };
            assert_eq!((is, email.as_deref()), (wanted, Some("a@x")));
        }
    }

    #[test]
    fn a_local_user_has_a_domain_where_they_have_a_name() {
        let local = |user: Value| {
            let mut user = user;
            user["type"] = json!("local");
            of(user)
        };
        let (by_id, by_name) = (Named::Id("u".into()), Named::Name("ann".into()));
        assert_eq!(local(json!({"id": "u"})), Ok(Person::Local { user: by_id, domain: None }));
        let domain = Some(Named::Id("d".into()));
        assert_eq!(
            local(json!({"id": "u", "name": "ann", "domain": {"id": "d"}})),
            Ok(Person::Local { user: by_name, domain })
        );
        assert_eq!(local(json!({"name": "ann"})), Err(Nobody::NoDomain));
        assert_eq!(local(json!({})), Err(Nobody::NoUser), "the front server's is none of here");
    }

    #[test]
    fn groups_and_projects_have_names_and_domains() {
        let mapped = |groups: Value, projects: Value| Mapped {
            user: Map::from_iter([("name".to_owned(), json!("ann"))]),
            group_ids: vec![json!("g")],
            group_names: groups.as_array().expect("a list").clone(),
            projects: projects.as_array().expect("a list").clone(),
        };
        let groups = json!([{"name": "a", "domain": {"name": "D"}}, {"name": "a", "domain": {"name": "D"}}]);
        let projects = json!([{"name": "p", "domain": null, "roles": [{"name": "r"}, {"name": "r"}]}]);
        let read = arrival(&mapped(groups, projects), None).expect("somebody");
        assert_eq!(read.group_ids, ["g".to_owned()].into());
        assert_eq!(read.groups, [("a".to_owned(), Named::Name("D".into()))].into());
        assert_eq!(read.places, [Place { name: "p".into(), domain: None, roles: ["r".to_owned()].into() }]);
        for (groups, projects) in [
            (json!([{"name": "a"}]), json!([])),
            (json!([{"domain": {"id": "d"}}]), json!([])),
            (json!(["a"]), json!([])),
            (json!([]), json!([{"roles": []}])),
            (json!([]), json!([{"name": "", "roles": []}])),
            (json!([]), json!([{"name": "p", "roles": [{}]}])),
            (json!([]), json!(["p"])),
        ] {
            assert_eq!(arrival(&mapped(groups, projects), None), Err(Nobody::Odd));
        }
        let odd = Mapped { group_ids: vec![json!(1)], ..mapped(json!([]), json!([])) };
        assert_eq!(arrival(&odd, None), Err(Nobody::Odd));
    }

    #[test]
    fn only_a_mapping_that_decides_alone_takes_grants() {
        let set = |all: &[(&str, &[&str])]| -> BTreeMap<String, RoleSet> {
            let roles = |roles: &[&str]| roles.iter().map(|r| (*r).to_owned()).collect();
            all.iter().map(|(project, of)| ((*project).to_owned(), roles(of))).collect()
        };
        let pairs = |all: &[(&str, &str)]| -> Grants {
            all.iter().map(|(p, r)| ((*p).to_owned(), (*r).to_owned())).collect()
        };
        let held = set(&[("p", &["a", "b"]), ("q", &["a"])]);
        let wanted = set(&[("p", &["b", "c"]), ("r", &["a"])]);
        let made = pairs(&[("p", "c"), ("r", "a")]);
        assert_eq!(grants(&held, &wanted, false), (made.clone(), vec![]));
        assert_eq!(grants(&held, &wanted, true), (made, pairs(&[("p", "a"), ("q", "a")])));
        assert_eq!(grants(&held, &BTreeMap::new(), true).1.len(), 3);
    }
}
