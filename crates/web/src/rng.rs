//! The random source of this crate, which many handlers share.

use std::sync::{Arc, Mutex};

use model::rng::SeededRng;

use crate::sync::lock;

#[derive(Clone)]
pub(crate) struct SharedRng(Arc<Mutex<SeededRng>>);

impl SharedRng {
    pub(crate) fn new(rng: SeededRng) -> Self {
        Self(Arc::new(Mutex::new(rng)))
    }

    /// A number from 0 up to and without `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        lock(&self.0).below(end)
    }

    /// What `draw` makes of it, while nobody else draws.
    pub(crate) fn with<T>(&self, draw: impl FnOnce(&mut SeededRng) -> T) -> T {
        draw(&mut lock(&self.0))
    }

    /// So many random letters and digits, for a secret.
    pub(crate) fn alphanumeric(&self, length: usize) -> String {
        lock(&self.0).alphanumeric(length)
    }
}
