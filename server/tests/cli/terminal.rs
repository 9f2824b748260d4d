//! What somebody at a terminal sees, and what a pipe gets.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::*;

/// A terminal of 60 columns: our end, and the program's.
fn terminal() -> (std::fs::File, std::fs::File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("granted");
    unlockpt(&ours).expect("unlocked");
    let name = ptsname(&ours, Vec::new()).expect("a name");
    let theirs = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().expect("text"))
        .expect("opened");
    tcsetwinsize(&theirs, Winsize { ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 }).expect("sized");
    (ours.into(), theirs)
}

/// What a command writes on a terminal.
fn on_terminal(mut c: Command) -> String {
    let (mut ours, theirs) = terminal();
    c.stdout(theirs.try_clone().expect("a copy")).stderr(theirs);
    let mut child = c.spawn().expect("runs");
    drop(c);
    let mut all = Vec::new();
    // When the last of them has closed it, reading is an error.
    let mut part = [0; 4096];
    while let Ok(n) = ours.read(&mut part) {
        if n == 0 {
            break;
        }
        all.extend_from_slice(&part[..n]);
    }
    child.wait().expect("ends");
    String::from_utf8(all).expect("text").replace('\r', "")
}

fn doctor(s: &Scratch) -> Command {
    let mut c = vicar(&["doctor", "--config-file", &s.path("vicar.conf").display().to_string()]);
    c.arg("--data-dir").arg(s.data()).env_remove("NO_COLOR").env("TERM", "xterm");
    c
}

#[test]
fn the_doctor_on_a_terminal_is_coloured_wrapped_and_in_groups() {
    let s = Scratch::new();
    let names: Vec<String> = (0..60).map(|i| format!("option_{i} = 1")).collect();
    s.config(&format!("[x]\n{}\n[token]\nexpiration = 0\n", names.join("\n")));
    run(&s, &["keys", "setup"]);
    run(&s, &["bootstrap", "--bootstrap-password", "pw"]);
    let seen = on_terminal(doctor(&s));
    for part in [
        "\x1b[32mok  \x1b[0m",
        "\x1b[33mwarn\x1b[0m",
        "\x1b[31mFAIL\x1b[0m",
        "\x1b[1mKeys\x1b[0m",
        "\x1b[31mvicar:\x1b[0m",
    ] {
        assert!(seen.contains(part), "no {part:?} in {seen:?}");
    }
    let plain = |text: &str| {
        ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"]
            .iter()
            .fold(text.to_owned(), |t, c| t.replace(c, ""))
    };
    let long = |l: &&str| {
        l.chars().count() > 60 && !l.contains(&*s.0.to_string_lossy()) && !l.starts_with("vicar: ")
    };
    assert_eq!(plain(&seen).lines().find(long), None, "wider than the terminal");
    assert!(plain(&seen).contains("\n      nothing"), "a line goes on below its text: {seen}");
    // Without colours, if that is asked for.
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut c = doctor(&s);
        c.env(name, value);
        let bare = on_terminal(c);
        assert!(!bare.contains('\x1b'), "{name}: {bare:?}");
        assert_eq!(bare.lines().next(), Some("Configuration"), "{name}");
    }
    // Into a pipe each finding is one line, and there is nothing else.
    let piped = finish(doctor(&s));
    let out = String::from_utf8(piped.stdout).expect("text");
    assert!(!out.contains('\x1b') && !String::from_utf8_lossy(&piped.stderr).contains('\x1b'));
    for line in out.lines() {
        assert!(["ok    ", "warn  ", "FAIL  "].iter().any(|word| line.starts_with(word)), "{line}");
    }
    assert_eq!(out.lines().filter(|l| l.contains("[x] option_")).count(), 60, "{out}");
}

#[test]
fn the_first_screen_is_styled_on_a_terminal_only() {
    let s = Scratch::new();
    let config = s.config("");
    let (ours, theirs) = terminal();
    let mut c =
        vicar(&["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--config-file", &config]);
    c.arg("--data-dir").arg(s.data()).env_remove("NO_COLOR").env("TERM", "xterm");
    let child = c.stdout(theirs).stderr(Stdio::null()).spawn().expect("starts");
    drop(c);
    let mut lines = BufReader::new(ours).lines().map_while(Result::ok);
    let screen: Vec<String> = lines.by_ref().take_while(|l| !l.contains("openstack ")).collect();
    let server = Running { child, screen, url: String::new() };
    assert!(server.screen[0].starts_with("\x1b[1mVicar "), "{:?}", server.screen);
    assert!(server.screen.iter().any(|l| l.contains("\x1b[2mpassword     \x1b[0m  ")), "{:?}", server.screen);
    drop(server);
    let piped = serve(&s, &["--config-file", &config], &[]);
    assert!(!piped.screen.iter().any(|l| l.contains('\x1b')), "{:?}", piped.screen);
}
