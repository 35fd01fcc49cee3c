//! The dashboard in a frame of a platform's page, in a real browser: on another site, over a proxy
//! that says that the outside is encrypted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::driver::{Browser, Wants};
use super::{House, PAID};
use crate::administrators::administrator;
use crate::harness::spawn;

/// Reads the head of a request.
fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) | Err(_) => return None,
        }
    }
    String::from_utf8(head).ok()
}

/// Passes each request on to `server` as a proxy that ends TLS does, on a connection of its own.
fn proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || pass(stream, server));
        }
    });
    address
}

fn pass(mut browser: TcpStream, server: SocketAddr) {
    let Some(head) = head(&mut browser) else {
        return;
    };
    let mut onward = TcpStream::connect(server).unwrap();
    let lines = head.trim_end().lines();
    let lines = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let lines: Vec<&str> = lines.collect();
    let more = "X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let head = format!("{}\r\n{more}", lines.join("\r\n"));
    onward.write_all(head.as_bytes()).unwrap();
    let (mut from, mut to) = (browser.try_clone().unwrap(), onward.try_clone().unwrap());
    spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
    });
    std::io::copy(&mut onward, &mut browser).ok();
    browser.shutdown(std::net::Shutdown::Both).ok();
}

/// A page of the platform that has `url` in a frame.
fn platform(listener: TcpListener, url: String) {
    spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if head(&mut stream).is_none() {
                continue;
            }
            let page =
                format!("<!doctype html><iframe src=\"{url}\" width=900 height=900></iframe>");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{page}",
                page.len()
            );
            stream.write_all(answer.as_bytes()).ok();
        }
    });
}

/// A browser with the platform's page, which has a portal link in its frame.
fn framed(app: &House, listener: TcpListener) -> Browser {
    let port = listener.local_addr().unwrap().port();
    let shop = administrator(&app.server, app.folder.path(), "shop");
    let links = "/willcall/v1/tenants/pretix/bigevents/portal_links";
    let (status, made) = shop.post(links, r#"{"role":"edit","name":"Ben"}"#);
    assert_eq!(status, 201, "{made}");
    let outside = proxy(app.server.address);
    platform(
        listener,
        format!("http://{outside}{}", made["path"].as_str().unwrap()),
    );
    let browser = Browser::open(Wants::default());
    // Another site than the address of the frame.
    browser.go(&format!("http://localhost:{port}/"));
    browser.enter_frame();
    browser
}

#[test]
fn a_customer_makes_a_webhook_within_a_frame_of_another_site() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let app = House::with(&["--frame-ancestors", &origin]);
    let browser = framed(&app, listener);
    browser.find_text("Ben (portal link)");
    browser.click("main a[href$='/webhooks/new']");
    browser.fill("#target_url", &app.receiver.url("/framed"));
    browser.click(&format!("input[name=action_types][value='{PAID}']"));
    browser.click("#webhook-form button.primary");
    browser.find_text("The webhook is created.");
    app.hand_in(1);
    assert_eq!(app.receiver.next().path, "/framed");
    browser.click(".who button");
    browser.find_text("Sign in");
}

#[test]
fn a_site_that_is_not_listed_shows_no_frame() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = House::with(&["--frame-ancestors", "https://tickets.example.org"]);
    let browser = framed(&app, listener);
    // The browser's own page for a frame that it refuses.
    let text = browser.text("body");
    assert!(!text.contains("Ben"), "{text}");
    assert_eq!(browser.count(".who"), 0);
}
