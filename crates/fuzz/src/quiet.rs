//! Panics of a property are caught with their words and place, and printed by nobody: while a
//! failing input is made simpler it fails hundreds of times.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// What the latest panic of a property in this thread said; nothing outside of one.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `property`. If it panics, returns its words and where it was. Panics in other threads, and
/// in this one at other times, are printed as ever.
pub(crate) fn catch(property: impl FnOnce()) -> Result<(), String> {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            let quiet = SAID.with_borrow_mut(|said| {
                let quiet = said.as_mut();
                quiet.map(|said| *said = panic.to_string()).is_some()
            });
            if !quiet {
                usual(panic);
            }
        }));
    });
    let before = SAID.replace(Some(String::new()));
    let ended = catch_unwind(AssertUnwindSafe(property));
    let said = SAID.replace(before).unwrap_or_default();
    ended.map_err(|_| said)
}
