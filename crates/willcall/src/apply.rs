//! `willcall apply FILE`: creates and updates tenants as a file declares, all or nothing.
//!
//! The dialects read the file: each reads the sections it knows. A new token is printed once, on
//! standard output, and stored only as a hash.

use std::io::Read;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use model::contract::{Frontend, StoreError};
use model::declared_secrets::Sealer;
use model::query::{AppliedChange, AppliedItem, ChangeKind};
use model::rng::SeededRng;
use model::target::masked;
use model::time::Timestamp;
use prometheus_client::registry::Registry;
use web::dialects::{
    DeclarationFile, FileSecrets, GeneratedToken, KnownEvents, SecretPlace, conflict_words,
};

use crate::assemble;
use crate::config::{self, Config};
use crate::store_location::StoreLocation;

/// More than any file a person writes. A path to something huge by mistake is refused early.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// More than the longest value of a header.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

pub(crate) async fn run(config: &Config, file: &str) -> Result<()> {
    let size =
        std::fs::metadata(file).with_context(|| format!("the file {file} cannot be read"))?;
    if size.len() > FILE_BYTES_MAX {
        bail!(
            "the file {file} is too large: {} bytes, at most {FILE_BYTES_MAX} are allowed",
            size.len()
        );
    }
    let bytes = std::fs::read(file).with_context(|| format!("the file {file} cannot be read"))?;
    let text =
        as_text(&bytes).with_context(|| format!("nothing was changed, because of {file}"))?;
    if !config.store.has_store()? {
        // A file with a mistake, or meant for another store, must not create one.
        declare(config, &KnownEvents::default(), &assemble::rng()?, text)
            .with_context(|| format!("nothing was changed, because of {file}"))?;
    }
    let store = config.store.open(&mut Registry::default())?;
    let rng = assemble::rng()?;
    let now = assemble::clock().now();
    let applied = apply_text(config, &*store, &rng, text, now)
        .await
        .with_context(|| format!("nothing was changed, because of {file}"))?;
    store.close().await?;
    report(&applied, &config.store);
    Ok(())
}

fn declare(
    config: &Config,
    known: &KnownEvents,
    rng: &SeededRng,
    text: &str,
) -> Result<DeclarationFile> {
    let sealer = || Sealer::new(Arc::clone(&config.keyring), rng.split("secrets of a file"));
    let secrets = FileSecrets {
        read: &secret_in,
        sealer: (!config.keyring.is_empty()).then(sealer),
    };
    let mut rng = rng.split("tokens of a file");
    assemble::dialects(config)
        .declare_with(text, known, &mut rng, &secrets)
        .map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            anyhow!("{}", lines.join("\n"))
        })
}

/// The text of a secret that is not in the file itself, without the end of its line.
fn secret_in(place: SecretPlace<'_>) -> Result<String, String> {
    let bytes = match place {
        SecretPlace::File(path) => {
            let failed =
                |error: std::io::Error| format!("names {path}, which cannot be read: {error}");
            let file = std::fs::File::open(path).map_err(failed)?;
            let mut bytes = Vec::new();
            let read = file.take(SECRET_FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
            read.map_err(failed)?;
            if bytes.len() as u64 > SECRET_FILE_BYTES_MAX {
                return Err(format!("names {path}, which is too long for a secret"));
            }
            bytes
        }
        SecretPlace::Variable(name) => {
            let value = config::named_variable(name);
            let value = value.ok_or_else(|| format!("names {name}, which is no variable here"))?;
            value.into_encoded_bytes()
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| "names what is no text".to_owned())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn as_text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow!("line {line}: the file has to be UTF-8, and this line is not")
    })
}

/// What was applied, and the tokens that were created for it.
pub(crate) struct ApplyReport {
    applied: Vec<AppliedChange>,
    fresh: Vec<GeneratedToken>,
}

pub(crate) async fn apply_text(
    config: &Config,
    store: &dyn Frontend,
    rng: &SeededRng,
    text: &str,
    now: Timestamp,
) -> Result<ApplyReport> {
    let mut known = KnownEvents::default();
    for dialect in assemble::dialects(config).names() {
        for tenant in store.tenants(dialect.clone()).await? {
            let events = store.events(tenant.id).await?;
            let slugs = events.into_iter().map(|event| event.slug).collect();
            known.insert((dialect.clone(), tenant.key), slugs);
        }
    }
    let declared = declare(config, &known, rng, text)?;
    let result = store
        .apply(declared.declarations, "willcall apply".to_owned(), now)
        .await;
    let applied = match result {
        Ok(applied) => applied,
        Err(StoreError::Conflict(conflict)) => bail!("{}", conflict_words(conflict)),
        Err(error) => return Err(error.into()),
    };
    Ok(ApplyReport {
        applied,
        fresh: declared.fresh,
    })
}

fn report(outcome: &ApplyReport, store: &StoreLocation) {
    let mut counts = (0, 0, 0);
    for applied in &outcome.applied {
        let verb = match applied.change {
            ChangeKind::Created => {
                counts.0 += 1;
                "created"
            }
            ChangeKind::Changed => {
                counts.1 += 1;
                "changed"
            }
            ChangeKind::Unchanged => {
                counts.2 += 1;
                continue;
            }
        };
        let tenant = &applied.tenant;
        match &applied.item {
            AppliedItem::Tenant => say!("{verb} {tenant}"),
            AppliedItem::Event(slug) => say!("{verb} {tenant}: show {slug}"),
            AppliedItem::Webhook {
                id,
                target_url,
                changed,
            } => {
                let what = match changed.as_slice() {
                    [] => String::new(),
                    names => format!(": {}", names.join(", ")),
                };
                say!(
                    "{verb} {tenant}: webhook {id} to {}{what}",
                    masked(target_url)
                );
            }
            AppliedItem::Token { name, fresh } => {
                say!("{verb} {tenant}: token \"{name}\"");
                let mut made = outcome.fresh.iter();
                let made = made.find(|made| made.tenant == *tenant && made.name == *name);
                if let Some(made) = made.filter(|_| *fresh) {
                    say!("    {}    (shown only now)", made.token);
                }
            }
        }
    }
    let (created, changed, unchanged) = counts;
    say!("{created} created, {changed} changed, {unchanged} unchanged in {store}");
}
