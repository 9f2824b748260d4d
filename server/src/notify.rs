//! What the server tells the manager that started it, in the form of `sd_notify(3)`: a datagram to the socket that
//! `NOTIFY_SOCKET` names. Without that variable nothing is sent. A manager that cannot be told is no reason to stop.

use std::time::Duration;

use sd_notify::NotifyState;

/// Whether a manager waits to be told. What is printed goes to its logs then.
#[must_use]
pub fn is_supervised() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|s| !s.is_empty())
}

/// Reports that requests are served: after the start, and again after each [`reloading`].
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Reports that the configuration is being read again. [`ready`] must follow, whether that succeeded or not.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Reports that the server is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Reports again and again that tasks are run, if the manager wants to hear that (`WatchdogSec`). It returns at once
/// if not. What keeps all threads busy or blocked keeps this from being told, and the manager restarts the server.
pub async fn alive() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|p| *p > Duration::ZERO) else { return };
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(period / 3).await;
    }
}

fn tell(states: &[NotifyState]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!(error = %e, "the service manager could not be told how the server is");
    }
}
