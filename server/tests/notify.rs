//! What a service manager is told, and what packages are made with: the real binary, with a socket of ours as
//! `NOTIFY_SOCKET`.

// A test that looks past an end fails.
#![allow(clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A folder with the socket, removed with the test.
struct Manager {
    dir: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("vicar-notify-{}", vicar::ids::uuid()));
        std::fs::create_dir_all(&dir).expect("scratch folder");
        let socket = UnixDatagram::bind(dir.join("socket")).expect("bound");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline");
        Self { dir, socket }
    }

    /// The program in this folder, told of the socket.
    fn vicar(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_vicar"));
        for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("VICAR_")) {
            c.env_remove(name);
        }
        c.args(args)
            .current_dir(&self.dir)
            .env("NOTIFY_SOCKET", self.dir.join("socket"))
            .stdin(Stdio::null());
        c
    }

    /// Starts a server on this address.
    fn serve(&self, address: &str) -> Child {
        std::fs::write(self.dir.join("vicar.conf"), "[identity]\npassword_hash_rounds = 4\n")
            .expect("written");
        let options = [
            "serve",
            "--data-dir",
            "data",
            "--config-file",
            "vicar.conf",
            "--metrics-listen",
            "off",
            "--listen",
            address,
        ];
        let mut c = self.vicar(&options);
        c.env("WATCHDOG_USEC", "300000").stdout(Stdio::piped()).stderr(Stdio::piped());
        c.spawn().expect("starts")
    }

    /// The next message that is not one of the watchdog's.
    fn hears(&self) -> String {
        loop {
            let said = self.hears_any();
            if said != "WATCHDOG=1" {
                return said;
            }
        }
    }

    fn hears_any(&self) -> String {
        let mut buffer = [0; 4096];
        let n = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..n]).trim_end().to_owned()
    }

    fn heard_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).expect("set");
        self.socket.recv(&mut [0; 16]).is_err()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// An address that nobody listens on.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").to_string()
}

#[test]
fn the_manager_hears_of_the_start_the_life_and_the_stop() {
    let manager = Manager::new();
    let address = free();
    let server = manager.serve(&address);
    assert_eq!(manager.hears(), "READY=1");
    let mut c = TcpStream::connect(&address).expect("the port is open");
    c.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    c.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(manager.hears_any(), "WATCHDOG=1");
    assert_eq!(manager.hears_any(), "WATCHDOG=1");

    Command::new("kill").arg(server.id().to_string()).status().expect("sent");
    assert_eq!(manager.hears(), "STOPPING=1");
    let output = server.wait_with_output().expect("ends");
    assert!(output.status.success());

    // What a service prints goes into logs.
    let clouds = std::fs::read_to_string(manager.dir.join("data/clouds.yaml")).expect("clouds.yaml");
    let quoted = clouds.split_once("password: ").expect("a password").1.lines().next().expect("a line");
    let password = quoted.trim_matches('"');
    assert!(!password.is_empty());
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(!printed.contains(password), "{printed}");
    assert!(printed.contains("clouds.yaml"), "{printed}");
}

#[test]
fn the_manager_hears_of_a_reload() {
    let manager = Manager::new();
    let server = manager.serve(&free());
    assert_eq!(manager.hears(), "READY=1");
    Command::new("kill").args(["-HUP", &server.id().to_string()]).status().expect("sent");
    let said = manager.hears();
    let (state, time) = said.split_once('\n').expect("two lines");
    assert_eq!(state, "RELOADING=1");
    let time = time.strip_prefix("MONOTONIC_USEC=").map(str::parse::<u64>);
    assert!(matches!(time, Some(Ok(n)) if n > 0), "{said}");
    assert_eq!(manager.hears(), "READY=1");
    Command::new("kill").arg(server.id().to_string()).status().expect("sent");
    assert_eq!(manager.hears(), "STOPPING=1");
    assert!(server.wait_with_output().expect("ends").status.success());
}

#[test]
fn a_server_that_does_not_serve_is_not_ready() {
    let manager = Manager::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = manager.serve(&taken.local_addr().expect("its address").to_string());
    let output = server.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(7));
    assert!(manager.heard_nothing());
}

#[test]
fn pages_and_completions_are_made_for_packages() {
    let manager = Manager::new();
    let dir = manager.dir.join("made");
    std::fs::create_dir(&dir).expect("made");
    for kind in ["man", "completions"] {
        assert!(manager.vicar(&["generate", kind, "made"]).status().expect("runs").success());
    }
    let page = std::fs::read_to_string(dir.join("vicar-serve.1")).expect("a page");
    assert!(page.contains("VICAR_DATA_DIR"), "variables are part of a page");
    for name in ["vicar.bash", "_vicar", "vicar.fish"] {
        let text = std::fs::read_to_string(dir.join(name)).expect(name);
        assert!(text.contains("metrics-listen"), "{name}");
    }
    let nowhere =
        manager.vicar(&["generate", "man", "not-there"]).stderr(Stdio::null()).status().expect("runs");
    assert_eq!(nowhere.code(), Some(4));
}
