//! `willcall demo`: a real server on a temporary folder, with sample receivers. It prints every
//! attempt.
//!
//! Each dialect brings its own part: the tenant, and the calls that create webhooks and send
//! notifications. Everything goes over HTTP as from an application; only the display reads the
//! store directly. Waits are shorter than usual, nothing else differs.

mod attempt_line;
mod client;
mod receivers;
mod screen;
mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use model::limits::TOKEN_LETTERS;
use model::policy::Policies;
use model::tenant::Tenant;
use model::users::NewUser;
use web::dialects::{Demo, ReceiverBehavior, WebhookRef};

use self::client::Client;
use self::watch::{Watch, WatchedWebhook};
use crate::assemble::{self, App};
use crate::config::Config;
use crate::connections::Connections;
use crate::listen::{self, Listener, ServerHandle};
use crate::signals::Signals;
use crate::{apply, serve, user};

/// Waits between attempts are divided by this.
const HASTE: i64 = 20;

/// Instead of 30 s for an exchange, so that the receiver that hangs does not take long.
const EXCHANGE_LIMIT_MS: u32 = 2_000;

/// Time limit for one dialect's part.
const SHOW_LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn arguments() -> [Arg; 2] {
    let once = "Exit when the demo is over; exit status 0 only if every delivery ended as expected";
    let listen = "Address and port to serve on [default: 127.0.0.1:8080, or any free port if that \
                  is taken]";
    [
        Arg::new("once")
            .long("once")
            .action(ArgAction::SetTrue)
            .help(once),
        Arg::new("listen")
            .long("listen")
            .value_name("ADDRESS:PORT")
            .value_parser(value_parser!(SocketAddr))
            .help(listen),
    ]
}

/// Runs it until it is over or somebody ends it.
pub(crate) async fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let once = matches.get_flag("once");
    let listen = matches.get_one::<SocketAddr>("listen").copied();
    let mut signals = Signals::listen()?;
    let folder = fresh_folder()?;
    let ended = on_folder(&folder, once, listen, &mut signals).await;
    std::fs::remove_dir_all(&folder)
        .with_context(|| format!("the demo's folder {} cannot be removed", folder.display()))?;
    ended
}

async fn on_folder(
    folder: &Path,
    once: bool,
    listen: Option<SocketAddr>,
    signals: &mut Signals,
) -> Result<ExitCode> {
    let config = Config::for_demo(folder.to_owned())?;
    let app = assemble::build(&config, accelerated).await?;
    let listener = match (listen, listen::bind(listen.unwrap_or(USUAL)).await) {
        (_, Ok(listener)) => listener,
        (Some(_), Err(error)) => return Err(error),
        // Another program has the usual port: take any free one.
        (None, Err(_)) => listen::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?,
    };
    let address = reachable(listener.local_addr()?);
    let server = ServerHandle::begin(
        vec![Listener::Tcp(listener)],
        &app.site,
        &app.clock,
        Connections::new(config.max_connections, config.trusted_proxies.clone()),
    );
    screen::open(address, folder, HASTE, EXCHANGE_LIMIT_MS);
    screen::dashboard(address, &way_in(&app).await?);
    let shown = tokio::select! {
        biased;
        _ = signals.stop() => None,
        shown = shows(&app, &config, address, once) => Some(shown?),
    };
    let as_expected = match shown {
        Some((as_expected, hints)) => {
            screen::verdict(as_expected);
            if !once {
                screen::hints(&hints);
                signals.stop().await;
            }
            as_expected
        }
        None => false,
    };
    serve::wind_up_unless_cut(app, server, signals).await?;
    Ok(if as_expected {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where it serves if nobody says where.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where this machine itself reaches a server that listens there.
fn reachable(address: SocketAddr) -> SocketAddr {
    let here = match address.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    match address.ip().is_unspecified() {
        true => SocketAddr::new(here, address.port()),
        false => address,
    }
}

/// Runs every dialect's part. Returns whether everything ended as expected, and commands to try.
async fn shows(
    app: &App,
    config: &Config,
    address: SocketAddr,
    once: bool,
) -> Result<(bool, Vec<(String, String)>)> {
    let mut as_expected = true;
    let mut hints = Vec::new();
    for demo in assemble::dialects(config).demos() {
        let shown = tokio::time::timeout(SHOW_LIMIT, show(app, config, address, &demo, once));
        let (good, token) = shown.await.context("the demo did not end in time")??;
        as_expected &= good;
        hints.extend((demo.hints)(&format!("http://{address}"), &token));
    }
    Ok((as_expected, hints))
}

/// Runs one dialect's part. Returns whether everything ended as expected, and the token it used.
async fn show(
    app: &App,
    config: &Config,
    address: SocketAddr,
    demo: &Demo,
    once: bool,
) -> Result<(bool, String)> {
    let token = app.rng.split(demo.tenant).alphanumeric(TOKEN_LETTERS);
    let file = (demo.file)(&token);
    apply::apply_text(config, &*app.store, &app.rng, &file, app.clock.now()).await?;
    let tenant: Tenant = app
        .store
        .tenant(demo.dialect.clone(), demo.tenant.to_owned())
        .await?
        .context("the demo's own file declared no tenant")?;
    let client = Client::new(address, token.clone())?;

    let mut watch = Watch::new(app.clock.clone(), tenant.id);
    for character in demo.receivers {
        let url = receivers::start(*character).await?;
        screen::receiver(
            receivers::name(*character),
            receivers::manner(*character),
            &url,
        );
        let made = client
            .call(&(demo.webhook)(receivers::name(*character), &url))
            .await?;
        let made = (demo.made)(&made).context("the new webhook has no id in the response")?;
        let id = match &made {
            WebhookRef::Id(id) => *id,
            WebhookRef::Key(key) => {
                let found = app.store.webhook_by_key(vec![tenant.id], key.clone());
                found.await?.context("the new webhook cannot be found")?.id
            }
        };
        watch.add(*character, id, made);
    }
    screen::handing_in(demo.title);
    for call in (demo.notifications)() {
        client.call(&call).await?;
    }
    watch.until(&*app.store, WatchedWebhook::settled).await?;
    if once {
        // Retries to a receiver that never answers would go on for days.
        for webhook in watch.of(ReceiverBehavior::Hanging) {
            screen::switching_off(receivers::name(ReceiverBehavior::Hanging));
            client.call(&(demo.end)(&webhook)).await?;
        }
        watch.until(&*app.store, WatchedWebhook::ended).await?;
    }
    Ok((screen::summary(&watch, once), token))
}

/// Creates an administrator and a link that signs them in once; returns its secret. The password is
/// shown to nobody.
async fn way_in(app: &App) -> Result<String> {
    let password = app.rng.split("demo user").alphanumeric(TOKEN_LETTERS);
    let new = NewUser {
        name: "demo".to_owned(),
        password: user::hashed(&password)?,
        administrator: true,
    };
    let demo = app.store.create_user(new, app.clock.now()).await?;
    user::link(&*app.store, &demo).await
}

fn accelerated(policies: Policies) -> Policies {
    policies
        .into_iter()
        .map(|(dialect, mut policy)| {
            policy.schedule = policy.schedule.accelerated(HASTE);
            policy.exchange_limit_ms = EXCHANGE_LIMIT_MS;
            (dialect, policy)
        })
        .collect()
}

fn fresh_folder() -> Result<std::path::PathBuf> {
    let name = format!(
        "willcall-demo-{}",
        assemble::rng()?.split("folder").alphanumeric(8)
    );
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("the folder {} cannot be created", folder.display()))?;
    Ok(folder)
}
