//! Guesses the password of a user from one address, and checks that the user can still sign in from
//! another. Both do what a browser does: they load the sign-in page and send its form.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN, SET_COOKIE};
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::measure::float;
use crate::report::Measure;
use crate::sender::open_from;
use crate::tasks;

/// The user whose password is guessed, and the password: characters that a form does not escape.
pub(crate) const OWNER: (&str, &str) = ("owner", "what-the-owner-knows");

const WRONG: &str = "what-nobody-knows";

/// Four guesses a second.
const GUESS_EVERY: Duration = Duration::from_millis(250);

/// Loading the page and hashing take milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// How often the owner signs in meanwhile.
const SIGN_INS: u32 = 3;

/// Guesses so far, by response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Guesses {
    /// The password was compared and is wrong.
    judged: u64,
    /// There were too many guesses.
    turned_away: u64,
}

impl Guesses {
    fn note(&mut self, status: StatusCode) {
        match status {
            StatusCode::FORBIDDEN => self.judged += 1,
            StatusCode::TOO_MANY_REQUESTS => self.turned_away += 1,
            _ => {}
        }
    }

    fn answered(self) -> u64 {
        self.judged + self.turned_away
    }
}

/// Guesses from the address `from` until told to stop, without waiting for responses.
pub(crate) fn begin(
    server: SocketAddr,
    from: Ipv4Addr,
    mut stopped: watch::Receiver<()>,
) -> watch::Receiver<Guesses> {
    let (tell, told) = watch::channel(Guesses::default());
    tasks::spawn(async move {
        let mut next = interval(GUESS_EVERY);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                _ = next.tick() => {}
            }
            let tell = tell.clone();
            tasks::spawn(async move {
                // A guess without a response does not count.
                if let Ok(status) = sign_in(server, from, OWNER.0, WRONG).await {
                    tell.send_modify(|guesses| guesses.note(status));
                }
            });
        }
    });
    told
}

/// Signs the owner in from the address `from` while guesses go on.
///
/// # Errors
/// If no guess was answered.
pub(crate) async fn owner(
    server: SocketAddr,
    from: Ipv4Addr,
    mut guesses: watch::Receiver<Guesses>,
) -> Result<Vec<Measure>> {
    let answered = timeout(LIMIT, guesses.wait_for(|guesses| guesses.answered() > 0)).await;
    answered
        .ok()
        .and_then(Result::ok)
        .context("no guess was answered")?;
    let mut turned_away = 0;
    let mut slowest = Duration::ZERO;
    for _ in 0..SIGN_INS {
        let began = Instant::now();
        let status = sign_in(server, from, OWNER.0, OWNER.1).await?;
        slowest = slowest.max(began.elapsed());
        turned_away += u32::from(status != StatusCode::SEE_OTHER);
    }
    let guesses = *guesses.borrow();
    let of = format!("of {SIGN_INS} sign-ins of the user from elsewhere, refused");
    let slowest_ms = slowest.as_secs_f64() * 1_000.0;
    Ok(vec![
        Measure::new("guesses", "guesses answered", float(guesses.answered()), ""),
        Measure::new(
            "judged",
            "of them compared with the password",
            float(guesses.judged),
            "",
        ),
        Measure::new("owner_refused", &of, turned_away.into(), "").at_most(0.0),
        Measure::new("owner_slowest", "the slowest of these", slowest_ms, "ms"),
    ])
}

/// Loads the sign-in page and sends its form; returns the status of the response.
async fn sign_in(
    server: SocketAddr,
    from: Ipv4Addr,
    name: &str,
    password: &str,
) -> Result<StatusCode> {
    let trying = async {
        let stream = open_from(from, server).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        tasks::spawn(async move { drop(connection.await) });
        let host = server.to_string();
        let asked = Request::get("/sign-in").header(HOST, &host);
        let (head, page) = exchange(&mut sender, asked.body(Full::default())?).await?;
        let page = String::from_utf8_lossy(&page);
        let (field, token) = csrf_token(&page).context("the sign-in page has no form")?;
        let form = format!("name={name}&password={password}&{field}={token}");
        let sent = Request::post("/sign-in")
            .header(HOST, &host)
            .header(ORIGIN, format!("http://{host}"))
            .header(COOKIE, cookies(&head.headers))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (head, _) = exchange(&mut sender, sent.body(Full::new(form.into()))?).await?;
        Ok(head.status)
    };
    timeout(LIMIT, trying)
        .await
        .context("the sign-in page does not answer")?
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(Parts, Bytes)> {
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok((head, body.collect().await?.to_bytes()))
}

/// The name and value of a form's CSRF field. Earlier builds called the field `proof`.
fn csrf_token(page: &str) -> Option<(&'static str, &str)> {
    ["csrf_token", "proof"].into_iter().find_map(|field| {
        let (_, rest) = page.split_once(&format!("name=\"{field}\" value=\""))?;
        Some((field, rest.split_once('"')?.0))
    })
}

/// The cookies that a response sets, as a `Cookie` header.
fn cookies(headers: &HeaderMap) -> String {
    let lines = headers.get_all(SET_COOKIE).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let pairs = lines.filter_map(|line| line.split(';').next());
    pairs.collect::<Vec<&str>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_goes_back_with_what_the_page_brought() {
        for field in ["csrf_token", "proof"] {
            let page = format!(
                "<input type=\"hidden\" name=\"{field}\" value=\"a1\"> <input name=\"name\">"
            );
            assert_eq!(csrf_token(&page), Some((field, "a1")));
        }
        assert_eq!(csrf_token("<p>Too busy.</p>"), None);
        let mut headers = HeaderMap::new();
        for line in ["visitor=s; Path=/; HttpOnly", "other=t"] {
            headers.append(SET_COOKIE, line.parse().unwrap());
        }
        assert_eq!(cookies(&headers), "visitor=s; other=t");
    }

    #[test]
    fn a_guess_counts_once_it_was_judged_or_turned_away() {
        let mut guesses = Guesses::default();
        for status in [403, 429, 429, 500, 303] {
            guesses.note(StatusCode::from_u16(status).unwrap());
        }
        assert_eq!((guesses.judged, guesses.answered()), (1, 3));
    }
}
