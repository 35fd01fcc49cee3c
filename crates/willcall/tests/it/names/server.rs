//! A name server for tests: for each name it gives the configured answer, or none.

use std::net::{IpAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};

use crate::harness::spawn;

/// The answer for a name.
pub(super) enum Reply {
    /// None.
    Nothing,
    /// A response code of RFC 1035: 2 is a failure of the server, 3 means no such name.
    Code(u8),
    Addresses(Vec<IpAddr>),
}

/// Answers on port 53 of this address, and reports which names it is asked for.
pub(super) fn name_server(
    address: &str,
    say: impl Fn(&str) -> Reply + Send + 'static,
) -> Receiver<String> {
    let socket = UdpSocket::bind((address, 53)).unwrap();
    let (told, asked) = channel();
    spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            let question = &question[..length];
            let Some(name) = name(question) else {
                continue;
            };
            let reply = say(&name);
            told.send(name).ok();
            if let Some(answer) = answer(question, &reply) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    });
    asked
}

/// The name in a query, in lower case.
fn name(question: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*question.get(at)?);
        if length == 0 {
            return Some(labels.join("."));
        }
        let label = question.get(at + 1..=at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += 1 + length;
    }
}

fn answer(question: &[u8], reply: &Reply) -> Option<Vec<u8>> {
    let (code, addresses) = match reply {
        Reply::Nothing => return None,
        Reply::Code(code) => (*code, &[][..]),
        Reply::Addresses(addresses) => (0, &addresses[..]),
    };
    // Up to the class in the question; additional records are left out.
    let end = 12 + question[12..].iter().position(|byte| *byte == 0)? + 5;
    let kind = question[end - 3];
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(v4) if kind == 1 => Some(v4.octets().to_vec()),
            IpAddr::V6(v6) if kind == 28 => Some(v6.octets().to_vec()),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        })
        .collect();
    let count = u8::try_from(records.len()).ok()?;
    let mut bytes = question[..2].to_vec();
    bytes.extend_from_slice(&[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    bytes.extend_from_slice(&question[12..end]);
    for data in records {
        let length = u8::try_from(data.len()).ok()?;
        bytes.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, length]);
        bytes.extend_from_slice(&data);
    }
    Some(bytes)
}
