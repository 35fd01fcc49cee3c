//! What a store must do, case by case, on every engine there is.

#[cfg(test)]
mod harness;
#[cfg(test)]
mod ledger;
