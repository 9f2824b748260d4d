//! A server for one story: its database in memory, its keys in a directory that is removed with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Stop;
use crate::app::App;
use crate::bootstrap::{self, Plan};
use crate::clock::Clock;
use crate::config::Config;
use crate::crypto::keys;
use crate::http::serve;
use crate::store::{Store, migrate};
use crate::{ids, routes};

/// bcrypt's least cost: these passwords live for seconds, and the story logs in often.
const CHEAPEST: u32 = 4;

/// A running server.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) url: String,
    /// The administrator's password.
    pub(super) password: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    _keys: Directory,
}

impl Scratch {
    /// Furnishes it and starts to listen, on a free port of the loopback interface.
    pub(super) async fn start() -> Result<Self, Stop> {
        let keys = Directory::make()?;
        let listener = serve::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(Stop)?;
        let address = listener.local_addr().map_err(|e| Stop(e.to_string()))?;
        let url = format!("http://{address}");
        let password = ids::password();
        let app = furnish(&keys.0, &url, &password).await.map_err(Stop)?;
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serve::serve(listener, None, routes::public(app), stopped).await;
        });
        Ok(Self { url, password, stop, served, _keys: keys })
    }

    /// Stops it; its directory goes with it.
    pub(super) async fn end(self) {
        let _ = self.stop.send(());
        let _ = self.served.await;
    }
}

async fn furnish(dir: &Path, url: &str, password: &str) -> Result<Arc<App>, String> {
    let mut config = Config::defaults(dir).map_err(|e| e.to_string())?;
    config.bcrypt_cost = CHEAPEST;
    keys::setup(&config.fernet_keys)?;
    keys::setup(&config.credential_keys)?;
    let store = Store::memory().map_err(|e| e.to_string())?;
    let clock = Clock::system();
    migrate::sync(&store, clock.now()).await.map_err(|e| e.to_string())?;
    let app = App::new(config, store, clock)?;
    let plan = Plan::usual(password.to_owned(), url);
    bootstrap::run(&app, &plan).await.map_err(|e| format!("bootstrap: {e:?}"))?;
    Ok(app)
}

/// A directory that is removed when this goes out of scope, also in a panic.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn make() -> Result<Self, Stop> {
        let path = std::env::temp_dir().join(format!("vicar-demo-{}", ids::uuid()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| Stop(format!("{}: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
