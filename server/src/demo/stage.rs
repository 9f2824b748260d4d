//! What the story is played on: people, projects and roles, which the administrator makes before it
//! and, on a running server, removes after it.

use serde_json::{Value, json};

use super::Stop;
use super::client::{Answer, Client};
use super::page::{Page, Step};
use crate::clock::{self, Clock};
use crate::ids;

/// A user, a project or a role. The name is the story's; on a running server it has a prefix.
#[derive(Debug)]
pub(super) struct Thing {
    pub(super) name: &'static str,
    pub(super) id: String,
}

/// Everything that the story plays with.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) alice: Thing,
    pub(super) solum: Thing,
    pub(super) heat: Thing,
    pub(super) aodh: Thing,
    pub(super) mistral: Thing,
    pub(super) ec2_api: Thing,
    pub(super) mallory: Thing,
    pub(super) orchard: Thing,
    pub(super) meadow: Thing,
    pub(super) services: Thing,
    pub(super) member: Thing,
    pub(super) reader: Thing,
    pub(super) stack_owner: Thing,
    pub(super) creator: Thing,
    /// Everybody's password.
    pub(super) password: String,
    /// How far the server's clock is ahead of ours.
    ahead: i64,
}

impl Stage {
    /// What time it is on the server.
    pub(super) fn now(&self) -> i64 {
        Clock::system().now().saturating_add(self.ahead)
    }
}

/// One who may make and remove all this.
#[derive(Debug)]
pub(super) struct Admin {
    token: String,
    /// What the names of things begin with.
    prefix: String,
    ahead: i64,
    /// The paths of what was made, in that order.
    made: Vec<String>,
}

impl Admin {
    /// Logs in on the project `admin`.
    pub(super) async fn enter(
        client: &Client,
        page: &mut Page,
        password: &str,
        prefix: &str,
    ) -> Result<Self, Stop> {
        page.chapter("The cast");
        let domain = json!({"id": "default"});
        let user = json!({"name": "admin", "domain": domain, "password": password});
        let answer = client
            .login(&json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "admin", "domain": domain}},
            }}))
            .await?;
        page.step(Step::by("admin", "logs in").answered(&answer, 201));
        if answer.status == 401 {
            return Err(Stop("the user `admin` cannot log in with this password".into()));
        }
        let issued = answer.text("/token/issued_at")?;
        let ours = Clock::system().now();
        Ok(Self {
            token: answer.token()?,
            prefix: prefix.to_owned(),
            ahead: clock::from_client(&issued).map_or(0, |theirs| theirs.saturating_sub(ours)),
            made: Vec::new(),
        })
    }

    /// Makes everything.
    pub(super) async fn furnish(&mut self, client: &Client, page: &mut Page) -> Result<Stage, Stop> {
        let domain = json!({"domain_id": "default"});
        let [orchard, meadow, services] =
            self.make(client, page, "project", ["orchard", "meadow", "services"], &domain).await?;
        let password = ids::password();
        let login = json!({"domain_id": "default", "password": password});
        let [alice, mallory] = self.make(client, page, "user", ["alice", "mallory"], &login).await?;
        let services_users = ["solum", "heat", "aodh", "mistral", "ec2-api"];
        let [solum, heat, aodh, mistral, ec2_api] =
            self.make(client, page, "user", services_users, &login).await?;
        let [member, reader, service] = self.look_up(client, page, ["member", "reader", "service"]).await?;
        let [stack_owner, creator] =
            self.make(client, page, "role", ["heat_stack_owner", "creator"], &json!({})).await?;
        self.grant(client, page, &alice, &orchard, &[&member, &stack_owner, &creator]).await?;
        self.grant(client, page, &alice, &meadow, &[&member]).await?;
        self.grant(client, page, &ec2_api, &services, &[&service]).await?;
        let ahead = self.ahead;
        Ok(Stage {
            alice,
            solum,
            heat,
            aodh,
            mistral,
            ec2_api,
            mallory,
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

    /// Makes objects of one kind, which differ in their names only.
    async fn make<const N: usize>(
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
            let answer = self.make_one(client, kind, &format!("{}{name}", self.prefix), with).await?;
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

    async fn make_one(&self, client: &Client, kind: &str, name: &str, with: &Value) -> Result<Answer, Stop> {
        let mut object = with.clone();
        object["name"] = name.into();
        client.post(&self.token, &format!("/v3/{kind}s"), &json!({ kind: object })).await
    }

    /// Roles that every cloud has. One that is missing is made, and removed in the end.
    async fn look_up<const N: usize>(
        &mut self,
        client: &Client,
        page: &mut Page,
        names: [&'static str; N],
    ) -> Result<[Thing; N], Stop> {
        let mut step = Step::by("admin", format!("looks up roles: {}", names.join(", ")));
        let mut found = Vec::with_capacity(N);
        for name in names {
            let answer = client.get(&self.token, &format!("/v3/roles?name={name}")).await?;
            let known = answer.text("/roles/0/id");
            step = step.answered(&answer, 200);
            let id = match known {
                Ok(id) => id,
                Err(_) => {
                    let answer = self.make_one(client, "role", name, &json!({})).await?;
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

    async fn grant(
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
            step = step.answered(&client.put(&self.token, &path).await?, 204);
        }
        page.step(step);
        Ok(())
    }

    /// Removes what was made, the last first. Trusts and keypairs go with their users.
    pub(super) async fn clean_up(&mut self, client: &Client, page: &mut Page) -> Result<(), Stop> {
        page.chapter("The stage is cleared");
        let mut step = Step::by("admin", "removes all users, projects and roles of this story");
        while let Some(path) = self.made.last() {
            match client.delete(&self.token, path).await {
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
