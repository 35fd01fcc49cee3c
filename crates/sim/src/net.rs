//! The network: connections with delay, loss, resets and partitions, and names.
//!
//! The node's end of a connection is a stream of the engine. Bytes arrive in order; a lost packet
//! is one that comes late, as TCP repeats it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use engine::{BoxFuture, LookupReply, SocketState, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::conn::{Conn, ConnId, Packet};
use crate::mood::{Mood, NameAnswer};
use crate::world::{Event, SharedWorld, World};

/// The node's end of a connection.
struct SimStream {
    world: SharedWorld,
    id: ConnId,
}

impl World {
    /// The node begins to connect to an address that it has vetted.
    fn dial(
        &mut self,
        life: usize,
        address: SocketAddr,
        opened: oneshot::Sender<bool>,
    ) -> Option<ConnId> {
        let found = self
            .receivers
            .iter()
            .position(|one| one.is_at(address.ip()));
        let Some(receiver) = found else {
            self.history.forbidden(self.now, address);
            return None;
        };
        self.net.next += 1;
        let id = self.net.next;
        let conn = Conn {
            receiver,
            life,
            opened: Some(opened),
            node_is_here: true,
            left_at: None,
            call: None,
            receiver_is_here: false,
            to_node: VecDeque::new(),
            fin: false,
            reset: false,
            reader: None,
            arrives_at_receiver: 0,
            arrives_at_node: 0,
            inbox: Vec::new(),
            sent_at: None,
            requests: 0,
            answers: VecDeque::new(),
            sent_to_node: 0,
            read_by_node: 0,
        };
        self.net.conns.insert(id, conn);
        let mood = self.mood(receiver);
        let at = self.now + self.net.delay() + self.net.delay();
        let at = at.max(self.net.held_until(receiver));
        // Packets to a machine that is gone are answered by nobody.
        if mood != Mood::Gone {
            self.at(at, Event::Connected(id, mood != Mood::Refusing));
        }
        Some(id)
    }

    /// The receiver's machine has answered, or refused.
    pub(crate) fn connected(&mut self, id: ConnId, is_open: bool) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        conn.receiver_is_here = is_open;
        if let Some(opened) = conn.opened.take() {
            // Whoever gave up meanwhile does not hear it.
            opened.send(is_open).ok();
        }
    }

    /// Sends a packet to the receiver.
    fn send_to_receiver(&mut self, id: ConnId, packet: Packet) {
        let Some((at, conn)) = self.net.arrival(id, self.now) else {
            return;
        };
        conn.arrives_at_receiver = at.max(conn.arrives_at_receiver);
        let at = conn.arrives_at_receiver;
        self.at(at, Event::ToReceiver(id, packet));
    }

    /// Sends a packet to the node, so many milliseconds from now.
    pub(crate) fn send_to_node(&mut self, id: ConnId, after_ms: i64, packet: Packet) {
        let Some((at, conn)) = self.net.arrival(id, self.now + after_ms) else {
            return;
        };
        if let Packet::Bytes(bytes) = &packet {
            conn.sent_to_node += bytes.len() as u64;
        }
        conn.arrives_at_node = at.max(conn.arrives_at_node);
        let at = conn.arrives_at_node;
        self.at(at, Event::ToNode(id, packet));
    }

    /// The answer to this call ends its status line with the next byte that is sent.
    pub(crate) fn answer_begins(&mut self, id: ConnId, call: usize, head: usize) {
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.answers
                .push_back((conn.sent_to_node + head as u64, call));
        }
    }

    /// A packet has arrived at the node.
    pub(crate) fn arrived(&mut self, id: ConnId, packet: Packet) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        if !conn.node_is_here {
            return;
        }
        match packet {
            Packet::Bytes(bytes) => conn.to_node.extend(bytes),
            Packet::Fin => conn.fin = true,
            Packet::Reset => conn.reset = true,
        }
        if let Some(reader) = conn.reader.take() {
            reader.wake();
        }
    }

    /// The receiver ends a connection. What the node sends from now on is answered by a reset.
    pub(crate) fn receiver_leaves(&mut self, id: ConnId, after_ms: i64, packet: Packet) {
        self.send_to_node(id, after_ms, packet);
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.receiver_is_here = false;
        }
    }

    fn node_leaves(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        conn.node_is_here = false;
        conn.left_at = Some(self.now);
        conn.reader = None;
        let call = conn.call;
        self.history.left(call, self.now);
        self.send_to_receiver(id, Packet::Fin);
    }

    /// Begins a look-up.
    pub(crate) fn look_up(&mut self, name: &str, reply: LookupReply) {
        let found = self.receivers.iter().position(|one| one.name == name);
        let answer = match found {
            Some(receiver) => self.name_answer(receiver),
            None => NameAnswer::NoSuchName,
        };
        let delay = self.net.delay();
        let (after, found) = match answer {
            NameAnswer::Found(address) => {
                let found: engine::Addresses = vec![SocketAddr::new(address, 0)].into();
                (delay, Ok(found))
            }
            NameAnswer::NoSuchName => (delay, Err(engine::NameError::NoSuchName)),
            NameAnswer::Hangs => (40_000, Err(engine::NameError::NoAnswer)),
        };
        self.after(after, Event::LookedUp(reply, found));
    }
}

/// Connects over the simulated network, in this life of a node.
pub(crate) fn connect(
    world: &SharedWorld,
    life: usize,
    address: SocketAddr,
) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
    let (opened, answer) = oneshot::channel();
    let id = world.lock().dial(life, address, opened);
    let stream = id.map(|id| SimStream {
        world: world.clone(),
        id,
    });
    Box::pin(async move {
        let Some(stream) = stream else {
            return Err(io::ErrorKind::HostUnreachable.into());
        };
        match answer.await {
            Ok(true) => Ok(Box::new(stream) as Box<dyn Stream>),
            Ok(false) => Err(io::ErrorKind::ConnectionRefused.into()),
            Err(_) => std::future::pending().await,
        }
    })
}

impl Stream for SimStream {
    fn socket_state(&self) -> SocketState {
        let world = self.world.lock();
        match world.net.conns.get(&self.id) {
            Some(conn) if !conn.to_node.is_empty() => SocketState::Readable,
            Some(conn) if !conn.fin && !conn.reset => SocketState::Idle,
            Some(_) | None => SocketState::Closed,
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut world = self.world.lock();
        let world = &mut *world;
        let Some(conn) = world.net.conns.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if conn.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if conn.to_node.is_empty() {
            if conn.fin {
                return Poll::Ready(Ok(()));
            }
            conn.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let take = buffer.remaining().min(conn.to_node.len());
        let bytes: Vec<u8> = conn.to_node.drain(..take).collect();
        buffer.put_slice(&bytes);
        conn.read_by_node += take as u64;
        while let Some((place, call)) = conn.answers.front().copied() {
            if place > conn.read_by_node {
                break;
            }
            conn.answers.pop_front();
            world.history.heard(call, world.now);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut world = self.world.lock();
        let now = world.now;
        let Some(conn) = world.net.conns.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if conn.reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        conn.sent_at.get_or_insert(now);
        world.send_to_receiver(self.id, Packet::Bytes(bytes.to_vec()));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.world.lock().send_to_receiver(self.id, Packet::Fin);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.world.lock().node_leaves(self.id);
    }
}
