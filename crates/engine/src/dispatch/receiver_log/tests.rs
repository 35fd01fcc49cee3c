//! What the log says of receivers, line by line.

use std::fmt::{Debug, Write as _};
use std::sync::Mutex;

use model::call_limits::CallLimits;
use model::delivery::DeliveryState;
use model::id::TenantId;
use model::policy::{EventNaming, NameOf};
use model::schedule::Schedule;
use model::signing::Keyring;
use model::time::Timestamp;
use model::webhook::Headers;
use model::webhook_tls::WebhookTls;
use prometheus_client::registry::Registry;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

/// Keeps lines in memory.
#[derive(Default)]
struct KeptLines(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.0, " {value:?}").unwrap(),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for KeptLines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(event.metadata().level().to_string());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Given {
    log: ReceiverLog,
    prepared: PreparedTarget,
    lines: Arc<Mutex<Vec<String>>>,
    _logs: tracing::subscriber::DefaultGuard,
}

fn policy() -> Policy {
    Policy {
        schedule: Schedule {
            delays_ms: vec![],
            jitter_from_ms: 0,
            jitter_percent: 0,
            final_attempt_after_ms: None,
        },
        exchange_limit_ms: 1,
        gone_disables: true,
        retry_after_max_ms: None,
        dedupe_header: None,
        user_agent: String::new(),
        content_type: String::new(),
        event_naming: EventNaming::default(),
        retention_ms: 1,
        bounds: Arc::default(),
        name_of: NameOf(|settings| Some(settings.to_owned())),
    }
}

fn target() -> WebhookTarget {
    WebhookTarget {
        webhook: WebhookId(7),
        tenant: TenantId(1),
        dialect: DialectName::new("any"),
        tenant_key: "bigevents".to_owned(),
        key: None,
        target_url: "https://anna:secret@example.org/hook".to_owned(),
        settings: "The CRM\nof Anna".to_owned(),
        headers: Headers::default(),
        retries_max: None,
        paused_until: None,
        failing_since: None,
        succeeded_at: None,
        version: 1,
        enabled: true,
        holds: model::hold::Holds::default(),
        signatures: Vec::new(),
        own_headers: Vec::new(),
        cloud_events: None,
        handshake: None,
        tls: WebhookTls::default(),
        limits: CallLimits::default(),
    }
}

fn given() -> Given {
    let kept = KeptLines::default();
    let lines = Arc::clone(&kept.0);
    let prepared = PreparedTarget::new(&target(), Arc::new(policy()), &Keyring::default());
    Given {
        log: ReceiverLog::new(),
        prepared,
        lines,
        _logs: tracing::subscriber::set_default(kept),
    }
}

impl Given {
    fn goes(&mut self, webhook: i64, transition: CircuitTransition) {
        let label = Arc::clone(&self.prepared.label);
        self.log
            .transition(WebhookId(webhook), &label, "5xx", transition);
    }

    /// It fails and succeeds again, so many times.
    fn flickers(&mut self, times: usize) {
        for _ in 0..times {
            self.goes(7, CircuitTransition::FailuresBegan);
            self.goes(7, CircuitTransition::Closed);
        }
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    async fn after(&mut self, time: Duration) -> Vec<String> {
        tokio::time::advance(time).await;
        self.log.turn(Instant::now());
        self.taken()
    }
}

fn gone() -> NextState {
    NextState {
        state: DeliveryState::Delivered,
        due_at: None,
        began_at: Timestamp::EPOCH,
        round_began_at: Timestamp::EPOCH,
        early: false,
        disables_webhook: true,
        pauses_until: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_names_tenant_webhook_and_target_without_credentials_and_cannot_be_broken() {
    let mut given = given();
    given.goes(7, CircuitTransition::FailuresBegan);
    let [line] = <[String; 1]>::try_from(given.taken()).unwrap();
    assert_eq!(
        line,
        "INFO deliveries begin to fail webhook=7 dialect=any tenant=\"bigevents\" \
         name=\"The CRM\\\\nof Anna\" url=\"https://***@example.org/hook\" class=\"5xx\""
    );
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_flickers_gets_a_line_every_ten_minutes_after_the_first() {
    let mut given = given();
    given.flickers(50);
    let lines = given.taken();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(given.after(Duration::from_secs(599)).await.is_empty());
    let lines = given.after(Duration::from_secs(1)).await;
    let [line] = <[String; 1]>::try_from(lines).unwrap();
    assert!(line.starts_with("INFO deliveries fail and succeed again and again webhook=7"));
    assert!(
        line.ends_with("times=47 minutes=10 now=\"succeeding\""),
        "{line}"
    );
    // Nothing is owed any more, and what comes next is gathered again.
    assert!(given.after(SUMMARY_EVERY).await.is_empty());
    given.flickers(2);
    given.goes(7, CircuitTransition::FailuresBegan);
    assert!(given.taken().is_empty());
    let lines = given.after(SUMMARY_EVERY).await;
    assert!(lines[0].ends_with("times=3 minutes=10 now=\"failing\""));
    // After an hour without trouble it is as new.
    given.goes(7, CircuitTransition::Closed);
    given.taken();
    given.after(QUIET).await;
    given.flickers(1);
    assert_eq!(given.taken().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn failing_for_long_is_a_warning_and_its_end_is_said_even_of_one_that_flickers() {
    let mut given = given();
    given.flickers(10);
    given.goes(7, CircuitTransition::FailuresBegan);
    given.taken();
    given.goes(7, CircuitTransition::Opened);
    given.goes(7, CircuitTransition::Closed);
    let lines = given.taken();
    assert!(lines[0].starts_with("WARN deliveries have failed for long"));
    assert!(lines[1].starts_with("INFO deliveries succeed again"));
    assert_eq!(lines.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_answered_410_together_are_one_warning() {
    let mut given = given();
    let metrics = Metrics::new(&mut Registry::default(), [].iter());
    for _ in 0..8 {
        let whose = (WebhookId(7), &given.prepared);
        given.log.effect(&metrics, whose, &gone(), ("4xx", None));
    }
    let lines = given.taken();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("WARN its receiver answered 410 Gone"));
    // Enabled again it is another version.
    given.prepared.version += 1;
    let whose = (WebhookId(7), &given.prepared);
    given.log.effect(&metrics, whose, &gone(), ("4xx", None));
    assert_eq!(given.taken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_very_many_receivers_that_fail_together_some_are_named_and_the_others_counted() {
    let mut given = given();
    for webhook in 0..20_000 {
        given.goes(webhook, CircuitTransition::FailuresBegan);
    }
    assert_eq!(given.log.known.len(), LOGGED_RECEIVERS_MAX);
    assert_eq!(given.taken().len(), 100);
    let lines = given.after(LOOK_EVERY).await;
    let [line] = <[String; 1]>::try_from(lines).unwrap();
    assert!(line.starts_with("WARN very many receivers"), "{line}");
    assert!(line.ends_with("lines=19900"), "{line}");
    given.after(QUIET).await;
    assert!(given.log.known.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_no_more_than_a_line_for_those_who_debug() {
    let mut given = given();
    let metrics = Metrics::new(&mut Registry::default(), [].iter());
    let pauses = NextState {
        disables_webhook: false,
        pauses_until: Some(Timestamp::EPOCH),
        ..gone()
    };
    let whose = (WebhookId(7), &given.prepared);
    given.log.effect(&metrics, whose, &pauses, ("4xx", None));
    assert!(given.taken()[0].starts_with("DEBUG its receiver asks for a pause"));
}
