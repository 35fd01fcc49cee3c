//! What happens in the world, event by event, as far as it needs no node, and what it has a node
//! do.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use http::Request;

use crate::cluster::nodes::NodeEvent;
use crate::requests::RequestId;
use crate::scenario::{Action, Fault, HOUR, MINUTE};
use crate::world::{Event, World};

/// What the driver has to do with the node because of an event.
pub(crate) enum Duty {
    Request(Asker, Request<Bytes>),
    Reply(
        engine::LookupReply,
        Result<engine::Addresses, engine::NameError>,
    ),
    GiveUp(RequestId, u32),
    Fault(Fault),
    /// Of a cluster.
    Node(NodeEvent),
    Look,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asker {
    /// An application, and which try it is; whether the answer is lost.
    HandIn(RequestId, u32, bool),
    Person(usize, Action),
}

impl World {
    /// Makes an event happen as far as it needs no node.
    pub(crate) fn happens(&mut self, event: Event) -> Option<Duty> {
        match event {
            Event::ToReceiver(id, packet) => self.received(id, packet),
            Event::ToNode(id, packet) => self.arrived(id, packet),
            Event::Connected(id, is_open) => self.connected(id, is_open),
            Event::Idle(id, requests) => self.idle(id, requests),
            Event::LookedUp(reply, found) => return Some(Duty::Reply(reply, found)),
            Event::HandIn(id) if self.is_stopping => self.finds_nobody(id),
            Event::HandIn(id) => {
                let prepared = self.prepare(id)?;
                let tries = self.workload.requests.get(id)?.tries;
                self.after(prepared.patience_ms, Event::GiveUp(id, tries));
                let asker = Asker::HandIn(id, tries, prepared.loses_answer);
                return Some(Duty::Request(asker, prepared.request));
            }
            Event::GiveUp(id, tries) => return Some(Duty::GiveUp(id, tries)),
            Event::Act(webhook, action) => {
                let request = self.act(webhook, action)?;
                if self.is_stopping {
                    self.acted(webhook, action, None);
                    return None;
                }
                self.pending.push((webhook, action));
                return Some(Duty::Request(Asker::Person(webhook, action), request));
            }
            Event::Fault(fault) => {
                let is_moot = match fault {
                    Fault::SetRight => false,
                    Fault::Step { .. }
                    | Fault::Drift { .. }
                    | Fault::Partition { .. }
                    | Fault::Store { .. } => self.is_calm,
                    // What is off can neither be killed nor stand still.
                    Fault::Kill { .. }
                    | Fault::Stop { .. }
                    | Fault::Freeze { .. }
                    | Fault::Suspend { .. }
                    | Fault::ResetConnections => self.is_calm || self.time.is_none(),
                };
                if is_moot {
                    return None;
                }
                if !matches!(fault, Fault::Drift { .. }) {
                    self.history.fault(fault.name());
                    self.says(|| format!("fault: {fault:?}"));
                }
                return Some(Duty::Fault(fault));
            }
            Event::StoreWell(number) => self.store_is_well(number),
            Event::Node(event) => return Some(Duty::Node(event)),
            Event::Calm => {
                self.calms_down();
                let first = if self.cluster.is_some() { MINUTE } else { HOUR };
                self.after(first, Event::Look);
            }
            Event::Look => return Some(Duty::Look),
        }
        None
    }

    /// The same while the node is off: applications and people find nobody.
    pub(crate) fn happens_without_node(&mut self, event: Event, lead: &AtomicI64) {
        self.is_stopping = true;
        match self.happens(event) {
            Some(Duty::Fault(Fault::Step { by_ms } | Fault::Drift { by_ms })) => {
                self.clock_is_set(lead, by_ms);
            }
            Some(Duty::Fault(Fault::SetRight)) => self.clock_is_set(lead, 0),
            Some(Duty::Fault(fault @ (Fault::Store { .. } | Fault::Partition { .. }))) => {
                self.strikes(fault);
            }
            Some(Duty::Look) => self.after(HOUR, Event::Look),
            Some(Duty::GiveUp(id, tries)) => self.gave_up(id, tries),
            // What is killed is off already; nobody waits for a name any more.
            Some(Duty::Fault(_) | Duty::Node(_) | Duty::Reply(..) | Duty::Request(..)) | None => {}
        }
    }

    fn clock_is_set(&mut self, lead: &AtomicI64, to: i64) {
        lead.store(to, Ordering::Relaxed);
        self.history.clock.push((self.now, to));
    }

    pub(crate) fn is_for_the_node(&self, event: &Event) -> bool {
        match event {
            Event::HandIn(_)
            | Event::Act(..)
            | Event::LookedUp(..)
            | Event::GiveUp(..)
            | Event::Fault(_)
            | Event::Node(_)
            | Event::Look => true,
            Event::ToReceiver(..)
            | Event::ToNode(..)
            | Event::Connected(..)
            | Event::Idle(..)
            | Event::StoreWell(_)
            | Event::Calm => false,
        }
    }

    /// An answer has reached whoever waits for it, unless it is lost or comes too late.
    pub(crate) fn is_answered(&mut self, asker: Asker, answer: Option<(u16, &[u8])>) {
        match asker {
            Asker::HandIn(id, tries, loses) => {
                let request = self.workload.requests.get(id);
                let waits = request.is_some_and(|one| one.tries == tries && !one.is_done);
                if waits && !loses {
                    self.answered(id, answer);
                }
            }
            Asker::Person(webhook, action) => {
                let place = self
                    .pending
                    .iter()
                    .position(|one| *one == (webhook, action));
                if let Some(place) = place {
                    self.pending.remove(place);
                    self.acted(webhook, action, answer);
                }
            }
        }
    }

    /// A client has waited long enough; if it has no answer, it will ask again.
    pub(crate) fn gave_up(&mut self, id: RequestId, tries: u32) {
        let request = self.workload.requests.get(id);
        if request.is_some_and(|one| one.tries == tries && !one.is_done) {
            self.answered(id, None);
        }
    }
}
