//! Noisy neighbours: the latency of a tenant with one healthy webhook while another tenant
//! misbehaves, compared with the latency without it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use http::Response;
use http_body_util::Empty;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::Instant;
use web::dialects::LoadTenant;

use crate::measure::{Samples, float};
use crate::open_loop::{all_come, latencies};
use crate::password_guesses;
use crate::receiver::answer_all;
use crate::report::{Measure, Scenario};
use crate::sender::{BenchConnection, Peer, PreparedCall, open_from, open_loop};
use crate::silent_dns::SilentDnsServer;
use crate::sizes::{BODY_BYTES, Pace};
use crate::stage::{Bench, StageExtras, WebhookSetup};
use crate::tasks;

/// Connections of the healthy tenant.
const CONNECTIONS: usize = 16;

/// How long a slow receiver takes.
const SLOW: Duration = Duration::from_secs(20);

/// The noisy tenant calls from this address, so that the server sees another client.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Most webhooks at names that no name server answers for.
const DEAD_NAMES_MAX: usize = 1_200;

/// The p99 may rise by so much, or by a tenth if that is more.
const MOVED_MS: f64 = 20.0;
const MOVED_SHARE: f64 = 0.1;

/// What the noisy tenant does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbance {
    /// There is no noisy tenant.
    None,
    /// Its receiver accepts connections and never answers.
    Hangs,
    /// Its receiver answers 200 after 20 s.
    Slow,
    /// It sends many notifications for many webhooks in one request.
    FansOut,
    /// It sends large bodies bit by bit, and opens connections that it does not use.
    Dawdles,
    /// No name server answers for the names of its receivers.
    DeadNames,
    /// It guesses a password.
    Guesses,
}

/// Each with the names of its measures (p50, p99, rise of the p99) and its title.
const DISTURBANCES: [(Disturbance, [&str; 3], &str); 6] = [
    (
        Disturbance::Hangs,
        ["p50_hangs", "p99_hangs", "moved_hangs"],
        "a receiver of many webhooks never answers",
    ),
    (
        Disturbance::Slow,
        ["p50_slow", "p99_slow", "moved_slow"],
        "a receiver of many webhooks answers after 20 s",
    ),
    (
        Disturbance::FansOut,
        ["p50_fans_out", "p99_fans_out", "moved_fans_out"],
        "one request stands for very many deliveries",
    ),
    (
        Disturbance::Dawdles,
        ["p50_dawdles", "p99_dawdles", "moved_dawdles"],
        "bodies arrive bit by bit, connections idle",
    ),
    (
        Disturbance::DeadNames,
        ["p50_dead_names", "p99_dead_names", "moved_dead_names"],
        "no name server answers for many receivers",
    ),
    (
        Disturbance::Guesses,
        ["p50_guesses", "p99_guesses", "moved_guesses"],
        "somebody guesses a password four times a second",
    ),
];

/// Latencies of the healthy tenant and of `/livez` during one disturbance, and measures of that
/// disturbance alone.
struct DeliveryTimes {
    deliveries: Samples,
    alive: Samples,
    more: Vec<Measure>,
}

pub(crate) async fn neighbours(bench: &Bench) -> Result<Scenario> {
    let silent_dns = SilentDnsServer::begin(&bench.folder).await;
    let before = beside(bench, Disturbance::None, None).await?.deliveries;
    let mut during = Vec::new();
    let mut notes = Vec::new();
    for (disturbance, names, words) in DISTURBANCES {
        match measured(bench, disturbance, &silent_dns).await? {
            Ok(took) => during.push((names, words, took)),
            Err(why) => notes.push(format!("left out: {words}, because {why}")),
        }
    }
    let after = beside(bench, Disturbance::None, None).await?.deliveries;
    let (first, second) = (before.percentile(990), after.percentile(990));
    let mut measures = vec![
        Measure::new("p50_before", "alone, before, p50", before.median(), "ms"),
        Measure::new("p99_before", "alone, before, p99", first, "ms"),
        Measure::new("p99_after", "alone, after, p99", second, "ms"),
    ];
    let quiet_ms = f64::midpoint(first, second);
    let mut livez_ms: f64 = 0.0;
    for (names, words, took) in during {
        livez_ms = livez_ms.max(took.alive.percentile(1_000));
        measures.extend(moved(names, words, &took.deliveries, quiet_ms));
        measures.extend(took.more);
    }
    let words = "the slowest response of /livez in all of these";
    measures.push(Measure::new("livez", words, livez_ms, "ms"));
    let Pace { per_second, count } = bench.sizes.beside;
    Ok(Scenario {
        name: "neighbours",
        title: format!(
            "{count} notifications × 1 webhook, {per_second} a second, beside a tenant with {} webhooks \
             that misbehaves",
            bench.sizes.beside_webhooks
        ),
        measures,
        notes,
    })
}

/// Measures of latencies during a disturbance, against a p99 without.
fn moved(
    [p50, p99, moved]: [&'static str; 3],
    words: &str,
    took: &Samples,
    quiet_ms: f64,
) -> [Measure; 3] {
    let p99_ms = took.percentile(990);
    let bar = MOVED_MS.max(quiet_ms * MOVED_SHARE);
    let by = "of it added by the other tenant";
    [
        Measure::new(p50, &format!("{words}: p50"), took.median(), "ms"),
        Measure::new(p99, &format!("{words}: p99"), p99_ms, "ms"),
        Measure::new(moved, by, (p99_ms - quiet_ms).max(0.0), "ms").at_most(bar),
    ]
}

/// Measures during a disturbance; the inner error says why this machine cannot.
async fn measured(
    bench: &Bench,
    disturbance: Disturbance,
    silent_dns: &Result<SilentDnsServer>,
) -> Result<Result<DeliveryTimes, String>> {
    if disturbance != Disturbance::DeadNames {
        return beside(bench, disturbance, None).await.map(Ok);
    }
    let silent_dns = match silent_dns {
        Ok(silent_dns) => silent_dns,
        Err(why) => return Ok(Err(format!("{why:#}"))),
    };
    let mut took = beside(bench, disturbance, Some(silent_dns)).await?;
    if silent_dns.asked() == 0 {
        return Ok(Err("the server asks another name server".to_owned()));
    }
    let asked = float(silent_dns.asked());
    let words = "queries that the name server got";
    took.more
        .push(Measure::new("asked_dead_names", words, asked, ""));
    Ok(Ok(took))
}

/// Measures the healthy tenant while the other does this.
async fn beside(
    bench: &Bench,
    disturbance: Disturbance,
    names: Option<&SilentDnsServer>,
) -> Result<DeliveryTimes> {
    let Pace { per_second, count } = bench.sizes.beside;
    let (stop, stopped) = watch::channel(());
    let other = LoadTenant {
        key: format!("{}-beside", bench.tenant),
        token: format!("{}beside", bench.token),
        shows: 1,
        webhooks: webhooks(bench, disturbance, &stopped).await?,
    };
    let setup = WebhookSetup {
        webhooks: 1,
        notifications: count,
        ..WebhookSetup::default()
    };
    let extras = StageExtras {
        file: match disturbance == Disturbance::None {
            true => String::new(),
            false => (bench.load.section)(&other),
        },
        user: (disturbance == Disturbance::Guesses).then_some(password_guesses::OWNER),
        namespace: names.map(|names| &names.namespace),
        ..StageExtras::default()
    };
    let mut stage = bench.set_with(setup, &extras).await?;
    let address = stage.peer()?.address;
    let peer = Peer {
        address,
        token: other.token.clone(),
    };
    misbehave(bench, disturbance, &other.key, &peer, &stopped).await?;
    let guesses = (disturbance == Disturbance::Guesses)
        .then(|| password_guesses::begin(address, ELSEWHERE, stopped.clone()));
    tokio::time::sleep(Duration::from_millis(bench.sizes.fair_rest_ms)).await;
    let alive = look(stage.peer()?, stopped.clone());
    let calls = bench.calls(count, 1)?;
    let sent = open_loop(&stage.peers, calls, per_second, CONNECTIONS).await;
    let sent = stage.explained(sent).await?;
    let arrivals: Vec<(usize, u64)> = (0..count).map(|number| (0, number)).collect();
    all_come(&mut stage, &arrivals).await?;
    let deliveries = latencies(&stage.tally, &sent, &arrivals);
    let more = match guesses {
        Some(guesses) => {
            let signed_in = password_guesses::owner(address, Ipv4Addr::LOCALHOST, guesses).await;
            stage.explained(signed_in).await?
        }
        None => Vec::new(),
    };
    drop(stop);
    let alive = alive.await.context("/livez was not polled")??;
    stage.kill().await?;
    Ok(DeliveryTimes {
        deliveries,
        alive,
        more,
    })
}

/// The webhooks of the noisy tenant. Their receiver ends when told to.
async fn webhooks(
    bench: &Bench,
    disturbance: Disturbance,
    stopped: &watch::Receiver<()>,
) -> Result<Vec<(String, bool)>> {
    let answers_after = match disturbance {
        Disturbance::None | Disturbance::Dawdles | Disturbance::Guesses => return Ok(Vec::new()),
        Disturbance::DeadNames => {
            let count = bench.sizes.beside_webhooks.min(DEAD_NAMES_MAX);
            let url = |index| (format!("http://dead{index}.test/"), true);
            return Ok((0..count).map(url).collect());
        }
        Disturbance::Hangs | Disturbance::FansOut => None,
        Disturbance::Slow => Some(SLOW),
    };
    let address = receive(answers_after, stopped.clone()).await?;
    let url = |index| (format!("http://{address}/{index}"), true);
    Ok((0..bench.sizes.beside_webhooks).map(url).collect())
}

/// Starts what the noisy tenant does, until told to stop.
async fn misbehave(
    bench: &Bench,
    disturbance: Disturbance,
    key: &str,
    peer: &Peer,
    stopped: &watch::Receiver<()>,
) -> Result<()> {
    let at_once = match disturbance {
        Disturbance::None | Disturbance::Guesses => return Ok(()),
        Disturbance::Dawdles => return dawdle(bench, key, peer, stopped).await,
        Disturbance::Hangs | Disturbance::Slow | Disturbance::DeadNames => 1,
        Disturbance::FansOut => bench.sizes.beside_batch,
    };
    let mut connection = BenchConnection::open(peer).await?;
    let (load, key) = (bench.load.hand_in, key.to_owned());
    let token = peer.token.clone();
    let mut stopped = stopped.clone();
    tasks::spawn(async move {
        for round in 0.. {
            let call = load(&key, round * at_once..(round + 1) * at_once, 0, BODY_BYTES);
            let Ok(prepared) = PreparedCall::new(call, &token) else {
                return;
            };
            let next = Instant::now() + Duration::from_secs(1);
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                // It may rightly be refused; it goes on.
                _ = connection.send(&prepared) => {}
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

/// Sends two bodies very slowly, and opens idle connections.
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
        let mut stream = open_from(ELSEWHERE, peer.address).await?;
        let (head, mut stopped) = (head.clone(), stopped.clone());
        tasks::spawn(async move {
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
        // A refused connection is fine, too.
        idle.extend(open_from(ELSEWHERE, peer.address).await.ok());
    }
    let mut stopped = stopped.clone();
    tasks::spawn(async move {
        stopped.changed().await.ok();
        drop(idle);
    });
    Ok(())
}

/// Starts a receiver that answers after so long, or never.
async fn receive(
    answers_after: Option<Duration>,
    stopped: watch::Receiver<()>,
) -> Result<SocketAddr> {
    let listener = tasks::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    let answer = move |_| async move {
        match answers_after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
        Response::new(Empty::new())
    };
    tasks::spawn(answer_all(listener, stopped, answer));
    Ok(address)
}

/// Polls `/livez` a few times a second, each over a new connection, until told to stop. Returns the
/// latencies in milliseconds.
fn look(
    peer: &Peer,
    mut stopped: watch::Receiver<()>,
) -> tokio::sync::oneshot::Receiver<Result<Samples>> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let peer = peer.clone();
    tasks::spawn(async move {
        let mut took = Vec::new();
        let mut looked = Ok(());
        loop {
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
            let began = Instant::now();
            looked = async {
                BenchConnection::open(&peer)
                    .await?
                    .look("/livez")
                    .await
                    .map(drop)
            }
            .await;
            if looked.is_err() {
                break;
            }
            took.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        tell.send(looked.map(|()| Samples::of(took))).ok();
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Threshold;

    #[test]
    fn what_a_disturbance_adds_may_be_20_ms_or_a_tenth_of_what_there_was_before_it() {
        let judged = |quiet_ms, p99_ms| {
            let took = Samples::of(vec![p99_ms; 3]);
            let [_, _, moved] = moved(["p50", "p99", "moved"], "it", &took, quiet_ms);
            match moved.bar {
                Some(Threshold::AtMost(most)) => format!("{} of {most}", moved.value),
                Some(Threshold::AtLeast(_)) | None => "not judged".to_owned(),
            }
        };
        assert_eq!(judged(4.0, 30.0), "26 of 20");
        assert_eq!(judged(400.0, 430.0), "30 of 40");
        assert_eq!(judged(9.0, 6.0), "0 of 20");
    }
}
