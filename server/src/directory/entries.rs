//! Users and groups of a directory: how Keystone asks for them, and what it makes of an entry.

use std::collections::{BTreeMap, BTreeSet};

use vicar_rules::directory::{escape, named_by, same_dn};

use super::client::{Away, Client, Depth, Entry, Size};
use crate::config::directory::{Directory, Tree};

type Result<T> = std::result::Result<T, Away>;

/// A user as the directory has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id there.
    pub local: String,
    /// The name of the entry.
    pub dn: String,
    /// The user's name.
    pub name: String,
    /// Whether they are enabled.
    pub enabled: bool,
    /// `email`
    pub mail: Option<String>,
    /// `description`
    pub description: Option<String>,
    /// `default_project_id`
    pub default_project: Option<String>,
}

/// A group as the directory has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The id there.
    pub local: String,
    /// The group's name.
    pub name: String,
    /// `description`
    pub description: Option<String>,
}

/// Everything that a directory has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whole {
    /// The users.
    pub users: Vec<User>,
    /// The groups, each with the ids of its users there.
    pub groups: Vec<(Group, Vec<String>)>,
}

/// So many entries are asked for at once by their ids.
const AT_ONCE: usize = 50;

/// Longer ids and names cannot be stored.
const LONGEST: usize = 255;

/// Active Directory's rule that follows groups in groups.
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

impl Client {
    /// Users by their ids; those that are not there are left out.
    ///
    /// # Errors
    /// When nothing is known.
    pub async fn users(&self, ids: &[String]) -> Result<Vec<User>> {
        let tree = &self.directory.users;
        let mut found = Vec::new();
        for some in ids.chunks(AT_ONCE) {
            let users = self.read_users(&with_ids(tree, some), Size::Few).await?;
            // Servers do not mind the case of letters, and ids do.
            found.extend(users.into_iter().filter(|user| some.contains(&user.local)));
        }
        aside(move || unambiguous(found)).await
    }

    /// Users by a name: mostly one.
    ///
    /// # Errors
    /// When nothing is known.
    pub async fn users_named(&self, name: &str) -> Result<Vec<User>> {
        // Nobody is called so.
        if name.chars().count() > LONGEST {
            return Ok(Vec::new());
        }
        self.read_users(&named(&self.directory.users, name), Size::Few).await
    }

    /// The work of trying a password, for a name that nobody has: how long it takes does not tell who is there. What was typed
    /// is not sent.
    ///
    /// # Errors
    /// As for a name that somebody has.
    pub async fn nobodys_password(&self) -> Result<()> {
        let Tree { id, dn, .. } = &self.directory.users;
        let (nobody, any) = (crate::ids::uuid(), crate::ids::uuid());
        self.is_password(&format!("{id}={nobody},{dn}"), &any).await.map(drop)
    }

    /// The groups of a user, with those that these are in where groups are nested.
    ///
    /// # Errors
    /// When nothing is known.
    pub async fn groups_of(&self, user: &User) -> Result<Vec<Group>> {
        let found = self.read_groups(&has_member(&self.directory, user), &[], Size::Few).await?;
        Ok(found.into_iter().map(|(group, _)| group).collect())
    }

    /// Whether there is anybody at all.
    ///
    /// # Errors
    /// When nothing is known.
    pub async fn has_users(&self) -> Result<bool> {
        let tree = &self.directory.users;
        let found = self.search((&tree.dn, Depth::Tree), &everybody(tree), &["1.1"], Size::One).await?;
        Ok(found.is_some_and(|found| !found.is_empty()))
    }

    /// All users and groups.
    ///
    /// # Errors
    /// When not all of it is known.
    pub async fn whole(&self) -> Result<Whole> {
        let d = &self.directory;
        let users = self.read_users(&everybody(&d.users), Size::Whole).await?;
        let found = self.read_groups("", &[&d.member], Size::Whole).await?;
        if !d.nesting {
            let (member, are_ids) = (d.member.clone(), d.members_are_ids);
            return aside(move || with_members(unambiguous(users), found, &member, are_ids)).await;
        }
        let users = aside(move || unambiguous(users)).await?;
        let ids: BTreeSet<&str> = users.iter().map(|user| user.local.as_str()).collect();
        let mut groups = Vec::new();
        for (group, entry) in found {
            let inside = self.read_users(&is_in_chain(d, &entry.dn), Size::Whole).await?.into_iter();
            let members: BTreeSet<String> =
                inside.map(|user| user.local).filter(|id| ids.contains(id.as_str())).collect();
            groups.push((group, members.into_iter().collect()));
        }
        Ok(Whole { users, groups })
    }

    async fn read_users(&self, filter: &str, size: Size) -> Result<Vec<User>> {
        let d = &self.directory;
        let wanted = [
            d.users.description.as_deref(),
            d.mail.as_deref(),
            d.default_project.as_deref(),
            d.enabled.as_deref(),
        ];
        let mut attributes = vec![d.users.id.as_str(), d.users.name.as_str()];
        attributes.extend(wanted.into_iter().flatten());
        let found = self.search((&d.users.dn, Depth::Tree), filter, &attributes, size).await?;
        let Some(found) = found else {
            return Err(Away::Unanswered("[ldap] user_tree_dn: there is no such entry".into()));
        };
        let mut users: Vec<User> = found.iter().filter_map(|entry| user(d, entry)).collect();
        if let Some(emulation) = &d.emulation {
            users.retain(|user| same_dn(&user.dn) != same_dn(&emulation.dn));
            let enabled = self.enabled(&users).await?;
            for user in &mut users {
                let key = if emulation.are_ids { user.local.clone() } else { same_dn(&user.dn) };
                user.enabled = enabled.contains(&key);
            }
        }
        Ok(users)
    }

    /// Those of some users who are members of the group that enables, by what it names them.
    async fn enabled(&self, users: &[User]) -> Result<BTreeSet<String>> {
        let Some(emulation) = &self.directory.emulation else { return Ok(Default::default()) };
        let at = (emulation.dn.as_str(), Depth::Itself);
        if let [one] = users {
            let member = if emulation.are_ids { &one.local } else { &one.dn };
            let filter = format!("({}={})", emulation.member, escape(member));
            let found = self.search(at, &filter, &["1.1"], Size::Few).await?;
            let key = if emulation.are_ids { one.local.clone() } else { same_dn(&one.dn) };
            return Ok(found.filter(|found| !found.is_empty()).map(|_| key).into_iter().collect());
        }
        if users.is_empty() {
            return Ok(Default::default());
        }
        let found = self.search(at, "(objectClass=*)", &[&emulation.member], Size::Whole).await?;
        let (member, are_ids) = (emulation.member.clone(), emulation.are_ids);
        let keys = move || {
            let members = found.iter().flatten().flat_map(|entry| entry.all(&member));
            members.map(|m| if are_ids { m.clone() } else { same_dn(m) }).collect()
        };
        aside(keys).await
    }

    async fn read_groups(&self, also: &str, more: &[&str], size: Size) -> Result<Vec<(Group, Entry)>> {
        let tree = &self.directory.groups;
        let filter = format!("(&{also}{}(objectClass={})({}=*))", tree.filter, tree.class, tree.id);
        let mut attributes = vec![tree.id.as_str(), tree.name.as_str()];
        attributes.extend(tree.description.as_deref());
        attributes.extend(more);
        let found = self.search((&tree.dn, Depth::Tree), &filter, &attributes, size).await?;
        // Many have no tree of groups, and name none.
        let found = found.unwrap_or_default().into_iter();
        Ok(found.filter_map(|entry| Some((group(tree, &entry)?, entry))).collect())
    }
}

/// Does what may take long with all that a directory has, where nobody else waits for it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Away::Unanswered(e.to_string()))
}

/// Groups with their users, as far as these are known.
fn with_members(users: Vec<User>, found: Vec<(Group, Entry)>, member: &str, are_ids: bool) -> Whole {
    let known: BTreeMap<String, &str> = users
        .iter()
        .map(|user| (if are_ids { user.local.clone() } else { same_dn(&user.dn) }, user.local.as_str()))
        .collect();
    let of = |named: &String| match are_ids {
        true => known.get(named),
        false => known.get(&same_dn(named)),
    };
    let groups = found.into_iter().map(|(group, entry)| {
        let members: BTreeSet<&str> = entry.all(member).iter().filter_map(of).copied().collect();
        (group, members.into_iter().map(str::to_owned).collect())
    });
    let groups = groups.collect();
    Whole { users, groups }
}

/// Without those whose id another entry has as well: which of them is meant cannot be told.
fn unambiguous(users: Vec<User>) -> Vec<User> {
    struct Holder {
        user: User,
        dn: String,
        is_one: bool,
    }
    let mut holders: BTreeMap<String, Holder> = BTreeMap::new();
    for user in users {
        let dn = same_dn(&user.dn);
        match holders.get_mut(&user.local) {
            Some(holder) => holder.is_one &= holder.dn == dn,
            None => drop(holders.insert(user.local.clone(), Holder { user, dn, is_one: true })),
        }
    }
    let mut several = holders.iter().filter(|(_, holder)| !holder.is_one).map(|(id, _)| id);
    if let Some(id) = several.next() {
        let others = several.count();
        tracing::warn!(
            id,
            other_ids = others,
            "several entries of a directory have this id, and none of them logs in"
        );
    }
    holders.into_values().filter(|holder| holder.is_one).map(|holder| holder.user).collect()
}

/// All entries that can be a user.
fn everybody(tree: &Tree) -> String {
    format!("(&{}(objectClass={})({}=*))", tree.filter, tree.class, tree.id)
}

/// Those with one of these ids.
fn with_ids(tree: &Tree, ids: &[String]) -> String {
    let any: String = ids.iter().map(|id| format!("({}={})", tree.id, escape(id))).collect();
    format!("(&(|{any}){}(objectClass={}))", tree.filter, tree.class)
}

/// Those of a name.
fn named(tree: &Tree, name: &str) -> String {
    let Tree { name: attribute, filter, class, id, .. } = tree;
    format!("(&({attribute}={}){filter}(objectClass={class})({id}=*))", escape(name))
}

/// The condition on groups that they have a user, directly or, where groups are nested, through others: that rule is about
/// `member`, as Keystone has it, whatever attribute is configured.
fn has_member(d: &Directory, user: &User) -> String {
    let member = escape(if d.members_are_ids { &user.local } else { &user.dn });
    match d.nesting {
        true => format!("(member:{IN_CHAIN}:={member})"),
        false => format!("({}={member})", d.member),
    }
}

/// The condition on users that they are in a group, directly or through others.
fn is_in_chain(d: &Directory, group: &str) -> String {
    format!("(&(objectClass={})(memberOf:{IN_CHAIN}:={}))", d.users.class, escape(group))
}

/// The id and the name of an entry. One without either is none, as in Keystone.
fn known(tree: &Tree, entry: &Entry) -> Option<(String, String)> {
    let local = match entry.all(&tree.id) {
        [] => return None,
        [one] => one.clone(),
        [first, ..] => named_by(&entry.dn, &tree.id).unwrap_or_else(|| first.clone()),
    };
    let name = entry.first(&tree.name).filter(|name| !name.trim().is_empty())?;
    if local.is_empty() || local.chars().count() > LONGEST || name.chars().count() > LONGEST {
        tracing::warn!(
            dn = entry.dn,
            "directory: an id or a name is empty or longer than {LONGEST} characters"
        );
        return None;
    }
    Some((local, name.to_owned()))
}

fn user(d: &Directory, entry: &Entry) -> Option<User> {
    let (local, name) = known(&d.users, entry)?;
    let text = |attribute: &Option<String>| entry.first(attribute.as_deref()?).map(str::to_owned);
    let enabled = match &d.enabled {
        Some(attribute) => d.enabling.is_enabled(entry.first(attribute)),
        // With a mask, what is not there is the default.
        None if d.enabling.mask != 0 && d.emulation.is_none() => d.enabling.is_enabled(None),
        None => true,
    };
    Some(User {
        local,
        dn: entry.dn.clone(),
        name,
        enabled,
        mail: text(&d.mail),
        description: text(&d.users.description),
        default_project: text(&d.default_project).filter(|id| id.chars().count() <= 64),
    })
}

fn group(tree: &Tree, entry: &Entry) -> Option<Group> {
    let (local, name) = known(tree, entry)?;
    let description = tree.description.as_deref().and_then(|attribute| entry.first(attribute));
    Some(Group { local, name, description: description.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(text: &[(&str, &str)]) -> Directory {
        let text: Vec<(String, String)> = text.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Directory::read(&|name| text.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone())).expect("reads")
    }

    #[test]
    fn an_entry_is_a_user_as_in_keystone() {
        let d = directory(&[
            ("user_id_attribute", "uid"),
            ("user_name_attribute", "CN"),
            ("user_enabled_attribute", "on"),
        ]);
        let entry = |values: &[(&str, &[&str])]| user(&d, &Entry::of("uid=b,ou=x", values));
        let all: &[(&str, &[&str])] = &[
            ("UID", &["a"]),
            ("cn", &["A", "B"]),
            ("mail", &["m"]),
            ("description", &["d"]),
            ("on", &["FALSE"]),
        ];
        let found = entry(all).expect("a user");
        assert_eq!((found.local.as_str(), found.name.as_str(), found.enabled), ("a", "A", false));
        assert_eq!((found.mail.as_deref(), found.description.as_deref()), (Some("m"), Some("d")));
        // Of several ids the one in the name of the entry.
        assert_eq!(entry(&[("uid", &["a", "b"]), ("cn", &["A"])]).map(|u| u.local).as_deref(), Some("b"));
        assert_eq!(entry(&[("uid", &["a"]), ("cn", &["A"])]).map(|u| u.enabled), Some(true));
        assert_eq!(entry(&[("uid", &["a"])]), None);
        assert_eq!(entry(&[("cn", &["A"])]), None);
        assert_eq!(entry(&[("uid", &["a"]), ("cn", &["  "])]), None);
        let long = "x".repeat(256);
        assert_eq!(entry(&[("uid", &[long.as_str()]), ("cn", &["A"])]), None);
    }

    /// The texts of a filter as it is sent, in their order: attributes, rules, values.
    fn sent(filter: &str) -> Vec<String> {
        use ldap3::asn1::{ASNTag, PL, StructureTag};
        fn texts(tag: StructureTag, out: &mut Vec<String>) {
            match tag.payload {
                PL::P(bytes) => out.push(String::from_utf8(bytes).expect("text")),
                PL::C(parts) => parts.into_iter().for_each(|part| texts(part, out)),
            }
        }
        let mut out = Vec::new();
        texts(ldap3::parse_filter(filter).expect(filter).into_structure(), &mut out);
        out
    }

    #[test]
    fn an_id_that_two_have_is_nobodys() {
        let named = |dn: &str, local: &str| User { local: local.into(), ..user_at(dn) };
        let all = [
            ("cn=a,ou=x", "a"),
            ("cn=a,ou=y", "a"),
            ("cn=A,ou=y", "b"),
            ("cn=a, ou=y", "b"),
            ("cn=c,ou=x", "c"),
        ];
        let left = unambiguous(all.map(|(dn, local)| named(dn, local)).into());
        assert_eq!(left.iter().map(|user| user.local.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        // However many have one.
        let many = (0..50_000).map(|n| named(&format!("cn={n},ou=x"), "a")).collect();
        assert_eq!(unambiguous(many), []);
    }

    #[test]
    fn a_name_is_one_value_of_a_filter_whatever_is_in_it() {
        let d = directory(&[("group_member_attribute", "uniqueMember")]);
        for local in
            ["*", "a)(uid=*", "*)(uid=*))(|(uid=*", "\\2a", "a\\", "\0", " a ", "Jürgen", "", "(", "a\n"]
        {
            let dn = format!("cn={local},ou=x");
            let found = User { local: local.into(), ..user_at(&dn) };
            assert_eq!(sent(&has_member(&d, &found)), ["uniqueMember", dn.as_str()]);
            assert_eq!(sent(&named(&d.users, local)), ["sn", local, "objectClass", "inetOrgPerson", "cn"]);
            let ids = [local.to_owned(), "b".to_owned()];
            assert_eq!(
                sent(&with_ids(&d.users, &ids)),
                ["cn", local, "cn", "b", "objectClass", "inetOrgPerson"]
            );
        }
    }

    fn user_at(dn: &str) -> User {
        let entry = Entry::of(dn, &[("cn", &["a"]), ("sn", &["A"])]);
        user(&directory(&[]), &entry).expect("a user")
    }

    #[test]
    fn groups_in_groups_are_followed_by_the_rule_of_active_directory() {
        let rule = "1.2.840.113556.1.4.1941";
        let ad = |more: &[(&str, &str)]| {
            let all = [("group_ad_nesting", "true"), ("user_objectclass", "person")];
            directory(&[&all, more].concat())
        };
        let dn = "CN=Müller\\, Jo (x)*,OU=People,DC=example";
        // The rule, the attribute, the value: one extensible match (RFC 4511), in which nothing of the name means something.
        let d = ad(&[]);
        assert_eq!(sent(&has_member(&d, &user_at(dn))), [rule, "member", dn]);
        assert_eq!(sent(&is_in_chain(&d, dn)), ["objectClass", "person", rule, "memberOf", dn]);
        // As in Keystone.
        let other = ad(&[("group_member_attribute", "uniqueMember")]);
        assert_eq!(sent(&has_member(&other, &user_at(dn))), [rule, "member", dn]);
        let plain = directory(&[]);
        assert_eq!(sent(&has_member(&plain, &user_at(dn))), ["member", dn]);
    }
}
