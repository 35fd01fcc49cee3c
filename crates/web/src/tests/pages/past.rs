//! A log to look at: notifications that were accepted, and attempts that were made.

use bytes::Bytes;
use model::attempt::{Attempt, BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::contract::Settlement;
use model::delivery::DueDelivery;
use model::id::DeliveryId;
use model::lease::Epoch;
use model::rng::SeededRng;
use model::webhook::Headers;

use crate::dialects::{self, DialectOptions};
use crate::tests::harness::{INTAKE, TestApp, asking};

pub(crate) const PAID: &str = "pretix.event.order.paid";

/// How long each attempt takes here.
pub(crate) const TOOK_MS: i64 = 250;

pub(crate) fn answered(status: u16, body: impl Into<Bytes>) -> Outcome {
    answered_with(status, &[("Content-Type", b"text/html")], body)
}

pub(crate) fn answered_with(
    status: u16,
    headers: &[(&str, &[u8])],
    body: impl Into<Bytes>,
) -> Outcome {
    Outcome::Answered(HttpResponse {
        status,
        headers: Headers::from_pairs(headers.iter().copied()),
        body: body.into(),
        body_end: BodyEnd::Whole,
        note: None,
    })
}

pub(crate) fn refused() -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::Connect, "connection refused"))
}

impl TestApp {
    /// Hands in a paid order of this code, for a show.
    pub(crate) async fn order(&self, code: &str, show: &str) {
        let body = serde_json::json!({
            "notification_id": code.bytes().fold(7_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_000_007),
            "event": show,
            "code": code,
            "action": PAID,
        });
        let handed = asking("POST", INTAKE).json(body.to_string());
        let answer = self.ask(handed).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// Makes an attempt of all that is due, which comes to `outcome`; answers of which.
    pub(crate) async fn attempt(&self, outcome: &Outcome) -> Vec<DeliveryId> {
        let due = self.due().await;
        let ids = due.iter().map(|due| due.delivery.id).collect();
        let settled = due
            .iter()
            .map(|due| self.settlement(due, outcome))
            .collect();
        self.store.settle(Epoch::FIRST, settled).await.unwrap();
        ids
    }

    fn settlement(&self, due: &DueDelivery, outcome: &Outcome) -> Settlement {
        let policies = dialects::all(&DialectOptions::default()).policies();
        let policy = policies
            .values()
            .find(|policy| policy.gone_disables)
            .unwrap();
        let (began_at, delivery) = (self.now(), &due.delivery);
        let ended_at = began_at.plus_ms(TOOK_MS);
        let mut rng = SeededRng::from_seed([3; 32]);
        let ended = model::time::Moment::same(ended_at);
        let next = delivery.transition(outcome, began_at, ended, policy, None, &mut rng);
        let headers: [(&str, &[u8]); 2] = [
            ("Content-Type", b"application/json"),
            ("Authorization", b"Basic ***"),
        ];
        Settlement {
            stale: None,
            id: delivery.id,
            round: delivery.round,
            attempts: delivery.attempts,
            webhook_version: 1,
            ended_at,
            attempt: Attempt {
                began_at,
                duration_ms: 250,
                url: "https://***@example.org/hook".into(),
                request_headers: Headers::from_pairs(headers),
                outcome: outcome.clone(),
            },
            next,
            handshake: None,
        }
    }
}
