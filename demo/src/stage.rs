//! What the story is played on: people, projects and roles, which the administrator makes before it
//! and, on a running server, removes after it.

use serde_json::{Value, json};

use crate::Stop;
use crate::client::{Answer, Client};
use crate::cloud::Login;
use crate::page::{Page, Step};
use crate::{random, time};

/// A user, a project or a role. The name is the story's; on a running server it has a prefix.
#[derive(Debug)]
pub(crate) struct Thing {
    pub(crate) name: &'static str,
    pub(crate) id: String,
}

/// Everything that the story plays with.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) alice: Thing,
    pub(crate) solum: Thing,
    pub(crate) heat: Thing,
    pub(crate) aodh: Thing,
    pub(crate) mistral: Thing,
    pub(crate) ec2_api: Thing,
    pub(crate) mallory: Thing,
    pub(crate) erin: Thing,
    pub(crate) orchard: Thing,
    pub(crate) meadow: Thing,
    pub(crate) services: Thing,
    pub(crate) member: Thing,
    pub(crate) reader: Thing,
    pub(crate) stack_owner: Thing,
    pub(crate) creator: Thing,
    /// The password of all users.
    pub(crate) password: String,
    /// How far the server's clock is ahead of ours.
    ahead: i64,
}

impl Stage {
    /// What time it is on the server.
    pub(crate) fn now(&self) -> i64 {
        time::now().saturating_add(self.ahead)
    }
}

/// One who may make and remove all this.
#[derive(Debug)]
pub(crate) struct Admin {
    token: String,
    /// The domain in which things are made.
    domain: String,
    /// What the names of things begin with.
    prefix: String,
    ahead: i64,
    /// The paths of what was made, in that order.
    made: Vec<String>,
}

impl Admin {
    /// Logs in on the project `admin`.
    pub(crate) fn enter(client: &Client, page: &mut Page, login: &Login, prefix: &str) -> Result<Self, Stop> {
        page.chapter("The cast");
        let Login { username, user_domain, password, project, .. } = login;
        let user = json!({"name": username, "domain": user_domain, "password": password.0});
        let answer = client.login(&json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": project},
        }}))?;
        page.step(Step::by("admin", "logs in").answered(&answer, 201));
        if answer.status == 401 {
            return Err(Stop(format!("the user `{username}` cannot log in with this password")));
        }
        let issued = answer.text("/token/issued_at")?;
        let ours = time::now();
        Ok(Self {
            token: answer.token()?,
            domain: answer.text("/token/user/domain/id")?,
            prefix: prefix.to_owned(),
            ahead: time::from_iso(&issued).map_or(0, |theirs| theirs.saturating_sub(ours)),
            made: Vec::new(),
        })
    }

    /// Makes everything.
    pub(crate) fn make_all(&mut self, client: &Client, page: &mut Page) -> Result<Stage, Stop> {
        let domain = json!({"domain_id": self.domain});
        let [orchard, meadow, services] =
            self.make(client, page, "project", ["orchard", "meadow", "services"], &domain)?;
        let password = random::hex();
        let login = json!({"domain_id": self.domain, "password": password});
        let [alice, erin, mallory] = self.make(client, page, "user", ["alice", "erin", "mallory"], &login)?;
        let services_users = ["solum", "heat", "aodh", "mistral", "ec2-api"];
        let [solum, heat, aodh, mistral, ec2_api] =
            self.make(client, page, "user", services_users, &login)?;
        let [member, reader, service] = self.look_up(client, page, ["member", "reader", "service"])?;
        let [stack_owner, creator] =
            self.make(client, page, "role", ["heat_stack_owner", "creator"], &json!({}))?;
        self.grant(client, page, &alice, &orchard, &[&member, &stack_owner, &creator])?;
        self.grant(client, page, &erin, &orchard, &[&member])?;
        self.grant(client, page, &alice, &meadow, &[&member])?;
        self.grant(client, page, &ec2_api, &services, &[&service])?;
        let ahead = self.ahead;
        Ok(Stage {
            alice,
            solum,
            heat,
            aodh,
            mistral,
            ec2_api,
            mallory,
            erin,
            orchard,
            meadow,
            services,
            member,
            reader,
            stack_owner,
            creator,
            password,
            ahead,
        })
    }

    /// Lets nobody delegate more than this on a project.
    pub(crate) fn set_ceiling(
        &self,
        client: &Client,
        project: &Thing,
        ceiling: &Value,
    ) -> Result<Answer, Stop> {
        let path = format!("/v3/projects/{}/delegation_policy", project.id);
        client.put_body(&self.token, &path, &json!({"delegation_policy": ceiling}))
    }

    /// Disables a user.
    pub(crate) fn disable(&self, client: &Client, user: &Thing) -> Result<Answer, Stop> {
        client.patch(&self.token, &format!("/v3/users/{}", user.id), &json!({"user": {"enabled": false}}))
    }

    /// Makes objects of one kind, which differ in their names only.
    fn make<const N: usize>(
        &mut self,
        client: &Client,
        page: &mut Page,
        kind: &str,
        names: [&'static str; N],
        with: &Value,
    ) -> Result<[Thing; N], Stop> {
        let mut step = Step::by("admin", format!("makes {kind}s: {}", names.join(", ")));
        let mut made = Vec::with_capacity(N);
        for name in names {
            let answer = self.make_one(client, kind, &format!("{}{name}", self.prefix), with)?;
            step = step.answered(&answer, 201);
            match answer.text(&format!("/{kind}/id")) {
                Ok(id) => {
                    self.made.push(format!("/v3/{kind}s/{id}"));
                    page.name(&id, name);
                    made.push(Thing { name, id });
                }
                Err(missing) => {
                    page.step(step);
                    return Err(missing);
                }
            }
        }
        page.step(step);
        all(made)
    }

    fn make_one(&self, client: &Client, kind: &str, name: &str, with: &Value) -> Result<Answer, Stop> {
        let mut object = with.clone();
        object["name"] = name.into();
        client.post(&self.token, &format!("/v3/{kind}s"), &json!({ kind: object }))
    }

    /// Roles that every cloud has. One that is missing is made, and removed in the end.
    fn look_up<const N: usize>(
        &mut self,
        client: &Client,
        page: &mut Page,
        names: [&'static str; N],
    ) -> Result<[Thing; N], Stop> {
        let mut step = Step::by("admin", format!("looks up roles: {}", names.join(", ")));
        let mut found = Vec::with_capacity(N);
        for name in names {
            let answer = client.get(&self.token, &format!("/v3/roles?name={name}"))?;
            let known = answer.text("/roles/0/id");
            step = step.answered(&answer, 200);
            let id = match known {
                Ok(id) => id,
                Err(_) => {
                    let answer = self.make_one(client, "role", name, &json!({}))?;
                    let id = answer.text("/role/id")?;
                    self.made.push(format!("/v3/roles/{id}"));
                    step = step.says(format!("{name} was missing and is made"));
                    id
                }
            };
            page.name(&id, name);
            found.push(Thing { name, id });
        }
        page.step(step);
        all(found)
    }

    fn grant(
        &self,
        client: &Client,
        page: &mut Page,
        user: &Thing,
        project: &Thing,
        roles: &[&Thing],
    ) -> Result<(), Stop> {
        let names: Vec<&str> = roles.iter().map(|r| r.name).collect();
        let what = format!("gives {} {} on {}", user.name, names.join(", "), project.name);
        let mut step = Step::by("admin", what);
        for role in roles {
            let path = format!("/v3/projects/{}/users/{}/roles/{}", project.id, user.id, role.id);
            step = step.answered(&client.put(&self.token, &path)?, 204);
        }
        page.step(step);
        Ok(())
    }

    /// Removes what was made, the last first. Trusts and keypairs go with their users.
    pub(crate) fn clean_up(&mut self, client: &Client, page: &mut Page) -> Result<(), Stop> {
        page.chapter("The stage is cleared");
        let mut step = Step::by("admin", "removes all users, projects and roles of this story");
        while let Some(path) = self.made.last() {
            match client.delete(&self.token, path) {
                Ok(answer) => step = step.answered(&answer, 204),
                Err(Stop(why)) => {
                    page.step(step);
                    return Err(Stop(format!("{why}; these are left behind: {}", self.made.join(", "))));
                }
            }
            self.made.pop();
        }
        page.step(step);
        Ok(())
    }
}

fn all<const N: usize>(things: Vec<Thing>) -> Result<[Thing; N], Stop> {
    things.try_into().map_err(|_| Stop("not everything could be made".into()))
}
