//! The bytes of answers that were rendered and are not sent yet. A client that does not read keeps its answer in
//! memory; how much of that one client, and all, can keep is bounded here. Nobody else waits for them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

/// What is shorter is not counted: a connection has buffers of that size anyway.
const SHORT: usize = 256 << 10;
/// The bytes that one client's answers may have.
const OF_ONE: usize = 64 << 20;
/// The bytes that all answers may have; first answers of somebody twice as many.
const OF_ALL: usize = 512 << 20;
/// A body is sent in pieces of so many bytes, which are copied: what was handed on keeps nothing of the rest.
const PIECE: usize = 64 << 10;

/// What is not sent yet, by whom it is for.
#[derive(Debug, Default)]
pub struct Unsent {
    keys: RandomState,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    of: HashMap<u64, usize>,
}

/// The bytes of one answer, until it is dropped.
#[derive(Debug)]
struct Share {
    unsent: Arc<Unsent>,
    whose: u64,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.unsent.held();
        held.all = held.all.saturating_sub(self.bytes);
        if let Some(bytes) = held.of.get_mut(&self.whose) {
            *bytes = bytes.saturating_sub(self.bytes);
            if *bytes == 0 {
                held.of.remove(&self.whose);
            }
        }
    }
}

impl Unsent {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that are counted now.
    pub fn bytes(&self) -> usize {
        self.held().all
    }

    /// Counts an answer from now until it is sent or given up. `None` when there are too many bytes already, of this
    /// client or of all; the answer is dropped then.
    pub fn count(self: &Arc<Self>, client: impl FnOnce() -> String, answer: Response) -> Option<Response> {
        let exact = answer.body().size_hint().exact();
        let bytes = exact.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if bytes <= SHORT {
            return Some(answer);
        }
        let share = self.take(self.keys.hash_one(client()), bytes)?;
        Some(answer.map(|body| Body::new(Pieces { body, rest: Bytes::new(), share })))
    }

    /// One answer is let through whatever its size, so that a client gets anything at all, and whatever others keep: only
    /// beyond twice what all may have is there nothing for somebody new.
    fn take(self: &Arc<Self>, whose: u64, bytes: usize) -> Option<Share> {
        let mut held = self.held();
        let own = held.of.get(&whose).copied().unwrap_or(0);
        let fits = |before: usize, most: usize| before == 0 || before.saturating_add(bytes) <= most;
        let of_all = if own == 0 { 2 * OF_ALL } else { OF_ALL };
        if !fits(own, OF_ONE) || !fits(held.all, of_all) {
            return None;
        }
        held.all = held.all.saturating_add(bytes);
        *held.of.entry(whose).or_insert(0) += bytes;
        Some(Share { unsent: Arc::clone(self), whose, bytes })
    }
}

/// A body in pieces, whose bytes are counted until it has been handed on or is dropped.
struct Pieces {
    body: Body,
    rest: Bytes,
    share: Share,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = Bytes::copy_from_slice(&self.rest.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("share", &self.share).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    fn answer(bytes: usize) -> Response {
        vec![b'x'; bytes].into_response()
    }

    #[tokio::test]
    async fn an_answer_counts_until_it_is_sent_or_dropped() {
        let unsent = Arc::new(Unsent::default());
        let long = SHORT + PIECE + 7;
        let short = unsent.count(|| "ann".into(), answer(SHORT)).expect("it is short");
        assert_eq!(unsent.bytes(), 0);
        drop(short);
        let dropped = unsent.count(|| "ann".into(), answer(long)).expect("there is room");
        let counted = unsent.count(|| "bob".into(), answer(long)).expect("there is room");
        assert_eq!(unsent.bytes(), 2 * long);
        drop(dropped);
        assert_eq!(unsent.bytes(), long);
        let mut body = counted.into_body();
        assert_eq!(body.size_hint().exact(), u64::try_from(long).ok());
        let mut read = 0;
        while !body.is_end_stream() {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let data = frame.expect("a frame").expect("no error").into_data().expect("bytes");
            assert!(data.len() <= PIECE && data.iter().all(|byte| *byte == b'x'));
            read += data.len();
            assert_eq!(body.size_hint().exact(), u64::try_from(long - read).ok());
        }
        assert_eq!(read, long);
        drop(body);
        assert_eq!(unsent.bytes(), 0);
        assert!(unsent.held().of.is_empty());
    }

    #[test]
    fn one_client_takes_its_share_and_leaves_the_others_theirs() {
        let unsent = Arc::new(Unsent::default());
        let part = OF_ONE / 4;
        let mut all: Vec<Share> = (0..4).filter_map(|_| unsent.take(1, part)).collect();
        assert_eq!(all.len(), 4);
        assert!(unsent.take(1, part).is_none(), "that is its share");
        assert!(unsent.count(|| "other".into(), answer(SHORT + 1)).is_some());
        // However long the first answer is, it is sent.
        all.push(unsent.take(2, OF_ONE + 1).expect("it is the only one"));
        assert!(unsent.take(2, 1).is_none());
        all.remove(0);
        all.push(unsent.take(1, part).expect("there is room again"));
        let others: Vec<Share> = (3..100).filter_map(|whose| unsent.take(whose, OF_ONE)).collect();
        assert_eq!(others.len(), 2 * OF_ALL / OF_ONE - 3, "there is no more for all");
        assert!(unsent.take(100, OF_ONE).is_none());
    }

    #[test]
    fn several_who_keep_their_shares_leave_others_one_answer() {
        let unsent = Arc::new(Unsent::default());
        let part = OF_ONE / 4;
        let held: Vec<Share> = (0..40).filter_map(|n| unsent.take(n % 9, part)).collect();
        assert_eq!(held.len(), OF_ALL / part);
        let _first = unsent.take(50, part).expect("the first of somebody new");
        assert!(unsent.take(50, 1).is_none() && unsent.take(8, part).is_none(), "and no other");
    }
}
