//! The story itself: alice lets solum act for her, solum hands it on, a program gets a key; a trust is
//! narrowed and paused, a ceiling refuses what is too much; one deletion ends it all, and what alice leaves
//! behind rests on a colleague.

use serde_json::{Map, Value, json};
use vicar_rules::signature::{SignatureError, SignedRequest, amz_date, sign_v2, sign_v4};

use crate::Stop;
use crate::client::{Answer, Client};
use crate::page::{Page, Step};
use crate::random;
use crate::stage::{Admin, Stage, Thing};
use crate::time::{self, SECOND};
use crate::tree;

const MINUTE: i64 = 60 * SECOND;
const TRUSTS: &str = "/v3/OS-TRUST/trusts";
/// Where alice says that her delegation began.
const ORDER: &str = "order 4711";

/// Runs all chapters in order.
pub(crate) fn tell(client: &Client, page: &mut Page, admin: &mut Admin) -> Result<(), Stop> {
    let stage = admin.make_all(client, page)?;
    let alice = json!({"project": {"id": stage.orchard.id}});
    let service = json!({"project": {"id": stage.services.id}});
    let alice = enter(client, &stage, &stage.alice, alice)?.token()?;
    let service = enter(client, &stage, &stage.ec2_api, service)?.token()?;
    let mut story = Story { http: client, page, on: &stage, alice, service };
    let links = story.delegation()?;
    let key = story.key(&links)?;
    let task = story.task()?;
    story.pause(&task)?;
    story.ceiling(admin)?;
    story.refusals(&links, &key)?;
    story.tree_before(&links, &key)?;
    story.end(&links, &key)?;
    story.aftermath(&links, &key)?;
    story.succession(admin, &task)
}

/// A password login.
fn enter(client: &Client, on: &Stage, user: &Thing, scope: Value) -> Result<Answer, Stop> {
    let user = json!({"id": user.id, "password": on.password});
    client.login(&json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": scope,
    }}))
}

/// What every chapter needs.
struct Story<'a> {
    http: &'a Client,
    page: &'a mut Page,
    on: &'a Stage,
    /// Alice's own token.
    alice: String,
    /// The service's.
    service: String,
}

/// A trust in the hands of its trustee, with the token that it gave.
struct Link<'a> {
    holder: &'a Thing,
    id: String,
    until: String,
    token: String,
}

impl Link<'_> {
    fn path(&self) -> String {
        format!("{TRUSTS}/{}", self.id)
    }
}

/// The chain, and the branch beside it.
struct Links<'a> {
    solum: Link<'a>,
    heat: Link<'a>,
    aodh: Link<'a>,
    mistral: Link<'a>,
}

impl<'a> Links<'a> {
    fn all(&self) -> [&Link<'a>; 4] {
        [&self.solum, &self.heat, &self.aodh, &self.mistral]
    }
}

/// What the program has. Not to be shown: it holds a secret.
struct Key {
    access: String,
    secret: String,
    path: String,
    /// The token that the service got for it.
    token: String,
}

/// A trust that somebody asks for.
struct Ask<'a> {
    from: &'a Thing,
    to: &'a Thing,
    roles: Vec<&'a Thing>,
    impersonation: bool,
    with: Value,
}

impl<'a> Story<'a> {
    fn ask(&self, from: &'a Thing, to: &'a Thing, roles: &[&'a Thing], with: Value) -> Ask<'a> {
        Ask { from, to, roles: roles.to_vec(), impersonation: true, with }
    }

    /// Asks for a trust on orchard.
    fn post(&self, token: &str, ask: &Ask<'_>) -> Result<Answer, Stop> {
        let roles: Vec<Value> = ask.roles.iter().map(|r| json!({"id": r.id})).collect();
        let mut trust = json!({
            "trustor_user_id": ask.from.id,
            "trustee_user_id": ask.to.id,
            "project_id": self.on.orchard.id,
            "impersonation": ask.impersonation,
            "roles": roles,
        });
        for (name, value) in ask.with.as_object().unwrap_or(&Map::new()) {
            trust[name] = value.clone();
        }
        self.http.post(token, TRUSTS, &json!({"trust": trust}))
    }

    /// Makes a trust and has its trustee take it up. `chain` is everybody through whose hands it went.
    fn hand_on(
        &mut self,
        (who, token): (&'static str, &str),
        what: &str,
        ask: Ask<'a>,
        hops: u32,
        chain: &[&Thing],
    ) -> Result<Link<'a>, Stop> {
        let made = self.post(token, &ask)?;
        let until = made.body["trust"]["expires_at"].as_str().unwrap_or_default().to_owned();
        let roles = self.page.list(ask.roles.iter().map(|r| r.id.as_str()));
        self.page.step(
            Step::by(who, what)
                .answered(&made, 201)
                .is("roles", roles, self.page.list(tree::ids(made.list("/trust/roles"))))
                .is("impersonation", ask.impersonation, &made.body["trust"]["impersonation"])
                .is("redelegation_count", hops, &made.body["trust"]["redelegation_count"])
                .says(format!("until {}", tree::time(&until))),
        );
        let id = made.text("/trust/id")?;
        let token = self.take_up(&ask, &id, &until, chain)?;
        Ok(Link { holder: ask.to, id, until, token })
    }

    /// The trustee's login by a trust, and what the token says.
    fn take_up(&mut self, ask: &Ask<'_>, id: &str, until: &str, chain: &[&Thing]) -> Result<String, Stop> {
        let answer = self.consume(ask.to, id)?;
        let speaks_for = if ask.impersonation { ask.from } else { ask.to };
        let mut roles: Vec<&str> = ask.roles.iter().map(|r| r.id.as_str()).collect();
        if ask.roles.iter().any(|r| r.id == self.on.member.id) {
            // A member is a reader too.
            roles.push(&self.on.reader.id);
        }
        let token = &answer.body["token"];
        let names: Vec<&str> = chain.iter().map(|t| t.name).collect();
        self.page.step(
            Step::by(ask.to.name, "takes it up and gets a token")
                .answered(&answer, 201)
                .is(
                    "user",
                    speaks_for.name,
                    self.page.named(token["user"]["id"].as_str().unwrap_or_default()),
                )
                .is("project", self.on.orchard.name, self.project_of(token))
                .is("chain", names.join(" → "), self.chain_of(token))
                .is("roles", self.page.list(roles), self.page.list(tree::ids(answer.list("/token/roles"))))
                .holds(ends(token, until), within(token, until)),
        );
        answer.token()
    }

    fn consume(&self, who: &Thing, trust: &str) -> Result<Answer, Stop> {
        enter(self.http, self.on, who, json!({"OS-TRUST:trust": {"id": trust}}))
    }

    fn project_of(&self, token: &Value) -> &str {
        match token.pointer("/project/id").and_then(Value::as_str) {
            Some(id) if id == self.on.orchard.id => self.on.orchard.name,
            _ => "another",
        }
    }

    /// Everybody in a token's chain, the first trustor first.
    fn chain_of(&self, token: &Value) -> String {
        let trust = &token["OS-TRUST:trust"];
        let mut ids = vec![trust["trustor_user"]["id"].as_str()];
        match trust["chain"].as_array() {
            // Of a trust that nobody handed on, its two parties are all there is.
            None => ids.push(trust["trustee_user"]["id"].as_str()),
            Some(links) => {
                ids = vec![links.first().and_then(|l| l["trustor_user_id"].as_str())];
                ids.extend(links.iter().map(|l| l["trustee_user_id"].as_str()));
            }
        }
        let names: Vec<&str> = ids.into_iter().map(|id| self.page.named(id.unwrap_or("nobody"))).collect();
        names.join(" → ")
    }

    /// Who acts by a token, and who acted before them.
    fn actors(&self, token: &Value) -> String {
        let mut names = Vec::new();
        let mut act = &token["act"];
        while let Some(id) = act["sub"].as_str() {
            names.push(self.page.named(id));
            act = &act["act"];
        }
        names.join(", ")
    }

    fn delegation(&mut self) -> Result<Links<'a>, Stop> {
        let on = self.on;
        let end = |minutes: i64| time::iso(on.now() / SECOND * SECOND + minutes * MINUTE);
        self.page.chapter("Alice lets solum act for her");
        let roles = [&on.member, &on.stack_owner];
        let with = json!({
            "allow_redelegation": true, "redelegation_count": 2, "expires_at": end(30),
            "source_identity": ORDER,
        });
        let ask = self.ask(&on.alice, &on.solum, &roles, with);
        let alice = self.alice.clone();
        let solum = self.hand_on(
            ("alice", &alice),
            "makes a trust for solum, on orchard",
            ask,
            2,
            &[&on.alice, &on.solum],
        )?;

        self.page.chapter("Solum hands it on, and so does heat: never more, mostly less");
        let with = json!({"allow_redelegation": true, "expires_at": end(20)});
        let ask = self.ask(&on.alice, &on.heat, &roles, with);
        let chain = [&on.alice, &on.solum, &on.heat, &on.aodh];
        let heat = self.hand_on(
            ("solum", &solum.token),
            "hands it on to heat, for a shorter time",
            ask,
            1,
            &chain[..3],
        )?;
        let ask = self.ask(&on.alice, &on.aodh, &[&on.member], json!({"allow_redelegation": true}));
        let aodh =
            self.hand_on(("heat", &heat.token), "hands it on to aodh, with one role", ask, 0, &chain)?;
        let shown = self.http.validate(&self.service, &aodh.token)?;
        let token = &shown.body["token"];
        self.page.step(
            Step::by("ec2-api", "reads in aodh's token who acts, for whom, and how it began")
                .answered(&shown, 200)
                .is("act", "aodh, heat, solum", self.actors(token))
                .is("links told", 3, shown.list("/token/delegation_chain").len())
                .is(
                    "source_identity",
                    ORDER,
                    token["OS-TRUST:trust"]["source_identity"].as_str().unwrap_or_default(),
                ),
        );
        let mut ask = self.ask(&on.alice, &on.mistral, &[&on.reader], json!({"allow_redelegation": true}));
        ask.impersonation = false;
        let chain = [&on.alice, &on.solum, &on.mistral];
        let what = "hands it on to mistral too, which acts in its own name";
        let mistral = self.hand_on(("solum", &solum.token), what, ask, 1, &chain)?;
        Ok(Links { solum, heat, aodh, mistral })
    }

    fn key(&mut self, links: &Links<'a>) -> Result<Key, Stop> {
        let on = self.on;
        self.page.chapter("A program gets a key that opens one door");
        let keys = format!("/v3/users/{}/credentials/OS-EC2", on.alice.id);
        let body = json!({"tenant_id": on.orchard.id, "roles": [{"id": on.reader.id}]});
        let made = self.http.post(&links.aodh.token, &keys, &body)?;
        let access = made.text("/credential/access").unwrap_or_default();
        let trust = made.text("/credential/trust_id").unwrap_or_default();
        self.page.step(
            Step::by("aodh", "makes an EC2 keypair, for the role reader only")
                .answered(&made, 201)
                .holds("bound to aodh's trust", trust == links.aodh.id)
                .is("roles", on.reader.name, self.page.list(tree::ids(made.list("/credential/roles"))))
                .says(format!("access id {access}")),
        );
        let mut key = Key {
            secret: made.text("/credential/secret")?,
            path: format!("{keys}/{access}"),
            token: String::new(),
            access,
        };
        for version in [4, 2] {
            let signed = key.signed(version, on.now())?;
            let answer = self.exchange(&signed)?;
            let what = format!("exchanges a request that the program signed (v{version})");
            self.page.step(self.exchanged(what, &answer, links));
            key.token = answer.token()?;
        }
        Ok(key)
    }

    fn exchanged(&self, what: String, answer: &Answer, links: &Links<'_>) -> Step {
        let token = &answer.body["token"];
        let methods: Vec<&str> = answer.list("/token/methods").iter().filter_map(Value::as_str).collect();
        Step::by("ec2-api", what)
            .answered(answer, 200)
            .is("user", "alice", self.page.named(token["user"]["id"].as_str().unwrap_or_default()))
            .is("project", self.on.orchard.name, self.project_of(token))
            .is("roles", self.on.reader.name, self.page.list(tree::ids(answer.list("/token/roles"))))
            .is("methods", "ec2credential", methods.join(" "))
            .holds(ends(token, &links.aodh.until), within(token, &links.aodh.until))
    }

    fn exchange(&self, signed: &Value) -> Result<Answer, Stop> {
        self.http.post(&self.service, "/v3/ec2tokens", signed)
    }

    /// A trust as small as its task, and a token that is smaller still.
    fn task(&mut self) -> Result<Link<'a>, Stop> {
        let on = self.on;
        self.page.chapter("Heat gets what one task needs, and takes less");
        let rule =
            |method: &str, path: String| json!({"service": "orchestration", "method": method, "path": path});
        let rules =
            [rule("GET", "/v1/*/stacks/**".into()), rule("POST", "/v1/*/stacks/web/*/actions".into())];
        let until = time::iso(on.now() / SECOND * SECOND + 30 * MINUTE);
        let with = json!({"access_rules": rules, "max_token_ttl": 600, "expires_at": until});
        let ask = self.ask(&on.alice, &on.heat, &[&on.member], with);
        let made = self.post(&self.alice, &ask)?;
        self.page.step(
            Step::by("alice", "makes a trust for heat that is good for two kinds of request")
                .answered(&made, 201)
                .is("access_rules", 2, made.list("/trust/access_rules").len())
                .is("max_token_ttl", 600, &made.body["trust"]["max_token_ttl"]),
        );
        let id = made.text("/trust/id")?;
        let look = format!("/v1/{}/stacks/web", on.orchard.id);
        let less = json!({
            "id": id, "roles": [{"id": on.reader.id}], "expires_in": 30,
            "access_rules": [rule("GET", look.clone())],
        });
        let answer = enter(self.http, on, &on.heat, json!({"OS-TRUST:trust": less}))?;
        let token = &answer.body["token"];
        let at = |name: &str| time::from_iso(token[name].as_str().unwrap_or_default()).unwrap_or_default();
        let rules = answer.list("/token/application_credential/access_rules");
        let path = rules.first().and_then(|rule| rule["path"].as_str()).unwrap_or_default();
        self.page.step(
            Step::by("heat", "takes it up for one look at one stack")
                .answered(&answer, 201)
                .is("roles", on.reader.name, self.page.list(tree::ids(answer.list("/token/roles"))))
                .is("for", format!("GET {look}"), format!("GET {path}"))
                .holds("for 30 seconds", (1..=30 * SECOND).contains(&(at("expires_at") - at("issued_at")))),
        );
        let token = answer.token()?;
        let a = self.http.validate_with_rules(&self.service, &token)?;
        self.page
            .step(Step::by("ec2-api", "validates it, as a service that enforces rules").answered(&a, 200));
        let a = self.http.validate(&self.service, &token)?;
        self.page.step(Step::by("ec2-api", "validates it, without saying so").answered(&a, 404));
        let more = json!({"id": id, "access_rules": [rule("DELETE", look)]});
        let a = enter(self.http, on, &on.heat, json!({"OS-TRUST:trust": more}))?;
        self.refused(&on.heat, "takes it up to delete the stack", &a, 403);
        Ok(Link { holder: &on.heat, id, until, token })
    }

    fn pause(&mut self, task: &Link<'a>) -> Result<(), Stop> {
        let on = self.on;
        self.page.chapter("Alice pauses it, and lets it go on");
        let why = json!({"suspension": {"reason": "a look at it first"}});
        let a = self.http.post(&self.alice, &format!("{}/suspend", task.path()), &why)?;
        let reason = a.body["trust"]["suspension"]["reason"].as_str().unwrap_or_default();
        self.page.step(Step::by("alice", "suspends her trust for heat").answered(&a, 200).is(
            "reason",
            "a look at it first",
            reason,
        ));
        let a = self.http.validate_with_rules(&self.service, &task.token)?;
        self.page.step(Step::by("ec2-api", "validates heat's token").answered(&a, 404));
        let a = self.consume(&on.heat, &task.id)?;
        self.refused(&on.heat, "takes it up", &a, 401);
        let resume = format!("{}/resume", task.path());
        let heat = enter(self.http, on, &on.heat, json!("unscoped"))?.token()?;
        let a = self.http.post(&heat, &resume, &json!({}))?;
        self.refused(&on.heat, "resumes what alice suspended", &a, 403);
        let a = self.http.post(&self.alice, &resume, &json!({}))?;
        self.page.step(
            Step::by("alice", "resumes it")
                .answered(&a, 200)
                .holds("no longer suspended", a.body["trust"].get("suspension").is_none()),
        );
        Ok(())
    }

    /// Whoever runs a project says how much may be delegated there.
    fn ceiling(&mut self, admin: &Admin) -> Result<(), Stop> {
        let on = self.on;
        self.page.chapter("Orchard has a ceiling");
        let ceiling = json!({"max_lifetime": 3600, "never_roles": [{"id": on.creator.id}]});
        let a = admin.set_ceiling(self.http, &on.orchard, &ceiling)?;
        self.page.step(
            Step::by("admin", "lets nothing be delegated for more than an hour, and never creator")
                .answered(&a, 200)
                .is("max_lifetime", 3600, &a.body["delegation_policy"]["max_lifetime"]),
        );
        let end =
            |minutes: i64| json!({"expires_at": time::iso(on.now() / SECOND * SECOND + minutes * MINUTE)});
        let a = self.post(&self.alice, &self.ask(&on.alice, &on.heat, &[&on.member], end(120)))?;
        self.refused(&on.alice, "makes a trust for two hours", &a, 403);
        let a = self.post(&self.alice, &self.ask(&on.alice, &on.heat, &[&on.creator], end(10)))?;
        self.refused(&on.alice, "delegates her role creator", &a, 403);
        Ok(())
    }

    fn refused(&mut self, who: &Thing, what: &str, answer: &Answer, status: u16) {
        self.page.step(Step::by(who.name, what).refused(answer, status));
    }

    fn refusals(&mut self, links: &Links<'a>, key: &Key) -> Result<(), Stop> {
        self.page.chapter("What is tried in vain, and what the server says to it");
        self.refused_escalations(links)?;
        self.refused_keys(key)?;
        self.refused_strangers(links, key)
    }

    /// No link gives more than the one above it.
    fn refused_escalations(&mut self, links: &Links<'a>) -> Result<(), Stop> {
        let on = self.on;
        let plain = || json!({});
        let ask = self.ask(&on.alice, &on.heat, &[&on.creator], plain());
        let a = self.post(&links.solum.token, &ask)?;
        self.refused(&on.solum, "hands on alice's role creator, which it was not given", &a, 403);
        let ask = self.ask(&on.alice, &on.aodh, &[&on.member], json!({"project_id": on.meadow.id}));
        let a = self.post(&links.heat.token, &ask)?;
        self.refused(&on.heat, "hands on alice's role on another project, meadow", &a, 403);
        let ask = self.ask(&on.alice, &on.aodh, &[&on.member], json!({"expires_at": links.solum.until}));
        let a = self.post(&links.heat.token, &ask)?;
        self.refused(&on.heat, "hands it on for longer than it has it itself", &a, 403);
        let ask = self.ask(&on.mistral, &on.mallory, &[&on.reader], plain());
        let a = self.post(&links.mistral.token, &ask)?;
        self.refused(&on.mistral, "lets another act as alice, which it may not itself", &a, 403);
        let ask = self.ask(&on.alice, &on.mallory, &[&on.member], plain());
        let a = self.post(&links.aodh.token, &ask)?;
        self.refused(&on.aodh, "hands it on once more: that would be a fourth link", &a, 403);
        let own = json!({"auth": {
            "identity": {"methods": ["token"], "token": {"id": links.aodh.token}},
            "scope": {"project": {"id": on.meadow.id}},
        }});
        let a = self.http.login(&own)?;
        self.refused(&on.aodh, "swaps its token for an ordinary one of alice's", &a, 403);
        Ok(())
    }

    /// A key is a leaf, and only its holder can sign with it.
    fn refused_keys(&mut self, key: &Key) -> Result<(), Stop> {
        let on = self.on;
        let keys = format!("/v3/users/{}/credentials/OS-EC2", on.alice.id);
        let a = self.http.post(&key.token, &keys, &json!({"tenant_id": on.orchard.id}))?;
        self.page.step(Step::by("program", "makes another key with its token").refused(&a, 403));
        let a = self.http.get(&key.token, "/v3/auth/catalog")?;
        self.page.step(Step::by("program", "uses its token on the identity service").refused(&a, 403));
        let guess = Key {
            access: key.access.clone(),
            secret: random::hex(),
            path: String::new(),
            token: String::new(),
        };
        let a = self.exchange(&guess.signed(4, on.now())?)?;
        self.refused(&on.ec2_api, "exchanges a request with a forged signature", &a, 401);
        let a = self.exchange(&key.signed(4, on.now() - 20 * MINUTE)?)?;
        self.refused(&on.ec2_api, "exchanges a request that was signed 20 minutes ago", &a, 401);
        Ok(())
    }

    /// A trust's id is no secret, and a leaked signed request is no token.
    fn refused_strangers(&mut self, links: &Links<'a>, key: &Key) -> Result<(), Stop> {
        let on = self.on;
        let stranger = enter(self.http, on, &on.mallory, json!("unscoped"))?.token()?;
        let a = self.http.get(&stranger, &links.solum.path())?;
        self.refused(&on.mallory, "reads alice's trust", &a, 403);
        let a = self.consume(&on.mallory, &links.solum.id)?;
        self.refused(&on.mallory, "takes it up, without being its trustee", &a, 403);
        let a = self.http.delete(&stranger, &links.solum.path())?;
        self.refused(&on.mallory, "deletes it", &a, 403);
        let a = self.http.post(&stranger, "/v3/ec2tokens", &key.signed(4, on.now())?)?;
        self.refused(&on.mallory, "exchanges a signed request that they found", &a, 403);
        Ok(())
    }

    fn tree_before(&mut self, links: &Links<'a>, key: &Key) -> Result<(), Stop> {
        self.page.chapter("Alice sees everything that acts for her");
        let lineage = self.lineage(links)?;
        let all = nodes(&lineage);
        let count = |state: &str| all.iter().filter(|n| n["state"] == state).count();
        let depths: Vec<String> = all.iter().map(|n| n["depth"].to_string()).collect();
        let keypairs = accesses(&all);
        self.page.step(
            Step::by("alice", "asks for the lineage of her trust")
                .answered(&lineage, 200)
                .is("trusts", 4, all.len())
                .is("live", 4, count("live"))
                .is("depths", "0 1 1 2", depths.join(" "))
                .holds("the program's key is there", keypairs == [key.access.as_str()]),
        );
        self.draw(&lineage);
        Ok(())
    }

    fn lineage(&self, links: &Links<'a>) -> Result<Answer, Stop> {
        self.http.get(&self.alice, &format!("{}/lineage", links.solum.path()))
    }

    fn draw(&mut self, lineage: &Answer) {
        let lines = tree::draw(self.page, &lineage.body["lineage"]);
        self.page.line("");
        for line in lines {
            self.page.line(&line);
        }
    }

    fn end(&mut self, links: &Links<'a>, key: &Key) -> Result<(), Stop> {
        self.page.chapter("Alice takes it back");
        let step = Step::by("ec2-api", "validates all five tokens that act for alice");
        let step = self.validate_all(step, links, key, 200)?;
        self.page.step(step);
        let dry = self.http.delete(&self.alice, &format!("{}?dry_run=true", links.solum.path()))?;
        let trusts = dry.list("/would_end/trusts").len();
        let keypairs = dry.list("/would_end/keypairs").len();
        let still = self.http.get(&self.alice, &links.solum.path())?;
        self.page.step(
            Step::by("alice", "asks what a deletion would end (dry_run)")
                .answered(&dry, 200)
                .is("trusts", 4, trusts)
                .is("keypairs", 1, keypairs)
                .holds("nothing has ended yet", still.status == 200),
        );
        let a = self.http.delete(&self.alice, &links.solum.path())?;
        self.page.step(Step::by("alice", "deletes her trust for solum").answered(&a, 204));
        Ok(())
    }

    /// Validates the links' tokens and the program's.
    fn validate_all(&self, mut step: Step, links: &Links<'a>, key: &Key, status: u16) -> Result<Step, Stop> {
        let tokens = links.all().map(|l| l.token.as_str());
        for token in tokens.into_iter().chain([key.token.as_str()]) {
            step = step.answered(&self.http.validate(&self.service, token)?, status);
        }
        Ok(step)
    }

    fn aftermath(&mut self, links: &Links<'a>, key: &Key) -> Result<(), Stop> {
        self.page.chapter("In the same instant everything below is dead");
        let step = Step::by("ec2-api", "validates the same five tokens");
        let step = self.validate_all(step, links, key, 404)?;
        self.page.step(step);
        let mut using = Step::by("all four", "use their tokens");
        let mut consuming = Step::by("all four", "take up their trusts again");
        let mut reading = Step::by("alice", "reads the four trusts");
        for link in links.all() {
            using = using.answered(&self.http.get(&link.token, &link.path())?, 401);
            consuming = consuming.answered(&self.consume(link.holder, &link.id)?, 401);
            reading = reading.answered(&self.http.get(&self.alice, &link.path())?, 404);
        }
        self.page.step(using);
        self.page.step(consuming);
        self.page.step(reading);
        let a = self.exchange(&key.signed(4, self.on.now())?)?;
        self.page.step(Step::by("ec2-api", "exchanges a freshly signed request").answered(&a, 401));
        let a = self.http.get(&self.alice, &key.path)?;
        self.page.step(Step::by("alice", "looks for the program's key").answered(&a, 404));
        let a = self.http.validate(&self.service, &self.alice)?;
        self.page.step(Step::by("ec2-api", "validates alice's own token").answered(&a, 200));
        let lineage = self.lineage(links)?;
        let all = nodes(&lineage);
        let deleted = all.iter().filter(|n| n["state"] == "deleted").count();
        self.page.step(
            Step::by("alice", "can still look at what was")
                .answered(&lineage, 200)
                .is("trusts", 4, all.len())
                .is("deleted", 4, deleted)
                .is("keypairs", 0, accesses(&all).len()),
        );
        self.draw(&lineage);
        Ok(())
    }

    /// Alice leaves, and a colleague with the same roles takes over.
    fn succession(&mut self, admin: &Admin, task: &Link<'a>) -> Result<(), Stop> {
        let on = self.on;
        self.page.chapter("Alice leaves, and heat goes on for erin");
        let erin = enter(self.http, on, &on.erin, json!({"project": {"id": on.orchard.id}}))?.token()?;
        let a = admin.disable(self.http, &on.alice)?;
        self.page.step(Step::by("admin", "disables alice").answered(&a, 200));
        let a = self.consume(&on.heat, &task.id)?;
        self.refused(&on.heat, "takes up the trust for its task", &a, 401);
        let a = self.http.post(&erin, &format!("{}/adopt", task.path()), &json!({}))?;
        let adopter = a.body["trust"]["adopted_by"]["user_id"].as_str().unwrap_or_default();
        self.page.step(
            Step::by("erin", "adopts it, as they hold the role too")
                .answered(&a, 200)
                .is("adopted_by", "erin", self.page.named(adopter))
                .is("id", &task.id, a.body["trust"]["id"].as_str().unwrap_or_default()),
        );
        let a = self.consume(&on.heat, &task.id)?;
        let user = a.body["token"]["user"]["id"].as_str().unwrap_or_default();
        let rests_on = a.body["token"]["delegation_chain"][0]["adopted_by"].as_str().unwrap_or_default();
        self.page.step(
            Step::by("heat", "takes it up again")
                .answered(&a, 201)
                .is("user", "alice", self.page.named(user))
                .is("rests on", "erin", self.page.named(rests_on)),
        );
        Ok(())
    }
}

/// A token's end beside its trust's. Times are texts of one form, so their order is that of the texts.
fn ends(token: &Value, until: &str) -> String {
    let end = token["expires_at"].as_str().unwrap_or_default();
    let beside = match end.cmp(until) {
        std::cmp::Ordering::Less => "before its trust",
        std::cmp::Ordering::Equal => "like its trust",
        std::cmp::Ordering::Greater => "not after its trust",
    };
    format!("until {}, {beside}", tree::time(end))
}

/// Whether a token ends no later than its trust.
fn within(token: &Value, until: &str) -> bool {
    token["expires_at"].as_str().is_some_and(|end| end <= until)
}

/// The trust of a lineage and everything below it.
fn nodes(lineage: &Answer) -> Vec<&Value> {
    let own = lineage.body.pointer("/lineage/trust");
    own.into_iter().chain(lineage.list("/lineage/subtree")).collect()
}

/// The access ids of all keypairs in a tree.
fn accesses<'a>(nodes: &[&'a Value]) -> Vec<&'a str> {
    let keypairs = nodes.iter().filter_map(|n| n["keypairs"].as_array());
    keypairs.flatten().filter_map(|k| k["access"].as_str()).collect()
}

impl Key {
    /// What a program sends to a service, as the service gives it to the exchange.
    fn signed(&self, version: u8, at: i64) -> Result<Value, Stop> {
        let mut r = SignedRequest {
            access: self.access.clone(),
            host: "ec2.example:8788".into(),
            verb: "GET".into(),
            path: "/".into(),
            params: [("Action".to_owned(), "DescribeInstances".to_owned())].into(),
            ..SignedRequest::default()
        };
        let signed = match version {
            2 => self.sign_2(&mut r, at),
            _ => sign_v4(&self.secret, &mut r, &amz_date(at), "RegionOne", "ec2").map(drop),
        };
        signed.map_err(|e| Stop(format!("a request cannot be signed: {e}")))?;
        Ok(json!({"credentials": {
            "access": r.access, "signature": r.signature, "host": r.host, "verb": r.verb, "path": r.path,
            "params": r.params, "headers": r.headers, "body_hash": r.body_hash,
        }}))
    }

    fn sign_2(&self, r: &mut SignedRequest, at: i64) -> Result<(), SignatureError> {
        let seconds = time::iso(at).chars().take(19).collect::<String>() + "Z";
        for (name, value) in [
            ("AWSAccessKeyId", self.access.as_str()),
            ("SignatureVersion", "2"),
            ("SignatureMethod", "HmacSHA256"),
            ("Timestamp", &seconds),
        ] {
            r.params.insert(name.to_owned(), value.to_owned());
        }
        r.signature = sign_v2(&self.secret, r)?;
        Ok(())
    }
}
