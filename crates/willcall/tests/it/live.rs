//! A live page is open while the server is told to stop.

use std::io::{Read, Write};
use std::net::TcpStream;

use model::tenant::TokenHash;
use model::time::Timestamp;
use model::users::{NewUser, PasswordHash};
use prometheus_client::registry::Registry;

use crate::harness::{PATIENCE, Server, TENANT, apply};

/// The secret of a session, as the server makes them: 62 letters and digits.
const SESSION: &str = "a1b2c3d4e5a1b2c3d4e5a1b2c3d4e5a1b2c3d4e5a1b2c3d4e5a1b2c3d4e5a1";

#[tokio::test]
async fn a_page_that_is_followed_live_does_not_hold_up_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let applied = apply(folder.path(), TENANT);
    assert!(applied.status.success(), "{applied:?}");
    begin_session(folder.path()).await;

    let server = Server::start(folder.path(), &[]);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "GET /t/1/log/live HTTP/1.1\r\nHost: {}\r\nCookie: willcall_session={SESSION}\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut heard = String::new();
    while !heard.contains("retry: 2000\n\n") {
        let mut piece = [0; 4_096];
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");

    let (code, _) = server.terminate();
    assert_eq!(code, Some(0));
    // The last chunk: the response ended and was not cut off.
    stream.read_to_string(&mut heard).unwrap();
    assert!(heard.ends_with("\r\n0\r\n\r\n"), "{heard}");
}

/// Signs an administrator in before the server starts.
async fn begin_session(folder: &std::path::Path) {
    let store = store::open(&folder.join("willcall.db"), &mut Registry::default()).unwrap();
    let now = Timestamp::from_millis(1);
    let new = NewUser {
        name: "root".to_owned(),
        password: PasswordHash("$none".to_owned()),
        administrator: true,
    };
    let user = store.create_user(new, now).await.unwrap();
    let session = TokenHash::of(SESSION);
    let begun = store.begin_session(session, user.id, None, None, Timestamp::MAX, now);
    begun.await.unwrap();
    store.close().await.unwrap();
}
