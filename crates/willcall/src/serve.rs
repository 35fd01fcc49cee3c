//! `willcall serve`: starts the server, runs until it is told to stop, and stops in order.
//!
//! Stopping: no connection is accepted and no attempt begun; running requests and attempts may end,
//! within 20 and 30 s; everything is written down, and the store closed.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::contract::{Conflict, DiskFault, Frontend, StoreError};
use model::limits::TOKEN_LETTERS;
use model::proxy::{Proxy, ProxyRules};
use model::signing::Keyring;
use model::tenant::{NewToken, Permission, TokenHash, TokenKind};

use crate::assemble::{self, App};
use crate::config::Config;
use crate::connections::Connections;
use crate::listen::{Listener, ServerHandle};
use crate::listen_address::ListenAddress;
use crate::signals::Signals;
use crate::store_location::StoreLocation;
use crate::{sealed, tasks, version};

/// How long running attempts may take after a stop was asked for.
const ATTEMPTS_LIMIT: Duration = Duration::from_secs(30);

/// How long running requests may take once the store has ended.
const ANSWERS_LIMIT: Duration = Duration::from_millis(500);

/// Time between two pings of the store, and how many in a row may fail.
const PING_EVERY: Duration = Duration::from_secs(5);
const PINGS_FAILED_MAX: u32 = 3;

pub(crate) async fn run(config: Config) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    announce_settings(&config.changed);
    let app = assemble::build(&config, |policies| policies).await?;
    announce_version(&config.store);
    let listeners = Listener::bind_all(&config.listen, config.socket_mode).await?;
    let addresses = listeners.iter().map(Listener::address);
    let addresses: Vec<ListenAddress> = addresses.collect::<Result<_>>()?;
    first_token(&app).await?;
    first_user(&app, &addresses).await?;
    for address in &addresses {
        announce(&config.store, address);
    }
    announce_proxies(&config);
    warn_of_unopened(&app, Arc::clone(&config.keyring));

    let server = ServerHandle::begin(
        listeners,
        &app.site,
        &app.clock,
        Connections::new(config.max_connections, config.trusted_proxies.clone()),
    );
    let cause = tokio::select! {
        biased;
        signal = signals.stop() => StopCause::Asked(signal),
        part = app.engine.failed() => StopCause::Failed(part),
        _ = app.store.ended() => StopCause::Ended,
        () = store_is_lost(&*app.store) => StopCause::Failed("the store"),
    };
    if let StopCause::Ended = cause {
        // The store has logged why. Nothing can be written any more; only responses get out.
        drop(tokio::time::timeout(ANSWERS_LIMIT, server.end()).await);
        return Ok(ExitCode::FAILURE);
    }
    match &cause {
        StopCause::Asked(signal) => tracing::info!("{signal}: stopping"),
        StopCause::Failed(part) => tracing::error!("{part} failed; stopping"),
        StopCause::Ended => {}
    }
    wind_up_unless_cut(app, server, &mut signals).await?;
    match cause {
        StopCause::Asked(_) | StopCause::Ended => Ok(ExitCode::SUCCESS),
        StopCause::Failed(words) => {
            bail!(
                "stopped because {words} failed. Nothing that was accepted is lost; start it again"
            )
        }
    }
}

fn announce_settings(changed: &[String]) {
    match changed {
        [] => tracing::info!("all settings have their defaults"),
        changed => tracing::info!(
            "settings that differ from their defaults: {}",
            changed.join(", ")
        ),
    }
}

/// Says what runs, and on what.
fn announce_version(store: &StoreLocation) {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), version::commit());
    let (sqlite, postgresql) = match store {
        StoreLocation::Folder(_) => (Some(store::store_versions().sqlite), None),
        StoreLocation::Database(database) => (None, store::database_server(database).ok()),
    };
    tracing::info!(version, commit, sqlite, postgresql, "Willcall starts");
}

fn announce(store: &StoreLocation, address: &ListenAddress) {
    let address = match address {
        ListenAddress::Tcp(address) => address,
        ListenAddress::Socket(path) => {
            let socket = path.display();
            tracing::info!(%socket, "Willcall listens on the socket {socket}");
            return;
        }
    };
    let words = format!("Willcall listens on http://{address}");
    match store {
        StoreLocation::Folder(folder) => {
            tracing::info!(%address, data_dir = %folder.path().display(), "{words}");
        }
        StoreLocation::Database(database) => {
            tracing::info!(%address, database = database.address(), "{words}");
        }
    }
}

/// Says which proxies are used, and which are not though one could think so.
fn announce_proxies(config: &Config) {
    let ProxyRules { https, http, .. } = &config.proxies;
    let through = |what: &str, proxy: &Option<Proxy>| {
        if let Some(proxy) = proxy {
            let known = match proxy.credentials {
                Some(_) => "with credentials",
                None => "without credentials",
            };
            tracing::info!("calls to {what} go through the proxy {proxy}, {known}");
        }
    };
    if https == http {
        through("receivers", https);
    } else {
        through("receivers with https", https);
        through("receivers with http", http);
    }
    if let Some(words) = &config.ignored_proxies {
        tracing::info!("{words}");
    }
}

/// Says which webhooks send nothing because a secret of theirs does not open. In the background:
/// there may be very many, and nothing waits for it.
fn warn_of_unopened(app: &App, keyring: Arc<Keyring>) {
    let store = Arc::clone(&app.store);
    tasks::spawn(async move {
        // Without an answer their attempts say it.
        let Ok(report) = sealed::try_all(&keyring, &*store).await else {
            return;
        };
        if let Some(words) = report.words() {
            tracing::warn!("{words}; `willcall doctor` tries them again");
        }
    });
}

enum StopCause {
    Asked(&'static str),
    Failed(&'static str),
    /// The store has ended by itself.
    Ended,
}

/// Returns once the store fails every ping: only a restart helps then. A full or failing disk does
/// not count: the store goes on when that is over.
async fn store_is_lost(store: &dyn Frontend) {
    let mut failures = 0;
    while failures < PINGS_FAILED_MAX {
        tokio::time::sleep(PING_EVERY).await;
        failures = match store.ping().await {
            Err(StoreError::Broken(_) | StoreError::Disk(DiskFault::Unreadable)) => failures + 1,
            Ok(_) | Err(_) => 0,
        };
    }
}

/// Stops everything in order, or at once after a second signal.
pub(crate) async fn wind_up_unless_cut(
    app: App,
    server: ServerHandle,
    signals: &mut Signals,
) -> Result<()> {
    let wind_up = wind_up(app, server);
    tokio::select! {
        biased;
        signal = signals.cut() => bail!("{signal} a second time: stopped at once; what was accepted is kept"),
        done = wind_up => done,
    }
}

/// Stops everything in the order that the head of this file gives.
async fn wind_up(app: App, server: ServerHandle) -> Result<()> {
    // Ends the live pages, whose requests would run on.
    app.stopping.send_replace(true);
    let App { store, engine, .. } = app;
    // Together: neither has to wait for the other, and the store may hold up both.
    let ((), stopped) = tokio::join!(server.end(), engine.stop(ATTEMPTS_LIMIT));
    let is_moved = is_moved(&*store).await;
    if !stopped.is_clean() {
        tracing::warn!(
            attempts_dropped = stopped.attempts_dropped,
            outcomes_unwritten = stopped.outcomes_unwritten,
            "stopped; the next start repeats what could not be finished"
        );
    } else if !is_moved {
        tracing::info!("stopped; everything is written down");
    }
    store
        .close()
        .await
        .context("the store did not close cleanly")?;
    if is_moved {
        bail!(
            "{}: if it was moved, put it back before the next start. Otherwise that finds nothing of \
             what was accepted (docs/operating.md, \"The file is gone\")",
            DiskFault::Moved
        );
    }
    Ok(())
}

/// Whether the store's files were removed or replaced. A database that does not answer is not
/// waited for.
async fn is_moved(store: &dyn Frontend) -> bool {
    let said = tokio::time::timeout(PING_EVERY, store.ping()).await;
    matches!(said, Ok(Err(StoreError::Disk(DiskFault::Moved))))
}

/// Creates and prints an administrator's token if there is no token at all.
async fn first_token(app: &App) -> Result<()> {
    if app.store.has_tokens().await? {
        return Ok(());
    }
    let made = make_administrator(&*app.store, &app.rng, app.clock.now()).await?;
    let Some(token) = made else {
        return Ok(());
    };
    say!("This store has no token yet. Here is one for an administrator; it is shown only now:");
    say!();
    say!("    {token}");
    say!();
    say!(
        "Next, declare your tenants with `willcall apply FILE`; docs/operating.md has an example."
    );
    Ok(())
}

/// Says how to create the first user, as long as there is none.
async fn first_user(app: &App, addresses: &[ListenAddress]) -> Result<()> {
    if app.store.has_users().await? {
        return Ok(());
    }
    let words = "willcall user add NAME --administrator";
    tracing::info!("nobody can sign in to the dashboard yet; create a user with `{words}`");
    // Elsewhere standard output is probably a log, too.
    if std::io::stdout().is_terminal() {
        say!();
        let place = addresses.iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(format!(" at http://{address}")),
            ListenAddress::Socket(_) => None,
        });
        let place = place.unwrap_or_default();
        say!("Nobody can sign in to the dashboard{place} yet. Create the first user:");
        say!();
        say!("    {words}");
        say!();
    }
    Ok(())
}

/// Nothing if another server on the same database has made one meanwhile.
async fn make_administrator(
    store: &dyn Frontend,
    rng: &model::rng::SeededRng,
    now: model::time::Timestamp,
) -> Result<Option<String>> {
    let token = rng.split("first token").alphanumeric(TOKEN_LETTERS);
    let administrator = NewToken {
        default: false,
        tenant: None,
        name: "administrator".to_owned(),
        hash: TokenHash::of(&token),
        kind: TokenKind::Program,
        permissions: Permission::ALL.into_iter().collect(),
        active: true,
    };
    let actor = "willcall serve".to_owned();
    match store.create_token(administrator, actor, now).await {
        Ok(()) => Ok(Some(token)),
        Err(StoreError::Conflict(Conflict::TokenName)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
