//! The network between a node and its database: it cuts, and it swallows.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::harness::spawn;

pub(super) struct Proxy {
    /// The URL of the database through it.
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Notifications of the database are left out.
    is_mute: bool,
    /// Of so many first connections, those that listen: the database's words do not arrive.
    deaf: usize,
    /// How many bytes connections carry before they are cut, each in turn.
    budgets: Vec<usize>,
    /// Which commits are cut: each so many.
    commit_every: Option<usize>,
    commits: usize,
    connections: usize,
    cuts: usize,
}

/// What both directions of a connection share.
struct Way {
    client: TcpStream,
    server: TcpStream,
    number: usize,
    left: Mutex<Option<usize>>,
    listens: Mutex<bool>,
    /// The answer to what was said is not to arrive.
    ends_with_answer: Mutex<bool>,
}

impl Proxy {
    pub(super) fn new(url: &str) -> Self {
        let (start, rest) = url.split_once("127.0.0.1:").unwrap();
        let (port, rest) = rest.split_once('/').unwrap();
        let port: u16 = port.parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
                    continue;
                };
                carry(client, server, &shared);
            }
        });
        Self {
            url: format!("{start}127.0.0.1:{own}/{rest}"),
            state,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on nothing that others notify arrives.
    pub(super) fn leave_out_notifications(&self) {
        self.state().is_mute = true;
    }

    /// The connections that listen now hear nothing more, and are told nothing of it.
    pub(super) fn swallow_listeners(&self) {
        let mut state = self.state();
        state.deaf = state.connections;
    }

    /// New connections carry so many bytes, in turn, and then break.
    pub(super) fn cut_after(&self, budgets: &[usize]) {
        self.state().budgets = budgets.to_vec();
    }

    /// Cuts at each so many commits: in turn before the database hears it, and before its answer.
    pub(super) fn cut_commits(&self, every: usize) {
        self.state().commit_every = Some(every);
    }

    pub(super) fn cut_nothing(&self) {
        let mut state = self.state();
        state.budgets.clear();
        state.commit_every = None;
    }

    pub(super) fn cuts(&self) -> usize {
        self.state().cuts
    }
}

fn carry(client: TcpStream, server: TcpStream, state: &Arc<Mutex<State>>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (number, left) = {
        let mut state = state.lock().unwrap();
        state.connections += 1;
        let number = state.connections;
        let budgets = &state.budgets;
        let left = budgets.get(number % budgets.len().max(1)).copied();
        (number, left)
    };
    let way = Arc::new(Way {
        client,
        server,
        number,
        left: Mutex::new(left),
        listens: Mutex::default(),
        ends_with_answer: Mutex::default(),
    });
    let (asking, to_server) = (Arc::clone(&way), Arc::clone(state));
    spawn(move || ask(&asking, &to_server));
    let to_client = Arc::clone(state);
    spawn(move || answer(&way, &to_client));
}

impl Way {
    fn cut(&self) {
        drop(self.client.shutdown(Shutdown::Both));
        drop(self.server.shutdown(Shutdown::Both));
    }

    /// How much of so many bytes still gets through.
    fn spend(&self, bytes: usize, state: &Mutex<State>) -> usize {
        let mut left = self.left.lock().unwrap();
        let Some(left) = left.as_mut() else {
            return bytes;
        };
        let passed = bytes.min(*left);
        *left -= passed;
        if passed < bytes {
            state.lock().unwrap().cuts += 1;
        }
        passed
    }
}

fn ask(way: &Way, state: &Mutex<State>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = (&way.client).read(&mut buffer) {
        let said = &buffer[..length];
        if has(said, b"LISTEN willcall") {
            *way.listens.lock().unwrap() = true;
        }
        if has(said, b"COMMIT") {
            let mut state = state.lock().unwrap();
            state.commits += 1;
            let every = state.commit_every.unwrap_or(usize::MAX);
            if state.commits.is_multiple_of(every) {
                state.cuts += 1;
                match state.commits / every % 2 {
                    0 => break,
                    _ => *way.ends_with_answer.lock().unwrap() = true,
                }
            }
        }
        let passed = way.spend(length, state);
        if (&way.server).write_all(&said[..passed]).is_err() || passed < length {
            break;
        }
    }
    way.cut();
}

fn answer(way: &Way, state: &Mutex<State>) {
    let mut buffer = vec![0; 65_536];
    let mut messages = Vec::new();
    while let Ok(length @ 1..) = (&way.server).read(&mut buffer) {
        if *way.ends_with_answer.lock().unwrap() {
            break;
        }
        messages.extend_from_slice(&buffer[..length]);
        let whole = take_whole(&mut messages, state.lock().unwrap().is_mute);
        if *way.listens.lock().unwrap() && way.number <= state.lock().unwrap().deaf {
            continue;
        }
        let passed = way.spend(whole.len(), state);
        if (&way.client).write_all(&whole[..passed]).is_err() || passed < whole.len() {
            break;
        }
    }
    way.cut();
}

/// Takes the messages that have come as a whole, without notifications if they are left out.
fn take_whole(bytes: &mut Vec<u8>, is_mute: bool) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(length) = bytes.get(1..5) {
        let length = u32::from_be_bytes(length.try_into().unwrap());
        let end = 1 + usize::try_from(length).unwrap();
        if bytes.len() < end {
            break;
        }
        let message: Vec<u8> = bytes.drain(..end).collect();
        if !(is_mute && message[0] == b'A') {
            whole.extend(message);
        }
    }
    whole
}

fn has(said: &[u8], what: &[u8]) -> bool {
    said.windows(what.len()).any(|window| window == what)
}
