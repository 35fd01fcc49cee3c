//! The settings of the master keys that seal secrets. No error shows what is in them.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use model::signing::Keyring;

use super::{Origin, RawConfig, Written};

impl RawConfig {
    /// The master keys; none if none is set.
    pub(super) fn keyring(&self) -> Result<Keyring> {
        let value = |key: &str| {
            let written = self.values.get(key);
            let written =
                written.ok_or_else(|| anyhow!("the setting {key} is not in the table"))?;
            Ok::<_, anyhow::Error>((!written.text.trim().is_empty()).then_some(written))
        };
        match (value("master_key_file")?, value("master_key")?) {
            (None, None) => Ok(Keyring::default()),
            (Some(file), Some(key)) => bail!(
                "{} (from {}) and {} (from {}) both set the master key; remove one",
                file.name,
                file.place,
                key.name,
                key.place
            ),
            (Some(file), None) => {
                let path = file.text.trim();
                let text = std::fs::read_to_string(Path::new(path)).with_context(|| {
                    format!(
                        "the setting master_key_file names {path}, and that file cannot be read"
                    )
                })?;
                let read = Keyring::parse(&text);
                read.with_context(|| format!("the setting master_key_file names {path}"))
            }
            (None, Some(key)) => of_text(key),
        }
    }
}

fn of_text(key: &Written) -> Result<Keyring> {
    if key.origin == Origin::Flag {
        bail!(
            "the setting master_key was given by {}, and lists of processes show that; use the \
             variable WILLCALL_MASTER_KEY or the setting master_key_file",
            key.place
        );
    }
    let lines = key.text.replace(',', "\n");
    let read = Keyring::parse(&lines);
    read.with_context(|| format!("the setting master_key (from {})", key.place))
}
