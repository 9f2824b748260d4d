//! One request, one transaction: who calls, what is asked, and the transaction in which all of it happens.
//!
//! Handlers get a session and end in an answer or an error. They cannot commit: `dispatch` does, once the
//! answer is rendered. So a handler can be run again at any time, and is, when another transaction was in its
//! way. A handler of a [`Writing`] session is first rehearsed on a read, up to its first write, so that
//! nothing refused ever waits for the one writer; then it is run in the writer's transaction from its
//! beginning, so that no permission is older than the write that it allows.

use axum::response::Response;
use serde_json::{Map, Value};
use vicar_rules::Micros;
use vicar_rules::policy::{Answers, Decision, Fact, Facts, Op, Policy, Subject};
use vicar_rules::token::{self, Act};

use super::{Authorized, Caller, Object, SlowWork};
use crate::app::App;
use crate::auth::certificate;
use crate::auth::lockout::Epoch;
use crate::error::{Error, Result};
use crate::http::client_certificate;
use crate::http::page::{Paging, Query};
use crate::http::schema::{Body, Schema};
use crate::http::{Links, Request};
use crate::metrics::Metrics;
use crate::notifications::{Action, Gone, ObjectKind};
use crate::peer::Peer;
use crate::reason::Reason;
use crate::store::{Batch, Tx, WriteTx};

/// A session that reads.
pub type Reading<'r> = Session<'r, Tx>;
/// A session that may write.
pub type Writing<'r> = Session<'r, WriteTx>;

/// For a handler that does the same in either.
impl AsMut<Tx> for WriteTx {
    fn as_mut(&mut self) -> &mut Tx {
        self
    }
}

impl AsMut<Tx> for Tx {
    fn as_mut(&mut self) -> &mut Tx {
        self
    }
}

/// What a route declares that its handler may ask for.
#[derive(Debug)]
pub struct Declared {
    /// The operations that it may ask the policy for.
    pub ops: &'static [Op],
    /// The request's body.
    pub body: Option<Body>,
    /// The schema of the query.
    pub query: Option<fn() -> &'static Schema>,
}

/// What is left for the time after the commit.
type AfterCommit = Box<dyn FnOnce(&Metrics) + Send>;

/// What notifications tell of an object, besides what follows from the route.
#[derive(Debug, Clone)]
pub struct Told {
    /// What it is.
    pub kind: ObjectKind,
    /// What was done to it.
    pub action: Action,
    /// Its id.
    pub id: String,
    /// Whether it was the caller's doing; else it only follows from that.
    pub by_caller: bool,
}

/// A request inside its transaction.
pub struct Session<'r, T> {
    /// The server's parts.
    pub app: &'r App,
    /// The request.
    pub request: &'r Request,
    /// The transaction.
    pub tx: T,
    /// The instant of this session. No later than the transaction's snapshot.
    pub now: Micros,
    /// What was written of failed logins before the snapshot.
    pub epoch: Epoch,
    /// Password hashes.
    pub slow: &'r mut SlowWork,
    caller: Option<&'r Caller>,
    declared: &'static Declared,
    policy: &'r Policy,
    may_take_long: bool,
    after_commit: Vec<AfterCommit>,
    told: Vec<Told>,
}

impl<T> std::fmt::Debug for Session<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("path", &self.request.path).finish_non_exhaustive()
    }
}

impl<'r, T> Session<'r, T> {
    /// Puts a session together. The policy is the same in all sessions of a request.
    pub fn new(
        app: &'r App,
        request: &'r Request,
        tx: T,
        (now, epoch): (Micros, Epoch),
        slow: &'r mut SlowWork,
        caller: Option<&'r Caller>,
        (declared, policy): (&'static Declared, &'r Policy),
    ) -> Self {
        Self {
            app,
            request,
            tx,
            now,
            epoch,
            slow,
            caller,
            declared,
            policy,
            may_take_long: false,
            after_commit: Vec::new(),
            told: Vec::new(),
        }
    }

    /// The same of a request that has a place among the long reads.
    #[must_use]
    pub fn taking_long(self, may_take_long: bool) -> Self {
        Self { may_take_long, ..self }
    }

    /// Marks the request as one that goes on with a long read, and lets others go first. The first time it ends in
    /// [`Error::TakesLong`]: then the framework waits for a place among the few long reads that there may be at
    /// once, without a transaction, and runs the handler again. Call it after permission was checked.
    ///
    /// # Errors
    /// [`Error::TakesLong`] without a place; 503 when the client has closed its side while others wait.
    pub async fn take_long(&mut self) -> Result<()> {
        if !self.may_take_long {
            return Err(Error::TakesLong);
        }
        if self.app.long_reads.has_waiting() && Peer::current().is_some_and(|peer| peer.is_half_closed()) {
            return Err(Error::Busy);
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// What is to be read next for a page. A page of more than one batch is a long read.
    ///
    /// # Errors
    /// 400 when the marker is no item of this list; as [`Session::take_long`].
    pub async fn next_batch(&mut self, paging: &mut Paging<'_>) -> Result<Option<Batch>> {
        let batch = paging.next_batch()?;
        if batch.is_some() && paging.is_long() {
            self.take_long().await?;
        }
        Ok(batch)
    }

    /// A list that is read in batches: the database filters by equality of `queried`, and each item is compared
    /// with `filters`.
    ///
    /// # Errors
    /// 400 for a limit that is no positive integer.
    pub fn paging(&self, queried: &[&str], filters: &[&str]) -> Result<Paging<'r>> {
        self.request.query.paging(queried, filters, self.list_limit())
    }

    /// The longest list that the configuration allows of the collection that the path ends with.
    fn list_limit(&self) -> Option<u32> {
        let collection = self.request.path.split('/').rfind(|part| !part.is_empty()).unwrap_or_default();
        self.app.config.list_limits.of(collection)
    }

    /// The answer with a page that was read in batches.
    pub fn page(&self, name: &str, paging: Paging<'_>) -> Response {
        self.request.page(name, paging.into_page())
    }

    /// The transaction, what is to be done after its commit, and what is to be told then.
    pub fn finish(self) -> (T, impl FnOnce(&Metrics), Vec<Told>) {
        let after = self.after_commit;
        (self.tx, move |metrics: &Metrics| after.into_iter().for_each(|f| f(metrics)), self.told)
    }

    /// Who calls.
    ///
    /// # Errors
    /// 401 on a route that takes no token, or none was given.
    pub fn caller(&self) -> Result<&'r Caller> {
        self.caller.ok_or(Error::Unauthorized(Reason::NoToken))
    }

    /// The thumbprint of the client's certificate, as far as it has shown one that counts.
    ///
    /// # Errors
    /// 400 as [`client_certificate::of`].
    pub fn thumbprint(&self) -> Result<Option<String>> {
        let shown = client_certificate::of(self.request, &self.app.config.client_certificates, self.now)?;
        Ok(shown.filter(|der| !der.is_empty()).map(|der| certificate::thumbprint(&der)))
    }

    /// The rules that the request is judged by.
    pub fn policy(&self) -> &'r Policy {
        self.policy
    }

    /// The operations that the route declares.
    pub fn ops(&self) -> &'static [Op] {
        self.declared.ops
    }

    /// The first of them.
    ///
    /// # Errors
    /// Ours: the route declares none.
    pub fn op(&self) -> Result<Op> {
        self.declared
            .ops
            .first()
            .copied()
            .ok_or_else(|| Error::Internal("the route declares no operation".into()))
    }

    /// Whether a token of the caller's kind may do this at all.
    ///
    /// # Errors
    /// 403 when it may not.
    pub fn may(&self, act: Act) -> Result<()> {
        Ok(self.caller()?.may(self.app, act)?)
    }

    /// Asks the policy, and gives the object back with the proof.
    ///
    /// # Errors
    /// 403 when it is not allowed.
    pub fn authorize<O: Object>(&self, op: Op, object: O) -> Result<Authorized<O>> {
        let facts = object.facts(self.caller()?)?;
        self.check(op, facts)?;
        Ok(Authorized::new(op, object))
    }

    /// The same for an object that may be absent: a caller who may not is told so before they learn whether it
    /// exists.
    ///
    /// # Errors
    /// 403 when it is not allowed, otherwise `missing` when there is no object.
    pub fn authorize_found<O: Object>(
        &self,
        op: Op,
        object: Option<O>,
        missing: impl FnOnce() -> Error,
    ) -> Result<Authorized<O>> {
        match object {
            Some(object) => self.authorize(op, object),
            None => {
                self.check(op, Facts::none())?;
                Err(missing())
            }
        }
    }

    /// Asks the rule of a sibling operation after the route's own: the scopes that it allows do not matter.
    ///
    /// # Errors
    /// 403 when it is not allowed.
    pub fn authorize_beside<O: Object>(&self, op: Op, object: O) -> Result<Authorized<O>> {
        let facts = object.facts(self.caller()?)?;
        if self.ask(op, facts, Policy::decide_in_any_scope)? {
            Ok(Authorized::new(op, object))
        } else {
            Err(Error::NotPermitted(op.row().name))
        }
    }

    /// Whether the policy allows it: for lists that show to each what is theirs.
    ///
    /// # Errors
    /// 401 without a caller.
    pub fn allows(&self, op: Op, facts: &Facts) -> Result<bool> {
        self.ask(op, facts.clone(), Policy::decide)
    }

    /// Whether the policy allows it to any object, whatever the path names.
    ///
    /// # Errors
    /// 401 without a caller.
    pub fn allows_any(&self, op: Op) -> Result<bool> {
        Ok(self.policy.allows(op, self.caller()?.subject(), &Facts::none()))
    }

    /// Whether one of the policy's named rules holds, for what is not an operation of its own: who somebody is.
    ///
    /// # Errors
    /// 401 without a caller.
    pub fn holds(&self, rule: &'static str, facts: &Facts) -> Result<bool> {
        let subject = self.caller()?.subject();
        Ok(subject.admin_token || self.policy.holds(rule, subject, facts))
    }

    /// Asks the policy, and whom it asks.
    fn ask(
        &self,
        op: Op,
        facts: Facts,
        decide: fn(&Policy, Op, &Subject, &Facts, Answers<'_>) -> Decision,
    ) -> Result<bool> {
        let (policy, subject) = (self.policy, self.caller()?.subject());
        let facts = self.with_path(facts);
        let question = |url: &str| super::question(op, url.to_owned(), subject, &facts, policy);
        let told = |url: &str| self.slow.told(&question(url));
        super::watch::asked(|| super::Asked {
            op,
            explanation: policy.explain(op, subject, &facts, &told),
            facts: facts.clone(),
        });
        match decide(policy, op, subject, &facts, &told) {
            Decision::Allowed => Ok(true),
            Decision::Refused => Ok(false),
            Decision::Ask(url) => Err(self.slow.ask_other(question(&url))),
        }
    }

    fn check(&self, op: Op, facts: Facts) -> Result<()> {
        if !self.declared.ops.contains(&op) {
            return Err(undeclared(op.row().name));
        }
        if !self.allows(op, &facts)? {
            return Err(Error::NotPermitted(op.row().name));
        }
        token::needs(op).map_or(Ok(()), |act| self.may(act))
    }

    /// The variable parts of the path are facts, as in Keystone, unless the object tells the same of itself.
    fn with_path(&self, facts: Facts) -> Facts {
        self.request.parts().fold(facts, |facts, (name, value)| match Fact::named(name) {
            Some(fact) if !facts.tells(fact) => facts.with(fact, value),
            _ => facts,
        })
    }

    /// A variable part of the path.
    ///
    /// # Errors
    /// Ours: the route has no such part.
    pub fn param(&self, name: &str) -> Result<&'r str> {
        self.request.param(name)
    }

    /// What links in the answer begin with.
    pub fn links(&self) -> &'r Links {
        &self.request.links
    }

    fn declared_body(&self) -> Result<&'static Body> {
        self.declared.body.as_ref().ok_or_else(|| undeclared("a body"))
    }

    /// The object that the route declares as its body, or as the body's member, checked against its schema.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn body(&self) -> Result<Map<String, Value>> {
        let declared = self.declared_body()?;
        match declared.member {
            Some(name) => self.request.member(name, (declared.schema)()),
            None => {
                let body = self.request.json()?;
                (declared.schema)().check("request body", &Value::Object(body.clone()))?;
                Ok(body)
            }
        }
    }

    /// The same for a member that is a list.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn body_list(&self) -> Result<Vec<Value>> {
        let declared = self.declared_body()?;
        let name = declared.member.ok_or_else(|| undeclared("a member of the body"))?;
        let given = self.request.json()?.remove(name).unwrap_or_default();
        (declared.schema)().check(name, &given)?;
        match given {
            Value::Array(items) => Ok(items),
            _ => Err(Error::Internal(format!("the schema of {name} is not one of a list"))),
        }
    }

    /// The object under `name` in the body, checked against its schema, which are the route's.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn member(&self, name: &str, schema: &Schema) -> Result<Map<String, Value>> {
        let declared = self.declared_body()?;
        if declared.member != Some(name) || !std::ptr::eq((declared.schema)(), schema) {
            return Err(undeclared(name));
        }
        self.request.member(name, schema)
    }

    /// The query, checked against the route's schema.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub fn query(&self) -> Result<&'r Query> {
        let schema = self.declared.query.ok_or_else(|| undeclared("a query"))?;
        self.request.query.check(schema())?;
        Ok(&self.request.query)
    }

    /// The domain whose users and groups a list shows; nothing for those of all. With domains that have drivers of
    /// their own, as a Keystone can have them, one that is not asked for another shows those of the caller's.
    ///
    /// # Errors
    /// 401 without a caller.
    pub fn listed_domain(&self) -> Result<Option<&'r str>> {
        let caller = self.caller()?;
        let is_asked = self.request.query.get("domain_id").is_some();
        let by_itself = self.app.config.domain_specific_drivers && !is_asked;
        Ok(if by_itself { caller.own_domain() } else { caller.domain_scope() })
    }

    /// An answer with a list: filtered by the query's `filters`, paged, with links.
    ///
    /// # Errors
    /// 400 for a page that cannot be.
    pub fn list(&self, name: &str, items: Vec<Value>, filters: &[&str]) -> Result<Response> {
        self.request.list(name, items, filters, self.list_limit())
    }

    /// Leaves a notification of what the caller did to an object, for the time after the commit. Most routes
    /// need not: `dispatch/follows.rs` says what follows from an operation.
    pub fn tell(&mut self, kind: ObjectKind, action: Action, id: &str) {
        self.told.push(Told { kind, action, id: id.to_owned(), by_caller: true });
    }

    /// The same for what only follows from what the caller did.
    pub fn tell_followed(&mut self, kind: ObjectKind, action: Action, ids: impl IntoIterator<Item = String>) {
        self.told.extend(ids.into_iter().map(|id| Told { kind, action, id, by_caller: false }));
    }

    /// The same for what went with something else.
    pub fn tell_gone(&mut self, gone: Vec<Gone>) {
        for (kind, id) in gone {
            self.tell_followed(kind, Action::Deleted, [id]);
        }
    }

    /// Leaves something for the time after the commit, such as a counter: it is not done when the
    /// transaction did not come about.
    pub fn after_commit(&mut self, what: impl FnOnce(&Metrics) + Send + 'static) {
        self.after_commit.push(Box::new(what));
    }
}

fn undeclared(what: &str) -> Error {
    Error::Internal(format!("the route does not declare {what}"))
}
