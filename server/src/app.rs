//! What a running server is made of.

use std::sync::{Arc, PoisonError, RwLock};

use vicar_rules::token::Switches;

use crate::auth::slow::Workers;
use crate::auth::{self, lockout::Failures};
use crate::clock::Clock;
use crate::config::{Config, Ec2Keys};
use crate::crypto::keys::KeyRing;
use crate::crypto::passwords::Passwords;
use crate::directory::Service;
use crate::evidence::Uses;
use crate::http::sso::Page;
use crate::metrics::Metrics;
use crate::notifications::Notifications;
use crate::oidc::Providers;
use crate::policy_file::{self, Loaded};
use crate::queue::Queue;
use crate::remote::Remote;
use crate::store::Store;
use crate::traces::Traces;
use crate::unsent::Unsent;

/// The parts, put together once. Handlers get it by reference; parts do not know each other.
#[derive(Debug)]
pub struct App {
    /// The configuration.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
    /// Keys of tokens.
    pub token_keys: KeyRing,
    /// Keys of receipts, which may be those of tokens.
    pub receipt_keys: KeyRing,
    /// Keys of credentials at rest.
    pub credential_keys: KeyRing,
    /// Who may call what. Held for the time that it takes to copy the pointer.
    rules: RwLock<Arc<Rules>>,
    /// Password hashing off the async threads.
    pub passwords: Passwords,
    /// Identity providers that are asked about the tokens that they give.
    pub providers: Providers,
    /// The page that carries a token to a dashboard.
    pub sso: Page,
    /// Directories that users come from.
    pub directories: Arc<Service>,
    /// Failed logins that are not written yet.
    pub failures: Failures,
    /// Uses of delegations that are not written yet.
    pub uses: Uses,
    /// Places for long reads. Half of the threads at most are busy with them, so that the others serve what is
    /// short; see docs/decisions/0006-engines.md.
    pub long_reads: Arc<Queue>,
    /// Answers that are not sent yet.
    pub unsent: Arc<Unsent>,
    /// Counters.
    pub metrics: Metrics,
    /// Traces, where a collector is configured.
    pub traces: Traces,
    /// Notifications, where somebody is to be told.
    pub notifications: Notifications,
}

/// How many long reads wait at most, for each place.
const WAITING_LONG_READS: usize = 64;

/// Threads that serve requests: one for each core, and never one alone.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).max(2)
}

/// Who may call what.
#[derive(Debug)]
pub struct Rules {
    /// The policy, and what it was put together from.
    pub loaded: Loaded,
    /// Other servers that it asks.
    pub remote: Remote,
}

impl Rules {
    /// Reads what is configured.
    ///
    /// # Errors
    /// In words for the operator, when a file cannot be used.
    pub fn read(config: &Config) -> Result<Self, String> {
        let loaded = policy_file::load(&config.policy)?;
        let remote = Remote::new(&config.policy.remote, loaded.policy.asks("https"))?;
        Ok(Self { loaded, remote })
    }
}

impl App {
    /// Puts the parts together. The policy file is read here.
    ///
    /// # Errors
    /// In words for the operator, when a file cannot be used.
    pub fn new(config: Config, store: Store, clock: Clock) -> Result<Arc<Self>, String> {
        let rules = Rules::read(&config)?;
        rules.loaded.log();
        let rules = RwLock::new(Arc::new(rules));
        let store = if config.remembers { store.with_memory() } else { store };
        let metrics = match store.gauges() {
            Some(pool) => Metrics::default().with_pool(pool),
            None => Metrics::default(),
        };
        let metrics = match store.memory_counts() {
            Some(counts) => metrics.with_memory(counts),
            None => metrics,
        };
        let places = (threads() / 2).max(1);
        let token_keys = KeyRing::new(config.fernet_keys.clone(), false);
        let receipt_keys = match config.has_receipt_keys() {
            true => KeyRing::new(config.receipt_keys.clone(), false),
            false => token_keys.clone(),
        };
        Ok(Arc::new(Self {
            token_keys,
            receipt_keys,
            credential_keys: KeyRing::new(config.credential_keys.clone(), true),
            passwords: Passwords::new(&config),
            providers: Providers::new(&config.oidc)?,
            sso: Page::read(config.federation.sso_template.as_deref())?,
            directories: Service::new(
                config.directories.clone(),
                config.stored_domain_options,
                clock.clone(),
            ),
            notifications: Notifications::new(&config.messaging, metrics.notifications.clone()),
            metrics,
            traces: Traces::default(),
            long_reads: Queue::new(places, places * WAITING_LONG_READS),
            unsent: Arc::default(),
            failures: Failures::default(),
            uses: Uses::new(config.evidence_interval > 0),
            rules,
            store: store
                .with_clock(clock.clone(), config.compliance.disable_user_account_days_inactive)
                .with_memberships(config.authorization_ttl)
                .with_directories(Service::for_store(&config.directories, config.stored_domain_options)),
            config,
            clock,
        }))
    }

    /// What slow work is done with.
    pub fn workers<'a>(&'a self, rules: &'a Rules) -> Workers<'a> {
        let now = self.clock.now();
        Workers { passwords: &self.passwords, remote: &rules.remote, providers: &self.providers, now }
    }

    /// The rules of this moment. A request takes them once, and keeps them.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force, for requests that begin from now on.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// The parts that logins and tokens need.
    pub fn auth(&self) -> auth::Parts<'_> {
        auth::Parts {
            config: &self.config,
            token_keys: &self.token_keys,
            receipt_keys: &self.receipt_keys,
            credential_keys: &self.credential_keys,
            failures: &self.failures,
            store: &self.store,
        }
    }

    /// The switches of the table of acts.
    pub fn switches(&self) -> Switches {
        Switches {
            refuse_ec2_keys: self.config.ec2_keys == Ec2Keys::Refuse,
            application_credential_trusts: self
                .config
                .compliance
                .allow_insecure_application_credential_trust_escalation,
        }
    }
}
