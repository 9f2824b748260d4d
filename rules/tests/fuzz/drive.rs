//! Random cases: so many in the normal run, as many as there is time for in the long one.

use std::cell::Cell;
use std::fmt::Debug;
use std::io::Write as _;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// The seed of all random choices, unless `PROPTEST_RNG_SEED` gives another.
const SEED: u64 = 2_026;

/// A short run and a batch of a long one have so many cases.
#[derive(Debug, Clone, Copy)]
pub struct Cases {
    pub short: u32,
    pub batch: u32,
}

/// Checks random cases, each batch on a state of its own, and returns how many there were. `VICAR_FUZZ_SECONDS` asks for a long run.
///
/// # Panics
/// With the least case that could be found for which the check fails, and the seed of its batch.
pub fn drive<S: Strategy, T>(
    name: &str,
    cases: Cases,
    of: &S,
    state: impl Fn() -> T,
    check: impl Fn(&T, S::Value) -> Result<(), TestCaseError>,
) -> u64
where
    S::Value: Debug,
{
    let seconds: Option<u64> = std::env::var("VICAR_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut seed = match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => SEED,
    };
    println!("fuzz {name}: PROPTEST_RNG_SEED={seed}");
    let (done, is_over) = (Cell::new(0_u64), Cell::new(false));
    let batch = until.map_or(cases.short, |_| cases.batch);
    loop {
        let state = state();
        let config = Config {
            cases: batch,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            max_shrink_iters: 20_000,
            ..Config::default()
        };
        let run = TestRunner::new(config).run(of, |case| {
            is_over.set(is_over.get() || until.is_some_and(|until| Instant::now() >= until));
            if is_over.get() {
                return Ok(());
            }
            done.set(done.get() + 1);
            check(&state, case)
        });
        match run {
            Ok(()) => {}
            Err(TestError::Fail(why, case)) => {
                panic!("fuzz {name}: {why}\nPROPTEST_RNG_SEED={seed} repeats it:\n{case:?}")
            }
            Err(TestError::Abort(why)) => panic!("fuzz {name}: {why}"),
        }
        seed = seed.wrapping_add(1);
        if until.is_none_or(|until| Instant::now() >= until) {
            break;
        }
    }
    // Past the harness, which swallows what a passing test prints.
    let _ = writeln!(std::io::stderr(), "fuzz {name}: {} cases", done.get());
    done.get()
}
