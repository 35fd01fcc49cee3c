//! The real binary on real sockets: what a user sees, what survives a kill; the receivers of the
//! guide; and the properties of the source tree.

mod full;
mod harness;
mod kill;
mod receivers;
mod smoke;
mod tidy;
