//! A database whose disk is full.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::house::{House, IN_FLIGHT_MAX, Load, lines_of, ready, send, wait_for};
use crate::postgres_server::{PostgresServer, SUPERUSER};

/// Enough for an empty database and some thousand notifications.
const DISK_MIB: u32 = 80;

/// A disk of its own below a database server, which is ended with it.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount(folder: &Path) -> Option<Self> {
        let size = format!("size={DISK_MIB}m,mode=777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder);
        let mounted = mount.output();
        if !mounted.as_ref().is_ok_and(|done| done.status.success()) {
            println!("nothing can be mounted here, so nothing is shown: {mounted:?}");
            return None;
        }
        let folder = folder.to_owned();
        Some(Self { folder })
    }

    fn filling(&self) -> PathBuf {
        self.folder.join("filling")
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.filling()).unwrap();
        while file.write_all(&[1; 65_536]).is_ok() {}
        while file.write_all(&[1]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        unmount.arg("-l").arg(&self.folder);
        assert!(unmount.status().unwrap().success());
    }
}

/// A server whose tables are on a small disk, and its log elsewhere: a server that cannot write its
/// log ends, and is away.
fn server() -> Option<(PostgresServer, Disk)> {
    let folder = tempfile::tempdir_in("/tmp").unwrap().keep();
    let disk = Disk::mount(&folder)?;
    let server = PostgresServer::start(&[("fsync", "off")]);
    let inner = disk.folder.join("tables");
    let sql = format!("create tablespace small location '{}'", inner.display());
    fs::create_dir(&inner).unwrap();
    let owner = fs::metadata(server.data()).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&owner);
    std::os::unix::fs::chown(&inner, Some(uid), None).unwrap();
    server.run_sql(SUPERUSER, &sql);
    let all = "alter database template1 set tablespace small";
    server.run_sql(SUPERUSER, all);
    Some((server, disk))
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_all_goes_on_when_there_is_room() {
    let Some((server, disk)) = server() else {
        return;
    };
    let house = House::on(server);
    let nodes: [_; 2] = house.nodes();
    house.subscribe(&nodes[0]);
    let load = Load::on(&[&nodes[0], &nodes[1]]);
    load.wait_for(20);
    disk.fill();
    let (next, mut extra) = (Cell::new(1_000_000), BTreeSet::new());
    for node in &nodes {
        let (_, answer) = wait_for(
            "refused",
            || {
                // The files that there are have room for some.
                let id = next.replace(next.get() + 1);
                send(&node.client(), id).unwrap()
            },
            |(status, _)| {
                if *status == 201 {
                    extra.insert(next.get() - 1);
                }
                *status == 503
            },
        )
        .0;
        assert!(answer.contains("\r\nretry-after: 30\r\n"), "{answer}");
        assert!(
            answer.contains("the disk of the database is full"),
            "{answer}"
        );
        let is_said = |(status, words): &(u16, String)| {
            *status == 503
                && words.contains("the disk of the database is full, for ")
                && words.contains("could not extend file")
                && words.contains("Make room on it")
        };
        for _ in 0..3 {
            wait_for("said", || ready(node), is_said);
        }
        assert_eq!(lines_of(node, "ERROR").len(), 1, "{}", node.log());
    }
    fs::remove_file(disk.filling()).unwrap();
    for node in &nodes {
        wait_for("ready", || ready(node), |(status, _)| *status == 200);
        node.await_log("the database answers again");
    }
    load.wait_for(20);
    let mut accepted = load.end();
    accepted.append(&mut extra);
    let duplicates = house.duplicates(&accepted);
    assert!(duplicates <= 2 * IN_FLIGHT_MAX, "{duplicates}");
    for node in nodes {
        assert_eq!(node.terminate().0, Some(0));
    }
    house.postgres.end("immediate");
}
