//! A name server that never answers, and a way to run our server so that it asks only this one:
//! with other resolver files in `/etc` (`namespace.rs`).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::namespace::MountNamespace;
use crate::tasks;

/// The port of name servers.
const PORT: u16 = 53;

/// The last bytes of 127.0.0.x to try. Other local name servers use 127.0.0.1 and addresses from
/// 127.0.0.53 on.
const HOSTS: std::ops::RangeInclusive<u8> = 61..=68;

/// Bytes that are read of a query.
const QUESTION_BYTES: usize = 512;

/// The name server. It listens until this is dropped.
pub(crate) struct SilentDnsServer {
    /// Has a program ask it.
    pub(crate) namespace: MountNamespace,
    asked: watch::Receiver<u64>,
}

impl SilentDnsServer {
    /// Starts to listen, and writes the files into `folder`.
    ///
    /// # Errors
    /// If this machine does not allow it; the error says why.
    pub(crate) async fn begin(folder: &Path) -> Result<Self> {
        let hosts = HOSTS.map(|host| SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), PORT)));
        let silent_dns = Self::at_one_of(hosts, folder).await?;
        silent_dns.namespace.try_out()?;
        Ok(silent_dns)
    }

    async fn at_one_of(addresses: impl Iterator<Item = SocketAddr>, folder: &Path) -> Result<Self> {
        let mut refused = anyhow!("there is no address");
        for address in addresses {
            match UdpSocket::bind(address).await {
                Ok(socket) => return Self::on(socket, folder),
                Err(error) => {
                    refused = anyhow!("a name server cannot listen on {address}: {error}");
                }
            }
        }
        Err(refused)
    }

    fn on(socket: UdpSocket, folder: &Path) -> Result<Self> {
        let address = socket.local_addr()?.ip();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("the file {} cannot be written", path.display()))?;
            anyhow::Ok(path)
        };
        // A machine without `nsswitch.conf` uses DNS anyway.
        let namespace = MountNamespace(vec![
            (
                write("resolv.conf", format!("nameserver {address}\n"))?,
                "/etc/resolv.conf",
            ),
            (
                write("nsswitch.conf", "hosts: files dns\n".to_owned())?,
                "/etc/nsswitch.conf",
            ),
        ]);
        let (count, asked) = watch::channel(0);
        tasks::spawn(hear(socket, count));
        Ok(Self { namespace, asked })
    }

    /// Queries received so far.
    pub(crate) fn asked(&self) -> u64 {
        *self.asked.borrow()
    }
}

/// Counts queries until the receiver of the count is dropped.
async fn hear(socket: UdpSocket, count: watch::Sender<u64>) {
    let mut question = [0; QUESTION_BYTES];
    loop {
        let came = tokio::select! {
            biased;
            () = count.closed() => return,
            came = socket.recv_from(&mut question) => came,
        };
        // Linux reports here that an earlier client is gone.
        if came.is_ok() {
            count.send_modify(|count| *count += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::path::PathBuf;
    use std::process::Stdio;

    use super::*;
    use crate::process;

    #[tokio::test]
    async fn a_name_server_that_answers_nothing_counts_what_it_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut silent_dns = SilentDnsServer::on(socket, folder.path()).unwrap();
        let resolver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for count in 1..=2 {
            resolver.send_to(b"where?", address).await.unwrap();
            silent_dns.asked.changed().await.unwrap();
            assert_eq!(silent_dns.asked(), count);
        }
        assert!(
            resolver.try_recv(&mut [0; 1]).is_err(),
            "nothing comes back"
        );
    }

    #[tokio::test]
    async fn a_name_server_is_at_the_first_address_that_is_free_or_says_why_at_none() {
        let folder = tempfile::tempdir().unwrap();
        let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let taken = (taken.local_addr().unwrap(), taken);
        let refused = SilentDnsServer::at_one_of([taken.0].into_iter(), folder.path()).await;
        let words = refused.err().unwrap().to_string();
        assert!(words.contains(&taken.0.to_string()), "{words}");
        assert!(words.contains("in use"), "{words}");
        let free = SocketAddr::from(([127, 0, 0, 3], 0));
        let begun = SilentDnsServer::at_one_of([taken.0, free].into_iter(), folder.path()).await;
        let files = begun.unwrap().namespace.0;
        let text = |(path, _): &(PathBuf, _)| std::fs::read_to_string(path).unwrap();
        let files: Vec<String> = files.iter().map(text).collect();
        assert_eq!(files, ["nameserver 127.0.0.3\n", "hosts: files dns\n"]);
    }

    #[tokio::test]
    async fn a_program_in_a_namespace_sees_its_own_files_and_is_measured_and_ended_by_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let silent_dns = SilentDnsServer::on(socket, folder.path()).unwrap();
        if let Err(why) = silent_dns.namespace.try_out() {
            println!("nothing is shown here: {why:#}");
            return;
        }
        let before = std::fs::read_to_string("/etc/resolv.conf").unwrap();
        let mut command = silent_dns.namespace.command(Path::new("sh"));
        command.args([
            "-c",
            "cat /etc/resolv.conf /etc/nsswitch.conf; echo $$; read it",
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let said: Vec<String> = said.take(3).map(Result::unwrap).collect();
        let pid = child.id();
        let expected = ["nameserver 127.0.0.1", "hosts: files dns", &pid.to_string()];
        assert_eq!(said, expected);
        assert!(process::effort(pid).unwrap().switches > 0);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let after = std::fs::read_to_string("/etc/resolv.conf").unwrap();
        assert_eq!(after, before, "outside nothing has changed");
    }
}
