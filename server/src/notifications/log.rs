//! The driver `log`.

use super::envelope::Event;

/// The target of its lines.
pub const TARGET: &str = module_path!();

/// Writes a notification into the log.
pub fn write(event: &Event) {
    tracing::info!(event_type = event.event_type, notification = event.bare(), "notification");
}
