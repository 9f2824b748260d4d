//! `vicar keys`

use std::path::Path;

use clap::{Args, Subcommand};

use super::backup;
use super::failure::Failure;
use super::files;
use super::installation::{self, Installation};
use super::print;
use super::progress::Progress;
use crate::args;
use crate::clock::SECOND;
use crate::config::Config;
use crate::crypto::keys::{self, KeyRing};
use crate::store::{Id, Store, Tx, Update};
use crate::system::System;

/// As many keys as Keystone keeps for credentials: staged, primary, and the one before.
const CREDENTIAL_KEYS: usize = 3;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make key repositories where there are none (all kinds, unless some are named)
    Setup(Which),
    /// Make the staged key primary, stage a new one, remove the oldest (token keys, unless told otherwise)
    ///
    /// A running server notices within half a second. Tokens die with their key, which lives for
    /// `[fernet_tokens] max_active_keys` less two rotations more: in that time, tokens must have expired.
    /// Credential keys are rotated only when every credential is encrypted with the primary key; run
    /// `vicar keys migrate` after each rotation.
    Rotate(Which),
    /// Encrypt every stored credential anew with the primary credential key
    Migrate(Installation),
    /// Copy all key repositories into a directory that only its owner may enter
    Backup(backup::Keys),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    at: Installation,
    /// The keys of tokens
    #[arg(long)]
    fernet: bool,
    /// The keys of stored credentials
    #[arg(long)]
    credential: bool,
    /// The keys of receipts, where `[fernet_receipts] key_repository` gives them their own
    #[arg(long)]
    receipt: bool,
}

impl Which {
    /// Whether the keys of these are meant.
    fn names(&self, of: &str) -> bool {
        match of {
            "token" => self.fernet,
            "credential" => self.credential,
            _ => self.receipt,
        }
    }

    /// Refuses to take the keys of tokens for those of receipts.
    fn check_receipts(&self, config: &Config) -> Result<(), Failure> {
        if !self.receipt || config.has_receipt_keys() {
            return Ok(());
        }
        Err(Failure::Usage(
            "--receipt: receipts have the keys of tokens, unless `[fernet_receipts] key_repository` names another directory".into(),
        ))
    }
}

impl Keys {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Setup(which) => setup(&which),
            Self::Rotate(which) => rotate(&which).await,
            Self::Migrate(at) => migrate(&at).await,
            Self::Backup(b) => b.run(),
        }
    }
}

fn setup(which: &Which) -> Result<(), Failure> {
    let config = which.at.config()?;
    which.check_receipts(&config)?;
    let all = !(which.fernet || which.credential || which.receipt);
    for (of, dir) in config.key_repositories() {
        if all || which.names(of) {
            which.at.make_key_directory(dir)?;
            let made = keys::setup(dir).map_err(Failure::Io)?;
            print(format_args!("{}: {}", dir.display(), if made { "made" } else { "there already" }));
        }
    }
    Ok(())
}

async fn rotate(which: &Which) -> Result<(), Failure> {
    let config = which.at.config()?;
    which.check_receipts(&config)?;
    if which.credential {
        let store = installation::open_current_read_only(&config.database).await?;
        let behind = behind(&mut store.read().await?, &primary(&config)?.1).await?.len();
        if behind > 0 {
            return Err(Failure::Failed(format!(
                "{behind} credentials are not encrypted with the primary key, and a rotation could remove theirs: run `vicar keys migrate` first"
            )));
        }
        promoted(&config.credential_keys, CREDENTIAL_KEYS)?;
    }
    if which.receipt {
        promoted(&config.receipt_keys, config.receipt_max_active_keys)?;
    }
    if which.fernet || !(which.credential || which.receipt) {
        promoted(&config.fernet_keys, config.fernet_max_active_keys)?;
    }
    Ok(())
}

fn promoted(dir: &Path, max_active: usize) -> Result<(), Failure> {
    let primary = keys::rotate(dir, max_active).map_err(Failure::Keys)?;
    print(format_args!("{}: the primary key is {primary} now", dir.display()));
    Ok(())
}

fn primary(config: &Config) -> Result<(KeyRing, String), Failure> {
    files::check_readable(&config.credential_keys).map_err(Failure::Io)?;
    let ring = KeyRing::new(config.credential_keys.clone(), true);
    let keys = ring.current().map_err(|e| Failure::Keys(format!("credential keys: {e}")))?;
    let hash = keys.primary_hash().unwrap_or_default().to_owned();
    Ok((ring, hash))
}

/// Credentials that are encrypted with another key than the primary one: id and ciphertext.
pub(super) async fn behind(tx: &mut Tx, primary_hash: &str) -> Result<Vec<(String, String)>, Failure> {
    Ok(tx
        .map(
            "SELECT id, encrypted_blob FROM credential WHERE key_hash <> ? ORDER BY id",
            args![Id(primary_hash)],
            |r| Ok((r.take()?, r.take()?)),
        )
        .await?)
}

async fn migrate(at: &Installation) -> Result<(), Failure> {
    let config = at.config()?;
    let (ring, hash) = primary(&config)?;
    let store = installation::open_current(&config.database).await?;
    let (done, lost) = encrypt_anew(&store, &ring, &hash).await?;
    print(format_args!("{done} credentials encrypted anew"));
    if lost.is_empty() {
        return Ok(());
    }
    Err(Failure::Keys(format!(
        "{} credentials fit none of the keys and were left as they are: {}",
        lost.len(),
        lost.join(" ")
    )))
}

async fn encrypt_anew(store: &Store, ring: &KeyRing, hash: &str) -> Result<(usize, Vec<String>), Failure> {
    let keys = ring.current().map_err(Failure::Keys)?;
    let now = u64::try_from(installation::clock().now() / SECOND).unwrap_or(0);
    let progress = Progress::begin("encrypting credentials anew");
    let mut tx = store.write().await?;
    let (mut done, mut lost) = (0, Vec::new());
    let all = behind(&mut tx, hash).await?;
    progress.of(all.len());
    for (id, blob) in all {
        progress.step();
        match keys.decrypt(&blob).and_then(|plain| keys.encrypt(&plain, now)) {
            Some(blob) => {
                let anew =
                    Update::of("credential").set("encrypted_blob", blob).set("key_hash", hash).key("id", id);
                tx.execute(&System::CommandLine, &anew).await?;
                done += 1;
            }
            None => lost.push(id),
        }
    }
    tx.commit().await?;
    Ok((done, lost))
}
