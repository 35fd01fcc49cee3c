//! What a reader sees of all deliveries: which of them have rows.
//!
//! An unattempted delivery may stand in its notification's own row (SQLite), or still have to be
//! spread over its webhooks.

use model::contract::{DiskFault, StoreError};
use model::id::{NotificationId, TenantId};

use crate::sql::job_error::JobError;
use crate::sql::{Connection, query};

shared_statements! {
    FIRST_OF = "
        select w.notification_id from listing l
        join wide w on w.listing_id = l.id
        where l.tenant_id = ?1
        order by l.id, w.notification_id
        limit 1";
}

/// What a reader sees of all deliveries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadHorizon {
    /// Up to and with this notification it sees everything; of later ones only what was attempted.
    pub(crate) upto: NotificationId,
    /// Why inline deliveries could not be materialized.
    pub(crate) lacks: Option<DiskFault>,
}

impl ReadHorizon {
    /// That of a store in which every delivery but those of the fan-out has a row.
    pub(crate) const ALL: Self = Self {
        upto: NotificationId(i64::MAX),
        lacks: None,
    };

    /// The same for one tenant, of which less may be materialized.
    pub(crate) fn of(self, conn: Connection<'_>, tenant: TenantId) -> Result<Self, JobError> {
        let upto = match first_of(conn, tenant)? {
            Some(first) => self.upto.min(NotificationId(first.0 - 1)),
            None => self.upto,
        };
        Ok(Self { upto, ..self })
    }

    /// Whether a reader sees everything.
    pub(crate) fn is_all(self) -> bool {
        self.upto.0 == i64::MAX
    }

    /// A delivery was not found. An error if it may exist all the same.
    pub(crate) fn not_found(self, id: NotificationId) -> Result<(), JobError> {
        match self.lacks {
            Some(fault) if id > self.upto => Err(StoreError::Disk(fault).into()),
            Some(_) | None => Ok(()),
        }
    }
}

/// The first of the tenant's notifications that is not fully materialized.
pub(crate) fn first_of(
    conn: Connection<'_>,
    tenant: TenantId,
) -> Result<Option<NotificationId>, JobError> {
    query::first(conn, FIRST_OF, values![tenant.0], |row| {
        Ok(NotificationId(row.get(0)?))
    })
}
