//! A browser without a screen: keeps cookies, sends forms as its pages have them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::transport::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use model::id::{TenantId, UserId};
use model::password;
use model::tenant::TokenHash;
use model::users::{NewUser, PasswordHash, Role, User};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::dashboard::csrf_token;
use crate::tests::harness::{Arrived, Asking, TestApp, asking};

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct Browser<'h> {
    app: &'h TestApp,
    /// The address it asks from.
    pub(crate) address: Option<IpAddr>,
    pub(crate) cookies: BTreeMap<String, String>,
    /// What the forms of the latest page carry.
    on_page: Option<String>,
}

impl TestApp {
    /// A user who can sign in by a link only, which takes no time.
    pub(crate) async fn user(&self, name: &str, administrator: bool) -> User {
        self.create(name, administrator, PasswordHash("$none".to_owned()))
            .await
    }

    /// A user with the password `PASSWORD`.
    pub(crate) async fn user_with_password(&self, name: &str) -> User {
        let hash = password::hash(PASSWORD, b"0123456789abcdef").unwrap();
        self.create(name, false, hash).await
    }

    async fn create(&self, name: &str, administrator: bool, password: PasswordHash) -> User {
        let new = NewUser {
            name: name.to_owned(),
            password,
            administrator,
        };
        self.store.create_user(new, self.now()).await.unwrap()
    }

    pub(crate) async fn role(&self, user: UserId, tenant: TenantId, role: Option<Role>) {
        let given = self
            .store
            .set_role(tenant, user, role, "test".to_owned(), self.now());
        assert!(given.await.unwrap());
    }

    /// A user with this role at the organizer, signed in.
    pub(crate) async fn browser_with(&self, role: Role) -> Browser<'_> {
        let user = self.user(role.as_str(), false).await;
        let tenant = self.tenant("bigevents").await;
        self.role(user.id, tenant, Some(role)).await;
        self.browser_of(user.id).await
    }

    pub(crate) async fn administrator(&self) -> Browser<'_> {
        let user = self.user("root", true).await;
        self.browser_of(user.id).await
    }

    /// A browser in which this user is signed in.
    pub(crate) async fn browser_of(&self, user: UserId) -> Browser<'_> {
        let mut browser = self.browser();
        let secret = format!("{:0>62}", user.0);
        let until = self.now().plus_ms(model::limits::LINK_MS);
        let link = TokenHash::of(&secret);
        self.store.create_link(link, user, until).await.unwrap();
        let used = browser.get(&format!("/link/{secret}")).await;
        assert_eq!(
            (used.status.as_u16(), used.header("location")),
            (303, Some("/"))
        );
        browser
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser {
            app: self,
            address: None,
            cookies: BTreeMap::new(),
            on_page: None,
        }
    }
}

impl Browser<'_> {
    pub(crate) async fn get(&mut self, path: &str) -> Arrived {
        self.send(asking("GET", path)).await
    }

    /// Sends a form as a page of ours would.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Arrived {
        let csrf_token = self.csrf_token();
        let mut fields = fields.to_vec();
        fields.push(("csrf_token", &csrf_token));
        self.post_as_is(path, &fields).await
    }

    pub(crate) async fn post_as_is(&mut self, path: &str, fields: &[(&str, &str)]) -> Arrived {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pair = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
        let body: Vec<String> = fields.iter().map(pair).collect();
        let asking = asking("POST", path)
            .with("Content-Type", "application/x-www-form-urlencoded")
            .with("Origin", "http://127.0.0.1:18544")
            .body(body.join("&"));
        self.send(asking).await
    }

    /// What the latest page's forms carry; before any, what they would.
    pub(crate) fn csrf_token(&self) -> String {
        let session = self
            .cookies
            .get("willcall_session")
            .map(|own| csrf_token(own));
        self.on_page.clone().or(session).unwrap_or_default()
    }

    /// Asks with the cookies there are, and keeps those that come back.
    pub(crate) async fn send(&mut self, asking: Asking) -> Arrived {
        let pairs = self.cookies.iter();
        let line: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let asking = asking
            .without("Authorization")
            .with("Cookie", &line.join("; "));
        let arrived = self.app.ask_from(self.address, asking).await;
        for cookie in arrived.headers.get_all("set-cookie") {
            self.on_page = None;
            let text = cookie.to_str().unwrap();
            let (pair, _) = text.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match text.contains("Max-Age=0;") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        let marked = arrived.body.split_once("name=\"csrf_token\" value=\"");
        if let Some((csrf_token, _)) = marked.and_then(|(_, rest)| rest.split_once('"')) {
            self.on_page = Some(csrf_token.to_owned());
        }
        arrived
    }
}

impl Browser<'_> {
    /// An answer whose body need not be UTF-8.
    pub(crate) async fn raw(&mut self, asking: Asking) -> (HeaderMap, Bytes) {
        let response = self.open(asking).await;
        let (head, body) = response.into_parts();
        (head.headers, body.collect().await.unwrap().to_bytes())
    }

    /// An answer whose body is not read yet.
    pub(crate) async fn open(&mut self, asking: Asking) -> Response<Body> {
        let pairs = self.cookies.iter();
        let line: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let asking = asking
            .without("Authorization")
            .with("Cookie", &line.join("; "));
        let request = asking.request().unwrap();
        self.app.site.clone().answer(request).await
    }
}

impl Arrived {
    /// What a page says, without its markup; runs of space are one.
    pub(crate) fn words(&self) -> String {
        let mut words = String::new();
        let mut is_text = true;
        for letter in self.body.chars() {
            match letter {
                '<' => is_text = false,
                '>' => {
                    is_text = true;
                    words.push(' ');
                }
                letter if is_text => words.push(letter),
                _ => {}
            }
        }
        let words: Vec<&str> = words.split_whitespace().collect();
        words.join(" ")
    }

    pub(crate) fn says(&self, words: &str) -> bool {
        self.words().contains(words)
    }

    pub(crate) fn leads_to(&self) -> (u16, &str) {
        (
            self.status.as_u16(),
            self.header("location").unwrap_or_default(),
        )
    }
}
