//! Both engines are each other's oracle: a history that is drawn from a seed is done to both, and
//! every answer has to be the same but for the numbers that a store gives to things.

mod catalog;
mod deliveries;
mod draw;
mod history;
mod pair;
mod people;
mod questions;
mod runs;
mod sameness;
