//! The one test binary of this crate: what is true of the program and of the source tree.
//!
//! `cfg(test)` holds here anyway; it tells clippy that the helpers are tests, too.

#[cfg(test)]
mod receivers;
#[cfg(test)]
mod tidy;
