//! The constitution as laws over random histories.
//!
//! A [`World`] holds plain rows, as the server's store does. Every creation in it goes through
//! `grant`, `redelegate` and `bind`, every use through `evaluate`, `consume`, `exchange` and the two
//! `ends`, every deletion through `subtree`. After every step of a random history all [`LAWS`] are
//! checked against what the world itself remembers: its own record of who made what with which token,
//! its own closure over bit masks, its own walk. The rules under test never judge themselves.
//!
//! **It is a model.** What the server does around the rules, the world does again in its own way: it
//! writes revocation events and records of lost roles, takes uses by a conditional write, marks rows
//! as deleted. The laws hold for the rules and for this model; that the server does the same is held
//! by the tests that speak HTTP to it.
//!
//! The histories are the same at every run. `PROPTEST_RNG_SEED` asks for others, `VICAR_LAWS_STEPS`
//! for a longer run.

// A test that looks past an end fails; what it prints repeats a run.
#![allow(clippy::indexing_slicing, clippy::print_stdout)]

use std::cell::RefCell;
use std::io::Write as _;

use proptest::collection::vec;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// Ends a law that does not hold.
macro_rules! must {
    ($cond:expr, $($why:tt)+) => {
        if !$cond {
            return Err(format!($($why)+));
        }
    };
}

mod corrupt;
mod credentials;
mod lattice;
mod laws;
mod names;
mod ops;
mod reach;
mod world;

use laws::LAWS;
use ops::{genesis, op};
use reach::{AT_LEAST, Reached};
use world::World;

/// What a law says: nothing, or why it does not hold.
type Verdict = Result<(), String>;

const STEPS: usize = 240_000;

/// The seed of all random choices, unless `PROPTEST_RNG_SEED` gives another.
const SEED: u64 = 2_026;

fn seed() -> u64 {
    match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => SEED,
    }
}

/// So many cases, from the seed on.
fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed()), ..Config::default() }
}

#[test]
fn laws() {
    let asked = std::env::var("VICAR_LAWS_STEPS").ok();
    let target = asked.and_then(|s| s.parse().ok()).unwrap_or(STEPS);
    let reached = RefCell::new(Reached::default());
    let history = (genesis(), vec(op(), 1..=100));
    let mut seed = seed();
    println!("laws: PROPTEST_RNG_SEED={seed}");
    while reached.borrow().steps < target {
        let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), ..config(100) });
        seed = seed.wrapping_add(1);
        let run = runner.run(&history, |(genesis, ops)| {
            reached.borrow_mut().histories += 1;
            let mut w = World::new(&genesis);
            for (n, op) in ops.iter().enumerate() {
                w.apply(op);
                let broken: Vec<String> = LAWS
                    .iter()
                    .filter_map(|(name, law)| Some(format!("{name}: {}", law(&w).err()?)))
                    .collect();
                if !broken.is_empty() {
                    let laws = broken.join("\n  law ");
                    return Err(TestCaseError::fail(format!("step {n}, {op:?}:\n  law {laws}")));
                }
                reached.borrow_mut().look(&w);
            }
            Ok(())
        });
        match run {
            Ok(()) => {}
            Err(TestError::Fail(why, (genesis, ops))) => {
                let ops: Vec<String> = ops.iter().map(|op| format!("{op:?}")).collect();
                panic!("{why}\n{genesis:?}\n{}", ops.join("\n"))
            }
            Err(TestError::Abort(why)) => panic!("{why}"),
        }
    }
    let reached = reached.into_inner();
    for (what, times) in &reached.seen {
        println!("{times:>8}  {what}");
    }
    println!("laws: {} histories, {} laws", reached.histories, LAWS.len());
    // Past the harness, which swallows what a passing test prints.
    let _ = writeln!(std::io::stderr(), "laws: {} steps", reached.steps);
    assert!(reached.steps >= target);
    for (what, least) in AT_LEAST {
        let times = reached.seen.get(*what).copied().unwrap_or_default();
        let least = least * target / STEPS;
        assert!(times >= least, "reached `{what}` {times} times, not {least}");
    }
}
