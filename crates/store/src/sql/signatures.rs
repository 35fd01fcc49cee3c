//! How calls of webhooks are signed: a row for each profile that a webhook has. Keys come sealed
//! and stay so; a deleted webhook has none.

use bytes::Bytes;
use model::contract::{Conflict, StoreError};
use model::id::{TenantId, WebhookId};
use model::own_header::OwnHeaderName;
use model::signing::{
    FormerKey, NewSignature, SealedKey, Signature, SignatureChange, SignatureId, StoredSignature,
};
use model::time::Timestamp;
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, query, rows, webhook_rows};

shared_statements! {
    OF = "
        select g.webhook_id, g.profile, g.tenant_id, g.header, g.svix, g.sealed, g.public_key,
          g.made_at, g.former_sealed, g.former_public_key, g.former_made_at, g.former_until,
          (select ended_at from standing where webhook_id = g.webhook_id), g.key_set
        from signature g
        where g.webhook_id = ?1
        order by g.profile";
    BEHIND = "
        select g.webhook_id, g.profile, g.tenant_id, g.header, g.svix, g.sealed, g.public_key,
          g.made_at, g.former_sealed, g.former_public_key, g.former_made_at, g.former_until,
          (select ended_at from standing where webhook_id = g.webhook_id), g.key_set
        from signature g
        where (g.webhook_id, g.profile) > (?1, ?2)
        order by g.webhook_id, g.profile
        limit ?3";
    IS_OWN_HEADER = "select 1 from own_header where webhook_id = ?1 and name = ?2";
    PUBLISHED = "
        select g.webhook_id, g.profile, g.tenant_id, g.header, g.svix, g.sealed, g.public_key,
          g.made_at, g.former_sealed, g.former_public_key, g.former_made_at, g.former_until,
          (select ended_at from standing where webhook_id = g.webhook_id), g.key_set
        from signature g
        where g.key_set = ?1";
    ADD = "
        insert into signature
          (webhook_id, profile, tenant_id, header, svix, sealed, public_key, made_at, key_set)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    ROTATE = "
        update signature
        set former_sealed = sealed, former_public_key = public_key, former_made_at = made_at,
          former_until = ?3, sealed = ?4, public_key = ?5, made_at = ?6
        where webhook_id = ?1 and profile = ?2";
    END_FORMER = "
        update signature
        set former_sealed = null, former_public_key = null, former_made_at = null,
          former_until = null
        where webhook_id = ?1 and profile = ?2";
    REMOVE = "delete from signature where webhook_id = ?1 and profile = ?2";
    REMOVE_ALL = "delete from signature where webhook_id = ?1";
    RESEAL = "
        update signature set sealed = ?4
        where webhook_id = ?1 and profile = ?2 and sealed = ?3";
    RESEAL_FORMER = "
        update signature set former_sealed = ?4
        where webhook_id = ?1 and profile = ?2 and former_sealed = ?3";
}

/// The signatures of a webhook of the tenant, in the order of their profiles.
pub(crate) fn signatures(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
) -> Result<Vec<Signature>, JobError> {
    let found = query::list(conn, OF, values![webhook.0], |row| stored(row))?;
    let own = found.into_iter().filter(|one| one.tenant == tenant);
    Ok(own.map(|one| one.signature).collect())
}

/// At most `limit` of all there are, behind `after`.
pub(crate) fn behind(
    conn: Connection<'_>,
    after: Option<SignatureId>,
    limit: usize,
) -> Result<Vec<StoredSignature>, JobError> {
    let (webhook, profile) = after.map_or((i64::MIN, 0), |id| {
        (id.webhook.0, rows::profile_number(id.profile))
    });
    let limit = rows::bound(limit);
    query::list(conn, BEHIND, values![webhook, profile, limit], |row| {
        stored(row)
    })
}

/// The signature whose public keys are published under this name.
pub(crate) fn published(
    conn: Connection<'_>,
    key_set: &str,
) -> Result<Option<Signature>, JobError> {
    let found = query::first(conn, PUBLISHED, values![key_set], |row| stored(row))?;
    Ok(found.map(|one| one.signature))
}

/// The columns of `OF`.
pub(crate) fn stored(row: &impl ReadRow) -> Result<StoredSignature, JobError> {
    let called_at = rows::time_if_any(row, 12)?;
    let former = rows::time_if_any(row, 11)?.map(|until| {
        let key = key(row, 8)?;
        let used_at = called_at.filter(|at| *at >= key.made_at);
        Ok::<_, JobError>(FormerKey {
            used_at: used_at.map(|at| at.min(until)),
            key,
            until,
        })
    });
    Ok(StoredSignature {
        webhook: WebhookId(row.column(0)?),
        tenant: TenantId(row.column(2)?),
        signature: Signature {
            profile: rows::profile(row.column(1)?)?,
            header: row.column(3)?,
            svix: row.column(4)?,
            key_set: row.column(13)?,
            key: key(row, 5)?,
            former: former.transpose()?,
        },
    })
}

/// `sealed, public_key, made_at` from this column on.
fn key(row: &impl ReadRow, at: usize) -> Result<SealedKey, JobError> {
    Ok(SealedKey {
        sealed: row.column(at)?,
        public: row.column(at + 1)?,
        made_at: rows::time(row, at + 2)?,
    })
}

/// Changes a signature of a webhook that is there.
pub(crate) fn change(
    tx: &mut dyn Transaction,
    id: SignatureId,
    change: SignatureChange,
    actor: &str,
    at: Timestamp,
) -> Result<(), JobError> {
    if webhook_rows::find(tx.conn(), id.tenant, id.webhook)?.is_none() {
        return Err(StoreError::Stale.into());
    }
    let all = signatures(tx.conn(), id.tenant, id.webhook)?;
    let found = all.iter().find(|one| one.profile == id.profile);
    let (webhook, profile) = (id.webhook.0, rows::profile_number(id.profile));
    let mut detail = json!({ "profile": id.profile.as_str() });
    let action = match (change, found) {
        (SignatureChange::Add(_), Some(_)) => {
            return Err(StoreError::Conflict(Conflict::SignatureProfile).into());
        }
        (SignatureChange::Add(new), None) => {
            add(tx, id, &new, &all)?;
            "signature.added"
        }
        (_, None) => return Err(StoreError::Stale.into()),
        (SignatureChange::Rotate { key, until }, Some(found)) => {
            if found
                .former
                .as_ref()
                .is_some_and(|former| at < former.until)
            {
                return Err(StoreError::Conflict(Conflict::FormerKey).into());
            }
            let (until, made_at) = (until.as_millis(), key.made_at.as_millis());
            let sealed = &*key.sealed;
            tx.execute(
                ROTATE,
                values![webhook, profile, until, sealed, key.public, made_at],
            )?;
            detail = json!({ "profile": id.profile.as_str(), "until": until });
            "signature.rotated"
        }
        (SignatureChange::EndFormer, Some(found)) => {
            let former = found.former.as_ref().ok_or(StoreError::Stale)?;
            tx.execute(END_FORMER, values![webhook, profile])?;
            let used_at = former.used_at.map(Timestamp::as_millis);
            detail = json!({ "profile": id.profile.as_str(), "used_at": used_at });
            "signature.former_ended"
        }
        (SignatureChange::Remove, Some(_)) => {
            tx.execute(REMOVE, values![webhook, profile])?;
            "signature.removed"
        }
    };
    tx.post_commit().changed(id.webhook);
    tx.post_commit().catalog_changed();
    AuditRecord::new(id.tenant, at, actor, action)
        .about(id.webhook)
        .with(detail)
        .write(tx)
}

fn add(
    tx: &dyn Transaction,
    id: SignatureId,
    new: &NewSignature,
    others: &[Signature],
) -> Result<(), JobError> {
    let header = new.header.as_deref().unwrap_or_else(|| id.profile.header());
    let is_taken = |other: &Signature| {
        let both_standard = other.profile.is_standard() && id.profile.is_standard();
        !both_standard && other.header().eq_ignore_ascii_case(header)
    };
    let own = OwnHeaderName::stored(&header.to_ascii_lowercase());
    let (webhook, own) = (id.webhook.0, own.as_str());
    let is_own = query::exists(tx.conn(), IS_OWN_HEADER, values![webhook, own])?;
    if is_own || others.iter().any(is_taken) {
        return Err(StoreError::Conflict(Conflict::SignatureHeader).into());
    }
    tx.execute(
        ADD,
        values![
            id.webhook.0,
            rows::profile_number(id.profile),
            id.tenant.0,
            new.header,
            new.svix,
            &*new.key.sealed,
            new.key.public,
            new.key.made_at.as_millis(),
            new.key_set,
        ],
    )?;
    Ok(())
}

/// What a deleted webhook signed with is not kept.
pub(crate) fn remove_all(tx: &dyn Transaction, webhook: WebhookId) -> Result<(), JobError> {
    tx.execute(REMOVE_ALL, values![webhook.0])?;
    Ok(())
}

/// Puts `new` where `old` is. Answers false if it is nowhere any more.
pub(crate) fn reseal(
    tx: &mut dyn Transaction,
    id: SignatureId,
    old: &Bytes,
    new: &Bytes,
) -> Result<bool, JobError> {
    let profile = rows::profile_number(id.profile);
    let (old, new): (&[u8], &[u8]) = (old, new);
    let mut changed = 0;
    for statement in [RESEAL, RESEAL_FORMER] {
        changed += tx.execute(statement, values![id.webhook.0, profile, old, new])?;
    }
    if changed > 0 {
        tx.post_commit().changed(id.webhook);
        tx.post_commit().catalog_changed();
    }
    Ok(changed > 0)
}
