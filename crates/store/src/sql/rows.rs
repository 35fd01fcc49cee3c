//! Rows and the model: the numbers that stand for states, causes and kinds, and how columns are
//! read.
//!
//! A number is for ever: it is in every file out there. Anything else found in a row is a
//! `CorruptRow`, never a guess.

use bytes::Bytes;
use model::attempt::{BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::cloud_event::CloudEventMode;
use model::dashboard::BulkJobKind;
use model::delivery::{CancelCause, DeliveryState};
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::incident::IncidentKind;
use model::signing::Profile;
use model::tenant::{DialectName, Event, Grant, Tenant, TokenHash, TokenKind};
use model::time::Timestamp;
use model::users::Role;
use model::webhook::{DisableCause, Disablement, Headers, Webhook};
use model::webhook_tls::TlsItem;

use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::{ColumnName, ReadRow, Row};

/// The number of each variant, and the variant of each number.
macro_rules! numbered {
    (
        $kind:ident, $to:ident, $of:ident, $what:literal:
        $($variant:ident = $number:literal,)+
    ) => {
        pub(crate) fn $to(value: $kind) -> i64 {
            match value {
                $($kind::$variant => $number,)+
            }
        }

        pub(crate) fn $of(number: i64) -> Result<$kind, CorruptRow> {
            match number {
                $($number => Ok($kind::$variant),)+
                _ => Err(CorruptRow($what)),
            }
        }
    };
}

/// Pending, and attempted before.
pub(crate) const RETRYING: i64 = 0;
pub(crate) const DELIVERED: i64 = 1;
pub(crate) const FAILED: i64 = 2;
pub(crate) const CANCELLED: i64 = 3;
/// Pending and never attempted, with a due time. An unattempted delivery without a row counts as
/// this, too.
pub(crate) const UNATTEMPTED: i64 = 4;

/// The state after an attempt, and its cause.
pub(crate) fn state_number(state: DeliveryState) -> (i64, Option<i64>) {
    match state {
        DeliveryState::Pending => (RETRYING, None),
        DeliveryState::Delivered => (DELIVERED, None),
        DeliveryState::Failed => (FAILED, None),
        DeliveryState::Cancelled(cause) => (CANCELLED, Some(cause_number(cause))),
    }
}

pub(crate) fn state(number: i64, cause: Option<i64>) -> Result<DeliveryState, CorruptRow> {
    match (number, cause) {
        (RETRYING | UNATTEMPTED, None) => Ok(DeliveryState::Pending),
        (DELIVERED, None) => Ok(DeliveryState::Delivered),
        (FAILED, None) => Ok(DeliveryState::Failed),
        (CANCELLED, Some(number)) => cause_of(number).map(DeliveryState::Cancelled),
        _ => Err(CorruptRow("state")),
    }
}

numbered! {
    CancelCause, cause_number, cause_of, "cause":
    WebhookDisabled = 1,
    ReceiverGone = 2,
    WebhookDeleted = 3,
    Requested = 4,
}

/// Why deliveries are cancelled when their webhook is disabled for this reason.
pub(crate) fn cancel_cause(cause: DisableCause) -> CancelCause {
    match cause {
        DisableCause::Requested => CancelCause::WebhookDisabled,
        DisableCause::Gone => CancelCause::ReceiverGone,
        DisableCause::Deleted => CancelCause::WebhookDeleted,
    }
}

numbered! {
    DisableCause, disabled_number, disabled_cause, "reason for being disabled":
    Requested = 1,
    Gone = 2,
    Deleted = 3,
}

numbered! {
    TokenKind, token_kind_number, kind, "kind of token":
    Program = 1,
    Device = 2,
}

numbered! {
    Role, role_number, role, "role":
    Look = 1,
    Edit = 2,
    Administer = 3,
}

numbered! {
    BulkJobKind, bulk_job_number, bulk_job_kind, "kind of bulk job":
    ReplayUndelivered = 1,
    CancelPending = 2,
    ReplayMatching = 3,
}

numbered! {
    IncidentKind, incident_number, incident_kind, "kind of incident":
    Failing = 1,
    Gone = 2,
    Disk = 3,
    Clock = 4,
    Deliveries = 5,
    Backlog = 6,
}

numbered! {
    FailureKind, failure_number, failure_kind, "outcome":
    BadTarget = 1,
    LookUp = 2,
    Forbidden = 3,
    Connect = 4,
    Tls = 5,
    TimeLimit = 6,
    Closed = 7,
    Garbled = 8,
    Short = 9,
    Stale = 10,
    Unsigned = 11,
    SealedHeader = 12,
    TlsSettings = 13,
    Handshake = 14,
}

numbered! {
    TlsItem, tls_item_number, tls_item, "item":
    ClientCertificate = 1,
    CaCertificates = 2,
}

numbered! {
    CloudEventMode, cloud_event_number, cloud_event_mode, "cloud_events":
    Binary = 1,
    Structured = 2,
}

numbered! {
    Profile, profile_number, profile, "profile":
    Standard = 1,
    StandardEd25519 = 2,
    Github = 3,
    Stripe = 4,
    Rfc9421Ed25519 = 5,
    Rfc9421EcdsaP256Sha256 = 6,
    Rfc9421HmacSha256 = 7,
}

/// `None` for a body that was read to its end, as most are.
pub(crate) fn body_end_number(end: BodyEnd) -> Option<i64> {
    match end {
        BodyEnd::Whole => None,
        BodyEnd::Cut => Some(1),
        BodyEnd::Broken => Some(2),
        BodyEnd::TimeUp => Some(3),
    }
}

/// The columns `status, failure, detail, headers, body_end` from `at` on, and the body beside.
pub(crate) fn outcome(row: &impl ReadRow, at: usize, body: Bytes) -> Result<Outcome, JobError> {
    let status: Option<u16> = row.column(at)?;
    let Some(status) = status else {
        let number: Option<i64> = row.column(at + 1)?;
        let kind = failure_kind(number.ok_or(CorruptRow("outcome"))?)?;
        let detail: Option<String> = row.column(at + 2)?;
        return Ok(Outcome::Failed(Failure::new(
            kind,
            detail.unwrap_or_default(),
        )));
    };
    let end: Option<i64> = row.column(at + 4)?;
    let body_end = BodyEnd::ALL
        .into_iter()
        .find(|known| body_end_number(*known) == end)
        .ok_or(CorruptRow("end of a body"))?;
    Ok(Outcome::Answered(HttpResponse {
        status,
        headers: headers(row, at + 3)?,
        body,
        body_end,
        note: row.column::<Option<String>>(at + 2)?.map(Into::into),
    }))
}

/// A blob; null is an empty one.
pub(crate) fn bytes(row: &impl ReadRow, at: impl ColumnName) -> Result<Bytes, JobError> {
    row.column(at)
}

pub(crate) fn headers(row: &impl ReadRow, at: impl ColumnName) -> Result<Headers, JobError> {
    Ok(Headers(bytes(row, at)?))
}

/// Null instead of an empty blob.
pub(crate) fn blob(bytes: &Bytes) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

pub(crate) fn time(row: &impl ReadRow, at: impl ColumnName) -> Result<Timestamp, JobError> {
    Ok(Timestamp::from_millis(row.column(at)?))
}

pub(crate) fn time_if_any(
    row: &impl ReadRow,
    at: impl ColumnName,
) -> Result<Option<Timestamp>, JobError> {
    Ok(row.column::<Option<i64>>(at)?.map(Timestamp::from_millis))
}

pub(crate) fn hash(row: &impl ReadRow, at: usize) -> Result<TokenHash, JobError> {
    Ok(TokenHash(row.column(at)?))
}

/// `notification_id, webhook_id` from 0 on.
pub(crate) fn delivery_id(row: &impl ReadRow) -> Result<DeliveryId, JobError> {
    Ok(DeliveryId {
        notification: NotificationId(row.column(0)?),
        webhook: WebhookId(row.column(1)?),
    })
}

/// `id, dialect, key, name` from `at` on.
pub(crate) fn tenant(row: &Row<'_>, at: usize) -> Result<Tenant, JobError> {
    Ok(Tenant {
        id: TenantId(row.column(at)?),
        dialect: dialect(row, at + 1)?,
        key: row.column(at + 2)?,
        name: row.column(at + 3)?,
    })
}

pub(crate) fn dialect(row: &impl ReadRow, at: impl ColumnName) -> Result<DialectName, JobError> {
    Ok(DialectName::new(&row.cell(at)?.text()?))
}

/// `slug, name, date_from` from 0 on.
pub(crate) fn event(row: &Row<'_>) -> Result<Event, JobError> {
    Ok(Event {
        slug: row.column(0)?,
        name: row.column(1)?,
        date_from: time_if_any(row, 2)?,
    })
}

/// `name, kind, permissions, active, is_default`, and the columns of `tenant`, from 0 on.
pub(crate) fn grant(row: &Row<'_>) -> Result<Grant, JobError> {
    let permissions = row.cell(2)?.text()?;
    Ok(Grant {
        name: row.column(0)?,
        tenant: match row.column::<Option<i64>>(5)? {
            Some(_) => Some(tenant(row, 5)?),
            None => None,
        },
        kind: kind(row.column(1)?)?,
        permissions: permissions
            .parse()
            .map_err(|_| CorruptRow("set of permissions"))?,
        active: row.column(3)?,
        default: row.column(4)?,
    })
}

/// The columns of the table by their names.
pub(crate) fn webhook(row: &Row<'_>) -> Result<Webhook, JobError> {
    let filter = row.cell("filter")?.text()?;
    let cause: Option<i64> = row.column("disabled_cause")?;
    Ok(Webhook {
        id: WebhookId(row.column("id")?),
        tenant: TenantId(row.column("tenant_id")?),
        key: row.column("key")?,
        target_url: row.column("target_url")?,
        disabled: disabled(time_if_any(row, "disabled_at")?, cause)?,
        filter: serde_json::from_str(&filter)?,
        settings: row.column("settings")?,
        headers: headers(row, "headers")?,
        retries_max: row.column("retries_max")?,
        paused_until: time_if_any(row, "paused_until")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.column("version")?,
    })
}

/// Of the columns `disabled_at` and `disabled_cause`.
pub(crate) fn disabled(
    at: Option<Timestamp>,
    cause: Option<i64>,
) -> Result<Option<Disablement>, CorruptRow> {
    let Some(at) = at else {
        return Ok(None);
    };
    let cause = cause.ok_or(CorruptRow("reason for being disabled"))?;
    let cause = disabled_cause(cause)?;
    Ok(Some(Disablement { at, cause }))
}

/// A number of rows, as SQL takes it.
pub(crate) fn bound(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The day of envelopes that are written while `accepted_at` is the latest there is.
pub(crate) fn envelope_day(accepted_at: Timestamp) -> i64 {
    const DAY_MS: i64 = 24 * 3_600_000;
    accepted_at.as_millis().div_euclid(DAY_MS)
}
