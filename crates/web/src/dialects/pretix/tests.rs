//! What a real pretix was seen to do, replayed: REST exchanges in their order, and bodies of
//! calls byte for byte.

mod differences;
mod golden;
