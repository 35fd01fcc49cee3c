//! Connections: what each side has, what is on its way, and how long that takes.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use model::rng::SeededRng;
use tokio::sync::oneshot;

pub(crate) type ConnId = u64;

/// What travels over a connection.
pub(crate) enum Packet {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// All connections there are.
pub(crate) struct Net {
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    pub(crate) rng: SeededRng,
    pub(crate) next: ConnId,
    /// Packets that were lost, and repeated.
    pub(crate) lost: u64,
    /// Packets to and from these receivers wait until then.
    pub(crate) partitions: BTreeMap<usize, i64>,
}

pub(crate) struct Conn {
    pub(crate) receiver: usize,
    /// The life of the node that has it.
    pub(crate) life: usize,
    /// Tells the node of the connection's beginning.
    pub(crate) opened: Option<oneshot::Sender<bool>>,
    pub(crate) node_is_here: bool,
    /// When the node left it.
    pub(crate) left_at: Option<i64>,
    /// The latest call that was made over it.
    pub(crate) call: Option<usize>,
    pub(crate) receiver_is_here: bool,
    pub(crate) to_node: VecDeque<u8>,
    pub(crate) fin: bool,
    pub(crate) reset: bool,
    pub(crate) reader: Option<Waker>,
    /// When the latest packet of each direction arrives.
    pub(crate) arrives_at_receiver: i64,
    pub(crate) arrives_at_node: i64,
    /// What the receiver got and did not read yet.
    pub(crate) inbox: Vec<u8>,
    /// When the node wrote the first byte of the request that is being sent.
    pub(crate) sent_at: Option<i64>,
    /// Requests the receiver read.
    pub(crate) requests: u32,
    /// The index of a call in the history whose status line is on its way, and where in the stream.
    pub(crate) answers: VecDeque<(u64, usize)>,
    pub(crate) sent_to_node: u64,
    pub(crate) read_by_node: u64,
}

impl Net {
    pub(crate) fn new(rng: SeededRng) -> Self {
        Self {
            conns: BTreeMap::new(),
            rng,
            next: 0,
            lost: 0,
            partitions: BTreeMap::new(),
        }
    }

    /// One way through the network: mostly some milliseconds, now and then a packet is lost and
    /// repeated.
    pub(crate) fn delay(&mut self) -> i64 {
        let ms = match self.rng.below(100) {
            0..90 => 1 + self.rng.below(10),
            90..98 => 10 + self.rng.below(80),
            _ => {
                self.lost += 1;
                200 + self.rng.below(2_800)
            }
        };
        ms.cast_signed()
    }

    /// When a packet of this connection arrives that is sent then, unless another is before it.
    pub(crate) fn arrival(&mut self, id: ConnId, sent_at: i64) -> Option<(i64, &mut Conn)> {
        let at = sent_at + self.delay();
        let held = self.held_until(self.conns.get(&id)?.receiver);
        Some((at.max(held), self.conns.get_mut(&id)?))
    }

    pub(crate) fn held_until(&self, receiver: usize) -> i64 {
        self.partitions.get(&receiver).copied().unwrap_or(0)
    }
}
