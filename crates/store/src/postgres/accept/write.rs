//! Writes what was decided about a group, a statement for each table.

use model::id::TenantId;
use tokio_postgres::types::ToSql;

use crate::postgres::accept::plan::{Listing, Plan};
use crate::postgres::accept::statements::{ADD, ADD_FALL, ADD_UNATTEMPTED, NEXT_VERSION, REGISTER};
use crate::postgres::accept::talk::{Param, Statements};
use crate::postgres::fan_out;
use crate::postgres::text::SafeText;
use crate::sql::{rows, webhook_list};

/// The rows of a group by their columns, as the statements are given them.
pub(super) struct Columns<'p> {
    tenants: Vec<i64>,
    ids: Vec<i64>,
    keys: Vec<SafeText<'p>>,
    action_types: Vec<SafeText<'p>>,
    events: Vec<Option<SafeText<'p>>>,
    only: Vec<Option<i64>>,
    about: Vec<Option<SafeText<'p>>>,
    headers: Vec<Option<&'p [u8]>>,
    bodies: Vec<&'p [u8]>,
    digests: Vec<Option<i64>>,
    accepted_at: Vec<i64>,
    delivery_counts: Vec<i32>,
    unattempted: &'p [Vec<i64>; 3],
    falls: [Vec<i64>; 4],
    registered: (Vec<i64>, Vec<SafeText<'p>>),
    listings: Vec<ListingColumns<'p>>,
}

struct ListingColumns<'p> {
    tenant: i64,
    owed: i64,
    webhooks: String,
    notifications: &'p Vec<i64>,
}

impl<'p> Columns<'p> {
    pub(super) fn of(plan: &'p Plan<'p>) -> Self {
        let rows = &plan.notifications;
        Self {
            tenants: rows.iter().map(|row| row.new.tenant.0).collect(),
            ids: rows.iter().map(|row| row.id).collect(),
            keys: rows.iter().map(|row| SafeText(&row.new.key)).collect(),
            action_types: rows
                .iter()
                .map(|row| SafeText(&row.new.action_type))
                .collect(),
            events: rows
                .iter()
                .map(|row| row.new.event.as_deref().map(SafeText))
                .collect(),
            only: rows
                .iter()
                .map(|row| row.new.only_webhook.map(|webhook| webhook.0))
                .collect(),
            about: rows
                .iter()
                .map(|row| row.new.match_context.as_deref().map(SafeText))
                .collect(),
            headers: rows
                .iter()
                .map(|row| rows::blob(&row.new.headers.0))
                .collect(),
            bodies: rows.iter().map(|row| &row.new.body[..]).collect(),
            digests: rows.iter().map(|row| row.new.digest).collect(),
            accepted_at: rows.iter().map(|row| row.accepted_at.as_millis()).collect(),
            delivery_counts: rows
                .iter()
                .map(|row| i32::try_from(row.deliveries).unwrap_or(i32::MAX))
                .collect(),
            unattempted: &plan.unattempted,
            falls: falls(plan),
            registered: plan
                .events
                .iter()
                .map(|(TenantId(tenant), slug)| (*tenant, SafeText(slug)))
                .unzip(),
            listings: plan.listings.iter().map(listing).collect(),
        }
    }

    /// `counts_version`: the catalog's version is to be counted here, if it changes. Its answer is
    /// the last.
    pub(super) fn write<'b>(&'b self, statements: &mut Statements<'b>, counts_version: bool) {
        if !self.ids.is_empty() {
            statements.add(ADD, self.notifications());
        }
        let [tenants, webhooks, notifications] = self.unattempted;
        if !tenants.is_empty() {
            statements.add(ADD_UNATTEMPTED, vec![tenants, webhooks, notifications]);
        }
        for listing in &self.listings {
            statements.add(
                fan_out::ADD,
                vec![
                    &listing.tenant,
                    &listing.owed,
                    &listing.webhooks,
                    listing.notifications,
                ],
            );
        }
        let [tenants, ..] = &self.falls;
        if !tenants.is_empty() {
            let columns = self.falls.iter();
            statements.add(
                ADD_FALL,
                columns.map(|column| column as Param<'b>).collect(),
            );
        }
        let (tenants, slugs) = &self.registered;
        if !tenants.is_empty() {
            statements.add(REGISTER, vec![tenants, slugs]);
            if counts_version {
                statements.add(NEXT_VERSION, Vec::new());
            }
        }
    }

    fn notifications(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.tenants,
            &self.ids,
            &self.keys,
            &self.action_types,
            &self.events,
            &self.only,
            &self.about,
            &self.headers,
            &self.bodies,
            &self.digests,
            &self.accepted_at,
            &self.delivery_counts,
        ]
    }
}

fn falls(plan: &Plan<'_>) -> [Vec<i64>; 4] {
    let column = |of: fn(&(TenantId, i64, super::times::Fall)) -> i64| {
        plan.falls.iter().map(of).collect::<Vec<i64>>()
    };
    [
        column(|(tenant, ..)| tenant.0),
        column(|(_, id, _)| *id),
        column(|(.., fall)| fall.reached_at.as_millis()),
        column(|(.., fall)| fall.after_at.as_millis()),
    ]
}

fn listing(listing: &Listing) -> ListingColumns<'_> {
    let owed = listing
        .webhooks
        .len()
        .saturating_mul(listing.notifications.len());
    ListingColumns {
        tenant: listing.tenant.0,
        owed: rows::bound(owed),
        webhooks: webhook_list::to_text(&listing.webhooks),
        notifications: &listing.notifications,
    }
}
