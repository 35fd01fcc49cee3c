//! A browser as a person has one, driven over `WebDriver` (W3C) through chromedriver, of plain std.
//!
//! Waiting is the browser's business: looking for something waits until it is there (the implicit
//! wait of the protocol), so no test sleeps.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::harness::PATIENCE;

/// How an element is named in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys that have no letter (W3C `WebDriver`, 17.4.2).
pub(crate) const TAB: char = '\u{e004}';
pub(crate) const ENTER: char = '\u{e007}';
pub(crate) const SPACE: char = '\u{e00d}';

/// A browser window. Closed when dropped.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    profile: tempfile::TempDir,
    wants: Wants,
}

/// What may differ between browsers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Scripts of pages do not run.
    pub(crate) no_scripts: bool,
}

/// Something on the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element(String);

/// Starts chromedriver and returns it with the port it listens on.
///
/// With `--port=0` it takes a free IPv4 port and then wants the same number for IPv6. Where
/// another test has that one, it says so and exits, so it is started again.
fn start_driver() -> (Child, u16) {
    let mut said = Vec::new();
    for _ in 0..8 {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("chromedriver is there (./test.sh installs it)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            let port = line.split_once("started successfully on port ");
            let port = port.and_then(|(_, port)| port.trim_end_matches('.').parse().ok());
            if let Some(port) = port {
                // Whatever else it prints must not fill the pipe.
                crate::harness::spawn(move || lines.for_each(drop));
                return (driver, port);
            }
            said.push(line);
        }
        driver.wait().ok();
    }
    panic!("chromedriver does not start: {}", said.join("\n"));
}

impl Browser {
    pub(crate) fn open(wants: Wants) -> Self {
        let (driver, port) = start_driver();
        let mut browser = Self {
            driver,
            address: ([127, 0, 0, 1], port).into(),
            session: String::new(),
            profile: tempfile::tempdir().unwrap(),
            wants,
        };
        let capabilities = browser.capabilities();
        let opened = browser.call("POST", "/session", &capabilities);
        let session = opened["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("/session/{session}");
        browser
    }

    fn capabilities(&self) -> Value {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let mut options = json!({
            "binary": "/usr/bin/chromium",
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--window-size=1280,900",
                "--lang=en-GB", profile,
            ],
        });
        if self.wants.no_scripts {
            options["prefs"] = json!({"profile.managed_default_content_settings.javascript": 2});
        }
        let wait_ms = u64::try_from(PATIENCE.as_millis()).unwrap();
        json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options,
            "timeouts": {"implicit": wait_ms, "pageLoad": wait_ms, "script": wait_ms},
        }}})
    }

    pub(crate) fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({"url": url}));
    }

    /// Goes on within the only frame of the page.
    pub(crate) fn enter_frame(&self) {
        self.find("iframe");
        self.ask("POST", "/frame", &json!({ "id": 0 }));
    }

    pub(crate) fn reload(&self) {
        self.ask("POST", "/refresh", &json!({}));
    }

    pub(crate) fn is_without_scripts(&self) -> bool {
        self.wants.no_scripts
    }

    pub(crate) fn url(&self) -> String {
        let url = self.ask("GET", "/url", &Value::Null);
        url.as_str().unwrap_or_default().to_owned()
    }

    /// The first element that matches, once there is one.
    pub(crate) fn find(&self, css: &str) -> Element {
        self.locate("css selector", css)
    }

    /// The innermost element with this text, once there is one.
    pub(crate) fn find_text(&self, text: &str) -> Element {
        assert!(!text.contains('"'), "{text}");
        let path = format!(
            "//body//*[contains(normalize-space(.), \"{text}\")][not(.//*[contains(normalize-space(.), \"{text}\")])]"
        );
        self.locate("xpath", &path)
    }

    fn locate(&self, using: &str, value: &str) -> Element {
        let wanted = json!({"using": using, "value": value});
        let found = self.try_ask("POST", "/element", &wanted);
        let found = found.unwrap_or_else(|error| {
            let page = self.ask("GET", "/source", &Value::Null);
            panic!("{value} is not on {}: {error}\n{page}", self.url())
        });
        Element(found[ELEMENT].as_str().expect("an element").to_owned())
    }

    /// How many elements match at this moment.
    pub(crate) fn count(&self, css: &str) -> usize {
        let script = "return document.querySelectorAll(arguments[0]).length";
        let count = self.run(script, &[json!(css)]);
        count
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .unwrap()
    }

    /// Clicks on what matches. A live part may be replaced between the two: then it is looked for
    /// again.
    pub(crate) fn click(&self, css: &str) {
        loop {
            let Element(id) = self.find(css);
            match self.try_ask("POST", &format!("/element/{id}/click"), &json!({})) {
                Err(error) if error.contains("stale element") => {}
                clicked => {
                    clicked.unwrap_or_else(|error| panic!("{css} cannot be clicked: {error}"));
                    return;
                }
            }
        }
    }

    pub(crate) fn click_on(&self, Element(id): &Element) {
        self.ask("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// Replaces what stands in a field.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        let Element(id) = self.find(css);
        self.ask("POST", &format!("/element/{id}/clear"), &json!({}));
        self.ask(
            "POST",
            &format!("/element/{id}/value"),
            &json!({"text": text}),
        );
    }

    /// Chooses from a list by what the choice is called.
    pub(crate) fn choose(&self, css: &str, words: &str) {
        self.find(css);
        let path = format!(
            "//select[@id='{}']//option[normalize-space(.)='{words}']",
            css.trim_start_matches('#')
        );
        let option = self.locate("xpath", &path);
        self.click_on(&option);
    }

    /// The text of what matches, once there is something.
    pub(crate) fn text(&self, css: &str) -> String {
        self.find(css);
        let script = "return document.querySelector(arguments[0]).innerText";
        let text = self.run(script, &[json!(css)]);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Presses keys where the focus is, one after the other.
    pub(crate) fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                let key = key.to_string();
                ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key}))
            })
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]});
        self.ask("POST", "/actions", &actions);
    }

    /// Presses Tab until the focus is on what matches.
    pub(crate) fn tab_to(&self, css: &str) {
        self.find(css);
        let script = "return document.activeElement.matches(arguments[0])";
        for _ in 0..200 {
            self.press(&TAB.to_string());
            if self.run(script, &[json!(css)]) == json!(true) {
                return;
            }
        }
        panic!("Tab does not lead to {css} on {}", self.url());
    }

    /// Runs a script of the test's own, even where those of pages do not run.
    pub(crate) fn run(&self, script: &str, arguments: &[Value]) -> Value {
        let wanted = json!({"script": script, "args": arguments});
        self.ask("POST", "/execute/sync", &wanted)
    }

    /// Runs a script that answers through its last argument.
    pub(crate) fn run_async(&self, script: &str, arguments: &[Value]) -> Value {
        let wanted = json!({"script": script, "args": arguments});
        self.ask("POST", "/execute/async", &wanted)
    }

    /// Asks the browser itself (`DevTools` protocol).
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let wanted = json!({"cmd": command, "params": parameters});
        self.ask("POST", "/goog/cdp/execute", &wanted)
    }

    /// Gives the window this width and the page this colour scheme.
    pub(crate) fn dress(&self, width: u32, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": features}));
        let metrics = json!({
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub(crate) fn undress(&self) {
        self.devtools("Emulation.clearDeviceMetricsOverride", &json!({}));
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": []}));
    }

    /// The page as a picture (PNG), down to where it becomes long.
    pub(crate) fn picture(&self, width: u32, scheme: &str) -> Vec<u8> {
        const HEIGHT_MAX: u64 = 2_400;
        self.dress(width, scheme);
        let height = self.run("return document.documentElement.scrollHeight", &[]);
        let height = height.as_u64().unwrap_or(800).min(HEIGHT_MAX);
        let shot = json!({
            "format": "png", "captureBeyondViewport": true,
            "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
        });
        let taken = self.devtools("Page.captureScreenshot", &shot);
        self.undress();
        let data = taken["data"].as_str().expect("a picture");
        base64::prelude::BASE64_STANDARD.decode(data).unwrap()
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_ask(method, path, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let answer = self.call(method, &format!("{}{path}", self.session), body);
        match answer.get("error") {
            Some(_) => Err(answer["message"].as_str().unwrap_or_default().to_owned()),
            None => Ok(answer),
        }
    }

    /// What the driver answers under `value`.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self
            .exchange(method, path, body)
            .expect("the driver answers");
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        answer["value"].take()
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        // The driver itself waits as long as it was told to.
        stream.set_read_timeout(Some(PATIENCE * 2))?;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        // The driver keeps the connection, whatever it is asked.
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap_or(0);
                }
                Some(_) => {}
                None if line.starts_with("HTTP/") => {}
                None => break,
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without this the browser outlives its driver.
        drop(self.exchange("DELETE", &self.session, &Value::Null));
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
