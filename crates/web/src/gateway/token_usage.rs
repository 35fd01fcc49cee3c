//! When tokens were last used, for the dashboard. Noted at most once a minute for each token, and
//! written in batches, so that no request waits for it.
//!
//! A batch is lost in a crash, and uses beyond its bound are left out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::limits::TOKEN_USE_RESOLUTION_MS;
use model::tenant::TokenHash;
use model::time::Timestamp;

use super::store::StoreHandle;
use crate::sync::lock;
use crate::tasks;

/// The most uses that are remembered, and so written at once: some hundred kilobytes.
const REMEMBERED_MAX: usize = 4_096;

/// A batch is gathered for this long.
const GATHERED_FOR: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct TokenUsage(Mutex<UsageBuffer>);

#[derive(Default)]
struct UsageBuffer {
    /// When each token was noted.
    at: BTreeMap<TokenHash, Timestamp>,
    /// What is to be written. While there is something, a task is on its way to write it.
    unwritten: Vec<(TokenHash, Timestamp)>,
}

/// Notes that a token is used, and has it written.
pub(super) fn note(uses: &Arc<TokenUsage>, store: &StoreHandle, token: TokenHash, now: Timestamp) {
    if !uses.begins(token, now) {
        return;
    }
    let (uses, store) = (Arc::clone(uses), store.clone());
    tasks::later(async move {
        tokio::time::sleep(GATHERED_FOR).await;
        let unwritten = std::mem::take(&mut lock(&uses.0).unwritten);
        if let Err(error) = store.get().note_uses(unwritten).await {
            tracing::debug!(%error, "the use of tokens is not noted");
        }
    });
}

impl TokenUsage {
    /// Takes a use in; answers whether somebody has to write what is gathered from here on.
    fn begins(&self, token: TokenHash, now: Timestamp) -> bool {
        let mut noted = lock(&self.0);
        let latest = noted.at.get(&token).copied();
        if latest.is_some_and(|latest| (0..TOKEN_USE_RESOLUTION_MS).contains(&now.ms_since(latest)))
        {
            return false;
        }
        if noted.at.len() >= REMEMBERED_MAX {
            noted
                .at
                .retain(|_, at| (0..TOKEN_USE_RESOLUTION_MS).contains(&now.ms_since(*at)));
            if noted.at.len() >= REMEMBERED_MAX {
                return false;
            }
        }
        noted.at.insert(token, now);
        noted.unwritten.push((token, now));
        noted.unwritten.len() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_noted_once_a_minute() {
        let uses = TokenUsage::default();
        let (token, start) = (TokenHash::of("a"), Timestamp::from_millis(1_000_000));
        let at = |ms| start.plus_ms(ms);
        assert!(uses.begins(token, start));
        assert!(!uses.begins(TokenHash::of("b"), at(1)));
        for ms in [1, 59_999] {
            assert!(!uses.begins(token, at(ms)));
        }
        let unwritten = |uses: &TokenUsage| std::mem::take(&mut lock(&uses.0).unwritten);
        assert_eq!(unwritten(&uses).len(), 2);
        assert!(uses.begins(token, at(60_000)));
        // A clock that was set back notes it as well.
        assert!(!uses.begins(token, at(0)));
        assert_eq!(unwritten(&uses).len(), 2);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let uses = TokenUsage::default();
        let now = Timestamp::from_millis(1_000_000);
        for token in 0..REMEMBERED_MAX + 10 {
            uses.begins(TokenHash::of(&token.to_string()), now);
        }
        assert_eq!(lock(&uses.0).at.len(), REMEMBERED_MAX);
        assert_eq!(lock(&uses.0).unwritten.len(), REMEMBERED_MAX);
        // A minute later there is room again.
        uses.begins(TokenHash::of("new"), now.plus_ms(TOKEN_USE_RESOLUTION_MS));
        assert_eq!(lock(&uses.0).at.len(), 1);
    }
}
