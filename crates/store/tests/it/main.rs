//! What a store must do, case by case. Every case runs on a fresh store.

#[cfg(test)]
mod apply;
#[cfg(test)]
mod catalog;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod prune;
#[cfg(test)]
mod requeue;
#[cfg(test)]
mod settle;
