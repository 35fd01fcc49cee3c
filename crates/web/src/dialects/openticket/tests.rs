//! What this dialect understands, answers and sends.

mod bounds;
mod companies;
mod declare;
mod explain;
mod intake;
mod log;
mod resource;
mod rules;
