//! What the machine allows: the server's own way from a connection to the routes, with one route that answers a
//! constant. No server with this HTTP stack can be faster on the same machine, so benchmarks compare with it.
//!
//! ```console
//! $ cargo run --release -p vicar --example ceiling -- --listen 127.0.0.1:5001 --size 276
//! $ wrk -t2 -c8 -d10 http://127.0.0.1:5001/v3
//! ```
//!
//! It accepts connections, reads requests and writes answers by `vicar::http::serve`, with the limits and deadlines of
//! the public listener, on as many threads as the server has. It has no log, no counters and nothing to decide. SIGTERM
//! and SIGINT end it.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::get;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use vicar::http::serve;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "Answers `GET /v3` with a constant body, by the server's HTTP stack alone")]
struct Options {
    /// The address and port to serve on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5001")]
    listen: SocketAddr,
    /// How many bytes the body has. That of `GET /v3` has 276 with a short address
    #[arg(long, value_name = "BYTES", default_value_t = 276)]
    size: usize,
}

fn main() -> Result<(), String> {
    let Options { listen, size } = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(vicar::app::threads())
        .enable_all()
        .build()
        .map_err(|e| format!("threads: {e}"))?;
    runtime.block_on(async {
        let body = Bytes::from(vec![b'x'; size]);
        let answer = move || std::future::ready(([(header::CONTENT_TYPE, "application/json")], body.clone()));
        let router = Router::new().route("/v3", get(answer));
        let ended = |kind| signal(kind).map_err(|e| format!("signals: {e}"));
        let (mut term, mut int) = (ended(SignalKind::terminate())?, ended(SignalKind::interrupt())?);
        let listener = serve::bind(listen).await?;
        let stop = async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        serve::serve(listener, None, router, stop).await;
        Ok(())
    })
}
