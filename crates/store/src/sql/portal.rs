//! Portal links, and the sessions that they begin: at one tenant, in one role.
//!
//! Secrets are stored as hashes only. A link that is used becomes its session in one transaction,
//! so it lets in once. What has expired counts for nothing, pruned or not.

use model::id::TenantId;
use model::tenant::TokenHash;
use model::time::Timestamp;
use model::users::{PortalVisitor, Role};
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::JobError;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, Row, query, rows};

shared_statements! {
    ADD = "
        insert into portal (hash, tenant_id, role, name, is_session, until)
        values (?1, ?2, ?3, ?4, ?5, ?6)
        on conflict (hash) do nothing";
    USE_LINK = "
        delete from portal where hash = ?1 and not is_session
        returning tenant_id, role, name, until";
    SESSION = "
        select tenant_id, role, name from portal
        where hash = ?1 and is_session and until > ?2";
    END_ALL = "
        delete from portal where hash in (
          select hash from portal indexed by portal_tenant where tenant_id = ?1)";
    END_SESSION = "delete from portal where hash = ?1 and is_session";
}

/// Writes nothing if the link is there already.
pub(crate) fn create_link(
    tx: &dyn Transaction,
    link: TokenHash,
    visitor: &PortalVisitor,
    until: Timestamp,
    actor: &str,
    at: Timestamp,
) -> Result<(), JobError> {
    if !add(tx, link, visitor, false, until)? {
        return Ok(());
    }
    let detail = json!({ "name": visitor.name, "role": visitor.role.as_str() });
    AuditRecord::new(visitor.tenant, at, actor, "portal_link.created")
        .with(detail)
        .write(tx)
}

fn add(
    tx: &dyn Transaction,
    hash: TokenHash,
    visitor: &PortalVisitor,
    is_session: bool,
    until: Timestamp,
) -> Result<bool, JobError> {
    let added = tx.execute(
        ADD,
        values![
            hash.0,
            visitor.tenant.0,
            rows::role_number(visitor.role),
            visitor.name,
            is_session,
            until.as_millis(),
        ],
    )?;
    Ok(added > 0)
}

pub(crate) fn use_link(
    tx: &dyn Transaction,
    link: TokenHash,
    session: TokenHash,
    until: Timestamp,
    at: Timestamp,
) -> Result<Option<PortalVisitor>, JobError> {
    let used = query::first(tx.conn(), USE_LINK, values![link.0], |row| {
        Ok::<_, JobError>((visitor(row)?, rows::time(row, 3)?))
    })?;
    let Some((visitor, link_until)) = used else {
        // The question may have been repeated.
        return self::session(tx.conn(), session, at);
    };
    if link_until <= at {
        return Ok(None);
    }
    add(tx, session, &visitor, true, until)?;
    let actor = visitor.actor();
    AuditRecord::new(visitor.tenant, at, &actor, "portal.signed_in")
        .with(json!({ "role": visitor.role.as_str() }))
        .write(tx)?;
    Ok(Some(visitor))
}

pub(crate) fn session(
    conn: Connection<'_>,
    session: TokenHash,
    at: Timestamp,
) -> Result<Option<PortalVisitor>, JobError> {
    query::first(conn, SESSION, values![session.0, at.as_millis()], visitor)
}

pub(crate) fn end_session(tx: &dyn Transaction, session: TokenHash) -> Result<(), JobError> {
    tx.execute(END_SESSION, values![session.0])?;
    Ok(())
}

/// Ends all links and sessions of a tenant.
pub(crate) fn end(
    tx: &dyn Transaction,
    tenant: TenantId,
    actor: &str,
    at: Timestamp,
) -> Result<(), JobError> {
    let ended = tx.execute(END_ALL, values![tenant.0])?;
    if ended == 0 {
        return Ok(());
    }
    AuditRecord::new(tenant, at, actor, "portal.ended")
        .with(json!({ "count": ended }))
        .write(tx)
}

/// `tenant_id, role, name` from 0 on.
fn visitor(row: &Row<'_>) -> Result<PortalVisitor, JobError> {
    let role: Role = rows::role(row.get(1)?)?;
    Ok(PortalVisitor {
        tenant: TenantId(row.get(0)?),
        role,
        name: row.get(2)?,
    })
}
