//! Limits on live streams: for each session, for each user, and for all together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use model::id::UserId;
use model::limits::{LIVE_STREAMS_MAX, LIVE_STREAMS_SESSION_MAX, LIVE_STREAMS_USER_MAX};
use model::tenant::TokenHash;

use crate::sync::lock;

/// The live streams of each session.
#[derive(Default)]
pub(crate) struct StreamSlots(Mutex<BTreeMap<(UserId, TokenHash), usize>>);

/// One live stream's slot, free again when it is dropped.
pub(super) struct StreamSlot {
    slots: Arc<StreamSlots>,
    user: UserId,
    pub(super) session: TokenHash,
}

impl StreamSlots {
    pub(super) fn take(slots: &Arc<Self>, user: UserId, session: TokenHash) -> Option<StreamSlot> {
        let mut taken = lock(&slots.0);
        let own = taken.get(&(user, session)).copied().unwrap_or_default();
        let of_user = taken.iter().filter(|((whose, _), _)| *whose == user);
        let of_user: usize = of_user.map(|(_, count)| count).sum();
        if own >= LIVE_STREAMS_SESSION_MAX
            || of_user >= LIVE_STREAMS_USER_MAX
            || taken.values().sum::<usize>() >= LIVE_STREAMS_MAX
        {
            return None;
        }
        taken.insert((user, session), own + 1);
        let slots = Arc::clone(slots);
        Some(StreamSlot {
            slots,
            user,
            session,
        })
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut taken = lock(&self.slots.0);
        let own = (self.user, self.session);
        match taken.get_mut(&own) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(taken.remove(&own)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_for_each_and_for_all_and_come_back() {
        let slots = Arc::new(StreamSlots::default());
        let take = |user: i64, session: usize| {
            let session = TokenHash::of(&session.to_string());
            StreamSlots::take(&slots, UserId(user), session)
        };
        let mut held: Vec<StreamSlot> = Vec::new();
        while let Some(slot) = take(0, 0) {
            held.push(slot);
        }
        assert_eq!(held.len(), LIVE_STREAMS_SESSION_MAX);
        for session in 1..=LIVE_STREAMS_MAX {
            held.extend(take(0, session));
        }
        assert_eq!(held.len(), LIVE_STREAMS_USER_MAX);
        for user in 1..=LIVE_STREAMS_MAX {
            held.extend(take(i64::try_from(user).unwrap(), user));
        }
        assert_eq!(held.len(), LIVE_STREAMS_MAX);
        drop(held.pop());
        assert!(take(9_999, 9_999).is_some());
        drop(held);
        assert!(lock(&slots.0).is_empty());
    }
}
