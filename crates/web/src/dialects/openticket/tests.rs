//! What this dialect understands, answers and sends.

mod companies;
mod declare;
mod intake;
mod log;
mod resource;
mod rules;
