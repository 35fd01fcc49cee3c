//! How much WAL PostgreSQL writes for a delivery, in a large house right after a checkpoint: then
//! the first change of each page writes the whole page, and only a large index has many pages.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::measure::{float, ratio};
use crate::report::{Measure, Scenario};
use crate::sender::{Flood, PreparedCall};
use crate::sizes::{BODY_BYTES, CONNECTIONS, FAN_WEBHOOKS};
use crate::stage::{Bench, Shows, Stage, StageExtras, WebhookSetup};
use crate::stage_store::StageStore;

/// Bytes for a delivery at a fan-out of 1 and of `FAN_WEBHOOKS`.
const ONE_MAX: f64 = 1_450.0;
const MANY_MAX: f64 = 550.0;

/// Ids of applications have 16 digits here. Below 2^53, so that every language can hold them.
const IDS_FROM: u64 = 1_000_000_000_000_000;
const IDS: u64 = 8_000_000_000_000_000;

/// Shows: of the one webhook, and of all others.
const ONE: usize = 0;
const MANY: usize = 1;

/// A part of the scenario: the name of its number, what it is, the notifications, their keys, how
/// many webhooks each is for, and the bar in bytes.
type WalPart = (&'static str, &'static str, Range<u64>, Keys, usize, f64);

/// Gives every column of a table that is not named; `{}` are the table and those named.
const COLUMNS: &str = "
    select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
    where attrelid = '{}'::regclass and attnum > 0 and not attisdropped and attname not in ({})";

pub(crate) async fn wal(bench: &Bench) -> Result<Scenario> {
    let (single, fanned) = (bench.sizes.single, bench.sizes.fanned);
    let house = bench.sizes.house;
    // The last two make the house.
    let numbers = [0, single, single + fanned, 2 * single + fanned];
    let [_, _, _, probes] = numbers;
    let setup = WebhookSetup {
        webhooks: 1 + FAN_WEBHOOKS,
        notifications: probes + 2,
        shows: Shows::First,
        ..WebhookSetup::default()
    };
    let mut stage = bench.set_with(setup, &StageExtras::default()).await?;
    let mut house_of = HouseCalls {
        bench,
        stage: &mut stage,
        received: 0,
    };
    house_of.send(vec![house_of.call(probes, ONE)?], 1).await?;
    let many = house_of.call(probes + 1, MANY)?;
    house_of.send(vec![many], FAN_WEBHOOKS).await?;
    fill(house_of.store()?, house).await?;
    let mut measures = Vec::new();
    let mut notes = Vec::new();
    let [a, b, c, d] = numbers;
    let parts: [WalPart; 3] = [
        (
            "wal_1",
            "WAL for a delivery at fan-out 1",
            a..b,
            Keys::Rising,
            1,
            ONE_MAX,
        ),
        (
            "wal_10",
            "WAL for a delivery at fan-out 10",
            b..c,
            Keys::Rising,
            FAN_WEBHOOKS,
            MANY_MAX,
        ),
        (
            "wal_1_random",
            "at fan-out 1 with ids in no order",
            c..d,
            Keys::Random,
            1,
            ONE_MAX,
        ),
    ];
    for (name, words, numbers, keys, fan_out, bar) in parts {
        match house_of.measure(numbers, keys, fan_out).await? {
            Ok(bytes) => measures.push(Measure::new(name, words, bytes, "B").at_most(bar)),
            Err(why) => notes.push(format!("left out: {words}, because {why}")),
        }
    }
    stage.clear().await?;
    Ok(Scenario {
        name: "wal",
        title: format!(
            "{single} notifications × 1 webhook and {fanned} × {FAN_WEBHOOKS}, each right after a \
             checkpoint, among {house}"
        ),
        measures,
        notes,
    })
}

/// Ids that come with notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// None come: the server makes them, each larger than those before.
    Rising,
    /// In no order.
    Random,
}

/// Sends notifications to a stage, and knows how many deliveries have come of them.
struct HouseCalls<'s, 'a> {
    bench: &'a Bench,
    stage: &'s mut Stage<'a>,
    received: u64,
}

impl<'a> HouseCalls<'_, 'a> {
    fn store(&self) -> Result<&StageStore<'a>> {
        let store = self.stage.store.as_ref();
        store.context("WAL can be measured only of our own server")
    }

    fn call(&self, number: u64, show: usize) -> Result<PreparedCall> {
        let (load, tenant) = (&self.bench.load, &self.bench.tenant);
        let call = (load.hand_in)(tenant, number..number + 1, show, BODY_BYTES);
        PreparedCall::new(call, &self.bench.token)
    }

    fn call_with_id(&self, number: u64) -> Result<PreparedCall> {
        let (load, tenant) = (&self.bench.load, &self.bench.tenant);
        let call = (load.hand_in_as)(tenant, number, random_id(number), ONE, BODY_BYTES);
        PreparedCall::new(call, &self.bench.token)
    }

    /// Sends calls with a notification each, and waits until all is settled.
    async fn send(&mut self, calls: Vec<PreparedCall>, fan_out: usize) -> Result<()> {
        let count = calls.len();
        let flood = Flood::prepare(&self.stage.peers, Arc::new(calls), count, CONNECTIONS).await?;
        let sent = flood.run().await;
        self.stage.explained(sent).await?;
        self.received += u64::try_from(count * fan_out)?;
        self.stage.received(self.received).await?;
        self.stage.settled(0).await
    }

    /// Bytes of WAL for a delivery; the inner error says why they cannot be told.
    async fn measure(
        &mut self,
        numbers: Range<u64>,
        keys: Keys,
        fan_out: usize,
    ) -> Result<Result<f64, String>> {
        let show = if fan_out == 1 { ONE } else { MANY };
        let owed = (numbers.end - numbers.start) * u64::try_from(fan_out)?;
        let calls: Result<Vec<PreparedCall>> = numbers
            .map(|number| match keys {
                Keys::Rising => self.call(number, show),
                Keys::Random => self.call_with_id(number),
            })
            .collect();
        let calls = calls?;
        if let Err(error) = self.store()?.sql("checkpoint").await {
            return Ok(Err(format!("there is no checkpoint on demand: {error:#}")));
        }
        let before = self.stage.wal_bytes().await?;
        self.send(calls, fan_out).await?;
        let after = self.stage.wal_bytes().await?;
        let written = after.zip(before).context("there is no WAL")?;
        let written = written.0.saturating_sub(written.1);
        Ok(Ok(ratio(float(written), float(owed))))
    }
}

/// An id that is near no other: a number times an odd one, as far as it goes.
fn random_id(number: u64) -> u64 {
    IDS_FROM + number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % IDS
}

/// Copies what there is, a notification and deliveries of all webhooks, so often. Each copy has one
/// delivery, of one webhook after the other, and an id in no order.
async fn fill(store: &StageStore<'_>, notifications: u64) -> Result<()> {
    let columns = async |table: &str, but: &str| {
        let asked = COLUMNS.replacen("{}", table, 1).replacen("{}", but, 1);
        store.sql(&asked).await
    };
    let of_notification = columns("notification", "'id', 'key'").await?;
    let of_delivery = columns("delivery", "'notification_id'").await?;
    // Of the id the lowest bits make it differ from all others, and the rest puts it anywhere.
    let copied = format!(
        "insert into notification (id, key, {of_notification})
         select nextval('notification_id'),
           ({IDS_FROM} + ((hashint8extended(number, 7) & 2147483647) << 21 | number))::text,
           {of_notification}
         from generate_series(1, {notifications}) as number
         cross join (select * from notification order by id limit 1) as one;
         insert into delivery (notification_id, {of_delivery})
         select copied, {of_delivery}
         from (
           select *, row_number() over (order by webhook_id) - 1 as place,
             count(*) over () as webhooks, max(notification_id) over () as latest
           from delivery) as one
         join (select id as copied, max(id) over () as newest from notification) as copies
           on copied > latest and copied % webhooks = place"
    );
    store.sql(&copied).await?;
    store.sql("vacuum (analyze)").await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_no_order_differ_and_have_16_digits() {
        let ids: Vec<u64> = (0..50_000).map(random_id).collect();
        assert!(ids.iter().all(|id| id.to_string().len() == 16));
        assert!(!ids.is_sorted());
        let differ: std::collections::BTreeSet<u64> = ids.iter().copied().collect();
        assert_eq!(differ.len(), ids.len());
    }
}
