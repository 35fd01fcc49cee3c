//! The sealed secrets of a store, read without opening it: for `willcall doctor`, which changes
//! nothing and may run beside a server. Page by page, so that it takes no more memory with many.

use std::path::Path;

use model::contract::{SealedId, SealedSecret};
use model::own_header::OwnHeaderId;
use model::signing::SignatureId;
use model::webhook_tls::StoredClientKey;

use crate::inspect::for_reading;
use crate::postgres::apart::apart;
use crate::postgres::connection::PostgresConnection;
use crate::postgres::migrate;
use crate::postgres::open::broken;
use crate::postgres::session::Session;
use crate::sql::job_error::JobError;
use crate::sql::{Connection, own_headers, signatures, webhook_tls};
use crate::{DatabaseSettings, OpenError, migrate as migrations};

const PAGE: usize = 100;

/// The versions of a file's schema that brought signatures, own headers, and client certificates.
const SIGNATURES: u32 = 9;
const OWN_HEADERS: u32 = 10;
const WEBHOOK_TLS: u32 = 13;

/// Hands each sealed secret of a file to `each`.
pub fn each_sealed(path: &Path, each: &mut dyn FnMut(SealedSecret)) -> Result<(), OpenError> {
    let conn = for_reading(path)?;
    let version = migrations::version(&conn).map_err(|error| OpenError::of(path, error))?;
    let conn = Connection::from(&conn);
    let mut read = || {
        if version >= SIGNATURES {
            each_key(conn, each)?;
        }
        if version >= OWN_HEADERS {
            each_header(conn, each)?;
        }
        if version >= WEBHOOK_TLS {
            each_client_key(conn, each)?;
        }
        Ok(())
    };
    read().map_err(|error| match error {
        JobError::Sqlite(error) => OpenError::of(path, error),
        error @ (JobError::Postgres(_) | JobError::Store(_) | JobError::Refused(_)) => {
            OpenError::Damaged(path.to_owned(), format!("{error:?}"))
        }
    })
}

/// The same of a database whose schema is up to date; of any other nothing.
pub fn each_sealed_in_database(
    settings: &DatabaseSettings,
    each: &mut (dyn FnMut(SealedSecret) + Send),
) -> Result<(), OpenError> {
    apart(|| {
        let session = Session::open(settings, "willcall doctor")?;
        let versions = migrate::preview(&session)?;
        if versions.before != versions.after {
            return Ok(());
        }
        let conn = PostgresConnection::new(session);
        let read = each_key((&conn).into(), each);
        let read = read.and_then(|()| each_header((&conn).into(), each));
        let read = read.and_then(|()| each_client_key((&conn).into(), each));
        read.map_err(|error| match error {
            JobError::Postgres(error) => migrate::failure(conn.session(), broken(error)),
            error @ (JobError::Sqlite(_) | JobError::Store(_) | JobError::Refused(_)) => {
                OpenError::Migration {
                    schema: conn.session().facts().schema.clone(),
                    words: format!("{error:?}"),
                }
            }
        })
    })
}

fn each_key(conn: Connection<'_>, each: &mut dyn FnMut(SealedSecret)) -> Result<(), JobError> {
    let mut after = None;
    loop {
        let page = signatures::behind(conn, after, PAGE)?;
        let is_last = page.len() < PAGE;
        for row in page {
            let id = SignatureId {
                tenant: row.tenant,
                webhook: row.webhook,
                profile: row.signature.profile,
            };
            let former = row.signature.former.map(|former| former.key);
            for key in std::iter::once(row.signature.key).chain(former) {
                let id = SealedId::Signature(id);
                let sealed = key.sealed;
                each(SealedSecret { id, sealed });
            }
            after = Some(id);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn each_header(conn: Connection<'_>, each: &mut dyn FnMut(SealedSecret)) -> Result<(), JobError> {
    let mut after: Option<OwnHeaderId> = None;
    loop {
        let page = own_headers::behind(conn, after.as_ref(), PAGE)?;
        let is_last = page.len() < PAGE;
        for row in page {
            let id = OwnHeaderId {
                tenant: row.tenant,
                webhook: row.webhook,
                name: row.header.name,
            };
            after = Some(id.clone());
            let (id, sealed) = (SealedId::Header(id), row.header.sealed);
            each(SealedSecret { id, sealed });
        }
        if is_last {
            return Ok(());
        }
    }
}

fn each_client_key(
    conn: Connection<'_>,
    each: &mut dyn FnMut(SealedSecret),
) -> Result<(), JobError> {
    let mut after = None;
    loop {
        let page = webhook_tls::behind(conn, after, PAGE)?;
        let is_last = page.len() < PAGE;
        for StoredClientKey { id, sealed } in page {
            after = Some(id);
            let id = SealedId::ClientKey(id);
            each(SealedSecret { id, sealed });
        }
        if is_last {
            return Ok(());
        }
    }
}
