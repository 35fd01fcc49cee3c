//! The OpenAPI document: joined from the parts of all APIs, and served.

mod document;
mod serve;

pub(crate) use document::document;
pub(crate) use serve::{OpenApi, PATH, serve};
