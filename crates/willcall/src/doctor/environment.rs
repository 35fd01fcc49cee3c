//! Checks of what surrounds a server: its folder and files and who owns them, free space, open
//! files, and whether a running server is ready.
//!
//! Whatever `serve` needs is tried, not concluded from file modes. What is created for that is
//! removed.

use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::io::{Error, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::limits::{FREE_BYTES_LOW, FREE_BYTES_MIN};
use rustix::process::geteuid;

use super::finding::{Finding, Verdict};
use crate::config::Config;
use crate::{assemble, descriptors, disk};

/// A server that is ready answers within 2 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Written to see whether the folder can be written.
const PROBE_BYTES: usize = 64 * 1024;

pub(super) fn folder(config: &Config) -> Finding {
    let (about, folder) = ("data folder", config.data_dir.as_path());
    let shown = folder.display();
    let wrong = |words| Finding::new(about, Verdict::Wrong, words);
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => wrong(format!("{shown} is not a folder")),
        Ok(found) => match write_in(folder) {
            Err(error) => wrong(cannot(folder, "no file can be written in", &error)),
            Ok(()) => match strangers(folder, &found) {
                Some(words) => Finding::new(about, Verdict::Odd, words),
                None => Finding::new(about, Verdict::Good, format!("{shown}")),
            },
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match make_below(folder) {
            Ok(()) => {
                let words = format!("{shown} does not exist yet; the first start creates it");
                Finding::new(about, Verdict::Odd, words)
            }
            Err((place, error)) => {
                let what = format!(
                    "{shown} does not exist and cannot be created: nothing can be created in"
                );
                wrong(cannot(&place, &what, &error))
            }
        },
        Err(error) => wrong(cannot(folder, "Willcall cannot examine", &error)),
    }
}

const ONLY_OWN: &str = "only this user can read and write them";
const SHARED: &str = "only this user and its group can use them";

/// Whether `serve` can open the files, and who else can.
pub(super) fn files(config: &Config) -> Finding {
    let about = "files";
    let store = assemble::store_file(&config.data_dir);
    let beside = |end: &str| PathBuf::from(format!("{}{end}", store.display()));
    let lock = config.data_dir.join("serve.lock");
    let mut odd = None;
    let mut words = "there are none yet";
    for file in [store.clone(), beside("-wal"), beside("-shm"), lock.clone()] {
        let found = match std::fs::metadata(&file) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let words = cannot(&file, "Willcall cannot examine", &error);
                return Finding::new(about, Verdict::Wrong, words);
            }
        };
        if let Err(error) = OpenOptions::new().read(true).append(true).open(&file) {
            let words = cannot(&file, "Willcall cannot write to", &error);
            return Finding::new(about, Verdict::Wrong, words);
        }
        // The lock file is empty.
        let rights = match file == lock {
            true => 0,
            false => found.mode() & 0o077,
        };
        if rights & 0o007 != 0 {
            let words = format!(
                "everybody on this machine may use {} (rights {:03o}), which holds passwords of \
                 receivers: chmod 600",
                file.display(),
                found.mode() & 0o777
            );
            return Finding::new(about, Verdict::Wrong, words);
        }
        odd = odd.or_else(|| strangers(&file, &found));
        words = match (words, rights) {
            (SHARED, _) | (_, 1..) => SHARED,
            _ => ONLY_OWN,
        };
    }
    match odd {
        Some(words) => Finding::new(about, Verdict::Odd, words),
        None => Finding::new(about, Verdict::Good, words),
    }
}

pub(super) fn disk(config: &Config) -> Finding {
    let about = "disk";
    let shown = config.data_dir.display();
    let Some(free) = disk::free_bytes(&existing(&config.data_dir)) else {
        let words = format!("the free space for {shown} is not known");
        return Finding::new(about, Verdict::Odd, words);
    };
    let words = format!("{} free for {shown}", disk::mib(free));
    match free {
        0..FREE_BYTES_MIN => {
            let words = format!(
                "the disk is full, or nearly: {words}. Without space notifications are refused; free \
                 some"
            );
            Finding::new(about, Verdict::Wrong, words)
        }
        FREE_BYTES_MIN..FREE_BYTES_LOW => {
            let words = format!("{words}: nearly full, free some soon");
            Finding::new(about, Verdict::Odd, words)
        }
        _ => Finding::new(about, Verdict::Good, words),
    }
}

pub(super) fn open_files(config: &Config) -> Finding {
    let about = "open files";
    let needed = descriptors::needed(config);
    match descriptors::raise() {
        Some(limit) if limit < needed => {
            let words = format!(
                "the limit is {limit}, and the settings need {needed}; the server starts with smaller \
                 settings. Raise `LimitNOFILE` in its unit, or `ulimit -n`"
            );
            Finding::new(about, Verdict::Odd, words)
        }
        Some(limit) => Finding::new(
            about,
            Verdict::Good,
            format!("the limit is {limit}, at most {needed} are needed"),
        ),
        None => Finding::new(about, Verdict::Good, "there is no limit"),
    }
}

/// What the server that runs on this folder says at `/readyz`, if one runs.
pub(super) fn ready(config: &Config) -> Option<Finding> {
    let about = "server";
    if !assemble::is_running(&config.data_dir) || config.listen.port() == 0 {
        return None;
    }
    let address = reached(config.listen);
    Some(match ask_ready(address) {
        Ok((200, words)) => match words.trim().strip_prefix("ok").unwrap_or(&words).trim() {
            "" => Finding::new(about, Verdict::Good, format!("ready at {address}")),
            notes => Finding::new(
                about,
                Verdict::Odd,
                format!("ready, but: {}", notes.replace('\n', " ")),
            ),
        },
        Ok((_, words)) => Finding::new(about, Verdict::Wrong, words.trim().to_owned()),
        Err(error) => {
            let words =
                format!("a server runs on this folder, but does not answer at {address}: {error}");
            Finding::new(about, Verdict::Wrong, words)
        }
    })
}

/// The address at which this machine reaches a server that listens on `listen`.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

fn ask_ready(address: SocketAddr) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let head = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::other("the answer is not HTTP"))?;
    Ok((status, body.to_owned()))
}

/// Writes a file in the folder, as the store would, and removes it.
fn write_in(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(format!(".doctor-{}", std::process::id()));
    let mut made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)?;
    let written = made
        .write_all(&[0; PROBE_BYTES])
        .and_then(|()| made.sync_all());
    let removed = std::fs::remove_file(&file);
    written.and(removed)
}

/// Tries whether the folder can be created. The error says where it cannot, and why.
fn make_below(folder: &Path) -> Result<(), (PathBuf, Error)> {
    let place = existing(folder);
    let probe = place.join(format!(".doctor-{}", std::process::id()));
    let made = DirBuilder::new().mode(0o700).create(&probe);
    made.and_then(|()| std::fs::remove_dir(&probe))
        .map_err(|error| (place, error))
}

/// The path itself or its nearest parent that exists.
fn existing(path: &Path) -> PathBuf {
    let mut above = path
        .ancestors()
        .filter(|place| !place.as_os_str().is_empty());
    let found = above.find(|place| place.exists());
    found.unwrap_or_else(|| Path::new(".")).to_owned()
}

/// Says why something cannot be done with a path, who owns it, and what to do.
fn cannot(place: &Path, what: &str, error: &Error) -> String {
    let shown = place.display();
    match std::fs::metadata(existing(place)) {
        Ok(found) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let (owner, own) = (name_of(found.uid()), name_of(geteuid().as_raw()));
            format!(
                "{what} {shown}: it belongs to {owner}, and this is {own}. Run this as the user that \
                 runs the server (`sudo -u {owner} willcall …`), or change the owner (chown)"
            )
        }
        Ok(_) | Err(_) => format!("{what} {shown}: {error}"),
    }
}

/// A warning if the folder belongs to another user. Only root can use it and not notice.
fn strangers(place: &Path, found: &Metadata) -> Option<String> {
    let own = geteuid().as_raw();
    (found.uid() != own).then(|| {
        let (owner, own) = (name_of(found.uid()), name_of(own));
        format!(
            "{} belongs to {owner}, and this is {own}: commands of {own} create files that {owner} \
             cannot open. Run all commands as the user that runs the server",
            place.display()
        )
    })
}

/// The name of a user, if `/etc/passwd` has it.
fn name_of(uid: u32) -> String {
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("user {uid}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(data_dir: PathBuf) -> Config {
        Config::for_demo(data_dir).unwrap()
    }

    fn is(finding: &Finding, verdict: &str) -> bool {
        let found = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Odd => "odd",
            Verdict::Wrong => "wrong",
        };
        found == verdict
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_wrong_and_one_that_can_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let below = config(folder.path().join("a/b"));
        assert!(is(&super::folder(&below), "odd"));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(is(&super::folder(&config(file.clone())), "wrong"));
        assert!(is(&super::folder(&config(file.join("a"))), "wrong"));
        assert!(is(&super::folder(&config("/proc/a/b".into())), "wrong"));
        // The checks have left nothing behind.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_store_that_everybody_may_read_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path().to_owned());
        let store = assemble::store_file(folder.path());
        assert_eq!(files(&config).words, "there are none yet");
        std::fs::write(&store, "").unwrap();
        let rights = |mode| {
            std::fs::set_permissions(&store, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        rights(0o600);
        assert_eq!(files(&config).words, ONLY_OWN);
        rights(0o640);
        assert_eq!(files(&config).words, SHARED);
        rights(0o600);
        assert!(is(&files(&config), "good"));
        rights(0o604);
        assert!(is(&files(&config), "wrong"));
    }

    #[test]
    fn a_store_that_cannot_be_looked_at_is_not_said_to_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let missing = super::super::inspect(&config(folder.path().to_owned()));
        assert!(is(&missing, "odd"), "{}", missing.words);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let hidden = super::super::inspect(&config(file));
        assert!(is(&hidden, "wrong"), "{}", hidden.words);
    }

    #[test]
    fn a_full_disk_is_wrong() {
        assert!(is(&disk(&config("/proc".into())), "wrong"));
        assert!(is(&super::folder(&config("/proc".into())), "wrong"));
    }

    #[test]
    fn a_server_for_every_address_is_asked_on_this_machine() {
        for (listen, asked) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reached(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
