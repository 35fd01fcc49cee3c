//! The API as a value, beside those of the dialects.
//!
//! Which API answers a path, its first segment decides. This one has a segment of its own, which is
//! the name of this program and so no platform's: whatever routes a dialect has or gets, none of
//! them is here.

use std::sync::Arc;

use model::tenant::DialectName;

use super::context::Admin;
use super::{answer, routes};
use crate::dialect::value::Dialects;
use crate::gateway::api::Api;

const ROOT: &str = "willcall";

pub(crate) fn api(dialects: &Arc<Dialects>) -> Arc<Api> {
    let admin = Arc::new(Admin {
        dialects: Arc::clone(dialects),
    });
    let routes = routes::all(&admin).into_iter().map(Arc::new).collect();
    Arc::new(Api {
        name: DialectName::new(ROOT),
        roots: &[ROOT],
        routes,
        openapi: include_str!("openapi.json"),
        headers: &[],
        admit: |_| Ok(()),
        describe: |_| Box::pin(async { Ok(answer::empty()) }),
        refuse: answer::refuse,
    })
}
