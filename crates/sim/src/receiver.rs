//! Receivers: quick, slow, failing, lying, hanging, gone, and back again.
//!
//! A receiver speaks HTTP/1.1 over a simulated connection. What it does is its mood of the moment.

use std::net::{IpAddr, Ipv4Addr};

use crate::conn::{ConnId, Packet};
use crate::history::Call;
use crate::mood::{Mood, NameAnswer};
use crate::world::{Event, World};

/// An answer, as it is sent.
struct Answer {
    after_ms: i64,
    status: u16,
    /// For how many seconds it asks to be left alone.
    retry_after: Option<u32>,
    body: &'static str,
    /// The body breaks off.
    broken: bool,
    /// The connection ends so many milliseconds after the answer.
    ends_after_ms: Option<i64>,
}

impl World {
    pub(crate) fn mood(&self, receiver: usize) -> Mood {
        let Some(receiver) = self.receivers.get(receiver) else {
            return Mood::Gone;
        };
        if self.is_calm {
            return receiver.end;
        }
        receiver.mood_at(self.now)
    }

    pub(crate) fn name_answer(&self, receiver: usize) -> NameAnswer {
        let address = self.receivers.get(receiver).map(|one| one.address);
        match (self.mood(receiver), address) {
            (Mood::Nameless, _) | (_, None) => NameAnswer::NoSuchName,
            (Mood::NameHangs, _) => NameAnswer::Hangs,
            (Mood::Private, _) => NameAnswer::Found(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))),
            (_, Some(address)) => NameAnswer::Found(address),
        }
    }

    /// A packet has arrived at a receiver.
    pub(crate) fn received(&mut self, id: ConnId, packet: Packet) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        if !conn.receiver_is_here {
            if matches!(packet, Packet::Bytes(_)) {
                conn.sent_at = None;
                self.send_to_node(id, 0, Packet::Reset);
            }
            return;
        }
        match packet {
            Packet::Bytes(bytes) => conn.inbox.extend(bytes),
            Packet::Fin | Packet::Reset => {
                conn.receiver_is_here = false;
                return;
            }
        }
        while let Some(request) = self.take_request(id) {
            self.respond(id, &request);
        }
    }

    /// The next whole request of a connection.
    fn take_request(&mut self, id: ConnId) -> Option<String> {
        let conn = self.net.conns.get_mut(&id)?;
        let head = conn.inbox.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(conn.inbox.get(..head)?).into_owned();
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let whole = head + 4 + length.unwrap_or(0);
        if conn.inbox.len() < whole {
            return None;
        }
        let bytes: Vec<u8> = conn.inbox.drain(..whole).collect();
        conn.requests += 1;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn respond(&mut self, id: ConnId, request: &str) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        let receiver = conn.receiver;
        let sent_at = conn.sent_at.take().unwrap_or(self.now);
        let call = Call {
            life: conn.life,
            left_at: conn.left_at,
            ..Call::read(request, receiver, sent_at)
        };
        let what = call.to_string();
        let call = self.history.called(call);
        conn.call = Some(call);
        let mood = self.mood(receiver);
        self.says(|| format!("{what} -> {mood:?}"));
        if !mood.is_good() {
            self.history.fault("misbehaviour of a receiver");
        }
        if mood == Mood::Resetting {
            let after_ms = self.drawn(2_000);
            self.receiver_leaves(id, after_ms, Packet::Reset);
        } else if mood == Mood::HalfClosing && self.net.rng.below(3) == 0 {
            self.receiver_leaves(id, 0, Packet::Fin);
        } else if !matches!(mood, Mood::Hanging | Mood::Gone) {
            let answer = self.answer(mood);
            self.send_answer(id, call, &answer);
        }
    }

    fn answer(&mut self, mood: Mood) -> Answer {
        let good = Answer {
            after_ms: self.drawn(40),
            status: 200,
            retry_after: None,
            body: "ok",
            broken: false,
            ends_after_ms: None,
        };
        let failing = [500, 503, 404, 302, 400, 502];
        match mood {
            Mood::Slow => Answer {
                after_ms: 1_000 + self.drawn(27_000),
                ..good
            },
            Mood::Failing => Answer {
                status: self.one_of(&failing),
                ..good
            },
            Mood::Flaky => Answer {
                status: self.one_of(&[200, 200, 204, 500, 503, 404]),
                after_ms: self.drawn(3_000),
                ends_after_ms: (self.net.rng.below(3) == 0).then_some(0),
                ..good
            },
            Mood::Lying => Answer {
                broken: true,
                ..good
            },
            Mood::HalfClosing => Answer {
                ends_after_ms: Some(self.drawn(3_000)),
                ..good
            },
            Mood::Busy => Answer {
                status: self.one_of(&[429, 503]),
                retry_after: self.one_of(&[Some(7), Some(900), Some(20_000)]),
                ..good
            },
            Mood::Quitting => Answer {
                status: 410,
                ..good
            },
            Mood::Good
            | Mood::Hanging
            | Mood::Refusing
            | Mood::Gone
            | Mood::Resetting
            | Mood::Nameless
            | Mood::NameHangs
            | Mood::Private => good,
        }
    }

    fn send_answer(&mut self, id: ConnId, call: usize, answer: &Answer) {
        let reason = if answer.status < 300 { "OK" } else { "No" };
        let length = if answer.broken { 50 } else { answer.body.len() };
        let close = match answer.ends_after_ms {
            Some(0) => "Connection: close\r\n",
            _ => "",
        };
        let length = match answer.status {
            204 => String::new(),
            _ => format!("Content-Length: {length}\r\n"),
        };
        let fields = answer.retry_after.map(|s| format!("Retry-After: {s}\r\n"));
        let fields = fields.unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} {reason}\r\n{length}{close}{fields}\r\n",
            answer.status
        );
        let status_line = head.find("\r\n").unwrap_or(0) + 2;
        let asked_ms = answer.retry_after.map(|s| i64::from(s) * 1_000);
        self.history.answered(call, answer.status, asked_ms);
        self.answer_begins(id, call, status_line);
        let body = if answer.status == 204 {
            ""
        } else {
            answer.body
        };
        let bytes = [head.as_bytes(), body.as_bytes()].concat();
        self.send_to_node(id, answer.after_ms, Packet::Bytes(bytes));
        let requests = self.net.conns.get(&id).map_or(0, |conn| conn.requests);
        if answer.broken {
            self.receiver_leaves(id, answer.after_ms, Packet::Fin);
        } else if let Some(ms) = answer.ends_after_ms {
            self.after(answer.after_ms + ms, Event::Idle(id, requests));
        } else if let Some(conn) = self.net.conns.get(&id) {
            let idle_ms = self
                .receivers
                .get(conn.receiver)
                .map_or(0, |one| one.idle_ms);
            self.after(answer.after_ms + idle_ms, Event::Idle(id, requests));
        }
    }

    /// A connection was idle for long enough, unless another request came.
    pub(crate) fn idle(&mut self, id: ConnId, requests: u32) {
        let conn = self.net.conns.get(&id);
        if conn.is_some_and(|conn| conn.requests == requests && conn.receiver_is_here) {
            self.receiver_leaves(id, 0, Packet::Fin);
        }
    }

    fn drawn(&mut self, end: u64) -> i64 {
        self.net.rng.below(end).cast_signed()
    }

    fn one_of<T: Copy + Default>(&mut self, all: &[T]) -> T {
        let index = self.net.rng.below(all.len() as u64);
        let index = usize::try_from(index).unwrap_or(0);
        all.get(index).copied().unwrap_or_default()
    }
}
