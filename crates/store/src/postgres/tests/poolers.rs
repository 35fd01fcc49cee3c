//! A real `PgBouncer` between us and the server is found out before anything is set through it.

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::support::{settings, why_not};
use crate::postgres::host_fault::HostFault;
use crate::postgres::postgres_server::{
    PostgresServer, SUPERUSER, USER, as_server_user, programs, run,
};

struct PgBouncer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl PgBouncer {
    fn start(server: &PostgresServer, mode: &str, more: &str) -> Self {
        let folder = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
        let at = folder.path().display();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"{USER}\" \"\"\n\"{SUPERUSER}\" \"\"\n")).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {at}/users\n\
             pool_mode = {mode}\ndefault_pool_size = 1\n{more}\n",
            server.port
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, text).unwrap();
        // It ends with this process, as the server does.
        let mut command = as_server_user("setpriv");
        command.args(["--pdeathsig", "KILL", "/usr/sbin/pgbouncer", "--quiet"]);
        command.arg(&file);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("PgBouncer ended ({status}); is Debian's package pgbouncer installed?");
            }
            std::thread::yield_now();
        }
        Self {
            child,
            port,
            _folder: folder,
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

#[test]
fn a_pooler_is_found_out_in_every_mode_and_nothing_is_set_through_it() {
    let server = PostgresServer::shared();
    let url = server.create_database();
    for mode in ["transaction", "statement", "session"] {
        for ignored in ["", "ignore_startup_parameters = options"] {
            let pooler = PgBouncer::start(server, mode, ignored);
            let through = url.replace(&format!(":{}/", server.port), &format!(":{}/", pooler.port));
            let (fault, sentence) = why_not(&settings(&through));
            assert!(
                matches!(fault, HostFault::Pooler(_)),
                "{mode}, {ignored}: {sentence}"
            );
            assert!(
                sentence.contains("host and port of PostgreSQL itself"),
                "{sentence}"
            );
            // Whoever is next in the pool finds the session as it was.
            let database = url.rsplit('/').next().unwrap().split('?').next().unwrap();
            let mut next = Command::new(programs().join("psql"));
            next.args(["-XqAt", "-h", "127.0.0.1", "-U", USER, "-d", database, "-p"])
                .args([&pooler.port.to_string(), "-c"])
                .arg("SELECT current_setting('default_transaction_read_only')")
                .args(["-c", "SHOW jit"]);
            assert_eq!(run(next), "off\non\n", "{mode}, {ignored}");
        }
    }
}
