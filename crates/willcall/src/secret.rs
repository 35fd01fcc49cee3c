//! `willcall secret …`: seals the secrets of webhooks with the first master key.

use anyhow::{Result, bail};
use clap::Command;
use model::contract::{Frontend, SealedSecret};
use model::rng::SeededRng;

use crate::assemble;
use crate::config::{self, Config};
use crate::sealed::SealedSecrets;

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

/// What became of all secrets.
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
    let mut all = SealedSecrets::of(&*store);
    while let Some(page) = all.page().await? {
        for secret in page {
            tally.reseal(config, &*store, &mut rng, secret).await?;
        }
    }
    let Tally {
        resealed,
        current,
        refused,
    } = tally;
    say!(
        "Sealed {resealed} secrets with master key {master}; {current} were sealed with it already."
    );
    if refused.is_empty() {
        say!("Nothing is left that needs another master key.");
        return Ok(());
    }
    for words in &refused {
        say!("{words}");
    }
    bail!(
        "{} secrets could not be opened and are as they were",
        refused.len()
    );
}

impl Tally {
    async fn reseal(
        &mut self,
        config: &Config,
        store: &dyn Frontend,
        rng: &mut SeededRng,
        secret: SealedSecret,
    ) -> Result<()> {
        if config.keyring.is_current(&secret.sealed) {
            self.current += 1;
            return Ok(());
        }
        let (webhook, of) = secret.owner();
        let opened = secret.open(&config.keyring);
        match opened.and_then(|opened| config.keyring.seal(rng, webhook, of, &opened)) {
            Ok(new) => {
                // Otherwise somebody changed it meanwhile, with a server's first master key.
                if store.reseal(secret.id, secret.sealed, new).await? {
                    self.resealed += 1;
                }
            }
            Err(error) => self.refused.push(format!("{}: {error}", secret.words())),
        }
        Ok(())
    }
}
