//! Assembles store, engine and web, for `serve` and `demo`. Makes the clock and the random source,
//! and claims the lease that the engine sends under.

use std::fs::File;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use model::call_limits::CallBounds;
use model::contract::{Backend, Frontend, Store};
use model::gate::Gate;
use model::incident::AlertRules;
use model::policy::Policies;
use model::rng::SeededRng;
use model::time::{Clock, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;
use web::dialects::{ActionType, Dialects};

use crate::config::Config;
use crate::signals::Signals;
use crate::trust::TrustFiles;
use crate::{data_folder, tasks, telemetry};

/// A server that runs but does not listen yet.
pub(crate) struct App {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engine: engine::Engine,
    pub(crate) site: web::Site,
    pub(crate) clock: Clock,
    pub(crate) rng: SeededRng,
    /// Set to true when the server is to stop.
    pub(crate) stopping: watch::Sender<bool>,
    /// Held as long as the server runs: a second one on the same folder would send twice.
    _lock: Option<File>,
}

/// The clock of this machine.
pub(crate) fn clock() -> Clock {
    let began = Instant::now();
    let wall = || {
        #[expect(
            clippy::disallowed_types,
            clippy::disallowed_methods,
            reason = "the one clock there is"
        )]
        let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(0))
    };
    Clock::watched(wall, move || {
        i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX)
    })
}

/// A random source seeded by the operating system.
pub(crate) fn rng() -> Result<SeededRng> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        anyhow::anyhow!("the operating system gives no random numbers: {error}")
    })?;
    Ok(SeededRng::from_seed(seed))
}

/// All dialects, with the settings applied.
pub(crate) fn dialects(config: &Config) -> Dialects {
    let options = web::dialects::DialectOptions {
        user_agent: config.user_agent.clone(),
        retention: config.retention.clone(),
        extra_triggers: config.triggers.clone(),
        strict_triggers: config.strict_triggers,
        strict_action_types: config.strict_action_types,
        mail: config.mail.is_some(),
        bounds: CallBounds {
            calls_at_a_time_max: u32::try_from(config.max_concurrency_per_webhook)
                .unwrap_or(u32::MAX),
            time_limit_ms_max: config.max_call_seconds.saturating_mul(1_000),
            schedules: config.schedules.clone(),
            origin: config.public_name().map(str::to_owned),
        },
        extra_action_types: config.action_types.iter().map(action_type).collect(),
    };
    web::dialects::all(&options)
}

fn action_type((code, label): &(String, String)) -> ActionType {
    ActionType {
        key: code.clone(),
        label: label.clone(),
        help: String::new(),
    }
}

fn rendered_text(registry: Option<&Registry>) -> String {
    let mut text = String::new();
    match registry {
        Some(registry) => render(&mut text, registry),
        None => text.push_str("# EOF\n"),
    }
    text
}

/// Builds the server. `policies` may change how the dialects deliver: `demo` shortens the waits,
/// `serve` changes nothing.
pub(crate) async fn build(config: &Config, policies: impl Fn(Policies) -> Policies) -> Result<App> {
    let lock = config.store.lock()?;
    let mut meters = Registry::default();
    let store = config.store.open(&mut meters)?;
    let clock = clock();
    let lease = store.claim(clock.now()).await?;
    let rng = rng()?;
    let dialects = dialects(config);
    let policies = policies(dialects.policies());
    let stopping = watch::Sender::new(false);

    let tls = tls(config, &stopping, &mut meters)?;
    let resolver = engine::Resolver::of_system(&mut meters);
    let dial = dial(config, resolver.clone(), tls, &mut meters).with_mail(mail(config)?);
    let engine = engine::Engine::start(
        engine::Parts {
            store: Arc::clone(&store) as Arc<dyn Backend>,
            lease,
            dial: Arc::new(dial),
            clock: clock.clone(),
            rng: rng.split("engine"),
            policies: policies.clone(),
            settings: engine::Settings {
                max_in_flight: config.max_in_flight,
                max_concurrency_per_webhook: config.max_concurrency_per_webhook,
                max_idle_connections: config.max_in_flight,
                // Common servers close idle connections after 5 s. No call should run into that.
                idle_connection_ms: 4_000,
                // Most of the others do within two minutes.
                idle_connection_max_ms: 120_000,
            },
            gate: Gate::default(),
            keyring: Arc::clone(&config.keyring),
        },
        &mut meters,
    );

    let health = engine.health();
    let inspector = engine.inspector();
    let rendered: Arc<OnceLock<Registry>> = Arc::new(OnceLock::new());
    let registry = Arc::clone(&rendered);
    let parts = web::Parts {
        store: Arc::clone(&store) as Arc<dyn Frontend>,
        clock: clock.clone(),
        rng: rng.split("web"),
        keyring: Arc::clone(&config.keyring),
        settings: web_settings(config),
        dialects,
        policies,
        stopping: stopping.subscribe(),
        health: Arc::new(move || {
            health.check()?;
            Ok(health.note().into_iter().chain(resolver.note()).collect())
        }),
        dispatch_state: Arc::new(move |id| inspector.dispatch_state(id)),
        metrics: Arc::new(move || rendered_text(registry.get())),
        backlog: Arc::new(engine.backlog()),
    };
    let site = web::build(parts, &mut meters);
    telemetry::register(&mut meters);
    drop(rendered.set(meters));
    tasks::spawn(site.watch());
    Ok(App {
        store,
        engine,
        site,
        clock,
        rng,
        stopping,
        _lock: lock,
    })
}

/// TLS to receivers, by the certificates that are trusted, which are followed from now on.
fn tls(
    config: &Config,
    stopping: &watch::Sender<bool>,
    meters: &mut Registry,
) -> Result<Arc<engine::TlsClient>> {
    let trust = TrustFiles::new(&config.ca_files);
    let roots = trust.read()?;
    for complaint in &roots.complaints {
        tracing::warn!("{complaint}");
    }
    let tls = Arc::new(engine::TlsClient::new(&roots, meters));
    tasks::spawn(trust.follow(Arc::clone(&tls), stopping.subscribe()));
    Ok(tls)
}

/// The network as the settings have it.
pub(crate) fn dial(
    config: &Config,
    resolver: engine::Resolver,
    tls: Arc<engine::TlsClient>,
    meters: &mut Registry,
) -> engine::NetDial {
    let proxies = engine::ProxyClient::new(config.proxies.clone(), meters);
    engine::NetDial::new(resolver, config.private_targets.clone(), tls).through(proxies)
}

/// What sends mail, if a mail server is set.
pub(crate) fn mail(config: &Config) -> Result<Option<engine::MailClient>> {
    let Some(server) = &config.mail else {
        return Ok(None);
    };
    let roots = TrustFiles::new(&config.ca_files).extra()?;
    let client = engine::MailClient::new(server, &roots);
    let client = client.map_err(|words| anyhow::anyhow!("the mail server {server:?}: {words}"))?;
    Ok(Some(client))
}

/// Where people reach this server.
fn public_url(config: &Config) -> String {
    let by_name = || config.public_host().map(|host| format!("https://{host}"));
    let own = config.public_url.clone().or_else(by_name);
    let own = own.or_else(|| config.own_url());
    own.unwrap_or_else(|| "http://localhost".to_owned())
}

fn web_settings(config: &Config) -> web::WebSettings {
    web::WebSettings {
        public_url: public_url(config),
        alerts: web::AlertSettings {
            rules: AlertRules {
                failing_after_ms: config.alert_failing_minutes.saturating_mul(60_000),
                ..AlertRules::default()
            },
            backlog_above: Some(config.alert_backlog),
        },
        hosts: config.allowed_hosts.clone(),
        proxies: config.trusted_proxies.clone(),
        brand: config.brand.clone(),
        frames: config.frame_ancestors.clone(),
    }
}

fn render(text: &mut String, registry: &Registry) {
    if let Err(error) = prometheus_client::encoding::text::encode(text, registry) {
        tracing::error!(%error, "metrics cannot be rendered");
    }
}

/// What the benchmark needs of this binary. Has to be called inside the runtime.
pub(crate) fn surroundings() -> Result<bench::Surroundings> {
    let load = web::dialects::all(&web::dialects::DialectOptions::default()).load();
    let mut signals = Signals::listen()?;
    Ok(bench::Surroundings {
        clock: clock(),
        rng: rng()?,
        load: load.context("no dialect brings anything for the benchmark")?,
        store_file: data_folder::store_file,
        print: |words| say!("{words}"),
        stop: Box::pin(async move { signals.stop().await }),
    })
}
