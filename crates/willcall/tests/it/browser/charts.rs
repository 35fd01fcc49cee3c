//! Charts: what they say along the arrow keys, and where no script runs.

use std::path::Path;

use bytes::Bytes;
use model::attempt::{BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::id::{TenantId, WebhookId};
use model::statistics::{AttemptTally, PERIOD_MS, TallyOwner, TallyRow};
use model::webhook::Headers;
use prometheus_client::registry::Registry;

use super::driver::{Browser, Wants};
use super::{House, NAME, PAID};

/// Half hours that something was attempted in.
const STEPS: u8 = 44;

const LEFT: &str = "\u{e012}";
const HOME: &str = "\u{e011}";

/// Writes down attempts of the latest day, of this webhook of the first tenant.
pub(super) fn counted(folder: &Path, webhook: i64) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.build().unwrap();
    runtime.block_on(async {
        let store = store::open(&folder.join("willcall.db"), &mut Registry::default()).unwrap();
        let (user, _) = store.user(NAME.to_owned()).await.unwrap().unwrap();
        let owners = [
            TallyOwner::Webhook(WebhookId(webhook)),
            TallyOwner::Tenant(TenantId(1)),
        ];
        let rows = (1..=STEPS).flat_map(|step| {
            owners.map(|owner| TallyRow {
                owner,
                starts_at: user.created_at.plus_ms(-6 * PERIOD_MS * i64::from(step)),
                part: 1,
                tally: tally(step),
            })
        });
        store.record_tallies(rows.collect()).await.unwrap();
        store.close().await.unwrap();
    });
}

/// Every hour something else goes wrong.
fn tally(step: u8) -> AttemptTally {
    let mut tally = AttemptTally::default();
    let answered = |status| {
        Outcome::Answered(HttpResponse {
            status,
            headers: Headers::default(),
            body: Bytes::new(),
            body_end: BodyEnd::Whole,
            note: None,
        })
    };
    let failed = |kind| Outcome::Failed(Failure::new(kind, ""));
    let wave = u32::from(step.abs_diff(20));
    for place in 0..10 + wave * 3 {
        tally.add(&answered(200), 40 + place * place / 8 + wave * 2);
    }
    for place in 0..wave / 3 {
        let outcome = match step % 3 {
            0 => answered(503),
            1 => failed(FailureKind::TimeLimit),
            _ => failed(FailureKind::Unsigned),
        };
        tally.add(&outcome, 30 + place);
    }
    tally
}

fn house() -> House {
    let app = House::furnished(&[], |folder| counted(folder, 1));
    let client = app.server.client();
    client.webhook(&app.receiver.url("/ok"), &[PAID]);
    app
}

#[test]
fn a_chart_is_read_along_the_arrow_keys() {
    let (app, browser) = (house(), Browser::open(Wants::default()));
    app.sign_in(&browser);
    browser.go(&app.url("/t/1/webhooks/1"));
    browser.find("#attempts [data-chart] svg[tabindex]");
    let told = || browser.text("#attempts [data-told]");
    assert!(told().contains("arrow keys"), "{}", told());
    browser.tab_to("#attempts [data-chart] svg");
    let mut said = Vec::new();
    for key in [LEFT, LEFT, LEFT, HOME] {
        browser.press(key);
        said.push(told());
    }
    assert!(said.iter().all(|one| one.contains("UTC: ")), "{said:?}");
    assert!(said[1].contains("delivered"), "{said:?}");
    assert_eq!(said[3], told());
    assert_ne!(said[1], said[2]);
    // Times beside it are in the reader's zone, in short.
    let tick = browser.text("#attempts .ticks time");
    assert!(!tick.contains("UTC"), "{tick}");
    browser.click("#attempts .periods a[href*='7d']");
    browser.find("#attempts .periods a[href*='7d'][aria-current]");
}

#[test]
fn a_chart_has_its_scale_its_words_and_its_table_without_scripts() {
    let wants = Wants { no_scripts: true };
    let (app, browser) = (house(), Browser::open(wants));
    app.sign_in(&browser);
    browser.go(&app.url("/t/1/statistics"));
    browser.find("#attempts [data-chart] svg[role=img] g title");
    assert!(browser.text("#attempts .ticks").contains("UTC"));
    assert!(browser.text("#attempts .legend").contains("delivered"));
    browser.click("#attempts-table summary");
    let rows = browser.count("#attempts-table tbody tr");
    assert!(rows >= usize::from(STEPS) - 1, "{rows}");
    browser.find_text("Each line is half an hour");
}
