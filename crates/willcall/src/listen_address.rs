//! What a server listens on: an address with a port, or a socket in the file system. How a program
//! on this machine reaches it, and what makes of a socket's file one that can be listened on.
//!
//! A file is removed only under a lock and only if nobody listens on it.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::{UnixListener, UnixSocket};

/// What stands for the address of those who come by a socket, and what `trusted_proxies` names it
/// by. No connection comes from this address.
pub(crate) const SOCKET_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub(crate) const SOCKET_NAME: &str = "unix";

/// What a path begins with in the setting.
const SCHEME: &str = "unix:";

/// The kernel takes no longer paths (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    Tcp(SocketAddr),
    Socket(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix(SCHEME) else {
            return text.parse().map(Self::Tcp).map_err(|_| {
                "it has to be an IP address with a port, such as 127.0.0.1:8080, or a socket, such \
                 as unix:/run/willcall/http.sock; or several of them with commas"
                    .to_owned()
            });
        };
        if !path.starts_with('/') || path.ends_with('/') || path.len() > PATH_BYTES_MAX {
            return Err(format!(
                "what follows {SCHEME} has to be a path from the root of at most \
                 {PATH_BYTES_MAX} bytes"
            ));
        }
        Ok(Self::Socket(path.into()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Socket(path) => write!(f, "{SCHEME}{}", path.display()),
        }
    }
}

impl ListenAddress {
    /// Where this machine itself reaches it; nothing if the port is not known before.
    pub(crate) fn reached(&self) -> Option<Self> {
        match self {
            Self::Tcp(address) if address.port() == 0 => None,
            Self::Tcp(address) => {
                let ip: IpAddr = match address.ip() {
                    ip if !ip.is_unspecified() => ip,
                    IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                };
                Some(Self::Tcp(SocketAddr::new(ip, address.port())))
            }
            Self::Socket(_) => Some(self.clone()),
        }
    }

    /// Sends a request and reads a short response, each within a time.
    pub(crate) fn exchange(&self, path: &str, limit: Duration) -> io::Result<Vec<u8>> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, limit)?;
                stream.set_read_timeout(Some(limit))?;
                exchanged(stream, &address.to_string(), path)
            }
            Self::Socket(socket) => {
                let stream = UnixStream::connect(socket)?;
                stream.set_read_timeout(Some(limit))?;
                exchanged(stream, "localhost", path)
            }
        }
    }
}

fn exchanged(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<Vec<u8>> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(answer)
}

/// A socket that is listened on. Its file is removed when it is dropped.
pub(crate) struct SocketListener {
    pub(crate) inner: UnixListener,
    path: PathBuf,
    /// Device and inode: another program may have put its own there.
    file: (u64, u64),
    /// Held as long as the file is ours.
    _lock: File,
}

impl SocketListener {
    /// Listens on a socket, whose file gets this mode before anybody can connect.
    ///
    /// # Errors
    /// If somebody listens there already, or the file is no socket; the error says what to do.
    pub(crate) fn bind(path: &Path, mode: u32) -> Result<Self> {
        let shown = path.display();
        let lock = lock(path)?;
        if Self::judge(path)? {
            fs::remove_file(path).with_context(|| {
                format!("the socket {shown} was left behind, and cannot be removed")
            })?;
        }
        let socket = UnixSocket::new_stream().context("the system gives no socket")?;
        let bound = socket.bind(path).and_then(|()| {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
            let found = fs::symlink_metadata(path)?;
            // Nobody can connect before this.
            Ok((socket.listen(BACKLOG)?, (found.dev(), found.ino())))
        });
        let (inner, file) = bound.with_context(|| {
            format!(
                "cannot listen on the socket {shown}; its folder has to exist, and this user has to \
                 be allowed to write there"
            )
        })?;
        Ok(Self {
            inner,
            path: path.to_owned(),
            file,
            _lock: lock,
        })
    }

    /// Whether there is a file that a server left behind. Changes nothing.
    ///
    /// # Errors
    /// If nobody can listen there, or somebody does already.
    pub(crate) fn judge(path: &Path) -> Result<bool> {
        let shown = path.display();
        if !path.parent().is_some_and(Path::is_dir) {
            bail!("the folder of the socket {shown} does not exist");
        }
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("{shown} cannot be looked at"));
            }
        };
        if !found.file_type().is_socket() {
            bail!("{shown} is there and is no socket; remove it, or choose another with --listen");
        }
        match UnixStream::connect(path) {
            Ok(_) => bail!(
                "another program listens on the socket {shown}; stop it, or choose another socket \
                 with --listen"
            ),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
            Err(error) => Err(error).with_context(|| {
                format!(
                    "{shown} is a socket, and it cannot be found out whether somebody listens there"
                )
            }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketListener {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.file) {
            // What stays is removed by the next start.
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Takes the lock beside a socket: of two servers that find a stale file at the same time, one
/// would remove the other's new one.
fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let shown = name.display();
    let file = OpenOptions::new().create(true).append(true).open(&name);
    let file = file.with_context(|| {
        format!(
            "the lock {shown} of a socket cannot be opened; its folder has to exist, and this user \
             has to be allowed to write there"
        )
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another Willcall listens on the socket {}; stop it, or choose another socket with \
             --listen",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{shown} cannot be locked"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn addresses_and_sockets_are_read_and_what_is_neither_is_refused() {
        for text in ["127.0.0.1:80", "[::1]:0", "unix:/run/willcall/http.sock"] {
            let read: ListenAddress = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(PATH_BYTES_MAX));
        for text in ["", "localhost", "unix:", "unix:a.sock", "unix:/run/", &long] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_for_every_address_is_asked_on_this_machine() {
        for (listen, asked) in [
            ("0.0.0.0:80", Some("127.0.0.1:80")),
            ("[::]:80", Some("[::1]:80")),
            ("192.0.2.1:80", Some("192.0.2.1:80")),
            ("192.0.2.1:0", None),
            ("unix:/a", Some("unix:/a")),
        ] {
            let reached = listen.parse::<ListenAddress>().unwrap().reached();
            assert_eq!(reached, asked.map(|asked| asked.parse().unwrap()));
        }
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_and_its_file_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        for mode in [0o600, 0o660, 0o666] {
            let listener = SocketListener::bind(&path, mode).unwrap();
            assert_eq!(mode_of(&path), mode);
            assert_eq!(listener.path(), path);
            drop(listener);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_file_is_replaced_only_if_it_is_a_socket_that_nobody_listens_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        let refused = |words: &str| {
            let error = SocketListener::bind(&path, 0o600).err().unwrap();
            assert!(error.to_string().contains(words), "{error}");
            assert!(path.exists());
        };
        let foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
        refused("another program listens");
        // It ends without removing its file.
        drop(foreign);
        let own = SocketListener::bind(&path, 0o600).unwrap();
        refused("another Willcall listens");
        // Somebody else's file is left alone at the end.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a text").unwrap();
        drop(own);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a text");
        refused("is no socket");
        let nowhere = SocketListener::bind(Path::new("/nowhere/a.sock"), 0o600);
        let said = format!("{:#}", nowhere.err().unwrap());
        assert!(said.contains("its folder has to exist"), "{said}");
    }
}
