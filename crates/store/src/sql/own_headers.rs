//! Own headers of webhooks: a row for each line. Values come sealed and stay so; a deleted webhook
//! has none.

use bytes::Bytes;
use model::contract::{Conflict, StoreError};
use model::id::{TenantId, WebhookId};
use model::limits::{OWN_HEADERS_BYTES_MAX, OWN_HEADERS_MAX};
use model::own_header::{OwnHeader, OwnHeaderChange, OwnHeaderId, OwnHeaderName, StoredOwnHeader};
use model::signing::SEALED_BYTES;
use model::time::Timestamp;
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, query, rows, signatures, webhook_rows};

shared_statements! {
    OF = "
        select webhook_id, name, tenant_id, sealed, set_at from own_header
        where webhook_id = ?1
        order by name";
    BEHIND = "
        select webhook_id, name, tenant_id, sealed, set_at from own_header
        where (webhook_id, name) > (?1, ?2)
        order by webhook_id, name
        limit ?3";
    ADD = "
        insert into own_header (webhook_id, name, tenant_id, sealed, set_at)
        values (?1, ?2, ?3, ?4, ?5)";
    REPLACE = "
        update own_header set sealed = ?3, set_at = ?4
        where webhook_id = ?1 and name = ?2";
    REMOVE = "delete from own_header where webhook_id = ?1 and name = ?2";
    REMOVE_ALL = "delete from own_header where webhook_id = ?1";
    RESEAL = "
        update own_header set sealed = ?4
        where webhook_id = ?1 and name = ?2 and sealed = ?3";
}

/// The own headers of a webhook of the tenant, in the order of their names.
pub(crate) fn own_headers(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
) -> Result<Vec<OwnHeader>, JobError> {
    let found = query::list(conn, OF, values![webhook.0], |row| stored(row))?;
    let own = found.into_iter().filter(|one| one.tenant == tenant);
    Ok(own.map(|one| one.header).collect())
}

/// At most `limit` of all there are, behind `after`.
pub(crate) fn behind(
    conn: Connection<'_>,
    after: Option<&OwnHeaderId>,
    limit: usize,
) -> Result<Vec<StoredOwnHeader>, JobError> {
    let (webhook, name) = after.map_or((i64::MIN, ""), |id| (id.webhook.0, id.name.as_str()));
    let limit = rows::bound(limit);
    query::list(conn, BEHIND, values![webhook, name, limit], |row| {
        stored(row)
    })
}

/// The columns of `OF`.
pub(crate) fn stored(row: &impl ReadRow) -> Result<StoredOwnHeader, JobError> {
    let name: String = row.column(1)?;
    Ok(StoredOwnHeader {
        webhook: WebhookId(row.column(0)?),
        tenant: TenantId(row.column(2)?),
        header: OwnHeader {
            name: OwnHeaderName::stored(&name),
            sealed: row.column(3)?,
            set_at: rows::time(row, 4)?,
        },
    })
}

/// Changes a line of a webhook that is there.
pub(crate) fn change(
    tx: &mut dyn Transaction,
    id: &OwnHeaderId,
    change: &OwnHeaderChange,
    actor: &str,
    at: Timestamp,
) -> Result<(), JobError> {
    if webhook_rows::find(tx.conn(), id.tenant, id.webhook)?.is_none() {
        return Err(StoreError::Stale.into());
    }
    let all = own_headers(tx.conn(), id.tenant, id.webhook)?;
    let is_there = all.iter().any(|one| one.name == id.name);
    let (webhook, name) = (id.webhook.0, id.name.as_str());
    let action = match (change, is_there) {
        (OwnHeaderChange::Add(_), true) => {
            return Err(StoreError::Conflict(Conflict::OwnHeader).into());
        }
        (OwnHeaderChange::Add(sealed), false) => {
            refuse_signed(tx, id)?;
            refuse_too_much(&all, id, sealed)?;
            let (tenant, at) = (id.tenant.0, at.as_millis());
            tx.execute(ADD, values![webhook, name, tenant, &**sealed, at])?;
            "header.added"
        }
        (_, false) => return Err(StoreError::Stale.into()),
        (OwnHeaderChange::Replace(sealed), true) => {
            refuse_too_much(&all, id, sealed)?;
            let at = at.as_millis();
            tx.execute(REPLACE, values![webhook, name, &**sealed, at])?;
            "header.changed"
        }
        (OwnHeaderChange::Remove, true) => {
            tx.execute(REMOVE, values![webhook, name])?;
            "header.removed"
        }
    };
    tx.post_commit().changed(id.webhook);
    tx.post_commit().catalog_changed();
    AuditRecord::new(id.tenant, at, actor, action)
        .about(id.webhook)
        .with(json!({ "name": name }))
        .write(tx)
}

fn refuse_signed(tx: &dyn Transaction, id: &OwnHeaderId) -> Result<(), JobError> {
    let signatures = signatures::signatures(tx.conn(), id.tenant, id.webhook)?;
    let mut headers = signatures.iter().map(|signature| signature.header());
    match headers.any(|header| header.eq_ignore_ascii_case(id.name.as_str())) {
        true => Err(StoreError::Conflict(Conflict::OwnHeaderSigned).into()),
        false => Ok(()),
    }
}

fn refuse_too_much(all: &[OwnHeader], id: &OwnHeaderId, sealed: &Bytes) -> Result<(), JobError> {
    let others = all.iter().filter(|one| one.name != id.name);
    let (mut count, mut bytes) = (1, length(&id.name, sealed));
    for other in others {
        count += 1;
        bytes += length(&other.name, &other.sealed);
    }
    if count > OWN_HEADERS_MAX {
        return Err(StoreError::Conflict(Conflict::OwnHeaders).into());
    }
    match bytes > OWN_HEADERS_BYTES_MAX {
        true => Err(StoreError::Conflict(Conflict::OwnHeaderBytes).into()),
        false => Ok(()),
    }
}

/// Of name and value.
fn length(name: &OwnHeaderName, sealed: &Bytes) -> usize {
    name.as_str().len() + sealed.len().saturating_sub(SEALED_BYTES)
}

/// What a deleted webhook was given is not kept.
pub(crate) fn remove_all(tx: &dyn Transaction, webhook: WebhookId) -> Result<(), JobError> {
    tx.execute(REMOVE_ALL, values![webhook.0])?;
    Ok(())
}

/// Puts `new` where `old` is. Answers false if it is nowhere any more.
pub(crate) fn reseal(
    tx: &mut dyn Transaction,
    id: &OwnHeaderId,
    old: &Bytes,
    new: &Bytes,
) -> Result<bool, JobError> {
    let (old, new): (&[u8], &[u8]) = (old, new);
    let changed = tx.execute(RESEAL, values![id.webhook.0, id.name.as_str(), old, new])?;
    if changed > 0 {
        tx.post_commit().changed(id.webhook);
        tx.post_commit().catalog_changed();
    }
    Ok(changed > 0)
}
