//! What the handlers for administrators share: the dialects, by which a path's tenant is found.

use std::sync::Arc;

use model::refusal::Refusal;
use model::tenant::{DialectName, Permission, Tenant};

use crate::dialect::value::{Dialect, Dialects};
use crate::gateway::api::AdmittedRequest;

pub(super) struct Admin {
    pub(super) dialects: Arc<Dialects>,
}

impl Admin {
    /// The dialect that the path names, of those that programs speak.
    pub(super) fn dialect(&self, request: &AdmittedRequest) -> Result<Arc<Dialect>, Refusal> {
        let name = DialectName::new(request.head.param("dialect"));
        let found = self.dialects.named(&name);
        let found = found.filter(|dialect| dialect.api.is_some());
        found.ok_or(Refusal::NoSuchObject)
    }

    /// The tenant that the path names, and its dialect.
    pub(super) async fn tenant(
        &self,
        request: &AdmittedRequest,
    ) -> Result<(Tenant, Arc<Dialect>), Refusal> {
        let dialect = self.dialect(request)?;
        let name = dialect.name.clone();
        let key = request.head.param("tenant");
        let found = request.ask(|store| store.tenant(name.clone(), key.to_owned()));
        let tenant = found.await?.ok_or(Refusal::NoSuchObject)?;
        Ok((tenant, dialect))
    }
}

/// Who asks, for the audit log: the name of the administrator's token.
pub(super) fn actor(request: &AdmittedRequest) -> String {
    request.caller.administrator(Permission::TenantsWrite)
}
