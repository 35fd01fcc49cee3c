//! A small sorted map whose entries mostly come and go in the order of their keys.
//!
//! Then each call costs next to nothing; else entries are moved, fewer than half of them. It serves
//! lanes and attempts in flight, which are bounded. Its capacity is at most four times what it
//! needs, so that many lanes that were full once do not keep much memory.

use std::collections::VecDeque;

/// Room that is kept anyway.
const ROOM_MIN: usize = 16;

#[derive(Debug)]
pub(crate) struct Sorted<K, V>(VecDeque<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: Ord + Copy, V> Sorted<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.0.back().is_none_or(|(last, _)| *last < key) {
            self.0.push_back((key, value));
            return;
        }
        match self.find(key) {
            Ok(place) => {
                if let Some((_, old)) = self.0.get_mut(place) {
                    *old = value;
                }
            }
            Err(place) => self.0.insert(place, (key, value)),
        }
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let place = self.find(key).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let place = self.find(key).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, key: K) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let removed = match self.find(key).ok()? {
            0 => self.0.pop_front(),
            place => self.0.remove(place),
        };
        self.give_back();
        removed.map(|(_, value)| value)
    }

    pub(crate) fn first(&self) -> Option<K> {
        self.0.front().map(|(key, _)| *key)
    }

    /// What is kept under the first key.
    pub(crate) fn peek(&self) -> Option<&V> {
        self.0.front().map(|(_, value)| value)
    }

    pub(crate) fn last(&self) -> Option<K> {
        self.0.back().map(|(key, _)| *key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.0.iter()
    }

    pub(crate) fn pop_first(&mut self) -> Option<(K, V)> {
        let popped = self.0.pop_front();
        self.give_back();
        popped
    }

    pub(crate) fn pop_last(&mut self) -> Option<(K, V)> {
        let popped = self.0.pop_back();
        self.give_back();
        popped
    }

    /// Keeps no room at all if it is empty.
    pub(crate) fn rest(&mut self) {
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }

    fn give_back(&mut self) {
        let room = self.0.capacity();
        if room > ROOM_MIN && self.0.len() < room / 4 {
            self.0.shrink_to(room / 2);
        }
    }

    /// The place of the key, or where it would stand. What comes is behind all others, mostly, and
    /// what goes is before them.
    fn find(&self, key: K) -> Result<usize, usize> {
        let (Some((first, _)), Some((last, _))) = (self.0.front(), self.0.back()) else {
            return Err(0);
        };
        if *last < key {
            Err(self.0.len())
        } else if *first == key {
            Ok(0)
        } else {
            self.0.binary_search_by(|(known, _)| known.cmp(&key))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0..8_u8, 0..20_i64), 0..200)) {
            let mut sorted = Sorted::default();
            let mut map = BTreeMap::new();
            for (number, (step, key)) in steps.into_iter().enumerate() {
                match step {
                    0..=2 => {
                        sorted.insert(key, number);
                        map.insert(key, number);
                    }
                    3 => prop_assert_eq!(sorted.remove(key), map.remove(&key)),
                    4 => prop_assert_eq!(sorted.pop_first(), map.pop_first()),
                    5 => prop_assert_eq!(sorted.pop_last(), map.pop_last()),
                    6 => prop_assert_eq!(sorted.get_mut(key), map.get_mut(&key)),
                    _ => sorted.rest(),
                }
                prop_assert!(sorted.0.capacity() <= ROOM_MIN.max(4 * (map.len() + 1)));
                prop_assert_eq!(sorted.contains(key), map.contains_key(&key));
                prop_assert_eq!(sorted.get(key), map.get(&key));
                prop_assert!(sorted.iter().map(|(key, value)| (key, value)).eq(&map));
                prop_assert_eq!(sorted.len(), map.len());
                prop_assert_eq!(sorted.first(), map.keys().next().copied());
                prop_assert_eq!(sorted.peek(), map.values().next());
                prop_assert_eq!(sorted.last(), map.keys().last().copied());
            }
        }
    }
}
