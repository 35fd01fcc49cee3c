//! Whole requests to the site: whatever their bytes, never a 5xx, never more than a page.

use std::cell::RefCell;

use http::header::CONTENT_TYPE;
use model::tenant::TokenHash;

use crate::dashboard::csrf_token;
use crate::tests::harness::{Asking, TestApp, asking};

/// So many inputs go to one site: what they leave behind makes it slower.
const INPUTS_MAX: usize = 400;

/// Longer than any page and any list of the API.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

struct Visited {
    app: TestApp,
    secret: String,
    inputs: usize,
}

async fn visited() -> Visited {
    let app = TestApp::new().await;
    app.user("root", true).await;
    app.webhook(&["pretix.event.order.paid"]).await;
    app.hook("order", "paid").await;
    let secret = "c3".repeat(31);
    Visited {
        app,
        secret,
        inputs: 0,
    }
}

impl Visited {
    /// The input as a request: a line with method and path, header lines, a blank line, the body.
    /// In it `$SESSION` and `$CSRF` stand for those of somebody who may do everything.
    fn request(&self, input: &[u8]) -> Asking {
        let end = input.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = input.split_at(end.unwrap_or(input.len()));
        let body = body.get(2..).unwrap_or_default();
        let mut lines = head.split(|byte| *byte == b'\n');
        let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let (method, path) = line.split_once(' ').unwrap_or((&line, "/"));
        let mut asking = asking(method, path);
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.unwrap_or(line.len()));
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let name = String::from_utf8_lossy(name);
            asking = asking.with_bytes(&name, &self.filled(value));
        }
        asking.body(self.filled(body))
    }

    fn filled(&self, bytes: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return bytes.to_vec();
        };
        let filled = text.replace("$SESSION", &self.secret);
        filled.replace("$CSRF", &csrf_token(&self.secret)).into()
    }

    /// Some inputs end the session.
    async fn signed_in(&self) {
        let (hash, now) = (TokenHash::of(&self.secret), self.app.now());
        let users = self.app.store.users(None).await.unwrap();
        let Some(root) = users.iter().find(|user| user.name == "root") else {
            return;
        };
        let store = &self.app.store;
        let begun = store.begin_session(hash, root.id, None, None, now.plus_ms(60_000), now);
        begun.await.ok();
    }
}

#[test]
fn no_request_of_any_bytes_is_answered_with_a_server_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let site = RefCell::new(runtime.block_on(visited()));
    ::fuzz::run("site_request", 400, |bytes| {
        let mut site = site.borrow_mut();
        if site.inputs > INPUTS_MAX {
            *site = runtime.block_on(visited());
        }
        site.inputs += 1;
        // What the HTTP library refuses never gets here.
        let Some(request) = site.request(bytes).request() else {
            return;
        };
        let answer = runtime.block_on(async {
            site.signed_in().await;
            site.app.send(request).await
        });
        let status = answer.status.as_u16();
        assert!(status < 500, "{answer:?}");
        assert!(
            answer.body.len() <= ANSWER_BYTES_MAX,
            "{}",
            answer.body.len()
        );
        let kind = answer.headers.get(CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
            && !answer.body.is_empty()
        {
            let read: Result<serde_json::Value, _> = serde_json::from_str(&answer.body);
            assert!(read.is_ok(), "{answer:?}");
        }
        // Who is refused is told why.
        assert!(
            status < 400 || !answer.body.is_empty() || bytes.starts_with(b"HEAD"),
            "{answer:?}"
        );
    });
}
