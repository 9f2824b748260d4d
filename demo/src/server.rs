//! A server for one story: a child process in a directory of its own, which is removed with it.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cloud::Login;
use crate::{Stop, random};

/// The name of the server's program.
const PROGRAM: &str = "vicar";
/// The cheapest bcrypt: these passwords live for seconds, and the story logs in often.
const CONFIGURATION: &str = "[identity]\npassword_hash_rounds = 4\n";

/// A running server. It ends when this goes out of scope.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    dir: Directory,
}

impl Server {
    /// Starts a server on a free port of the loopback interface, with an empty database.
    ///
    /// # Errors
    /// When the program cannot be run, or ends before it serves.
    pub(crate) fn start(program: Option<&Path>) -> Result<Self, Stop> {
        let dir = Directory::make()?;
        let (config, log) = (dir.0.join("vicar.conf"), dir.0.join("log"));
        let io = |path: &Path| {
            let path = path.display().to_string();
            move |e: std::io::Error| Stop(format!("{path}: {e}"))
        };
        std::fs::write(&config, CONFIGURATION).map_err(io(&config))?;
        let log = std::fs::File::create(&log).map_err(io(&log))?;
        let program = program.map_or_else(beside, Path::to_owned);
        let mut command = Command::new(&program);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--data-dir"])
            .arg(dir.data())
            .arg("--config-file")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        // What is meant for another server must not reach this one.
        for (name, _) in std::env::vars_os().filter(|(n, _)| is_of_a_server(n.as_encoded_bytes())) {
            command.env_remove(name);
        }
        let mut child = command.spawn().map_err(|e| {
            Stop(format!(
                "the server cannot be started: {}: {e}; say where it is with --server, or play on a running one with --url or --os-cloud",
                program.display()
            ))
        })?;
        let screen = child.stdout.take();
        let server = Self { child, dir };
        // The first line appears when the server listens; nothing appears when it cannot.
        let mut line = String::new();
        let read = screen.map(|s| BufReader::new(s).read_line(&mut line));
        if matches!(read, Some(Ok(n)) if n > 0) { Ok(server) } else { Err(server.failure()) }
    }

    /// Its administrator, from the file that the first start writes.
    ///
    /// # Errors
    /// When the file is not as it must be.
    pub(crate) fn login(&self) -> Result<Login, Stop> {
        Login::of_file(&self.dir.data().join("clouds.yaml"), "vicar")
    }

    /// Why it ended, in its own words.
    fn failure(&self) -> Stop {
        let log = std::fs::read_to_string(self.dir.0.join("log")).unwrap_or_default();
        let last = log.lines().next_back().unwrap_or("it gave no reason");
        Stop(format!("the server ended before it served: {last}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data is thrown away, so there is nothing that it could finish.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a variable is one that a server reads.
fn is_of_a_server(name: &[u8]) -> bool {
    name.starts_with(b"VICAR_") || name.starts_with(b"OS_BOOTSTRAP_")
}

/// The server's program beside this one; else its bare name, which is looked up in `PATH`.
fn beside() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    beside.filter(|p| p.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

/// A directory that only its owner may enter. It is removed when this goes out of scope.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn make() -> Result<Self, Stop> {
        let path = std::env::temp_dir().join(format!("vicar-demo-{}", random::hex()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| Stop(format!("{}: {e}", path.display())))?;
        Ok(Self(path))
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
