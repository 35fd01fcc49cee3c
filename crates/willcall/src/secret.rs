//! `willcall secret …`: seals the secrets of webhooks with the first master key.

use anyhow::{Result, bail};
use clap::Command;
use model::contract::Frontend;
use model::rng::SeededRng;
use model::signing::{SealError, SealedKey, SignatureId, StoredSignature};

use crate::assemble;
use crate::config::{self, Config};

/// Signatures that are read at a time.
const PAGE: usize = 100;

pub(crate) fn command(store: &[&str]) -> Command {
    let settings = [store, &["master_key_file", "master_key"]].concat();
    Command::new("secret")
        .about("Seal the secrets of webhooks with another master key")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("rotate-master")
                .about("Seal every secret with the first master key")
                .long_about(
                    "Seal every secret with the first master key.\n\n\
                     Put a new master key in front of the others, restart every server, and run \
                     this, also while servers run. Once it says that nothing is left, the other \
                     master keys can be removed.",
                )
                .args(config::arguments(&settings)),
        )
}

/// What became of all keys.
#[derive(Default)]
struct Tally {
    resealed: usize,
    current: usize,
    /// Which, and why.
    refused: Vec<String>,
}

pub(crate) async fn rotate_master(config: &Config) -> Result<()> {
    let Some(master) = config.keyring.current_id() else {
        bail!("no master key is set: set master_key_file or WILLCALL_MASTER_KEY");
    };
    let store = config.store.open_existing()?;
    let mut rng = assemble::rng()?.split("secret");
    let mut tally = Tally::default();
    let mut after = None;
    loop {
        let page = store.signatures_behind(after, PAGE).await?;
        for stored in &page {
            tally.reseal(config, &*store, &mut rng, stored).await?;
            after = Some(id_of(stored));
        }
        if page.len() < PAGE {
            break;
        }
    }
    let Tally {
        resealed,
        current,
        refused,
    } = tally;
    say!("Sealed {resealed} keys with master key {master}; {current} were sealed with it already.");
    if refused.is_empty() {
        say!("Nothing is left that needs another master key.");
        return Ok(());
    }
    for words in &refused {
        say!("{words}");
    }
    bail!(
        "{} keys could not be opened and are as they were",
        refused.len()
    );
}

impl Tally {
    async fn reseal(
        &mut self,
        config: &Config,
        store: &dyn Frontend,
        rng: &mut SeededRng,
        stored: &StoredSignature,
    ) -> Result<()> {
        let signature = &stored.signature;
        let former = signature.former.as_ref().map(|former| &former.key);
        for key in std::iter::once(&signature.key).chain(former) {
            if config.keyring.is_current(&key.sealed) {
                self.current += 1;
                continue;
            }
            match sealed_anew(config, rng, stored, key) {
                Ok(new) => {
                    let old = key.sealed.clone();
                    // Otherwise somebody rotated it meanwhile, with a server's first master key.
                    if store.reseal(id_of(stored), old, new).await? {
                        self.resealed += 1;
                    }
                }
                Err(error) => self.refused.push(format!(
                    "Webhook {}, {}: {error}",
                    stored.webhook.0,
                    signature.profile.as_str()
                )),
            }
        }
        Ok(())
    }
}

fn sealed_anew(
    config: &Config,
    rng: &mut SeededRng,
    stored: &StoredSignature,
    key: &SealedKey,
) -> Result<bytes::Bytes, SealError> {
    let (webhook, profile) = (stored.webhook, stored.signature.profile);
    let secret = config.keyring.open(webhook, profile, &key.sealed)?;
    config.keyring.seal(rng, webhook, profile, &secret)
}

fn id_of(stored: &StoredSignature) -> SignatureId {
    SignatureId {
        tenant: stored.tenant,
        webhook: stored.webhook,
        profile: stored.signature.profile,
    }
}
