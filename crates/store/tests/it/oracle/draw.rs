//! What a history draws: things of few kinds, so that they meet again.

use bytes::Bytes;
use model::attempt::{BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::filter::{Filter, MatchKey};
use model::rng::SeededRng;
use model::tenant::TokenHash;
use model::webhook::Headers;

use crate::sqlite::harness::{headers, pair};

pub(super) struct Draw(SeededRng);

const TOPICS: [&str; 3] = ["paid", "placed", "a\0b"];
const SCOPES: [&str; 3] = ["", "democon", "other"];

/// Whose tokens, sessions, links and idempotency keys there are.
pub(super) const HASHES: u8 = 5;

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(SeededRng::from_seed(bytes).split("oracle"))
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.below(end as u64)).unwrap()
    }

    pub(super) fn number(&mut self, end: i64) -> i64 {
        i64::try_from(self.0.below(u64::try_from(end).unwrap())).unwrap()
    }

    /// Once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    pub(super) fn name(&mut self, count: usize) -> String {
        let name = format!("n{}", self.below(count));
        match self.once_in(8) {
            true => name.to_uppercase(),
            false => name,
        }
    }

    pub(super) fn hash(&mut self) -> TokenHash {
        TokenHash([u8::try_from(self.below(HASHES.into())).unwrap(); 32])
    }

    pub(super) fn match_keys(&mut self) -> Vec<MatchKey> {
        let count = self.below(3);
        let mut drawn: Vec<MatchKey> = (0..=count)
            .map(|_| pair(self.of(&TOPICS), self.of(&SCOPES)))
            .collect();
        drawn.sort_by(|one, other| (&one.topic, &one.scope).cmp(&(&other.topic, &other.scope)));
        drawn.dedup();
        drawn
    }

    pub(super) fn filter(&mut self) -> Filter {
        let count = self.below(3);
        let wanted = (0..=count).flat_map(|_| {
            let topic = self.of(&TOPICS);
            let scope = self.of(&[None, Some(""), Some("democon")]);
            Filter::of(topic, scope).0
        });
        Filter(wanted.collect())
    }

    pub(super) fn headers(&mut self) -> Headers {
        match self.below(3) {
            0 => Headers::default(),
            n => headers("X-Nonce", &format!("{n}")),
        }
    }

    pub(super) fn body(&mut self) -> Bytes {
        match self.below(4) {
            0 => Bytes::new(),
            n => Bytes::from(vec![b'x'; n]),
        }
    }

    pub(super) fn outcome(&mut self) -> Outcome {
        match self.below(5) {
            0 => Outcome::Failed(Failure::new(
                self.of(&[
                    FailureKind::LookUp,
                    FailureKind::TimeLimit,
                    FailureKind::Tls,
                ]),
                self.of(&["", "as it happens", "with \0 in it"]),
            )),
            status => Outcome::Answered(HttpResponse {
                status: [200, 204, 500, 503][status - 1],
                headers: self.headers(),
                body: self.body(),
                body_end: self.of(&BodyEnd::ALL),
                note: self.once_in(5).then(|| "noted".into()),
            }),
        }
    }
}
