//! Looks over the shoulder of a request: what it asked the policy, for `vicar policy explain`. Such a request ends at
//! its first write.

use std::cell::RefCell;

use vicar_rules::policy::{Explanation, Facts, Op};

tokio::task_local! {
    static ASKED: RefCell<Vec<Asked>>;
}

/// A question to the policy.
#[derive(Debug)]
pub struct Asked {
    /// The operation.
    pub op: Op,
    /// What is known of the object, the parts of the path included.
    pub facts: Facts,
    /// The decision, and why.
    pub explanation: Explanation,
}

/// Runs something, and returns what it asked besides.
pub async fn watch<T>(request: impl Future<Output = T>) -> (T, Vec<Asked>) {
    ASKED
        .scope(RefCell::default(), async {
            let out = request.await;
            (out, ASKED.with(RefCell::take))
        })
        .await
}

/// Whether somebody watches, so that nothing is written.
pub fn is_watched() -> bool {
    ASKED.try_with(|_| ()).is_ok()
}

/// Keeps a question, if somebody watches.
pub(super) fn asked(question: impl FnOnce() -> Asked) {
    let _ = ASKED.try_with(|all| all.borrow_mut().push(question()));
}
