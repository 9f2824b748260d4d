//! A line on standard error for what takes longer than a second, for somebody who looks at a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Before this, nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line is written anew.
const PACE: Duration = Duration::from_millis(200);

/// Work under way. The line is removed when this goes out of scope.
#[derive(Debug, Default)]
pub(super) struct Progress {
    counts: Arc<Counts>,
    line: Option<(Sender<()>, JoinHandle<()>)>,
}

/// How much of how much; a total of 0 is not known.
#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Begins to show what is done.
    pub(super) fn begin(what: &'static str) -> Self {
        let stderr = std::io::stderr();
        if stderr.is_terminal() { Self::on(what, PATIENCE, stderr) } else { Self::default() }
    }

    fn on(what: &'static str, patience: Duration, out: impl Write + Send + 'static) -> Self {
        let counts = Arc::new(Counts::default());
        let (end, ended) = mpsc::channel();
        let shared = Arc::clone(&counts);
        let show = move || show(what, patience, out, &shared, &ended);
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(show).ok();
        Self { counts, line: thread.map(|thread| (end, thread)) }
    }

    /// Sets the total.
    pub(super) fn of(&self, total: usize) {
        self.counts.total.store(total as u64, Ordering::Relaxed);
    }

    /// Counts one more.
    pub(super) fn step(&self) {
        self.counts.done.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.line.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

fn show(what: &str, patience: Duration, mut out: impl Write, counts: &Counts, ended: &mpsc::Receiver<()>) {
    let begun = Instant::now();
    let mut wait = patience;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = PACE;
        let (done, total) = (counts.done.load(Ordering::Relaxed), counts.total.load(Ordering::Relaxed));
        let how_much = match total {
            0 => String::new(),
            total => format!(", {done} of {total}"),
        };
        let _ = write!(out, "\r\x1b[K{what}{how_much}, {} s", begun.elapsed().as_secs());
        let _ = out.flush();
    }
    if wait == PACE {
        let _ = write!(out, "\r\x1b[K");
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Somewhere to write, which somebody else can look at.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
        }
    }

    #[test]
    fn a_line_is_shown_and_removed() {
        let page = Page::default();
        let progress = Progress::on("counting", Duration::ZERO, page.clone());
        progress.of(7);
        progress.step();
        while !page.text().contains("\r\x1b[Kcounting, 1 of 7, ") {
            std::thread::yield_now();
        }
        drop(progress);
        assert!(page.text().ends_with("\r\x1b[K"), "{:?}", page.text());
        assert!(!page.text().contains('\n'));
    }

    #[test]
    fn what_is_quick_shows_nothing() {
        let page = Page::default();
        drop(Progress::on("counting", Duration::from_secs(3600), page.clone()));
        assert_eq!(page.text(), "");
    }
}
