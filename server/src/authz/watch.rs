//! Looks over the shoulder of a request: what it asked the policy and the table of kinds, for who explains decisions. Such a
//! request ends at its first write.

use std::cell::RefCell;

use vicar_rules::policy::{Explanation, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::token::Act;

tokio::task_local! {
    static WATCHED: RefCell<Watched>;
}

/// So many questions are kept. Lists ask about each item.
const MOST: usize = 64;

/// What a request has asked.
#[derive(Debug, Default)]
pub struct Watched {
    /// Questions to the policy.
    pub asked: Vec<Asked>,
    /// Whether a token of the caller's kind may do something.
    pub acts: Vec<(Act, Result<(), Refusal>)>,
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
pub async fn watch<T>(request: impl Future<Output = T>) -> (T, Watched) {
    WATCHED
        .scope(RefCell::default(), async {
            let out = request.await;
            (out, WATCHED.with(RefCell::take))
        })
        .await
}

/// Whether somebody watches, so that nothing is written.
pub fn is_watched() -> bool {
    WATCHED.try_with(|_| ()).is_ok()
}

/// Keeps a question to the policy, if somebody watches.
pub(super) fn asked(question: impl FnOnce() -> Asked) {
    let _ = WATCHED.try_with(|all| {
        let mut all = all.borrow_mut();
        if all.asked.len() < MOST {
            all.asked.push(question());
        }
    });
}

/// Keeps what was asked of the table of kinds, if somebody watches.
pub(super) fn acted(act: Act, answer: &Result<(), Refusal>) {
    let _ = WATCHED.try_with(|all| {
        let mut all = all.borrow_mut();
        if all.acts.len() < MOST {
            all.acts.push((act, answer.clone()));
        }
    });
}
