//! The OpenAPI document against what is there: routes, answers, fields.

mod answers;
mod routes;
mod schema;

pub(super) use answers::{judge_answer, judge_body};
