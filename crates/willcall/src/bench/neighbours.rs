//! The neighbours: how long the deliveries of a tenant with one healthy webhook take while another
//! tenant misbehaves in the ways that a sender of webhooks meets, against the same without.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use http::Response;
use http_body_util::Empty;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use web::dialects::LoadTenant;

use super::measure::Samples;
use super::pace::{all_come, latencies};
use super::receiver::answer_all;
use super::report::{Measure, Scenario};
use super::sender::{Line, Peer, Ready, open_loop};
use super::sizes::{BODY_BYTES, Pace};
use super::stage::{Bench, Beside, Cast, Stage, discard};
use crate::listen;

/// Connections of the tenant that behaves.
const CONNECTIONS: usize = 16;

/// What a receiver that is slow takes.
const SLOW: Duration = Duration::from_secs(20);

/// Who misbehaves calls from here, so that it is another client than who behaves.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The p99 may move by so much, or by a tenth if that is more.
const MOVED_MS: f64 = 20.0;
const MOVED_SHARE: f64 = 0.1;

/// What the other tenant does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Nothing: it is not there.
    None,
    /// Its receiver takes connections and never answers.
    Hangs,
    /// Its receiver answers 200 after 20 s.
    Slow,
    /// It hands in many notifications for many webhooks in one request.
    FansOut,
    /// It sends large bodies bit by bit, and opens connections that it does not use.
    Dawdles,
}

/// Each with the names of its measures: p50, p99, what the p99 moved by.
const TROUBLES: [(Trouble, [&str; 3], &str); 4] = [
    (
        Trouble::Hangs,
        ["p50_hangs", "p99_hangs", "moved_hangs"],
        "a receiver of many webhooks never answers",
    ),
    (
        Trouble::Slow,
        ["p50_slow", "p99_slow", "moved_slow"],
        "a receiver of many webhooks answers after 20 s",
    ),
    (
        Trouble::FansOut,
        ["p50_fans_out", "p99_fans_out", "moved_fans_out"],
        "one request stands for very many deliveries",
    ),
    (
        Trouble::Dawdles,
        ["p50_dawdles", "p99_dawdles", "moved_dawdles"],
        "bodies come bit by bit, connections idle",
    ),
];

/// How long deliveries of the tenant that behaves took, and the slowest answer at `/livez`.
struct Took {
    deliveries: Samples,
    alive: Samples,
}

pub(crate) async fn neighbours(bench: &Bench) -> Result<Scenario> {
    let before = beside(bench, Trouble::None).await?;
    let mut during = Vec::new();
    for (trouble, ..) in TROUBLES {
        during.push(beside(bench, trouble).await?);
    }
    let after = beside(bench, Trouble::None).await?;
    let (first, second) = (
        before.deliveries.percentile(990),
        after.deliveries.percentile(990),
    );
    let quiet = f64::midpoint(first, second);
    let p50 = before.deliveries.median();
    let mut measures = vec![
        Measure::new("p50_before", "alone, before, p50", p50, "ms"),
        Measure::new("p99_before", "alone, before, p99", first, "ms"),
        Measure::new("p99_after", "alone, after, p99", second, "ms"),
    ];
    let bar = MOVED_MS.max(quiet * MOVED_SHARE);
    for ((_, [p50, p99, moved], words), took) in TROUBLES.iter().zip(&during) {
        let p99_ms = took.deliveries.percentile(990);
        let (at_p50, at_p99) = (format!("{words}: p50"), format!("{words}: p99"));
        measures.push(Measure::new(p50, &at_p50, took.deliveries.median(), "ms"));
        measures.push(Measure::new(p99, &at_p99, p99_ms, "ms"));
        let by = "of it what the other tenant adds";
        measures.push(Measure::new(moved, by, (p99_ms - quiet).max(0.0), "ms").at_most(bar));
    }
    let alive = during.iter().map(|took| took.alive.percentile(1_000));
    let words = "the slowest answer at /livez in all of these";
    measures.push(Measure::new(
        "livez",
        words,
        alive.fold(0.0, f64::max),
        "ms",
    ));
    let Pace { per_second, count } = bench.sizes.beside;
    Ok(Scenario {
        name: "neighbours",
        title: format!(
            "{count} notifications × 1 webhook, {per_second} a second, beside a tenant with {} webhooks \
             that misbehaves",
            bench.sizes.beside_webhooks
        ),
        measures,
    })
}

/// How long the deliveries of a tenant take beside another that does this.
async fn beside(bench: &Bench, trouble: Trouble) -> Result<Took> {
    let Pace { per_second, count } = bench.sizes.beside;
    let (stop, stopped) = watch::channel(());
    let other = LoadTenant {
        key: format!("{}-beside", bench.tenant),
        token: format!("{}beside", bench.token),
        shows: 1,
        webhooks: webhooks(bench, trouble, &stopped).await?,
    };
    let file = match trouble {
        Trouble::None => String::new(),
        Trouble::Hangs | Trouble::Slow | Trouble::FansOut | Trouble::Dawdles => {
            (bench.load.section)(&other)
        }
    };
    let cast = Cast {
        webhooks: 1,
        notifications: count,
        ..Cast::default()
    };
    let mut stage = bench.set_beside(cast, &Beside { file }).await?;
    let peer = Peer {
        address: stage.peer.address,
        token: other.token.clone(),
    };
    misbehave(bench, trouble, &other.key, &peer, &stopped).await?;
    tokio::time::sleep(Duration::from_millis(bench.sizes.fair_rest_ms)).await;
    let alive = look(&stage.peer, stopped.clone());
    let calls = bench.calls(count, 1)?;
    let sent = open_loop(&stage.peer, calls, per_second, CONNECTIONS).await;
    let sent = stage.explained(sent).await?;
    let arrivals: Vec<(usize, u64)> = (0..count).map(|number| (0, number)).collect();
    all_come(&mut stage, &arrivals).await?;
    let deliveries = latencies(&stage.tally, &sent, &arrivals);
    drop(stop);
    let alive = alive.await.context("nobody looked at /livez")??;
    end(stage)?;
    Ok(Took { deliveries, alive })
}

/// What is in the air would be waited for: a server of our own is ended at once.
fn end(stage: Stage<'_>) -> Result<()> {
    let data_dir = stage.data_dir.clone();
    let is_own = stage.server.is_some();
    drop(stage);
    if is_own {
        discard(&data_dir)?;
    }
    Ok(())
}

/// The webhooks of the other tenant, and the receiver that they call, which ends when told to.
async fn webhooks(
    bench: &Bench,
    trouble: Trouble,
    stopped: &watch::Receiver<()>,
) -> Result<Vec<(String, bool)>> {
    let answers_after = match trouble {
        Trouble::None | Trouble::Dawdles => return Ok(Vec::new()),
        Trouble::Hangs | Trouble::FansOut => None,
        Trouble::Slow => Some(SLOW),
    };
    let address = receive(answers_after, stopped.clone()).await?;
    let url = |index| (format!("http://{address}/{index}"), true);
    Ok((0..bench.sizes.beside_webhooks).map(url).collect())
}

/// Begins what the other tenant does; it goes on until told to stop.
async fn misbehave(
    bench: &Bench,
    trouble: Trouble,
    key: &str,
    peer: &Peer,
    stopped: &watch::Receiver<()>,
) -> Result<()> {
    let at_once = match trouble {
        Trouble::None => return Ok(()),
        Trouble::Dawdles => return dawdle(bench, key, peer, stopped).await,
        Trouble::Hangs | Trouble::Slow => 1,
        Trouble::FansOut => bench.sizes.beside_batch,
    };
    let mut line = Line::open(peer).await?;
    let (load, key) = (bench.load.hand_in, key.to_owned());
    let token = peer.token.clone();
    let mut stopped = stopped.clone();
    listen::spawn(async move {
        for round in 0.. {
            let call = load(&key, round * at_once..(round + 1) * at_once, 0, BODY_BYTES);
            let Ok(ready) = Ready::new(call, &token) else {
                return;
            };
            let next = Instant::now() + Duration::from_secs(1);
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                // That it is turned away is right, and this goes on.
                _ = line.send(&ready) => {}
            }
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                () = tokio::time::sleep_until(next) => {}
            }
        }
    });
    Ok(())
}

/// Two bodies of which little comes, and connections of which nothing does.
async fn dawdle(
    bench: &Bench,
    key: &str,
    peer: &Peer,
    stopped: &watch::Receiver<()>,
) -> Result<()> {
    let call = (bench.load.hand_in)(key, 0..1, 0, BODY_BYTES);
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nAuthorization: {} {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        call.method,
        call.path,
        peer.address,
        call.scheme,
        peer.token,
        16 * 1024 * 1024
    );
    for _ in 0..2 {
        let mut stream = open_elsewhere(peer.address).await?;
        let (head, mut stopped) = (head.clone(), stopped.clone());
        listen::spawn(async move {
            let mut piece = head.into_bytes();
            while stream.write_all(&piece).await.is_ok() {
                piece = vec![b' '; 1_024];
                tokio::select! {
                    biased;
                    _ = stopped.changed() => return,
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                }
            }
        });
    }
    let mut idle = Vec::new();
    for _ in 0..bench.sizes.beside_idle {
        // Who is turned away has tried.
        idle.extend(open_elsewhere(peer.address).await.ok());
    }
    let mut stopped = stopped.clone();
    listen::spawn(async move {
        stopped.changed().await.ok();
        drop(idle);
    });
    Ok(())
}

async fn open_elsewhere(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Another server may be on another machine, which is not reached from there.
    if address.ip().is_loopback() {
        socket.bind(SocketAddr::from((ELSEWHERE, 0)))?;
    }
    Ok(socket.connect(address).await?)
}

/// A receiver that answers after so long, or never.
async fn receive(
    answers_after: Option<Duration>,
    stopped: watch::Receiver<()>,
) -> Result<SocketAddr> {
    let listener = listen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    let answer = move |_| async move {
        match answers_after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
        Response::new(Empty::new())
    };
    listen::spawn(answer_all(listener, stopped, answer));
    Ok(address)
}

/// Looks at `/livez` a few times a second over connections of their own, until told to stop; how
/// long each took in milliseconds.
fn look(
    peer: &Peer,
    mut stopped: watch::Receiver<()>,
) -> tokio::sync::oneshot::Receiver<Result<Samples>> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let peer = peer.clone();
    listen::spawn(async move {
        let mut took = Vec::new();
        let mut looked = Ok(());
        loop {
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
            let began = Instant::now();
            looked = async { Line::open(&peer).await?.look("/livez").await.map(drop) }.await;
            if looked.is_err() {
                break;
            }
            took.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        tell.send(looked.map(|()| Samples::of(took))).ok();
    });
    told
}
