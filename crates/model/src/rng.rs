//! Rng: seeded randomness, split by name.
//!
//! The seed comes from the operating system in `main` and from a number in tests, so every draw
//! can be repeated. One user's draws do not shift another's.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// A stream of draws that depends on its seed alone.
#[derive(Debug)]
pub struct SeededRng {
    seed: [u8; 32],
    stream: ChaCha8Rng,
}

impl SeededRng {
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            seed,
            stream: ChaCha8Rng::from_seed(seed),
        }
    }

    /// A stream of its own for the user called `name`; the same seed and name give the same draws.
    #[must_use]
    pub fn split(&self, name: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.seed);
        hasher.update(name.as_bytes());
        Self::from_seed(hasher.finalize().into())
    }

    /// A number from 0 up to and without `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 {
            return 0;
        }
        // The bias of a remainder over 64 bits is below 2^-40 for every bound in use.
        self.stream.next_u64() % end
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.stream.fill_bytes(bytes);
    }

    /// `length` letters and digits of lower case: 5.17 bits each.
    pub fn alphanumeric(&mut self, length: usize) -> String {
        const ALPHABET: [char; 36] = [
            'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q',
            'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '0', '1', '2', '3', '4', '5', '6', '7',
            '8', '9',
        ];
        (0..length)
            .filter_map(|_| {
                let index = usize::try_from(self.below(ALPHABET.len() as u64)).unwrap_or(0);
                ALPHABET.get(index).copied()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_name_draw_the_same() {
        let rng = SeededRng::from_seed([7; 32]);
        let mut one = rng.split("jitter");
        let mut two = rng.split("jitter");
        let mut other = rng.split("tokens");
        let draws: Vec<u64> = (0..8).map(|_| one.below(1_000_000)).collect();
        assert_eq!(
            draws,
            (0..8).map(|_| two.below(1_000_000)).collect::<Vec<_>>()
        );
        assert_ne!(
            draws,
            (0..8).map(|_| other.below(1_000_000)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_token_has_its_length_and_only_letters_and_digits() {
        let token = SeededRng::from_seed([1; 32]).alphanumeric(64);
        assert_eq!(token.len(), 64);
        assert!(
            token
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        );
    }
}
