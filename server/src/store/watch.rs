//! What is said to the engine, for tests that count it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The statements of a store, while somebody watches.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Option<Vec<String>>>>);

impl Watch {
    fn said(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, sql: &str) {
        if let Some(said) = self.said().as_mut() {
            said.push(sql.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }

    pub(super) fn begin(&self) {
        *self.said() = Some(Vec::new());
    }

    pub(super) fn end(&self) -> Vec<String> {
        self.said().take().unwrap_or_default()
    }
}
