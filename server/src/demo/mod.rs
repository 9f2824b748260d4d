//! `vicar demo`: the story of delegated authority, played over HTTP and checked at every step.
//!
//! Without an address it is played against a fresh server in this process, with its database in memory.

mod client;
mod page;
mod scratch;
mod stage;
mod story;
mod tree;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::secret::Secret;
use client::Client;
use page::Page;
use scratch::Scratch;
use stage::Admin;

/// Options of `vicar demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Everything that is made on a running server has a name of its own beginning with `vicar-demo-`, and is
removed in the end, also when the story breaks off; so is a role member, reader or service if it was
missing there. The exit code is 0 if everything was as it must be.")]
pub struct Demo {
    /// Play on a running server; without it, on a fresh one in memory. Plain http only
    #[arg(long, value_name = "URL", requires = "password")]
    url: Option<String>,
    /// The password of the user `admin` there, who is administrator on the project `admin`
    #[arg(long, value_name = "PASSWORD", env = "VICAR_DEMO_PASSWORD", hide_env_values = true)]
    #[arg(value_parser = |text: &str| Ok::<_, std::convert::Infallible>(Secret(text.to_owned())))]
    password: Option<Secret>,
}

/// Why the story is not told to its end, in words.
#[derive(Debug)]
struct Stop(String);

/// Plays the story and prints it. Gives the number of things that were not as they must be.
///
/// # Errors
/// In words, when the story could not be told to its end.
pub async fn run(options: Demo) -> Result<usize, String> {
    let mut page = Page::new();
    let told = match (&options.url, &options.password) {
        (Some(url), Some(password)) => there(&mut page, url, password).await,
        _ => here(&mut page).await,
    };
    page.end(told.is_ok());
    match told {
        Ok(()) => Ok(page.failed()),
        Err(Stop(why)) => Err(page.readable(&why)),
    }
}

/// On a server of its own, which is gone afterwards.
async fn here(page: &mut Page) -> Result<(), Stop> {
    let server = Scratch::start().await?;
    let told = async {
        let client = Client::new(&server.url, watch_signals()?)?;
        page.title(&format!("on a fresh server in memory at {}", server.url));
        let mut admin = Admin::enter(&client, page, &server.password, "").await?;
        story::tell(&client, page, &mut admin).await
    }
    .await;
    server.end().await;
    told
}

/// On a running server, which is left as it was found.
async fn there(page: &mut Page, url: &str, password: &Secret) -> Result<(), Stop> {
    let stop = watch_signals()?;
    let client = Client::new(url, Arc::clone(&stop))?;
    let prefix: String = crate::ids::uuid().chars().take(6).collect();
    let prefix = format!("vicar-demo-{prefix}-");
    page.title(&format!("on the server at {url}, where the names of all begin with {prefix}"));
    let mut admin = Admin::enter(&client, page, &password.0, &prefix).await?;
    let told = story::tell(&client, page, &mut admin).await;
    // The first signal broke the story off; a second one would leave things behind.
    stop.store(false, Ordering::SeqCst);
    let cleaned = admin.clean_up(&client, page).await;
    told.and(cleaned)
}

/// A flag that a signal raises: the request under way is finished, the next one is not begun.
fn watch_signals() -> Result<Arc<AtomicBool>, Stop> {
    let on = |kind| signal(kind).map_err(|e| Stop(format!("signals: {e}")));
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let raised = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&raised);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            flag.store(true, Ordering::SeqCst);
        }
    });
    Ok(raised)
}
