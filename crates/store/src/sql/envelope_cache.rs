//! The cache of envelopes of whoever writes attempts, all of one day, and how they are found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::webhook::Headers;

/// Most take about 1 KiB. A webhook needs a handful, one for each length of a body.
const CACHED_MAX: usize = 4_096;

/// All cached envelopes together: receivers may answer with much, and differently each time.
const CACHED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Webhooks whose attempts are recognized by address, without comparing what they share.
const SHARED_MAX: usize = 256;

/// Longer ones are compared.
const SHARED_BYTES_MAX: usize = 4 * 1024;

/// Envelopes written or found lately, all of one day.
#[derive(Default)]
pub(crate) struct EnvelopeCache {
    day: i64,
    known: BTreeMap<i64, InternedEnvelope>,
    /// Of all in `known`.
    bytes: usize,
    /// The latest envelope for each slot, by the address of what the attempt shares.
    shared: Vec<Option<SharedEnvelope>>,
    /// The header lines of the latest response that was found.
    pub(crate) latest_response: Option<(Headers, i64)>,
    /// Hashes of response lines that were met once.
    met_once: BTreeSet<i64>,
}

pub(crate) struct InternedEnvelope {
    pub(crate) url: String,
    pub(crate) headers: Headers,
    pub(crate) id: i64,
}

/// What the engine's attempts at one webhook share: the same memory, so the texts need not be
/// compared. It is held here, so nothing else can get its address.
pub(crate) struct SharedEnvelope {
    pub(crate) url: Arc<str>,
    pub(crate) headers: Headers,
    pub(crate) id: i64,
}

impl EnvelopeCache {
    /// Forgets envelopes of another day.
    pub(crate) fn turn_to(&mut self, day: i64) {
        if self.day != day {
            *self = Self::default();
            self.day = day;
        }
    }

    pub(crate) fn shared(&self, url: &Arc<str>, headers: &Headers) -> Option<i64> {
        let shared = self.shared.get(slot_of(headers))?.as_ref()?;
        let is_same =
            Arc::ptr_eq(&shared.url, url) && std::ptr::eq(&*shared.headers.0, &*headers.0);
        is_same.then_some(shared.id)
    }

    pub(crate) fn share(&mut self, shared: SharedEnvelope) {
        if shared.url.len() + shared.headers.0.len() > SHARED_BYTES_MAX {
            return;
        }
        self.shared.resize_with(SHARED_MAX, || None);
        if let Some(slot) = self.shared.get_mut(slot_of(&shared.headers)) {
            *slot = Some(shared);
        }
    }

    pub(crate) fn get(&self, hash: i64, url: &str, headers: &Headers) -> Option<i64> {
        let known = self.known.get(&hash)?;
        (known.url == url && known.headers == *headers).then_some(known.id)
    }

    /// Notes that these lines were met. Answers whether it was for the first time.
    pub(crate) fn meet(&mut self, hash: i64) -> bool {
        if self.met_once.len() >= CACHED_MAX {
            self.met_once.clear();
        }
        self.met_once.insert(hash)
    }

    pub(crate) fn keep(&mut self, hash: i64, known: InternedEnvelope) {
        let bytes = known.bytes();
        if self.known.len() >= CACHED_MAX || self.bytes + bytes > CACHED_BYTES_MAX {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        let before = self.known.insert(hash, known);
        self.bytes -= before.as_ref().map_or(0, InternedEnvelope::bytes);
    }
}

impl InternedEnvelope {
    fn bytes(&self) -> usize {
        self.url.len() + self.headers.0.len()
    }
}

/// The slot for what has this address.
fn slot_of(headers: &Headers) -> usize {
    // The lowest bits are mostly the same for all.
    let address = headers.0.as_ptr().addr();
    (address / 16 + address / 4_096) % SHARED_MAX
}

/// FNV-1a, 64 bits. It is in every store out there and may not change between versions.
pub(crate) fn hash(url: &str, headers: &Bytes) -> i64 {
    let bytes = url.bytes().chain([0]).chain(headers.iter().copied());
    bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
        .cast_signed()
}
