//! Log lines on their way to a file. Whoever logs copies a line into a queue and goes on; a thread of the queue's own
//! writes them, in that order, many at once when there are many.
//!
//! The queue is bounded. When it is full, because the disk or whoever reads is slow, lines are dropped and counted, and nobody
//! waits; but lines that must not be lost have as much room again, and wait when that is full too.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

/// How many bytes of lines wait at most.
const ROOM: usize = 4 << 20;
/// The same with those that must not be lost.
const ROOM_OF_KEPT: usize = 2 * ROOM;
/// How long the thread leaves lines together after it has written some: one wakeup and one write are for many then.
const PAUSE: Duration = Duration::from_millis(2);
/// How much is written at once.
const PIECE: usize = 64 << 10;
/// A buffer that has grown larger is given back.
const USUAL: usize = 256 << 10;

/// What lines are written to.
pub(super) trait Out: Send + 'static {
    /// Writes as many bytes as it takes at once.
    ///
    /// # Errors
    /// Those of the file.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize>;

    /// So many lines were not written.
    fn lost(&mut self, lines: u64, why: &std::io::Error);
}

/// A queue with its thread.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There are lines, or somebody waits for those that there are.
    wake: Condvar,
    /// Lines were written.
    progress: Condvar,
    dropped: Counter,
    /// The thread.
    writer: OnceLock<ThreadId>,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines that are not being written yet.
    waiting: Vec<u8>,
    /// How many bytes were taken into the queue since the start.
    taken: u64,
    /// How many of them it is done with.
    done: u64,
    /// Whether the thread sleeps until it is woken.
    sleeps: bool,
    /// How many wait until lines are written.
    hurried: usize,
}

impl State {
    /// The bytes that wait or are being written.
    fn held(&self) -> usize {
        usize::try_from(self.taken - self.done).unwrap_or(usize::MAX)
    }
}

impl Queue {
    /// Starts the thread. What is dropped is counted in `dropped`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn start(out: impl Out, dropped: Counter) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            progress: Condvar::new(),
            dropped,
            writer: OnceLock::new(),
        });
        let queue = Self(shared);
        let writer = queue.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_all(out))?;
        Ok(queue)
    }

    /// Takes a line in. One that is `kept` may wait for room; another one is dropped when there is none.
    pub(super) fn push(&self, line: &[u8], kept: bool) {
        let mut state = self.state();
        let room = if kept { ROOM_OF_KEPT } else { ROOM };
        // A line that is longer than all room finds it when there is nothing else.
        while state.held() != 0 && state.held() + line.len() > room {
            if !kept || self.is_own_thread() {
                self.0.dropped.inc();
                return;
            }
            state = self.wait_for_progress(state, None).0;
        }
        state.waiting.extend_from_slice(line);
        state.taken += line.len() as u64;
        if std::mem::take(&mut state.sleeps) {
            drop(state);
            self.0.wake.notify_one();
        }
    }

    /// Waits until everything is written that is in the queue now. Gives up when nothing at all was written for as long
    /// as `patience`; returns whether it is done.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        if self.is_own_thread() {
            return false;
        }
        let mut state = self.state();
        let end = state.taken;
        while state.done < end {
            let before = state.done;
            let gave_up;
            (state, gave_up) = self.wait_for_progress(state, Some(patience));
            if gave_up && state.done == before {
                return false;
            }
        }
        true
    }

    /// Whether there is room for lines that are dropped otherwise.
    pub(super) fn has_room(&self) -> bool {
        self.state().held() < ROOM / 2
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_own_thread(&self) -> bool {
        self.0.writer.get() == Some(&std::thread::current().id())
    }

    /// Has the thread write at once, and waits until it has written something. Returns whether that took too long.
    fn wait_for_progress<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        patience: Option<Duration>,
    ) -> (MutexGuard<'s, State>, bool) {
        state.hurried += 1;
        state.sleeps = false;
        self.0.wake.notify_one();
        let mut gave_up = false;
        state = match patience {
            None => self.0.progress.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.0.progress.wait_timeout(state, patience);
                let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                gave_up = timeout.timed_out();
                state
            }
        };
        state.hurried -= 1;
        (state, gave_up)
    }

    /// The thread.
    fn write_all(&self, mut out: impl Out) {
        let _ = self.0.writer.set(std::thread::current().id());
        let mut lines = Vec::new();
        let mut is_torn = false;
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() {
                state.sleeps = true;
                state = self.0.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.sleeps = false;
            std::mem::swap(&mut lines, &mut state.waiting);
            drop(state);
            self.write(&lines, &mut out, &mut is_torn);
            if lines.capacity() > USUAL {
                lines = Vec::new();
            }
            lines.clear();
            let state = self.state();
            if state.hurried == 0 {
                drop(self.0.wake.wait_timeout(state, PAUSE));
            }
        }
    }

    /// Writes lines. After a failure the rest of them is lost, and the next ones begin on a line of their own.
    fn write(&self, lines: &[u8], out: &mut impl Out, is_torn: &mut bool) {
        if *is_torn {
            *is_torn = out.write(b"\n").is_err();
        }
        let mut rest = lines;
        while let Some(piece) = rest.get(..rest.len().min(PIECE)).filter(|piece| !piece.is_empty()) {
            let written = match out.write(piece) {
                Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                written => written,
            };
            let done = match written {
                Ok(bytes) => bytes,
                // Whoever reads has made it so; the queue is for that they are slow.
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(e) => {
                    *is_torn |= lines.len() != rest.len() && !is_end_of_line(lines, rest.len());
                    let lines = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
                    self.0.dropped.inc_by(lines);
                    out.lost(lines, &e);
                    rest.len()
                }
            };
            rest = rest.get(done..).unwrap_or_default();
            self.state().done += done as u64;
            self.0.progress.notify_all();
        }
    }
}

/// Whether what is written of `lines`, all but `rest` bytes, is whole lines.
fn is_end_of_line(lines: &[u8], rest: usize) -> bool {
    lines.len().checked_sub(rest + 1).and_then(|last| lines.get(last)) == Some(&b'\n')
}

/// One line, which comes as one write: a log's layer puts it together before.
#[derive(Debug)]
pub(super) struct Line<'q> {
    queue: &'q Queue,
    kept: bool,
}

impl Queue {
    /// A line to be written.
    pub(super) fn line(&self, kept: bool) -> Line<'_> {
        Line { queue: self, kept }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.queue.push(bytes, self.kept);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A disk that takes one piece each time it is allowed to; all that come when nobody can forbid it any more.
    struct Disk {
        allowed: Receiver<()>,
        asked: Sender<()>,
        written: Arc<Mutex<Vec<u8>>>,
        lost: Arc<Mutex<u64>>,
        /// How many bytes fit.
        size: usize,
    }

    impl Out for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.asked.send(());
            let _ = self.allowed.recv();
            let mut written = self.written.lock().expect("whole");
            let fits = bytes.len().min(self.size - written.len());
            written.extend(&bytes[..fits]);
            if fits == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }

        fn lost(&mut self, lines: u64, why: &std::io::Error) {
            assert_eq!(why.kind(), std::io::ErrorKind::StorageFull);
            *self.lost.lock().expect("whole") += lines;
        }
    }

    struct Scene {
        queue: Queue,
        allow: Sender<()>,
        asked: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
        lost: Arc<Mutex<u64>>,
        dropped: Counter,
    }

    impl Scene {
        fn with(size: usize) -> Self {
            let (allow, allowed) = channel();
            let (ask, asked) = channel();
            let (written, lost, dropped) = (Arc::default(), Arc::default(), Counter::default());
            let disk =
                Disk { allowed, asked: ask, written: Arc::clone(&written), lost: Arc::clone(&lost), size };
            let queue = Queue::start(disk, dropped.clone()).expect("starts");
            Self { queue, allow, asked, written, lost, dropped }
        }

        /// The disk stands still, with the first line on its way.
        fn standing() -> Self {
            let scene = Self::with(usize::MAX);
            scene.queue.push(b"first\n", false);
            scene.asked.recv().expect("it is being written");
            scene
        }

        /// The disk goes on; what was written in the end.
        fn written(self) -> String {
            drop(self.allow);
            assert!(self.queue.flush(Duration::from_secs(60)));
            let written = self.written.lock().expect("whole").clone();
            String::from_utf8(written).expect("lines")
        }
    }

    #[test]
    fn a_disk_that_stands_still_holds_up_nobody_and_loses_no_event_of_security() {
        let scene = Scene::standing();
        let line = |number: usize| format!("{number:06} {}\n", "x".repeat(1016));
        let fit = ROOM / 1024 - 1;
        // With this thread alone: had one push to wait, the test would not end.
        for number in 0..fit + 10 {
            scene.queue.push(line(number).as_bytes(), false);
        }
        assert_eq!(scene.dropped.get(), 10);
        assert!(!scene.queue.has_room());
        scene.queue.push(b"security 1\n", true);
        scene.queue.push(line(0).as_bytes(), false);
        scene.queue.push(b"security 2\n", true);
        assert_eq!(scene.dropped.get(), 11);
        let dropped = scene.dropped.clone();
        let written = scene.written();
        let wanted: String = (0..fit).map(line).collect();
        assert!(
            written == format!("first\n{wanted}security 1\nsecurity 2\n"),
            "in order, and nothing between"
        );
        assert_eq!(dropped.get(), 11);
    }

    #[test]
    fn events_of_security_wait_when_their_room_is_full_too() {
        let scene = Scene::standing();
        let events = 2 * ROOM_OF_KEPT / (1 << 20);
        let queue = scene.queue.clone();
        let (push, pushed) = channel();
        let pushing = std::thread::spawn(move || {
            for number in 0..events {
                queue.push(format!("{number:02}{}\n", "x".repeat((1 << 20) - 3)).as_bytes(), true);
                push.send(number).expect("heard");
            }
        });
        // It waits by now or will: there is no room for all.
        let before: Vec<usize> = pushed.iter().take(ROOM_OF_KEPT / (1 << 20) - 1).collect();
        assert_eq!(before.len(), 7);
        while scene.queue.state().hurried == 0 {
            std::thread::yield_now();
        }
        assert!(pushed.try_recv().is_err());
        let dropped = scene.dropped.clone();
        drop(scene.allow);
        pushing.join().expect("all are in");
        assert!(scene.queue.flush(Duration::from_secs(60)));
        let written = scene.written.lock().expect("whole");
        let lines: Vec<&[u8]> = written.split(|byte| *byte == b'\n').collect();
        let heads: Vec<String> = lines
            .iter()
            .map(|line| String::from_utf8_lossy(&line[..line.len().min(2)]).into_owned())
            .collect();
        let wanted: Vec<String> = (0..events).map(|number| format!("{number:02}")).collect();
        assert_eq!((heads[0].as_str(), &heads[1..=events]), ("fi", &wanted[..]));
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn lines_of_one_thread_stay_in_order_and_none_is_torn() {
        let scene = Scene::with(usize::MAX);
        let of = |thread: usize| {
            let queue = scene.queue.clone();
            move || (0..2000).for_each(|n| queue.push(format!("{thread} {n}\n").as_bytes(), n % 7 == 0))
        };
        let threads: Vec<_> = (0..4).map(|thread| std::thread::spawn(of(thread))).collect();
        for _ in 0..3 {
            scene.allow.send(()).expect("heard");
        }
        threads.into_iter().for_each(|thread| thread.join().expect("done"));
        let written = scene.written();
        for thread in 0..4 {
            let head = format!("{thread} ");
            let numbers: Vec<usize> = written
                .lines()
                .filter_map(|line| line.strip_prefix(&head))
                .map(|number| number.parse().expect("a number"))
                .collect();
            assert_eq!(numbers, (0..2000).collect::<Vec<_>>());
        }
        assert_eq!(written.lines().count(), 8000);
    }

    #[test]
    fn whoever_waits_for_a_disk_that_stands_still_gives_up() {
        let scene = Scene::standing();
        assert!(!scene.queue.flush(Duration::from_millis(1)));
        assert_eq!(scene.written(), "first\n");
    }

    #[test]
    fn what_does_not_fit_on_the_disk_is_counted() {
        let scene = Scene::with(10);
        drop(scene.allow.clone());
        scene.queue.push(b"first\n", true);
        scene.asked.recv().expect("it is being written");
        for line in ["second\n", "third\n", "fourth\n"] {
            scene.queue.push(line.as_bytes(), true);
        }
        let (lost, dropped) = (Arc::clone(&scene.lost), scene.dropped.clone());
        assert_eq!(scene.written(), "first\nseco");
        assert_eq!((*lost.lock().expect("whole"), dropped.get()), (3, 3));
    }
}
