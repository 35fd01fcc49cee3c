//! What webhooks have of their own for TLS: a row for the client certificate, one for CA
//! certificates. Private keys come sealed and stay so; a deleted webhook has none of it.

use bytes::Bytes;
use model::certificate;
use model::contract::StoreError;
use model::id::{TenantId, WebhookId};
use model::time::Timestamp;
use model::webhook_tls::{
    CaCertificates, ClientCertificate, ClientKeyId, StoredClientKey, TlsItem, WebhookTls,
    WebhookTlsChange,
};
use serde_json::{Value, json};

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, query, rows, webhook_rows};

shared_statements! {
    OF = "
        select webhook_id, item, tenant_id, certificates, sealed, set_at from webhook_tls
        where webhook_id = ?1
        order by item";
    KEYS_BEHIND = "
        select webhook_id, tenant_id, sealed from webhook_tls
        where webhook_id > ?1 and item = 1 and sealed is not null
        order by webhook_id
        limit ?2";
    ADD = "
        insert into webhook_tls (webhook_id, item, tenant_id, certificates, sealed, set_at)
        values (?1, ?2, ?3, ?4, ?5, ?6)";
    REPLACE = "
        update webhook_tls set tenant_id = ?3, certificates = ?4, sealed = ?5, set_at = ?6
        where webhook_id = ?1 and item = ?2";
    REMOVE = "delete from webhook_tls where webhook_id = ?1 and item = ?2";
    REMOVE_ALL = "delete from webhook_tls where webhook_id = ?1";
    RESEAL = "
        update webhook_tls set sealed = ?3
        where webhook_id = ?1 and item = 1 and sealed = ?2";
}

/// A row.
pub(crate) struct StoredItem {
    pub(crate) webhook: WebhookId,
    tenant: TenantId,
    item: TlsItem,
    certificates: Bytes,
    sealed: Bytes,
    set_at: Timestamp,
}

impl StoredItem {
    pub(crate) fn add_to(self, tls: &mut WebhookTls) {
        let (certificates, set_at) = (self.certificates, self.set_at);
        match self.item {
            TlsItem::ClientCertificate => {
                tls.client = Some(ClientCertificate {
                    chain: certificates,
                    sealed: self.sealed,
                    set_at,
                });
            }
            TlsItem::CaCertificates => {
                tls.ca = Some(CaCertificates {
                    certificates,
                    set_at,
                });
            }
        }
    }
}

/// What a webhook of the tenant has.
pub(crate) fn webhook_tls(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
) -> Result<WebhookTls, JobError> {
    let found = query::list(conn, OF, values![webhook.0], |row| stored(row))?;
    let mut tls = WebhookTls::default();
    for item in found.into_iter().filter(|one| one.tenant == tenant) {
        item.add_to(&mut tls);
    }
    Ok(tls)
}

/// At most `limit` of all private keys there are, behind `after`.
pub(crate) fn behind(
    conn: Connection<'_>,
    after: Option<ClientKeyId>,
    limit: usize,
) -> Result<Vec<StoredClientKey>, JobError> {
    let webhook = after.map_or(i64::MIN, |id| id.webhook.0);
    let limit = rows::bound(limit);
    query::list(conn, KEYS_BEHIND, values![webhook, limit], |row| {
        Ok(StoredClientKey {
            id: ClientKeyId {
                webhook: WebhookId(row.column(0)?),
                tenant: TenantId(row.column(1)?),
            },
            sealed: row.column(2)?,
        })
    })
}

/// The columns of `OF`.
pub(crate) fn stored(row: &impl ReadRow) -> Result<StoredItem, JobError> {
    Ok(StoredItem {
        webhook: WebhookId(row.column(0)?),
        item: rows::tls_item(row.column(1)?)?,
        tenant: TenantId(row.column(2)?),
        certificates: row.column(3)?,
        sealed: row.column::<Option<Bytes>>(4)?.unwrap_or_default(),
        set_at: rows::time(row, 5)?,
    })
}

/// Changes what a webhook that is there has.
pub(crate) fn change(
    tx: &mut dyn Transaction,
    id: ClientKeyId,
    change: &WebhookTlsChange,
    actor: &str,
    at: Timestamp,
) -> Result<(), JobError> {
    if webhook_rows::find(tx.conn(), id.tenant, id.webhook)?.is_none() {
        return Err(StoreError::Stale.into());
    }
    let known = webhook_tls(tx.conn(), id.tenant, id.webhook)?;
    let (item, given) = match change {
        WebhookTlsChange::SetClientCertificate { chain, sealed } => {
            (TlsItem::ClientCertificate, Some((chain, Some(sealed))))
        }
        WebhookTlsChange::SetCaCertificates(all) => (TlsItem::CaCertificates, Some((all, None))),
        WebhookTlsChange::Remove(item) => (*item, None),
    };
    let is_there = match item {
        TlsItem::ClientCertificate => known.client.is_some(),
        TlsItem::CaCertificates => known.ca.is_some(),
    };
    let (webhook, number) = (id.webhook.0, rows::tls_item_number(item));
    match given {
        None if !is_there => return Err(StoreError::Stale.into()),
        None => {
            tx.execute(REMOVE, values![webhook, number])?;
        }
        Some((certificates, sealed)) => {
            let certificates: &[u8] = certificates;
            let sealed: Option<&[u8]> = sealed.map(|sealed| &**sealed);
            let (tenant, set_at) = (id.tenant.0, at.as_millis());
            let values = values![webhook, number, tenant, certificates, sealed, set_at];
            tx.execute(if is_there { REPLACE } else { ADD }, values)?;
        }
    }
    tx.post_commit().changed(id.webhook);
    tx.post_commit().catalog_changed();
    let before = match item {
        TlsItem::ClientCertificate => known.client.as_ref().map(|client| &client.chain),
        TlsItem::CaCertificates => known.ca.as_ref().map(|ca| &ca.certificates),
    };
    let after = given.map(|(certificates, _)| certificates);
    AuditRecord::new(
        id.tenant,
        at,
        actor,
        action(item, given.is_some(), is_there),
    )
    .about(id.webhook)
    .with(json!({ "before": shown(before), "after": shown(after) }))
    .write(tx)
}

/// What is told of certificates: the first one's fingerprint.
fn shown(certificates: Option<&Bytes>) -> Value {
    let all = certificates.and_then(|stored| certificate::of_stored(stored));
    let first = all.as_deref().and_then(<[_]>::first);
    json!({ "fingerprint": first.map(|first| first.fingerprint()) })
}

fn action(item: TlsItem, is_given: bool, was_there: bool) -> &'static str {
    match (item, is_given, was_there) {
        (TlsItem::ClientCertificate, true, false) => "client_certificate.added",
        (TlsItem::ClientCertificate, true, true) => "client_certificate.changed",
        (TlsItem::ClientCertificate, false, _) => "client_certificate.removed",
        (TlsItem::CaCertificates, true, false) => "ca_certificates.added",
        (TlsItem::CaCertificates, true, true) => "ca_certificates.changed",
        (TlsItem::CaCertificates, false, _) => "ca_certificates.removed",
    }
}

/// What a deleted webhook was given is not kept.
pub(crate) fn remove_all(tx: &dyn Transaction, webhook: WebhookId) -> Result<(), JobError> {
    tx.execute(REMOVE_ALL, values![webhook.0])?;
    Ok(())
}

/// Puts `new` where `old` is. Answers false if it is nowhere any more.
pub(crate) fn reseal(
    tx: &mut dyn Transaction,
    id: ClientKeyId,
    old: &Bytes,
    new: &Bytes,
) -> Result<bool, JobError> {
    let (old, new): (&[u8], &[u8]) = (old, new);
    let changed = tx.execute(RESEAL, values![id.webhook.0, old, new])?;
    if changed > 0 {
        tx.post_commit().changed(id.webhook);
        tx.post_commit().catalog_changed();
    }
    Ok(changed > 0)
}
