//! What a real pretix was seen to do, replayed, and everything this dialect adds to it.

mod declare;
mod differences;
mod explain;
mod golden;
mod intake;
mod load;
mod log;
mod many;
mod organizers;
mod policy;
mod refusals;
mod resource;
mod wire;
