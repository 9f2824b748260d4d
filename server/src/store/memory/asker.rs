//! The question that requests share.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::super::{Engine, Error, Result, Row, Value, server, sqlite};
use super::question::{self, Asks, Found, Position};
use super::{Shared, triggers};

/// Asks for all that wait.
#[derive(Debug)]
pub(super) struct Asker {
    engine: Engine,
    state: Arc<State>,
    /// Of a server: those who wait for the next question.
    waiting: OnceLock<mpsc::UnboundedSender<Waiting>>,
    /// Of a file: what looks at it. Nothing is waited for while it is locked.
    eye: tokio::sync::Mutex<Option<Eye>>,
}

/// Gets the stamp of the question, or nothing when nothing may be remembered.
type Waiting = oneshot::Sender<Option<u64>>;

#[derive(Debug)]
struct State {
    shared: Arc<Shared>,
    /// How far the journal was read, while it is.
    position: Mutex<Option<Position>>,
    /// Without triggers, or without a connection, it is not looked again before this.
    off_until: Mutex<Option<Instant>>,
}

/// For so long nothing is remembered after the journal was found missing or the database away.
const PAUSE: Duration = Duration::from_secs(1);

/// For so long a question is waited for. Who goes on without it has still to wait for the database.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked whether the triggers are still there.
const LOOK: Duration = Duration::from_secs(5);

/// A connection for questions alone.
#[derive(Debug)]
struct Eye {
    on: On,
    /// When the triggers were last seen.
    looked: Instant,
    /// Of a file: the last look of which all was applied.
    look: sqlite::Look,
}

#[derive(Debug)]
enum On {
    File(sqlite::Watcher),
    Server(server::Looker),
}

impl Asks for On {
    async fn rows(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        match self {
            Self::File(watcher) => watcher.rows(sql, args),
            Self::Server(looker) => looker.rows(sql, args).await,
        }
    }
}

impl Asker {
    pub(super) fn new(engine: Engine, shared: Arc<Shared>) -> Self {
        let state = State { shared, position: Mutex::default(), off_until: Mutex::default() };
        Self { engine, state: Arc::new(state), waiting: OnceLock::new(), eye: tokio::sync::Mutex::default() }
    }

    /// How far the journal was read, if it is read.
    pub(super) fn position(&self) -> Option<Position> {
        self.state.position()
    }

    /// Forgets everything: something may have changed unseen.
    pub(super) fn forget(&self) {
        self.state.forget();
    }

    /// Asks what has changed until now. Returns the epoch before the question, or nothing when nothing may be remembered.
    pub(super) async fn ask(&self) -> Option<u64> {
        if self.state.is_off() {
            return None;
        }
        match &self.engine {
            Engine::Sqlite(_) => {
                let mut eye = self.eye.lock().await;
                let stamp = self.state.shared.changed.epoch();
                self.state.question(&self.engine, &mut eye).await.then_some(stamp)
            }
            Engine::Server(_) => {
                let (sender, answer) = oneshot::channel();
                self.waiting.get_or_init(|| self.begin()).send(sender).ok()?;
                answer.await.ok().flatten()
            }
        }
    }

    /// Begins the task that asks. It ends with this value.
    fn begin(&self) -> mpsc::UnboundedSender<Waiting> {
        let (sender, mut waiting) = mpsc::unbounded_channel::<Waiting>();
        let (engine, state) = (self.engine.clone(), Arc::clone(&self.state));
        tokio::spawn(async move {
            let mut eye = None;
            let mut all = Vec::new();
            while waiting.recv_many(&mut all, usize::MAX).await > 0 {
                let stamp = state.shared.changed.epoch();
                // Those who came while the last one failed wait no longer.
                let asks = !state.is_off() && state.question(&engine, &mut eye).await;
                let done = asks.then_some(stamp);
                for one in all.drain(..) {
                    // Who does not wait any more needs no answer.
                    let _ = one.send(done);
                }
            }
        });
        sender
    }
}

impl State {
    fn position(&self) -> Option<Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_position(&self, position: Option<Position>) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }

    fn forget(&self) {
        self.set_position(None);
        self.shared.changed.forget();
        self.shared.counts.forgotten.inc();
    }

    fn is_off(&self) -> bool {
        let until = *self.off_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn go_off(&self) {
        *self.off_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PAUSE);
        self.forget();
    }

    /// Asks, and notes the answer. Returns whether anything may be remembered.
    async fn question(&self, engine: &Engine, eye: &mut Option<Eye>) -> bool {
        let late = || Err(Error::Unavailable("the database did not answer a question in time".into()));
        match timeout(PATIENCE, self.try_question(engine, eye)).await.unwrap_or_else(|_| late()) {
            Ok(true) => true,
            Ok(false) => {
                self.go_off();
                *eye = None;
                false
            }
            Err(e) => {
                tracing::debug!(error = %e, "nothing is remembered: the journal cannot be read");
                self.go_off();
                *eye = None;
                false
            }
        }
    }

    async fn try_question(&self, engine: &Engine, eye: &mut Option<Eye>) -> Result<bool> {
        let seen = match eye {
            Some(seen) => seen,
            None => {
                let on = match engine {
                    Engine::Sqlite(file) => On::File(file.watcher()?),
                    Engine::Server(at) => On::Server(at.looker().await?),
                };
                // Whatever was known was known over another connection.
                self.forget();
                eye.insert(Eye { on, looked: Instant::now(), look: sqlite::Look::default() })
            }
        };
        let last = seen.look;
        // Kept only when all of it was applied.
        let look = match &mut seen.on {
            On::File(watcher) => watcher.look(last)?,
            On::Server(_) => last,
        };
        let since = self.position();
        if matches!(seen.on, On::File(_)) && since.is_some() && look == last {
            return Ok(true);
        }
        let found = match since {
            // With another schema the triggers may have been away for a while.
            Some(since) if look.schema == last.schema && seen.looked.elapsed() < LOOK => {
                Some(question::ask(&since, &mut seen.on).await?)
            }
            Some(since) if look.schema == last.schema => {
                if !triggers::are_there(dialect(engine), &mut seen.on).await? {
                    return Ok(false);
                }
                seen.looked = Instant::now();
                Some(question::ask(&since, &mut seen.on).await?)
            }
            Some(_) | None => None,
        };
        self.shared.counts.questions.inc();
        match found {
            Some(Found { changes, position: Some(position) }) => {
                self.shared.counts.changes.inc_by(changes.len() as u64);
                self.shared.changed.apply(changes.iter().map(|(table, key)| (table.as_str(), key.as_str())));
                self.set_position(Some(position));
            }
            Some(_) | None => {
                self.forget();
                if !triggers::are_there(dialect(engine), &mut seen.on).await? {
                    return Ok(false);
                }
                seen.looked = Instant::now();
                let begin = question::begin(dialect(engine), &mut seen.on).await?;
                // Not before: what somebody reads until now may change before this began.
                self.shared.changed.forget();
                self.set_position(Some(begin));
            }
        }
        seen.look = look;
        Ok(true)
    }
}

fn dialect(engine: &Engine) -> super::super::schema::Dialect {
    match engine {
        Engine::Sqlite(_) => super::super::schema::Dialect::Sqlite,
        Engine::Server(server) => server.dialect(),
    }
}
