//! What stands between a session and its server: it counts, changes and cuts.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

pub(super) struct Proxy {
    /// The URL of the database through it.
    pub(super) url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    round_trips: usize,
    /// Whether the server spoke last.
    answered: bool,
    replacement: Option<(Vec<u8>, Vec<u8>)>,
    cut: Option<(Vec<u8>, Cut)>,
    /// Whether the server has ended a connection.
    is_ended: bool,
    /// The client's side of each connection that is up.
    up: Vec<TcpStream>,
}

/// Where the connection is cut, once the client has said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The server never hears it.
    Before,
    /// The server's answer never arrives.
    Answer,
}

impl Proxy {
    pub(super) fn new(url: &str) -> Self {
        let (start, rest) = url.split_once("127.0.0.1:").unwrap();
        let (port, rest) = rest.split_once('/').unwrap();
        let port: u16 = port.parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let proxy = Self {
            url: format!("{start}127.0.0.1:{own}/{rest}"),
            shared: Arc::clone(&shared),
        };
        run(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let pair = (client.try_clone().unwrap(), server.try_clone().unwrap());
                shared
                    .state
                    .lock()
                    .unwrap()
                    .up
                    .push(client.try_clone().unwrap());
                let to_server = Arc::clone(&shared);
                run(move || ask(client, server, &to_server));
                let to_client = Arc::clone(&shared);
                run(move || answer(pair.0, pair.1, &to_client));
            }
        });
        proxy
    }

    /// How often the client spoke and then the server.
    pub(super) fn round_trips(&self) -> usize {
        self.shared.state.lock().unwrap().round_trips
    }

    /// Replaces what the client says next by something of the same length, once.
    pub(super) fn replace(&self, what: &str, by: &str) {
        assert_eq!(what.len(), by.len());
        self.shared.state.lock().unwrap().replacement = Some((what.into(), by.into()));
    }

    /// Cuts the connection once the client says this.
    pub(super) fn cut(&self, what: &str, cut: Cut) {
        self.shared.state.lock().unwrap().cut = Some((what.into(), cut));
    }
    /// Cuts all connections.
    pub(super) fn cut_now(&self) {
        for client in self.shared.state.lock().unwrap().up.drain(..) {
            drop(client.shutdown(Shutdown::Both));
        }
    }

    /// Waits until the server's last word was handed on.
    pub(super) fn wait_for_end(&self) {
        let mut state = self.shared.state.lock().unwrap();
        while !state.is_ended {
            state = self.shared.ended.wait(state).unwrap();
        }
    }
}

fn run(work: impl FnOnce() + Send + 'static) {
    drop(thread::Builder::new().spawn(work).unwrap());
}

fn ask(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let said = &mut buffer[..length];
        let mut state = shared.state.lock().unwrap();
        if let Some((what, by)) = &state.replacement
            && let Some(at) = find(said, what)
        {
            said[at..at + by.len()].copy_from_slice(by);
            state.replacement = None;
        }
        let cut = state.cut.as_ref();
        if cut.is_some_and(|(what, cut)| *cut == Cut::Before && find(said, what).is_some()) {
            state.cut = None;
            break;
        }
        if cut.is_some_and(|(what, _)| find(said, what).is_some()) {
            // The other half cuts.
            state.cut = Some((Vec::new(), Cut::Answer));
        }
        state.answered = false;
        drop(state);
        if server.write_all(said).is_err() {
            break;
        }
    }
    drop((
        client.shutdown(Shutdown::Both),
        server.shutdown(Shutdown::Both),
    ));
}

fn answer(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let mut state = shared.state.lock().unwrap();
        if state.cut == Some((Vec::new(), Cut::Answer)) {
            state.cut = None;
            drop(state);
            // The server does all that it was told, and then sees the end.
            server.shutdown(Shutdown::Write).unwrap();
            drop(server.read_to_end(&mut Vec::new()));
            break;
        }
        if !state.answered {
            state.round_trips += 1;
            state.answered = true;
        }
        drop(state);
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    drop((
        client.shutdown(Shutdown::Both),
        server.shutdown(Shutdown::Both),
    ));
    shared.state.lock().unwrap().is_ended = true;
    shared.ended.notify_all();
}

fn find(said: &[u8], what: &[u8]) -> Option<usize> {
    said.windows(what.len()).position(|window| window == what)
}
