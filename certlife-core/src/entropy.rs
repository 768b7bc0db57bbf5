//! Randomness for ids and workers comes in from outside, so that a simulated year can be repeated.
//!
//! Keys, nonces and serial numbers never come from here: they use the operating system's generator.

use std::sync::{Mutex, PoisonError};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// A source of random bytes for ids: seeded by the operating system, or by a test.
#[derive(Debug)]
pub(crate) struct Entropy(Mutex<StdRng>);

impl Entropy {
    pub(crate) fn from_system() -> Self {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).expect("the operating system has a random number generator");
        Self(Mutex::new(StdRng::from_seed(seed)))
    }

    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        // The generator is whole after every call, so a poisoned lock does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }
}
