//! What lies between a connection and the routes: deadlines of bodies and answers, and a net for panics.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::limits::Rate;
use crate::error::Error;

/// The other side is slower than it may be.
#[derive(Debug)]
pub(super) struct TooSlow;

impl std::fmt::Display for TooSlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("slower than it may be")
    }
}

impl std::error::Error for TooSlow {}

impl TooSlow {
    /// Whether this is why something failed.
    pub(super) fn caused(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |e| e.source()).any(|e| e.is::<Self>())
    }
}

/// Watches that bytes keep coming at a least rate while they are waited for.
#[derive(Debug)]
struct Pace {
    rate: Rate,
    moved: usize,
    window: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    fn new(rate: Rate) -> Self {
        Self { rate, moved: 0, window: None }
    }

    fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes);
    }

    /// Nothing is waited for any more.
    fn rest(&mut self) {
        self.window = None;
        self.moved = 0;
    }

    /// To be asked whenever nothing moves: ready when that has lasted too long.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Rate { window, bytes } = self.rate;
        let sleep = self.window.get_or_insert_with(|| Box::pin(tokio::time::sleep(window)));
        while sleep.as_mut().poll(cx).is_ready() {
            if self.moved < bytes {
                return Poll::Ready(());
            }
            self.moved = 0;
            sleep.as_mut().reset(Instant::now() + window);
        }
        Poll::Pending
    }
}

/// A socket that gives up when the other side does not read.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    answer: Pace,
}

impl Socket {
    pub(super) fn new(stream: Arc<TcpStream>, answer: Rate) -> Self {
        Self { stream, answer: Pace::new(answer) }
    }

    /// Writes by `write`, which is given `whole` bytes, once the kernel takes more.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        whole: usize,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.poll_write_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    ready!(self.answer.poll_too_slow(cx));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow)));
                }
            }
            match write(&self.stream) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(n) if n < whole => {
                    self.answer.moved(n);
                    return Poll::Ready(Ok(n));
                }
                done => {
                    self.answer.rest();
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read_buf(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, buf.len(), |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let whole = bufs.iter().map(|b| b.len()).sum();
        self.poll_write_with(cx, whole, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Write).map_err(Into::into))
    }
}

/// A request's body that must arrive in time.
#[derive(Debug)]
pub(super) struct TimedBody {
    inner: Incoming,
    pace: Pace,
    end: Pin<Box<Sleep>>,
}

impl TimedBody {
    pub(super) fn new(inner: Incoming, rate: Rate, total: Duration) -> Self {
        Self { inner, pace: Pace::new(rate), end: Box::pin(tokio::time::sleep(total)) }
    }
}

impl Body for TimedBody {
    type Data = <Incoming as Body>::Data;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(TooSlow.into())));
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.pace.moved(frame.data_ref().map_or(0, |data| data.len()));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(done) => Poll::Ready(done.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {
                ready!(self.pace.poll_too_slow(cx));
                Poll::Ready(Some(Err(TooSlow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reads a body to its end, or to `limit` bytes, and forgets it: a client reads an answer only once it has
/// sent everything.
pub(super) async fn discard(mut body: impl Body<Data = hyper::body::Bytes> + Unpin, limit: usize) {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, hyper::body::Bytes::len);
        if seen > limit {
            break;
        }
    }
}

/// A future whose panic is a value.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // What a panic left half done is dropped with the future: its transaction is rolled back.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// Runs `work`; a panic in it is `None`. The panic hook has written a line about it by then. What waits for this keeps a
/// pointer, however large `work` is.
pub fn caught<F: Future>(work: F) -> impl Future<Output = Option<F::Output>> {
    let caught = Caught(Box::pin(work));
    async move { caught.await.ok() }
}

/// The same for work that waits for nothing.
pub fn caught_at_once<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The answer in place of the one that a panic has cut short: a 500, like any other fault of ours.
pub fn panicked() -> Response {
    Error::Internal("a handler panicked".into()).into_response()
}

/// Writes panics to the log, with their place and without their message: that may quote what a client sent. Then `finish`
/// is called, which has the log written.
pub fn log_panics(finish: fn()) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name(), "panic");
        finish();
    }));
}
