//! Waiting for somebody who was in the way: the other side of [`super::Error::Retry`].

use std::time::{Duration, Instant};

use crate::ids;

/// For so long something is tried again. Two seconds are dozens of other writers' turns.
const ENOUGH: Duration = Duration::from_secs(2);

/// The pauses in between grow, up to this many milliseconds.
const LONGEST: u64 = 128;

/// How long was waited already.
#[derive(Debug)]
pub struct Backoff {
    until: Instant,
    pause: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { until: Instant::now() + ENOUGH, pause: 8 }
    }
}

impl Backoff {
    /// Waits, for a random time, so that two that met do not meet again. Returns false when it was enough.
    pub async fn again(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST);
        tokio::time::sleep(Duration::from_millis(ids::below(self.pause))).await;
        true
    }
}
